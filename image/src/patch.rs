//! Changing the manifest of an archive, and nothing else.
//!
//! Every other byte of the tar is carried over as it is: the entries, their order, their headers, and of the
//! manifest's own header all but the size and the checksum.

use std::io::{self, Read, Write};

use sha2::Digest;
use tar::Header;
use thiserror::Error;

use crate::{
    archive::{ArchiveError, Compression, Compressor, Decompressor, EntryKind, Limits, TarReader},
    image_id::ImageId,
    manifest::{ImageManifest, ManifestError},
    sha512::Sha512,
};

/// The size of a tar's blocks in bytes.
const BLOCK: usize = 512;

/// What came of a patch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Patched {
    /// The new image ID.
    pub id: ImageId,
    /// How many bytes the new tar has.
    pub tar_size: u64,
    /// How the new archive is compressed.
    pub compression: Compression,
}

/// Why a manifest could not be changed.
#[derive(Debug, Error)]
pub enum PatchError {
    /// The archive is not a valid image.
    #[error("the archive could not be read")]
    Archive(#[from] ArchiveError),
    /// The new manifest is not valid.
    #[error("the new manifest is not valid")]
    Manifest(#[from] ManifestError),
    /// The new archive could not be written.
    #[error("the new archive could not be written")]
    Write(#[source] io::Error),
    /// What stands before the manifest in the tar speaks of its old content.
    #[error("the header before the manifest in the tar does not go with a new one")]
    Header(#[source] Option<ArchiveError>),
}

/// Writes `archive` to `output` with `manifest`, which is JSON, in the place of its own; compressed as it was where no
/// other compression is given.
pub fn patch(
    archive: impl Read,
    manifest: &[u8],
    compression: Option<Compression>,
    limits: Limits,
    output: impl Write,
) -> Result<Patched, PatchError> {
    ImageManifest::from_json(manifest)?;
    let archive = Decompressor::new(archive)?;
    let compression = compression.unwrap_or(archive.compression());
    let mut tar = TarReader::with_limits(archive, limits);
    let mut output = HashingWriter {
        output: Compressor::new(compression, output).map_err(PatchError::Write)?,
        hasher: Sha512::new(),
        size: 0,
    };
    // How many bytes at the start of the next framing fill up the content before it.
    let mut padding = 0;
    let mut is_old_manifest = false;
    loop {
        let entry = tar.next_entry()?;
        let framing = tar.take_framing();
        let (filling, headers) = framing.split_at(padding);
        if !is_old_manifest {
            output.write(filling)?;
        }
        let Some(entry) = entry else {
            output.write(headers)?;
            break;
        };
        padding = padding_of(entry.size());
        is_old_manifest = matches!(entry.kind, EntryKind::Manifest { .. });
        if is_old_manifest {
            output.write(&in_place_of(headers, manifest)?)?;
        } else {
            output.write(headers)?;
            output.copy_content(&mut tar)?;
        }
    }
    output.output.finish().map_err(PatchError::Write)?;
    Ok(Patched {
        id: ImageId::from_sha512(output.hasher),
        tar_size: output.size,
        compression,
    })
}

/// The headers of the old manifest, changed to be those of the new one, and that.
fn in_place_of(headers: &[u8], manifest: &[u8]) -> Result<Vec<u8>, PatchError> {
    let (extensions, header) = headers.split_last_chunk::<BLOCK>().ok_or(PatchError::Header(None))?;
    let mut header = Header::from_byte_slice(header).clone();
    // Programs spell the checksum differently, so that it is left alone where it stays.
    if header.size().ok() != Some(manifest.len() as u64) {
        header.set_size(manifest.len() as u64);
        header.set_cksum();
    }
    let mut bytes = [extensions, header.as_bytes(), manifest].concat();
    bytes.resize(bytes.len() + padding_of(manifest.len() as u64), 0);
    // A PAX record may give the old size, and the new manifest may be larger than any that is read.
    match TarReader::new(bytes.as_slice()).next_entry() {
        Ok(Some(entry))
            if entry.kind
                == (EntryKind::Manifest {
                    size: manifest.len() as u64,
                }) =>
        {
            Ok(bytes)
        }
        Ok(_) => Err(PatchError::Header(None)),
        Err(error) => Err(PatchError::Header(Some(error))),
    }
}

fn padding_of(size: u64) -> usize {
    (BLOCK - usize::try_from(size % BLOCK as u64).expect("it is below 512")) % BLOCK
}

/// Writes the tar and takes its digest.
struct HashingWriter<W: Write> {
    output: Compressor<W>,
    hasher: Sha512,
    size: u64,
}

impl<W: Write> HashingWriter<W> {
    fn write(&mut self, bytes: &[u8]) -> Result<(), PatchError> {
        self.hasher.update(bytes);
        self.size += bytes.len() as u64;
        self.output.write_all(bytes).map_err(PatchError::Write)
    }

    fn copy_content(&mut self, tar: &mut TarReader<impl Read>) -> Result<(), PatchError> {
        let mut buffer = [0; 32 << 10];
        loop {
            match tar.read_content(&mut buffer)? {
                0 => return Ok(()),
                read => self.write(&buffer[..read])?,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::process::Command;

    use super::*;
    use crate::archive::read_summary;

    const OLD: &str = r#"{"acKind":"ImageManifest","acVersion":"0.8.11","name":"example.com/old"}"#;

    /// An archive as GNU tar makes it, with PAX headers, xattrs and a trailer of its own.
    fn gnu_tar(manifest: &str, arguments: &[&str]) -> Vec<u8> {
        let directory = tempfile::tempdir().unwrap();
        let path = |name: &str| directory.path().join(name);
        std::fs::create_dir(path("rootfs")).unwrap();
        std::fs::write(path("manifest"), manifest).unwrap();
        std::fs::write(path("rootfs/".to_owned().as_str()).join("x".repeat(120)), [7; 1300]).unwrap();
        std::fs::hard_link(path("rootfs").join("x".repeat(120)), path("rootfs/link")).unwrap();
        std::fs::write(path("rootfs/empty"), "").unwrap();
        let tar = Command::new("tar")
            .current_dir(directory.path())
            .args(arguments)
            .output()
            .unwrap();
        assert!(tar.status.success(), "{tar:?}");
        tar.stdout
    }

    fn unpack(archive: &[u8]) -> Vec<u8> {
        let mut tar = Vec::new();
        Decompressor::new(archive).unwrap().read_to_end(&mut tar).unwrap();
        tar
    }

    #[test]
    fn only_the_manifest_changes_wherever_it_stands() {
        let forms: [&[&str]; 4] = [
            &["-c", "manifest", "rootfs"],
            &["-c", "rootfs", "manifest"],
            &["-c", "--format=pax", "rootfs/empty", "manifest", "rootfs/link"],
            &["-cz", "--format=v7", "rootfs/empty", "manifest"],
        ];
        for arguments in forms {
            let archive = gnu_tar(OLD, arguments);
            // Shorter, of the same number of blocks, and longer by several.
            for length in [1, 100, 2000] {
                let name = format!("example.com/{}", "n".repeat(length));
                let new = OLD.replace("example.com/old", &name);
                let mut output = Vec::new();
                let patched = patch(archive.as_slice(), new.as_bytes(), None, Limits::default(), &mut output).unwrap();
                let summary = read_summary(output.as_slice()).unwrap();
                assert_eq!((summary.id, summary.tar_size), (patched.id, patched.tar_size));
                assert_eq!(summary.manifest.name.as_str(), name);

                let (before, after) = (unpack(&archive), unpack(&output));
                let at = before
                    .windows(OLD.len())
                    .position(|window| window == OLD.as_bytes())
                    .unwrap();
                let header = |tar: &[u8]| Header::from_byte_slice(&tar[at - BLOCK..at]).clone();
                assert_eq!(before[..at - BLOCK], after[..at - BLOCK], "what comes before");
                let rest = |tar: &[u8], length: usize| tar[at + length.next_multiple_of(BLOCK)..].to_vec();
                assert!(rest(&before, OLD.len()) == rest(&after, new.len()), "what comes after");
                let without_size_and_checksum = |tar: &[u8]| {
                    let mut bytes = *header(tar).as_bytes();
                    bytes[124..136].fill(0);
                    bytes[148..156].fill(0);
                    bytes
                };
                assert!(without_size_and_checksum(&before) == without_size_and_checksum(&after));
            }
        }
    }

    #[test]
    fn the_compression_stays_unless_another_is_asked_for() {
        let archive = gnu_tar(OLD, &["-cJ", "manifest", "rootfs"]);
        let mut output = Vec::new();
        assert_eq!(
            patch(archive.as_slice(), OLD.as_bytes(), None, Limits::default(), &mut output)
                .unwrap()
                .compression,
            Compression::Xz
        );
        assert!(
            unpack(&output) == unpack(&archive),
            "the same manifest gives the same tar"
        );
        output.clear();
        patch(
            archive.as_slice(),
            OLD.as_bytes(),
            Some(Compression::None),
            Limits::default(),
            &mut output,
        )
        .unwrap();
        assert!(output == unpack(&archive));
    }

    #[test]
    fn what_would_not_be_valid_is_not_written() {
        let archive = gnu_tar(OLD, &["-c", "manifest", "rootfs"]);
        let refuse = |manifest: &str| {
            patch(
                archive.as_slice(),
                manifest.as_bytes(),
                None,
                Limits::default(),
                io::sink(),
            )
            .unwrap_err()
        };
        assert!(matches!(refuse("{}"), PatchError::Manifest(_)));
        let large = OLD.replace('}', &format!(r#","large":"{}"}}"#, "x".repeat(5 << 20)));
        assert!(matches!(
            refuse(&large),
            PatchError::Header(Some(ArchiveError::Entry { .. }))
        ));
        let no_image = gnu_tar(OLD, &["-c", "rootfs"]);
        assert!(patch(no_image.as_slice(), OLD.as_bytes(), None, Limits::default(), io::sink()).is_err());
    }

    #[test]
    fn a_size_in_a_pax_record_is_not_left_to_lie() {
        // The record's size goes before the header's, so that patching the header alone would break the archive.
        let plain = gnu_tar(OLD, &["-c", "manifest", "rootfs"]);
        let record = format!("{} size={}\n", format!(" size={}\n", OLD.len()).len() + 2, OLD.len());
        let mut header = Header::new_ustar();
        header.as_old_mut().name[..3].copy_from_slice(b"pax");
        header.set_entry_type(tar::EntryType::XHeader);
        header.set_mode(0o644);
        header.set_uid(0);
        header.set_gid(0);
        header.set_mtime(0);
        header.set_size(record.len() as u64);
        header.set_cksum();
        let mut archive = [header.as_bytes(), record.as_bytes()].concat();
        archive.resize(2 * BLOCK, 0);
        archive.extend(&plain);
        assert!(read_summary(archive.as_slice()).is_ok());
        let longer = OLD.replace("old", "older");
        let error = patch(
            archive.as_slice(),
            longer.as_bytes(),
            None,
            Limits::default(),
            io::sink(),
        )
        .unwrap_err();
        assert!(matches!(error, PatchError::Header(Some(_))), "{error:?}");
    }
}
