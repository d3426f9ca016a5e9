//! Labels: what tells one build of a name from another (appc spec, aci.md, "Image Manifest Schema").

use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use thiserror::Error;

use crate::{
    manifest::reading::{Fields, Readable, Reading, deserialize_by_reading},
    name::Name,
};

/// One label, as in `version=1.2.0`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Label {
    /// What the label says something about: `version`, `os`, `arch` or a name of the publisher's own.
    pub name: Name,
    /// What it says; any text.
    pub value: String,
}

/// The labels of an image or of a reference: an ordered list in which no name stands twice, and none is `name`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct Labels(Vec<Item>);

/// A label, and what a manifest says beside it that the specification does not know.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
struct Item {
    #[serde(flatten)]
    label: Label,
    #[serde(flatten)]
    extra: Map<String, Value>,
}

/// Why a list of labels is not one.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum LabelsError {
    /// A label name stands twice.
    #[error("the label `{name}` is given twice")]
    Duplicate {
        /// The name.
        name: Name,
    },
    /// A label is called `name`, which would be confused with the image's own.
    #[error("a label may not be called `name`")]
    Reserved,
}

impl Labels {
    /// The value of the label `name`.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.iter()
            .find(|label| label.name.as_str() == name)
            .map(|label| label.value.as_str())
    }

    /// Adds a label at the end.
    pub fn insert(&mut self, name: Name, value: impl Into<String>) -> Result<(), LabelsError> {
        let value = value.into();
        self.push(Label { name, value }, Map::new())
    }

    /// Gives the label `name` a value: in its place where it is there, else at the end.
    pub fn set(&mut self, name: Name, value: impl Into<String>) -> Result<(), LabelsError> {
        match self.0.iter_mut().find(|item| item.label.name == name) {
            Some(item) => {
                item.label.value = value.into();
                Ok(())
            }
            None => self.insert(name, value),
        }
    }

    /// Takes the label `name` away, and gives its value.
    pub fn remove(&mut self, name: &str) -> Option<String> {
        let index = self.0.iter().position(|item| item.label.name.as_str() == name)?;
        Some(self.0.remove(index).label.value)
    }

    fn push(&mut self, label: Label, extra: Map<String, Value>) -> Result<(), LabelsError> {
        if label.name.as_str() == "name" {
            return Err(LabelsError::Reserved);
        }
        if self.get(label.name.as_str()).is_some() {
            return Err(LabelsError::Duplicate { name: label.name });
        }
        self.0.push(Item { label, extra });
        Ok(())
    }

    /// The labels in their order.
    pub fn iter(&self) -> impl Iterator<Item = &Label> {
        self.0.iter().map(|item| &item.label)
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The first of these labels that `image` lacks or has with another value, as `(label, what the image has)`.
    /// Labels that only the image has always match (appc spec, discovery.md, "Validation").
    pub fn first_mismatch<'a>(&'a self, image: &'a Labels) -> Option<(&'a Label, Option<&'a str>)> {
        self.iter()
            .map(|wanted| (wanted, image.get(wanted.name.as_str())))
            .find(|(wanted, found)| *found != Some(wanted.value.as_str()))
    }
}

impl TryFrom<Vec<Label>> for Labels {
    type Error = LabelsError;

    fn try_from(list: Vec<Label>) -> Result<Self, LabelsError> {
        let mut labels = Self::default();
        for label in list {
            labels.insert(label.name, label.value)?;
        }
        Ok(labels)
    }
}

impl From<Labels> for Vec<Label> {
    fn from(labels: Labels) -> Vec<Label> {
        labels.0.into_iter().map(|item| item.label).collect()
    }
}

impl Readable for Labels {
    fn read(value: Value, reading: &mut Reading) -> Option<Self> {
        let Value::Array(list) = value else {
            reading.error("is no list");
            return None;
        };
        let mut labels = Self::default();
        for (index, value) in list.into_iter().enumerate() {
            reading.at(&format!("[{index}]"), |reading| {
                let mut fields = Fields::of(value, reading)?;
                fields.rename("val", "value", reading);
                let name = fields.required("name", reading);
                let value = fields.required("value", reading);
                let extra = fields.rest(reading);
                let label = Label {
                    name: name?,
                    value: value?,
                };
                if let Err(error) = labels.push(label, extra) {
                    reading.at("name", |reading| reading.error(format!("is wrong: {error}")));
                }
                Some(())
            });
        }
        Some(labels)
    }
}

deserialize_by_reading!(Labels);

impl fmt::Display for Label {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Any text can be a label, and whoever made the image chose it: what it would do to a terminal is escaped.
        write!(f, "{}=", self.name)?;
        for character in self.value.chars() {
            match character.is_control() {
                true => write!(f, "{}", character.escape_default())?,
                false => write!(f, "{character}")?,
            }
        }
        Ok(())
    }
}

impl fmt::Display for Labels {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, label) in self.iter().enumerate() {
            write!(f, "{}{label}", if index == 0 { "" } else { "," })?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn labels(pairs: &[(&str, &str)]) -> Result<Labels, LabelsError> {
        pairs
            .iter()
            .map(|(name, value)| Label {
                name: Name::new(*name).unwrap(),
                value: (*value).to_owned(),
            })
            .collect::<Vec<_>>()
            .try_into()
    }

    #[test]
    fn duplicates_and_the_reserved_name_are_refused() {
        assert!(matches!(
            labels(&[("os", "linux"), ("os", "linux")]),
            Err(LabelsError::Duplicate { .. })
        ));
        assert_eq!(labels(&[("name", "x")]), Err(LabelsError::Reserved));
    }

    #[test]
    fn matching_asks_only_for_what_was_asked() {
        let image = labels(&[("version", "1"), ("os", "linux")]).unwrap();
        assert_eq!(labels(&[("os", "linux")]).unwrap().first_mismatch(&image), None);
        assert_eq!(
            labels(&[("version", "2")]).unwrap().first_mismatch(&image).unwrap().1,
            Some("1")
        );
        assert_eq!(
            labels(&[("arch", "amd64")]).unwrap().first_mismatch(&image).unwrap().1,
            None
        );
    }
}
