//! From an archive in a partial file, which may still be on its way here, to an image in the store: verify, check,
//! store.
//!
//! An archive is first verified as a whole and only then unpacked, so that no decompressor sees a stranger's bytes
//! where a signature is asked for. (The one exception is the manifest of an archive that comes without a name: it
//! tells whose signature counts.)
//!
//! An encrypted archive is signed as it travels, encrypted. It is decrypted into a second temporary file, which is used
//! only when its end has shown that nothing was altered, and never before its signature was verified: where the name
//! is not known yet, by the key of anybody who is trusted at all, and again by name once the manifest is readable.
//!
//! One that lies on this machine is not copied where the kernel can see to it that nobody changes it until it is in
//! the store; that it did is asked after the verification, and again before the image becomes visible.
//!
//! All of this is blocking work, on threads made for that.

mod read_ahead;
mod record;

use std::{
    fs::File,
    io::{BufReader, BufWriter, Read, Write},
    path::Path,
    sync::Arc,
};

use chrono::Utc;
use dhow_discovery::Request;
use dhow_image::{ImageId, ImageManifest, Name, read_manifest};
use dhow_store::{StagedImage, Standing, Store, StoreError};
use dhow_trust::{
    Decrypted, Decryption, Keyring, Secrets, Verification, is_encrypted, verify_detached, verify_for_any_name,
};
use tempfile::NamedTempFile;

use self::{read_ahead::ReadAhead, record::with_record};
use crate::{
    download::{Growing, GrowingReader},
    error::Error,
    fetch::Listed,
    progress::{Counted, NoProgress, Phase, Progress},
    provenance::{ArchiveRecord, Insecurity, Provenance, Verified, armored},
};

const BUFFER: usize = 256 << 10;

/// An archive that was fetched, and how it came here.
pub(crate) struct Fetchling {
    /// It may still be on its way here.
    pub(crate) archive: Growing,
    /// Where it was.
    pub(crate) place: String,
    /// What the user asked for.
    pub(crate) reference: String,
    pub(crate) discovered_by: Option<String>,
    /// What a catalog says that it must be.
    pub(crate) listed: Option<Listed>,
}

/// An archive of which is known why it is believed, and what it says to be.
pub(crate) struct Believed {
    fetchling: Fetchling,
    pub(crate) manifest: ImageManifest,
    /// `None` where the user switched verification off.
    vouched: Option<Vouched>,
    /// What was inside, if the archive is encrypted.
    opened: Option<Opened>,
}

/// Who signed an archive, and what they signed it with.
struct Vouched {
    verification: Verification,
    signature: Vec<u8>,
}

/// The content of an encrypted archive.
struct Opened {
    file: NamedTempFile,
    how: Decrypted,
}

/// What believing takes.
pub(crate) struct Means<'a> {
    pub(crate) keyring: &'a Keyring,
    pub(crate) secrets: &'a dyn Secrets,
    /// Where temporary files go.
    pub(crate) tmp: &'a Path,
    pub(crate) progress: &'a dyn Progress,
}

impl Fetchling {
    /// Verifies the signature, or believes without if there is none to be verified, decrypts what is encrypted, then
    /// checks that it is what was asked for.
    pub(crate) fn believe(
        self,
        signature: Option<&[u8]>,
        request: Option<&Request>,
        means: &Means<'_>,
    ) -> Result<Believed, Error> {
        let is_encrypted = self.is_encrypted()?;
        let name = match request {
            Some(request) => Some(request.name().clone()),
            None if is_encrypted => None,
            None => Some(manifest(self.read()?, &self.place)?.name),
        };
        let mut vouched = None;
        match (signature, &name) {
            (Some(signature), Some(name)) => vouched = Some(self.verify(name, signature, means)?),
            (Some(signature), None) => {
                let archive = self.read_ahead(means.progress)?;
                verify_for_any_name(means.keyring, signature, archive).map_err(|source| self.not_trusted(source))?;
            }
            (None, _) => {}
        }
        let opened = is_encrypted.then(|| self.decrypt(means)).transpose()?;
        let manifest = match &opened {
            Some(opened) => manifest(self::opened(opened.file.path())?, &self.place)?,
            None => manifest(self.read()?, &self.place)?,
        };
        if let (Some(signature), None) = (signature, &name) {
            vouched = Some(self.verify(&manifest.name, signature, means)?);
        }
        if let Some(request) = request {
            self.check(request, &manifest)?;
        }
        if let (Some(listed), Some(_)) = (&self.listed, &vouched) {
            listed.check_size(&self.place, self.size())?;
        }
        self.check_unchanged()?;
        Ok(Believed {
            fetchling: self,
            manifest,
            vouched,
            opened,
        })
    }

    fn verify(&self, name: &Name, signature: &[u8], means: &Means<'_>) -> Result<Vouched, Error> {
        let archive = self.read_ahead(means.progress)?;
        let verified = verify_detached(means.keyring, name, signature, archive);
        Ok(Vouched {
            verification: verified.map_err(|source| self.not_trusted(source))?,
            signature: signature.to_vec(),
        })
    }

    fn not_trusted(&self, source: dhow_trust::Error) -> Error {
        Error::NotTrusted {
            archive: self.place.clone(),
            source: Box::new(source),
        }
    }

    fn is_encrypted(&self) -> Result<bool, Error> {
        let mut start = Vec::new();
        let read = self.read()?.take(64).read_to_end(&mut start);
        read.map_err(Error::Temporary)?;
        Ok(is_encrypted(&start))
    }

