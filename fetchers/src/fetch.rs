//! [`fetch`]: from a reference to an image in the store.

use std::{path::Path, sync::Arc};

use dhow_discovery::{Endpoint, Options, Request, Scheme, discover};
use dhow_image::{ImageId, ImageIdPrefix, Labels, Name, Reference};
use dhow_store::{Store, StoreError};
use dhow_trust::{Keyring, Secrets, Signature};
use tempfile::NamedTempFile;
use tokio::{io::AsyncReadExt, task::spawn_blocking};
use url::Url;

use crate::{
    client::HttpClient,
    error::{Error, shown},
    ingest::{Fetchling, Means},
    insecure::Insecure,
    origin::Origin,
    pages::Pages,
    progress::{Phase, Progress},
    provenance::Provenance,
    pull::{Held, PullPolicy, held},
    transport::{FileTransport, HttpsTransport, Partial, Transport, check_status},
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
    /// Who is told how far it is.
    pub progress: Arc<dyn Progress>,
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
    };
    let fetched = fetcher.fetch(reference).await;
    context.progress.end();
    fetched
}

/// One fetch, of an image or of one that another depends on.
pub(crate) struct Fetcher<'a> {
    pub(crate) context: &'a FetchContext,
    pub(crate) pull: PullPolicy,
    /// The images on the way from the one that was asked for to this one, each depending on the next.
    pub(crate) chain: Vec<(Name, Labels)>,
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
        self.context
            .progress
            .begin(Phase::Discovering, request.name().as_str(), None);
        let origin = Origin::of_name(request.name());
        let options = self.discovery_options();
        let discovery = discover(&Pages::new(&self.context.client, &origin), &request, &options).await?;

        let count = discovery.endpoints.len();
        let mut gravest: Option<Error> = None;
        for endpoint in &discovery.endpoints {
            match self.endpoint(endpoint, &origin, &request, reference).await {
                Ok(fetched) => return Ok(fetched),
                Err(error) if gravest.as_ref().is_none_or(|other| error.gravity() > other.gravity()) => {
                    gravest = Some(error);
                }
                Err(_) => {}
            }
        }
        let gravest = gravest.expect("discovery without an error gives at least one endpoint");
        match count {
            1 => Err(gravest),
            _ => Err(Error::Endpoints {
                name: request.name().clone(),
                count,
                source: Box::new(gravest),
            }),
        }
    }

    async fn endpoint(
        &self,
        endpoint: &Endpoint,
        origin: &Origin,
        request: &Request,
        reference: &Reference,
    ) -> Result<Fetched, Error> {
        let signature = self.signature(&endpoint.signature, &endpoint.archive, origin).await?;
        if let Some(signature) = &signature {
            self.may_verify(request, signature, &endpoint.archive).await?;
        }
        let transport = match endpoint.scheme {
            Scheme::Https | Scheme::Http => HttpsTransport::new(&self.context.client, &endpoint.archive, origin),
            _ => {
                return Err(Error::Scheme {
                    url: shown(&endpoint.archive),
                });
            }
        };
        let template = Some(endpoint.template.to_string());
        self.archive(
            &transport,
            signature,
            Some(request.clone()),
            reference.to_string(),
            template,
        )
        .await
    }

    async fn url(&self, text: &str) -> Result<Fetched, Error> {
        let url = Url::parse(text).map_err(|source| Error::Url {
            text: text.to_owned(),
            source,
        })?;
        if url.scheme() == "file"
            && let Ok(path) = url.to_file_path()
        {
            return self.file(&path).await;
        }
        let reference = shown(&url);
        if self.pull == PullPolicy::Never {
            return Err(Error::NotInStore { reference });
        }
        let origin = Origin::of_url(&url);
        let mut signature_url = url.clone();
        signature_url.set_path(&format!("{}.asc", url.path()));
        let signature = self.signature(&signature_url, &url, &origin).await?;
        // For which name it must count is known only from the archive; that it is one at all, now.
        if let Some(Err(source)) = signature.as_deref().map(Signature::parse) {
            return Err(Error::NotTrusted {
                archive: reference,
                source: Box::new(source),
            });
        }
        let transport = HttpsTransport::new(&self.context.client, &url, &origin);
        self.archive(&transport, signature, None, reference, None).await
    }

    async fn file(&self, path: &Path) -> Result<Fetched, Error> {
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
        self.archive(&FileTransport::new(path), signature, None, archive, None)
            .await
    }

    /// The signature at `url` of what is at `archive`, or none, where none is asked for.
    async fn signature(&self, url: &Url, archive: &Url, origin: &Origin) -> Result<Option<Vec<u8>>, Error> {
        if self.context.insecure.image {
            return Ok(None);
        }
        self.context.progress.begin(Phase::Signature, &shown(url), None);
        let (status, _, signature) = self.context.client.get_small(url, origin, MAX_SIGNATURE).await?;
        if matches!(status, 404 | 410) {
            // An unsigned archive is another matter than none at all.
            let response = self.context.client.get(archive, origin).await?;
            check_status(archive, response.status())?;
            return Err(Error::NotSigned {
                archive: shown(archive),
                signature: shown(url),
            });
        }
        check_status(url, status)?;
        if signature.len() > MAX_SIGNATURE {
            return Err(Error::TooLarge {
                url: shown(url),
                most: MAX_SIGNATURE,
                what: "signature",
            });
        }
        Ok(Some(signature))
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

    /// Downloads, verifies, fetches what it depends on, stores.
    async fn archive(
        &self,
        transport: &impl Transport,
        signature: Option<Vec<u8>>,
        request: Option<Request>,
        reference: String,
        discovered_by: Option<String>,
    ) -> Result<Fetched, Error> {
        let store = self.context.store.clone();
        let in_store = move || tempfile::Builder::new().prefix("fetch-").tempfile_in(store.tmp_dir());
        let file: NamedTempFile = blocking(in_store).await.map_err(Error::Temporary)?;
        let mut partial = Partial::new(tokio::fs::File::from_std(file.reopen().map_err(Error::Temporary)?));
        self.download(transport, &mut partial).await?;
        drop(partial);

        let fetchling = Fetchling {
            file,
            place: transport.place(),
            reference,
            discovered_by,
        };
        let context = self.context.clone();
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

    /// Downloads, and goes on after an interruption as long as that brings more than all attempts before.
    async fn download(&self, transport: &impl Transport, partial: &mut Partial) -> Result<(), Error> {
        let mut most = 0;
        loop {
            match transport.fetch(partial, &*self.context.progress).await {
                Ok(_) => return Ok(()),
                Err(Error::Truncated { .. } | Error::Range { .. }) if partial.received() > most => {
                    most = partial.received();
                }
                Err(error) => return Err(error),
            }
        }
    }

    async fn held(&self, request: &Request) -> Result<Held, Error> {
        let (store, request, insecure) = (self.context.store.clone(), request.clone(), self.context.insecure);
        Ok(blocking(move || held(&store, &request, insecure)).await?)
    }

    fn discovery_options(&self) -> Options {
        if self.context.client.options().insecure_http {
            Options::insecure_http()
        } else {
            Options::https()
        }
    }
}

/// Runs blocking work on a thread made for it. If it panics, so does the caller.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    match spawn_blocking(work).await {
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
