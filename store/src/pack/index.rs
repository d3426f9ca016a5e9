//! [`PackIndex`]: what the end of a pack tells of all of it.
//!
//! ```text
//!   "dhow pack 1\n"                                                  12 bytes
//!   frames: of bytes, then of lists, one after the other
//!   index:  of each frame, stored length: u32  number of contents: u32
//!           of each content, name: 32  length: u32 (0 in a sealed pack)
//!   tail:   layers: 1  zeros: 3  frames: u32  frames of bytes: u32  contents: u32
//!           SHA-256 of the 16 bytes before it and the index: 32
//!           "dhow pack end 1\n": 16                                  64 bytes
//! ```
//!
//! There are no offsets, so none can lie: frames follow each other, and so do contents in a frame.

use std::ops::Range;

use sha2::{Digest, Sha256};

use super::{
    content::ContentRef,
    error::PackError,
    frame::{Frame, FrameFacts, MAX_FRAME, MAX_STORED},
    layers::{COMPRESSED, SEALED},
    name::{ContentName, PackId},
};

pub(super) const MAGIC: &[u8; 12] = b"dhow pack 1\n";
const END_MAGIC: &[u8; 16] = b"dhow pack end 1\n";
/// The length of a pack's tail.
pub const TAIL: usize = 64;
/// The most contents that a pack can have.
pub const MAX_CONTENTS: u32 = 1 << 18;
const FRAME_RECORD: u64 = 8;
const CONTENT_RECORD: u64 = 36;

/// The last 64 bytes of a pack: how long the index before them is, and what it must be.
#[derive(Clone, Debug)]
pub struct Tail {
    pack: PackId,
    size: u64,
    flags: u8,
    frames: u32,
    byte_frames: u32,
    contents: u32,
    bytes: [u8; TAIL],
}

/// Where in a pack each content is.
#[derive(Clone, Debug)]
pub struct PackIndex {
    pack: PackId,
    size: u64,
    flags: u8,
    frames: Vec<FrameRecord>,
    byte_frames: u32,
    contents: Vec<(ContentName, u32)>,
    /// Numbers of contents, in the order of their names, each beside how its name begins: most are told apart by that.
    by_name: Vec<(u32, u32)>,
}

#[derive(Clone, Copy, Debug)]
struct FrameRecord {
    offset: u64,
    stored: u32,
    /// The number of its first content.
    first: u32,
}

/// A frame of a pack, by its number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FrameId(pub(super) u32);

impl Tail {
    /// Reads the tail of a pack that has `size` bytes.
    pub fn parse(pack: PackId, size: u64, bytes: &[u8]) -> Result<Self, PackError> {
        let damaged = |problem| PackError::Damaged { pack, problem };
        let bytes: [u8; TAIL] = bytes.try_into().map_err(|_| damaged("it is too short"))?;
        if bytes[48..] != END_MAGIC[..] {
            return Err(damaged("it is no pack of version 1, or was cut short"));
        }
        let tail = Self {
            pack,
            size,
            flags: bytes[0],
            frames: number(&bytes[4..]),
            byte_frames: number(&bytes[8..]),
            contents: number(&bytes[12..]),
            bytes,
        };
        if tail.flags & !(COMPRESSED | SEALED) != 0 || bytes[1..4] != [0; 3] {
            return Err(damaged("it has layers of an unknown kind"));
        }
        if tail.contents > MAX_CONTENTS || tail.frames > tail.contents || tail.byte_frames > tail.frames {
            return Err(damaged("it has an impossible number of contents"));
        }
        let least = MAGIC.len() as u64 + u64::from(tail.frames) + tail.index_length() + TAIL as u64;
        if size < least {
            return Err(damaged("it is shorter than its index"));
        }
        Ok(tail)
    }

    /// Where in the pack the index is: at most some 11 MB just before the tail.
    pub fn index_range(&self) -> Range<u64> {
        let end = self.size - TAIL as u64;
        end - self.index_length()..end
    }

    /// How many contents the pack has.
    pub(crate) fn contents(&self) -> usize {
        self.contents as usize
    }

