//! Torrents: as endpoints of a name, as files, as links.

use std::{path::Path, sync::Arc};

use dhow_discovery::{Endpoint, Request, Scheme};
use dhow_image::Reference;
use dhow_trust::Signature;
use url::Url;

use super::{Fetched, Fetcher, ahead::Claim, archive::Wanted};
use crate::{
    bittorrent::{Magnet, Metainfo},
    error::{Error, shown},
    origin::Origin,
    pull::PullPolicy,
    retry::RetryPolicy,
    transport::SwarmTransport,
};

const SUFFIX: &str = ".torrent";

impl Fetcher<'_> {
    /// The torrent of an endpoint. Others of the same discovery help as origins.
    pub(super) async fn torrent(
        &self,
        endpoint: &Endpoint,
        all: &[Endpoint],
        origin: &Arc<Origin>,
        request: &Request,
        reference: &Reference,
    ) -> Result<Fetched, Error> {
        let unusable = || Error::Scheme {
            url: shown(&endpoint.archive),
        };
        let metainfo = over_https(&endpoint.archive).ok_or_else(unusable)?;
        let archive = without_suffix(&metainfo).ok_or_else(unusable)?;
        let signature = over_https(&endpoint.signature).and_then(|url| without_suffix(&url));
        let signature = signature.ok_or_else(unusable)?;
        let patience = &self.context.downloads.retry;
        let signature = self.signature(&signature, &archive, origin, patience).await?;
        if let Some(signature) = &signature {
            self.may_verify(request, signature, &endpoint.archive).await?;
        }
        let is_web = |endpoint: &&Endpoint| matches!(endpoint.scheme, Scheme::Https | Scheme::Http);
        let web_seeds = all.iter().filter(is_web).map(|endpoint| endpoint.archive.clone());
        let transport = self.swarm_of(metainfo, origin).with_web_seeds(web_seeds.collect());
        let wanted = Wanted {
            signature,
            request: Some(request.clone()),
            reference: reference.to_string(),
            discovered_by: Some(endpoint.template.to_string()),
            claim: Claim::default(),
        };
        self.archive(&transport, wanted, &RetryPolicy::once()).await
    }

    /// A `.torrent` on the web, given by the user. The archive's signature lies beside the archive.
    pub(super) async fn torrent_url(&self, url: Url) -> Result<Fetched, Error> {
        let reference = shown(&url);
        let url = over_https(&url).unwrap_or(url);
        if self.pull == PullPolicy::Never {
            return Err(Error::NotInStore { reference });
        }
        let origin = Arc::new(Origin::of_url(&url));
        let archive = without_suffix(&url).ok_or_else(|| Error::Scheme { url: shown(&url) })?;
        let signature = self.signature_beside(&archive, &origin, &reference).await?;
        self.swarm(self.swarm_of(url, &origin), signature, reference).await
    }

    /// A `.torrent` file.
    pub(super) async fn torrent_file(&self, path: &Path) -> Result<Fetched, Error> {
        let place = path.display().to_string();
        let read = tokio::fs::read(path).await.map_err(|source| Error::Read {
            path: path.to_owned(),
            source,
        })?;
        let metainfo = Metainfo::parse(&read).map_err(|source| Error::Metainfo {
            place: place.clone(),
            source,
        })?;
        let (swarms, client) = (self.context.swarms.clone(), self.context.client.clone());
        let signature = self.signature_of_seeds(metainfo.web_seeds(), &place).await?;
        let transport = SwarmTransport::of_file(swarms, client, place.clone(), metainfo);
        self.swarm(transport, signature, place).await
    }

    /// A magnet link.
    pub(super) async fn magnet(&self, text: &str) -> Result<Fetched, Error> {
        let magnet: Magnet = text.parse()?;
        if self.pull == PullPolicy::Never {
            return Err(Error::NotInStore {
                reference: text.to_owned(),
            });
        }
        let (swarms, client) = (self.context.swarms.clone(), self.context.client.clone());
        let signature = self.signature_of_seeds(magnet.web_seeds(), text).await?;
        let transport = SwarmTransport::of_magnet(swarms, client, magnet);
        self.swarm(transport, signature, text.to_owned()).await
    }

    fn swarm_of(&self, metainfo: Url, origin: &Arc<Origin>) -> SwarmTransport {
        let (swarms, client) = (self.context.swarms.clone(), self.context.client.clone());
        SwarmTransport::of_url(swarms, client, metainfo, origin.clone())
    }

    async fn swarm(
        &self,
        transport: SwarmTransport,
        signature: Option<Vec<u8>>,
        reference: String,
    ) -> Result<Fetched, Error> {
        let wanted = Wanted {
            signature,
            request: None,
            reference,
            discovered_by: None,
            claim: Claim::default(),
        };
        self.archive(&transport, wanted, &RetryPolicy::once()).await
    }

    /// The signature that lies beside the archive on the web. A torrent has none in it.
    async fn signature_of_seeds(&self, web_seeds: &[Url], place: &str) -> Result<Option<Vec<u8>>, Error> {
        if self.context.insecure.image {
            return Ok(None);
        }
        let archive = web_seeds.first().ok_or_else(|| Error::NotSigned {
            archive: place.to_owned(),
            signature: "web seed with a signature beside it".to_owned(),
        })?;
        self.signature_beside(archive, &Origin::of_url(archive), place).await
    }

    async fn signature_beside(&self, archive: &Url, origin: &Origin, place: &str) -> Result<Option<Vec<u8>>, Error> {
        let mut url = archive.clone();
        url.set_path(&format!("{}.asc", archive.path()));
        let patience = self.context.downloads.retry.clone();
        let signature = self.signature(&url, archive, origin, &patience).await?;
        // For which name it must count is known only from the archive; that it is one at all, now.
        match signature.as_deref().map(Signature::parse) {
            Some(Err(source)) => Err(Error::NotTrusted {
                archive: place.to_owned(),
                source: Box::new(source),
            }),
            _ => Ok(signature),
        }
    }
}

/// Whether a URL names metainfo.
pub(super) fn is_torrent(url: &Url) -> bool {
    url.scheme() == "bittorrent" || url.path().ends_with(SUFFIX)
}

/// Metainfo is fetched over HTTPS.
fn over_https(url: &Url) -> Option<Url> {
    let rest = url.as_str().strip_prefix("bittorrent://")?;
    Url::parse(&format!("https://{rest}")).ok()
}

fn without_suffix(url: &Url) -> Option<Url> {
    let mut archive = url.clone();
    archive.set_path(url.path().strip_suffix(SUFFIX)?);
    Some(archive)
}
