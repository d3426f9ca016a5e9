use dhow_image::ImageId;
use zeroize::Zeroizing;

use super::{
    DeltaError, DeltaHead,
    head::{Reader, check_length},
};
use crate::{
    object::ObjectId,
    pack::{ContentKey, ContentRef},
};

const MAGIC: &[u8; 14] = b"dhow sealed 1\n";
/// How many bytes a [`SealedRecipe`] has, always: so the length of the message tells nothing but for how many it is.
pub const SEALED_RECIPE: usize = MAGIC.len() + 64 + 72 + 72 + 8;
/// How many bytes each object has in the keys.
pub(super) const KEY: u64 = 32;

/// What only the recipients of an image are told: where its recipe is, and the keys of what that refers to.
///
/// ```text
///   "dhow sealed 1\n"                                                    14 bytes
///   image ID: 64
///   the records of the recipe   SHA-256: 32   length: u64   key: 32
///   the keys of its objects     SHA-256: 32   length: u64   key: 32
///   seed of the chunker: u64
/// ```
///
/// The **keys** are the content key of each object record of the recipe, in the order of these, 32 bytes each. They are
/// a content like others, so that versions share them. Whoever opens this has the keys of this image's contents and no
/// others: the publisher's secret is not in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SealedRecipe {
    /// The image. It ties what is sealed to the head that is signed.
    pub id: ImageId,
    /// The records of the recipe.
    pub records: ContentRef,
    /// The keys of its objects.
    pub keys: ContentRef,
    /// See [`Secret::chunker_seed`](crate::pack::Secret::chunker_seed): by it the chunks of a file that is at hand are
    /// those of the packs.
    pub chunker_seed: u64,
}

impl SealedRecipe {
    /// Reads what the sealed part of `head` was opened to.
    pub fn parse(bytes: &[u8], head: &DeltaHead) -> Result<Self, DeltaError> {
        let wrong = |problem| DeltaError::Head { problem };
        let mut reader = Reader(bytes);
        if reader.array()? != *MAGIC {
            return Err(wrong("its sealed part is none of version 1"));
        }
        let sealed = Self {
            id: ImageId::from_bytes(reader.array()?),
            records: content(&mut reader)?,
            keys: content(&mut reader)?,
            chunker_seed: reader.number()?,
        };
        if !reader.0.is_empty() {
            return Err(wrong("its sealed part goes on after its end"));
        }
        if sealed.id != head.id {
            return Err(wrong("its sealed part is that of another image"));
        }
        check_length(&sealed.records, head.tar_size)?;
        // An object takes at least a block of the tar.
        if !sealed.keys.length.is_multiple_of(KEY) || sealed.keys.length > head.tar_size / 512 * KEY {
            return Err(wrong("its keys have an impossible length"));
        }
        if sealed.chunker_seed == 0 {
            return Err(wrong("its packs are not cut as sealed ones are"));
        }
        Ok(sealed)
    }

    /// The bytes, which are to be encrypted before anybody else sees them.
    pub fn to_bytes(&self) -> Zeroizing<Vec<u8>> {
        let mut bytes = Zeroizing::new(Vec::with_capacity(SEALED_RECIPE));
        bytes.extend_from_slice(MAGIC);
        bytes.extend_from_slice(self.id.as_bytes());
        for content in [&self.records, &self.keys] {
            bytes.extend_from_slice(content.digest.as_bytes());
            bytes.extend_from_slice(&content.length.to_le_bytes());
            let key = content.key.as_ref().expect("what is in sealed packs has a key");
            bytes.extend_from_slice(key.expose());
        }
        bytes.extend_from_slice(&self.chunker_seed.to_le_bytes());
        bytes
    }
}

fn content(reader: &mut Reader<'_>) -> Result<ContentRef, DeltaError> {
    Ok(ContentRef {
        digest: ObjectId(reader.array()?),
        length: reader.number()?,
        key: Some(ContentKey::from_bytes(reader.array()?)),
    })
}
