//! One archive: downloaded, once on this machine at a time, verified and stored.

use std::{sync::Arc, time::Duration};

use dhow_discovery::Request;
use dhow_store::Standing;
use dhow_trust::Signature;

use super::{Fetched, Fetcher, blocking, got::Got};
use crate::{
    download::{DownloadOptions, Downloader, Downloads, Partial},
    error::{Error, ErrorKind},
    ingest::{Fetchling, Means},
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
}

impl Fetcher<'_> {
    /// Downloads, verifies, fetches what it depends on, stores. What another process brings meanwhile is used.
    pub(super) async fn archive(
        &self,
        transport: &dyn Transport,
        wanted: Wanted,
        patience: &RetryPolicy,
    ) -> Result<Fetched, Error> {
        let (place, downloads) = (transport.place(), self.downloads());
        let mut has_waited = false;
        let waiting = || {
            has_waited = true;
            self.context.progress.note(&Note::Waiting { place: &place });
        };
        let limit = (!self.chain.is_empty()).then_some(PATIENCE);
        let claimed = downloads.claim(&place, limit, waiting).await?;
        if has_waited
            && self.pull != PullPolicy::Update
            && let Some(request) = &wanted.request
            && let Held::Usable(id) = self.held(request).await?
        {
            return Ok(Fetched { id, provenance: None });
        }
        if let Some(fetched) = self.same_as_before(transport, &downloads, &wanted).await? {
            return Ok(fetched);
        }
        let mut partial = match claimed {
            Some(partial) => partial,
            None => Partial::temporary(&self.context.store.tmp_dir())?,
        };
        if let Some(there) = self.in_place(transport) {
            let there = Arc::new(there);
            let result = self.take_in(&there, place.clone(), &wanted).await;
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
        let options = DownloadOptions {
            retry: patience.clone(),
            ..self.context.downloads.clone()
        };
        let downloader = Downloader::new(&options, &*self.context.progress);
        downloader.download(transport, &mut partial).await?;
        let partial = Arc::new(partial);
        let result = self.take_in(&partial, place.clone(), &wanted).await;
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
            Err(error) if matches!(error.kind(), ErrorKind::NotTrusted | ErrorKind::Corrupt) => partial.discard()?,
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
        if !self.is_usable(got).await? {
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

    /// From a whole archive to an image in the store.
    async fn take_in(&self, partial: &Arc<Partial>, place: String, wanted: &Wanted) -> Result<Fetched, Error> {
        let fetchling = Fetchling {
            archive: partial.clone(),
            place,
            reference: wanted.reference.clone(),
            discovered_by: wanted.discovered_by.clone(),
        };
        let (context, signature, request) = (self.context.clone(), wanted.signature.clone(), wanted.request.clone());
        let believe = move || {
            let means = Means {
                keyring: &context.keyring,
                secrets: &*context.secrets,
                tmp: &context.store.tmp_dir(),
                progress: &*context.progress,
            };
            fetchling.believe(signature.as_deref(), request.as_ref(), &means)
        };
        let believed = blocking(believe).await?;
        self.dependencies(&believed.manifest).await?;
        let (store, progress) = (self.context.store.clone(), self.context.progress.clone());
        let (id, provenance) = blocking(move || believed.store(&store, &*progress)).await?;
        Ok(Fetched {
            id,
            provenance: Some(provenance),
        })
    }
}
