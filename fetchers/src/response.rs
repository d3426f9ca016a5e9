//! [`HttpResponse`]: an answer.

use bytes::Bytes;
use reqwest::header::{CONTENT_ENCODING, HeaderName};
use url::Url;

use crate::error::{Error, shown};

/// An answer, its body still to come.
pub struct HttpResponse {
    pub(crate) url: Url,
    received: u64,
    response: reqwest::Response,
}

impl HttpResponse {
    pub(crate) fn new(url: Url, response: reqwest::Response) -> Self {
        Self {
            url,
            received: 0,
            response,
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

    /// The next bytes of the body. `None` is its end: a body that stops before is an error.
    pub async fn chunk(&mut self) -> Result<Option<Bytes>, Error> {
        match self.response.chunk().await {
            Ok(chunk) => {
                self.received += chunk.as_ref().map_or(0, |chunk| chunk.len() as u64);
                Ok(chunk)
            }
            Err(source) => Err(Error::Truncated {
                url: shown(&self.url),
                received: self.received,
                source: source.without_url(),
            }),
        }
    }

    /// Whether the body is compressed for its journey, though no server was asked to.
    pub fn is_encoded(&self) -> bool {
        let encoding = self.response.headers().get(CONTENT_ENCODING);
        encoding.is_some_and(|encoding| !encoding.as_bytes().eq_ignore_ascii_case(b"identity"))
    }
}
