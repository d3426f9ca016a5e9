use std::io;

use dhow_image::{ArchiveError, ImageId};
use thiserror::Error;

use crate::{error::StoreError, pack::PackError};

/// Why an image could not be put into packs, or rebuilt from them.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum DeltaError {
    /// What should be the head of a recipe is not one.
    #[error("the recipe is not valid: {problem}")]
    Head {
        /// What is wrong with it.
        problem: &'static str,
    },
    /// What should be a patch is not one, or not this image's.
    #[error("the patch is not valid: {problem}")]
    Patch {
        /// What is wrong with it.
        problem: &'static str,
    },
    /// The image that a patch starts from cannot be read.
    #[error("the image that the patch starts from cannot be read")]
    Base(#[source] io::Error),
    /// The recipe itself, which came from packs, is not one.
    #[error("the recipe cannot be read")]
    Recipe(#[source] io::Error),
    /// What the recipe rebuilds is no image.
    #[error("what the recipe describes is not a valid image")]
    Image(#[source] ArchiveError),
    /// What was rebuilt is another image.
    #[error("the recipe is that of `{}`, and rebuilds `{}`", expected.short(), found.short())]
    WrongImage {
        /// What the recipe says.
        expected: Box<ImageId>,
        /// What came of it.
        found: Box<ImageId>,
    },
    /// There is more in the packs than is held in memory.
    #[error("the packs have too many contents to look into: {contents}")]
    TooMany {
        /// How many.
        contents: usize,
    },
    /// A pack cannot be used.
    #[error(transparent)]
    Pack(#[from] PackError),
    /// The store refused.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A temporary file could not be used.
    #[error("could not use a temporary file")]
    Temporary(#[source] io::Error),
}
