//! [`PackStore`]: contents in the packs of a backend.

use std::{
    collections::{HashSet, VecDeque},
    io::{Read, Write},
    ops::Range,
    path::Path,
    sync::{Arc, Mutex, PoisonError},
};

use sha2::{Digest, Sha256};

use super::{
    backend::{Backend, Put},
    chunker::Chunker,
    content::ContentRef,
    error::PackError,
    frame::{Frame, Part},
    index::{FrameId, PackIndex, TAIL, Tail},
    layers::Layers,
    list::{self, List, ListBuilder},
    name::{ContentName, PackId},
    writer::PackFile,
};
use crate::object::ObjectId;

/// Lists of lists go no deeper; no writer makes them deeper than three.
const DEEPEST: u32 = 8;
/// How much is read of a pack's end before it is known how long the index is.
const TAIL_GUESS: u64 = 64 << 10;

/// How many frames are kept after they were read, and as many frames of lists: contents that follow each other may be in
/// several packs by turns. A frame of bytes is read again only if another one was read meanwhile.
const KEPT_FRAMES: usize = 4;

/// The packs of a backend, or some of them, and what is in them.
///
/// It holds the index of each pack that it was opened with (some 50 bytes a content), so a large site opens the packs
/// that an image names, not all.
pub struct PackStore {
    backend: Arc<dyn Backend>,
    packs: Vec<PackIndex>,
    recent: Mutex<Recent>,
}

/// The frames that were read last, the newest first.
#[derive(Default)]
struct Recent {
    bytes: VecDeque<(PackId, FrameId, Arc<Frame>)>,
    lists: VecDeque<(PackId, FrameId, Arc<Frame>)>,
}

/// What a pack has of a content.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Piece {
    /// Its bytes, verified.
    Bytes(Vec<u8>),
    /// Shorter contents that make it up. It is believed once what they give has the digest of the whole.
    Parts(Vec<ContentRef>),
}

/// What a pack has of a content, on its word alone.
pub(crate) enum Unproven {
    /// As many bytes as it has.
    Bytes(Slice),
    /// Shorter contents that make it up.
    Parts(Vec<ContentRef>),
}

/// A part of a frame, where it was expanded to.
pub(crate) struct Slice {
    frame: Arc<Frame>,
    range: Range<usize>,
}

impl AsRef<[u8]> for Slice {
    fn as_ref(&self) -> &[u8] {
        &self.frame.expanded()[self.range.clone()]
    }
}

/// Where a content is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Located {
    /// The pack.
    pub pack: PackId,
    /// The frame in which it is, as a range of the pack.
    pub range: Range<u64>,
    /// Whether the pack has a list of its parts, and not its bytes.
    pub is_list: bool,
}

/// Puts contents into new packs. Dropped, it leaves nothing.
pub struct PackWriter<'store> {
    store: &'store PackStore,
    layers: Layers,
    scratch: std::path::PathBuf,
    pack: Option<PackFile>,
    /// What is in the packs of this writer.
    written: HashSet<ContentName>,
    packs: Vec<PackId>,
    statistics: Statistics,
}

/// What a [`PackWriter`] did. All are bytes, but for the numbers of packs and chunks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Statistics {
    /// What was put in.
    pub given: u64,
    /// The part of it that was there, as whole contents or as chunks.
    pub shared: u64,
    /// The chunks that were not.
    pub new_chunks: u64,
    /// The new packs.
    pub packs: u64,
    /// How long these are together.
    pub stored: u64,
}

impl PackStore {
    /// Opens some packs, the newest last.
    pub fn open(backend: Arc<dyn Backend>, packs: impl IntoIterator<Item = PackId>) -> Result<Self, PackError> {
        let mut store = Self {
            backend,
            packs: Vec::new(),
            recent: Mutex::default(),
        };
        for pack in packs {
            store.add(pack)?;
        }
        Ok(store)
    }

    /// Opens all packs that there are.
    pub fn open_all(backend: Arc<dyn Backend>) -> Result<Self, PackError> {
        let mut packs = backend.list().map_err(|source| PackError::List {
            location: backend.location().to_owned(),
            source,
        })?;
        packs.sort_unstable();
        Self::open(backend, packs)
    }

    /// Looks into one more pack.
    pub fn add(&mut self, pack: PackId) -> Result<(), PackError> {
        if !self.packs.iter().any(|index| *index.pack() == pack) {
            let index = self.read_index(pack)?;
            self.packs.push(index);
        }
        Ok(())
    }

