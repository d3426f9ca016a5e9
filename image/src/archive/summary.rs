//! Looking at an archive as a whole.

use std::io::Read;

use super::{ArchiveError, Decompressor, EntryKind, Limits, TarReader, with_tar};
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
pub fn read_summary(archive: impl Read + Send) -> Result<ImageSummary, ArchiveError> {
    read_summary_within(archive, Limits::default())
}

/// Like [`read_summary`], with limits of the caller's choice.
pub fn read_summary_within(archive: impl Read + Send, limits: Limits) -> Result<ImageSummary, ArchiveError> {
    let ((manifest, entries), id, tar_size) = with_tar(archive, |tar| {
        let mut tar = TarReader::with_limits(tar, limits);
        let mut manifest = None;
        let mut entries = 0;
        while let Some(entry) = tar.next_entry()? {
            tar.take_framing();
            match entry.kind {
                EntryKind::Manifest { .. } => manifest = Some(tar.read_manifest()?.0),
                _ => entries += 1,
            }
        }
        Ok::<_, ArchiveError>((manifest.ok_or(ArchiveError::NoManifest)?, entries))
    })?;
    Ok(ImageSummary {
        id,
        manifest,
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
            return Ok(tar.read_manifest()?.0);
        }
    }
    Err(ArchiveError::NoManifest)
}
