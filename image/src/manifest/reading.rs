//! Reading a manifest's JSON to its end whatever is wrong with it, so that all of it can be told at once.
//!
//! A type that can stand in a manifest is [`Readable`]: it takes its JSON apart, notes what breaks a rule in the
//! [`Reading`], and goes on. A value comes out only where nothing was noted against it, so what exists is valid; the
//! same pass serves parsing, the check before writing, and `dhow validate`.

use std::{collections::BTreeMap, fmt::Display, net::Ipv4Addr, str::FromStr};

use serde_json::{Map, Value};

use super::{AcKind, AcVersion, Extra, Finding, ManifestError, Severity, Timestamp};
use crate::{
    image_id::ImageId,
    name::{AcName, Name},
};

/// Nobody reads more, and a hostile manifest has one for every second byte.
pub(crate) const MAX_FINDINGS: usize = 1000;

/// The findings so far, and where in the JSON the reading is.
pub(crate) struct Reading {
    path: String,
    section: &'static str,
    findings: Vec<Finding>,
}

/// What can be read from a manifest's JSON.
pub(crate) trait Readable: Sized {
    /// Takes the value apart. `None` where an error was noted and there is nothing to go on with.
    fn read(value: Value, reading: &mut Reading) -> Option<Self>;
}

/// The fields of a JSON object, taken out one by one. What is left is unknown to the specification.
pub(crate) struct Fields(Map<String, Value>);

/// Reads a whole document, with all findings.
pub(crate) fn survey<T: Readable>(value: Value) -> (Option<T>, Vec<Finding>) {
    let mut reading = Reading {
        path: String::new(),
        section: "types.md",
        findings: Vec::new(),
    };
    let read = T::read(value, &mut reading);
    (read, reading.findings)
}

/// Reads a whole document; the first error, if there is one, is the result.
pub(crate) fn parse<T: Readable>(value: Value) -> Result<T, ManifestError> {
    match survey(value) {
        (Some(read), findings) if findings.iter().all(|finding| finding.severity < Severity::Error) => Ok(read),
        (_, findings) => Err(ManifestError::Invalid(findings)),
    }
}

impl Reading {
    /// Notes that a rule is broken here.
    pub(crate) fn error(&mut self, problem: impl Into<String>) {
        self.note(Severity::Error, problem.into());
    }

    /// Notes that something is not as it should be here.
    pub(crate) fn warning(&mut self, problem: impl Into<String>) {
        self.note(Severity::Warning, problem.into());
    }

    fn note(&mut self, severity: Severity, problem: String) {
        if self.findings.len() >= MAX_FINDINGS {
            return;
        }
        let (subject, problem) = match self.path.as_str() {
            "" => (String::new(), format!("the manifest {problem}")),
            path => (path.to_owned(), problem),
        };
        self.findings.push(Finding {
            severity,
            subject,
            problem,
            section: self.section,
        });
    }

    /// Reads what is called `name` inside of here.
    pub(crate) fn at<T>(&mut self, name: &str, read: impl FnOnce(&mut Self) -> T) -> T {
        let separator = if self.path.is_empty() || name.starts_with('[') {
            ""
        } else {
            "."
        };
        self.inside(&format!("{separator}{}", shorten(name)), read)
    }

    /// Reads by the rules of another section of the specification.
    pub(crate) fn by<T>(&mut self, section: &'static str, read: impl FnOnce(&mut Self) -> T) -> T {
        let outer = std::mem::replace(&mut self.section, section);
        let result = read(self);
        self.section = outer;
        result
    }

    fn inside<T>(&mut self, part: &str, read: impl FnOnce(&mut Self) -> T) -> T {
        let length = self.path.len();
        self.path.push_str(part);
        let result = read(self);
        self.path.truncate(length);
        result
    }

    /// Notes each key that stands a second time in the list here, where it must not.
    pub(crate) fn unique<'a, T: Ord + Display + 'a>(&mut self, keys: impl IntoIterator<Item = &'a T>) {
        for key in repeated(keys) {
            self.error(format!("has `{key}` twice"));
        }
    }

