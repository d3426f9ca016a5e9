//! The `app` section: how to run what is in an image (appc spec, aci.md, "Image Manifest Schema").

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::Value;

use super::{
    EnvironmentVariable, EventHandler, Extra, Isolator, MountPoint, Port,
    environment::read_environment,
    isolator::{Scope, check_together},
    mount_point::check_absolute,
    reading::{Fields, Readable, Reading, deserialize_by_reading},
};

/// How an app is executed.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct App {
    /// The executable and its arguments; empty where whoever runs it must say.
    pub exec: Vec<String>,
    /// Programs run before the start and after the end.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub event_handlers: Vec<EventHandler>,
    /// A name of the image's `/etc/passwd`, a number, or a path whose owner is meant.
    pub user: String,
    /// A name of the image's `/etc/group`, a number, or a path whose group is meant.
    pub group: String,
    /// Further groups of the process.
    #[serde(rename = "supplementaryGIDs", skip_serializing_if = "Vec::is_empty")]
    pub supplementary_gids: Vec<u32>,
    /// Where the process starts; `/` where empty.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub working_directory: String,
    /// The environment that is set beside the executor's own.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub environment: Vec<EnvironmentVariable>,
    /// Where volumes are expected.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub mount_points: Vec<MountPoint>,
    /// What the app listens on.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub ports: Vec<Port>,
    /// The constraints that it asks for.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub isolators: Vec<Isolator>,
    /// Data for people, without effect.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub user_annotations: BTreeMap<String, String>,
    /// Data for people, without effect.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub user_labels: BTreeMap<String, String>,
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

    /// The isolator called `name`; the last one, where there are several.
    pub fn isolator(&self, name: &str) -> Option<&Isolator> {
        self.isolators.iter().rfind(|isolator| isolator.name().as_str() == name)
    }

    /// Puts an isolator in the place of those called one of `names`.
    pub fn replace_isolators(&mut self, names: &[&str], isolator: Isolator) {
        self.isolators.retain(|old| !names.contains(&old.name().as_str()));
        self.isolators.push(isolator);
    }
}

impl Readable for App {
    fn read(value: Value, reading: &mut Reading) -> Option<Self> {
        reading.by("aci.md, \"Image Manifest Schema\"", |reading| {
            let mut fields = Fields::of(value, reading)?;
            let exec = fields.or_default("exec", reading);
            let event_handlers: Vec<EventHandler> = fields.or_default("eventHandlers", reading);
            reading.at("eventHandlers", |reading| {
                reading.unique(event_handlers.iter().map(|handler| &handler.name));
            });
            let user = read_identity("user", &mut fields, reading);
            let group = read_identity("group", &mut fields, reading);
            let supplementary_gids = fields.or_default("supplementaryGIDs", reading);
            let working_directory: String = fields.or_default("workingDirectory", reading);
            if !working_directory.is_empty() {
                reading.at("workingDirectory", |reading| {
                    check_absolute(&working_directory, reading)
                });
            }
            let environment = read_environment(&mut fields, reading);
            let mount_points: Vec<MountPoint> = fields.or_default("mountPoints", reading);
            reading.at("mountPoints", |reading| {
                reading.better_unique(mount_points.iter().map(|point| &point.name))
            });
            let ports: Vec<Port> = fields.or_default("ports", reading);
            reading.at("ports", |reading| {
                reading.better_unique(ports.iter().map(|port| &port.name))
            });
            let isolators: Vec<Isolator> = fields.or_default("isolators", reading);
            reading.at("isolators", |reading| check_together(&isolators, Scope::App, reading));
            let user_annotations = fields.or_default("userAnnotations", reading);
            let user_labels = fields.or_default("userLabels", reading);
            Some(Self {
                exec,
                event_handlers,
                user: user.unwrap_or_default(),
                group: group.unwrap_or_default(),
                supplementary_gids,
                working_directory,
                environment,
                mount_points,
                ports,
                isolators,
                user_annotations,
                user_labels,
                extra: fields.rest(reading),
            })
        })
    }
}

/// Reads `user` or `group`.
fn read_identity(field: &str, fields: &mut Fields, reading: &mut Reading) -> Option<String> {
    let text: String = fields.required(field, reading)?;
    if text.is_empty() {
        reading.at(field, |reading| reading.error("is empty"));
    }
    Some(text)
}

deserialize_by_reading!(App);
