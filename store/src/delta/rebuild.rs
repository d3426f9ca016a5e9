use std::{
    collections::HashMap,
    fs::File,
    io::{self, BufReader, Read},
    os::unix::fs::FileExt,
    sync::Arc,
};

use tempfile::TempDir;

use super::{DeltaError, chunks::Chunks, gather::DEEPEST, keys::Keys, patch::Patched};
use crate::{
    object::ObjectId,
    pack::{Chunker, ContentKey, ContentRef, PackError, PackStore, Slice, Unproven},
    recipe::{RecipeReader, Record},
    store::Store,
};

/// Where the bytes of an image come from. All are bytes of its tar.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Reused {
    /// From files that the store had.
    pub files: u64,
    /// From chunks of other files that the store had.
    pub chunks: u64,
    /// From what came in packs.
    pub packs: u64,
    /// From what came in a patch.
    pub patch: u64,
}

/// The tar of an image, as it is put together. It is read once, to its end.
///
/// It is believed by nobody until the image ID of all of it was taken.
pub struct Rebuild {
    pub(super) store: Arc<Store>,
    /// Whether the store has any of its objects.
    pub(super) holds_some: bool,
    pub(super) recipe: RecipeReader<BufReader<File>>,
    pub(super) packs: Arc<PackStore>,
    pub(super) patched: Option<Patched>,
    /// Of a sealed image, and how many of its objects have been given out.
    pub(super) keys: Option<Arc<Keys>>,
    pub(super) objects: u64,
    /// As the packer has cut.
    pub(super) chunker: Chunker,
    /// Objects that are not in the store, with the object of which they may share chunks.
    pub(super) bases: HashMap<ObjectId, ObjectId>,
    pub(super) current: Current,
    /// Keeps what came until it is done with.
    pub(super) _scratch: Arc<TempDir>,
}

/// What is given out now.
pub(super) enum Current {
    Bytes(io::Cursor<Vec<u8>>),
    Object(io::Take<File>),
    Content(Box<ContentReader>),
}

impl Rebuild {
    /// Goes on to the next record. Whether there is one.
    fn advance(&mut self) -> io::Result<bool> {
        self.current = match self.recipe.next()? {
            None => return Ok(false),
            Some(Record::Framing(bytes)) => Current::Bytes(io::Cursor::new(bytes)),
            Some(Record::Object(id, size)) => match (self.local(&id, size)?, self.next_key()?) {
                (Some(file), _) => Current::Object(file),
                (None, key) => {
                    let base = self
                        .bases
                        .get(&id)
                        .map(|base| self.store.open_object(base))
                        .transpose()?;
                    let chunks = base.map(|base| Chunks::of(base, &self.chunker)).transpose()?;
                    let content = ContentRef {
                        digest: id,
                        length: size,
                        key,
                    };
                    Current::Content(Box::new(ContentReader::new(self.packs.clone(), chunks, content)))
                }
            },
        };
        Ok(true)
    }

    /// The key of the object that is next, if the image is sealed.
    fn next_key(&mut self) -> io::Result<Option<ContentKey>> {
        let number = self.objects;
        self.objects += 1;
        self.keys.as_ref().map(|keys| keys.of(number)).transpose()
    }

    /// A content that the store has, or that came in a patch.
    fn local(&self, id: &ObjectId, size: u64) -> io::Result<Option<io::Take<File>>> {
        let held = match self.holds_some {
            true => self.store.held_object(id, size),
            false => None,
        };
        match (held, &self.patched) {
            (Some(file), _) => Ok(Some(file.take(size))),
            (None, Some(patched)) => patched.content(id, size),
            (None, None) => Ok(None),
        }
    }
}

impl Read for Rebuild {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            let read = match &mut self.current {
                Current::Bytes(bytes) => bytes.read(buffer)?,
                Current::Object(file) => match file.read(buffer)? {
                    0 if file.limit() > 0 && !buffer.is_empty() => return Err(io::ErrorKind::UnexpectedEof.into()),
                    read => read,
                },
                Current::Content(content) => content.read(buffer)?,
            };
            if read > 0 || buffer.is_empty() || !self.advance()? {
                return Ok(read);
            }
        }
    }
}

/// A content, as it is put together of chunks that are here and of what came in packs. What came is not checked piece by
/// piece, since whoever reads this takes a digest of the whole.
pub(super) struct ContentReader {
    packs: Arc<PackStore>,
    chunks: Option<Chunks>,
    /// What is still to come, the next last, and how deep it is.
    left: Vec<(ContentRef, u8)>,
    current: ContentPart,
}

enum ContentPart {
    None,
    Bytes(io::Cursor<Slice>),
    Local { file: File, at: u64, left: u64 },
}

impl ContentReader {
    pub(super) fn new(packs: Arc<PackStore>, chunks: Option<Chunks>, content: ContentRef) -> Self {
        Self {
            packs,
            chunks,
            left: vec![(content, 0)],
            current: ContentPart::None,
        }
    }

    /// Goes on to the next part. Whether there is one.
    fn advance(&mut self) -> io::Result<bool> {
        while let Some((content, depth)) = self.left.pop() {
            if let Some(chunks) = &self.chunks
                && let Some(at) = chunks.find(&content)
            {
                let (file, left) = (chunks.file()?, content.length);
                self.current = ContentPart::Local { file, at, left };
                return Ok(true);
            }
            match self.packs.unproven(&content).map_err(other)? {
                Unproven::Bytes(bytes) => {
                    self.current = ContentPart::Bytes(io::Cursor::new(bytes));
                    return Ok(true);
                }
                Unproven::Parts(_) if depth == DEEPEST => {
                    return Err(io::Error::new(
                        io::ErrorKind::InvalidData,
                        "lists of chunks are too deep",
                    ));
                }
                Unproven::Parts(parts) => self.left.extend(parts.into_iter().rev().map(|part| (part, depth + 1))),
            }
        }
        Ok(false)
    }
}

impl Read for ContentReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            let read = match &mut self.current {
                ContentPart::None => 0,
                ContentPart::Bytes(bytes) => bytes.read(buffer)?,
                ContentPart::Local { file, at, left } => {
                    let wanted = usize::try_from(*left).unwrap_or(usize::MAX).min(buffer.len());
                    let read = file.read_at(&mut buffer[..wanted], *at)?;
                    if read == 0 && wanted > 0 {
                        return Err(io::ErrorKind::UnexpectedEof.into());
                    }
                    *at += read as u64;
                    *left -= read as u64;
                    read
                }
            };
            if read > 0 || buffer.is_empty() || !self.advance()? {
                return Ok(read);
            }
        }
    }
}

pub(super) fn other(error: PackError) -> io::Error {
    io::Error::other(DeltaError::from(error))
}
