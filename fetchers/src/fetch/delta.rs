//! By difference: a signed recipe, what is here already, and a patch or ranges of packs (see [`dhow_store::delta`]).
//!
//! The archive is never seen: the recipe's signature says which image it is, and what is rebuilt must be that image
//! before anything of it can be seen in the store. It is put together while packs are still coming. Whatever does not
//! work out, the archive is fetched instead: all but what tells of an attack, and what fails on this machine.

mod open;
mod ranges;

use std::{
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use dhow_discovery::{Endpoint, Request, Scheme};
use dhow_image::{ImageId, Reference, Sha512};
use dhow_store::{
    Standing,
    delta::{Delta, DeltaError, DeltaHead, DeltaPatch, HeadRecipe, MAX_HEAD, Need, Rebuild, Source, Step},
};
use dhow_trust::{Verification, verify_detached};
use futures::StreamExt;
use sha2::Digest;
use url::Url;

use super::{Fetched, Fetcher, MAX_SIGNATURE, blocking};
use crate::{
    error::{Error, ErrorKind, shown},
    ingest::commit,
    origin::Origin,
    progress::{Note, Phase, Progress},
    provenance::{ArchiveRecord, Provenance, Rebuilt, Verified, armored},
    retry::RetryPolicy,
    transport::{Ask, HttpsTransport, Transport},
};

/// When images are fetched by difference.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum DeltaUse {
    /// Where that brings fewer bytes than the archive has.
    #[default]
    Auto,
    /// Never: the archive is fetched.
    Never,
    /// Always: the archive is not fetched.
    Always,
}

/// What a request costs beside its bytes, in bytes.
const REQUEST: u64 = 20_000;

/// Where the image is, and how it was found.
pub(super) struct Place<'a> {
    pub(super) endpoint: &'a Endpoint,
    pub(super) origin: &'a Arc<Origin>,
    pub(super) request: &'a Request,
    pub(super) reference: &'a Reference,
    pub(super) patience: &'a RetryPolicy,
}

/// A recipe that is believed.
struct SignedHead {
    head: DeltaHead,
    url: Url,
    verification: Verification,
    signature: String,
    record: ArchiveRecord,
}

