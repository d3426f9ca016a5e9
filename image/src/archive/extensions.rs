//! What the headers before an entry say of it: PAX extended headers and GNU's long names.
//!
//! Every key is either taken, or known to change nothing of what an image keeps, or refused. Keys of vendors that
//! nobody here knows are passed over, as POSIX says.
//!
//! | key | what becomes of it |
//! |---|---|
//! | `path`, `linkpath`, `size`, `uid`, `gid`, `mtime` | taken; empty, the header's own value stands again |
//! | `SCHILY.xattr.NAME`, `LIBARCHIVE.xattr.NAME` | an extended attribute; where both are there, they must agree |
//! | `SCHILY.acl.access`, `SCHILY.acl.default` | the attribute in which Linux keeps the list, unless that is there too |
//! | `SCHILY.acl.ace` | refused: Linux has no NFSv4 lists |
//! | `RHT.security.selinux` | the attribute `security.selinux` |
//! | `SCHILY.devmajor`, `SCHILY.devminor` | taken |
//! | `hdrcharset` | `BINARY` and UTF-8 are the same here, where names are bytes; others are refused |
//! | `GNU.sparse.*`, `SCHILY.realsize`, `SCHILY.filetype` | refused: see [`SPARSE`] |
//! | `GNU.volume.*`, `GNU.dumpdir` | refused: parts of an archive, and backups, are no images |
//! | `uname`, `gname`, `atime`, `ctime`, `comment`, all else | passed over |

use std::collections::BTreeMap;

use super::{acl, pax};

/// Sparse files are refused in every form: GNU's old one, PAX 0.0, 0.1 and 1.0, and star's.
///
/// Resolving them would be possible while reading, but not for the store: what lies in the tar is the condensed file,
/// framing and contents together must give the tar again, and the object that a root file system shows must be the
/// whole file. One content would need two digests and the recipe a map between them, for archives that no tool for
/// App Container Images has ever written. An error that says what to do is the better answer, and reading every
/// mention of `sparse` as an error leaves no form that could be misread.
pub(super) const SPARSE: &str = "is a sparse file, which no image can hold: pack it again without `--sparse`";

/// What is known of the next entry.
#[derive(Default, PartialEq, Eq)]
pub(super) struct Extensions {
    pub(super) path: Option<Vec<u8>>,
    pub(super) link: Option<Vec<u8>>,
    pub(super) size: Option<u64>,
    pub(super) uid: Option<u64>,
    pub(super) gid: Option<u64>,
    pub(super) mtime: Option<(i64, u32)>,
    pub(super) device_major: Option<u32>,
    pub(super) device_minor: Option<u32>,
    pub(super) xattrs: BTreeMap<Vec<u8>, Vec<u8>>,
    /// Access control lists in text, by the attribute in which Linux keeps them.
    acls: BTreeMap<&'static [u8], Vec<u8>>,
    /// Why the entry cannot be in an image; said once its name is known.
    pub(super) refusal: Option<String>,
    /// What a sparse file is called, whose entry has a made-up name.
    pub(super) sparse_name: Option<Vec<u8>>,
}

const MALFORMED: &str = "a PAX record is malformed";

