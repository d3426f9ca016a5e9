//! The image manifest (appc spec, aci.md, "Image Manifest Schema").

use serde::Serialize;
use serde_json::Value;

use super::{
    AcKind, AcVersion, Annotation, App, Dependency, Extra, ManifestError, Timestamp,
    annotation::read_annotations,
    mount_point::check_absolute,
    platform,
    reading::{Fields, Readable, Reading, deserialize_by_reading, parse},
    version::read_header,
};
use crate::{label::Labels, name::Name};

const SECTION: &str = "aci.md, \"Image Manifest Schema\"";

/// What an image says about itself: its name, its labels, and how to run it.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ImageManifest {
    ac_kind: AcKind,
    ac_version: AcVersion,
    /// The name under which the image is discovered.
    pub name: Name,
    /// What tells this build from others of the name.
    #[serde(skip_serializing_if = "Labels::is_empty")]
    pub labels: Labels,
    /// How to run it; absent where there is nothing to run.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub app: Option<App>,
    /// The images whose files lie beneath this one's.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub dependencies: Vec<Dependency>,
    /// The only paths that exist after rendering; all, where empty.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub path_whitelist: Vec<String>,
    /// Further facts, for people and for other programs.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub annotations: Vec<Annotation>,
    #[serde(flatten)]
    extra: Extra,
}

impl ImageManifest {
    /// A manifest that says only a name.
    pub fn new(name: Name) -> Self {
        Self {
            ac_kind: AcKind::ImageManifest,
            ac_version: AcVersion::implemented(),
            name,
            labels: Labels::default(),
            app: None,
            dependencies: Vec::new(),
            path_whitelist: Vec::new(),
            annotations: Vec::new(),
            extra: Extra::new(),
        }
    }

    /// Reads and checks a manifest. The error tells everything that is wrong with it.
    pub fn from_json(json: &[u8]) -> Result<Self, ManifestError> {
        parse(serde_json::from_slice(json)?)
    }

    /// The manifest as compact JSON, always the same for the same manifest.
    ///
    /// Fails where a field was set to what the specification forbids.
    pub fn to_json(&self) -> Result<Vec<u8>, ManifestError> {
        let value = serde_json::to_value(self)?;
        let json = serde_json::to_vec(&value)?;
        parse::<Self>(value)?;
        Ok(json)
    }

    /// The version of the specification that it was written for.
    pub fn ac_version(&self) -> &AcVersion {
        &self.ac_version
    }

    /// The value of the annotation `name`.
    pub fn annotation(&self, name: &str) -> Option<&str> {
        Annotation::get(&self.annotations, name)
    }

    /// When the image was built, by its annotation `created`.
    pub fn created(&self) -> Option<Timestamp> {
        self.annotation("created")?.parse().ok()
    }
}

impl Readable for ImageManifest {
    fn read(value: Value, reading: &mut Reading) -> Option<Self> {
        reading.by(SECTION, |reading| {
            let mut fields = Fields::of(value, reading)?;
            let ac_version = read_header(&mut fields, AcKind::ImageManifest, reading);
            let name = fields.required("name", reading);
            let labels: Labels = fields.or_default("labels", reading);
            reading.at("labels", |reading| platform::check(&labels, reading));
            let app = fields.optional("app", reading);
            let dependencies = fields.or_default("dependencies", reading);
            let path_whitelist: Vec<String> = fields.or_default("pathWhitelist", reading);
            for (index, path) in path_whitelist.iter().enumerate() {
                reading.at(&format!("pathWhitelist[{index}]"), |reading| {
                    check_absolute(path, reading)
                });
            }
            let annotations = read_annotations(&mut fields, reading);
            let extra = fields.rest(reading);
            Some(Self {
                ac_kind: AcKind::ImageManifest,
                ac_version: ac_version?,
                name: name?,
                labels,
                app,
                dependencies,
                path_whitelist,
                annotations,
                extra,
            })
        })
    }
}

deserialize_by_reading!(ImageManifest);
