//! Patches: what an image has and the one before it has not, by what is different.
//!
//! ```text
//!   "dhow patch 1\n"                                    13 bytes
//!   ID of the image that it starts from: 64   ID of the image that it makes: 64
//!   frames, to the end
//!     bytes of the stream: u32   bytes as stored: u32   ranges: u32
//!     of each range   source: u32   start: u64   length: u32
//!     one Zstandard frame, whose prefix is what the ranges give
//! ```
//!
//! The **stream** is the records of the new image's recipe, and behind them each content that its recipe names and the
//! old image's does not, once, in the order of the recipe. Source 0 is the records of the old image's recipe, source *n*
//! the content of the *n*th object in it.
//!
//! **Bounds.** A frame gives at most [`MAX_FRAME`] bytes and has a prefix of at most [`MAX_PREFIX`]: with the window of
//! the compression that is all that a reader holds, however large files and images are. Prefixes are also bounded by
//! what their frame gives, or a short patch could cost its reader much. `docs/src/formats/patch.md` says the same in
//! prose.

mod apply;
mod base;
mod read;
mod write;

pub(super) use apply::{Patched, recipe_reader};
pub use write::write_patch;

const MAGIC: &[u8; 13] = b"dhow patch 1\n";
/// The most bytes of the stream in a frame.
const MAX_FRAME: u64 = 4 << 20;
/// The most bytes that a frame is stored as: what Zstandard makes at most of the former.
const MAX_STORED: u64 = MAX_FRAME + MAX_FRAME / 64;
/// The most bytes of a prefix.
const MAX_PREFIX: u64 = 12 << 20;
/// The most ranges of a frame.
const MAX_RANGES: usize = 4096;
/// A prefix has at most three times the bytes that its frame gives, and so many for each of its ranges.
const RANGE_ALLOWANCE: u64 = 128 << 10;
/// How far back a frame may refer, as a power of two: over all of a prefix and what the frame gives.
const WINDOW_LOG: u32 = 24;

/// A part of the old image.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Range {
    source: u32,
    start: u64,
    length: u32,
}
