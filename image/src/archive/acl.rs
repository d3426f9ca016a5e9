//! Access control lists as star and GNU tar write them, in the text of `acl(5)`, and as the kernel takes them.

/// The attribute in which Linux keeps the list of a file.
pub(super) const ACCESS: &[u8] = b"system.posix_acl_access";
/// The attribute in which Linux keeps what new files in a directory begin with.
pub(super) const DEFAULT: &[u8] = b"system.posix_acl_default";

const VERSION: u32 = 2;
const USER_OBJ: u16 = 0x01;
const USER: u16 = 0x02;
const GROUP_OBJ: u16 = 0x04;
const GROUP: u16 = 0x08;
const MASK: u16 = 0x10;
const OTHER: u16 = 0x20;
const NO_ID: u32 = u32::MAX;

/// The value of the attribute for a list in text; the error says why it cannot be made.
///
/// A user or group who is only named, with no number beside, is a stranger here, since names mean what the image's own
/// `/etc/passwd` says: such a list is refused and not guessed at.
pub(super) fn to_xattr(text: &[u8]) -> Result<Vec<u8>, String> {
    let text = std::str::from_utf8(text).map_err(|_| "has an access control list that is no text".to_owned())?;
    let mut entries = Vec::new();
    for entry in text.split(['\n', ',']) {
        let entry = entry.split('#').next().unwrap_or_default().trim();
        if !entry.is_empty() {
            entries.push(parse(entry).map_err(|problem| format!("has the access control entry `{entry}`, {problem}"))?);
        }
    }
    // The order that the kernel asks for.
    entries.sort_by_key(|&(tag, id, _)| (tag, id));
    if entries
        .windows(2)
        .any(|pair| pair[0].0 == pair[1].0 && pair[0].1 == pair[1].1)
    {
        return Err("has an access control list that names someone twice".to_owned());
    }
    let count = |tag| entries.iter().filter(|entry| entry.0 == tag).count();
    let needs_mask = count(USER) + count(GROUP) > 0;
    if [USER_OBJ, GROUP_OBJ, OTHER].iter().any(|&tag| count(tag) != 1) || (needs_mask && count(MASK) != 1) {
        return Err("has an access control list without its owner, group, others or mask".to_owned());
    }
    let mut value = VERSION.to_le_bytes().to_vec();
    for (tag, id, permissions) in entries {
        value.extend_from_slice(&tag.to_le_bytes());
        value.extend_from_slice(&permissions.to_le_bytes());
        value.extend_from_slice(&id.to_le_bytes());
    }
    Ok(value)
}

/// One entry, `TAG:[WHO]:PERMISSIONS[:ID]`, the last part being star's.
fn parse(entry: &str) -> Result<(u16, u32, u16), &'static str> {
    const MALFORMED: &str = "which is malformed";
    let parts: Vec<_> = entry.split(':').map(str::trim).collect();
    let (tag, who, permissions, number) = match parts.as_slice() {
        // Some leave out the empty name of those that never have one.
        [tag @ ("m" | "mask" | "o" | "other"), permissions] => (*tag, "", *permissions, ""),
        [tag, who, permissions] => (*tag, *who, *permissions, ""),
        [tag, who, permissions, number] => (*tag, *who, *permissions, *number),
        _ => return Err(MALFORMED),
    };
    let tag = match (tag, who.is_empty()) {
        ("u" | "user", true) => USER_OBJ,
        ("u" | "user", false) => USER,
        ("g" | "group", true) => GROUP_OBJ,
        ("g" | "group", false) => GROUP,
        ("m" | "mask", true) => MASK,
        ("o" | "other", true) => OTHER,
        _ => return Err(MALFORMED),
    };
    let number = if number.is_empty() { who } else { number };
    let id = match (tag, number) {
        (USER | GROUP, "root") => 0,
        (USER | GROUP, number) => number
            .parse()
            .ok()
            .filter(|&id| id != NO_ID && !number.starts_with('+'))
            .ok_or("which names somebody without a number (`tar --acls --xattrs` writes it)")?,
        _ => NO_ID,
    };
    let permissions = permissions.chars().try_fold(0, |bits, letter| match letter {
        'r' => Ok(bits | 4),
        'w' => Ok(bits | 2),
        'x' => Ok(bits | 1),
        '-' => Ok(bits),
        _ => Err(MALFORMED),
    })?;
    Ok((tag, id, permissions))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn text_becomes_what_the_kernel_takes() {
        // What `setfacl -m u:1000:rw,g:7:r` leaves, read back from the kernel.
        let expected =
            "0200000001000600ffffffff02000600e803000004000400ffffffff080004000700000010000600ffffffff20000400ffffffff";
        for text in [
            "user::rw-\nuser:1000:rw-\ngroup::r--\ngroup:7:r--\nmask::rw-\nother::r--\n",
            "other::r--,mask::rw-,u::rw,user:lisa:rw-:1000,group:wheel:r--:7 #effective:r--,g::r",
        ] {
            assert_eq!(hex::encode(to_xattr(text.as_bytes()).unwrap()), expected, "{text}");
        }
    }

    #[test]
    fn what_cannot_be_kept_is_said() {
        for (text, problem) in [
            (
                "user::rw-,user:lisa:rw-,group::r--,mask::rw-,other::r--",
                "`user:lisa:rw-`",
            ),
            ("user::rw-,group::r--", "without its owner"),
            ("user::rw-,user:5:r,group::r--,other::---", "mask"),
            ("user::rw-,user::rw-,group::r--,other::---", "twice"),
            ("user::rwz,group::r--,other::---", "malformed"),
            ("\u{1f4a3}", "malformed"),
        ] {
            let error = to_xattr(text.as_bytes()).unwrap_err();
            assert!(error.contains(problem), "{text}: {error}");
        }
    }
}
