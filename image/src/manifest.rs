//! Manifests: what an image or a pod says about itself (appc spec, aci.md and pods.md).
//!
//! ```text
//!   JSON ──► Fields ──► Readable::read ──► ImageManifest, PodManifest and what they hold
//!                            │
//!                         Reading: every Finding on the way, with its place and its section of the specification
//! ```
//!
//! A manifest that was read is valid: reading checks every rule, and the same reading checks what is written and is
//! what `dhow validate` shows. Fields that the specification does not know are kept, so that a round trip loses
//! nothing. Spellings of early versions of the specification are read, and written in the present one.

mod annotation;
mod app;
mod dependency;
mod environment;
mod error;
mod event_handler;
mod finding;
mod image;
mod isolator;
mod mount_point;
mod outline;
mod parameters;
mod platform;
mod pod;
mod port;
mod quantity;
pub(crate) mod reading;
mod timestamp;
mod version;
mod volume;

pub use annotation::Annotation;
pub use app::App;
pub use dependency::Dependency;
pub use environment::{EnvironmentError, EnvironmentVariable};
pub use error::ManifestError;
pub use event_handler::EventHandler;
pub use finding::{Finding, Severity};
pub use image::ImageManifest;
pub use isolator::{Isolator, IsolatorParametersError, IsolatorSetting, Resource, SeccompSet, SelinuxContext};
pub use mount_point::MountPoint;
pub use outline::{Outline, OutlineApp, OutlineImage, OutlineLabel};
pub use parameters::{ParametersError, parameters};
pub use platform::Platform;
pub use pod::{PodApp, PodAppImage, PodManifest, VolumeMount};
pub use port::{ExposedPort, Port};
pub use quantity::{Notation, Quantity, QuantityError};
pub use timestamp::{Timestamp, TimestampError};
pub use version::{AcKind, AcKindError, AcVersion, AcVersionError};
pub use volume::{Volume, VolumeKind};

pub(crate) use reading::MAX_FINDINGS;
use reading::survey;
use serde_json::Value;

/// The version of the App Container specification that is implemented, and written into new manifests.
pub const SPEC_VERSION: &str = "0.8.11";

/// The fields that the specification does not know, kept as they were.
type Extra = serde_json::Map<String, serde_json::Value>;

/// All that is to be said of a manifest, be it of an image or of a pod, and which it claims to be.
pub(crate) fn findings(json: &[u8]) -> (Option<AcKind>, Vec<Finding>) {
    let value: Value = match serde_json::from_slice(json) {
        Ok(value) => value,
        Err(error) => return (None, ManifestError::Json(error).findings()),
    };
    let kind = value
        .get("acKind")
        .and_then(Value::as_str)
        .and_then(|text| text.parse().ok());
    match kind {
        Some(AcKind::PodManifest) => (kind, survey::<PodManifest>(value).1),
        _ => (kind, survey::<ImageManifest>(value).1),
    }
}

/// Leaves `false` out of JSON, as the specification's own tools do.
fn is_false(value: &bool) -> bool {
    !value
}
