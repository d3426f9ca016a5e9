//! The headers of a bundle's tar: those of plain files in ustar (POSIX.1-1988), and nothing else.

use super::BLOCK;

/// The header of a file, or `None` where its path is too long for one.
pub(super) fn header(path: &str, size: u64) -> Option<[u8; BLOCK]> {
    let (prefix, name) = split(path)?;
    let mut header = [0; BLOCK];
    let mut put = |at: usize, bytes: &[u8]| header[at..at + bytes.len()].copy_from_slice(bytes);
    put(0, name.as_bytes());
    put(100, b"0000644\0");
    put(108, b"0000000\0");
    put(116, b"0000000\0");
    if size < 1 << 33 {
        put(124, format!("{size:011o}\0").as_bytes());
    } else {
        // As GNU tar writes it, and all read it.
        put(124, &[0x80, 0, 0, 0]);
        put(128, &size.to_be_bytes());
    }
    put(136, b"00000000000\0");
    put(148, b"        ");
    put(156, b"0");
    put(257, b"ustar\x0000");
    put(345, prefix.as_bytes());
    let sum: u32 = header.iter().map(|&byte| u32::from(byte)).sum();
    header[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    Some(header)
}

/// The size that a header tells, which may be anything.
pub(super) fn size(header: &[u8; BLOCK]) -> Option<u64> {
    let digits = std::str::from_utf8(&header[124..135]).ok()?;
    u64::from_str_radix(digits, 8).ok()
}

/// Prefix and name.
fn split(path: &str) -> Option<(&str, &str)> {
    if path.len() <= 100 {
        return Some(("", path));
    }
    let mut slashes = path.match_indices('/');
    slashes.find_map(|(at, _)| {
        let (prefix, name) = (&path[..at], &path[at + 1..]);
        (prefix.len() <= 155 && name.len() <= 100).then_some((prefix, name))
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_header_is_as_the_book_has_it() {
        let header = header("pubkeys.gpg", 0).unwrap();
        assert_eq!(&header[..12], b"pubkeys.gpg\0");
        assert_eq!(&header[100..116], b"0000644\x000000000\0");
        assert_eq!(&header[136..157], b"00000000000\x00010114\0 0");
        assert_eq!(&header[257..265], b"ustar\x0000");
        let large = super::header("a", 9 << 30).unwrap();
        assert_eq!(large[124..136], [0x80, 0, 0, 0, 0, 0, 0, 2, 0x40, 0, 0, 0]);
    }

    #[test]
    fn long_paths_are_split_and_longer_ones_refused() {
        let (long, longer) = ("a/".repeat(100) + "b", "a".repeat(101));
        let header = header(&long, 5).unwrap();
        assert_eq!(size(&header), Some(5));
        let (prefix, name) = split(&long).unwrap();
        assert_eq!(format!("{prefix}/{name}"), long);
        assert_eq!(split(&longer), None);
        assert_eq!(split(&"a/".repeat(200)), None);
    }
}
