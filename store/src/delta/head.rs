use dhow_image::ImageId;

use super::DeltaError;
use crate::{
    object::ObjectId,
    pack::{ContentRef, PackId},
};

/// A head without a patch.
const PLAIN: &[u8; 13] = b"dhow delta 1\n";
/// A head with one.
const PATCHED: &[u8; 13] = b"dhow delta 2\n";
const PACK: usize = 80;
/// The most packs that a recipe can name.
const MAX_PACKS: usize = 64;
/// The most folders up that packs can be.
const MAX_UP: u8 = 64;
/// No head is longer, in bytes.
pub const MAX_HEAD: usize = PLAIN.len() + 64 + 8 + 64 + 8 + 32 + 8 + 1 + 1 + MAX_PACKS * PACK + 64 + 8 + 32;

/// What travels signed in place of an archive: which image it is, and where its recipe is.
///
/// ```text
///   "dhow delta 1\n", or "dhow delta 2\n" with a patch      13 bytes
///   image ID: 64   size of the tar: u64
///   SHA-512 of the archive: 64   its size: u64
///   SHA-256 of the recipe's records: 32   their length: u64
///   folders up to `PACKS/`: u8   packs: u8
///   of each pack, the oldest first
///     name: 32   size: u64   where its end begins: u64   SHA-256 of its end: 32
///   of the patch, in version 2
///     ID of the image that it starts from: 64   its size: u64   its SHA-256: 32
/// ```
///
/// Numbers are little-endian. `docs/src/formats/delta.md` says the same in prose.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeltaHead {
    /// The image.
    pub id: ImageId,
    /// How many bytes its tar has.
    pub tar_size: u64,
    /// The SHA-512 of the archive that brings the same image.
    pub archive_sha512: [u8; 64],
    /// How many bytes that archive has.
    pub archive_size: u64,
    /// The records of the recipe, a content in the packs.
    pub recipe: ContentRef,
    /// How many folders up from this file's own the folder `PACKS` is.
    pub up: u8,
    /// The packs that have what the image is made of, the oldest first.
    pub packs: Vec<DeltaPack>,
    /// What makes this image of another one, beside the archive.
    pub patch: Option<DeltaPatch>,
}

/// A patch: see [`write_patch`](super::write_patch).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DeltaPatch {
    /// The image that it starts from.
    pub base: ImageId,
    /// How many bytes it has.
    pub size: u64,
    /// Its SHA-256.
    pub digest: [u8; 32],
}

/// A pack, and what is to be read of it first: its recipes, its lists and its index are together at its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DeltaPack {
    /// Its name.
    pub id: PackId,
    /// How many bytes it has.
    pub size: u64,
    /// Where its end begins.
    pub end: u64,
    /// The SHA-256 of the bytes from there on.
    pub end_digest: [u8; 32],
}

impl DeltaHead {
    /// Reads a head that anybody may have written.
    pub fn parse(bytes: &[u8]) -> Result<Self, DeltaError> {
        let mut reader = Reader(bytes);
        let wrong = |problem| DeltaError::Head { problem };
        let has_patch = match &reader.array::<13>()? {
            PLAIN => false,
            PATCHED => true,
            _ => return Err(wrong("it is none of version 1 or 2")),
        };
        let id = ImageId::from_bytes(reader.array()?);
        let tar_size = reader.number()?;
        let archive_sha512 = reader.array()?;
        let archive_size = reader.number()?;
        let recipe = ContentRef::plain(ObjectId(reader.array()?), reader.number()?);
        let [up, count] = reader.array()?;
        if up > MAX_UP || usize::from(count) > MAX_PACKS || count == 0 {
            return Err(wrong("it has an impossible number of packs or folders"));
        }
        // Each record has at most 41 bytes more than it brings of the tar, which has a block of 512 for each file.
        let longest = tar_size.saturating_add(tar_size / 8).saturating_add(1 << 16);
        if recipe.length == 0 || recipe.length > longest {
            return Err(wrong("its records have an impossible length"));
        }
        let packs = (0..count).map(|_| reader.pack()).collect::<Result<Vec<_>, _>>()?;
        let patch = has_patch.then(|| reader.patch()).transpose()?;
        // A patch that is longer than the archive is of no use to anybody.
        if patch.is_some_and(|patch| patch.size == 0 || patch.size > archive_size || patch.base == id) {
            return Err(wrong("it has an impossible patch"));
        }
        if !reader.0.is_empty() {
            return Err(wrong("it goes on after its end"));
        }
        let is_twice = |(place, pack): (usize, &DeltaPack)| packs[..place].iter().any(|other| other.id == pack.id);
        if packs.iter().enumerate().any(is_twice) {
            return Err(wrong("it names a pack twice"));
        }
        let all = packs.iter().try_fold(0u64, |sum, pack| sum.checked_add(pack.size));
        if all.is_none() {
            return Err(wrong("its packs have an impossible size"));
        }
        Ok(Self {
            id,
            tar_size,
            archive_sha512,
            archive_size,
            recipe,
            up,
            packs,
            patch,
        })
    }

    /// The bytes, which are what is signed.
    pub fn to_bytes(&self) -> Vec<u8> {
        let magic = if self.patch.is_some() { PATCHED } else { PLAIN };
        let mut bytes = magic.to_vec();
        bytes.extend_from_slice(self.id.as_bytes());
        bytes.extend_from_slice(&self.tar_size.to_le_bytes());
        bytes.extend_from_slice(&self.archive_sha512);
        bytes.extend_from_slice(&self.archive_size.to_le_bytes());
        bytes.extend_from_slice(self.recipe.digest.as_bytes());
        bytes.extend_from_slice(&self.recipe.length.to_le_bytes());
        bytes.push(self.up);
        bytes.push(u8::try_from(self.packs.len()).expect("there are at most 64 packs"));
        for pack in &self.packs {
            bytes.extend_from_slice(pack.id.as_bytes());
            bytes.extend_from_slice(&pack.size.to_le_bytes());
            bytes.extend_from_slice(&pack.end.to_le_bytes());
            bytes.extend_from_slice(&pack.end_digest);
        }
        if let Some(patch) = &self.patch {
            bytes.extend_from_slice(patch.base.as_bytes());
            bytes.extend_from_slice(&patch.size.to_le_bytes());
            bytes.extend_from_slice(&patch.digest);
        }
        bytes
    }
}

struct Reader<'a>(&'a [u8]);

impl Reader<'_> {
    fn array<const N: usize>(&mut self) -> Result<[u8; N], DeltaError> {
        let (array, rest) = self.0.split_first_chunk().ok_or(DeltaError::Head {
            problem: "it was cut short",
        })?;
        self.0 = rest;
        Ok(*array)
    }

    fn number(&mut self) -> Result<u64, DeltaError> {
        self.array().map(u64::from_le_bytes)
    }

    fn patch(&mut self) -> Result<DeltaPatch, DeltaError> {
        Ok(DeltaPatch {
            base: ImageId::from_bytes(self.array()?),
            size: self.number()?,
            digest: self.array()?,
        })
    }

    fn pack(&mut self) -> Result<DeltaPack, DeltaError> {
        let pack = DeltaPack {
            id: PackId::from_bytes(self.array()?),
            size: self.number()?,
            end: self.number()?,
            end_digest: self.array()?,
        };
        match pack.end < pack.size {
            true => Ok(pack),
            false => Err(DeltaError::Head {
                problem: "the end of a pack begins after it",
            }),
        }
    }
}
