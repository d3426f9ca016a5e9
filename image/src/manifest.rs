//! Manifests: what an image or a pod says about itself (appc spec, aci.md and pods.md).
//!
//! A manifest that exists is valid: parsing checks every rule, and fields that the specification does not know are
//! kept, so that a round trip loses nothing.

mod app;
mod error;
mod image;
mod isolator;
mod pod;

pub use app::{App, EnvironmentVariable, EventHandler, MountPoint, Port};
pub use error::ManifestError;
pub use image::{Annotation, Dependency, ImageManifest};
pub use isolator::Isolator;
pub use pod::{PodApp, PodAppImage, PodManifest, Volume, VolumeKind, VolumeMount};

/// The version of the App Container specification that is implemented, and written into new manifests.
pub const SPEC_VERSION: &str = "0.8.11";

/// The fields that the specification does not know, kept as they were.
type Extra = serde_json::Map<String, serde_json::Value>;

/// Leaves `false` out of JSON, as the specification's own tools do.
fn is_false(value: &bool) -> bool {
    !value
}