    fn index_length(&self) -> u64 {
        u64::from(self.frames) * FRAME_RECORD + u64::from(self.contents) * CONTENT_RECORD
    }
}

impl PackIndex {
    /// Reads an index, which stood at [`Tail::index_range`].
    pub fn parse(tail: &Tail, index: &[u8]) -> Result<Self, PackError> {
        let damaged = |problem| PackError::Damaged {
            pack: tail.pack,
            problem,
        };
        if index.len() as u64 != tail.index_length() {
            return Err(damaged("its index has another length than its tail says"));
        }
        let digest = Sha256::new()
            .chain_update(&tail.bytes[..16])
            .chain_update(index)
            .finalize();
        if digest[..] != tail.bytes[16..48] {
            return Err(damaged("its index is not what its tail says"));
        }
        let (frames, contents) = index.split_at((u64::from(tail.frames) * FRAME_RECORD) as usize);
        let contents: Vec<_> = contents
            .chunks_exact(CONTENT_RECORD as usize)
            .map(|record| {
                let name = record[..32].try_into().expect("a record has 36 bytes");
                (ContentName::from_bytes(name), number(&record[32..]))
            })
            .collect();
        let frames = read_frames(frames, &contents, tail).map_err(damaged)?;
        let name = |number: u32| contents[number as usize].0;
        let mut by_name: Vec<_> = (0..tail.contents)
            .map(|number| (beginning(&name(number)), number))
            .collect();
        by_name.sort_unstable_by_key(|&(beginning, number)| (beginning, name(number)));
        if by_name.windows(2).any(|pair| name(pair[0].1) == name(pair[1].1)) {
            return Err(damaged("it has two contents of one name"));
        }
        Ok(Self {
            pack: tail.pack,
            size: tail.size,
            flags: tail.flags,
            frames,
            byte_frames: tail.byte_frames,
            contents,
            by_name,
        })
    }

    /// The pack.
    pub fn pack(&self) -> &PackId {
        &self.pack
    }

    /// How many bytes the pack has.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Whether what it holds is sealed.
    pub fn is_sealed(&self) -> bool {
        self.flags & SEALED != 0
    }

    /// The names of all contents.
    pub fn names(&self) -> impl ExactSizeIterator<Item = &ContentName> {
        self.contents.iter().map(|(name, _)| name)
    }

    /// All frames.
    pub fn frames(&self) -> impl ExactSizeIterator<Item = FrameId> + use<> {
        (0..self.frames.len() as u32).map(FrameId)
    }

    /// The frame in which a content is.
    pub fn find(&self, name: &ContentName) -> Option<FrameId> {
        let begins = beginning(name);
        let place = self.by_name.binary_search_by(|&(beginning, number)| {
            let ordering = beginning.cmp(&begins);
            ordering.then_with(|| self.contents[number as usize].0.cmp(name))
        });
        let (_, number) = self.by_name[place.ok()?];
        let after = self.frames.partition_point(|frame| frame.first <= number);
        Some(FrameId(after as u32 - 1))
    }

    /// Whether a frame holds lists.
    pub fn is_list(&self, frame: FrameId) -> bool {
        frame.0 >= self.byte_frames
    }

    /// Where in the pack a frame is.
    pub fn range(&self, frame: FrameId) -> Range<u64> {
        let frame = &self.frames[frame.0 as usize];
        frame.offset..frame.offset + u64::from(frame.stored)
    }

    /// Where all lists are: just before the index, so that both can be had at once.
    pub fn lists(&self) -> Range<u64> {
        let end = self
            .frames
            .last()
            .map_or(MAGIC.len() as u64, |last| last.offset + u64::from(last.stored));
        let first = self.frames.get(self.byte_frames as usize);
        first.map_or(end, |first| first.offset)..end
    }

    /// Undoes the layers of a frame that stood at [`Self::range`]. `content` must be in it, and brings the key if it is
    /// sealed.
    pub fn open(&self, frame: FrameId, stored: &[u8], content: &ContentRef) -> Result<Frame, PackError> {
        self.open_in(frame, stored, content, Vec::new())
    }

