//! [`Candidate`]: an archive that was checked and may be published.

use std::{
    fs::File,
    io::{self, Read},
    path::{Path, PathBuf},
};

use chrono::Utc;
use dhow_image::Limits;
use dhow_trust::{Certificate, is_encrypted, verify_with_certificates};
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
        let inside = inside.filter(|_| is_encrypted(&start));
        let signature_facts = FileFacts {
            size: signature.len() as u64,
            sha256: hex::encode(Sha256::digest(signature)),
        };
        if let Some(Inside::Record(record)) = inside {
            let record = Record {
                archive,
                signature: signature_facts,
                torrent: None,
                recipe: None,
                yanked: None,
                signers: Record::signers_of(&verification),
                published: Utc::now(),
                ..Record::clone(record)
            };
            record.check_labels()?;
            return Ok(Self {
                path: path.to_owned(),
                signature: signature.to_owned(),
                record,
            });
        }
        let (image_path, recipients) = match inside {
            Some(Inside::File { image, recipients }) => (image.as_path(), Some(recipients)),
            _ => (path, None),
        };
        let in_image = |source| Error::ReadArchive {
            path: image_path.to_owned(),
            source,
        };
        let mut image = Digesting::new(File::open(image_path).map_err(in_image)?);
        let summary = dhow_image::read_summary_within(&mut image, limits).map_err(|source| Error::Archive {
            path: image_path.to_owned(),
            source,
        })?;
        if recipients.is_none() && image.finish().map_err(in_file)? != archive {
            return Err(Error::ArchiveChanged { path: path.to_owned() });
        }

        let manifest = summary.manifest;
        if manifest.labels.get("version").is_none() {
            return Err(Error::NoVersion {
                path: path.to_owned(),
                name: manifest.name,
            });
        }
        let record = Record {
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
            archive,
            signature: signature_facts,
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
