//! HTTPS, and plain HTTP where the client permits it.

use std::{sync::Arc, time::Duration};

use futures::future::BoxFuture;
use reqwest::header::{
    ACCEPT_RANGES, CONTENT_RANGE, DATE, ETAG, HeaderMap, HeaderValue, IF_NONE_MATCH, IF_RANGE, LAST_MODIFIED, RANGE,
};
use url::Url;

use super::{Ask, Opened, Transport, Version};
use crate::{
    client::HttpClient,
    error::{Error, shown},
    origin::Origin,
    response::HttpResponse,
};

/// Fetches one URL.
#[derive(Clone)]
pub struct HttpsTransport {
    client: HttpClient,
    url: Url,
    origin: Arc<Origin>,
    lane: u8,
}

impl HttpsTransport {
    /// Fetches `url` on the word of `origin`.
    pub fn new(client: HttpClient, url: Url, origin: Arc<Origin>) -> Self {
        Self {
            client,
            url,
            origin,
            lane: 0,
        }
    }

    async fn get(&self, headers: HeaderMap) -> Result<HttpResponse, Error> {
        self.client.get_by(&self.url, &self.origin, headers, self.lane).await
    }

    /// Asks for the whole, unless the host is busy.
    pub(crate) async fn ahead(&self) -> Option<Result<Opened, Error>> {
        let response = self.client.get_ahead(&self.url, &self.origin).await.transpose()?;
        Some(response.and_then(|response| self.opened(&Ask::whole(), false, response)))
    }

    async fn request(&self, ask: &Ask) -> Result<Opened, Error> {
        let headers = range(ask);
        let asks_for_part = headers.contains_key(RANGE);
        let response = self.get(headers).await?;
        self.opened(ask, asks_for_part, response)
    }

    fn opened(&self, ask: &Ask, asks_for_part: bool, response: HttpResponse) -> Result<Opened, Error> {
        let version = version(&response);
        let length = response.length();
        let (from, size, ranges) = match response.status() {
            206 if asks_for_part => {
                let total = content_range(&response, ask).ok_or_else(|| self.not_the_rest())?;
                // It was to send the whole of another version, and did not.
                if version.is_some() && ask.version.is_some() && version != ask.version {
                    return Err(self.not_the_rest());
                }
                (ask.from, total, true)
            }
            416 if asks_for_part => return Err(self.not_the_rest()),
            _ => {
                response.check(&self.url)?;
                let ranges = response.header(ACCEPT_RANGES).is_some_and(|unit| unit == "bytes");
                (0, length, ranges)
            }
        };
        Ok(Opened {
            from,
            size,
            ranges: ranges && version.is_some(),
            version,
            shared: response.is_multiplexed(),
            body: response.into_body(),
        })
    }

    fn not_the_rest(&self) -> Error {
        Error::Range { url: shown(&self.url) }
    }

    async fn is_unchanged(&self, version: &Version) -> Result<bool, Error> {
        let mut headers = range(&Ask {
            to: Some(1),
            ..Ask::default()
        });
        if version.as_str().starts_with('"')
            && let Ok(tag) = HeaderValue::from_str(version.as_str())
        {
            headers.insert(IF_NONE_MATCH, tag);
        }
        let response = self.get(headers).await?;
        match response.status() {
            304 => Ok(true),
            206 => Ok(self::version(&response).as_ref() == Some(version)),
            _ => {
                response.check(&self.url)?;
                Ok(self::version(&response).as_ref() == Some(version))
            }
        }
    }
}

impl Transport for HttpsTransport {
    fn open<'a>(&'a self, ask: &'a Ask) -> BoxFuture<'a, Result<Opened, Error>> {
        Box::pin(self.request(ask))
    }

    fn place(&self) -> String {
        shown(&self.url)
    }

    fn is_still<'a>(&'a self, version: &'a Version) -> BoxFuture<'a, Result<bool, Error>> {
        Box::pin(self.is_unchanged(version))
    }

    fn hang_up(&self) {
        self.client.hang_up();
    }

    fn beside(&self, lane: u8) -> Option<Box<dyn Transport>> {
        Some(Box::new(Self { lane, ..self.clone() }))
    }
}

/// Asks for a part, if it can be told that it belongs to what is here (RFC 9110, "If-Range").
fn range(ask: &Ask) -> HeaderMap {
    let mut headers = HeaderMap::new();
    let range = match ask.to {
        Some(to) if to > ask.from => format!("bytes={}-{}", ask.from, to - 1),
        _ if ask.from > 0 => format!("bytes={}-", ask.from),
        _ => return headers,
    };
    headers.insert(RANGE, range.parse().expect("a number is fit for a header"));
    if let Some(version) = &ask.version
        && let Ok(version) = HeaderValue::from_str(version.as_str())
    {
        headers.insert(IF_RANGE, version);
    }
    headers
}

/// What the server calls this version, if each version is called differently for sure: by a strong entity tag, or by a
/// time that was over when it answered (RFC 9110, "Last-Modified", "Comparison").
fn version(response: &HttpResponse) -> Option<Version> {
    if let Some(tag) = response.header(ETAG) {
        return tag.starts_with('"').then(|| Version::new(tag));
    }
    let modified = response.header(LAST_MODIFIED)?;
    let age = httpdate::parse_http_date(response.header(DATE)?)
        .ok()?
        .duration_since(httpdate::parse_http_date(modified).ok()?)
        .ok()?;
    (age >= Duration::from_secs(1)).then(|| Version::new(modified))
}

/// The size of the whole, if a partial answer is the part that was asked for. Outer `None`: it is not.
fn content_range(response: &HttpResponse, ask: &Ask) -> Option<Option<u64>> {
    let (range, total) = response
        .header(CONTENT_RANGE)?
        .strip_prefix("bytes ")?
        .split_once('/')?;
    let (first, last) = range.split_once('-')?;
    let [first, last, total] = [first, last, total].map(|number| number.parse::<u64>().ok());
    let (first, end, total) = (first?, last?.checked_add(1)?, total?);
    let expected = ask.to.map_or(total, |to| to.min(total));
    let fits = first == ask.from
        && end == expected
        && response
            .length()
            .is_none_or(|length| first.checked_add(length) == Some(end));
    fits.then_some(Some(total))
}

/// Turns a status that brings nothing into an error.
pub(crate) fn check_status(url: &Url, status: u16, retry_after: Option<Duration>) -> Result<(), Error> {
    match status {
        200 => Ok(()),
        404 | 410 => Err(Error::NotFound {
            url: shown(url),
            status,
        }),
        _ => Err(Error::Status {
            url: shown(url),
            status,
            retry_after,
        }),
    }
}
