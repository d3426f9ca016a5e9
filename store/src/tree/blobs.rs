//! What a tree knows of its files besides their names: one blob a file, in memory while all of them are little, and in
//! a temporary file from then on.
//!
//! ```text
//!   length: u32  mode: u16  uid, gid: u32  seconds: i64  nanoseconds: u32
//!   attributes: u32  { name length: u8  name  value length: u16  value }
//!   content by kind: an object (SHA-256, size: u64), the bytes, a target, a device number, or nothing
//! ```
//!
//! Little-endian, each blob at a multiple of 8.

use std::{
    collections::BTreeMap,
    fs::File,
    io::{self, Write},
    os::unix::fs::FileExt,
    sync::Mutex,
};

use super::{
    error::TreeError,
    node::{Content, Metadata, Node, NodeKind},
};
use crate::ObjectId;

/// How much is kept in memory.
const KEPT: usize = 4 << 20;
/// How much is read at once.
const WINDOW: usize = 64 << 10;
const ALIGNMENT: usize = 8;

const DIRECTORY: u8 = 0;
const INLINE: u8 = 1;
const OBJECT: u8 = 2;
const SYMLINK: u8 = 3;
const CHAR_DEVICE: u8 = 4;
const BLOCK_DEVICE: u8 = 5;
const FIFO: u8 = 6;
const SOCKET: u8 = 7;

#[derive(Debug)]
pub(super) struct Blobs {
    /// What was written out: everything before `tail`.
    file: Option<File>,
    written: u64,
    tail: Vec<u8>,
    window: Mutex<Window>,
}

/// A part of the file, in memory.
#[derive(Debug, Default)]
struct Window {
    start: u64,
    bytes: Vec<u8>,
}

impl Blobs {
    pub(super) fn new() -> Self {
        Self {
            file: None,
            written: 0,
            tail: Vec::new(),
            window: Mutex::default(),
        }
    }

    /// Keeps a file; gives where it is.
    pub(super) fn append(&mut self, metadata: &Metadata, kind: &NodeKind) -> Result<u32, TreeError> {
        let at = (self.written + self.tail.len() as u64) / ALIGNMENT as u64;
        let at = u32::try_from(at).ok().filter(|at| *at != u32::MAX);
        let at = at.ok_or_else(|| temporary(io::ErrorKind::FileTooLarge.into()))?;
        let start = self.tail.len();
        encode(metadata, kind, &mut self.tail);
        let length =
            u32::try_from(self.tail.len() - start).map_err(|_| temporary(io::ErrorKind::FileTooLarge.into()))?;
        self.tail[start..start + 4].copy_from_slice(&length.to_le_bytes());
        self.tail.resize(self.tail.len().next_multiple_of(ALIGNMENT), 0);
        if self.tail.len() > KEPT {
            self.write_out().map_err(temporary)?;
        }
        Ok(at)
    }

    pub(super) fn read(&self, at: u32) -> Result<Node, TreeError> {
        let position = u64::from(at) * ALIGNMENT as u64;
        if let Some(in_tail) = position.checked_sub(self.written) {
            let in_tail = usize::try_from(in_tail).expect("it is in memory");
            return Ok(decode(blob(&self.tail[in_tail..])));
        }
        let mut window = self.window.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if !window.holds(position) {
            self.fill(&mut window, position, WINDOW).map_err(temporary)?;
        }
        let length = length(&window.bytes[(position - window.start) as usize..]);
        if window.bytes.len() - ((position - window.start) as usize) < length {
            self.fill(&mut window, position, length.max(WINDOW))
                .map_err(temporary)?;
        }
        let start = (position - window.start) as usize;
        Ok(decode(blob(&window.bytes[start..])))
    }

    fn write_out(&mut self) -> io::Result<()> {
        let file = match &mut self.file {
            Some(file) => file,
            None => self.file.insert(tempfile::tempfile()?),
        };
        file.write_all(&self.tail)?;
        self.written += self.tail.len() as u64;
        self.tail.clear();
        Ok(())
    }

    fn fill(&self, window: &mut Window, position: u64, wanted: usize) -> io::Result<()> {
        let file = self.file.as_ref().expect("something was written out");
        let left = usize::try_from(self.written - position).unwrap_or(usize::MAX);
        window.start = position;
        window.bytes.resize(wanted.min(left), 0);
        file.read_exact_at(&mut window.bytes, position)
    }
}

impl Window {
    /// Whether the length of the blob at this position is in the window.
    fn holds(&self, position: u64) -> bool {
        position >= self.start && position + 4 <= self.start + self.bytes.len() as u64
    }
}

fn temporary(source: io::Error) -> TreeError {
    TreeError::Temporary { source }
}

