//! [`ContentRef`]: which bytes are meant.

use std::io::Read;

use sha2::{Digest, Sha256};

use super::{name::ContentName, secret::ContentKey};
use crate::object::ObjectId;

/// A content: its digest and length, and the key if it is sealed. All that is needed to find, read and verify it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ContentRef {
    /// The SHA-256 of the bytes.
    pub digest: ObjectId,
    /// How many bytes there are.
    pub length: u64,
    /// The key, if the content is sealed.
    pub key: Option<ContentKey>,
}

impl ContentRef {
    /// A content that is not sealed: what a recipe tells of a file.
    pub const fn plain(digest: ObjectId, length: u64) -> Self {
        Self {
            digest,
            length,
            key: None,
        }
    }

    /// What packs call it.
    pub fn name(&self) -> ContentName {
        match &self.key {
            Some(key) => key.name(),
            None => ContentName::from_bytes(*self.digest.as_bytes()),
        }
    }

    /// Whether these bytes are the content.
    pub fn is(&self, bytes: &[u8]) -> bool {
        self.length == bytes.len() as u64 && Sha256::digest(bytes)[..] == self.digest.as_bytes()[..]
    }
}

/// Digest and length of what `content` gives.
pub fn content_of(mut content: impl Read) -> std::io::Result<ContentRef> {
    let mut hasher = Sha256::new();
    let mut buffer = vec![0; 64 << 10];
    let mut length = 0;
    loop {
        let read = match content.read(&mut buffer) {
            Ok(0) => return Ok(ContentRef::plain(ObjectId(hasher.finalize().into()), length)),
            Ok(read) => read,
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(error),
        };
        hasher.update(&buffer[..read]);
        length += read as u64;
    }
}
