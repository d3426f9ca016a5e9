//! [`Backend`]: where packs are.

use std::{
    io::{self, Read},
    ops::Range,
};

use sha2::{Digest, Sha256};

use super::name::PackId;

/// A place for packs: a directory here, any `object_store` in `dhow-site`.
///
/// Packs are immutable, and their names say what they hold. So no method needs a lock or a condition to be safe: two
/// that put the same pack put the same bytes.
///
/// Errors are those of [`io::Error`]; a pack that is not there is `None` or `false`, not an error.
pub trait Backend: Send + Sync {
    /// Where this is, for messages.
    fn location(&self) -> &str;

    /// How many bytes a pack has.
    fn size(&self, pack: &PackId) -> io::Result<Option<u64>>;

    /// These bytes of a pack, all of them: a pack that ends before is an error ([`io::ErrorKind::UnexpectedEof`]).
    fn read(&self, pack: &PackId, range: Range<u64>) -> io::Result<Option<Vec<u8>>>;

    /// Takes back what [`Self::read`] gave, when it is needed no longer: its memory may serve for what is read next.
    fn reuse(&self, _bytes: Vec<u8>) {}

    /// Keeps a pack of `size` bytes, unless it is there. Once this returns, it is there whole and on stable storage;
    /// until then nobody sees it. What is not the pack that its name says is refused
    /// ([`io::ErrorKind::InvalidData`]) and not kept; [`verified`] sees to that.
    fn put(&self, pack: &PackId, size: u64, content: &mut dyn Read) -> io::Result<Put>;

    /// All packs, in no particular order. What is no pack is passed over.
    fn list(&self) -> io::Result<Vec<PackId>>;

    /// Removes a pack. Whether it was there.
    fn delete(&self, pack: &PackId) -> io::Result<bool>;
}

/// What [`Backend::put`] did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Put {
    /// The pack is new.
    New,
    /// The pack was there.
    Known,
}

/// Reads a pack and fails at its end, if it is not the one that `pack` names or has not `size` bytes.
pub fn verified<'a>(pack: &PackId, size: u64, content: &'a mut dyn Read) -> impl Read + use<'a> {
    Verified {
        pack: *pack,
        left: size,
        hasher: Sha256::new(),
        content,
    }
}

struct Verified<'a> {
    pack: PackId,
    left: u64,
    hasher: Sha256,
    content: &'a mut dyn Read,
}

impl Read for Verified<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.content.read(buffer)?;
        let wrong = |problem: &str| io::Error::new(io::ErrorKind::InvalidData, format!("`{}` {problem}", self.pack));
        self.left = (self.left.checked_sub(read as u64)).ok_or_else(|| wrong("is longer than it should be"))?;
        self.hasher.update(&buffer[..read]);
        if read == 0 && !buffer.is_empty() {
            if self.left > 0 {
                return Err(wrong("is shorter than it should be"));
            }
            if self.hasher.clone().finalize()[..] != self.pack.as_bytes()[..] {
                return Err(wrong("is not what its name says"));
            }
        }
        Ok(read)
    }
}
