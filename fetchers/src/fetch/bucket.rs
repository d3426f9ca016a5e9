//! Archives in buckets, and their signatures beside them.

use dhow_discovery::Scheme;
use futures::StreamExt;
use url::Url;

use super::{Fetcher, MAX_SIGNATURE};
use crate::{
    error::{Error, ErrorKind, shown},
    progress::Phase,
    retry::RetryPolicy,
    transport::{Ask, BucketTransport, Transport},
};

impl Fetcher<'_> {
    /// What fetches from a bucket, if the URL is of one.
    pub(super) fn bucket(&self, url: &Url) -> Result<Option<BucketTransport>, Error> {
        match Scheme::from_name(url.scheme()) {
            Some(scheme @ (Scheme::S3 | Scheme::Gs | Scheme::Az)) => {
                let bucket = url.host_str().unwrap_or_default();
                let settings = self.context.buckets.settings(scheme, bucket);
                let settings = settings.map_err(Error::BucketSettings)?;
                let client = self.context.client.clone();
                BucketTransport::new(client, url.clone(), settings).map(Some)
            }
            _ => Ok(None),
        }
    }

    /// The signature at `url` in a bucket, if there is one.
    pub(super) async fn signature_in_bucket(
        &self,
        url: &Url,
        patience: &RetryPolicy,
    ) -> Result<Option<Vec<u8>>, Error> {
        self.context.progress.begin(Phase::Signature, &shown(url), None);
        let transport = self.bucket(url)?.ok_or_else(|| Error::Scheme { url: shown(url) })?;
        let mut failed = 0;
        loop {
            let error = match self.small(&transport, url).await {
                Ok(signature) => return Ok(Some(signature)),
                Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
                Err(error) => error,
            };
            failed += 1;
            match patience.wait(failed, &error) {
                Some(wait) => tokio::time::sleep(wait).await,
                None => return Err(error),
            }
        }
    }

    async fn small(&self, transport: &BucketTransport, url: &Url) -> Result<Vec<u8>, Error> {
        let limit = self.context.client.options().timeouts.small;
        let read = async {
            let mut opened = transport.open(&Ask::whole()).await?;
            let mut bytes = Vec::new();
            while let Some(chunk) = opened.body.next().await {
                bytes.extend_from_slice(&chunk?);
                if bytes.len() > MAX_SIGNATURE {
                    return Err(Error::TooLarge {
                        url: shown(url),
                        most: MAX_SIGNATURE,
                        what: "signature",
                    });
                }
            }
            Ok(bytes)
        };
        let read = tokio::time::timeout(limit, read).await;
        read.unwrap_or_else(|_| Err(Error::TooSlow { url: shown(url), limit }))
    }
}
