//! What one entry of an archive says.

use std::collections::BTreeMap;

use super::rootfs_path::RootfsPath;

/// One entry: the manifest, or a file of the root file system with all of its properties.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// What it is.
    pub kind: EntryKind,
    /// Where it is inside the root file system; the root for the manifest, which is in none.
    pub path: RootfsPath,
    /// Permission bits, with set-user-ID, set-group-ID and sticky.
    pub mode: u16,
    /// Its owner.
    pub uid: u32,
    /// Its group.
    pub gid: u32,
    /// When it was last changed, in seconds since 1970.
    pub mtime: i64,
    /// The fraction of a second to add to that.
    pub mtime_nanoseconds: u32,
    /// Its extended attributes.
    pub xattrs: BTreeMap<Vec<u8>, Vec<u8>>,
}

/// The kinds of entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EntryKind {
    /// The image's manifest; its content follows.
    Manifest {
        /// Its length in bytes.
        size: u64,
    },
    /// A regular file; its content follows.
    File {
        /// Its length in bytes.
        size: u64,
    },
    /// A directory.
    Directory,
    /// A symbolic link, to whatever text.
    Symlink {
        /// The text.
        target: Vec<u8>,
    },
    /// Another name for a file that came earlier.
    HardLink {
        /// That file.
        target: RootfsPath,
    },
    /// A character device.
    CharDevice {
        /// Its major number.
        major: u32,
        /// Its minor number.
        minor: u32,
    },
    /// A block device.
    BlockDevice {
        /// Its major number.
        major: u32,
        /// Its minor number.
        minor: u32,
    },
    /// A named pipe.
    Fifo,
}

impl Entry {
    /// The length of the content that follows in the archive.
    pub fn size(&self) -> u64 {
        match self.kind {
            EntryKind::Manifest { size } | EntryKind::File { size } => size,
            _ => 0,
        }
    }
}
