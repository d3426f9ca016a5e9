//! [`fetch`]: from a reference to an image in the store.

mod ahead;
mod archive;
mod bucket;
mod carried;
mod catalog;
mod delta;
mod endpoints;
mod got;
mod registry;
mod torrent;

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use dhow_discovery::{Buckets, Options, Request, Scheme, discover};
use dhow_image::{ImageId, ImageIdPrefix, Labels, Name, Reference};
use dhow_store::{Store, StoreError};
use dhow_trust::{Keyring, NoSecrets, Secrets, Signature};
use reqwest::header::HeaderMap;
use tokio::{
    io::AsyncReadExt,
    task::{JoinError, spawn_blocking},
};
use url::Url;

pub use self::carried::{CarriedArchive, fetch_archives};
pub use self::delta::DeltaUse;
use self::{
    ahead::{ArchiveUrls, Asked, Claim},
    archive::Wanted,
    got::Got,
};
pub(crate) use self::{carried::Carried, catalog::Listed};
use crate::{
    bittorrent::Swarms,
    client::HttpClient,
    containers::Layers,
    download::DownloadOptions,
    error::{Error, shown},
    gravest::Gravest,
    insecure::Insecure,
    mirrors::Mirrors,
    origin::Origin,
    pages::Pages,
    progress::{NoProgress, Note, Phase, Progress},
    provenance::Provenance,
    pull::{Held, PullPolicy, held},
    retry::RetryPolicy,
    transport::FileTransport,
};

/// No honest signature is larger, in bytes.
const MAX_SIGNATURE: usize = 1 << 20;

/// What a fetch works with.
#[derive(Clone)]
pub struct FetchContext {
    /// Who makes the requests.
    pub client: HttpClient,
    /// Where the images go.
    pub store: Arc<Store>,
    /// Whose signatures count.
    pub keyring: Keyring,
    /// What opens encrypted archives.
    pub secrets: Arc<dyn Secrets>,
    /// What is not checked.
    pub insecure: Insecure,
    /// When the network is asked.
    pub pull: PullPolicy,
    /// How swarms are joined.
    pub swarms: Arc<Swarms>,
    /// How archives are downloaded.
    pub downloads: DownloadOptions,
    /// Who else is asked.
    pub mirrors: Mirrors,
    /// Where discovery's pages are kept, if they are to be kept.
    pub cache: Option<PathBuf>,
    /// How buckets are reached.
    pub buckets: Buckets,
    /// A file with the logins for registries, in the form of Docker's `config.json` (see [`RegistryLogins`]).
    ///
    /// [`RegistryLogins`]: crate::RegistryLogins
    pub registry_logins: Option<PathBuf>,
    /// What becomes of the layers of an image of OCI's or Docker's.
    pub layers: Layers,
    /// Who is told how far it is.
    pub progress: Arc<dyn Progress>,
}

impl FetchContext {
    /// A fetch that checks everything, asks for what is not in the store, opens nothing that is encrypted, keeps no page,
    /// joins swarms by default and tells nobody.
    pub fn new(client: HttpClient, store: Store, keyring: Keyring) -> Self {
        Self {
            client,
            store: Arc::new(store),
            keyring,
            secrets: Arc::new(NoSecrets),
            insecure: Insecure::default(),
            pull: PullPolicy::New,
            swarms: Arc::default(),
            downloads: DownloadOptions::default(),
            mirrors: Mirrors::default(),
            cache: None,
            buckets: Buckets::default(),
            registry_logins: None,
            layers: Layers::Squash,
            progress: Arc::new(NoProgress),
        }
    }
}

/// An image that is in the store now.
#[derive(Clone, Debug)]
pub struct Fetched {
    /// Its ID.
    pub id: ImageId,
    /// How it came there just now, or `None` if it was there before and nobody was asked.
    pub provenance: Option<Provenance>,
}