impl Extensions {
    /// Takes in the body of a PAX header; the error says what is wrong with it.
    pub(super) fn apply_pax(&mut self, body: &[u8]) -> Result<(), &'static str> {
        for (key, value) in pax::records(body).ok_or(MALFORMED)? {
            self.apply_record(key, value)?;
        }
        Ok(())
    }

    /// Makes the access control lists attributes, once all headers are read.
    ///
    /// `tar --acls --xattrs` writes a list twice: with the names of the machine's users, which say nothing here, and as
    /// the attribute itself, which then is believed. Where both can be understood they must agree.
    pub(super) fn resolve_acls(&mut self) {
        for (name, text) in std::mem::take(&mut self.acls) {
            match acl::to_xattr(&text) {
                Ok(value) => self.add_xattr(name.to_vec(), value),
                Err(_) if self.xattrs.contains_key(name) => {}
                Err(problem) => self.refuse(&problem),
            }
        }
    }

    /// Whether a global header with this body leaves the entries after it as they are, as git-archive's does, which
    /// is a comment. Global headers that change entries are not believed: most programs ignore them.
    pub(super) fn is_harmless_globally(body: &[u8]) -> Result<bool, &'static str> {
        let mut all = Self::default();
        all.apply_pax(body)?;
        Ok(all == Self::default())
    }

    /// Takes in the path of a GNU header.
    pub(super) fn set_path(&mut self, path: &[u8]) -> Result<(), &'static str> {
        set_text(&mut self.path, path)
    }

    /// Takes in the link target of a GNU header.
    pub(super) fn set_link(&mut self, link: &[u8]) -> Result<(), &'static str> {
        set_text(&mut self.link, link)
    }

    fn apply_record(&mut self, key: &[u8], value: &[u8]) -> Result<(), &'static str> {
        match key {
            b"path" => set_text(&mut self.path, value)?,
            b"linkpath" => set_text(&mut self.link, value)?,
            b"size" => self.size = number(value)?,
            b"uid" => self.uid = number(value)?,
            b"gid" => self.gid = number(value)?,
            b"mtime" if value.is_empty() => self.mtime = None,
            b"mtime" => self.mtime = Some(pax::time(value).ok_or(MALFORMED)?),
            b"SCHILY.devmajor" => self.device_major = device_number(value)?,
            b"SCHILY.devminor" => self.device_minor = device_number(value)?,
            b"hdrcharset" if !matches!(value, b"" | b"BINARY" | b"ISO-IR 10646 2000 UTF-8") => {
                self.refuse("has a name in a character set that is neither UTF-8 nor BINARY");
            }
            b"SCHILY.acl.access" => drop(self.acls.insert(acl::ACCESS, value.to_vec())),
            b"SCHILY.acl.default" => drop(self.acls.insert(acl::DEFAULT, value.to_vec())),
            b"SCHILY.acl.ace" => self.refuse("has an NFSv4 access control list, for which Linux has no place"),
            // The kernel's value ends in a NUL, which GNU tar leaves out.
            b"RHT.security.selinux" => self.add_xattr(b"security.selinux".to_vec(), [value, b"\0"].concat()),
            b"GNU.sparse.name" => {
                self.sparse_name = Some(value.to_vec());
                self.refuse(SPARSE);
            }
            b"SCHILY.realsize" => self.refuse(SPARSE),
            b"SCHILY.filetype" if value == b"sparse" => self.refuse(SPARSE),
            b"GNU.dumpdir" => self.refuse("is from an incremental backup, which is no image"),
            _ if key.starts_with(b"GNU.sparse.") => self.refuse(SPARSE),
            _ if key.starts_with(b"GNU.volume.") => self.refuse("is a part of an archive in several volumes"),
            _ => {
                if let Some(name) = key.strip_prefix(b"SCHILY.xattr.") {
                    self.add_xattr(pax::decode_xattr_name(name), value.to_vec());
                } else if let Some(name) = key.strip_prefix(b"LIBARCHIVE.xattr.") {
                    let name = url_decoded(name).ok_or(MALFORMED)?;
                    self.add_xattr(name, base64_decoded(value).ok_or(MALFORMED)?);
                }
            }
        }
        Ok(())
    }

    fn add_xattr(&mut self, name: Vec<u8>, value: Vec<u8>) {
        if name.is_empty() || name.len() > 255 || name.contains(&0) {
            self.refuse("has an extended attribute whose name is empty, over 255 bytes long or has a NUL");
            return;
        }
        let before = self.xattrs.insert(name.clone(), value);
        // Two programs that each believe one of them would see two images.
        if before.is_some_and(|before| self.xattrs.get(&name) != Some(&before)) {
            let name = String::from_utf8_lossy(&name).escape_debug().to_string();
            self.refuse(&format!("has two values of the extended attribute `{name}`"));
        }
    }

    fn refuse(&mut self, problem: &str) {
        self.refusal.get_or_insert_with(|| problem.to_owned());
    }
}

/// Sets a name once; PAX and GNU headers that disagree would be read in one way here and in another elsewhere.
fn set_text(field: &mut Option<Vec<u8>>, text: &[u8]) -> Result<(), &'static str> {
    if text.is_empty() {
        return Ok(());
    }
    match field.replace(text.to_vec()) {
        Some(before) if before != text => Err("two headers give an entry different names"),
        _ => Ok(()),
    }
}

/// A number in digits alone, or nothing, which takes back what was said before.
fn number(value: &[u8]) -> Result<Option<u64>, &'static str> {
    if value.is_empty() {
        return Ok(None);
    }
    pax::digits(value).map(Some).ok_or(MALFORMED)
}

fn device_number(value: &[u8]) -> Result<Option<u32>, &'static str> {
    number(value)?
        .map(|n| u32::try_from(n).map_err(|_| MALFORMED))
        .transpose()
}

/// Undoes `%XX`.
fn url_decoded(text: &[u8]) -> Option<Vec<u8>> {
    let mut out = Vec::with_capacity(text.len());
    let mut bytes = text.iter();
    while let Some(&byte) = bytes.next() {
        if byte == b'%' {
            let digits = [*bytes.next()?, *bytes.next()?];
            out.extend(hex::decode(digits).ok()?);
        } else {
            out.push(byte);
        }
    }
    Some(out)
}

