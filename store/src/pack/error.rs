//! What can go wrong with packs.

use std::io;

use thiserror::Error;

use super::name::PackId;
use crate::object::ObjectId;

/// Why a content could not be put into packs or taken from them.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum PackError {
    /// The place where packs are could not be used.
    #[error("could not {action} the pack `{pack}` in `{location}`")]
    Backend {
        /// What was tried.
        action: &'static str,
        /// The pack.
        pack: PackId,
        /// The directory or URL of the packs.
        location: String,
        /// Why it failed.
        #[source]
        source: io::Error,
    },
    /// The packs could not be listed.
    #[error("could not list the packs in `{location}`")]
    List {
        /// The directory or URL of the packs.
        location: String,
        /// Why it failed.
        #[source]
        source: io::Error,
    },
    /// What calls itself a pack is not one, or lies.
    #[error("the pack `{pack}` is damaged: {problem}")]
    Damaged {
        /// The pack.
        pack: PackId,
        /// What is wrong with it.
        problem: &'static str,
    },
    /// No pack that was looked into has the content.
    #[error("no pack in `{location}` has the content `{content}`")]
    NotFound {
        /// The content.
        content: ObjectId,
        /// The directory or URL of the packs.
        location: String,
    },
    /// A sealed content does not open with its key.
    #[error("the content `{content}` in the pack `{pack}` does not open with this key: it was tampered with")]
    Sealed {
        /// The content.
        content: ObjectId,
        /// The pack.
        pack: PackId,
    },
    /// A sealed content was to be read by somebody without its key.
    #[error("the content `{content}` in the pack `{pack}` is sealed, and its key is not known")]
    NoKey {
        /// The content.
        content: ObjectId,
        /// The pack.
        pack: PackId,
    },
    /// A range goes beyond the end.
    #[error("the content `{content}` has {length} bytes, and no byte {end}")]
    Range {
        /// The content.
        content: ObjectId,
        /// Its length.
        length: u64,
        /// The end of the range.
        end: u64,
    },
    /// A content is too large for a list of its chunks.
    #[error("a content of {length} bytes is too large to be packed")]
    TooLarge {
        /// Its length.
        length: u64,
    },
    /// The content to be put in could not be read, a file of the packer's not be written, or what was taken out not be
    /// passed on.
    #[error("could not move a content into packs or out of them")]
    Io(#[from] io::Error),
}