/// Brings an image into the store, and the images that it depends on before it.
///
/// For a name, its endpoints are tried in the order of discovery until one gives an image that is verified and is what
/// was asked for. If none does, the gravest of their errors is returned: one that tells of an attack is not hidden by
/// one that tells of a broken cable.
pub async fn fetch(reference: &Reference, context: &FetchContext) -> Result<Fetched, Error> {
    let fetcher = Fetcher {
        context,
        pull: context.pull,
        chain: Vec::new(),
        listed: None,
        may_be_expired: false,
        carried: None,
    };
    // What cannot be tidied up is in nobody's way.
    let (downloads, store) = (fetcher.downloads(), context.store.clone());
    let tidy = move || {
        let _ = downloads.tidy();
        let _ = Got::tidy(&downloads, &store);
    };
    blocking(tidy).await;
    let fetched = fetcher.fetch(reference).await;
    context.progress.end();
    fetched
}

/// One fetch, of an image or of one that another depends on.
#[derive(Clone)]
pub(crate) struct Fetcher<'a> {
    pub(crate) context: &'a FetchContext,
    pub(crate) pull: PullPolicy,
    /// The images on the way from the one that was asked for to this one, each depending on the next.
    pub(crate) chain: Vec<(Name, Labels)>,
    /// What a catalog says that the image must be.
    pub(crate) listed: Option<Listed>,
    /// Whether it is done without a catalog where that has expired.
    pub(crate) may_be_expired: bool,
    /// Where archives go, if not into the store.
    pub(crate) carried: Option<&'a Carried>,
}

