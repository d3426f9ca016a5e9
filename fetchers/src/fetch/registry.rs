//! Images of registries: pulled blob by blob, and made images of the store.
//!
//! Nobody signs them in a way that a keyring could judge, so they come in only where the user asks for no signature.
//! What is checked is that every byte has the digest by which the registry, or the user, named it.

use std::sync::Arc;

use dhow_image::{Blob, ImageLocation, ImagePull, Name, Needed, RegistryReference};
use tempfile::TempDir;
use url::Url;

use super::{Fetched, Fetcher, blocking, got::Got};
use crate::{
    containers::{Pulled, take_in},
    download::{DownloadOptions, Downloader, Downloads},
    error::{Error, ErrorKind, shown},
    gravest::Gravest,
    progress::{Note, Phase},
    pull::PullPolicy,
    registry::{BlobCache, BlobTransport, Document, Registry, RegistryLogins},
    retry::RetryPolicy,
    transport::Version,
};

impl Fetcher<'_> {
    pub(super) async fn registry(&self, image: &RegistryReference) -> Result<Fetched, Error> {
        let (reference, downloads) = (image.to_string(), self.downloads());
        if self.pull != PullPolicy::Update
            && let Some(got) = self.pulled_before(&downloads, &reference).await?
        {
            return Ok(got);
        }
        if self.pull == PullPolicy::Never {
            return Err(Error::NotInStore { reference });
        }
        if !self.context.insecure.image {
            return Err(Error::NeverSigned { image: reference });
        }
        let mut has_waited = false;
        let waiting = || {
            has_waited = true;
            self.context.progress.note(&Note::Waiting { place: &reference });
        };
        let claimed = downloads.claim(&reference, None, waiting).await?;
        let claimed = claimed.expect("nobody's patience ends");
        // Nothing is written there: it keeps others from pulling the same beside us.
        let pulled = self.pull_claimed(image, &reference, &downloads, has_waited).await;
        claimed.discard()?;
        pulled
    }

    async fn pull_claimed(
        &self,
        image: &RegistryReference,
        reference: &str,
        downloads: &Downloads,
        has_waited: bool,
    ) -> Result<Fetched, Error> {
        if has_waited
            && self.pull != PullPolicy::Update
            && let Some(got) = self.pulled_before(downloads, reference).await?
        {
            return Ok(got);
        }
        let logins = Arc::new(match &self.context.registry_logins {
            Some(path) => RegistryLogins::read(path)?,
            None => RegistryLogins::default(),
        });
        let places = self.places(image)?;
        let mut failed = Gravest::default();
        for base in &places {
            let error = match self.pull_from(base, image, reference, downloads, &logins).await {
                Ok(fetched) => return Ok(fetched),
                Err(error) => error,
            };
            if places.len() > 1 {
                self.context.progress.note(&Note::Failed {
                    place: &shown(base),
                    error: &error,
                });
            }
            failed.add(error);
        }
        Err(failed.alone())
    }

    /// The image that this reference meant before, if it may be used.
    async fn pulled_before(&self, downloads: &Downloads, reference: &str) -> Result<Option<Fetched>, Error> {
        match Got::read(downloads, reference) {
            Some(got) if self.is_usable(&got).await? => Ok(Some(Fetched {
                id: got.image,
                provenance: None,
            })),
            _ => Ok(None),
        }
    }

    /// The mirrors that were named for the registry, and itself.
    fn places(&self, image: &RegistryReference) -> Result<Vec<Url>, Error> {
        let text = format!("https://{}/", image.host());
        let own = Url::parse(&text).map_err(|source| Error::Url { text, source })?;
        // A host with a port is no name, and has no mirrors.
        let name = Name::new(format!("{}/{}", image.host(), image.repository()));
        let mirrors = name.map(|name| self.context.mirrors.of_registry(&name));
        let mirrors = mirrors.unwrap_or_else(|_| vec![None]);
        Ok(mirrors
            .into_iter()
            .map(|mirror| mirror.unwrap_or_else(|| own.clone()))
            .collect())
    }

    /// Pulls from one place: over plain HTTP, where that is permitted and there is nothing else.
    async fn pull_from(
        &self,
        base: &Url,
        image: &RegistryReference,
        reference: &str,
        downloads: &Downloads,
        logins: &Arc<RegistryLogins>,
    ) -> Result<Fetched, Error> {
        let patience = &self.context.downloads.retry;
        if base.scheme() != "https" || !self.context.client.options().insecure_http {
            return self.pull(base, image, reference, downloads, logins, patience).await;
        }
        let once = RetryPolicy::once();
        match self.pull(base, image, reference, downloads, logins, &once).await {
            Err(Error::Request { .. }) => {
                let mut plain = base.clone();
                plain.set_scheme("http").expect("HTTPS can become HTTP");
                self.pull(&plain, image, reference, downloads, logins, patience).await
            }
            result => result,
        }
    }

    async fn pull(
        &self,
        base: &Url,
        image: &RegistryReference,
        reference: &str,
        downloads: &Downloads,
        logins: &Arc<RegistryLogins>,
        patience: &RetryPolicy,
    ) -> Result<Fetched, Error> {
        let registry = Arc::new(Registry::new(
            self.context.client.clone(),
            base.clone(),
            image.repository(),
            logins.clone(),
            patience.clone(),
        ));
        self.context.progress.begin(Phase::Manifest, &registry.place(), None);
        let first = match image.digest() {
            Some(digest) => registry.by_digest(digest, None).await?,
            None => registry.tagged(image.tag()).await?,
        };
        let version = Version::new(first.digest.to_string());
        if let Some(got) = Got::read(downloads, reference)
            && got.version.as_ref() == Some(&version)
            && self.is_usable(&got).await?
        {
            return Ok(Fetched {
                id: got.image,
                provenance: None,
            });
        }
        let (pull, manifest, blobs) = self.documents(&registry, image, first, reference).await?;
        let cache = BlobCache::new(self.context.store.root());
        for blob in &blobs {
            self.blob(&registry, blob, &cache, downloads).await?;
        }
        let pulled = Pulled {
            place: registry.place(),
            reference: reference.to_owned(),
            digest: Some(version.as_str().to_owned()),
        };
        let taken = self.convert(&cache, &pull, &manifest, pulled, image).await;
        if let Err(error) = &taken
            && error.kind() == ErrorKind::Corrupt
        {
            // Whatever is wrong with them, they are not used again.
            cache.forget(&blobs);
        }
        let fetched = taken?;
        Got::new(reference.to_owned(), Some(version), None, fetched.id).write(downloads)?;
        cache.tidy();
        Ok(fetched)
    }

    /// From the first document to the manifest, and what it needs.
    async fn documents(
        &self,
        registry: &Registry,
        image: &RegistryReference,
        first: Document,
        reference: &str,
    ) -> Result<(ImagePull, Document, Vec<Blob>), Error> {
        let mut pull = ImagePull::new(image.image_name(), image.platform().cloned());
        let mut document = first;
        loop {
            let needed = pull.read(&document.digest, &document.json);
            match needed.map_err(|source| Error::convert(reference, source))? {
                Needed::Document(inner) => document = registry.by_digest(&inner.digest, Some(inner.size)).await?,
                Needed::Blobs(blobs) => return Ok((pull, document, blobs)),
            }
        }
    }

    /// Sees to it that a blob is in the cache. Who shares it with another image, or was killed, does not fetch it again.
    async fn blob(
        &self,
        registry: &Arc<Registry>,
        blob: &Blob,
        cache: &BlobCache,
        downloads: &Downloads,
    ) -> Result<(), Error> {
        if cache.has(blob) {
            return Ok(());
        }
        let transport = BlobTransport::new(registry.clone(), blob.clone());
        let key = blob.digest.to_string();
        let waiting = || self.context.progress.note(&Note::Waiting { place: &key });
        let mut partial = (downloads.claim(&key, None, waiting).await?).expect("nobody's patience ends");
        // Whoever was waited for may have brought it.
        if cache.has(blob) {
            return partial.discard();
        }
        let options = DownloadOptions {
            largest: blob.size,
            ..self.context.downloads.clone()
        };
        let downloader = Downloader::new(&options, &*self.context.progress);
        downloader.download(&transport, &mut partial).await?;
        let (cache, wanted, path) = (cache.clone(), blob.clone(), partial.path().to_owned());
        let adopted = blocking(move || cache.adopt(&wanted, &path)).await;
        partial.discard()?;
        adopted
            .map_err(Error::Temporary)?
            .map_err(|found| registry.wrong(&key, format!("its content has the digest {found}")))
    }

    async fn convert(
        &self,
        cache: &BlobCache,
        pull: &ImagePull,
        manifest: &Document,
        pulled: Pulled,
        image: &RegistryReference,
    ) -> Result<Fetched, Error> {
        let index = pull.layout_index(&manifest.digest, &manifest.json);
        let (cache, tmp) = (cache.clone(), self.context.store.tmp_dir());
        let (digest, json) = (manifest.digest.clone(), manifest.json.clone());
        let layout = move || -> std::io::Result<TempDir> {
            cache.write(&digest, &json)?;
            cache.layout(&tmp, &index)
        };
        let layout = blocking(layout).await.map_err(Error::Temporary)?;
        let location = ImageLocation::OciLayout {
            path: layout.path().to_owned(),
            tag: None,
        };
        let (context, platform) = (self.context.clone(), image.platform().cloned());
        let (id, provenance) = blocking(move || take_in(&location, platform.as_ref(), &pulled, &context)).await?;
        Ok(Fetched {
            id,
            provenance: Some(provenance),
        })
    }

    /// An image of OCI's or Docker's on this machine.
    pub(super) async fn layout(&self, location: &ImageLocation) -> Result<Fetched, Error> {
        let reference = location.to_string();
        if !self.context.insecure.image {
            return Err(Error::NeverSigned { image: reference });
        }
        let pulled = Pulled {
            place: reference.clone(),
            reference,
            digest: None,
        };
        let (location, context) = (location.clone(), self.context.clone());
        let (id, provenance) = blocking(move || take_in(&location, None, &pulled, &context)).await?;
        Ok(Fetched {
            id,
            provenance: Some(provenance),
        })
    }
}
