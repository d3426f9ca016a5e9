//! Discovery's pages, over HTTP.

use dhow_discovery::{MAX_PAGE, PageAnswer, PageSource};
use url::Url;

use crate::{client::HttpClient, error::Error, origin::Origin};

/// Pages that are asked for on the word of one origin: the host of the name that is looked for.
pub struct Pages<'a> {
    client: &'a HttpClient,
    origin: &'a Origin,
}

impl<'a> Pages<'a> {
    /// Pages fetched by `client`.
    pub fn new(client: &'a HttpClient, origin: &'a Origin) -> Self {
        Self { client, origin }
    }
}

impl PageSource for Pages<'_> {
    type Error = Error;

    async fn page(&self, url: &Url) -> Result<PageAnswer, Error> {
        let (status, url, body) = self.client.get_small(url, self.origin, MAX_PAGE).await?;
        Ok(PageAnswer { status, url, body })
    }
}