fn encode(metadata: &Metadata, kind: &NodeKind, bytes: &mut Vec<u8>) {
    bytes.extend_from_slice(&[0; 4]);
    bytes.extend_from_slice(&metadata.mode.to_le_bytes());
    bytes.extend_from_slice(&metadata.uid.to_le_bytes());
    bytes.extend_from_slice(&metadata.gid.to_le_bytes());
    bytes.extend_from_slice(&metadata.mtime_seconds.to_le_bytes());
    bytes.extend_from_slice(&metadata.mtime_nanoseconds.to_le_bytes());
    bytes.extend_from_slice(&(metadata.xattrs.len() as u32).to_le_bytes());
    for (name, value) in &metadata.xattrs {
        bytes.push(u8::try_from(name.len()).expect("a tree refuses names longer than 255 bytes"));
        bytes.extend_from_slice(name);
        let length = u16::try_from(value.len()).expect("a tree refuses values longer than 65535 bytes");
        bytes.extend_from_slice(&length.to_le_bytes());
        bytes.extend_from_slice(value);
    }
    let mut put = |kind: u8, parts: [&[u8]; 2]| {
        bytes.push(kind);
        parts.into_iter().for_each(|part| bytes.extend_from_slice(part));
    };
    match kind {
        NodeKind::Directory => put(DIRECTORY, [&[], &[]]),
        NodeKind::File(Content::Inline(content)) => put(INLINE, [content, &[]]),
        NodeKind::File(Content::Object { id, size }) => put(OBJECT, [id.as_bytes(), &size.to_le_bytes()]),
        NodeKind::Symlink(target) => put(SYMLINK, [target, &[]]),
        NodeKind::CharDevice { major, minor } => put(CHAR_DEVICE, [&major.to_le_bytes(), &minor.to_le_bytes()]),
        NodeKind::BlockDevice { major, minor } => put(BLOCK_DEVICE, [&major.to_le_bytes(), &minor.to_le_bytes()]),
        NodeKind::Fifo => put(FIFO, [&[], &[]]),
        NodeKind::Socket => put(SOCKET, [&[], &[]]),
    }
}

fn length(bytes: &[u8]) -> usize {
    u32::from_le_bytes(bytes[..4].try_into().expect("four bytes")) as usize
}

/// The blob that bytes begin with, without its length.
fn blob(bytes: &[u8]) -> Reader<'_> {
    Reader(&bytes[4..length(bytes)])
}

/// Reads what [`encode`] wrote.
struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn bytes(&mut self, length: usize) -> &'a [u8] {
        let (bytes, rest) = self.0.split_at(length);
        self.0 = rest;
        bytes
    }

    fn array<const N: usize>(&mut self) -> [u8; N] {
        self.bytes(N).try_into().expect("so many bytes were taken")
    }

    fn u32(&mut self) -> u32 {
        u32::from_le_bytes(self.array())
    }
}

fn decode(mut blob: Reader<'_>) -> Node {
    let mode = u16::from_le_bytes(blob.array());
    let (uid, gid) = (blob.u32(), blob.u32());
    let mtime_seconds = i64::from_le_bytes(blob.array());
    let mtime_nanoseconds = blob.u32();
    let mut xattrs = BTreeMap::new();
    for _ in 0..blob.u32() {
        let length = usize::from(blob.array::<1>()[0]);
        let name = blob.bytes(length).to_vec();
        let length = usize::from(u16::from_le_bytes(blob.array()));
        xattrs.insert(name, blob.bytes(length).to_vec());
    }
    let metadata = Metadata {
        mode,
        uid,
        gid,
        mtime_seconds,
        mtime_nanoseconds,
        xattrs,
    };
    let kind = match blob.array::<1>()[0] {
        DIRECTORY => NodeKind::Directory,
        INLINE => NodeKind::File(Content::Inline(blob.0.to_vec())),
        OBJECT => NodeKind::File(Content::Object {
            id: ObjectId(blob.array()),
            size: u64::from_le_bytes(blob.array()),
        }),
        SYMLINK => NodeKind::Symlink(blob.0.to_vec()),
        CHAR_DEVICE => NodeKind::CharDevice {
            major: blob.u32(),
            minor: blob.u32(),
        },
        BLOCK_DEVICE => NodeKind::BlockDevice {
            major: blob.u32(),
            minor: blob.u32(),
        },
        FIFO => NodeKind::Fifo,
        _ => NodeKind::Socket,
    };
    Node { metadata, kind }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_written_out_comes_back_in_any_order() {
        let mut blobs = Blobs::new();
        let file = |number: usize| {
            let metadata = Metadata {
                mtime_seconds: number as i64 - 100,
                xattrs: [(b"user.n".to_vec(), vec![b'v'; number % 300])].into(),
                ..Metadata::root_owned(0o644)
            };
            let length = if number.is_multiple_of(500) {
                100_000
            } else {
                number % 2000
            };
            (metadata, NodeKind::File(Content::Inline(vec![number as u8; length])))
        };
        let places: Vec<u32> = (0..20_000)
            .map(|number| {
                let (metadata, kind) = file(number);
                blobs.append(&metadata, &kind).unwrap()
            })
            .collect();
        assert!(blobs.written > 3 * KEPT as u64 && !blobs.tail.is_empty());
        for number in (0..20_000)
            .chain((0..20_000).rev().step_by(7))
            .chain((0..20_000).map(|at| at * 7919 % 20_000))
        {
            let node = blobs.read(places[number]).unwrap();
            let (metadata, kind) = file(number);
            assert!(node.metadata == metadata && node.kind == kind, "{number}");
        }
    }
}