impl Fetcher<'_> {
    /// Fetches by difference, where there is a recipe and that is cheaper. `None` where the archive is to be fetched.
    pub(super) async fn delta(&self, place: &Place<'_>) -> Result<Option<Fetched>, Error> {
        let uses = self.context.downloads.delta;
        if uses == DeltaUse::Never || self.context.insecure.image {
            return Ok(None);
        }
        // Where nothing is that could be made use of, the question would cost a round trip for nothing.
        if uses == DeltaUse::Auto && self.has_nothing().await? {
            return Ok(None);
        }
        match self.by_delta(place).await {
            Ok(None) if uses == DeltaUse::Always => Err(Error::NoRecipe {
                archive: shown(&place.endpoint.archive),
            }),
            Ok(fetched) => Ok(fetched),
            Err(error) if uses == DeltaUse::Always || is_grave(&error) => Err(error),
            Err(error) => {
                let place = shown(&place.endpoint.archive);
                self.context.progress.note(&Note::NoDelta {
                    place: &place,
                    error: &error,
                });
                Ok(None)
            }
        }
    }

    async fn has_nothing(&self) -> Result<bool, Error> {
        let store = self.context.store.clone();
        Ok(blocking(move || store.images()).await?.is_empty())
    }

    async fn by_delta(&self, place: &Place<'_>) -> Result<Option<Fetched>, Error> {
        let Some(signed) = self.signed_head(place).await? else {
            return Ok(None);
        };
        if let Some(held) = self.is_held(&signed.head.id, place.request).await? {
            return Ok(Some(held));
        }
        let recipe = shown(&signed.url);
        let waiting = || self.context.progress.note(&Note::Waiting { place: &recipe });
        // Nobody waits for ever, and what two fetch at once is fetched twice.
        let claim = self
            .downloads()
            .claim(&recipe, Some(super::archive::PATIENCE), waiting)
            .await?;
        if let Some(held) = self.is_held(&signed.head.id, place.request).await? {
            return Ok(Some(held));
        }
        let fetched = self.rebuild(place, signed).await;
        if let Some(claim) = claim {
            claim.discard()?;
        }
        fetched
    }

    /// The recipe beside the archive, if there is one and its signature counts for the name.
    async fn signed_head(&self, place: &Place<'_>) -> Result<Option<SignedHead>, Error> {
        if self.listed.as_ref().is_some_and(|listed| !listed.has_recipe()) {
            return Ok(None);
        }
        let url = beside(&place.endpoint.archive, ".recipe");
        self.context.progress.begin(Phase::Recipe, &shown(&url), None);
        let bytes = match self.small_file(&url, place, MAX_HEAD).await {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        // Some servers have a page for whatever they are asked for.
        if !bytes.starts_with(b"dhow delta ") {
            return Ok(None);
        }
        let signature_url = beside(&url, ".asc");
        let signature = match self.small_file(&signature_url, place, MAX_SIGNATURE).await {
            Ok(signature) => signature,
            Err(error) if error.kind() == ErrorKind::NotFound => {
                return Err(Error::NotSigned {
                    archive: shown(&url),
                    signature: shown(&signature_url),
                });
            }
            Err(error) => return Err(error),
        };
        let (keyring, name, recipe) = (self.context.keyring.clone(), place.request.name().clone(), shown(&url));
        let verify = move || {
            let verification = verify_detached(&keyring, &name, &signature, bytes.as_slice());
            let verification = verification.map_err(|source| Error::NotTrusted {
                archive: recipe.clone(),
                source: Box::new(source),
            })?;
            let head = DeltaHead::parse(&bytes).map_err(|source| in_recipe(&recipe, source))?;
            let record = ArchiveRecord {
                sha512: Some(hex::encode(Sha512::digest(&bytes))),
                size: bytes.len() as u64,
            };
            Ok::<_, Error>((head, verification, armored(&signature), record))
        };
        let (head, verification, signature, record) = blocking(verify).await?;
        if let Some(listed) = &self.listed {
            listed.check_id(&shown(&url), &head.id)?;
        }
        Ok(Some(SignedHead {
            head,
            url,
            verification,
            signature,
            record,
        }))
    }

    /// The image, if the store has it, vouched for, and it is what is asked for.
    async fn is_held(&self, id: &ImageId, request: &Request) -> Result<Option<Fetched>, Error> {
        let (store, id, request) = (self.context.store.clone(), *id, request.clone());
        let is_held = move || {
            if !store.contains(&id) || store.standing(&id)? < Standing::Verified {
                return Ok(false);
            }
            let manifest = store.manifest(&id)?;
            Ok(request.check(&manifest.name, &manifest.labels).is_ok())
        };
        let is_held = blocking(is_held)
            .await
            .map_err(|error: dhow_store::StoreError| Error::from(error))?;
        Ok(is_held.then_some(Fetched { id, provenance: None }))
    }

    async fn rebuild(&self, place: &Place<'_>, signed: SignedHead) -> Result<Option<Fetched>, Error> {
        let recipe = shown(&signed.url);
        let (store, head, name) = (
            self.context.store.clone(),
            signed.head.clone(),
            place.request.name().clone(),
        );
        // What is sealed is opened only now, when it is known who signed it, and that it is needed.
        let opened = match &signed.head.recipe {
            HeadRecipe::Plain(_) => None,
            HeadRecipe::Sealed(message) => Some(self.open_head(&recipe, &head, message).await?),
        };
        let (sealed, encryption) = opened.unzip();
        let begin = move || match sealed {
            Some(sealed) => Delta::opened(store, head, sealed, &name),
            None => Delta::new(store, head, &name),
        };
        let mut delta = self.blocking_delta(&recipe, begin).await?;
        let (mut fetched, mut requests) = (0, 0);
        let (mut is_checked, mut is_patch_bad) = (false, false);
        // What is put together, and what is still to come of it.
        let (rebuild, last): (Box<Rebuild>, Option<Need>) = loop {
            let step;
            (delta, step) = self
                .blocking_delta(&recipe, move || {
                    let step = delta.step()?;
                    Ok((delta, step))
                })
                .await?;
            if let Some(manifest) = delta.manifest().filter(|_| !is_checked) {
                let checked = place.request.check(&manifest.name, &manifest.labels);
                checked.map_err(|source| Error::Mismatch {
                    archive: recipe.clone(),
                    source: Box::new(source),
                })?;
                is_checked = true;
            }
            let need = match step {
                Step::Ready(rebuild) => break (rebuild, None),
                Step::Need(need) => need,
            };
            let bytes = need.bytes();
            let cost = bytes.saturating_add(need.ranges.len() as u64 * REQUEST);
            let affordable = signed.head.archive_size.saturating_add(2 * REQUEST);
            let is_affordable = |cost: u64| cost < affordable || self.context.downloads.delta == DeltaUse::Always;
            let patch = delta.patch().copied().filter(|_| !is_patch_bad);
            if let Some(patch) = patch.filter(|patch| patch.size < expected(&signed.head, &need, cost))
                && is_affordable(patch.size + REQUEST)
            {
                requests += 1;
                fetched += patch.size;
                let applied;
                (delta, applied) = self.patch(place, &recipe, delta, &patch).await?;
                if applied {
                    continue;
                }
                is_patch_bad = true;
            }
            if !is_affordable(cost) {
                return Ok(None);
            }
            requests += need.ranges.len();
            fetched += bytes;
            if need.source == Source::Contents
                && let Some(rebuild) = delta.early().map_err(|source| in_recipe(&recipe, source))?
            {
                break (rebuild, Some(need));
            }
            self.fetch_ranges(place, &signed.head, &need, delta.sparse(), bytes)
                .await?;
        };
        let manifest = delta.manifest().expect("what is ready was surveyed").clone();
        self.dependencies(&manifest).await?;

        let reused = delta.reused();
        let provenance = Provenance {
            reference: place.reference.to_string(),
            source: recipe.clone(),
            discovered_by: Some(place.endpoint.template.to_string()),
            archive: ArchiveRecord {
                sha512: Some(hex::encode(signed.head.archive_sha512)),
                size: signed.head.archive_size,
            },
            signature: Some(signed.signature),
            rebuilt: Some(Rebuilt {
                recipe: signed.record,
                from_files: reused.files,
                from_chunks: reused.chunks,
                from_packs: reused.packs,
                from_patch: reused.patch,
                fetched,
                requests: requests as u64,
            }),
            converted_from: None,
            encryption,
            verified: Verified::By(signed.verification),
            fetched_at: chrono::Utc::now(),
        };
        let coming = delta.sparse().coming();
        let sparse = delta.sparse().clone();
        let all_came = Arc::new(AtomicBool::new(false));
        let reader = Counted {
            rebuild,
            progress: self.context.progress.clone(),
            all_came: all_came.clone(),
            untold: 0,
        };
        let (store, of, kept) = (self.context.store.clone(), recipe.clone(), provenance.clone());
        let storing = blocking(move || {
            let staged = store.stage(reader).map_err(|error| match error {
                dhow_store::StoreError::Archive(source) => in_recipe(&of, DeltaError::Image(source)),
                other => other.into(),
            })?;
            if *staged.id() != delta.head().id {
                return Err(in_recipe(&of, delta.wrong_image(&staged)));
            }
            commit(staged, &kept)
        });
        // Whoever puts it together waits for what is coming, and no longer than until this ends.
        let bringing = async {
            let _coming = coming;
            if let Some(need) = &last {
                let bytes = need.bytes();
                self.fetch_ranges(place, &signed.head, need, &sparse, bytes).await?;
            }
            let (progress, size) = (&self.context.progress, signed.head.tar_size);
            progress.begin(Phase::Storing, &recipe, Some(size));
            all_came.store(true, Ordering::Relaxed);
            Ok::<(), Error>(())
        };
        let (mut storing, mut bringing) = (pin!(storing), Box::pin(bringing));
        let id = tokio::select! {
            stored = &mut storing => stored?,
            brought = &mut bringing => {
                let stored = storing.await;
                brought.and(stored)?
            }
        };
        self.context.progress.note(&Note::Rebuilt {
            place: &recipe,
            held: reused.files.saturating_add(reused.chunks),
            fetched,
            requests,
            archive: signed.head.archive_size,
        });
        Ok(Some(Fetched {
            id,
            provenance: Some(provenance),
        }))
    }

    /// Fetches a patch and applies it. Whether that worked: where it did not, packs bring the same.
    async fn patch(
        &self,
        place: &Place<'_>,
        recipe: &str,
        mut delta: Delta,
        patch: &DeltaPatch,
    ) -> Result<(Delta, bool), Error> {
        let error = match self.fetch_patch(place, patch).await {
            Ok(file) => {
                let apply = move || {
                    let applied = delta.apply(file);
                    (delta, applied)
                };
                let applied;
                (delta, applied) = blocking(move || Ok::<_, Error>(apply())).await?;
                match applied {
                    Ok(()) => return Ok((delta, true)),
                    Err(source) => in_recipe(recipe, source),
                }
            }
            Err(error) => error,
        };
        if is_grave(&error) {
            return Err(error);
        }
        let place = shown(&beside(&place.endpoint.archive, ".patch"));
        self.context.progress.note(&Note::NoPatch {
            place: &place,
            error: &error,
        });
        Ok((delta, false))
    }

    async fn blocking_delta<T: Send + 'static>(
        &self,
        recipe: &str,
        work: impl FnOnce() -> Result<T, DeltaError> + Send + 'static,
    ) -> Result<T, Error> {
        blocking(work).await.map_err(|source| in_recipe(recipe, source))
    }

    /// A small file beside the archive, whole.
    async fn small_file(&self, url: &Url, place: &Place<'_>, most: usize) -> Result<Vec<u8>, Error> {
        let transport = self.transport(url, place)?;
        let limit = self.context.client.options().timeouts.small;
        let mut failed = 0;
        loop {
            let read = tokio::time::timeout(limit, read_small(&*transport, url, most)).await;
            let error = match read.unwrap_or_else(|_| Err(Error::TooSlow { url: shown(url), limit })) {
                Ok(bytes) => return Ok(bytes),
                Err(error) => error,
            };
            failed += 1;
            match place.patience.wait(failed, &error) {
                Some(wait) => tokio::time::sleep(wait).await,
                None => return Err(error),
            }
        }
    }

    fn transport(&self, url: &Url, place: &Place<'_>) -> Result<Box<dyn Transport>, Error> {
        Ok(match (self.bucket(url)?, place.endpoint.scheme) {
            (Some(bucket), _) => Box::new(bucket),
            (None, Scheme::Https | Scheme::Http) => Box::new(HttpsTransport::new(
                self.context.client.clone(),
                url.clone(),
                place.origin.clone(),
            )),
            _ => return Err(Error::Scheme { url: shown(url) }),
        })
    }
}

