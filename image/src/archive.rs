//! Archives: the `.aci` file as it travels (appc spec, aci.md, "Image Archives").
//!
//! ```text
//!   bytes ──► Decompressor ──► TarReader ──► Entry, content, Entry, content, …       (with_tar: on threads, hashed)
//!   bytes ◄── Compressor   ◄── TarWriter ◄── Entry, content, …
//! ```
//!
//! The reader believes nothing: names that leave the root file system, entries that stand twice, sizes that do not
//! add up and forms that it cannot represent exactly are errors, never guesses.

mod acl;
mod compression;
mod digest_writer;
mod entry;
mod error;
mod extensions;
mod header;
mod limits;
mod manifest_json;
mod names;
pub(crate) mod pax;
mod reader;
mod rootfs_path;
mod summary;
mod tar_pipe;
mod writer;

pub use compression::{Compression, Compressor, Decompressor};
pub(crate) use digest_writer::DigestWriter;
pub use entry::{Entry, EntryKind};
pub use error::ArchiveError;
pub use limits::Limits;
pub(crate) use manifest_json::check as check_manifest_json;
pub use reader::TarReader;
pub use rootfs_path::RootfsPath;
pub use summary::{ImageSummary, read_manifest, read_summary, read_summary_within};
pub use tar_pipe::{TarPipe, with_tar};
pub use writer::TarWriter;

/// The size of a tar's blocks in bytes.
const BLOCK: usize = 512;
/// No honest manifest comes near this, and it is held in memory.
const MAX_MANIFEST: u64 = 4 << 20;
/// What the PAX and GNU headers before an entry may hold together: their longest honest content is a few extended
/// attributes.
const MAX_EXTENSION: u64 = 1 << 20;
/// What may follow the last entry: GNU tar fills up its record, of which the largest usual size is this.
const MAX_TRAILER: usize = 1 << 20;
