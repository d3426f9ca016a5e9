//! [`HttpResponse`]: an answer.

use std::time::{Duration, SystemTime};

use bytes::Bytes;
use futures::{StreamExt, stream};
use reqwest::{
    Version,
    header::{CONTENT_ENCODING, HeaderMap, HeaderName, RETRY_AFTER},
};
use tokio::sync::OwnedSemaphorePermit;
use url::Url;

use crate::{
    error::{Error, shown},
    transport::{Body, check_status},
};

/// An answer, its body still to come.
pub struct HttpResponse {
    pub(crate) url: Url,
    received: u64,
    unread: Option<Bytes>,
    response: reqwest::Response,
    /// As long as this is under way, the host has one request less.
    _permit: OwnedSemaphorePermit,
}

/// An answer with all of its body.
#[derive(Clone, Debug)]
pub struct SmallResponse {
    /// HTTP's status code.
    pub status: u16,
    /// Who answered, after all redirects.
    pub url: Url,
    /// The body.
    pub body: Vec<u8>,
    pub(crate) headers: HeaderMap,
}

impl HttpResponse {
    pub(crate) fn new(url: Url, response: reqwest::Response, permit: OwnedSemaphorePermit) -> Self {
        Self {
            url,
            received: 0,
            unread: None,
            response,
            _permit: permit,
        }
    }

    /// Who answered, after all redirects.
    pub fn url(&self) -> &Url {
        &self.url
    }

    /// HTTP's status code.
    pub fn status(&self) -> u16 {
        self.response.status().as_u16()
    }

    /// How many bytes the body has, if the server says so.
    pub fn length(&self) -> Option<u64> {
        self.response.content_length()
    }

    /// A header, if it is there and is plain text.
    pub(crate) fn header(&self, name: HeaderName) -> Option<&str> {
        self.response.headers().get(name)?.to_str().ok()
    }

    /// Whether other answers come by the same connection, between the frames of this one.
    pub(crate) fn is_multiplexed(&self) -> bool {
        self.response.version() == Version::HTTP_2
    }

    /// Fails unless there is a body that is the thing itself.
    pub(crate) fn check(&self, url: &Url) -> Result<(), Error> {
        check_status(url, self.status(), retry_after(self.response.headers()))
    }

    /// The next bytes of the body. `None` is its end: a body that stops before is an error.
    pub async fn chunk(&mut self) -> Result<Option<Bytes>, Error> {
        if let Some(unread) = self.unread.take() {
            return Ok(Some(unread));
        }
        match self.response.chunk().await {
            Ok(chunk) => {
                self.received += chunk.as_ref().map_or(0, |chunk| chunk.len() as u64);
                Ok(chunk)
            }
            Err(source) => Err(Error::Truncated {
                url: shown(&self.url),
                received: self.received,
                source: std::io::Error::other(source.without_url()),
            }),
        }
    }

    /// The chunks of the body. They are kept as they travel, even where a server believes that a gzip'd archive is a tar
    /// with a content encoding: the signature tells what is right.
    pub(crate) fn into_body(self) -> Body {
        let chunks = stream::try_unfold(self, |mut response| async move {
            let chunk = response.chunk().await?;
            Ok(chunk.map(|chunk| (chunk, response)))
        });
        chunks.boxed()
    }

    /// Throws the first bytes of the body away.
    pub(crate) async fn skip(&mut self, mut count: u64) -> Result<(), Error> {
        while count > 0
            && let Some(mut chunk) = self.chunk().await?
        {
            let skipped = usize::try_from(count).map_or(chunk.len(), |count| count.min(chunk.len()));
            self.unread = Some(chunk.split_off(skipped)).filter(|rest| !rest.is_empty());
            count -= skipped as u64;
        }
        Ok(())
    }

    /// Whether the body is compressed for its journey, though no server was asked to.
    pub fn is_encoded(&self) -> bool {
        let encoding = self.response.headers().get(CONTENT_ENCODING);
        encoding.is_some_and(|encoding| !encoding.as_bytes().eq_ignore_ascii_case(b"identity"))
    }
}

impl SmallResponse {
    pub(crate) fn new(response: HttpResponse, body: Vec<u8>) -> Self {
        Self {
            status: response.status(),
            url: response.url,
            body,
            headers: response.response.headers().clone(),
        }
    }

    /// Fails unless the body is the thing itself.
    pub(crate) fn check(&self, url: &Url) -> Result<(), Error> {
        check_status(url, self.status, retry_after(&self.headers))
    }
}

/// After how long a server wants to be asked again: seconds, or a date (RFC 9110, "Retry-After").
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let text = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    match text.parse() {
        Ok(seconds) => Some(Duration::from_secs(seconds)),
        Err(_) => {
            let date = httpdate::parse_http_date(text).ok()?;
            Some(date.duration_since(SystemTime::now()).unwrap_or_default())
        }
    }
}
