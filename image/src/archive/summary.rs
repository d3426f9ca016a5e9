//! Looking at an archive as a whole.

use std::io::{self, Read};

use sha2::{Digest, Sha512};

use super::{ArchiveError, Decompressor, EntryKind, TarReader};
use crate::{image_id::ImageId, manifest::ImageManifest};

/// What reading an archive to its end tells.
#[derive(Clone, Debug)]
pub struct ImageSummary {
    /// The image ID.
    pub id: ImageId,
    /// The manifest.
    pub manifest: ImageManifest,
    /// How many bytes the uncompressed tar has.
    pub tar_size: u64,
    /// How many entries the root file system has.
    pub entries: u64,
}

/// Reads an archive to its end, checks it, and gives its image ID and manifest.
pub fn read_summary(archive: impl Read) -> Result<ImageSummary, ArchiveError> {
    let mut tar = TarReader::new(HashingReader {
        inner: Decompressor::new(archive)?,
        hasher: Sha512::new(),
    });
    let mut manifest = None;
    let mut entries = 0;
    while let Some(entry) = tar.next_entry()? {
        tar.take_framing();
        match entry.kind {
            EntryKind::Manifest { .. } => manifest = Some(ImageManifest::from_json(&tar.read_content_to_end()?)?),
            _ => entries += 1,
        }
    }
    let tar_size = tar.offset();
    Ok(ImageSummary {
        id: ImageId::from_sha512(tar.into_inner().hasher),
        manifest: manifest.ok_or(ArchiveError::NoManifest)?,
        tar_size,
        entries,
    })
}

/// Reads only as far into an archive as its manifest, which ours have first.
pub fn read_manifest(archive: impl Read) -> Result<ImageManifest, ArchiveError> {
    let mut tar = TarReader::new(Decompressor::new(archive)?);
    while let Some(entry) = tar.next_entry()? {
        tar.take_framing();
        if matches!(entry.kind, EntryKind::Manifest { .. }) {
            return Ok(ImageManifest::from_json(&tar.read_content_to_end()?)?);
        }
    }
    Err(ArchiveError::NoManifest)
}

struct HashingReader<R> {
    inner: R,
    hasher: Sha512,
}

impl<R: Read> Read for HashingReader<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.inner.read(buffer)?;
        self.hasher.update(&buffer[..read]);
        Ok(read)
    }
}