    fn decrypt(&self, means: &Means<'_>) -> Result<Opened, Error> {
        let failed = |source| Error::Decrypt {
            archive: self.place.clone(),
            source: Box::new(source),
        };
        // Somebody may be asked for a passphrase.
        means.progress.end();
        let decryption = Decryption::open(self.read()?, means.secrets).map_err(failed)?;
        means.progress.begin(Phase::Decrypting, &self.place, None);
        let file = tempfile::Builder::new().prefix("decrypt-").tempfile_in(means.tmp);
        let file = file.map_err(Error::Temporary)?;
        let mut out = BufWriter::with_capacity(BUFFER, file.reopen().map_err(Error::Temporary)?);
        let how = decryption.copy_to(&mut out).map_err(failed)?;
        out.flush().map_err(Error::Temporary)?;
        Ok(Opened { file, how })
    }

    fn check(&self, request: &Request, manifest: &ImageManifest) -> Result<(), Error> {
        let checked = request.check(&manifest.name, &manifest.labels);
        checked.map_err(|source| Error::Mismatch {
            archive: self.place.clone(),
            source: Box::new(source),
        })
    }

    /// What was verified, and what was read since, were the same bytes.
    fn check_unchanged(&self) -> Result<(), Error> {
        match self.archive.is_unchanged() {
            true => Ok(()),
            false => Err(Error::Changed {
                path: self.place.clone().into(),
            }),
        }
    }

    /// How many bytes the archive has, once it was read to its end.
    fn size(&self) -> u64 {
        self.archive.size().expect("what was read to its end is here")
    }

    fn read(&self) -> Result<GrowingReader, Error> {
        self.archive.open().map_err(Error::Temporary)
    }

    /// A reader for verification, which takes one thread's time alone.
    fn read_ahead<'a>(&self, progress: &'a dyn Progress) -> Result<Counted<'a, ReadAhead<GrowingReader>>, Error> {
        Ok(self.counted(ReadAhead::new(self.read()?), Phase::Verifying, progress))
    }

    /// A reader that tells how far it is. As long as the archive is still coming, that is what is told.
    fn counted<'a, R>(&self, reader: R, phase: Phase, progress: &'a dyn Progress) -> Counted<'a, R> {
        let size = self.archive.size();
        let progress = match size {
            Some(_) => progress,
            None => &NoProgress,
        };
        progress.begin(phase, &self.place, size);
        Counted::new(reader, progress)
    }
}

impl Believed {
    /// Where the archive was.
    pub(crate) fn place(&self) -> &str {
        &self.fetchling.place
    }

    /// What was in the archive, if it is encrypted.
    pub(crate) fn opened(&self) -> Option<&Path> {
        self.opened.as_ref().map(|opened| opened.file.path())
    }

    /// Takes the image into the store.
    pub(crate) fn store(self, store: &Arc<Store>, progress: &dyn Progress) -> Result<(ImageId, Provenance), Error> {
        let Self {
            fetchling,
            vouched,
            opened,
            ..
        } = self;
        let archive = fetchling.counted(fetchling.read()?, Phase::Storing, progress);
        let stage = || -> Result<StagedImage<'_>, Error> {
            let staged = match &opened {
                Some(content) => store.stage(BufReader::with_capacity(BUFFER, self::opened(content.file.path())?)),
                None => store.stage(archive),
            };
            staged.map_err(|error| match error {
                StoreError::Archive(source) => Error::Archive {
                    archive: fetchling.place.clone(),
                    source,
                },
                other => other.into(),
            })
        };
        // What was signed is known by its signature; of anything else, nothing but its digest is known.
        let (staged, archive, signature, verified) = match vouched {
            Some(Vouched {
                verification,
                signature,
            }) => {
                let record = ArchiveRecord {
                    sha512: None,
                    size: fetchling.size(),
                };
                (stage()?, record, Some(signature), Verified::By(verification))
            }
            None => {
                let (staged, record) = with_record(fetchling.read()?, stage)?;
                (staged, record, None, Verified::No(Insecurity::Insecure))
            }
        };
        fetchling.check_unchanged()?;
        if let Some(listed) = &fetchling.listed {
            listed.check_id(&fetchling.place, staged.id())?;
        }
        let provenance = Provenance {
            reference: fetchling.reference,
            source: fetchling.place,
            discovered_by: fetchling.discovered_by,
            archive,
            signature: signature.as_deref().map(armored),
            rebuilt: None,
            converted_from: None,
            encryption: opened.map(|opened| opened.how),
            verified,
            fetched_at: Utc::now(),
        };
        Ok((commit(staged, &provenance)?, provenance))
    }
}

/// Makes an image visible, with why it is believed.
pub(crate) fn commit(staged: StagedImage<'_>, provenance: &Provenance) -> Result<ImageId, Error> {
    let json = serde_json::to_value(provenance).expect("provenance is plain text and numbers");
    let standing = match provenance.verified {
        Verified::By(_) => Standing::Verified,
        Verified::No(_) => Standing::Unverified,
    };
    Ok(staged.commit(&json, standing)?)
}

fn manifest(archive: impl Read + Send, place: &str) -> Result<ImageManifest, Error> {
    read_manifest(BufReader::with_capacity(BUFFER, archive)).map_err(|source| Error::Archive {
        archive: place.to_owned(),
        source,
    })
}

fn opened(file: &Path) -> Result<File, Error> {
    File::open(file).map_err(Error::Temporary)
}
