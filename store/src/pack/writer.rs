//! [`PackFile`]: a pack while it is written.

use std::io::{self, BufWriter, Read, Seek, Write};

use sha2::{Digest, Sha256};
use tempfile::NamedTempFile;

use super::{
    content::ContentRef,
    frame::store_frame,
    index::{MAGIC, MAX_CONTENTS, encode},
    layers::Layers,
    name::{ContentName, PackId},
};

/// A pack ends when it has so many bytes.
const ENOUGH: u64 = 1 << 30;

/// A pack that is being written to a temporary file. Lists wait in memory: they go last.
pub(super) struct PackFile {
    layers: Layers,
    file: BufWriter<NamedTempFile>,
    hasher: Sha256,
    size: u64,
    frames: Vec<(u32, u32)>,
    contents: Vec<(ContentName, u32)>,
    open: OpenFrame,
    lists: Vec<(ContentRef, Vec<u8>)>,
}

/// Contents that are waiting for their frame to be full.
#[derive(Default)]
struct OpenFrame {
    bytes: Vec<u8>,
    contents: Vec<(ContentRef, u32)>,
}

impl PackFile {
    pub(super) fn create(layers: Layers, scratch: &std::path::Path) -> io::Result<Self> {
        let mut pack = Self {
            layers,
            file: BufWriter::with_capacity(256 << 10, NamedTempFile::new_in(scratch)?),
            hasher: Sha256::new(),
            size: 0,
            frames: Vec::new(),
            contents: Vec::new(),
            open: OpenFrame::default(),
            lists: Vec::new(),
        };
        pack.write(MAGIC)?;
        Ok(pack)
    }

    /// Adds a content as its bytes.
    pub(super) fn add(&mut self, content: ContentRef, bytes: &[u8]) -> io::Result<()> {
        self.gather(false, content, bytes)
    }

    /// Adds a content as a list.
    pub(super) fn add_list(&mut self, content: ContentRef, list: Vec<u8>) {
        self.lists.push((content, list));
    }

    /// Ends the frame of bytes that is being filled.
    pub(super) fn end_frame(&mut self) -> io::Result<()> {
        self.flush(false)
    }

    /// Whether it is time for another pack.
    pub(super) fn is_full(&self) -> bool {
        // A content can bring some lists with it.
        let contents = self.contents.len() + self.open.contents.len() + self.lists.len();
        contents + 8 > MAX_CONTENTS as usize || self.size > ENOUGH
    }

    /// Ends the pack, and gives the file, to be read from its beginning.
    pub(super) fn finish(mut self) -> io::Result<(PackId, u64, impl Read)> {
        self.flush(false)?;
        let byte_frames = self.frames.len() as u32;
        for (content, list) in std::mem::take(&mut self.lists) {
            self.gather(true, content, &list)?;
        }
        self.flush(true)?;
        let end = encode(self.layers.flags(), byte_frames, &self.frames, &self.contents);
        self.write(&end)?;
        let mut file = self.file.into_inner().map_err(|error| error.into_error())?;
        file.rewind()?;
        Ok((PackId::from_bytes(self.hasher.finalize().into()), self.size, file))
    }

    fn gather(&mut self, is_list: bool, content: ContentRef, bytes: &[u8]) -> io::Result<()> {
        let frame_size = self.layers.frame_size();
        if self.open.bytes.len() + bytes.len() > frame_size {
            self.flush(is_list)?;
        }
        self.open.bytes.extend_from_slice(bytes);
        self.open.contents.push((content, bytes.len() as u32));
        if self.open.bytes.len() >= frame_size {
            self.flush(is_list)?;
        }
        Ok(())
    }

    fn flush(&mut self, is_list: bool) -> io::Result<()> {
        let Some((content, _)) = self.open.contents.first() else {
            return Ok(());
        };
        let flags = self.layers.flags();
        let stored = store_frame(flags, self.layers.level(), is_list, content, &self.open.bytes)?;
        self.frames.push((stored.len() as u32, self.open.contents.len() as u32));
        for (content, length) in self.open.contents.drain(..) {
            let length = if content.key.is_some() { 0 } else { length };
            self.contents.push((content.name(), length));
        }
        self.open.bytes.clear();
        self.write(&stored)
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.hasher.update(bytes);
        self.size += bytes.len() as u64;
        self.file.write_all(bytes)
    }
}
