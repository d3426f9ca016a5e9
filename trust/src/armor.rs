//! Telling what a file that should hold keys or signatures really holds.

/// The line that opens each armored block.
const BEGIN: &[u8] = b"-----BEGIN PGP ";

/// The OpenPGP parts of a file: each armored block, or the whole if nothing is armored.
///
/// Publishers concatenate armored files (`cat a.asc b.asc`); gpg reads all the blocks, and so do we.
pub(crate) fn blocks(bytes: &[u8]) -> Vec<&[u8]> {
    let starts: Vec<usize> = (0..bytes.len()).filter(|&at| opens_block(bytes, at)).collect();
    if starts.is_empty() {
        return vec![bytes];
    }
    let ends = starts.iter().skip(1).copied().chain([bytes.len()]);
    starts
        .iter()
        .zip(ends)
        .map(|(&start, end)| &bytes[start..end])
        .collect()
}

/// What the file is, for a person who took it for something else.
pub(crate) fn describe(bytes: &[u8]) -> String {
    let text = bytes.trim_ascii_start();
    let starts_with = |tag: &[u8]| {
        text.get(..tag.len())
            .is_some_and(|start| start.eq_ignore_ascii_case(tag))
    };
    if text.is_empty() {
        return "empty".to_owned();
    }
    if starts_with(b"<!doctype") || starts_with(b"<html") || starts_with(b"<?xml") {
        return "a web page".to_owned();
    }
    match label(bytes) {
        Some("SIGNATURE") => "an OpenPGP signature".to_owned(),
        Some("PUBLIC KEY BLOCK") => "an OpenPGP public key".to_owned(),
        Some("PRIVATE KEY BLOCK") => "an OpenPGP secret key".to_owned(),
        Some("SIGNED MESSAGE") => "a text with its signature inside".to_owned(),
        Some("MESSAGE") => "an OpenPGP message".to_owned(),
        _ if text.is_ascii() => "other text".to_owned(),
        _ => "other data".to_owned(),
    }
}

/// Whether an armored block says that it holds a key.
pub(crate) fn is_key(block: &[u8]) -> bool {
    matches!(label(block), Some("PUBLIC KEY BLOCK" | "PRIVATE KEY BLOCK"))
}

/// Whether a block could hold a detached signature: it says so, or is not armored.
pub(crate) fn may_be_signature(block: &[u8]) -> bool {
    matches!(label(block), Some("SIGNATURE") | None)
}

/// Whether a block begins as a detached signature does, armored or binary (RFC 4880, section 4.2: packet tag 2).
pub(crate) fn is_signature(block: &[u8]) -> bool {
    match label(block) {
        Some(label) => label == "SIGNATURE",
        None => matches!(block.first(), Some(0x88..=0x8b | 0xc2)),
    }
}

/// The label of the first armored block, as in `PUBLIC KEY BLOCK`.
fn label(bytes: &[u8]) -> Option<&str> {
    let start = (0..bytes.len()).find(|&at| opens_block(bytes, at))? + BEGIN.len();
    let rest = &bytes[start..];
    let end = rest.windows(5).position(|dashes| dashes == b"-----")?;
    std::str::from_utf8(&rest[..end]).ok()
}

fn opens_block(bytes: &[u8], at: usize) -> bool {
    bytes[at..].starts_with(BEGIN) && (at == 0 || bytes[at - 1] == b'\n')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_are_split_where_they_begin() {
        let two: &[u8] = b"note\n-----BEGIN PGP SIGNATURE-----\na\n-----BEGIN PGP SIGNATURE-----\nb\n";
        assert_eq!(blocks(two).len(), 2);
        assert!(blocks(two)[1].ends_with(b"b\n"));
        assert_eq!(blocks(b"\x88\x75"), [b"\x88\x75"]);
    }

    #[test]
    fn mistaken_files_are_named() {
        assert_eq!(describe(b""), "empty");
        assert_eq!(describe(b"\n <!DOCTYPE html><title>404"), "a web page");
        assert_eq!(
            describe(b"-----BEGIN PGP PUBLIC KEY BLOCK-----\n"),
            "an OpenPGP public key"
        );
        assert_eq!(describe(b"not found\n"), "other text");
        assert_eq!(describe(b"\x1f\x8b\x08\xff"), "other data");
    }
}
