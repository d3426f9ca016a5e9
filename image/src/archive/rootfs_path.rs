//! Paths inside of an image's root file system.

use std::{ffi::OsStr, fmt, os::unix::ffi::OsStrExt, path::Path};

/// A relative path that stays where it is: its parts are names, never empty, `.`, `..`, nor with a NUL or over 255
/// bytes. The root itself is the empty path.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RootfsPath(Vec<u8>);

impl RootfsPath {
    /// The root.
    pub fn root() -> Self {
        Self(Vec::new())
    }

    /// Parses a path, absolute or relative to the root; `.` parts and doubled or trailing slashes are dropped.
    /// `None` where a part is `..`, too long, or has a NUL.
    pub fn new(bytes: &[u8]) -> Option<Self> {
        let mut path = Vec::with_capacity(bytes.len());
        for part in bytes
            .split(|&byte| byte == b'/')
            .filter(|part| !part.is_empty() && *part != b".")
        {
            if part == b".." || part.len() > 255 || part.contains(&0) {
                return None;
            }
            if !path.is_empty() {
                path.push(b'/');
            }
            path.extend_from_slice(part);
        }
        Some(Self(path))
    }

    /// The path's bytes, without a slash at either end.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// The path, for use beneath a directory handle.
    pub fn as_path(&self) -> &Path {
        Path::new(OsStr::from_bytes(&self.0))
    }

    /// Whether this is the root.
    pub fn is_root(&self) -> bool {
        self.0.is_empty()
    }

    /// The path of `name`, which is a valid part, beneath this one.
    pub(crate) fn join(&self, name: &[u8]) -> Self {
        let slash: &[u8] = if self.is_root() { b"" } else { b"/" };
        Self([&self.0, slash, name].concat())
    }

    /// The names between the slashes.
    pub fn parts(&self) -> impl Iterator<Item = &[u8]> {
        self.0.split(|&byte| byte == b'/').filter(|part| !part.is_empty())
    }
}

impl fmt::Display for RootfsPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "/{}", String::from_utf8_lossy(&self.0).escape_debug())
    }
}

impl fmt::Debug for RootfsPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}
