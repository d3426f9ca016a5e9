//! Writes a tree as an EROFS image.
//!
//! The image is uncompressed, has blocks of 4 KiB, and depends on the tree alone: the same tree gives the same bytes.
//! Every feature it uses is in Linux 5.15 (chunk-based files are the newest). From front to back:
//!
//! ```text
//!   1024        superblock
//!   1152        extended attributes that several inodes share, each once
//!   block M     inodes in the order of a walk, each 64 bytes + its attributes + the tail of its content
//!   block D     whole blocks of content: directories, inline files, long symlink targets
//! ```
//!
//! An inode's number is its distance from block M in slots of 32 bytes. Slot 0 stays empty, for programs take inode
//! number 0 for a deleted entry. A file whose content is an object has its real size, no blocks (one hole), and the two
//! attributes by which overlayfs finds the object.

mod attribute;
mod dirent;
mod inode;
mod plan;
mod superblock;

use std::io::Write;

use self::plan::Plan;
use super::error::TreeError;
use super::model::Tree;

/// The size of a block, of which every address in the image counts.
const BLOCK: u64 = 4096;

/// Writes `tree` to `out` from its present position and returns how many bytes the image has.
///
/// `out` need not seek; it is flushed but not synced.
pub fn write_erofs<W: Write>(tree: &Tree, out: W) -> Result<u64, TreeError> {
    Plan::new(tree)?.write(out)
}