    /// Looks into one more pack, whose index the caller has read, as older than all that are open.
    pub fn add_older(&mut self, index: PackIndex) {
        self.packs.insert(0, index);
    }

    /// The packs that are open.
    pub fn packs(&self) -> &[PackIndex] {
        &self.packs
    }

    /// Whether a content is in an open pack, itself or as a list.
    pub fn contains(&self, name: &ContentName) -> bool {
        self.find(name).is_some()
    }

    /// Where a content is, if an open pack has it: in the newest of those that have.
    pub fn locate(&self, name: &ContentName) -> Option<Located> {
        let (index, frame) = self.find(name)?;
        Some(Located {
            pack: *index.pack(),
            range: index.range(frame),
            is_list: index.is_list(frame),
        })
    }

    /// What a pack has of a content.
    pub fn piece(&self, content: &ContentRef) -> Result<Piece, PackError> {
        let (_, frame) = self.frame(content)?;
        Ok(match frame.part(content)? {
            Part::List(parts) => Piece::Parts(parts),
            Part::Bytes(bytes) => Piece::Bytes(bytes.to_vec()),
        })
    }

    /// What a pack has of a content, for a caller that takes a digest of what it makes of it: no digest is taken here.
    pub(crate) fn unproven(&self, content: &ContentRef) -> Result<Unproven, PackError> {
        let (_, frame) = self.frame(content)?;
        Ok(match frame.unproven(content)? {
            Part::List(parts) => Unproven::Parts(parts),
            Part::Bytes(range) => Unproven::Bytes(Slice { frame, range }),
        })
    }

