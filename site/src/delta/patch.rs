//! The patch from the version before.

use std::{
    fs::File,
    io::{BufWriter, Seek},
    path::Path as FilePath,
};

use dhow_image::{ImageId, Limits};
use dhow_store::{
    Standing, Store, StoreError,
    delta::{DeltaError, DeltaPatch, write_patch},
};

use super::DeltaOptions;
use crate::{Error, FileFacts, Record, Site, candidate::Digesting};

/// A patch is made once and fetched by nearly everybody.
const LEVEL: i32 = 19;

impl Site {
    /// Puts a patch beside the archive that makes its image of `base`, which is published here. There is none where the
    /// archive of `base` is gone or is not what it was, and where the patch would have more bytes than the archive.
    pub(super) async fn publish_patch(
        &self,
        base: &Record,
        record: &Record,
        archive: &FilePath,
        options: &DeltaOptions<'_>,
    ) -> Result<Option<DeltaPatch>, Error> {
        let base_archive = self.layout.archive(base).archive;
        let mut old = tempfile::tempfile_in(options.scratch).map_err(Error::Temporary)?;
        if !self.files.download(&base_archive, &mut old).await? {
            return Ok(None);
        }
        old.rewind().map_err(Error::Temporary)?;
        let in_file = |source| Error::ReadArchive {
            path: archive.to_owned(),
            source,
        };
        let new = File::open(archive).map_err(in_file)?;
        let (scratch, base_id, limits) = (options.scratch.to_owned(), base.id, options.limits);
        let make = move || make_patch(old, &base_id, new, limits, &scratch);
        let made = tokio::task::spawn_blocking(make).await;
        let made = made
            .expect("making a patch does not panic")
            .map_err(|source| Error::Patch {
                base: base_archive.to_string(),
                path: archive.to_owned(),
                source: Box::new(source),
            })?;
        let Some((facts, id)) = made.filter(|(facts, _)| facts.size < record.archive.size) else {
            return Ok(None);
        };
        let changed = || Error::ArchiveChanged {
            path: archive.to_owned(),
        };
        let to = self.layout.archive(record).patch;
        if id != record.id || !self.files.upload(&to, &options.scratch.join(PATCH), &facts).await? {
            return Err(changed());
        }
        let digest = hex::decode(&facts.sha256)
            .ok()
            .and_then(|digest| digest.try_into().ok());
        Ok(Some(DeltaPatch {
            base: base.id,
            size: facts.size,
            digest: digest.ok_or_else(changed)?,
        }))
    }
}

/// The patch, in the directory for temporary files.
const PATCH: &str = "patch";

/// Takes both archives into a store that nobody else sees, which has then all contents of both in files. Blocks.
///
/// `None` where the old one is not what it was, which is told whoever fetches it.
fn make_patch(
    old: File,
    base: &ImageId,
    new: File,
    limits: Limits,
    scratch: &FilePath,
) -> Result<Option<(FileFacts, ImageId)>, DeltaError> {
    let directory = tempfile::tempdir_in(scratch).map_err(DeltaError::Temporary)?;
    let store = Store::open(directory.path())?.with_limits(limits);
    match store.stage(old) {
        Ok(staged) if staged.id() == base => staged.commit(&serde_json::Value::Null, Standing::Unverified)?,
        Ok(_) | Err(StoreError::Archive(_)) => return Ok(None),
        Err(error) => return Err(error.into()),
    };
    let staged = store.stage(new)?;
    let id = staged.commit(&serde_json::Value::Null, Standing::Unverified)?;
    let path = scratch.join(PATCH);
    let mut out = BufWriter::new(File::create(&path).map_err(DeltaError::Temporary)?);
    write_patch(&store, base, &id, LEVEL, scratch, &mut out)?;
    drop(out);
    let facts = File::open(&path).and_then(|patch| Digesting::new(patch).finish());
    Ok(Some((facts.map_err(DeltaError::Temporary)?, id)))
}
