//! From an image of OCI's or Docker's to an image in the store.
//!
//! The ACI that is made of it is read by the store while it is written, through a pipe: it lies nowhere in between. All
//! of this is blocking work, on threads made for that.

use std::{
    fs::File,
    io::{self, BufWriter},
    thread,
};

use chrono::Utc;
use dhow_image::{
    AciOptions, Compression, ConvertError, FoundImage, ImageId, ImageLocation, Images, Limits, OciPlatform,
    keep_layers, squash,
};
use dhow_store::{StagedImage, Standing, Store, StoreError};

use crate::{
    error::Error,
    fetch::FetchContext,
    progress::{Counted, Phase, Progress},
    provenance::{ArchiveRecord, ConvertedFrom, Insecurity, Provenance, Verified},
};

/// What becomes of an image's layers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Layers {
    /// One image of all of them, laid over each other.
    #[default]
    Squash,
    /// One image of each, which depends on the one beneath, so that images which share layers share them in the store.
    Keep,
}

/// Where an image came from that nobody signed.
pub(crate) struct Pulled {
    /// Registry and repository, or a file.
    pub(crate) place: String,
    /// What was asked for.
    pub(crate) reference: String,
    /// The digest of what its tag or digest stood for: an index, or a manifest.
    pub(crate) digest: Option<String>,
}

const BUFFER: usize = 256 << 10;

fn options() -> AciOptions {
    AciOptions {
        name: None,
        labels: Vec::new(),
        compression: Compression::None,
        source_date_epoch: None,
        limits: Limits::default(),
    }
}

/// Takes the image at `location` for this platform into the store, with every blob checked against its digest.
pub(crate) fn take_in(
    location: &ImageLocation,
    platform: Option<&OciPlatform>,
    pulled: &Pulled,
    context: &FetchContext,
) -> Result<(ImageId, Provenance), Error> {
    let failed = |source| Error::convert(&pulled.reference, source);
    let store = &*context.store;
    context.progress.begin(Phase::Converting, &pulled.place, None);
    let images = Images::open(location, Limits::default()).map_err(failed)?;
    let image = images.select(platform).map_err(failed)?;
    if context.layers == Layers::Squash {
        let staged = squashed(&images, &image, store, &*context.progress, pulled)?;
        return commit(staged, &image, pulled);
    }
    let tmp = store.tmp_dir();
    let directory = tempfile::Builder::new().prefix("layers-").tempdir_in(&tmp);
    let directory = directory.map_err(Error::Temporary)?;
    let create = |name: &str| File::create(directory.path().join(name)).map(BufWriter::new);
    let layers = keep_layers(&images, &image, &options(), create).map_err(failed)?;
    let mut top = None;
    for layer in layers {
        let archive = File::open(directory.path().join(layer.file_name)).map_err(Error::Temporary)?;
        let staged = store.stage(archive).map_err(|error| not_an_image(error, pulled))?;
        top = Some(commit(staged, &image, pulled)?);
    }
    Ok(top.expect("an image has a topmost layer"))
}

/// Lets the store read what is being made.
fn squashed<'s>(
    images: &Images,
    image: &FoundImage,
    store: &'s Store,
    progress: &dyn Progress,
    pulled: &Pulled,
) -> Result<StagedImage<'s>, Error> {
    let (reader, writer) = io::pipe().map_err(Error::Temporary)?;
    let (made, staged) = thread::scope(|scope| {
        let making = scope.spawn(move || {
            let out = BufWriter::with_capacity(BUFFER, writer);
            squash(images, image, &options(), out)
        });
        let staged = store.stage(Counted::new(reader, progress));
        let made = making.join();
        (made.unwrap_or_else(|panic| std::panic::resume_unwind(panic)), staged)
    });
    match (made, staged) {
        // Where the store has stopped reading, it knows why.
        (Ok(_) | Err(ConvertError::Output(_)), Err(error)) => Err(not_an_image(error, pulled)),
        (Err(error), _) => Err(Error::convert(&pulled.reference, error)),
        (Ok(_), Ok(staged)) => Ok(staged),
    }
}

fn commit(staged: StagedImage<'_>, image: &FoundImage, pulled: &Pulled) -> Result<(ImageId, Provenance), Error> {
    let provenance = Provenance {
        reference: pulled.reference.clone(),
        source: pulled.place.clone(),
        discovered_by: None,
        archive: ArchiveRecord {
            sha512: Some(hex::encode(staged.id().as_bytes())),
            size: staged.tar_size(),
        },
        signature: None,
        rebuilt: None,
        converted_from: Some(ConvertedFrom {
            index: pulled.digest.clone(),
            manifest: image.manifest_digest().map(ToString::to_string),
        }),
        encryption: None,
        verified: Verified::No(Insecurity::Insecure),
        fetched_at: Utc::now(),
    };
    let json = serde_json::to_value(&provenance).expect("provenance is plain text and numbers");
    Ok((staged.commit(&json, Standing::Unverified)?, provenance))
}

fn not_an_image(error: StoreError, pulled: &Pulled) -> Error {
    match error {
        StoreError::Archive(source) => Error::Archive {
            archive: pulled.reference.clone(),
            source,
        },
        other => other.into(),
    }
}
