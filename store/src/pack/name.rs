//! Names: of packs, and of contents in packs.

use std::{fmt, str::FromStr};

/// The name of a pack: the SHA-256 of the whole file.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PackId([u8; 32]);

/// What a pack calls a content: its SHA-256 in a pack that is not sealed, and what [`ContentKey::name`] makes of it in
/// one that is.
///
/// [`ContentKey::name`]: crate::pack::ContentKey::name
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ContentName([u8; 32]);

impl PackId {
    /// The pack whose SHA-256 this is.
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The SHA-256.
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// Where a backend keeps the pack: two hex digits, a slash, the other 62, and `.pack`.
    pub fn relative_path(&self) -> String {
        let hex = hex::encode(self.0);
        format!("{}/{}.pack", &hex[..2], &hex[2..])
    }

    /// The pack that would be kept at this path, if any would.
    pub fn from_relative_path(path: &str) -> Option<Self> {
        let (folder, rest) = path.split_once('/')?;
        let hex = rest.strip_suffix(".pack").filter(|_| folder.len() == 2)?;
        format!("{folder}{hex}").parse().ok()
    }
}

impl FromStr for PackId {
    type Err = hex::FromHexError;

    /// Reads 64 lower-case hex digits.
    fn from_str(hex: &str) -> Result<Self, Self::Err> {
        let mut bytes = [0; 32];
        hex::decode_to_slice(hex, &mut bytes)?;
        match hex.find(|c: char| c.is_ascii_uppercase()) {
            Some(index) => Err(hex::FromHexError::InvalidHexCharacter {
                c: hex[index..].chars().next().expect("an index of a character"),
                index,
            }),
            None => Ok(Self(bytes)),
        }
    }
}

impl ContentName {
    /// The content with this name.
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The name.
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl fmt::Display for PackId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

impl fmt::Debug for PackId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Display for ContentName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

impl fmt::Debug for ContentName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_names_one_pack_and_no_other_does() {
        let id = PackId::from_bytes([0xab; 32]);
        let path = id.relative_path();
        assert!(path.starts_with("ab/abab") && path.ends_with("ab.pack"));
        assert_eq!(PackId::from_relative_path(&path), Some(id));
        for other in [
            path.to_uppercase(),
            path.replace(".pack", ""),
            path.replace('/', ""),
            path.replace("ab/ab", "ab/aB"),
            path.replacen("ab/a", "aba/", 1),
            format!("../{path}"),
        ] {
            assert_eq!(PackId::from_relative_path(&other), None, "{other}");
        }
    }
}
