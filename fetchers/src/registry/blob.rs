//! [`BlobTransport`]: one blob of a registry.

use std::sync::Arc;

use bytes::Bytes;
use dhow_image::Blob;
use futures::{StreamExt, future::BoxFuture, stream};
use reqwest::header::{ACCEPT_RANGES, CONTENT_RANGE, HeaderMap, RANGE};

use super::session::Registry;
use crate::{
    error::{Error, shown},
    response::HttpResponse,
    transport::{Ask, Opened, Transport, Version},
};

/// Fetches a blob, whose digest is its only version.
#[derive(Clone)]
pub(crate) struct BlobTransport {
    registry: Arc<Registry>,
    blob: Blob,
    lane: u8,
}

impl BlobTransport {
    pub(crate) fn new(registry: Arc<Registry>, blob: Blob) -> Self {
        Self {
            registry,
            blob,
            lane: 0,
        }
    }

    async fn request(&self, ask: &Ask) -> Result<Opened, Error> {
        let mut headers = HeaderMap::new();
        let end = ask.to.map_or(self.blob.size, |to| to.min(self.blob.size));
        let is_part = ask.from > 0 || end < self.blob.size;
        if is_part {
            let range = format!("bytes={}-{}", ask.from, end.saturating_sub(1));
            headers.insert(RANGE, range.parse().expect("numbers are fit for a header"));
        }
        let (url, response) = self.registry.blob(&self.blob, headers, self.lane).await?;
        let (from, to, ranges) = match response.status() {
            206 if is_part && self.is_asked_for(&response, ask.from, end) => (ask.from, end, true),
            206 | 416 if is_part => return Err(Error::Range { url: shown(&url) }),
            401 | 403 => {
                return Err(Error::RegistryLogin {
                    registry: self.registry.place(),
                    problem: format!("it answers with status {}", response.status()),
                });
            }
            _ => {
                response.check(&url)?;
                let ranges = response.header(ACCEPT_RANGES).is_some_and(|unit| unit == "bytes");
                (0, self.blob.size, ranges)
            }
        };
        if let Some(length) = response.length().filter(|length| *length != to - from) {
            return Err(self.wrong(format!("{length} bytes come, where {} should be", to - from)));
        }
        Ok(Opened {
            from,
            size: Some(self.blob.size),
            version: Some(Version::new(self.blob.digest.to_string())),
            ranges,
            shared: response.is_multiplexed(),
            body: self.clone().body(response, from, to).boxed(),
        })
    }

    /// The bytes, as many as there should be.
    fn body(
        self,
        response: HttpResponse,
        from: u64,
        to: u64,
    ) -> impl futures::Stream<Item = Result<Bytes, Error>> + Send {
        stream::try_unfold((response, from), move |(mut response, at)| {
            let this = self.clone();
            async move {
                match response.chunk().await? {
                    Some(bytes) if at + bytes.len() as u64 > to => Err(this.wrong(format!(
                        "more bytes come than the {} that it should have",
                        this.blob.size
                    ))),
                    Some(bytes) => {
                        let at = at + bytes.len() as u64;
                        Ok(Some((bytes, (response, at))))
                    }
                    None if at < to => Err(Error::Truncated {
                        url: shown(&response.url),
                        received: at,
                        source: std::io::ErrorKind::UnexpectedEof.into(),
                    }),
                    None => Ok(None),
                }
            }
        })
    }

    fn is_asked_for(&self, response: &HttpResponse, from: u64, end: u64) -> bool {
        let expected = format!("bytes {from}-{}/{}", end.saturating_sub(1), self.blob.size);
        response.header(CONTENT_RANGE).is_some_and(|range| range == expected)
    }

    fn wrong(&self, problem: String) -> Error {
        self.registry.wrong(&self.blob.digest.to_string(), problem)
    }
}

impl Transport for BlobTransport {
    fn open<'a>(&'a self, ask: &'a Ask) -> BoxFuture<'a, Result<Opened, Error>> {
        Box::pin(self.request(ask))
    }

    fn place(&self) -> String {
        format!("{}@{}", self.registry.place(), self.blob.digest)
    }

    fn is_still<'a>(&'a self, version: &'a Version) -> BoxFuture<'a, Result<bool, Error>> {
        Box::pin(async move { Ok(version.as_str() == self.blob.digest.to_string()) })
    }

    fn beside(&self, lane: u8) -> Option<Box<dyn Transport>> {
        Some(Box::new(Self { lane, ..self.clone() }))
    }
}
