//! Annotations: further facts about an image, an app or a pod (appc spec, aci.md, "Image Manifest Schema").

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::Value;

use super::{
    Extra, Timestamp,
    reading::{Fields, Readable, Reading, deserialize_by_reading},
};
use crate::name::Name;

/// One fact.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Annotation {
    /// What it is about, as in `created` or `homepage`.
    pub name: Name,
    /// What it says.
    pub value: String,
    #[serde(flatten)]
    extra: Extra,
}

impl Annotation {
    /// A fact; where the specification defines what it must be like, that is checked when the manifest is.
    pub fn new(name: Name, value: impl Into<String>) -> Self {
        Self {
            name,
            value: value.into(),
            extra: Extra::new(),
        }
    }

    /// Sets the fact called `name` in a list, in its place if it is there.
    pub fn set(list: &mut Vec<Self>, name: Name, value: impl Into<String>) {
        match list.iter_mut().find(|annotation| annotation.name == name) {
            Some(annotation) => annotation.value = value.into(),
            None => list.push(Self::new(name, value)),
        }
    }

    /// What the fact called `name` in a list says.
    pub fn get<'a>(list: &'a [Self], name: &str) -> Option<&'a str> {
        list.iter()
            .find(|annotation| annotation.name.as_str() == name)
            .map(|annotation| annotation.value.as_str())
    }
}

impl Readable for Annotation {
    fn read(value: Value, reading: &mut Reading) -> Option<Self> {
        let mut fields = Fields::of(value, reading)?;
        fields.rename("val", "value", reading);
        let name: Option<Name> = fields.required("name", reading);
        let value = fields.required("value", reading);
        let extra = fields.rest(reading);
        let annotation = Self {
            name: name?,
            value: value?,
            extra,
        };
        reading.at("value", |reading| check_value(&annotation, reading));
        Some(annotation)
    }
}

/// The values that the specification restricts.
fn check_value(annotation: &Annotation, reading: &mut Reading) {
    let value = annotation.value.as_str();
    match annotation.name.as_str() {
        "created" => {
            if let Err(error) = value.parse::<Timestamp>() {
                reading.error(format!("is wrong: {error}"));
            }
        }
        name @ ("homepage" | "documentation") if !is_web_url(value) => {
            reading.error(format!("of `{name}` is `{value}`, which is no http or https URL"));
        }
        "appc.io/executor/supports-systemd-notify" if !matches!(value, "true" | "false") => {
            reading.warning(format!("is `{value}`, where `true` or `false` is meant"));
        }
        _ => {}
    }
}

/// Whether a text is a URL of a web page: `http` or `https`, with a host.
pub(super) fn is_web_url(text: &str) -> bool {
    let Some((scheme, rest)) = text.split_once("://") else {
        return false;
    };
    let host = rest.split(['/', '?', '#']).next().unwrap_or_default();
    matches!(scheme.to_ascii_lowercase().as_str(), "http" | "https")
        && !host.is_empty()
        && !text.contains(|c: char| c.is_whitespace() || c.is_control())
}

/// Reads the annotations of a manifest or of an app.
pub(super) fn read_annotations(fields: &mut Fields, reading: &mut Reading) -> Vec<Annotation> {
    let List(annotations) = fields.optional("annotations", reading).unwrap_or(List(Vec::new()));
    reading.at("annotations", |reading| {
        reading.unique(annotations.iter().map(|annotation| &annotation.name));
    });
    annotations
}

/// A list of annotations, or the object that early versions had in its place.
struct List(Vec<Annotation>);

impl Readable for List {
    fn read(value: Value, reading: &mut Reading) -> Option<Self> {
        let list = match value {
            Value::Object(_) => {
                reading.warning("is an object, as in early versions; a list of `name` and `value` is asked for now");
                let map = BTreeMap::<String, String>::read(value, reading)?;
                map.into_iter()
                    .map(|(name, value)| serde_json::json!({ "name": name, "value": value }))
                    .collect()
            }
            list => list,
        };
        Vec::read(list, reading).map(Self)
    }
}

deserialize_by_reading!(Annotation);
