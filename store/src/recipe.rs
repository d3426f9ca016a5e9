//! Recipes: how to rebuild an image's tar, bit for bit, from objects.
//!
//! ```text
//!   "dhow recipe 2\n"                                    14 bytes
//!   SHA-512 of the tar: 64 bytes  its size: u64
//!   one Zstandard frame of records, in the order of the tar:
//!     01  length: u32  bytes                             bytes of the tar itself: headers, padding, small contents
//!     02  SHA-256: 32 bytes  size: u64                   the content of an object
//!     80…ff  length: u32  bytes                          a note, which rebuilding does not need
//! ```
//!
//! Numbers are little-endian. `docs/src/formats/recipe.md` says the same in prose.

mod reader;
mod tar;
#[cfg(test)]
mod tests;
mod writer;

use std::io;

use dhow_image::ImageId;

use crate::object::ObjectId;

pub(crate) use reader::{RecipeReader, records_of};
pub(crate) use tar::RecipeTar;
pub(crate) use writer::{RecipeWriter, recipe_of};

/// Contents up to so many bytes are part of the recipe, and no objects.
///
/// Of the 7,635 different contents of a Debian image 2,476 are this small: they have 1.3 MB, would take 10 MB on a
/// file system with blocks of 4 KiB, and compress to a third together. With twice the limit, ten related images take
/// more room again, for each has these bytes once more in its tree.
pub(crate) const MAX_SMALL: u64 = 1024;

const MAGIC: &[u8; 14] = b"dhow recipe 2\n";
const FRAMING: u8 = 1;
const OBJECT: u8 = 2;
/// From this kind on, records are notes.
const NOTES: u8 = 0x80;
/// How long one record's bytes can be, so that a reader knows how much memory it needs. A content that is longer is an
/// object.
pub(crate) const MAX_FRAMING: usize = 64 << 10;
/// How far back a frame may refer, as a power of two: 8 MiB, which RFC 8878 recommends every decoder to support.
const MAX_WINDOW_LOG: u32 = 23;

/// What the whole tar must be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct RecipeHead {
    pub(crate) id: ImageId,
    pub(crate) tar_size: u64,
}

/// One step of rebuilding a tar.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Record {
    /// Bytes of the tar itself.
    Framing(Vec<u8>),
    /// The content of an object.
    Object(ObjectId, u64),
}

fn invalid(problem: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, problem)
}
