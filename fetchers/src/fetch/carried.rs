//! [`fetch_archives`]: archives as they travel, for whoever carries them on.
//!
//! They are found, downloaded and verified as for the store, with all that they depend on, and then kept as files beside
//! their signatures. Nothing is taken into the store; its directory for downloads is used, so that what was interrupted
//! goes on.

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
};

use dhow_discovery::Request;
use dhow_image::{ImageId, Labels, Limits, Name, Reference, read_summary_within};

use super::{DeltaUse, FetchContext, Fetcher, Listed, blocking};
use crate::{download::Partial, error::Error, ingest::Believed, progress::Progress, pull::PullPolicy};

/// An archive that was verified, and lies in the directory that was given.
#[derive(Clone, Debug)]
pub struct CarriedArchive {
    /// The image's name.
    pub name: Name,
    /// Its labels.
    pub labels: Labels,
    /// Its ID.
    pub id: ImageId,
    /// The archive.
    pub path: PathBuf,
    /// What was in it, if it is encrypted: an archive that is not.
    pub inside: Option<PathBuf>,
    /// Its signature, which was verified by the keys that are trusted for the name.
    pub signature: Vec<u8>,
}

/// Downloads and verifies archives, and those that they depend on before them, and puts them into an empty directory. What
/// is done for each reference is told to the `progress` of that reference.
///
/// What is encrypted is opened, since only so it is known what it depends on, and carried on as it came.
///
/// A name without an os or arch means this machine's, as in [`super::fetch`]. Errors: as there, and [`Error::NotSigned`] for
/// archives that come unsigned because the user asks for no signatures.
pub async fn fetch_archives(
    references: &[Reference],
    context: &FetchContext,
    directory: &Path,
    limits: Limits,
    progress: impl Fn(&Reference) -> Arc<dyn Progress>,
) -> Result<Vec<CarriedArchive>, Error> {
    let mut context = context.clone();
    context.downloads.delta = DeltaUse::Never;
    let carried = Carried {
        directory: directory.to_owned(),
        limits,
        archives: Mutex::default(),
    };
    for reference in references {
        context.progress = progress(reference);
        let fetcher = Fetcher {
            context: &context,
            pull: PullPolicy::Update,
            chain: Vec::new(),
            listed: None,
            may_be_expired: false,
            carried: Some(&carried),
        };
        let fetched = fetcher.fetch(reference).await;
        context.progress.end();
        fetched?;
    }
    Ok(carried.archives.into_inner().expect("nobody panics who holds it"))
}

/// Where archives are put in place of the store.
#[derive(Debug)]
pub(crate) struct Carried {
    directory: PathBuf,
    limits: Limits,
    archives: Mutex<Vec<CarriedArchive>>,
}

impl Carried {
    /// Whether what a dependency asks for is here already.
    pub(crate) fn has(&self, request: &Request, id: Option<&ImageId>) -> bool {
        let archives = self.archives.lock().expect("nobody panics who holds it");
        archives.iter().any(|archive| {
            request.check(&archive.name, &archive.labels).is_ok() && id.is_none_or(|id| *id == archive.id)
        })
    }

    /// Keeps an archive that was verified, and what is in it if it is encrypted, if it is what a catalog lists.
    pub(super) async fn keep(
        &self,
        archive: &Partial,
        believed: &Believed,
        signature: Option<&[u8]>,
        listed: Option<&Listed>,
    ) -> Result<ImageId, Error> {
        let place = believed.place();
        let signature = signature.ok_or_else(|| Error::NotSigned {
            archive: place.to_owned(),
            signature: format!("{place}.asc"),
        })?;
        let (from, to) = (archive.path().to_owned(), self.directory.join(self.next()));
        let limits = self.limits;
        let opened = believed
            .opened()
            .map(|opened| (opened.to_owned(), to.with_extension("image")));
        let inside = opened.as_ref().map(|(_, inside)| inside.clone());
        let path = to.clone();
        let copied = blocking(move || {
            fs::copy(&from, &to).map_err(Error::Temporary)?;
            if let Some((opened, inside)) = &opened {
                fs::copy(opened, inside).map_err(Error::Temporary)?;
            }
            // The copy is what is read, and what is carried.
            let image = opened.as_ref().map_or(&to, |(_, inside)| inside);
            let image = File::open(image).map_err(Error::Temporary)?;
            Ok::<_, Error>(read_summary_within(image, limits))
        })
        .await;
        let summary = copied?.map_err(|source| Error::Archive {
            archive: place.to_owned(),
            source,
        })?;
        if let Some(listed) = listed {
            listed.check_id(place, &summary.id)?;
        }
        let mut archives = self.archives.lock().expect("nobody panics who holds it");
        if archives.iter().all(|archive| archive.id != summary.id) {
            archives.push(CarriedArchive {
                name: summary.manifest.name,
                labels: summary.manifest.labels,
                id: summary.id,
                path,
                inside,
                signature: signature.to_owned(),
            });
        }
        Ok(summary.id)
    }

    fn next(&self) -> String {
        let archives = self.archives.lock().expect("nobody panics who holds it");
        format!("{}.aci", archives.len())
    }
}
