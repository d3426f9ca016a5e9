//! One 512-byte header of a tar, its numbers and texts made usable (POSIX ustar and GNU).

use tar::{EntryType, Header};

use super::BLOCK;

/// A header whose checksum was right.
pub(super) struct RawHeader(Header);

impl RawHeader {
    /// Takes a block for a header; the error says what is wrong with it.
    pub(super) fn parse(block: &[u8; BLOCK]) -> Result<Self, &'static str> {
        let header = Header::from_byte_slice(block).clone();
        let stored = header.cksum().map_err(|_| "a header's checksum is no number")?;
        let sum = |signed: bool| -> i64 {
            block
                .iter()
                .enumerate()
                .map(|(at, &byte)| if (148..156).contains(&at) { b' ' } else { byte })
                .map(|byte| {
                    if signed {
                        i64::from(byte.cast_signed())
                    } else {
                        i64::from(byte)
                    }
                })
                .sum()
        };
        // Old tars summed signed bytes.
        if i64::from(stored) == sum(false) || i64::from(stored) == sum(true) {
            Ok(Self(header))
        } else {
            Err("a header's checksum is wrong")
        }
    }

    pub(super) fn kind(&self) -> EntryType {
        self.0.entry_type()
    }

    /// The name with the ustar prefix before it.
    pub(super) fn path(&self) -> Vec<u8> {
        self.0.path_bytes().into_owned()
    }

    pub(super) fn link(&self) -> Vec<u8> {
        self.0
            .link_name_bytes()
            .map(|name| name.into_owned())
            .unwrap_or_default()
    }

    pub(super) fn size(&self) -> Option<u64> {
        number(&self.0.as_old().size)
    }

    pub(super) fn mode(&self) -> Option<u64> {
        number(&self.0.as_old().mode)
    }

    pub(super) fn uid(&self) -> Option<u64> {
        number(&self.0.as_old().uid)
    }

    pub(super) fn gid(&self) -> Option<u64> {
        number(&self.0.as_old().gid)
    }

    /// Seconds since 1970; GNU writes times before it in base 256.
    pub(super) fn mtime(&self) -> Option<i64> {
        match &self.0.as_old().mtime {
            [0xff, 0xff, 0xff, 0xff, rest @ ..] => Some(i64::from_be_bytes(*rest)).filter(|time| time.is_negative()),
            field => number(field).and_then(|time| i64::try_from(time).ok()),
        }
    }

    /// Major and minor number, where the format has room for them.
    pub(super) fn device(&self) -> Option<(u32, u32)> {
        let fields = match (self.0.as_ustar(), self.0.as_gnu()) {
            (Some(ustar), _) => Some((&ustar.dev_major, &ustar.dev_minor)),
            (None, Some(gnu)) => Some((&gnu.dev_major, &gnu.dev_minor)),
            (None, None) => None,
        };
        let (major, minor) = fields?;
        Some((u32::try_from(number(major)?).ok()?, u32::try_from(number(minor)?).ok()?))
    }
}

/// A number as POSIX writes it, octal digits with blanks around them, or as GNU does where that is too small: a set
/// top bit, then big-endian bytes. An empty field is 0. `None` for anything else, negative numbers among it.
fn number(field: &[u8]) -> Option<u64> {
    if let [0x80, rest @ ..] = field {
        let value = rest
            .iter()
            .try_fold(0u64, |value, &byte| value.checked_mul(256)?.checked_add(byte.into()));
        return value;
    }
    let blank = |byte: &u8| matches!(byte, b' ' | 0);
    let start = field.iter().position(|byte| !blank(byte)).unwrap_or(field.len());
    let digits = &field[start..];
    let end = digits.iter().position(blank).unwrap_or(digits.len());
    if !digits[end..].iter().all(blank) {
        return None;
    }
    digits[..end].iter().try_fold(0u64, |value, &byte| match byte {
        b'0'..=b'7' => value.checked_mul(8)?.checked_add(u64::from(byte - b'0')),
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_octal_or_base_256() {
        assert_eq!(number(b"0000644\0"), Some(0o644));
        assert_eq!(number(b"   644 \0"), Some(0o644));
        assert_eq!(number(b"\0\0\0"), Some(0));
        assert_eq!(number(b"\x80\0\0\0\0\0\x01\0"), Some(256));
        assert_eq!(number(b"\x80\x01\0\0\0\0\0\0\0\0"), None, "more than 64 bits");
        assert_eq!(number(b"\xff\xff"), None, "negative");
        assert_eq!(number(b"12 3"), None);
        assert_eq!(number(b"9"), None);
    }
}
