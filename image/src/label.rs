//! Labels: what tells one build of a name from another (appc spec, aci.md, "Image Manifest Schema").

use std::fmt;

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::name::Name;

/// One label, as in `version=1.2.0`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Label {
    /// What the label says something about: `version`, `os`, `arch` or a name of the publisher's own.
    pub name: Name,
    /// What it says; any text.
    pub value: String,
}

/// The labels of an image or of a reference: an ordered list in which no name stands twice, and none is `name`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Vec<Label>", into = "Vec<Label>")]
pub struct Labels(Vec<Label>);

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
        self.0
            .iter()
            .find(|label| label.name.as_str() == name)
            .map(|label| label.value.as_str())
    }

    /// Adds a label at the end.
    pub fn insert(&mut self, name: Name, value: impl Into<String>) -> Result<(), LabelsError> {
        if name.as_str() == "name" {
            return Err(LabelsError::Reserved);
        }
        if self.get(name.as_str()).is_some() {
            return Err(LabelsError::Duplicate { name });
        }
        self.0.push(Label {
            name,
            value: value.into(),
        });
        Ok(())
    }

    /// The labels in their order.
    pub fn iter(&self) -> impl Iterator<Item = &Label> {
        self.0.iter()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The first of these labels that `image` lacks or has with another value, as `(label, what the image has)`.
    /// Labels that only the image has always match (appc spec, discovery.md, "Validation").
    pub fn first_mismatch<'a>(&'a self, image: &'a Labels) -> Option<(&'a Label, Option<&'a str>)> {
        self.0
            .iter()
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
        labels.0
    }
}

impl fmt::Display for Label {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}={}", self.name, self.value)
    }
}

impl fmt::Display for Labels {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, label) in self.0.iter().enumerate() {
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
