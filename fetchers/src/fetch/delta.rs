//! By difference: a signed recipe, what is here already, and ranges of packs (see [`dhow_store::delta`]).
//!
//! The archive is never seen: the recipe's signature says which image it is, and what is rebuilt must be that image
//! before anything of it can be seen in the store. Whatever does not work out, the archive is fetched instead: all but
//! what tells of an attack, and what fails on this machine.

use std::{
    ops::Range,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use dhow_discovery::{Endpoint, Request, Scheme};
use dhow_image::{ImageId, Reference};
use dhow_store::{
    Standing,
    delta::{Delta, DeltaError, DeltaHead, MAX_HEAD, Need, Rebuild, SparsePacks, Step},
    pack::PackId,
};
use dhow_trust::{Verification, verify_detached};
use futures::{StreamExt, TryStreamExt, future::BoxFuture, stream};
use sha2::{Digest, Sha512};
use url::Url;

use super::{Fetched, Fetcher, MAX_SIGNATURE, blocking};
use crate::{
    download::Pace,
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

/// How many ranges come side by side.
const SIDE_BY_SIDE: usize = 4;
/// What a request costs beside its bytes, in bytes.
const REQUEST: u64 = 20_000;
/// For how many times the patience with a body a place may think before its first byte.
const OPENING: u32 = 4;
/// An attempt that brings fewer bytes than this counts as a failed one.
const WORTHWHILE: u64 = 64 << 10;

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
        let mut delta = self
            .blocking_delta(&recipe, move || Delta::new(store, head, &name))
            .await?;
        let (mut fetched, mut requests) = (0, 0);
        let mut is_checked = false;
        let rebuild: Box<Rebuild> = loop {
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
                Step::Ready(rebuild) => break rebuild,
                Step::Need(need) => need,
            };
            let bytes = need
                .ranges
                .iter()
                .map(|(_, range)| range.end - range.start)
                .sum::<u64>();
            let cost = bytes.saturating_add(need.ranges.len() as u64 * REQUEST);
            let is_cheap = cost < signed.head.archive_size.saturating_add(2 * REQUEST);
            if !is_cheap && self.context.downloads.delta != DeltaUse::Always {
                return Ok(None);
            }
            requests += need.ranges.len();
            fetched += bytes;
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
                fetched,
                requests: requests as u64,
            }),
            converted_from: None,
            encryption: None,
            verified: Verified::By(signed.verification),
            fetched_at: chrono::Utc::now(),
        };
        let (store, progress, expected) = (
            self.context.store.clone(),
            self.context.progress.clone(),
            signed.head.id,
        );
        progress.begin(Phase::Storing, &recipe, Some(signed.head.tar_size));
        let (of, kept) = (recipe.clone(), provenance.clone());
        let id = blocking(move || {
            let reader = Counted {
                rebuild,
                progress: &*progress,
            };
            let staged = store.stage(reader).map_err(|error| match error {
                dhow_store::StoreError::Archive(source) => in_recipe(&of, DeltaError::Image(source)),
                other => other.into(),
            })?;
            if *staged.id() != expected {
                let found = Box::new(*staged.id());
                let expected = Box::new(expected);
                return Err(in_recipe(&of, DeltaError::WrongImage { expected, found }));
            }
            commit(staged, &kept)
        })
        .await?;
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

    async fn blocking_delta<T: Send + 'static>(
        &self,
        recipe: &str,
        work: impl FnOnce() -> Result<T, DeltaError> + Send + 'static,
    ) -> Result<T, Error> {
        blocking(work).await.map_err(|source| in_recipe(recipe, source))
    }

    /// Brings ranges of packs, some side by side.
    async fn fetch_ranges(
        &self,
        place: &Place<'_>,
        head: &DeltaHead,
        need: &Need,
        sparse: &SparsePacks,
        bytes: u64,
    ) -> Result<(), Error> {
        let archive = &place.endpoint.archive;
        self.context.progress.begin(Phase::Packs, &shown(archive), Some(bytes));
        // Boxed, since a stream of futures that borrow is otherwise none that can be spawned.
        let mut fetches: Vec<BoxFuture<'_, Result<(), Error>>> = Vec::new();
        for (pack, range) in &need.ranges {
            let url = pack_url(archive, head.up, pack).ok_or_else(|| {
                let problem = "its packs are further up than its own folder";
                in_recipe(&shown(archive), DeltaError::Head { problem })
            })?;
            let size = head
                .packs
                .iter()
                .find(|other| other.id == *pack)
                .map_or(0, |pack| pack.size);
            let transport = self.transport(&url, place)?;
            let wanted = Wanted { pack, range, size };
            fetches.push(Box::pin(async move {
                self.fetch_range(&*transport, &wanted, sparse, place.patience).await
            }));
        }
        stream::iter(fetches)
            .buffer_unordered(SIDE_BY_SIDE)
            .try_collect::<()>()
            .await
    }

    async fn fetch_range(
        &self,
        transport: &dyn Transport,
        wanted: &Wanted<'_>,
        sparse: &SparsePacks,
        patience: &RetryPolicy,
    ) -> Result<(), Error> {
        let at = AtomicU64::new(wanted.range.start);
        let mut failed = 0;
        loop {
            let before = at.load(Ordering::Relaxed);
            let error = match self.attempt(transport, wanted, &at, sparse).await {
                Ok(()) => return sparse.came(wanted.pack, wanted.range.clone()).map_err(Error::Temporary),
                Err(error) => error,
            };
            if matches!(error, Error::TooFewBytes { .. } | Error::TooSlow { .. }) {
                transport.hang_up();
            }
            if at.load(Ordering::Relaxed) >= before.saturating_add(WORTHWHILE) {
                failed = 0;
            }
            failed += 1;
            let Some(wait) = patience.wait(failed, &error) else {
                return Err(error);
            };
            self.context.progress.note(&Note::Retrying {
                place: &transport.place(),
                error: &error,
                wait,
            });
            tokio::time::sleep(wait).await;
        }
    }

    /// Brings what is still missing of a range, in one request.
    async fn attempt(
        &self,
        transport: &dyn Transport,
        wanted: &Wanted<'_>,
        at: &AtomicU64,
        sparse: &SparsePacks,
    ) -> Result<(), Error> {
        let options = &self.context.downloads;
        let (from, end) = (at.load(Ordering::Relaxed), wanted.range.end);
        let ask = Ask {
            from,
            to: Some(end).filter(|end| from > 0 || *end < wanted.size),
            version: None,
        };
        let limit = options.slow_after * OPENING;
        let opened = tokio::time::timeout(limit, transport.open(&ask)).await;
        let opened = opened.unwrap_or_else(|_| {
            Err(Error::TooSlow {
                url: transport.place(),
                limit,
            })
        })?;
        if opened.from != from || opened.size.is_some_and(|size| size != wanted.size) {
            return Err(Error::NoRanges { url: transport.place() });
        }
        let mut body = match &options.limit {
            Some(limit) => limit.clone().throttled(opened.body).boxed(),
            None => opened.body,
        };
        let mut pace = Pace::new(options.least_rate, options.slow_after);
        let mut next = from;
        while next < end {
            let Some(chunk) = pace.next(&mut body, || transport.place()).await else {
                return Err(Error::Truncated {
                    url: transport.place(),
                    received: next - from,
                    source: std::io::ErrorKind::UnexpectedEof.into(),
                });
            };
            let chunk = chunk?;
            let left = usize::try_from(end - next).unwrap_or(usize::MAX);
            let chunk = &chunk[..chunk.len().min(left)];
            sparse.write(wanted.pack, next, chunk).map_err(Error::Temporary)?;
            next += chunk.len() as u64;
            at.store(next, Ordering::Relaxed);
            self.context.progress.advance(chunk.len() as u64);
        }
        Ok(())
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

/// A range of a pack.
struct Wanted<'a> {
    pack: &'a PackId,
    range: &'a Range<u64>,
    size: u64,
}

