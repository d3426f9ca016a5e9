//! Image IDs: the digest by which an image is known everywhere (appc spec, types.md, "Image ID Type").

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};
use sha2::Digest;
use thiserror::Error;

use crate::sha512::Sha512;

const PREFIX: &str = "sha512-";
/// A shorter prefix would be ambiguous soon, and too easy to hit by chance.
const MIN_PREFIX_DIGITS: usize = 12;

/// The SHA-512 of an image's uncompressed tar, written `sha512-` and 128 hex digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ImageId([u8; 64]);

/// The beginning of an image ID, at least 12 hex digits of it, as a user may type it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ImageIdPrefix(String);

/// Why a text is not an image ID.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum ImageIdError {
    /// The text names no hash algorithm, or one that the specification does not permit.
    #[error(
        "`{text}` is not an image ID: it must begin with `sha512-`, the only algorithm that the specification permits"
    )]
    Algorithm {
        /// What was given.
        text: String,
    },
    /// The digest is not of lower-case hex digits, or of the wrong length.
    #[error("`{text}` is not an image ID: after `sha512-` there must be {expected} lower-case hex digits")]
    Digest {
        /// What was given.
        text: String,
        /// How many digits there must be.
        expected: &'static str,
    },
}

impl ImageId {
    /// The image ID of a finished SHA-512 computation.
    pub fn from_sha512(hasher: Sha512) -> Self {
        Self(hasher.finalize().into())
    }

    /// The image ID that has these digest bytes.
    pub fn from_bytes(bytes: [u8; 64]) -> Self {
        Self(bytes)
    }

    /// The digest.
    pub fn as_bytes(&self) -> &[u8; 64] {
        &self.0
    }

    /// The algorithm and the first 12 hex digits: short enough for tables, long enough to be accepted back.
    pub fn short(&self) -> String {
        format!("{PREFIX}{}", &hex::encode(&self.0[..6]))
    }
}

impl ImageIdPrefix {
    /// Whether `id` begins so.
    pub fn matches(&self, id: &ImageId) -> bool {
        id.to_string().starts_with(&self.0)
    }

    /// The prefix as text, `sha512-` included.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for ImageId {
    type Err = ImageIdError;

    fn from_str(text: &str) -> Result<Self, ImageIdError> {
        let digits = hex_digits(text)?;
        let mut bytes = [0; 64];
        hex::decode_to_slice(digits, &mut bytes).map_err(|_| ImageIdError::Digest {
            text: text.to_owned(),
            expected: "128",
        })?;
        Ok(Self(bytes))
    }
}

impl FromStr for ImageIdPrefix {
    type Err = ImageIdError;

    fn from_str(text: &str) -> Result<Self, ImageIdError> {
        let digits = hex_digits(text)?;
        if (MIN_PREFIX_DIGITS..=128).contains(&digits.len()) {
            Ok(Self(text.to_owned()))
        } else {
            Err(ImageIdError::Digest {
                text: text.to_owned(),
                expected: "12 to 128",
            })
        }
    }
}

fn hex_digits(text: &str) -> Result<&str, ImageIdError> {
    let digits = text
        .strip_prefix(PREFIX)
        .ok_or_else(|| ImageIdError::Algorithm { text: text.to_owned() })?;
    if digits.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f')) {
        Ok(digits)
    } else {
        Err(ImageIdError::Digest {
            text: text.to_owned(),
            expected: "128",
        })
    }
}

impl fmt::Display for ImageId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{PREFIX}{}", hex::encode(self.0))
    }
}

impl fmt::Debug for ImageId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Display for ImageIdPrefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl TryFrom<String> for ImageId {
    type Error = ImageIdError;

    fn try_from(text: String) -> Result<Self, ImageIdError> {
        text.parse()
    }
}

impl From<ImageId> for String {
    fn from(id: ImageId) -> String {
        id.to_string()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn ids_round_trip_and_shorten_to_an_accepted_prefix() {
        let id = ImageId::from_sha512(Sha512::new_with_prefix(b"abc"));
        assert!(id.to_string().starts_with("sha512-ddaf35a193617aba"));
        assert_eq!(id.to_string().parse::<ImageId>().unwrap(), id);
        assert!(id.short().parse::<ImageIdPrefix>().unwrap().matches(&id));
    }

    #[test]
    fn other_algorithms_cases_and_lengths_are_refused() {
        assert!(matches!(
            "sha256-00".parse::<ImageId>(),
            Err(ImageIdError::Algorithm { .. })
        ));
        assert!(matches!(
            "sha512-00".parse::<ImageId>(),
            Err(ImageIdError::Digest { .. })
        ));
        assert!(format!("sha512-{}", "A".repeat(128)).parse::<ImageId>().is_err());
        assert!("sha512-0123456789a".parse::<ImageIdPrefix>().is_err());
        assert!("sha512-0123456789ab".parse::<ImageIdPrefix>().is_ok());
    }
}