    /// Notes each key that stands a second time in the list here, where the specification does not forbid it.
    pub(crate) fn better_unique<'a, T: Ord + Display + 'a>(&mut self, keys: impl IntoIterator<Item = &'a T>) {
        for key in repeated(keys) {
            self.warning(format!("has `{key}` twice, so that the name is ambiguous"));
        }
    }
}

impl Fields {
    /// The fields of `value`, which must be an object.
    pub(crate) fn of(value: Value, reading: &mut Reading) -> Option<Self> {
        match value {
            Value::Object(object) => Some(Self(object)),
            other => {
                reading.error(format!("is {}, where an object is needed", kind(&other)));
                None
            }
        }
    }

    /// Reads a field, which is `None` where it is absent or wrong.
    ///
    /// The specification's own implementation takes field names in any case and `null` for absent, so that there are
    /// manifests which depend on it.
    pub(crate) fn optional<T: Readable>(&mut self, name: &str, reading: &mut Reading) -> Option<T> {
        let value = self.take(name, reading).filter(|value| !value.is_null())?;
        reading.at(name, |reading| T::read(value, reading))
    }

    /// Reads a field that must be there.
    pub(crate) fn required<T: Readable>(&mut self, name: &str, reading: &mut Reading) -> Option<T> {
        let value = self.take(name, reading).filter(|value| !value.is_null());
        reading.at(name, |reading| match value {
            Some(value) => T::read(value, reading),
            None => {
                reading.error("is missing");
                None
            }
        })
    }

    /// Reads a field whose absence means the type's default.
    pub(crate) fn or_default<T: Readable + Default>(&mut self, name: &str, reading: &mut Reading) -> T {
        self.optional(name, reading).unwrap_or_default()
    }

    /// Whether a field is there.
    pub(crate) fn has(&self, name: &str) -> bool {
        self.0.keys().any(|key| key.eq_ignore_ascii_case(name))
    }

    /// Gives a field its present name where it stands under one of an older version of the specification.
    pub(crate) fn rename(&mut self, old: &str, name: &str, reading: &mut Reading) {
        if !self.0.contains_key(name)
            && let Some(value) = self.0.shift_remove(old)
        {
            reading.at(old, |reading| reading.warning(format!("is now called `{name}`")));
            self.0.insert(name.to_owned(), value);
        }
    }

    /// What the specification does not know, to be kept.
    pub(crate) fn rest(self, reading: &mut Reading) -> Extra {
        for name in self.0.keys() {
            reading.at(name, |reading| reading.warning("is no field of the specification"));
        }
        self.0
    }

    fn take(&mut self, name: &str, reading: &mut Reading) -> Option<Value> {
        let mut found = self.0.shift_remove(name);
        let others: Vec<String> = self
            .0
            .keys()
            .filter(|key| key.eq_ignore_ascii_case(name))
            .cloned()
            .collect();
        for other in others {
            let value = self.0.shift_remove(&other);
            reading.at(&other, |reading| match found {
                Some(_) => reading.error(format!("stands beside `{name}`, and readers differ in which they take")),
                None => reading.warning(format!("should be spelled `{name}`")),
            });
            found = found.or(value);
        }
        found
    }
}

macro_rules! readable_texts {
    ($($type:ty: $section:literal),* $(,)?) => {$(
        impl Readable for $type {
            fn read(value: Value, reading: &mut Reading) -> Option<Self> {
                reading.by($section, |reading| read_text(value, reading))
            }
        }
    )*};
}

readable_texts!(
    Name: "types.md, \"AC Identifier Type\"",
    AcName: "types.md, \"AC Name Type\"",
    ImageId: "types.md, \"Image ID Type\"",
    AcKind: "types.md, \"AC Kind Type\"",
    AcVersion: "types.md, \"AC Version Type\"",
    Timestamp: "types.md, \"Timestamps Type\"",
    Ipv4Addr: "pods.md, \"Pod Manifest Schema\"",
);

impl Readable for Value {
    fn read(value: Value, _: &mut Reading) -> Option<Self> {
        Some(value)
    }
}