    /// The same, in a buffer of an earlier frame.
    pub(super) fn open_in(
        &self,
        frame: FrameId,
        stored: &[u8],
        content: &ContentRef,
        buffer: Vec<u8>,
    ) -> Result<Frame, PackError> {
        let range = self.range(frame);
        if stored.len() as u64 != range.end - range.start {
            return Err(PackError::Damaged {
                pack: self.pack,
                problem: "a frame has another length than its index says",
            });
        }
        let first = self.frames[frame.0 as usize].first as usize;
        let next = self.frames.get(frame.0 as usize + 1);
        let end = next.map_or(self.contents.len(), |next| next.first as usize);
        let facts = FrameFacts {
            pack: self.pack,
            flags: self.flags,
            is_list: self.is_list(frame),
            contents: &self.contents[first..end],
        };
        Frame::open(facts, stored, content, buffer)
    }

    /// A content of a frame of a pack that is not sealed: its name is its digest.
    pub(super) fn first_content(&self, frame: FrameId) -> ContentRef {
        let (name, length) = self.contents[self.frames[frame.0 as usize].first as usize];
        ContentRef::plain(crate::object::ObjectId(*name.as_bytes()), u64::from(length))
    }
}

fn read_frames(records: &[u8], contents: &[(ContentName, u32)], tail: &Tail) -> Result<Vec<FrameRecord>, &'static str> {
    let mut frames = Vec::with_capacity(tail.frames as usize);
    let mut offset = MAGIC.len() as u64;
    let mut rest = contents;
    for record in records.chunks_exact(FRAME_RECORD as usize) {
        let (stored, count) = (number(record), number(&record[4..]));
        if stored == 0 || stored > MAX_STORED {
            return Err("a frame has an impossible length");
        }
        if count == 0 || count as usize > rest.len() {
            return Err("a frame has an impossible number of contents");
        }
        let first = (contents.len() - rest.len()) as u32;
        let of_frame;
        (of_frame, rest) = rest.split_at(count as usize);
        if tail.flags & SEALED != 0 {
            if count != 1 || of_frame[0].1 != 0 {
                return Err("a sealed frame does not hold one content of unknown length");
            }
        } else if of_frame.iter().any(|&(_, length)| length == 0) {
            return Err("a content is empty");
        } else if of_frame.iter().map(|&(_, length)| u64::from(length)).sum::<u64>() > MAX_FRAME as u64 {
            return Err("a frame is too long");
        }
        frames.push(FrameRecord { offset, stored, first });
        offset += u64::from(stored);
    }
    if !rest.is_empty() {
        return Err("it has contents in no frame");
    }
    if offset != tail.index_range().start {
        return Err("its frames are not as long as the pack is");
    }
    Ok(frames)
}

/// Index and tail of a pack with these frames (stored length, number of contents) and contents.
pub(super) fn encode(flags: u8, byte_frames: u32, frames: &[(u32, u32)], contents: &[(ContentName, u32)]) -> Vec<u8> {
    let mut index = Vec::with_capacity(frames.len() * 8 + contents.len() * 36 + TAIL);
    for (stored, count) in frames {
        index.extend_from_slice(&stored.to_le_bytes());
        index.extend_from_slice(&count.to_le_bytes());
    }
    for (name, length) in contents {
        index.extend_from_slice(name.as_bytes());
        index.extend_from_slice(&length.to_le_bytes());
    }
    let mut start = vec![flags, 0, 0, 0];
    for number in [frames.len() as u32, byte_frames, contents.len() as u32] {
        start.extend_from_slice(&number.to_le_bytes());
    }
    let digest = Sha256::new().chain_update(&start).chain_update(&index).finalize();
    index.extend_from_slice(&start);
    index.extend_from_slice(&digest);
    index.extend_from_slice(END_MAGIC);
    index
}

/// How a name begins, in the order of names.
fn beginning(name: &ContentName) -> u32 {
    u32::from_be_bytes(*name.as_bytes().first_chunk().expect("a name has 32 bytes"))
}

fn number(bytes: &[u8]) -> u32 {
    u32::from_le_bytes(*bytes.first_chunk().expect("there are four bytes or more"))
}
