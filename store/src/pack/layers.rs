//! [`Layers`]: what every frame of a pack goes through.

mod compress;
mod seal;

pub(super) use compress::{compress, expand};
pub(super) use seal::{seal, unseal};

use super::{chunker::Chunker, content::ContentRef, secret::Secret};
use crate::object::ObjectId;

/// The flag of a pack whose frames are compressed.
pub(super) const COMPRESSED: u8 = 1;
/// The flag of a pack whose frames are sealed.
pub(super) const SEALED: u8 = 2;
/// Contents are joined until a frame has so many bytes.
const FRAME: usize = 256 << 10;

/// An ordered stack: chunk, then compress, then seal. Reading reverses it.
///
/// A layer can be left out, and that is all that can be chosen. What is sealed looks random and cannot be compressed,
/// so there is no stack that seals first: [`Layers`] holds which layers there are, not their order.
#[derive(Clone, Debug)]
pub struct Layers {
    level: Option<i32>,
    secret: Option<Secret>,
}

impl Layers {
    /// Chunks as they are.
    pub const fn plain() -> Self {
        Self {
            level: None,
            secret: None,
        }
    }

    /// Compresses with Zstandard at this level (9 is a good one for what is published once and fetched often).
    pub fn compressed(self, level: i32) -> Self {
        Self {
            level: Some(level),
            ..self
        }
    }

    /// Seals, after compression if there is any.
    pub fn sealed(self, secret: Secret) -> Self {
        Self {
            secret: Some(secret),
            ..self
        }
    }

    /// What such a pack calls a content: by its SHA-256 alone, or with its key.
    pub fn content(&self, digest: ObjectId, length: u64) -> ContentRef {
        ContentRef {
            digest,
            length,
            key: self.secret.as_ref().map(|secret| secret.key(&digest)),
        }
    }

    pub(super) fn level(&self) -> Option<i32> {
        self.level
    }

    pub(super) fn flags(&self) -> u8 {
        let compressed = if self.level.is_some() { COMPRESSED } else { 0 };
        compressed | if self.secret.is_some() { SEALED } else { 0 }
    }

    pub(super) fn chunker(&self) -> Chunker {
        match &self.secret {
            Some(secret) => Chunker::keyed(secret),
            None => Chunker::new(),
        }
    }

    /// For the keys of an image's objects.
    pub(super) fn key_chunker(&self) -> Chunker {
        match &self.secret {
            Some(secret) => Chunker::for_keys(secret),
            None => Chunker::new(),
        }
    }

    /// How many bytes a frame gathers before it ends. Each content has a key of its own, so one that is sealed has a
    /// frame of its own.
    pub(super) fn frame_size(&self) -> usize {
        if self.secret.is_some() { 0 } else { FRAME }
    }
}
