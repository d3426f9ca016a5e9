//! Programs of an app's life cycle (appc spec, aci.md, "Image Manifest Schema").

use serde::Serialize;
use serde_json::Value;

use super::{
    Extra,
    reading::{Fields, Readable, Reading, deserialize_by_reading},
};

/// A program that is run before an app's start or after its end.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct EventHandler {
    /// `pre-start` or `post-stop`.
    pub name: String,
    /// The executable and its arguments.
    pub exec: Vec<String>,
    #[serde(flatten)]
    extra: Extra,
}

impl EventHandler {
    /// A handler; the name is checked when the manifest is.
    pub fn new(name: impl Into<String>, exec: Vec<String>) -> Self {
        Self {
            name: name.into(),
            exec,
            extra: Extra::new(),
        }
    }
}

impl Readable for EventHandler {
    fn read(value: Value, reading: &mut Reading) -> Option<Self> {
        let mut fields = Fields::of(value, reading)?;
        let name: Option<String> = fields.required("name", reading);
        let exec: Vec<String> = fields.or_default("exec", reading);
        let extra = fields.rest(reading);
        let name = name?;
        if !matches!(name.as_str(), "pre-start" | "post-stop") {
            let problem = format!("is `{name}`, which is neither `pre-start` nor `post-stop`");
            reading.at("name", |reading| reading.error(problem));
        }
        if exec.is_empty() {
            reading.at("exec", |reading| {
                reading.warning("is empty, so there is nothing to run")
            });
        }
        Some(Self { name, exec, extra })
    }
}

deserialize_by_reading!(EventHandler);
