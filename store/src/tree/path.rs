use super::error::TreeError;

/// The longest name a directory entry can have (Linux's `NAME_MAX`, and EROFS's).
const NAME_MAX: usize = 255;
/// The longest path the kernel resolves, without its terminating NUL (`PATH_MAX` − 1). It also bounds a tree's depth.
pub(super) const PATH_MAX: usize = 4095;

/// Splits a relative path into names that a directory can hold; the empty path is the root and has none.
pub(super) fn segments(path: &[u8]) -> Result<Vec<&[u8]>, TreeError> {
    if path.is_empty() {
        return Ok(Vec::new());
    }
    let refuse = |reason| TreeError::Path {
        path: shown(path),
        reason,
    };
    if path.len() > PATH_MAX {
        return Err(refuse("it is longer than 4095 bytes"));
    }
    path.split(|byte| *byte == b'/')
        .map(|name| match name {
            b"" => Err(refuse("it has an empty segment")),
            b"." | b".." => Err(refuse("it has a `.` or `..` segment")),
            name if name.contains(&0) => Err(refuse("it has a NUL byte")),
            name if name.len() > NAME_MAX => Err(refuse("it has a name longer than 255 bytes")),
            name => Ok(name),
        })
        .collect()
}

/// A path or name as an error message shows it: text where it is text, and never raw control bytes.
pub(super) fn shown(bytes: &[u8]) -> String {
    if bytes.is_empty() {
        return "/".to_owned();
    }
    let mut text = String::new();
    for chunk in bytes.utf8_chunks() {
        for character in chunk.valid().chars() {
            if character.is_control() {
                text.extend(character.escape_default());
            } else {
                text.push(character);
            }
        }
        for byte in chunk.invalid() {
            text.extend(std::ascii::escape_default(*byte).map(char::from));
        }
    }
    text
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_path_is_split_into_names() {
        assert_eq!(segments(b"").unwrap(), Vec::<&[u8]>::new());
        assert_eq!(segments(b"usr/bin/..x").unwrap(), [&b"usr"[..], b"bin", b"..x"]);
        assert_eq!(segments(&[b'n'; 255]).unwrap().len(), 1);
    }

    #[test]
    fn paths_that_escape_or_cannot_exist_are_refused() {
        let long_name = vec![b'n'; 256];
        let long_path = b"d/".repeat(2048);
        let bad: [&[u8]; 11] = [
            b"/", b"/etc", b"etc/", b"a//b", b".", b"..", b"a/../b", b"./a", b"a\0b", &long_name, &long_path,
        ];
        for path in bad {
            assert!(segments(path).is_err(), "{}", shown(path));
        }
    }

    #[test]
    fn shown_paths_hold_no_control_bytes() {
        assert_eq!(shown("é/\u{1b}[2J\n".as_bytes()), "é/\\u{1b}[2J\\n");
        assert_eq!(shown(b"a\xffb"), "a\\xffb");
        assert_eq!(shown(b""), "/");
    }
}
