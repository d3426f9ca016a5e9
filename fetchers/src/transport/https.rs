//! HTTPS, and plain HTTP where the client permits it.

use reqwest::header::{CONTENT_RANGE, ETAG, HeaderMap, HeaderValue, IF_RANGE, LAST_MODIFIED, RANGE};
use url::Url;

use super::{Download, Partial, Transport};
use crate::{
    client::HttpClient,
    error::{Error, shown},
    origin::Origin,
    progress::{Phase, Progress},
    response::HttpResponse,
};

/// Fetches one URL.
pub struct HttpsTransport<'a> {
    client: &'a HttpClient,
    url: &'a Url,
    origin: &'a Origin,
}

impl<'a> HttpsTransport<'a> {
    /// Fetches `url` on the word of `origin`.
    pub fn new(client: &'a HttpClient, url: &'a Url, origin: &'a Origin) -> Self {
        Self { client, url, origin }
    }
}

impl Transport for HttpsTransport<'_> {
    async fn fetch(&self, partial: &mut Partial, progress: &dyn Progress) -> Result<Download, Error> {
        let range = range(partial);
        let asks_for_rest = !range.is_empty();
        let mut response = self.client.get_with(self.url, self.origin, range).await?;
        match response.status() {
            206 if asks_for_rest => {
                if !begins_at(&response, partial.received()) {
                    // What the server would send does not fit: the next attempt begins anew.
                    partial.restart(None).await?;
                    return Err(Error::Range { url: shown(self.url) });
                }
            }
            416 if asks_for_rest => {
                partial.restart(None).await?;
                return Err(Error::Range { url: shown(self.url) });
            }
            // To a server that knows no ranges, or has another version now, the range says nothing.
            status => {
                check_status(self.url, status)?;
                partial.restart(validator(&response)).await?;
            }
        }
        let total = response.length().map(|length| partial.received() + length);
        progress.begin(Phase::Archive, &self.place(), total);
        progress.advance(partial.received());
        // A body shorter than its length is an error of the client's. The bytes are kept as they travel, even where a
        // server believes that a gzip'd archive is a tar with a content encoding: the signature tells what is right.
        while let Some(chunk) = response.chunk().await? {
            partial.write(&chunk).await?;
            progress.advance(chunk.len() as u64);
        }
        partial.flush().await?;
        Ok(Download {
            size: partial.received(),
        })
    }

    fn place(&self) -> String {
        shown(self.url)
    }
}

/// Asks for the rest, if it can be told that it belongs to what is here (RFC 9110, "If-Range").
fn range(partial: &Partial) -> HeaderMap {
    let mut headers = HeaderMap::new();
    if partial.received() > 0
        && let Some(validator) = partial
            .validator()
            .and_then(|validator| HeaderValue::from_str(validator).ok())
    {
        let range = HeaderValue::from_str(&format!("bytes={}-", partial.received()));
        headers.insert(RANGE, range.expect("a number is fit for a header"));
        headers.insert(IF_RANGE, validator);
    }
    headers
}

/// What the server calls this version, if it promises that each version is called differently.
fn validator(response: &HttpResponse) -> Option<String> {
    let strong_tag = response.header(ETAG).filter(|tag| tag.starts_with('"'));
    strong_tag.or_else(|| response.header(LAST_MODIFIED)).map(str::to_owned)
}

/// Whether a partial answer is the rest from this byte on, to the very end.
fn begins_at(response: &HttpResponse, from: u64) -> bool {
    let parse = || {
        let (range, total) = response
            .header(CONTENT_RANGE)?
            .strip_prefix("bytes ")?
            .split_once('/')?;
        let (first, last) = range.split_once('-')?;
        let [first, last, total] = [first, last, total].map(|number| number.parse::<u64>().ok());
        Some((first?, last?, total?))
    };
    parse().is_some_and(|(first, last, total)| {
        first == from
            && last.checked_add(1) == Some(total)
            && response.length().is_none_or(|length| from + length == total)
    })
}

/// Turns a status that brings nothing into an error.
pub(crate) fn check_status(url: &Url, status: u16) -> Result<(), Error> {
    match status {
        200 => Ok(()),
        404 | 410 => Err(Error::NotFound {
            url: shown(url),
            status,
        }),
        _ => Err(Error::Status {
            url: shown(url),
            status,
        }),
    }
}
