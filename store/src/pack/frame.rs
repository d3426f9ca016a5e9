//! Frames: what is compressed and sealed at once.

use std::ops::Range;

use super::{
    content::ContentRef,
    error::PackError,
    layers::{COMPRESSED, SEALED, compress, expand, seal, unseal},
    list,
    name::{ContentName, PackId},
};

/// The most bytes that a frame can expand to.
pub const MAX_FRAME: usize = 1 << 20;
/// The most bytes that a frame can be stored as: those, an eighth for padding, and some for keeping.
pub const MAX_STORED: u32 = (MAX_FRAME + MAX_FRAME / 8 + 1024) as u32;

pub(crate) const NOT_ITS_NAME: &str = "a content is not what its name says";

/// A frame that has been read: contents, one after the other. What it holds is verified when it is taken out.
pub struct Frame {
    pack: PackId,
    is_list: bool,
    bytes: Vec<u8>,
    contents: Vec<(ContentName, Range<usize>)>,
}

/// What a frame has of a content.
pub(super) enum Part<B> {
    /// Its bytes.
    Bytes(B),
    /// The shorter contents that make it up.
    List(Vec<ContentRef>),
}

/// What the tail and the index of a pack tell of a frame.
pub(super) struct FrameFacts<'a> {
    pub(super) pack: PackId,
    pub(super) flags: u8,
    pub(super) is_list: bool,
    pub(super) contents: &'a [(ContentName, u32)],
}

impl Frame {
    /// Undoes the layers of a frame, in which `content` is. The key is that content's. It is expanded into `buffer`, whatever
    /// that holds.
    pub(super) fn open(
        facts: FrameFacts<'_>,
        stored: &[u8],
        content: &ContentRef,
        buffer: Vec<u8>,
    ) -> Result<Self, PackError> {
        let damaged = |problem| PackError::Damaged {
            pack: facts.pack,
            problem,
        };
        let mut body = None;
        let mut contents = Vec::with_capacity(facts.contents.len());
        let mut length = 0;
        if facts.flags & SEALED != 0 {
            let key = content.key.as_ref().ok_or(PackError::NoKey {
                content: content.digest,
                pack: facts.pack,
            })?;
            let associated = associated(facts.flags, facts.is_list, &facts.contents[0].0);
            let (real_length, unsealed) = unseal(key, &associated, stored).ok_or(PackError::Sealed {
                content: content.digest,
                pack: facts.pack,
            })?;
            length = real_length as usize;
            contents.push((facts.contents[0].0, 0..length));
            body = Some(unsealed);
        } else {
            for &(name, each) in facts.contents {
                contents.push((name, length..length + each as usize));
                length += each as usize;
            }
        }
        if length > MAX_FRAME {
            return Err(damaged("a frame is too long"));
        }
        let body = body.as_deref().unwrap_or(stored);
        let mut bytes = buffer;
        bytes.clear();
        match facts.flags & COMPRESSED {
            0 if body.len() == length => bytes.extend_from_slice(body),
            0 => return Err(damaged("a frame has not the length of its contents")),
            _ => expand(body, length, &mut bytes).map_err(damaged)?,
        }
        Ok(Self {
            pack: facts.pack,
            is_list: facts.is_list,
            bytes,
            contents,
        })
    }

    /// The bytes of a content, if they are in this frame and are what its digest says. `None` for one that is elsewhere
    /// or that this frame has as a list.
    pub fn bytes(&self, content: &ContentRef) -> Option<&[u8]> {
        let bytes = self.slice(content).filter(|_| !self.is_list)?;
        content.is(bytes).then_some(bytes)
    }

    /// The parts of a content, if this frame has a list of them. They are believed only when the content that they give
    /// has its digest.
    pub fn list(&self, content: &ContentRef) -> Option<Vec<ContentRef>> {
        let list = self.slice(content).filter(|_| self.is_list)?;
        list::decode(list, content).ok()
    }

    /// Whatever the frame has of a content that must be in it.
    pub(super) fn part(&self, content: &ContentRef) -> Result<Part<&[u8]>, PackError> {
        match self.unproven(content)? {
            Part::List(parts) => Ok(Part::List(parts)),
            Part::Bytes(range) => match content.is(&self.bytes[range.clone()]) {
                true => Ok(Part::Bytes(&self.bytes[range])),
                false => Err(self.damaged(NOT_ITS_NAME)),
            },
        }
    }

    /// The same, where the caller sees to it that the bytes are what they should be: only their number is checked.
    pub(super) fn unproven(&self, content: &ContentRef) -> Result<Part<Range<usize>>, PackError> {
        let range = self.range(content);
        let range = range.ok_or_else(|| self.damaged("a frame has not the content it should"))?;
        if self.is_list {
            let list = list::decode(&self.bytes[range], content);
            return list.map(Part::List).map_err(|problem| self.damaged(problem));
        }
        match content.length == range.len() as u64 {
            true => Ok(Part::Bytes(range)),
            false => Err(self.damaged(NOT_ITS_NAME)),
        }
    }

    /// The buffer, for another frame.
    pub(super) fn into_buffer(self) -> Vec<u8> {
        self.bytes
    }

    /// All that it expands to.
    pub(super) fn expanded(&self) -> &[u8] {
        &self.bytes
    }

    /// Every content, with its bytes. None of them is verified.
    pub(super) fn contents(&self) -> impl Iterator<Item = (&ContentName, &[u8])> {
        self.contents
            .iter()
            .map(|(name, range)| (name, &self.bytes[range.clone()]))
    }

    fn slice(&self, content: &ContentRef) -> Option<&[u8]> {
        Some(&self.bytes[self.range(content)?])
    }

    fn range(&self, content: &ContentRef) -> Option<Range<usize>> {
        let name = content.name();
        let (_, range) = self.contents.iter().find(|(each, _)| *each == name)?;
        Some(range.clone())
    }

    fn damaged(&self, problem: &'static str) -> PackError {
        PackError::Damaged {
            pack: self.pack,
            problem,
        }
    }
}

/// A frame as it is stored: `bytes`, through the layers.
pub(super) fn store_frame(
    flags: u8,
    level: Option<i32>,
    is_list: bool,
    content: &ContentRef,
    bytes: &[u8],
) -> std::io::Result<Vec<u8>> {
    let body = match level {
        Some(level) => compress(bytes, level)?,
        None => bytes.to_vec(),
    };
    Ok(match &content.key {
        Some(key) => {
            let length = u32::try_from(bytes.len()).expect("a frame is far below 4 GiB");
            seal(key, &associated(flags, is_list, &key.name()), length, &body)
        }
        None => body,
    })
}

/// What a sealed frame is bound to: the format, the layers, what it is, and its name.
fn associated(flags: u8, is_list: bool, name: &ContentName) -> Vec<u8> {
    [b"dhow pack 1\n", &[flags, u8::from(is_list)][..], name.as_bytes()].concat()
}
