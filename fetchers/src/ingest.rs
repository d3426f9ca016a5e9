//! From an archive in a temporary file to an image in the store: verify, check, store.
//!
//! An archive is first verified as a whole and only then unpacked, so that no decompressor sees a stranger's bytes
//! where a signature is asked for. (The one exception is the manifest of an archive that comes without a name: it
//! tells whose signature counts.) All of this is blocking work, on threads made for that.

use std::{
    fs::File,
    io::{self, BufReader, Read, Seek},
    sync::Arc,
};

use chrono::Utc;
use dhow_discovery::Request;
use dhow_image::{ImageId, ImageManifest, read_manifest};
use dhow_store::{Standing, Store, StoreError};
use dhow_trust::{Keyring, Verification, verify_detached};
use sha2::{Digest, Sha512};
use tempfile::NamedTempFile;

use crate::{
    error::Error,
    progress::{Phase, Progress},
    provenance::{ArchiveRecord, Insecurity, Provenance, Verified},
};

const BUFFER: usize = 256 << 10;

/// An archive that was fetched, and how it came here.
pub(crate) struct Fetchling {
    pub(crate) file: NamedTempFile,
    /// Where it was.
    pub(crate) place: String,
    /// What the user asked for.
    pub(crate) reference: String,
    pub(crate) discovered_by: Option<String>,
}

/// An archive of which is known why it is believed, and what it says to be.
pub(crate) struct Believed {
    fetchling: Fetchling,
    pub(crate) manifest: ImageManifest,
    /// The verification, and what was verified. `None` where the user switched it off.
    verified: Option<(Verification, ArchiveRecord)>,
}

impl Fetchling {
    /// Verifies the signature, or believes without if there is none to be verified, then checks that it is what was
    /// asked for.
    pub(crate) fn believe(
        self,
        signature: Option<&[u8]>,
        request: Option<&Request>,
        keyring: &Keyring,
        progress: &dyn Progress,
    ) -> Result<Believed, Error> {
        let verified = match signature {
            None => None,
            Some(signature) => {
                let name = match request {
                    Some(request) => request.name().clone(),
                    None => self.manifest()?.name,
                };
                let mut archive = self.open(Phase::Verifying, progress)?;
                let verification =
                    verify_detached(keyring, &name, signature, &mut archive).map_err(|source| Error::NotTrusted {
                        archive: self.place.clone(),
                        source: Box::new(source),
                    })?;
                Some((verification, archive.record()?))
            }
        };
        let manifest = self.manifest()?;
        if let Some(request) = request {
            self.check(request, &manifest)?;
        }
        Ok(Believed {
            fetchling: self,
            manifest,
            verified,
        })
    }

    fn check(&self, request: &Request, manifest: &ImageManifest) -> Result<(), Error> {
        let checked = request.check(&manifest.name, &manifest.labels);
        checked.map_err(|source| Error::Mismatch {
            archive: self.place.clone(),
            source: Box::new(source),
        })
    }

    fn manifest(&self) -> Result<ImageManifest, Error> {
        let file = BufReader::with_capacity(BUFFER, self.rewound()?);
        read_manifest(file).map_err(|source| Error::Archive {
            archive: self.place.clone(),
            source,
        })
    }

    fn open<'a>(&self, phase: Phase, progress: &'a dyn Progress) -> Result<Recorded<'a>, Error> {
        let file = self.rewound()?;
        let size = file.metadata().map_err(Error::Temporary)?.len();
        progress.begin(phase, &self.place, Some(size));
        Ok(Recorded {
            file,
            hasher: Sha512::new(),
            size: 0,
            progress,
        })
    }

    fn rewound(&self) -> Result<File, Error> {
        let mut file = self.file.reopen().map_err(Error::Temporary)?;
        file.rewind().map_err(Error::Temporary)?;
        Ok(file)
    }
}

impl Believed {
    /// Takes the image into the store.
    pub(crate) fn store(self, store: &Arc<Store>, progress: &dyn Progress) -> Result<(ImageId, Provenance), Error> {
        let Self {
            fetchling, verified, ..
        } = self;
        let mut archive = fetchling.open(Phase::Storing, progress)?;
        let staged = store.stage(&mut archive).map_err(|error| match error {
            StoreError::Archive(source) => Error::Archive {
                archive: fetchling.place.clone(),
                source,
            },
            other => other.into(),
        })?;
        let (verified, archive) = match verified {
            Some((verification, record)) => (Verified::By(verification), record),
            None => (Verified::No(Insecurity::Insecure), archive.record()?),
        };
        let provenance = Provenance {
            reference: fetchling.reference,
            source: fetchling.place,
            discovered_by: fetchling.discovered_by,
            archive,
            verified,
            fetched_at: Utc::now(),
        };
        let json = serde_json::to_value(&provenance).expect("provenance is plain text and numbers");
        let standing = match provenance.verified {
            Verified::By(_) => Standing::Verified,
            Verified::No(_) => Standing::Unverified,
        };
        Ok((staged.commit(&json, standing)?, provenance))
    }
}

/// A reader that remembers what it read.
struct Recorded<'a> {
    file: File,
    hasher: Sha512,
    size: u64,
    progress: &'a dyn Progress,
}

impl Recorded<'_> {
    /// Reads on to the end, and tells what the whole was.
    fn record(mut self) -> Result<ArchiveRecord, Error> {
        io::copy(&mut self, &mut io::sink()).map_err(Error::Temporary)?;
        Ok(ArchiveRecord {
            sha512: hex::encode(self.hasher.finalize()),
            size: self.size,
        })
    }
}

impl Read for Recorded<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.file.read(buffer)?;
        self.hasher.update(&buffer[..read]);
        self.size += read as u64;
        self.progress.advance(read as u64);
        Ok(read)
    }
}
