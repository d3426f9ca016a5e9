//! [`Fingerprint`]: the full name of a key.

use std::{fmt, str::FromStr};

use sequoia_openpgp as openpgp;
use serde::{Deserialize, Serialize};
use thiserror::Error;

/// The fingerprint of an OpenPGP key: 40 hex digits (version 4) or 64 (version 6).
///
/// Shown to people in groups of four, as gpg does; `{:#}`, [`Fingerprint::to_hex`] and JSON have the digits alone.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Fingerprint(openpgp::Fingerprint);

/// A text that is not a fingerprint.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[error("`{text}` is not a fingerprint: it must have 40 hexadecimal digits")]
pub struct FingerprintError {
    text: String,
}

impl Fingerprint {
    /// The upper-case hex digits, without spaces.
    pub fn to_hex(&self) -> String {
        self.0.to_hex()
    }

    /// What a keyring calls the key's file: lower-case hex digits, as rkt has it.
    pub(crate) fn to_file_name(&self) -> String {
        self.0.to_hex().to_lowercase()
    }
}

impl From<openpgp::Fingerprint> for Fingerprint {
    fn from(fingerprint: openpgp::Fingerprint) -> Self {
        Self(fingerprint)
    }
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let digits = self.to_hex();
        if f.alternate() {
            f.write_str(&digits)
        } else {
            write_grouped(f, &digits)
        }
    }
}

impl FromStr for Fingerprint {
    type Err = FingerprintError;

    /// Reads hex digits of either case, with or without spaces and a leading `0x`.
    fn from_str(text: &str) -> Result<Self, FingerprintError> {
        let bad = || FingerprintError {
            text: text.chars().take(100).collect(),
        };
        let digits = hex_digits(text).ok_or_else(bad)?;
        match digits.parse().map_err(|_| bad())? {
            known @ (openpgp::Fingerprint::V4(_) | openpgp::Fingerprint::V6(_)) => Ok(Self(known)),
            _ => Err(bad()),
        }
    }
}

impl TryFrom<String> for Fingerprint {
    type Error = FingerprintError;

    fn try_from(text: String) -> Result<Self, FingerprintError> {
        text.parse()
    }
}

impl From<Fingerprint> for String {
    fn from(fingerprint: Fingerprint) -> String {
        fingerprint.to_hex()
    }
}

/// Writes hex digits in groups of four.
pub(crate) fn write_grouped(f: &mut fmt::Formatter<'_>, digits: &str) -> fmt::Result {
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && index % 4 == 0 {
            f.write_str(" ")?;
        }
        write!(f, "{digit}")?;
    }
    Ok(())
}

/// The upper-case hex digits of a text that has only those, spaces, and perhaps `0x` in front.
pub(crate) fn hex_digits(text: &str) -> Option<String> {
    let text = text.trim();
    let text = text.strip_prefix("0x").unwrap_or(text);
    let digits: String = text.chars().filter(|c| !c.is_whitespace()).collect();
    let is_hex = !digits.is_empty() && digits.chars().all(|c| c.is_ascii_hexdigit());
    is_hex.then(|| digits.to_ascii_uppercase())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_fingerprint_is_read_in_every_usual_spelling() {
        let plain = "8B86DE38890DDB72918 67B025210BD8888182190".replace(' ', "");
        let grouped = "8B86 DE38 890D DB72 9186 7B02 5210 BD88 8818 2190";
        let fingerprint: Fingerprint = plain.parse().unwrap();
        assert_eq!(fingerprint.to_string(), grouped);
        assert_eq!(format!("{fingerprint:#}"), plain);
        assert_eq!(fingerprint.to_file_name(), plain.to_lowercase());
        for spelling in [grouped, &plain.to_lowercase(), &format!("0x{plain}")] {
            assert_eq!(spelling.parse::<Fingerprint>().unwrap(), fingerprint);
        }
        assert_eq!(serde_json::to_string(&fingerprint).unwrap(), format!("\"{plain}\""));
    }

    #[test]
    fn other_texts_are_no_fingerprints() {
        for text in [
            "",
            "0x",
            "8B86DE38",
            "8B86DE38890DDB7291867B025210BD888818219",
            "Carly <carly@example.com>",
        ] {
            assert!(text.parse::<Fingerprint>().is_err(), "{text}");
        }
    }
}