impl Fetcher<'_> {
    pub(crate) async fn fetch(&self, reference: &Reference) -> Result<Fetched, Error> {
        match reference {
            Reference::Named { name, labels } => {
                self.named(Request::new(name.clone(), labels.clone()), reference).await
            }
            Reference::Id(prefix) => self.in_store(prefix).await,
            Reference::File(path) => self.file(path).await,
            Reference::Url(text) => self.url(text).await,
            Reference::Registry(image) => self.registry(image).await,
            Reference::Layout(location) => self.layout(location).await,
        }
    }

    /// An ID says nothing about where an image lies: it must be here.
    async fn in_store(&self, prefix: &ImageIdPrefix) -> Result<Fetched, Error> {
        let (store, prefix) = (self.context.store.clone(), prefix.clone());
        match blocking(move || store.resolve(&prefix)).await {
            Ok(id) => Ok(Fetched { id, provenance: None }),
            Err(StoreError::NotFound { id }) => Err(Error::NotInStore { reference: id }),
            Err(error) => Err(error.into()),
        }
    }

    async fn named(&self, request: Request, reference: &Reference) -> Result<Fetched, Error> {
        if self.pull != PullPolicy::Update {
            match self.held(&request).await? {
                Held::Usable(id) => return Ok(Fetched { id, provenance: None }),
                Held::Unverified if self.pull == PullPolicy::Never => {
                    return Err(Error::Unverified {
                        reference: reference.to_string(),
                    });
                }
                Held::No if self.pull == PullPolicy::Never => {
                    return Err(Error::NotInStore {
                        reference: reference.to_string(),
                    });
                }
                Held::Unverified | Held::No => {}
            }
        }
        let error = match self.sources(&request, reference).await {
            Ok(fetched) => return Ok(fetched),
            Err(error) => error,
        };
        // Only when nobody has a better one.
        match error.expired_catalog() {
            Some((prefix, expired)) if self.may_do_without(&request)? => {
                self.context.progress.note(&Note::CatalogExpired {
                    name: request.name(),
                    prefix,
                    expired,
                });
                let fetcher = Fetcher {
                    may_be_expired: true,
                    ..self.clone()
                };
                fetcher.sources(&request, reference).await
            }
            _ => Err(error),
        }
    }

    /// Asks the mirrors of a name, and the name itself, until one gives the image.
    async fn sources(&self, request: &Request, reference: &Reference) -> Result<Fetched, Error> {
        let sources = self.context.mirrors.sources(request.name());
        let mut gravest = Gravest::default();
        for source in &sources {
            let error = match self.source(*source, request, reference).await {
                Ok(fetched) => return Ok(fetched),
                Err(error) => error,
            };
            if sources.len() > 1 {
                self.context.progress.note(&Note::Failed {
                    place: source.map_or(request.name().as_str(), Url::as_str),
                    error: &error,
                });
            }
            gravest.add(error);
        }
        Err(gravest.of(request.name(), sources.len()))
    }

    /// Asks a mirror, or the name itself, where the image is, and fetches it from there.
    async fn source(&self, mirror: Option<&Url>, request: &Request, reference: &Reference) -> Result<Fetched, Error> {
        self.context
            .progress
            .begin(Phase::Discovering, request.name().as_str(), None);
        let origin = Arc::new(match mirror {
            Some(base) => Origin::of_url(base),
            None => Origin::of_name(request.name()),
        });
        let pages = Pages::new(&self.context.client, &origin)
            .of_mirror(mirror)
            .cached(self.context.cache.as_deref());
        // A range is no part of a URL.
        let any = request.any_version();
        let is_range = matches!(request.range(), Ok(Some(_)));
        let asked = if is_range { &any } else { request };
        let discovery = discover(&pages, asked, &self.discovery_options()).await?;
        let Some((exact, listed)) = self.listed(request, &discovery, &origin).await? else {
            return self.endpoints(&discovery.endpoints, &origin, request, reference).await;
        };
        let fetcher = Fetcher {
            listed: Some(listed),
            ..self.clone()
        };
        let endpoints = discovery.endpoints_for(&exact);
        fetcher.endpoints(&endpoints, &origin, &exact, reference).await
    }

    async fn url(&self, text: &str) -> Result<Fetched, Error> {
        if text.starts_with("magnet:") {
            return self.magnet(text).await;
        }
        let url = Url::parse(text).map_err(|source| Error::Url {
            text: text.to_owned(),
            source,
        })?;
        if url.scheme() == "file"
            && let Ok(path) = url.to_file_path()
        {
            return self.file(&path).await;
        }
        if torrent::is_torrent(&url) {
            return self.torrent_url(url).await;
        }
        let reference = shown(&url);
        if self.pull != PullPolicy::Update
            && let Some(got) = Got::read(&self.downloads(), &reference)
            && self.is_usable(&got).await?
        {
            let id = got.image;
            return Ok(Fetched { id, provenance: None });
        }
        if self.pull == PullPolicy::Never {
            return Err(Error::NotInStore { reference });
        }
        let origin = Arc::new(Origin::of_url(&url));
        let patience = self.context.downloads.retry.clone();
        let mut signature_url = url.clone();
        signature_url.set_path(&format!("{}.asc", url.path()));
        let urls = ArchiveUrls {
            archive: &url,
            signature: &signature_url,
            origin: &origin,
            patience: &patience,
        };
        let Asked {
            signature,
            transport,
            claim,
        } = self.ask(None, &urls).await?;
        if let Some(signature) = &signature {
            self.may_verify_some(signature, &reference).await?;
        }
        let wanted = Wanted {
            signature,
            request: None,
            reference,
            discovered_by: None,
            claim,
        };
        self.archive(&*transport, wanted, &patience).await
    }

    async fn file(&self, path: &Path) -> Result<Fetched, Error> {
        if path.extension().is_some_and(|extension| extension == "torrent") {
            return self.torrent_file(path).await;
        }
        let mut signature_path = path.as_os_str().to_owned();
        signature_path.push(".asc");
        let signature_path = Path::new(&signature_path);
        let archive = path.display().to_string();
        let signature = if self.context.insecure.image {
            None
        } else {
            match tokio::fs::File::open(signature_path).await {
                Ok(file) => {
                    let mut bytes = Vec::new();
                    let read = file.take(MAX_SIGNATURE as u64 + 1).read_to_end(&mut bytes).await;
                    read.map_err(|source| Error::Read {
                        path: signature_path.to_owned(),
                        source,
                    })?;
                    Some(bytes)
                }
                Err(source) if source.kind() == std::io::ErrorKind::NotFound && path.exists() => {
                    return Err(Error::NotSigned {
                        archive,
                        signature: signature_path.display().to_string(),
                    });
                }
                Err(source) if source.kind() == std::io::ErrorKind::NotFound => {
                    return Err(Error::Read {
                        path: path.to_owned(),
                        source,
                    });
                }
                Err(source) => {
                    return Err(Error::Read {
                        path: signature_path.to_owned(),
                        source,
                    });
                }
            }
        };
        let wanted = Wanted {
            signature,
            request: None,
            reference: archive,
            discovered_by: None,
            claim: Claim::default(),
        };
        self.archive(&FileTransport::new(path), wanted, &RetryPolicy::once())
            .await
    }

    /// The signature at `url` of what is at `archive`, or none, where none is asked for.
    async fn signature(
        &self,
        url: &Url,
        archive: &Url,
        origin: &Origin,
        patience: &RetryPolicy,
    ) -> Result<Option<Vec<u8>>, Error> {
        if self.context.insecure.image {
            return Ok(None);
        }
        let signature = self.signature_at(url, origin, patience).await?;
        if signature.is_none() {
            // An unsigned archive is another matter than none at all.
            self.context.client.get(archive, origin).await?.check(archive)?;
            return Err(Error::NotSigned {
                archive: shown(archive),
                signature: shown(url),
            });
        }
        Ok(signature)
    }

    /// The signature at `url`, if there is one.
    async fn signature_at(&self, url: &Url, origin: &Origin, patience: &RetryPolicy) -> Result<Option<Vec<u8>>, Error> {
        self.context.progress.begin(Phase::Signature, &shown(url), None);
        let client = &self.context.client;
        let answer = client
            .get_small_by(url, origin, MAX_SIGNATURE, HeaderMap::new(), patience)
            .await?;
        if matches!(answer.status, 404 | 410) {
            return Ok(None);
        }
        answer.check(url)?;
        if answer.body.len() > MAX_SIGNATURE {
            return Err(Error::TooLarge {
                url: shown(url),
                most: MAX_SIGNATURE,
                what: "signature",
            });
        }
        Ok(Some(answer.body))
    }

    /// Fails before a long download where the signature cannot count.
    async fn may_verify(&self, request: &Request, signature: &[u8], archive: &Url) -> Result<(), Error> {
        let (keyring, name, signature) = (
            self.context.keyring.clone(),
            request.name().clone(),
            signature.to_owned(),
        );
        let asked = blocking(move || Signature::parse(&signature).and_then(|read| keyring.may_verify(&name, &read)));
        asked.await.map_err(|source| Error::NotTrusted {
            archive: shown(archive),
            source: Box::new(source),
        })
    }

    /// The same where the name is known only from the archive.
    async fn may_verify_some(&self, signature: &[u8], archive: &str) -> Result<(), Error> {
        let (keyring, signature) = (self.context.keyring.clone(), signature.to_owned());
        let asked = blocking(move || Signature::parse(&signature).and_then(|read| keyring.may_verify_some(&read)));
        asked.await.map_err(|source| Error::NotTrusted {
            archive: archive.to_owned(),
            source: Box::new(source),
        })
    }

    async fn held(&self, request: &Request) -> Result<Held, Error> {
        let passed_over = self.passed_over(request).await?;
        let (store, request, insecure) = (self.context.store.clone(), request.clone(), self.context.insecure);
        Ok(blocking(move || held(&store, &request, insecure, &passed_over)).await?)
    }

    fn discovery_options(&self) -> Options {
        let mut options = if self.context.client.options().insecure_http {
            Options::insecure_http()
        } else {
            Options::https()
        };
        options.transports.extend([Scheme::S3, Scheme::Gs, Scheme::Az]);
        let at = match self.context.swarms.options().preferred {
            true => 0,
            false => options.transports.len(),
        };
        options.transports.insert(at, Scheme::Bittorrent);
        options
    }
}

/// Runs blocking work on a thread made for it. If it panics, so does the caller.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    finished(spawn_blocking(work).await)
}

/// What blocking work came to.
fn finished<T>(result: Result<T, JoinError>) -> T {
    match result {
        Ok(result) => result,
        Err(error) => std::panic::resume_unwind(error.into_panic()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fetch_can_be_spawned() {
        fn spawnable<F: Future + Send>(_: impl FnOnce(&'static Reference, &'static FetchContext) -> F) {}
        spawnable(fetch);
    }
}