    /// Those contents that no open pack has.
    pub fn missing<'a>(&self, contents: impl IntoIterator<Item = &'a ContentRef>) -> Vec<ContentRef> {
        let contents = contents.into_iter();
        contents
            .filter(|content| content.length > 0 && !self.contains(&content.name()))
            .cloned()
            .collect()
    }

    /// Writes a content out. It is verified: what was written is it only if there was no error.
    pub fn get(&self, content: &ContentRef, mut out: impl Write) -> Result<(), PackError> {
        let mut hasher = Sha256::new();
        let mut list = None;
        self.walk(content, 0..content.length, 0, &mut |pack, bytes| {
            hasher.update(bytes);
            list = Some(pack);
            out.write_all(bytes)
        })?;
        // A list is believed once what it gives has the digest of the whole.
        match list {
            Some(pack) if hasher.finalize()[..] != content.digest.as_bytes()[..] => Err(PackError::Damaged {
                pack,
                problem: "the parts in a list are not the whole",
            }),
            _ => Ok(()),
        }
    }

    /// Writes a range of a content out. Each chunk is verified; that it is this content's is on the word of the pack's
    /// list, unless it is sealed. So only packs whose own digest was verified should be read this way.
    pub fn get_range(&self, content: &ContentRef, range: Range<u64>, mut out: impl Write) -> Result<(), PackError> {
        if range.end > content.length {
            return Err(PackError::Range {
                content: content.digest,
                length: content.length,
                end: range.end,
            });
        }
        self.walk(content, range, 0, &mut |_, bytes| out.write_all(bytes))
    }

    /// The parts of a content of which a pack has a list; none of one that it has as bytes.
    pub fn parts(&self, content: &ContentRef) -> Result<Vec<ContentRef>, PackError> {
        let (_, frame) = self.frame(content)?;
        Ok(match frame.part(content)? {
            Part::List(parts) => parts,
            Part::Bytes(_) => Vec::new(),
        })
    }

    /// Reads a whole pack and checks its digest and, if it is not sealed, every content. A sealed pack can be checked so
    /// by somebody without a key.
    pub fn verify(&self, pack: &PackId) -> Result<(), PackError> {
        let damaged = |problem| PackError::Damaged { pack: *pack, problem };
        let index = self.read_index(*pack)?;
        let mut hasher = Sha256::new();
        let mut read = |range: Range<u64>| -> Result<Vec<u8>, PackError> {
            let bytes = self.read(pack, range)?;
            hasher.update(&bytes);
            Ok(bytes)
        };
        if read(0..super::index::MAGIC.len() as u64)? != super::index::MAGIC {
            return Err(damaged("it does not begin as a pack does"));
        }
        let mut end = super::index::MAGIC.len() as u64;
        for id in index.frames() {
            let range = index.range(id);
            end = range.end;
            let stored = read(range)?;
            if index.is_sealed() {
                continue;
            }
            let frame = index.open(id, &stored, &index.first_content(id))?;
            for (name, bytes) in frame.contents() {
                let is_right = index.is_list(id) || Sha256::digest(bytes)[..] == name.as_bytes()[..];
                if !is_right {
                    return Err(damaged("a content is not what its name says"));
                }
            }
        }
        read(end..index.size())?;
        match hasher.finalize()[..] == pack.as_bytes()[..] {
            true => Ok(()),
            false => Err(damaged("it is not what its name says")),
        }
    }

    /// Puts contents into new packs, written in `scratch` first. What an open pack has, whatever its layers but the
    /// secret, is not stored again.
    pub fn writer(&self, layers: Layers, scratch: &Path) -> PackWriter<'_> {
        PackWriter {
            store: self,
            layers,
            scratch: scratch.to_owned(),
            pack: None,
            written: HashSet::new(),
            packs: Vec::new(),
            statistics: Statistics::default(),
        }
    }

    /// Gives `out` the bytes of a range, chunk by chunk.
    fn walk(
        &self,
        content: &ContentRef,
        range: Range<u64>,
        depth: u32,
        out: &mut dyn FnMut(PackId, &[u8]) -> std::io::Result<()>,
    ) -> Result<(), PackError> {
        if range.is_empty() {
            return Ok(());
        }
        let (pack, frame) = self.frame(content)?;
        match frame.part(content)? {
            Part::Bytes(bytes) => Ok(out(pack, &bytes[range.start as usize..range.end as usize])?),
            Part::List(_) if depth == DEEPEST => Err(PackError::Damaged {
                pack,
                problem: "its lists are too deep",
            }),
            Part::List(parts) => {
                drop(frame);
                let mut start = 0;
                for part in parts {
                    let end = start + part.length;
                    let within = range.start.clamp(start, end) - start..range.end.clamp(start, end) - start;
                    self.walk(&part, within, depth + 1, out)?;
                    start = end;
                }
                Ok(())
            }
        }
    }

    /// The frame in which a content is. The last few are kept, since neighbours are asked for in turn.
    fn frame(&self, content: &ContentRef) -> Result<(PackId, Arc<Frame>), PackError> {
        let (index, id) = self.find(&content.name()).ok_or_else(|| PackError::NotFound {
            content: content.digest,
            location: self.backend.location().to_owned(),
        })?;
        let pack = *index.pack();
        let mut recent = self.recent.lock().unwrap_or_else(PoisonError::into_inner);
        let recent = match index.is_list(id) {
            true => &mut recent.lists,
            false => &mut recent.bytes,
        };
        let kept = recent.iter().find(|(of, frame, _)| (*of, *frame) == (pack, id));
        if let Some((_, _, frame)) = kept
            && !index.is_sealed()
        {
            return Ok((pack, Arc::clone(frame)));
        }
        let stored = self.read(&pack, index.range(id))?;
        let oldest = (recent.len() == KEPT_FRAMES).then(|| recent.pop_back()).flatten();
        let oldest = oldest.and_then(|(_, _, frame)| Arc::into_inner(frame));
        let buffer = oldest.map(Frame::into_buffer).unwrap_or_default();
        let frame = Arc::new(index.open_in(id, &stored, content, buffer)?);
        self.backend.reuse(stored);
        recent.push_front((pack, id, Arc::clone(&frame)));
        Ok((pack, frame))
    }

    /// The newest pack with a content, and the frame.
    fn find(&self, name: &ContentName) -> Option<(&PackIndex, FrameId)> {
        let mut packs = self.packs.iter().rev();
        packs.find_map(|index| Some((index, index.find(name)?)))
    }

    fn read_index(&self, pack: PackId) -> Result<PackIndex, PackError> {
        let size = (self.backend.size(&pack)).map_err(|source| self.failed("read", pack, source))?;
        let size = size.ok_or_else(|| self.failed("read", pack, std::io::ErrorKind::NotFound.into()))?;
        let end = self.read(&pack, size.saturating_sub(TAIL_GUESS)..size)?;
        let tail = Tail::parse(pack, size, &end[end.len().saturating_sub(TAIL)..])?;
        let range = tail.index_range();
        let start = size - end.len() as u64;
        match range.start.checked_sub(start) {
            Some(from) => PackIndex::parse(&tail, &end[from as usize..end.len() - TAIL]),
            None => PackIndex::parse(&tail, &self.read(&pack, range)?),
        }
    }

    pub(crate) fn read(&self, pack: &PackId, range: Range<u64>) -> Result<Vec<u8>, PackError> {
        let read = self.backend.read(pack, range).and_then(|bytes| match bytes {
            Some(bytes) => Ok(bytes),
            None => Err(std::io::ErrorKind::NotFound.into()),
        });
        read.map_err(|source| self.failed("read", *pack, source))
    }

    fn failed(&self, action: &'static str, pack: PackId, source: std::io::Error) -> PackError {
        PackError::Backend {
            action,
            pack,
            location: self.backend.location().to_owned(),
            source,
        }
    }
}

