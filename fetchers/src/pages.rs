//! Discovery's pages, over HTTP.

mod cache;

use std::path::Path;

use dhow_discovery::{MAX_PAGE, PageAnswer, PageSource};
use reqwest::header::HeaderMap;
use url::Url;

use self::cache::CachedPage;
use crate::{
    client::HttpClient,
    error::{Error, shown},
    origin::Origin,
};

/// Pages that are asked for on the word of one origin: the host of the name that is looked for, or of its mirror.
pub struct Pages<'a> {
    client: &'a HttpClient,
    origin: &'a Origin,
    mirror: Option<&'a Url>,
    cache: Option<&'a Path>,
}

impl<'a> Pages<'a> {
    /// Pages fetched by `client`.
    pub fn new(client: &'a HttpClient, origin: &'a Origin) -> Self {
        Self {
            client,
            origin,
            mirror: None,
            cache: None,
        }
    }

    /// The same from a mirror: each page lies at its base URL + name.
    #[must_use]
    pub fn of_mirror(self, base: Option<&'a Url>) -> Self {
        Self { mirror: base, ..self }
    }

    /// The same, kept in a directory and used again as HTTP's rules allow (RFC 9111, for a private cache). It is made
    /// when there is something to keep. A client that asks nobody uses them however old they are.
    #[must_use]
    pub fn cached(self, directory: Option<&'a Path>) -> Self {
        Self {
            cache: directory,
            ..self
        }
    }

    async fn ask(&self, url: &Url) -> Result<PageAnswer, Error> {
        self.small(url, MAX_PAGE, false).await
    }

    /// The same of something else that is small: at most so many bytes of it, and one more where there are more. One that
    /// was kept is looked at again, however fresh the server said it was, if `look_again`.
    pub(crate) async fn small(&self, url: &Url, most: usize, look_again: bool) -> Result<PageAnswer, Error> {
        let Some(directory) = self.cache else {
            let answer = self.client.get_small(url, self.origin, most).await?;
            return Ok(PageAnswer {
                status: answer.status,
                url: answer.url,
                body: answer.body,
            });
        };
        // A page that was believed for a reason is believed for the same reason only.
        let key = format!("{url}\n{}", self.client.trusts());
        let cached = CachedPage::read(directory, &key);
        let is_offline = self.client.options().offline;
        if let Some(cached) = &cached
            && (is_offline || (cached.is_fresh() && !look_again))
        {
            return cached.answer();
        }
        if is_offline {
            return Err(Error::Offline { url: shown(url) });
        }
        let conditions = cached.as_ref().map_or_else(HeaderMap::new, CachedPage::conditions);
        let retry = &self.client.options().retry;
        let answer = self
            .client
            .get_small_by(url, self.origin, most, conditions, retry)
            .await?;
        let page = match cached {
            Some(cached) if answer.status == 304 => cached.confirmed(&answer),
            _ => CachedPage::new(answer),
        };
        // A cache that cannot be written to is no reason to fail.
        let _ = page.write(directory, &key);
        page.answer()
    }
}

impl PageSource for Pages<'_> {
    type Error = Error;

    async fn page(&self, url: &Url) -> Result<PageAnswer, Error> {
        match self.mirror {
            None => self.ask(url).await,
            Some(base) => self.ask(&in_mirror(base, url)).await,
        }
    }
}

/// Where a mirror has the page of a name.
fn in_mirror(base: &Url, page: &Url) -> Url {
    let mut url = base.clone();
    let host = page.host_str().unwrap_or_default();
    let path = format!("{}/{host}{}", base.path().trim_end_matches('/'), page.path());
    url.set_path(&path);
    url.set_query(page.query());
    url
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_mirror_has_the_page_at_base_and_name() {
        let page = Url::parse("https://example.com/team/app?ac-discovery=1").unwrap();
        for base in ["https://mirror.example/images", "https://mirror.example/images/"] {
            let url = in_mirror(&Url::parse(base).unwrap(), &page);
            assert_eq!(
                url.as_str(),
                "https://mirror.example/images/example.com/team/app?ac-discovery=1"
            );
        }
    }
}
