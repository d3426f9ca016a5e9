//! Which kind of manifest it is, and of which version of the specification (appc spec, types.md).

use std::{fmt, str::FromStr};

use serde::{Serialize, Serializer};
use thiserror::Error;

use super::{
    SPEC_VERSION,
    reading::{Fields, Reading, deserialize_by_reading, shorten},
};

/// An AC Kind: what a manifest describes (appc spec, types.md, "AC Kind Type").
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub enum AcKind {
    /// An image.
    ImageManifest,
    /// A pod.
    PodManifest,
}

/// An AC Version: a version of the specification, in Semantic Versioning 2.0.0 and not zero (appc spec, types.md,
/// "AC Version Type").
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct AcVersion(semver::Version);

/// Why a text is no AC Kind.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[error("`{text}` is neither `ImageManifest` nor `PodManifest`")]
pub struct AcKindError {
    text: String,
}

/// Why a text is no AC Version.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[error("`{text}` is no version as in `{SPEC_VERSION}`")]
pub struct AcVersionError {
    text: String,
}

impl AcVersion {
    /// The version that this program implements.
    pub fn implemented() -> Self {
        SPEC_VERSION.parse().expect("the constant is a version")
    }

    /// Whether manifests of this version mean what this program thinks they do: every 0.x does.
    pub fn is_compatible(&self) -> bool {
        self.0.major == 0
    }
}

/// Reads `acKind` and `acVersion`, which every manifest begins with.
pub(super) fn read_header(fields: &mut Fields, expected: AcKind, reading: &mut Reading) -> Option<AcVersion> {
    let kind: Option<AcKind> = reading.by("types.md, \"AC Kind Type\"", |reading| {
        fields.required("acKind", reading)
    });
    if kind.is_some_and(|kind| kind != expected) {
        reading.at("acKind", |reading| reading.error(format!("is not `{expected:?}`")));
    }
    reading.by("types.md, \"AC Version Type\"", |reading| {
        let version: AcVersion = fields.required("acVersion", reading)?;
        reading.at("acVersion", |reading| {
            if !version.is_compatible() {
                reading.error(format!(
                    "is `{version}`, which is not a 0.x version of the specification (this is {SPEC_VERSION})"
                ));
            } else if version > AcVersion::implemented() {
                reading.warning(format!(
                    "is `{version}`, later than {SPEC_VERSION}, the last that is implemented here"
                ));
            }
        });
        Some(version)
    })
}

impl FromStr for AcKind {
    type Err = AcKindError;

    fn from_str(text: &str) -> Result<Self, AcKindError> {
        match text {
            "ImageManifest" => Ok(Self::ImageManifest),
            "PodManifest" => Ok(Self::PodManifest),
            _ => Err(AcKindError { text: shorten(text) }),
        }
    }
}

impl FromStr for AcVersion {
    type Err = AcVersionError;

    fn from_str(text: &str) -> Result<Self, AcVersionError> {
        match semver::Version::parse(text) {
            Ok(version) if version != semver::Version::new(0, 0, 0) => Ok(Self(version)),
            _ => Err(AcVersionError { text: shorten(text) }),
        }
    }
}

impl fmt::Display for AcVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl Serialize for AcVersion {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

deserialize_by_reading!(AcKind, AcVersion);