/// The image's tar, which tells how far it is. As long as packs are still coming, that is what is told.
struct Counted {
    rebuild: Box<Rebuild>,
    progress: Arc<dyn Progress>,
    all_came: Arc<AtomicBool>,
    untold: u64,
}

impl std::io::Read for Counted {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let read = self.rebuild.read(buffer)?;
        self.untold += read as u64;
        if self.all_came.load(Ordering::Relaxed) {
            self.progress.advance(std::mem::take(&mut self.untold));
        }
        Ok(read)
    }
}

async fn read_small(transport: &dyn Transport, url: &Url, most: usize) -> Result<Vec<u8>, Error> {
    let mut opened = transport.open(&Ask::whole()).await?;
    let mut bytes = Vec::new();
    while let Some(chunk) = opened.body.next().await {
        bytes.extend_from_slice(&chunk?);
        if bytes.len() > most {
            return Err(Error::TooLarge {
                url: shown(url),
                most,
                what: "recipe",
            });
        }
    }
    Ok(bytes)
}

/// What the packs would cost beside a patch. As long as nothing of them has come, it is what the newest has: all that this
/// version has and older ones have not.
fn expected(head: &DeltaHead, need: &Need, cost: u64) -> u64 {
    match (need.source, head.packs.last()) {
        (Source::Index, Some(newest)) if need.ranges.iter().any(|(pack, _)| *pack == newest.id) => newest.size,
        _ => cost,
    }
}

/// Whether an error is not to be answered with fetching the archive: one that tells of an attack, or that the archive
/// would not be spared.
fn is_grave(error: &Error) -> bool {
    match error {
        Error::NotTrusted { source, .. } => matches!(
            **source,
            dhow_trust::Error::BadSignature { .. } | dhow_trust::Error::KeyRevoked { .. }
        ),
        Error::Mismatch { .. }
        | Error::Dependency { .. }
        | Error::DependencyCycle { .. }
        | Error::DependencyDepth { .. }
        | Error::Offline { .. } => true,
        error => error.kind() == ErrorKind::Local,
    }
}

fn in_recipe(recipe: &str, source: DeltaError) -> Error {
    Error::Delta {
        recipe: recipe.to_owned(),
        source: Box::new(source),
    }
}

/// What lies beside a file, with a longer name.
fn beside(url: &Url, suffix: &str) -> Url {
    let mut beside = url.clone();
    beside.set_path(&format!("{}{suffix}", url.path()));
    beside
}