/// The image's tar, which tells how far it is.
struct Counted<'a> {
    rebuild: Box<Rebuild>,
    progress: &'a dyn Progress,
}

impl std::io::Read for Counted<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let read = self.rebuild.read(buffer)?;
        self.progress.advance(read as u64);
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

/// Where a pack is: so many folders up from the archive's own.
fn pack_url(archive: &Url, up: u8, pack: &PackId) -> Option<Url> {
    let folders = archive.path_segments()?.count().checked_sub(1)?;
    folders.checked_sub(usize::from(up))?;
    let mut url = archive.clone();
    url.set_query(None);
    let mut segments = url.path_segments_mut().ok()?;
    for _ in 0..=up {
        segments.pop();
    }
    segments.push("PACKS").extend(pack.relative_path().split('/'));
    drop(segments);
    Some(url)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn packs_are_on_the_same_server_in_a_folder_that_is_called_so() {
        let pack = PackId::from_bytes([0xab; 32]);
        let url = |archive: &str, up| pack_url(&Url::parse(archive).unwrap(), up, &pack).map(String::from);
        let name = format!("ab/{}.pack", "ab".repeat(31));
        let archive = "https://example.com/ACI/example.com/app/1.0.aci?key=secret";
        assert_eq!(url(archive, 3).unwrap(), format!("https://example.com/PACKS/{name}"));
        assert_eq!(
            url(archive, 0).unwrap(),
            format!("https://example.com/ACI/example.com/app/PACKS/{name}")
        );
        assert_eq!(url(archive, 4), None);
        assert_eq!(
            url("s3://bucket/site/ACI/a/1.aci", 2).unwrap(),
            format!("s3://bucket/site/PACKS/{name}")
        );
    }
}