impl Readable for String {
    fn read(value: Value, reading: &mut Reading) -> Option<Self> {
        match value {
            Value::String(text) => Some(text),
            other => {
                reading.error(format!("is {}, where text is needed", kind(&other)));
                None
            }
        }
    }
}

impl Readable for bool {
    fn read(value: Value, reading: &mut Reading) -> Option<Self> {
        let read = value.as_bool();
        if read.is_none() {
            reading.error(format!("is {}, where `true` or `false` is needed", kind(&value)));
        }
        read
    }
}

/// A whole number between two bounds.
pub(crate) fn read_number(value: &Value, smallest: i64, largest: i64, reading: &mut Reading) -> Option<i64> {
    match value.as_i64() {
        Some(number) if (smallest..=largest).contains(&number) => Some(number),
        _ => {
            let found = match value {
                Value::Number(number) => format!("`{number}`"),
                other => kind(other).to_owned(),
            };
            reading.error(format!(
                "is {found}, where a whole number from {smallest} to {largest} is needed"
            ));
            None
        }
    }
}

macro_rules! readable_numbers {
    ($($type:ty),*) => {$(
        impl Readable for $type {
            fn read(value: Value, reading: &mut Reading) -> Option<Self> {
                let largest = i64::try_from(<$type>::MAX).unwrap_or(i64::MAX);
                let number = read_number(&value, 0, largest, reading)?;
                Some(<$type>::try_from(number).expect("it was read between the type's bounds"))
            }
        }
    )*};
}

readable_numbers!(u16, u32, u64);

impl<T: Readable> Readable for Vec<T> {
    fn read(value: Value, reading: &mut Reading) -> Option<Self> {
        let Value::Array(list) = value else {
            reading.error(format!("is {}, where a list is needed", kind(&value)));
            return None;
        };
        let read = |(index, item)| reading.at(&format!("[{index}]"), |reading| T::read(item, reading));
        Some(list.into_iter().enumerate().filter_map(read).collect())
    }
}

impl Readable for BTreeMap<String, String> {
    fn read(value: Value, reading: &mut Reading) -> Option<Self> {
        let Fields(object) = Fields::of(value, reading)?;
        let mut map = Self::new();
        for (key, value) in object {
            if let Some(value) = reading.at(&key, |reading| String::read(value, reading)) {
                map.insert(key, value);
            }
        }
        Some(map)
    }
}

/// The keys that have stood before.
fn repeated<'a, T: Ord + 'a>(keys: impl IntoIterator<Item = &'a T>) -> Vec<&'a T> {
    let mut seen = std::collections::BTreeSet::new();
    keys.into_iter().filter(|key| !seen.insert(*key)).collect()
}

/// Reads text that has a grammar of its own.
pub(crate) fn read_text<T: FromStr<Err: Display>>(value: Value, reading: &mut Reading) -> Option<T> {
    let text = String::read(value, reading)?;
    match text.parse() {
        Ok(read) => Some(read),
        Err(error) => {
            reading.error(format!("is wrong: {error}"));
            None
        }
    }
}

/// What a JSON value is, for a person.
pub(crate) fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "`null`",
        Value::Bool(_) => "`true` or `false`",
        Value::Number(_) => "a number",
        Value::String(_) => "text",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}

/// Keeps a message readable when a name is hostile.
pub(crate) fn shorten(text: &str) -> String {
    let clean = text.escape_debug().to_string();
    match clean.char_indices().nth(80) {
        Some((end, _)) => format!("{}…", &clean[..end]),
        None => clean,
    }
}

/// Makes types deserialize by their own reading, so that every way into them checks the same rules.
macro_rules! deserialize_by_reading {
    ($($type:ty),* $(,)?) => {$(
        impl<'de> serde::Deserialize<'de> for $type {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let value = serde_json::Value::deserialize(deserializer)?;
                $crate::manifest::reading::parse(value).map_err(serde::de::Error::custom)
            }
        }
    )*};
}

pub(crate) use deserialize_by_reading;
