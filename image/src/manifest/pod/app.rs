//! One app of a pod (appc spec, pods.md, "Pod Manifest Schema").

use serde::Serialize;
use serde_json::Value;

use crate::{
    image_id::ImageId,
    label::Labels,
    manifest::{
        Annotation, App, Extra, Volume,
        annotation::read_annotations,
        is_false,
        mount_point::read_absolute,
        platform,
        reading::{Fields, Readable, Reading, deserialize_by_reading},
    },
    name::{AcName, Name},
};

/// One app of a pod.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct PodApp {
    /// Its name within the pod.
    pub name: AcName,
    /// The image that it runs in.
    pub image: PodAppImage,
    /// What replaces the image's own `app` section.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub app: Option<App>,
    /// Whether its root file system is read-only.
    #[serde(rename = "readOnlyRootFS", skip_serializing_if = "is_false")]
    pub read_only_root_fs: bool,
    /// Which volume goes where.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub mounts: Vec<VolumeMount>,
    /// Further facts.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub annotations: Vec<Annotation>,
    #[serde(flatten)]
    extra: Extra,
}

/// Which image an app of a pod runs in.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct PodAppImage {
    /// Its name, for people.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<Name>,
    /// Its ID, which decides.
    pub id: ImageId,
    /// Its labels, for people.
    #[serde(skip_serializing_if = "Labels::is_empty")]
    pub labels: Labels,
    #[serde(flatten)]
    extra: Extra,
}

/// A volume at a place of an app.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct VolumeMount {
    /// The volume's name.
    pub volume: AcName,
    /// Where it goes inside the app's root file system.
    pub path: String,
    /// A volume of this mount's own.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub app_volume: Option<Volume>,
    #[serde(flatten)]
    extra: Extra,
}

impl PodApp {
    /// The app `name` in the image `id`.
    pub fn new(name: AcName, image_name: Name, labels: Labels, id: ImageId) -> Self {
        Self {
            name,
            image: PodAppImage {
                name: Some(image_name),
                id,
                labels,
                extra: Extra::new(),
            },
            app: None,
            read_only_root_fs: false,
            mounts: Vec::new(),
            annotations: Vec::new(),
            extra: Extra::new(),
        }
    }
}

impl VolumeMount {
    /// The pod's volume `volume` at `path`, which is checked when the manifest is.
    pub fn new(volume: AcName, path: impl Into<String>) -> Self {
        Self {
            volume,
            path: path.into(),
            app_volume: None,
            extra: Extra::new(),
        }
    }
}

impl Readable for PodApp {
    fn read(value: Value, reading: &mut Reading) -> Option<Self> {
        let mut fields = Fields::of(value, reading)?;
        let name = fields.required("name", reading);
        let image = fields.required("image", reading);
        let app = fields.optional("app", reading);
        let read_only_root_fs = fields.or_default("readOnlyRootFS", reading);
        let mounts = fields.or_default("mounts", reading);
        let annotations = read_annotations(&mut fields, reading);
        let extra = fields.rest(reading);
        Some(Self {
            name: name?,
            image: image?,
            app,
            read_only_root_fs,
            mounts,
            annotations,
            extra,
        })
    }
}

impl Readable for PodAppImage {
    fn read(value: Value, reading: &mut Reading) -> Option<Self> {
        let mut fields = Fields::of(value, reading)?;
        let name = fields.optional("name", reading);
        let id = fields.required("id", reading);
        let labels: Labels = fields.or_default("labels", reading);
        reading.at("labels", |reading| platform::check(&labels, reading));
        let extra = fields.rest(reading);
        Some(Self {
            name,
            id: id?,
            labels,
            extra,
        })
    }
}

impl Readable for VolumeMount {
    fn read(value: Value, reading: &mut Reading) -> Option<Self> {
        let mut fields = Fields::of(value, reading)?;
        let volume = fields.required("volume", reading);
        let path = read_absolute("path", &mut fields, reading);
        let app_volume = fields.optional("appVolume", reading);
        let extra = fields.rest(reading);
        Some(Self {
            volume: volume?,
            path: path?,
            app_volume,
            extra,
        })
    }
}

deserialize_by_reading!(PodApp, PodAppImage, VolumeMount);
