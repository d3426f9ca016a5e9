//! [`CachedPage`]: a page that was asked for before.
//!
//! A file named by the SHA-256 of what was asked for, in hex: one line of JSON, then the body.

use std::{
    fs, io,
    io::Write,
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

use dhow_discovery::PageAnswer;
use reqwest::header::{
    AGE, CACHE_CONTROL, DATE, ETAG, EXPIRES, HeaderMap, HeaderName, HeaderValue, IF_MODIFIED_SINCE, IF_NONE_MATCH,
    LAST_MODIFIED,
};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use url::Url;

use crate::{
    error::{Error, shown},
    response::SmallResponse,
};

/// However long a server says, a page is looked at again after a week.
const LONGEST: Duration = Duration::from_secs(7 * 24 * 60 * 60);

pub(super) struct CachedPage {
    head: Head,
    body: Vec<u8>,
}

#[derive(Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Head {
    url: String,
    status: u16,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    etag: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    last_modified: Option<String>,
    /// It need not be asked for again before, in seconds since 1970.
    fresh_until: u64,
    may_be_kept: bool,
}

impl CachedPage {
    pub(super) fn new(answer: SmallResponse) -> Self {
        let text = |name: HeaderName| Some(answer.headers.get(name)?.to_str().ok()?.to_owned());
        let head = Head {
            url: answer.url.to_string(),
            status: answer.status,
            etag: text(ETAG),
            last_modified: text(LAST_MODIFIED),
            fresh_until: now() + freshness(&answer.headers).as_secs(),
            // What names no user holds no secret; what failed is asked for again.
            may_be_kept: matches!(answer.status, 200 | 404 | 410)
                && answer.url.username().is_empty()
                && answer.url.password().is_none()
                && !directives(&answer.headers).any(|(name, _)| name == "no-store"),
        };
        Self {
            head,
            body: answer.body,
        }
    }

    /// The server has said that it is still the same.
    pub(super) fn confirmed(self, answer: &SmallResponse) -> Self {
        let fresh_until = now() + freshness(&answer.headers).as_secs();
        Self {
            head: Head {
                fresh_until,
                ..self.head
            },
            body: self.body,
        }
    }

    /// What is there, if it can be read.
    pub(super) fn read(directory: &Path, key: &str) -> Option<Self> {
        let file = fs::read(path(directory, key)).ok()?;
        let end = file.iter().position(|byte| *byte == b'\n')?;
        let head = serde_json::from_slice(&file[..end]).ok()?;
        Some(Self {
            head,
            body: file[end + 1..].to_vec(),
        })
    }

    pub(super) fn write(&self, directory: &Path, key: &str) -> io::Result<()> {
        let path = path(directory, key);
        if !self.head.may_be_kept {
            return match fs::remove_file(path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
                _ => Ok(()),
            };
        }
        fs::create_dir_all(directory)?;
        let mut file = tempfile::NamedTempFile::new_in(directory)?;
        file.write_all(&serde_json::to_vec(&self.head)?)?;
        file.write_all(b"\n")?;
        file.write_all(&self.body)?;
        file.persist(path)?;
        Ok(())
    }

    pub(super) fn is_fresh(&self) -> bool {
        let now = now();
        // A clock that was set back makes nothing fresh for ever.
        (now..=now + LONGEST.as_secs()).contains(&self.head.fresh_until) && self.head.fresh_until > now
    }

    /// What asks for it only if it has changed.
    pub(super) fn conditions(&self) -> HeaderMap {
        let mut headers = HeaderMap::new();
        let mut add = |name, value: &Option<String>| {
            if let Some(value) = value.as_ref().and_then(|value| HeaderValue::from_str(value).ok()) {
                headers.insert(name, value);
            }
        };
        add(IF_NONE_MATCH, &self.head.etag);
        if self.head.etag.is_none() {
            add(IF_MODIFIED_SINCE, &self.head.last_modified);
        }
        headers
    }

    pub(super) fn answer(&self) -> Result<PageAnswer, Error> {
        let url = Url::parse(&self.head.url).map_err(|source| Error::Url {
            text: self.head.url.clone(),
            source,
        })?;
        Ok(PageAnswer {
            status: self.head.status,
            url: Url::parse(&shown(&url)).unwrap_or(url),
            body: self.body.clone(),
        })
    }
}

fn path(directory: &Path, key: &str) -> PathBuf {
    directory.join(hex::encode(Sha256::digest(key)))
}

fn now() -> u64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    since.map_or(0, |since| since.as_secs())
}

/// For how long an answer can be used without asking again (RFC 9111, "Calculating Freshness Lifetime"). Where the
/// server says nothing, nothing is guessed.
fn freshness(headers: &HeaderMap) -> Duration {
    let has = |wanted: &str| directives(headers).any(|(name, _)| name == wanted);
    if has("no-cache") || has("no-store") {
        return Duration::ZERO;
    }
    let text = |name: HeaderName| headers.get(name)?.to_str().ok();
    let date = |name: HeaderName| httpdate::parse_http_date(text(name)?).ok();
    let lifetime = match directives(headers).find(|(name, _)| name == "max-age") {
        Some((_, seconds)) => Duration::from_secs(seconds.parse().unwrap_or(0)),
        None => match (date(EXPIRES), date(DATE)) {
            (Some(expires), sent) => expires
                .duration_since(sent.unwrap_or_else(SystemTime::now))
                .unwrap_or_default(),
            (None, _) => Duration::ZERO,
        },
    };
    let age = text(AGE).and_then(|age| age.parse().ok()).unwrap_or(0);
    lifetime.saturating_sub(Duration::from_secs(age)).min(LONGEST)
}

/// The directives of `Cache-Control`, in lower case, with their values.
fn directives(headers: &HeaderMap) -> impl Iterator<Item = (String, String)> {
    let lines = headers.get_all(CACHE_CONTROL).into_iter();
    let parts = lines
        .filter_map(|line| line.to_str().ok())
        .flat_map(|line| line.split(','));
    parts.map(|part| {
        let (name, value) = part.split_once('=').unwrap_or((part, ""));
        (
            name.trim().to_ascii_lowercase(),
            value.trim().trim_matches('"').to_owned(),
        )
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn freshness_is_what_the_server_says() {
        let sent = ("date", "Mon, 01 Dec 2014 10:00:00 GMT");
        for (headers, seconds) in [
            (vec![], 0),
            (vec![("cache-control", "max-age=60")], 60),
            (vec![("cache-control", "public, Max-Age=60"), ("age", "20")], 40),
            (vec![("cache-control", "max-age=60"), ("age", "100")], 0),
            (vec![("cache-control", "max-age=60, no-cache")], 0),
            (vec![("cache-control", "no-store"), ("cache-control", "max-age=60")], 0),
            (vec![("cache-control", "s-maxage=60")], 0),
            (vec![("cache-control", "max-age=99999999999")], LONGEST.as_secs()),
            (vec![("cache-control", "max-age=soon")], 0),
            (vec![sent, ("expires", "Mon, 01 Dec 2014 10:01:00 GMT")], 60),
            (vec![sent, ("expires", "0")], 0),
            (
                vec![
                    sent,
                    ("expires", "Mon, 01 Dec 2014 10:01:00 GMT"),
                    ("cache-control", "max-age=5"),
                ],
                5,
            ),
        ] {
            let mut map = HeaderMap::new();
            for (name, value) in &headers {
                map.append(HeaderName::from_static(name), value.parse().unwrap());
            }
            assert_eq!(freshness(&map).as_secs(), seconds, "{headers:?}");
        }
    }
}
