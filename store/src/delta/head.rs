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
/// A head of an image whose packs are sealed.
const SEALED: &[u8; 13] = b"dhow delta 3\n";
const PACK: usize = 80;
const CUT_SHORT: DeltaError = DeltaError::Head {
    problem: "it was cut short",
};
/// The most packs that a recipe can name.
const MAX_PACKS: usize = 64;
/// The most folders up that packs can be.
const MAX_UP: u8 = 64;
/// The most bytes of a sealed part: enough for some hundred recipients.
const MAX_SEALED: usize = 64 << 10;
/// No head is longer, in bytes.
pub const MAX_HEAD: usize = PLAIN.len() + 64 + 8 + 64 + 8 + 32 + 8 + 1 + 1 + MAX_PACKS * PACK + MAX_SEALED;

/// What travels signed in place of an archive: which image it is, and where its recipe is.
///
/// ```text
///   "dhow delta 1\n", "dhow delta 2\n" with a patch, or "dhow delta 3\n" with a sealed part      13 bytes
///   image ID: 64   size of the tar: u64
///   SHA-512 of the archive: 64   its size: u64
///   SHA-256 of the recipe's records: 32   their length: u64          in version 3, of the sealed part its size: u32
///   folders up to `PACKS/`: u8   packs: u8
///   of each pack, the oldest first
///     name: 32   size: u64   where its end begins: u64   SHA-256 of its end: 32
///   of the patch, in version 2
///     ID of the image that it starts from: 64   its size: u64   its SHA-256: 32
///   in version 3, the sealed part: an OpenPGP message, of a [`SealedRecipe`](super::SealedRecipe)
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
    /// Where the recipe is.
    pub recipe: HeadRecipe,
    /// How many folders up from this file's own the folder `PACKS` is.
    pub up: u8,
    /// The packs that have what the image is made of, the oldest first.
    pub packs: Vec<DeltaPack>,
    /// What makes this image of another one, beside the archive.
    pub patch: Option<DeltaPatch>,
}

/// Where a recipe is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HeadRecipe {
    /// Its records are this content, in packs that everybody can read.
    Plain(ContentRef),
    /// It is in sealed packs. This OpenPGP message says more to those for whom it is encrypted: a
    /// [`SealedRecipe`](super::SealedRecipe).
    Sealed(Vec<u8>),
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
        let (has_patch, is_sealed) = match &reader.array::<13>()? {
            PLAIN => (false, false),
            PATCHED => (true, false),
            SEALED => (false, true),
            _ => return Err(wrong("it is none of version 1, 2 or 3")),
        };
        let id = ImageId::from_bytes(reader.array()?);
        let tar_size = reader.number()?;
        let archive_sha512 = reader.array()?;
        let archive_size = reader.number()?;
        let (mut recipe, mut sealed_length) = (None, 0);
        if is_sealed {
            sealed_length = u32::from_le_bytes(reader.array()?) as usize;
            if sealed_length == 0 || sealed_length > MAX_SEALED {
                return Err(wrong("its sealed part has an impossible length"));
            }
        } else {
            let content = ContentRef::plain(ObjectId(reader.array()?), reader.number()?);
            check_length(&content, tar_size)?;
            recipe = Some(HeadRecipe::Plain(content));
        }
        let [up, count] = reader.array()?;
        if up > MAX_UP || usize::from(count) > MAX_PACKS || count == 0 {
            return Err(wrong("it has an impossible number of packs or folders"));
        }
        let packs = (0..count).map(|_| reader.pack()).collect::<Result<Vec<_>, _>>()?;
        let patch = has_patch.then(|| reader.patch()).transpose()?;
        // A patch that is longer than the archive is of no use to anybody.
        if patch.is_some_and(|patch| patch.size == 0 || patch.size > archive_size || patch.base == id) {
            return Err(wrong("it has an impossible patch"));
        }
        let recipe = match recipe {
            Some(recipe) => recipe,
            None => HeadRecipe::Sealed(reader.bytes(sealed_length)?.to_vec()),
        };
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

    /// Whether only those can rebuild the image for whom the head is encrypted. Such a head has no patch.
    pub fn is_sealed(&self) -> bool {
        matches!(self.recipe, HeadRecipe::Sealed(_))
    }

    /// The bytes, which are what is signed.
    pub fn to_bytes(&self) -> Vec<u8> {
        let magic = match (&self.recipe, &self.patch) {
            (HeadRecipe::Sealed(_), _) => SEALED,
            (HeadRecipe::Plain(_), Some(_)) => PATCHED,
            (HeadRecipe::Plain(_), None) => PLAIN,
        };
        let mut bytes = magic.to_vec();
        bytes.extend_from_slice(self.id.as_bytes());
        bytes.extend_from_slice(&self.tar_size.to_le_bytes());
        bytes.extend_from_slice(&self.archive_sha512);
        bytes.extend_from_slice(&self.archive_size.to_le_bytes());
        match &self.recipe {
            HeadRecipe::Plain(recipe) => {
                bytes.extend_from_slice(recipe.digest.as_bytes());
                bytes.extend_from_slice(&recipe.length.to_le_bytes());
            }
            HeadRecipe::Sealed(message) => {
                let length = u32::try_from(message.len()).expect("an encrypted key or two are far below 4 GiB");
                bytes.extend_from_slice(&length.to_le_bytes());
            }
        }
        bytes.push(self.up);
        bytes.push(u8::try_from(self.packs.len()).expect("there are at most 64 packs"));
        for pack in &self.packs {
            bytes.extend_from_slice(pack.id.as_bytes());
            bytes.extend_from_slice(&pack.size.to_le_bytes());
            bytes.extend_from_slice(&pack.end.to_le_bytes());
            bytes.extend_from_slice(&pack.end_digest);
        }
        match (&self.recipe, &self.patch) {
            (HeadRecipe::Sealed(message), _) => bytes.extend_from_slice(message),
            (HeadRecipe::Plain(_), Some(patch)) => {
                bytes.extend_from_slice(patch.base.as_bytes());
                bytes.extend_from_slice(&patch.size.to_le_bytes());
                bytes.extend_from_slice(&patch.digest);
            }
            (HeadRecipe::Plain(_), None) => {}
        }
        bytes
    }
}

/// Refuses records that no recipe of such a tar has.
pub(super) fn check_length(recipe: &ContentRef, tar_size: u64) -> Result<(), DeltaError> {
    // Each record has at most 41 bytes more than it brings of the tar, which has a block of 512 for each file.
    let longest = tar_size.saturating_add(tar_size / 8).saturating_add(1 << 16);
    match recipe.length == 0 || recipe.length > longest {
        true => Err(DeltaError::Head {
            problem: "its records have an impossible length",
        }),
        false => Ok(()),
    }
}

pub(super) struct Reader<'a>(pub(super) &'a [u8]);

impl<'a> Reader<'a> {
    pub(super) fn array<const N: usize>(&mut self) -> Result<[u8; N], DeltaError> {
        let (array, rest) = self.0.split_first_chunk().ok_or(CUT_SHORT)?;
        self.0 = rest;
        Ok(*array)
    }

    fn bytes(&mut self, length: usize) -> Result<&'a [u8], DeltaError> {
        let (bytes, rest) = self.0.split_at_checked(length).ok_or(CUT_SHORT)?;
        self.0 = rest;
        Ok(bytes)
    }

    pub(super) fn number(&mut self) -> Result<u64, DeltaError> {
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
