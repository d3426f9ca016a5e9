//! One archive: downloaded, once on this machine at a time, verified and stored.

use std::{pin::pin, sync::Arc, time::Duration};

use dhow_discovery::Request;
use dhow_store::Standing;
use dhow_trust::Signature;

use tokio::task::{JoinHandle, spawn_blocking};

use super::{Fetched, Fetcher, ahead::Claim, blocking, finished, got::Got};
use crate::{
    download::{DownloadOptions, Downloader, Downloads, Growing, Partial},
    error::{Error, ErrorKind},
    ingest::{Believed, Fetchling, Means},
    progress::{Note, Phase},
    pull::{Held, PullPolicy},
    retry::RetryPolicy,
    transport::Transport,
};

/// How long somebody waits for another process while others may wait for it: images that depend on each other in a
/// circle would otherwise keep two processes waiting for each other for ever.
pub(super) const PATIENCE: Duration = Duration::from_secs(60);

/// What an archive must be, and how it was found.
pub(super) struct Wanted {
    pub(super) signature: Option<Vec<u8>>,
    pub(super) request: Option<Request>,
    pub(super) reference: String,
    pub(super) discovered_by: Option<String>,
    /// Its partial file, if that was claimed already.
    pub(super) claim: Claim,
}

impl Fetcher<'_> {
    /// Downloads, verifies, fetches what it depends on, stores. What another process brings meanwhile is used.
    pub(super) async fn archive(
        &self,
        transport: &dyn Transport,
        mut wanted: Wanted,
        patience: &RetryPolicy,
    ) -> Result<Fetched, Error> {
        let (place, downloads) = (transport.place(), self.downloads());
        let mut has_waited = false;
        let waiting = || {
            has_waited = true;
            self.context.progress.note(&Note::Waiting { place: &place });
        };
        let limit = (!self.chain.is_empty()).then_some(PATIENCE);
        let claimed = match wanted.claim.take() {
            Some(partial) => Some(partial),
            None => downloads.claim(&place, limit, waiting).await?,
        };
        if has_waited
            && self.carried.is_none()
            && self.pull != PullPolicy::Update
            && let Some(request) = &wanted.request
            && let Held::Usable(id) = self.held(request).await?
        {
            return Ok(Fetched { id, provenance: None });
        }
        if self.carried.is_none()
            && let Some(fetched) = self.same_as_before(transport, &downloads, &wanted).await?
        {
            return Ok(fetched);
        }
        let mut partial = match claimed {
            Some(partial) => partial,
            None => Partial::temporary(&self.context.store.tmp_dir())?,
        };
        if let Some(there) = self.in_place(transport) {
            let there = Arc::new(there);
            let result = match finished(self.believe(there.growing(), &place, &wanted).await) {
                Ok(believed) => self.take_in(&there, believed, &wanted).await,
                Err(error) => Err(error),
            };
            // Whoever waits to write to it need not wait longer: it is copied.
            if there.is_unchanged() {
                if let Ok(fetched) = &result {
                    let got = Got::new(place, there.version().cloned(), wanted.signature.as_deref(), fetched.id);
                    got.write(&downloads)?;
                }
                partial.discard()?;
                return result;
            }
        }
        let believed = self.download(transport, &mut partial, &wanted, patience).await?;
        let partial = Arc::new(partial);
        let result = match believed {
            Ok(believed) => self.take_in(&partial, believed, &wanted).await,
            Err(error) => Err(error),
        };
        match &result {
            Ok(fetched) => {
                let version = partial.version().cloned();
                let got = Got::new(place, version, wanted.signature.as_deref(), fetched.id);
                got.write(&downloads)?;
                if let Some(filler) = transport.filler() {
                    filler.taken_in(partial.path(), &fetched.id)?;
                }
                partial.discard()?;
            }
            // What must not be believed is not kept for the next time. Where this machine failed, or a dependency, it
            // need not come again.
            Err(Error::Dependency { .. }) => {}
            Err(error) if is_of_the_archive(error) => partial.discard()?,
            Err(_) => {}
        }
        result
    }

    /// An archive that need not be copied to be held still.
    fn in_place(&self, transport: &dyn Transport) -> Option<Partial> {
        let there = transport.in_place()?;
        let size = there.size().unwrap_or(u64::MAX);
        if size > self.context.downloads.largest {
            return None;
        }
        let progress = &self.context.progress;
        progress.begin(Phase::Archive, &transport.place(), Some(size));
        progress.advance(size);
        Some(there)
    }

    /// For partial files in a directory that all processes of this store share.
    pub(super) fn downloads(&self) -> Downloads {
        Downloads::new(self.context.store.downloads_dir())
    }

    /// The image that came from this place before, if it would come again.
    async fn same_as_before(
        &self,
        transport: &dyn Transport,
        downloads: &Downloads,
        wanted: &Wanted,
    ) -> Result<Option<Fetched>, Error> {
        let Some(got) = Got::read(downloads, &transport.place()) else {
            return Ok(None);
        };
        let (Some(version), true) = (&got.version, got.is_signed_by(wanted.signature.as_deref())) else {
            return Ok(None);
        };
        if !self.would_do(&got, wanted).await? || !transport.is_still(version).await? {
            return Ok(None);
        }
        Ok(Some(Fetched {
            id: got.image,
            provenance: None,
        }))
    }

    /// Whether the image is in the store, and may be used for what is asked for.
    async fn would_do(&self, got: &Got, wanted: &Wanted) -> Result<bool, Error> {
        if self.listed.as_ref().is_some_and(|listed| *listed.id() != got.image) || !self.is_usable(got).await? {
            return Ok(false);
        }
        let (store, id) = (self.context.store.clone(), got.image);
        let (request, signature, keyring) = (
            wanted.request.clone(),
            wanted.signature.clone(),
            self.context.keyring.clone(),
        );
        let would_do = move || {
            let manifest = store.manifest(&id)?;
            let is_wanted = request.is_none_or(|request| request.check(&manifest.name, &manifest.labels).is_ok());
            // Whom one trusts may have changed since.
            let may_verify = |signature: &[u8]| {
                let signature = Signature::parse(signature);
                signature.and_then(|signature| keyring.may_verify(&manifest.name, &signature))
            };
            Ok(is_wanted && signature.is_none_or(|signature| may_verify(&signature).is_ok()))
        };
        blocking(would_do)
            .await
            .map_err(|error: dhow_store::StoreError| error.into())
    }

    /// Whether the image is in the store, and verified unless that is not asked for.
    pub(super) async fn is_usable(&self, got: &Got) -> Result<bool, Error> {
        let (store, id, insecure) = (self.context.store.clone(), got.image, self.context.insecure);
        let would_do =
            move || Ok(store.contains(&id) && (insecure.image || store.standing(&id)? >= Standing::Verified));
        blocking(would_do)
            .await
            .map_err(|error: dhow_store::StoreError| error.into())
    }

    /// Downloads, and reads behind the download whether it is to be believed, so that little is left to be read when the
    /// last byte is here. What cannot be believed ends the download.
    async fn download(
        &self,
        transport: &dyn Transport,
        partial: &mut Partial,
        wanted: &Wanted,
        patience: &RetryPolicy,
    ) -> Result<Result<Believed, Error>, Error> {
        let options = DownloadOptions {
            retry: patience.clone(),
            ..self.context.downloads.clone()
        };
        let downloader = Downloader::new(&options, &*self.context.progress);
        let (place, growing) = (transport.place(), partial.growing());
        let mut believing = self.believe(growing.clone(), &place, wanted);
        let mut early = None;
        let size = {
            let mut downloading = pin!(downloader.download(transport, partial));
            loop {
                tokio::select! {
                    biased;
                    size = &mut downloading => break size?,
                    believed = &mut believing, if early.is_none() => match finished(believed) {
                        Err(error) if !growing.is_given_up() && is_of_the_archive(&error) => return Ok(Err(error)),
                        believed => early = Some(believed),
                    },
                }
            }
        };
        partial.finish(size);
        let read_all = partial.growing();
        match early {
            Some(Ok(believed)) if read_all.is_same(&growing) => return Ok(Ok(believed)),
            None if read_all.is_same(&growing) => {
                self.context.progress.begin(Phase::Verifying, &place, None);
            }
            // The download was begun anew, or this machine failed.
            _ => believing = self.believe(read_all, &place, wanted),
        }
        Ok(finished(believing.await))
    }

    /// Reads what is in the file, or comes into it, on a thread made for that.
    fn believe(&self, archive: Growing, place: &str, wanted: &Wanted) -> JoinHandle<Result<Believed, Error>> {
        let fetchling = Fetchling {
            archive,
            place: place.to_owned(),
            reference: wanted.reference.clone(),
            discovered_by: wanted.discovered_by.clone(),
            listed: self.listed.clone(),
        };
        let (context, signature, request) = (self.context.clone(), wanted.signature.clone(), wanted.request.clone());
        spawn_blocking(move || {
            let means = Means {
                keyring: &context.keyring,
                secrets: &*context.secrets,
                tmp: &context.store.tmp_dir(),
                progress: &*context.progress,
            };
            fetchling.believe(signature.as_deref(), request.as_ref(), &means)
        })
    }

    /// From an archive that is believed to an image in the store, or a file that is carried on. The file is nobody else's
    /// until the end.
    async fn take_in(&self, partial: &Arc<Partial>, believed: Believed, wanted: &Wanted) -> Result<Fetched, Error> {
        self.dependencies(&believed.manifest).await?;
        if let Some(carried) = self.carried {
            let signature = wanted.signature.as_deref();
            let id = carried
                .keep(partial, &believed, signature, self.listed.as_ref())
                .await?;
            return Ok(Fetched { id, provenance: None });
        }
        let (store, progress) = (self.context.store.clone(), self.context.progress.clone());
        let archive = partial.clone();
        let store = move || {
            let stored = believed.store(&store, &*progress);
            drop(archive);
            stored
        };
        let (id, provenance) = blocking(store).await?;
        Ok(Fetched {
            id,
            provenance: Some(provenance),
        })
    }
}

/// Whether the error tells of the archive, and not of this machine.
fn is_of_the_archive(error: &Error) -> bool {
    matches!(error.kind(), ErrorKind::NotTrusted | ErrorKind::Corrupt)
}
