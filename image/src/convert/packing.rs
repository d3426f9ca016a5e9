//! [`Packer`]: writing an ACI and learning its image ID.

use std::{
    collections::BTreeMap,
    io::{self, Read, Write},
};

use super::ConvertError;
use crate::{
    archive::{Compression, Compressor, DigestWriter, Entry, EntryKind, RootfsPath, TarWriter},
    image_id::ImageId,
    sha512::Sha512,
};

/// An ACI that is being written, its manifest first.
pub(super) struct Packer<W: Write> {
    tar: TarWriter<DigestWriter<Compressor<W>, Sha512>>,
    entries: u64,
}

/// What was written.
pub(super) struct Packed {
    pub(super) id: ImageId,
    pub(super) entries: u64,
    pub(super) tar_size: u64,
}

/// Why an entry could not be written: because of where it goes, or of where its content comes from.
pub(super) enum AppendError {
    Output(io::Error),
    Content(io::Error),
}

impl<W: Write> Packer<W> {
    pub(super) fn new(out: W, compression: Compression, manifest: &[u8], mtime: i64) -> Result<Self, ConvertError> {
        let compressor = Compressor::new(compression, out).map_err(ConvertError::Output)?;
        let mut tar = TarWriter::new(DigestWriter::new(compressor));
        let entry = Entry {
            kind: EntryKind::Manifest {
                size: manifest.len() as u64,
            },
            path: RootfsPath::root(),
            mode: 0o644,
            uid: 0,
            gid: 0,
            mtime,
            mtime_nanoseconds: 0,
            xattrs: BTreeMap::new(),
        };
        tar.append(&entry, manifest).map_err(ConvertError::Output)?;
        Ok(Self { tar, entries: 0 })
    }

    pub(super) fn append(&mut self, entry: &Entry, content: impl Read) -> Result<(), AppendError> {
        let mut content = Watched {
            inner: content,
            has_failed: false,
        };
        self.entries += 1;
        self.tar
            .append(entry, &mut content)
            .map_err(|error| match content.has_failed {
                true => AppendError::Content(error),
                false => AppendError::Output(error),
            })
    }

    pub(super) fn finish(self) -> Result<Packed, ConvertError> {
        let (hasher, tar_size, compressor) = self.tar.finish().map_err(ConvertError::Output)?.finish();
        let packed = Packed {
            id: ImageId::from_sha512(hasher),
            entries: self.entries,
            tar_size,
        };
        let flushed = compressor.finish().and_then(|mut out| out.flush());
        flushed.map_err(ConvertError::Output)?;
        Ok(packed)
    }
}

/// Remembers on which side an error arose.
pub(super) struct Watched<R> {
    pub(super) inner: R,
    pub(super) has_failed: bool,
}

impl<R: Read> Read for Watched<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.inner.read(buffer).inspect_err(|_| self.has_failed = true)
    }
}