impl PackWriter<'_> {
    /// The content, if it need not be put in again.
    pub fn known(&self, digest: &ObjectId, length: u64) -> Option<ContentRef> {
        let content = self.layers.content(*digest, length);
        self.has(&content.name()).then_some(content)
    }

    /// Puts a content in, and tells by what it is found again. Chunks that are there are not stored again.
    pub fn put(&mut self, content: impl Read) -> Result<ContentRef, PackError> {
        self.put_cut(content, &self.layers.chunker())
    }

    /// The same of the keys of an image's objects.
    pub(crate) fn put_keys(&mut self, keys: impl Read) -> Result<ContentRef, PackError> {
        self.put_cut(keys, &self.layers.key_chunker())
    }

    fn put_cut(&mut self, content: impl Read, chunker: &Chunker) -> Result<ContentRef, PackError> {
        let mut lists = ListBuilder::new(chunker);
        chunker.cut(content, |chunk| {
            let digest = ObjectId(Sha256::digest(chunk).into());
            let content = self.layers.content(digest, chunk.len() as u64);
            self.put_chunk(&content, chunk)?;
            lists.add(chunk, content, |list| self.put_list(list))
        })?;
        let content = lists.finish(|list| self.put_list(list))?;
        Ok(content.unwrap_or_else(|| self.layers.content(ObjectId(Sha256::digest(b"").into()), 0)))
    }

    /// Lets what follows begin a frame of its own, so that it can be fetched without what came before.
    pub fn end_frame(&mut self) -> Result<(), PackError> {
        match &mut self.pack {
            Some(pack) => Ok(pack.end_frame()?),
            None => Ok(()),
        }
    }

    /// Ends the last pack. Gives all packs that were made, in the order in which they were.
    pub fn finish(mut self) -> Result<(Vec<PackId>, Statistics), PackError> {
        self.end_pack()?;
        Ok((self.packs, self.statistics))
    }

    fn put_chunk(&mut self, content: &ContentRef, chunk: &[u8]) -> Result<(), PackError> {
        self.statistics.given += content.length;
        if self.has(&content.name()) {
            self.statistics.shared += content.length;
            return Ok(());
        }
        self.statistics.new_chunks += 1;
        self.written.insert(content.name());
        Ok(self.pack()?.add(content.clone(), chunk)?)
    }

    fn put_list(&mut self, list: List) -> Result<ContentRef, PackError> {
        let content = self.layers.content(list.digest, list.length);
        if !self.has(&content.name()) {
            let length = list.length;
            let list = list::encode(&list.parts).ok_or(PackError::TooLarge { length })?;
            self.written.insert(content.name());
            self.pack()?.add_list(content.clone(), list);
        }
        Ok(content)
    }

    fn has(&self, name: &ContentName) -> bool {
        self.written.contains(name) || self.store.contains(name)
    }

    /// The pack that is being written: the next one, if the last is full.
    fn pack(&mut self) -> Result<&mut PackFile, PackError> {
        if self.pack.as_ref().is_some_and(PackFile::is_full) {
            self.end_pack()?;
        }
        if self.pack.is_none() {
            self.pack = Some(PackFile::create(self.layers.clone(), &self.scratch)?);
        }
        Ok(self.pack.as_mut().expect("there is one now"))
    }

    fn end_pack(&mut self) -> Result<(), PackError> {
        let Some(pack) = self.pack.take() else { return Ok(()) };
        let (id, size, mut file) = pack.finish()?;
        let put = (self.store.backend).put(&id, size, &mut file);
        if put.map_err(|source| self.store.failed("write", id, source))? == Put::New {
            self.statistics.packs += 1;
            self.statistics.stored += size;
        }
        self.packs.push(id);
        Ok(())
    }
}
