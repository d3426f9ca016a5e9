//! Places where an app expects volumes (appc spec, aci.md, "Image Manifest Schema").

use std::str::FromStr;

use serde::Serialize;
use serde_json::Value;

use super::{
    Extra, is_false,
    parameters::{ParametersError, boolean, named_parameters},
    reading::{Fields, Readable, Reading, deserialize_by_reading},
};
use crate::name::AcName;

/// A place where a volume is expected.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct MountPoint {
    /// By which the pod's volumes are matched.
    pub name: AcName,
    /// Where it is inside the root file system.
    pub path: String,
    /// Whether the app only reads it.
    #[serde(skip_serializing_if = "is_false")]
    pub read_only: bool,
    #[serde(flatten)]
    extra: Extra,
}

impl MountPoint {
    /// A mount point; the path is checked when the manifest is.
    pub fn new(name: AcName, path: impl Into<String>, read_only: bool) -> Self {
        Self {
            name,
            path: path.into(),
            read_only,
            extra: Extra::new(),
        }
    }
}

impl FromStr for MountPoint {
    type Err = ParametersError;

    /// Reads `NAME,path=/PATH[,readOnly=true]`.
    fn from_str(text: &str) -> Result<Self, ParametersError> {
        let (name, parameters) = named_parameters(text)?;
        let name = AcName::new(name).map_err(|error| ParametersError::Invalid {
            problem: error.to_string(),
        })?;
        let (mut path, mut read_only) = ("", false);
        for (key, value) in parameters {
            match key {
                "path" => path = value,
                "readOnly" => read_only = boolean(key, value)?,
                _ => return Err(ParametersError::Unknown { key: key.to_owned() }),
            }
        }
        match path {
            "" => Err(ParametersError::Missing { key: "path" }),
            path => Ok(Self::new(name, path, read_only)),
        }
    }
}

impl Readable for MountPoint {
    fn read(value: Value, reading: &mut Reading) -> Option<Self> {
        let mut fields = Fields::of(value, reading)?;
        let name = fields.required("name", reading);
        let path = read_absolute("path", &mut fields, reading);
        let read_only = fields.or_default("readOnly", reading);
        let extra = fields.rest(reading);
        Some(Self {
            name: name?,
            path: path?,
            read_only,
            extra,
        })
    }
}

/// Reads a field that is an absolute path.
pub(super) fn read_absolute(field: &str, fields: &mut Fields, reading: &mut Reading) -> Option<String> {
    let path: String = fields.required(field, reading)?;
    reading.at(field, |reading| check_absolute(&path, reading));
    Some(path)
}

/// Notes a path that is not absolute.
pub(super) fn check_absolute(path: &str, reading: &mut Reading) {
    if !path.starts_with('/') {
        reading.error(format!("is `{path}`, which is no absolute path"));
    } else if path.contains('\0') {
        reading.error("has a NUL byte, which no path has");
    }
}

deserialize_by_reading!(MountPoint);