/// Base64 with or without padding: libarchive writes none.
fn base64_decoded(text: &[u8]) -> Option<Vec<u8>> {
    let digits = text
        .strip_suffix(b"==")
        .or_else(|| text.strip_suffix(b"="))
        .unwrap_or(text);
    if digits.len() % 4 == 1 {
        return None;
    }
    let mut out = Vec::with_capacity(digits.len() / 4 * 3 + 2);
    let (mut bits, mut held) = (0u32, 0);
    for digit in digits {
        let value = match digit {
            b'A'..=b'Z' => digit - b'A',
            b'a'..=b'z' => digit - b'a' + 26,
            b'0'..=b'9' => digit - b'0' + 52,
            b'+' => 62,
            b'/' => 63,
            _ => return None,
        };
        bits = bits << 6 | u32::from(value);
        held += 6;
        if held >= 8 {
            held -= 8;
            out.push((bits >> held) as u8);
            bits &= (1 << held) - 1;
        }
    }
    Some(out)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn body(records: &[(&str, &[u8])]) -> Vec<u8> {
        let mut body = Vec::new();
        for (key, value) in records {
            pax::push_record(&mut body, key.as_bytes(), value);
        }
        body
    }

    fn applied(records: &[(&str, &[u8])]) -> Extensions {
        let mut extensions = Extensions::default();
        extensions.apply_pax(&body(records)).unwrap();
        extensions
    }

    #[test]
    fn attributes_of_libarchive_and_of_star_agree_or_are_refused() {
        let both = applied(&[
            ("SCHILY.xattr.user.näme", b"\0\xffx"),
            ("LIBARCHIVE.xattr.user.n%C3%A4me", b"AP94"),
        ]);
        assert_eq!(both.refusal, None);
        assert_eq!(both.xattrs["user.näme".as_bytes()], b"\0\xffx");
        let differ = applied(&[("SCHILY.xattr.user.a", b"1"), ("LIBARCHIVE.xattr.user.a", b"Mg")]);
        assert_eq!(
            differ.refusal.unwrap(),
            "has two values of the extended attribute `user.a`"
        );
        assert_eq!(base64_decoded(b"TWE="), Some(b"Ma".to_vec()));
        assert_eq!(base64_decoded(b"T"), None);
        assert_eq!(base64_decoded(b"TW.u"), None);
    }

    #[test]
    fn a_list_in_names_needs_the_attribute_beside_it() {
        let text = b"user::rw-\nuser:lisa:rw-\ngroup::r--\nmask::rw-\nother::r--\n";
        let mut alone = applied(&[("SCHILY.acl.access", text)]);
        alone.resolve_acls();
        assert!(alone.refusal.unwrap().contains("`user:lisa:rw-`"));
        let mut both = applied(&[
            ("SCHILY.acl.access", text),
            ("SCHILY.xattr.system.posix_acl_access", b"the kernel's"),
        ]);
        both.resolve_acls();
        assert_eq!(both.refusal, None);
        let in_numbers = b"user::rw-,user:5:rw-,group::r--,mask::rw-,other::r--";
        let mut differ = applied(&[
            ("SCHILY.acl.access", in_numbers),
            ("SCHILY.xattr.system.posix_acl_access", b"the kernel's"),
        ]);
        differ.resolve_acls();
        assert!(differ.refusal.unwrap().contains("two values"));
    }

    #[test]
    fn an_empty_value_takes_a_record_back() {
        let extensions = applied(&[
            ("size", b"5"),
            ("size", b""),
            ("mtime", b"1"),
            ("mtime", b""),
            ("path", b""),
        ]);
        assert!(extensions == Extensions::default());
    }

    #[test]
    fn numbers_are_digits() {
        for bad in ["+5", "-5", " 5", "5 ", "0x5", "18446744073709551616"] {
            let mut extensions = Extensions::default();
            assert!(
                extensions.apply_pax(&body(&[("uid", bad.as_bytes())])).is_err(),
                "{bad}"
            );
        }
    }

    #[test]
    fn a_global_header_may_comment_and_no_more() {
        for (key, is_harmless) in [
            ("comment", true),
            ("hdrcharset", false),
            ("path", false),
            ("SCHILY.xattr.user.a", false),
            ("GNU.sparse.major", false),
            ("atime", true),
        ] {
            let found = Extensions::is_harmless_globally(&body(&[(key, b"x")])).unwrap();
            assert_eq!(found, is_harmless, "{key}");
        }
    }
}
