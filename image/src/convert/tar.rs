//! The tars of layers and of archives of images: like an ACI's, with nothing before the paths.
//!
//! An ACI may hold each path once, and only beneath `rootfs/`; in a layer a path may stand twice, a hard link may lead
//! to a layer beneath, and `.wh.` names delete. So the rules are the caller's ([`super::plan`]); here is the format.

mod reader;

pub(super) use reader::TarEntries;

/// The size of a tar's blocks in bytes.
const BLOCK: usize = 512;
/// What a header before an entry may hold: its longest honest content is a few extended attributes.
const MAX_EXTENSION: u64 = 1 << 20;
/// The longest path that Linux opens.
const MAX_PATH: usize = 4096;
const XATTR_PREFIX: &[u8] = b"SCHILY.xattr.";
