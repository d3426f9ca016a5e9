use std::collections::BTreeMap;

use super::error::TreeError;
use super::path::{PATH_MAX, shown};
use crate::ObjectId;

/// What a file system knows of a file besides its kind and its names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Metadata {
    /// The permission bits, set-user-ID, set-group-ID and sticky included. A tree keeps only the bits in `0o7777`.
    pub mode: u16,
    /// The owner.
    pub uid: u32,
    /// The group.
    pub gid: u32,
    /// When the content last changed, in seconds since 1970.
    pub mtime_seconds: i64,
    /// The rest of that time, below one second.
    pub mtime_nanoseconds: u32,
    /// Extended attributes by full name (`security.capability`).
    pub xattrs: BTreeMap<Vec<u8>, Vec<u8>>,
}

impl Metadata {
    /// Metadata of a file that root owns, last changed in 1970.
    pub fn root_owned(mode: u16) -> Self {
        Self {
            mode,
            uid: 0,
            gid: 0,
            mtime_seconds: 0,
            mtime_nanoseconds: 0,
            xattrs: BTreeMap::new(),
        }
    }
}

/// What a file is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NodeKind {
    /// A directory. [`Tree::children`](super::Tree::children) tells what is in it.
    Directory,
    /// A regular file.
    File(Content),
    /// A symbolic link and its target, which is never followed here.
    Symlink(Vec<u8>),
    /// A character device.
    CharDevice {
        /// Which driver, below 4096.
        major: u32,
        /// Which device of that driver, below 1048576.
        minor: u32,
    },
    /// A block device.
    BlockDevice {
        /// Which driver, below 4096.
        major: u32,
        /// Which device of that driver, below 1048576.
        minor: u32,
    },
    /// A named pipe.
    Fifo,
    /// A Unix socket's name.
    Socket,
}

/// Where the bytes of a regular file are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Content {
    /// In the tree itself: for small files, and for empty ones.
    Inline(Vec<u8>),
    /// In an object of the store.
    Object {
        /// Which object.
        id: ObjectId,
        /// How many bytes it has.
        size: u64,
    },
}

impl Content {
    /// How many bytes the file has.
    pub fn size(&self) -> u64 {
        match self {
            Self::Inline(bytes) => bytes.len() as u64,
            Self::Object { size, .. } => *size,
        }
    }
}

/// A file of a tree. Several names can share one: hard links.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Node {
    pub(super) metadata: Metadata,
    pub(super) kind: NodeKind,
}

impl Node {
    /// Mode, owner, time and attributes.
    pub fn metadata(&self) -> &Metadata {
        &self.metadata
    }

    /// What it is.
    pub fn kind(&self) -> &NodeKind {
        &self.kind
    }
}

/// Whether Linux has a namespace for this attribute name, so that a tree can hold it. Archives from other systems carry
/// names of their own (`com.apple.…`), which a reader of archives should leave out.
pub fn is_supported_xattr(name: &[u8]) -> bool {
    // The kernel allows 255 bytes for a whole name.
    let prefixed = |prefix: &[u8]| name.len() > prefix.len() && name.len() <= 255 && name.starts_with(prefix);
    let acl = name == b"system.posix_acl_access" || name == b"system.posix_acl_default";
    let named = prefixed(b"user.") || prefixed(b"trusted.") || prefixed(b"security.");
    (acl || named) && !name.contains(&0)
}

/// Attributes that overlayfs obeys: under `userxattr` the first, under its defaults the second.
fn commands_overlayfs(name: &[u8]) -> bool {
    name.starts_with(b"user.overlay.") || name.starts_with(b"trusted.overlay.")
}

/// Refuses what no file system can hold and what would command overlayfs.
pub(super) fn check(path: &[u8], metadata: &Metadata, kind: &NodeKind) -> Result<(), TreeError> {
    check_metadata(path, metadata)?;
    check_kind(path, kind)
}

fn check_metadata(path: &[u8], metadata: &Metadata) -> Result<(), TreeError> {
    // The kernel reserves −1 for "no such ID".
    if metadata.uid == u32::MAX || metadata.gid == u32::MAX {
        return Err(unrepresentable(path, "4294967295 is not a user or group ID"));
    }
    if metadata.mtime_nanoseconds >= 1_000_000_000 {
        return Err(unrepresentable(path, "its time has a second or more of nanoseconds"));
    }
    for (name, value) in &metadata.xattrs {
        if commands_overlayfs(name) {
            return Err(TreeError::OverlayXattr {
                path: shown(path),
                name: shown(name),
            });
        }
        let refuse = |reason| TreeError::Xattr {
            path: shown(path),
            name: shown(name),
            reason,
        };
        if !is_supported_xattr(name) {
            return Err(refuse("Linux has no such attribute"));
        }
        if value.len() > usize::from(u16::MAX) {
            return Err(refuse("its value is longer than 65535 bytes"));
        }
    }
    Ok(())
}

fn check_kind(path: &[u8], kind: &NodeKind) -> Result<(), TreeError> {
    match kind {
        NodeKind::CharDevice { major: 0, minor: 0 } => Err(TreeError::Whiteout { path: shown(path) }),
        NodeKind::CharDevice { major, minor } | NodeKind::BlockDevice { major, minor }
            if *major >= 1 << 12 || *minor >= 1 << 20 =>
        {
            Err(unrepresentable(path, format!("{major}:{minor} is not a device number")))
        }
        NodeKind::Symlink(target) if target.is_empty() => Err(unrepresentable(path, "its target is empty")),
        NodeKind::Symlink(target) if target.len() > PATH_MAX => {
            Err(unrepresentable(path, "its target is longer than 4095 bytes"))
        }
        NodeKind::Symlink(target) if target.contains(&0) => Err(unrepresentable(path, "its target has a NUL byte")),
        NodeKind::File(content) if i64::try_from(content.size()).is_err() => {
            Err(unrepresentable(path, format!("{} bytes are too many", content.size())))
        }
        _ => Ok(()),
    }
}

fn unrepresentable(path: &[u8], reason: impl Into<String>) -> TreeError {
    TreeError::Unrepresentable {
        path: shown(path),
        reason: reason.into(),
    }
}
