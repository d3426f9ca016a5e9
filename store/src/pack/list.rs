//! Lists: which shorter contents make up a longer one.
//!
//! An entry is the SHA-256 of a part (32 bytes), its length (u64), and its key (32 bytes) where packs are sealed.
//! A list that grows long is cut into lists itself, at entries whose digests say so: then one changed chunk changes one
//! short list on each level, and no other. How short they are, the [`Chunker`] says.

use sha2::{Digest, Sha256};

use super::{chunker::Chunker, content::ContentRef, frame::MAX_FRAME, secret::ContentKey};
use crate::object::ObjectId;

const ENTRY: usize = 40;
const SEALED_ENTRY: usize = 72;
/// A list has no more entries, wherever it would be cut.
const LONGEST: usize = 1024;
/// Every part but the last has at least so many bytes; else a hostile list could cost far more than it gives.
const LEAST_PART: u64 = 4096;

/// A list as it is stored.
pub(super) fn encode(parts: &[ContentRef]) -> Option<Vec<u8>> {
    let mut list = Vec::with_capacity(parts.len() * SEALED_ENTRY);
    for part in parts {
        list.extend_from_slice(part.digest.as_bytes());
        list.extend_from_slice(&part.length.to_le_bytes());
        if let Some(key) = &part.key {
            list.extend_from_slice(key.expose());
        }
    }
    (list.len() <= MAX_FRAME).then_some(list)
}

/// The parts of `content` that a list tells. They are at least two, none is empty, and they have together its length:
/// so to follow lists of lists comes to an end.
pub(super) fn decode(list: &[u8], content: &ContentRef) -> Result<Vec<ContentRef>, &'static str> {
    let is_sealed = content.key.is_some();
    let entries = list.chunks_exact(if is_sealed { SEALED_ENTRY } else { ENTRY });
    if !entries.remainder().is_empty() || entries.len() < 2 {
        return Err("a list has an impossible length");
    }
    let part = |entry: &[u8]| ContentRef {
        digest: ObjectId(array(&entry[..32])),
        length: u64::from_le_bytes(array(&entry[32..40])),
        key: is_sealed.then(|| ContentKey::from_bytes(array(&entry[40..]))),
    };
    let parts: Vec<_> = entries.map(part).collect();
    let (last, others) = parts.split_last().expect("there are two or more");
    if last.length == 0 || others.iter().any(|part| part.length < LEAST_PART) {
        return Err("a list has a part that is too short");
    }
    let sum = parts.iter().try_fold(0u64, |sum, part| sum.checked_add(part.length));
    if sum != Some(content.length) {
        return Err("the parts in a list have not the length of the whole");
    }
    Ok(parts)
}

fn array<const N: usize>(bytes: &[u8]) -> [u8; N] {
    bytes.try_into().expect("the slice has this length")
}

/// Grows lists of the chunks of one content as these come.
pub(crate) struct ListBuilder {
    /// Of chunks, and of lists of chunks. The last list holds whatever comes out of these.
    levels: [Level; 2],
    root: Vec<ContentRef>,
    whole: Sha256,
    length: u64,
    /// A list ends after an entry whose digest has so many zero bits last, or when it has [`LONGEST`] entries.
    cut_bits: u32,
}

#[derive(Default)]
struct Level {
    parts: Vec<ContentRef>,
    hasher: Sha256,
    length: u64,
}

/// A list that is complete: what it stands for, and its parts.
pub(crate) struct List {
    pub(crate) digest: ObjectId,
    pub(crate) length: u64,
    pub(super) parts: Vec<ContentRef>,
}

impl ListBuilder {
    /// For the chunks that `chunker` cuts.
    pub(crate) fn new(chunker: &Chunker) -> Self {
        Self {
            levels: Default::default(),
            root: Vec::new(),
            whole: Sha256::new(),
            length: 0,
            cut_bits: chunker.list_bits(),
        }
    }

    /// Adds a chunk. `put` stores each list that is complete with that, and tells how it is referred to.
    pub(crate) fn add<E>(
        &mut self,
        chunk: &[u8],
        content: ContentRef,
        mut put: impl FnMut(List) -> Result<ContentRef, E>,
    ) -> Result<(), E> {
        self.whole.update(chunk);
        self.length += chunk.len() as u64;
        for level in &mut self.levels {
            level.hasher.update(chunk);
            level.length += chunk.len() as u64;
        }
        let mut part = content;
        for level in &mut self.levels {
            let is_end = ends_with_zeros(&part.digest, self.cut_bits) || level.parts.len() + 1 == LONGEST;
            level.parts.push(part);
            if !is_end {
                return Ok(());
            }
            part = level.close(&mut put)?.expect("a part was pushed");
        }
        self.root.push(part);
        Ok(())
    }

    /// Puts the last lists. `None` for a content without chunks.
    pub(crate) fn finish<E>(self, mut put: impl FnMut(List) -> Result<ContentRef, E>) -> Result<Option<ContentRef>, E> {
        let [mut chunks, mut lists] = self.levels;
        let mut parts = self.root;
        if parts.is_empty() && lists.parts.is_empty() {
            parts = chunks.parts;
        } else {
            lists.parts.extend(chunks.close(&mut put)?);
            if parts.is_empty() {
                parts = lists.parts;
            } else {
                parts.extend(lists.close(&mut put)?);
            }
        }
        if parts.len() < 2 {
            return Ok(parts.pop());
        }
        put(List {
            digest: ObjectId(self.whole.finalize().into()),
            length: self.length,
            parts,
        })
        .map(Some)
    }
}

impl Level {
    /// Makes one part of all that there are. A single one stays what it is.
    fn close<E>(&mut self, mut put: impl FnMut(List) -> Result<ContentRef, E>) -> Result<Option<ContentRef>, E> {
        let level = std::mem::take(self);
        let mut parts = level.parts;
        if parts.len() < 2 {
            return Ok(parts.pop());
        }
        put(List {
            digest: ObjectId(level.hasher.finalize().into()),
            length: level.length,
            parts,
        })
        .map(Some)
    }
}

/// Whether the last bits of a digest are zeros: at most eight are looked at.
fn ends_with_zeros(digest: &ObjectId, bits: u32) -> bool {
    u32::from(digest.as_bytes()[31]).trailing_zeros() >= bits
}
