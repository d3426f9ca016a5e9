//! Ports: what an app listens on, and what a pod exposes of it (appc spec, aci.md and pods.md).

use std::{net::Ipv4Addr, str::FromStr};

use serde::Serialize;
use serde_json::Value;

use super::{
    Extra, is_false,
    parameters::{ParametersError, boolean, named_parameters, number},
    reading::{Fields, Readable, Reading, deserialize_by_reading},
};
use crate::name::AcName;

/// A port or a range of ports that an app listens on.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Port {
    /// By which it is exposed on the host.
    pub name: AcName,
    /// `tcp`, `udp` or another.
    pub protocol: String,
    /// The first port.
    pub port: u16,
    /// How many ports there are from the first on.
    #[serde(skip_serializing_if = "is_one")]
    pub count: u32,
    /// Whether the app is handed listening sockets.
    #[serde(skip_serializing_if = "is_false")]
    pub socket_activated: bool,
    #[serde(flatten)]
    extra: Extra,
}

/// A port of a pod's app that can be reached at the host.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ExposedPort {
    /// The name of the app's port.
    pub name: AcName,
    /// The port of the host.
    pub host_port: u16,
    /// The address of the host; all, where absent.
    #[serde(rename = "hostIP", skip_serializing_if = "Option::is_none")]
    pub host_ip: Option<Ipv4Addr>,
    /// The port of the app, in place of the one that its image gives this name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pod_port: Option<Port>,
    #[serde(flatten)]
    extra: Extra,
}

impl Port {
    /// A single port.
    pub fn new(name: AcName, protocol: impl Into<String>, port: u16) -> Self {
        Self {
            name,
            protocol: protocol.into(),
            port,
            count: 1,
            socket_activated: false,
            extra: Extra::new(),
        }
    }

    fn is_in_range(&self) -> bool {
        self.port > 0 && self.count > 0 && self.count <= 65_536 - u32::from(self.port)
    }
}

impl ExposedPort {
    /// The app's port `name` at the host's port `host_port`, on all of its addresses.
    pub fn new(name: AcName, host_port: u16) -> Self {
        Self {
            name,
            host_port,
            host_ip: None,
            pod_port: None,
            extra: Extra::new(),
        }
    }
}

impl FromStr for Port {
    type Err = ParametersError;

    /// Reads `NAME,port=80[,protocol=tcp][,count=1][,socketActivated=true]`.
    fn from_str(text: &str) -> Result<Self, ParametersError> {
        let (name, parameters) = named_parameters(text)?;
        let name = AcName::new(name).map_err(|error| ParametersError::Invalid {
            problem: error.to_string(),
        })?;
        let mut port = Self::new(name, "tcp", 0);
        for (key, value) in parameters {
            match key {
                "protocol" => value.clone_into(&mut port.protocol),
                "port" => port.port = number(key, value)?,
                "count" => port.count = number(key, value)?,
                "socketActivated" => port.socket_activated = boolean(key, value)?,
                _ => return Err(ParametersError::Unknown { key: key.to_owned() }),
            }
        }
        if port.port == 0 {
            return Err(ParametersError::Missing { key: "port" });
        }
        if !port.is_in_range() {
            return Err(ParametersError::Invalid {
                problem: "the ports are not within 1 to 65535".to_owned(),
            });
        }
        Ok(port)
    }
}

impl Readable for Port {
    fn read(value: Value, reading: &mut Reading) -> Option<Self> {
        let mut fields = Fields::of(value, reading)?;
        let name = fields.required("name", reading);
        let protocol: Option<String> = fields.required("protocol", reading);
        let port: Option<u16> = fields.required("port", reading);
        let count: Option<u32> = fields.optional("count", reading);
        let socket_activated = fields.or_default("socketActivated", reading);
        let extra = fields.rest(reading);
        if count == Some(0) {
            // The specification's own tools write it for a port that was given without a count, and read it as 1.
            reading.at("count", |reading| reading.warning("is 0, which is read as 1"));
        }
        if protocol.as_ref().is_some_and(String::is_empty) {
            reading.at("protocol", |reading| reading.warning("is empty"));
        }
        let port = Self {
            name: name?,
            protocol: protocol?,
            port: port?,
            count: count.filter(|count| *count > 0).unwrap_or(1),
            socket_activated,
            extra,
        };
        if !port.is_in_range() {
            let problem = format!(
                "is {} with a count of {}, which is not within 1 to 65535",
                port.port, port.count
            );
            reading.at("port", |reading| reading.error(problem));
        }
        Some(port)
    }
}

impl Readable for ExposedPort {
    fn read(value: Value, reading: &mut Reading) -> Option<Self> {
        let mut fields = Fields::of(value, reading)?;
        let name = fields.required("name", reading);
        let host_port: Option<u16> = fields.required("hostPort", reading);
        let host_ip: Option<Ipv4Addr> = fields.optional("hostIP", reading);
        let pod_port = reading.by("aci.md, \"Image Manifest Schema\"", |reading| {
            fields.optional("podPort", reading)
        });
        let extra = fields.rest(reading);
        if host_port == Some(0) {
            reading.at("hostPort", |reading| reading.error("is 0, which is no port"));
        }
        Some(Self {
            name: name?,
            host_port: host_port?,
            host_ip,
            pod_port,
            extra,
        })
    }
}

fn is_one(count: &u32) -> bool {
    *count == 1
}

deserialize_by_reading!(Port, ExposedPort);
