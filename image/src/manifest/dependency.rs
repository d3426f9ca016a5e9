//! Dependencies: the images whose files lie beneath an image's own (appc spec, aci.md, "Image Manifest Schema").

use serde::Serialize;
use serde_json::Value;

use super::{
    Extra, platform,
    reading::{Fields, Readable, Reading, deserialize_by_reading},
};
use crate::{image_id::ImageId, label::Labels, name::Name};

/// An image beneath another.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Dependency {
    /// Its name.
    pub image_name: Name,
    /// Its ID, where only that one will do.
    #[serde(rename = "imageID", skip_serializing_if = "Option::is_none")]
    pub image_id: Option<ImageId>,
    /// The labels it must have.
    #[serde(skip_serializing_if = "Labels::is_empty")]
    pub labels: Labels,
    /// The size of its archive in bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub size: Option<u64>,
    #[serde(flatten)]
    extra: Extra,
}

impl Dependency {
    /// Any image of this name.
    pub fn new(image_name: Name) -> Self {
        Self {
            image_name,
            image_id: None,
            labels: Labels::default(),
            size: None,
            extra: Extra::new(),
        }
    }
}

impl Readable for Dependency {
    fn read(value: Value, reading: &mut Reading) -> Option<Self> {
        let mut fields = Fields::of(value, reading)?;
        fields.rename("app", "imageName", reading);
        fields.rename("name", "imageName", reading);
        fields.rename("hash", "imageID", reading);
        let image_name = fields.required("imageName", reading);
        let image_id = fields.optional("imageID", reading);
        let labels: Labels = fields.or_default("labels", reading);
        reading.at("labels", |reading| platform::check(&labels, reading));
        let size = fields.optional("size", reading);
        let extra = fields.rest(reading);
        Some(Self {
            image_name: image_name?,
            image_id,
            labels,
            // The specification's own implementation leaves out a size of 0, which says nothing.
            size: size.filter(|size| *size > 0),
            extra,
        })
    }
}

deserialize_by_reading!(Dependency);
