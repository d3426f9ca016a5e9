//! What can be wrong with a manifest.

use thiserror::Error;

/// Why a manifest was refused.
#[derive(Debug, Error)]
pub enum ManifestError {
    /// It is not JSON, or not of the schema's shape.
    #[error("the manifest is not what the schema asks for")]
    Json(#[from] serde_json::Error),
    /// It is of another kind.
    #[error("the manifest's `acKind` is `{found}`, where `{expected}` is needed")]
    Kind {
        /// What it says.
        found: String,
        /// What was needed.
        expected: &'static str,
    },
    /// Its version is not a semantic version, or of an incompatible series.
    #[error(
        "the manifest's `acVersion` `{version}` is not a 0.x version of the specification (this is {})",
        super::SPEC_VERSION
    )]
    Version {
        /// What it says.
        version: String,
    },
    /// A field breaks a rule of the specification.
    #[error("the manifest's `{field}` {problem}")]
    Field {
        /// The field, as a path through the JSON.
        field: String,
        /// What is wrong with it.
        problem: String,
    },
}

impl ManifestError {
    pub(super) fn field(field: impl Into<String>, problem: impl Into<String>) -> Self {
        Self::Field {
            field: field.into(),
            problem: problem.into(),
        }
    }
}

/// The first key that stands twice.
pub(super) fn first_duplicate<T: Ord>(keys: impl IntoIterator<Item = T>) -> Option<T> {
    let mut seen = std::collections::BTreeSet::new();
    for key in keys {
        if seen.contains(&key) {
            return Some(key);
        }
        seen.insert(key);
    }
    None
}

/// `acKind` and `acVersion`, which both kinds of manifest begin with (appc spec, types.md, "AC Version Type").
pub(super) fn check_kind_and_version(kind: &str, version: &str, expected: &'static str) -> Result<(), ManifestError> {
    if kind != expected {
        return Err(ManifestError::Kind {
            found: kind.to_owned(),
            expected,
        });
    }
    // A manifest of a later minor version than ours may use fields we do not know, which are kept and ignored.
    match semver::Version::parse(version) {
        Ok(parsed) if parsed.major == 0 => Ok(()),
        _ => Err(ManifestError::Version {
            version: version.to_owned(),
        }),
    }
}
