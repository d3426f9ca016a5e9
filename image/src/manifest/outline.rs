//! What a manifest says that is not valid, as far as it can be made out: enough to tell a person which image or pod it
//! is, and to remove it.

use serde::Deserialize;

use super::ManifestError;

/// The names in a manifest, none of them checked.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Outline {
    /// What it says it is: `ImageManifest` or `PodManifest`, where it is either.
    pub ac_kind: String,
    /// For which version of the specification it was written.
    pub ac_version: String,
    /// The image's name.
    pub name: String,
    /// The image's labels.
    pub labels: Vec<OutlineLabel>,
    /// The pod's apps.
    pub apps: Vec<OutlineApp>,
}

/// One label, unchecked.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct OutlineLabel {
    /// Its name.
    pub name: String,
    /// Its value.
    pub value: String,
}

/// One app of a pod, unchecked.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct OutlineApp {
    /// Its name within the pod.
    pub name: String,
    /// The image that it runs in.
    pub image: OutlineImage,
}

/// The image of an app of a pod, unchecked.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct OutlineImage {
    /// Its name.
    pub name: String,
    /// Its ID.
    pub id: String,
    /// Its labels.
    pub labels: Vec<OutlineLabel>,
}

impl Outline {
    /// Reads what can be made out of a manifest, which must at least be JSON with its names where they belong.
    pub fn from_json(json: &[u8]) -> Result<Self, ManifestError> {
        Ok(serde_json::from_slice(json)?)
    }
}
