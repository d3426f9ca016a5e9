//! Variables of an app's environment (appc spec, aci.md, "Image Manifest Schema").

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::Value;
use thiserror::Error;

use super::{
    Extra,
    reading::{Fields, Readable, Reading, deserialize_by_reading, shorten},
};

/// One variable.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct EnvironmentVariable {
    /// Letters, digits, `_`, `.` and `-`, not beginning with a digit, `.` or `-`.
    pub name: String,
    /// Any text; nothing is substituted.
    pub value: String,
    #[serde(flatten)]
    extra: Extra,
}

/// Why a text is no variable's name.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[error(
    "`{name}` is no name of an environment variable: it has letters, digits, `_`, `.` and `-`, and begins with a letter or `_`"
)]
pub struct EnvironmentError {
    name: String,
}

impl EnvironmentVariable {
    /// A variable, if `name` can be that of one.
    pub fn new(name: impl Into<String>, value: impl Into<String>) -> Result<Self, EnvironmentError> {
        let name = name.into();
        check_name(&name)?;
        Ok(Self {
            name,
            value: value.into(),
            extra: Extra::new(),
        })
    }
}

fn check_name(name: &str) -> Result<(), EnvironmentError> {
    let begins_well = name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_');
    if begins_well && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"_.-".contains(&b)) {
        Ok(())
    } else {
        Err(EnvironmentError { name: shorten(name) })
    }
}

impl Readable for EnvironmentVariable {
    fn read(value: Value, reading: &mut Reading) -> Option<Self> {
        let mut fields = Fields::of(value, reading)?;
        fields.rename("val", "value", reading);
        let name: Option<String> = fields.required("name", reading);
        let value = fields.required("value", reading);
        let extra = fields.rest(reading);
        let name = name?;
        if let Err(error) = check_name(&name) {
            reading.at("name", |reading| reading.error(format!("is wrong: {error}")));
        }
        Some(Self {
            name,
            value: value?,
            extra,
        })
    }
}

/// Reads an app's environment.
pub(super) fn read_environment(fields: &mut Fields, reading: &mut Reading) -> Vec<EnvironmentVariable> {
    let List(environment) = fields.optional("environment", reading).unwrap_or(List(Vec::new()));
    reading.at("environment", |reading| {
        reading.unique(environment.iter().map(|variable| &variable.name));
    });
    environment
}

/// A list of variables, or the object that early versions had in its place.
struct List(Vec<EnvironmentVariable>);

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

deserialize_by_reading!(EnvironmentVariable);
