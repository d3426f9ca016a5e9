//! [`Candidate`]: an archive that was checked and may be published.

use std::{
    fs::File,
    io::{self, Read},
    path::{Path, PathBuf},
};

use chrono::Utc;
use dhow_image::{Annotation, ImageId, Labels, Limits, Name};
use dhow_trust::{Certificate, Fingerprint, is_encrypted, verify_with_certificates};
use sha2::{Digest, Sha256};

use crate::{Encryption, Error, FileFacts, Inside, Record};

/// An archive, its signature and what is said of them.
#[derive(Debug)]
pub(crate) struct Candidate {
    pub(crate) path: PathBuf,
    pub(crate) signature: Vec<u8>,
    pub(crate) record: Record,
}

impl Candidate {
    /// Reads an archive twice, for its signature and as an image; one that is encrypted once, and what is `inside` it.
    /// Blocks.
    pub(crate) fn check(
        path: &Path,
        inside: Option<&Inside>,
        signature: &[u8],
        certificates: &[Certificate],
        limits: Limits,
    ) -> Result<Self, Error> {
        let in_file = |source| Error::ReadArchive {
            path: path.to_owned(),
            source,
        };

        let mut signed = Digesting::new(File::open(path).map_err(in_file)?);
        let verification =
            verify_with_certificates(certificates, signature, &mut signed).map_err(|source| match source {
                dhow_trust::Error::ReadData(source) => in_file(source),
                source => Error::Signature {
                    path: path.to_owned(),
                    source: Box::new(source),
                },
            })?;
        let archive = signed.finish().map_err(in_file)?;

        let mut start = Vec::new();
        let file = File::open(path).map_err(in_file)?;
        file.take(64).read_to_end(&mut start).map_err(in_file)?;
        let image = match inside.filter(|_| is_encrypted(&start)) {
            None => {
                let (image, read) = read_image(path, None, limits)?;
                if read != archive {
                    return Err(Error::ArchiveChanged { path: path.to_owned() });
                }
                image
            }
            Some(Inside::File { image, recipients }) => read_image(image, Some(recipients), limits)?.0,
            Some(Inside::Record(record)) => Image::of_record(record),
        };
        if image.labels.get("version").is_none() {
            return Err(Error::NoVersion {
                path: path.to_owned(),
                name: image.name,
            });
        }
        let record = Record {
            name: image.name,
            labels: image.labels,
            id: image.id,
            tar_size: image.tar_size,
            encryption: image.encryption,
            annotations: image.annotations,
            archive,
            signature: FileFacts {
                size: signature.len() as u64,
                sha256: hex::encode(Sha256::digest(signature)),
            },
            torrent: None,
            recipe: None,
            yanked: None,
            signers: Record::signers_of(&verification),
            published: Utc::now(),
        };
        record.check_labels()?;
        Ok(Self {
            path: path.to_owned(),
            signature: signature.to_owned(),
            record,
        })
    }
}

/// What of a record is said of the image, whatever carries it.
struct Image {
    name: Name,
    labels: Labels,
    id: ImageId,
    tar_size: u64,
    encryption: Option<Encryption>,
    annotations: Vec<Annotation>,
}

impl Image {
    fn of_record(record: &Record) -> Self {
        Self {
            name: record.name.clone(),
            labels: record.labels.clone(),
            id: record.id,
            tar_size: record.tar_size,
            encryption: record.encryption.clone(),
            annotations: record.annotations.clone(),
        }
    }
}

/// Reads an archive as an image, which is published encrypted for `recipients`, if there are any.
fn read_image(path: &Path, recipients: Option<&Vec<Fingerprint>>, limits: Limits) -> Result<(Image, FileFacts), Error> {
    let in_file = |source| Error::ReadArchive {
        path: path.to_owned(),
        source,
    };
    let mut file = Digesting::new(File::open(path).map_err(in_file)?);
    let summary = dhow_image::read_summary_within(&mut file, limits).map_err(|source| Error::Archive {
        path: path.to_owned(),
        source,
    })?;
    let manifest = summary.manifest;
    let image = Image {
        // What an encrypted manifest says for people is not for everybody.
        annotations: match recipients {
            Some(_) => Vec::new(),
            None => Record::annotations_of(&manifest),
        },
        encryption: recipients.map(|recipients| Encryption {
            recipients: recipients.clone(),
            dependencies: Encryption::dependencies_of(&manifest),
        }),
        name: manifest.name,
        labels: manifest.labels,
        id: summary.id,
        tar_size: summary.tar_size,
    };
    Ok((image, file.finish().map_err(in_file)?))
}

/// Counts and digests what is read through it.
pub(crate) struct Digesting<R> {
    inner: R,
    hasher: Sha256,
    size: u64,
}

impl<R: Read> Digesting<R> {
    pub(crate) fn new(inner: R) -> Self {
        Self {
            inner,
            hasher: Sha256::new(),
            size: 0,
        }
    }

    /// What is read from.
    pub(crate) fn get_ref(&self) -> &R {
        &self.inner
    }

    /// Reads what is left, and says what it all was.
    pub(crate) fn finish(mut self) -> io::Result<FileFacts> {
        io::copy(&mut self, &mut io::sink())?;
        Ok(FileFacts {
            size: self.size,
            sha256: hex::encode(self.hasher.finalize()),
        })
    }
}

impl<R: Read> Read for Digesting<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.inner.read(buffer)?;
        self.hasher.update(&buffer[..count]);
        self.size += count as u64;
        Ok(count)
    }
}
