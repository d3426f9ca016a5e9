//! The `app` section: how to run what is in an image (appc spec, aci.md, "Image Manifest Schema").

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{Extra, Isolator, ManifestError, error::first_duplicate, is_false};
use crate::name::AcName;

/// How an app is executed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct App {
    /// The executable and its arguments; empty where whoever runs it must say.
    #[serde(default)]
    pub exec: Vec<String>,
    /// Programs run before the start and after the end.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub event_handlers: Vec<EventHandler>,
    /// A name of the image's `/etc/passwd`, a number, or a path whose owner is meant.
    pub user: String,
    /// A name of the image's `/etc/group`, a number, or a path whose group is meant.
    pub group: String,
    /// Further groups of the process.
    #[serde(
        default,
        rename = "supplementaryGIDs",
        alias = "supplementaryGids",
        skip_serializing_if = "Vec::is_empty"
    )]
    pub supplementary_gids: Vec<u32>,
    /// Where the process starts; `/` where absent.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub working_directory: String,
    /// The environment that is set beside the executor's own.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub environment: Vec<EnvironmentVariable>,
    /// Where volumes are expected.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub mount_points: Vec<MountPoint>,
    /// What the app listens on.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ports: Vec<Port>,
    /// The constraints that it asks for.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub isolators: Vec<Isolator>,
    /// Data for people, without effect.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub user_annotations: BTreeMap<String, String>,
    /// Data for people, without effect.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub user_labels: BTreeMap<String, String>,
    #[serde(flatten)]
    extra: Extra,
}

/// A program of the app's life cycle.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct EventHandler {
    /// `pre-start` or `post-stop`.
    pub name: String,
    /// The executable and its arguments.
    pub exec: Vec<String>,
    #[serde(flatten)]
    extra: Extra,
}

/// One variable of the environment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EnvironmentVariable {
    /// Letters, digits, `_`, `.` and `-`.
    pub name: String,
    /// Any text; nothing is substituted.
    pub value: String,
}

/// A place where a volume is expected.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct MountPoint {
    /// By which the pod's volumes are matched.
    pub name: AcName,
    /// Where it is inside the root file system.
    pub path: String,
    /// Whether the app only reads it.
    #[serde(default, skip_serializing_if = "is_false")]
    pub read_only: bool,
    #[serde(flatten)]
    extra: Extra,
}

/// A port or a range of ports that the app listens on.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Port {
    /// By which it is exposed on the host.
    pub name: AcName,
    /// `tcp`, `udp` or another.
    pub protocol: String,
    /// The first port.
    pub port: u16,
    /// How many ports there are from the first on.
    #[serde(default = "one", skip_serializing_if = "is_one")]
    pub count: u32,
    /// Whether the app is handed listening sockets.
    #[serde(default, skip_serializing_if = "is_false")]
    pub socket_activated: bool,
    #[serde(flatten)]
    extra: Extra,
}

impl App {
    /// An app that runs `exec` as root in `/`, with nothing else asked for.
    pub fn new(exec: Vec<String>) -> Self {
        Self {
            exec,
            event_handlers: Vec::new(),
            user: "0".to_owned(),
            group: "0".to_owned(),
            supplementary_gids: Vec::new(),
            working_directory: String::new(),
            environment: Vec::new(),
            mount_points: Vec::new(),
            ports: Vec::new(),
            isolators: Vec::new(),
            user_annotations: BTreeMap::new(),
            user_labels: BTreeMap::new(),
            extra: Extra::new(),
        }
    }

    /// The isolator called `name`.
    pub fn isolator(&self, name: &str) -> Option<&Isolator> {
        self.isolators.iter().find(|isolator| isolator.name.as_str() == name)
    }

    pub(super) fn check(&self, at: &str) -> Result<(), ManifestError> {
        let error = |field: &str, problem: &str| Err(ManifestError::field(format!("{at}.{field}"), problem));
        if self.user.is_empty() {
            return error("user", "is empty");
        }
        if self.group.is_empty() {
            return error("group", "is empty");
        }
        if !self.working_directory.is_empty() && !self.working_directory.starts_with('/') {
            return error("workingDirectory", "is not an absolute path");
        }
        for handler in &self.event_handlers {
            if !matches!(handler.name.as_str(), "pre-start" | "post-stop") {
                return error("eventHandlers", "has a name other than `pre-start` and `post-stop`");
            }
        }
        if first_duplicate(self.event_handlers.iter().map(|handler| &handler.name)).is_some() {
            return error("eventHandlers", "has two handlers of one name");
        }
        if let Some(variable) = self
            .environment
            .iter()
            .find(|variable| !is_variable_name(&variable.name))
        {
            return error("environment", &format!("has the invalid name `{}`", variable.name));
        }
        if let Some(name) = first_duplicate(self.environment.iter().map(|variable| &variable.name)) {
            return error("environment", &format!("sets `{name}` twice"));
        }
        for mount in &self.mount_points {
            if !mount.path.starts_with('/') {
                return error(
                    "mountPoints",
                    &format!("has the path `{}`, which is not absolute", mount.path),
                );
            }
        }
        if let Some(name) = first_duplicate(self.mount_points.iter().map(|mount| &mount.name)) {
            return error("mountPoints", &format!("has `{name}` twice"));
        }
        for port in &self.ports {
            if port.port == 0 || port.count == 0 || u32::from(port.port) + (port.count - 1) > 65535 {
                return error("ports", &format!("has `{}`, which is outside of 1 to 65535", port.name));
            }
        }
        Ok(())
    }
}

impl EnvironmentVariable {
    /// A variable, if `name` is one (appc spec, aci.md: letters, digits, `_`, `.`, `-`).
    pub fn new(name: impl Into<String>, value: impl Into<String>) -> Result<Self, ManifestError> {
        let name = name.into();
        if is_variable_name(&name) {
            Ok(Self {
                name,
                value: value.into(),
            })
        } else {
            Err(ManifestError::field(
                "app.environment",
                format!("has the invalid name `{name}`"),
            ))
        }
    }
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
}

fn is_variable_name(name: &str) -> bool {
    !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"_.-".contains(&b))
}

fn one() -> u32 {
    1
}

fn is_one(count: &u32) -> bool {
    *count == 1
}
