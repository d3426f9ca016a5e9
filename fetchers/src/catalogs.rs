//! [`Catalogs`]: the signed lists of what is published, fetched and believed.
//!
//! ```text
//!   links on pages ──► the longest prefix, or the one that was seen before ──► HTTP, cached ──► CatalogMemory ──► Accepted
//!                                      │
//!                                      └── none, where one was seen or is required: an attack, or a broken site
//! ```

use std::path::Path;

use chrono::Utc;
use dhow_discovery::{
    Accepted, CatalogError, CatalogLink, CatalogMemory, Options, Request, SignedCatalog, discover_catalogs,
};
use dhow_image::{Labels, Name};
use dhow_trust::Keyring;
use url::Url;

use crate::{
    client::HttpClient,
    error::{Error, shown},
    gravest::Gravest,
    mirrors::Mirrors,
    origin::Origin,
    pages::Pages,
};

/// Who fetches catalogs, and whom to believe.
#[derive(Clone, Copy)]
pub struct Catalogs<'a> {
    /// Who makes the requests.
    pub client: &'a HttpClient,
    /// Whose signatures count.
    pub keyring: &'a Keyring,
    /// What was believed before.
    pub memory: &'a CatalogMemory,
    /// Where answers are kept, as HTTP's rules allow, if they are to be kept.
    pub cache: Option<&'a Path>,
}

impl Catalogs<'_> {
    /// The catalog that lists a name, wherever its pages or those of its mirrors say that it is. A client that asks nobody
    /// gets the one that was believed last.
    pub async fn find(&self, name: &Name, mirrors: &Mirrors) -> Result<Accepted, Error> {
        if self.client.options().offline {
            let recalled = self.memory.recall_for(name, self.keyring, Utc::now());
            let recalled = recalled.map_err(|source| not_believed("what was kept", source))?;
            return recalled.ok_or_else(|| Error::NoCatalogKept { name: name.clone() });
        }
        let request = Request::new(name.clone(), Labels::default());
        let options = match self.client.options().insecure_http {
            true => Options::insecure_http(),
            false => Options::https(),
        };
        let mut gravest = Gravest::default();
        for mirror in mirrors.sources(name) {
            let origin = match mirror {
                Some(base) => Origin::of_url(base),
                None => Origin::of_name(name),
            };
            let pages = Pages::new(self.client, &origin).of_mirror(mirror).cached(self.cache);
            let found = match discover_catalogs(&pages, &request, &options).await {
                Ok(found) => self.of(name, &found.catalogs, &origin).await,
                Err(error) => Err(error.into()),
            };
            match found {
                Ok(Some(accepted)) => return Ok(accepted),
                Ok(None) => {}
                Err(error) => gravest.add(error),
            }
        }
        Err(gravest.alone())
    }

    /// The catalog that lists a name, by the links on its pages. There is none where there are no links, unless one was
    /// seen before, or the policy of the name asks for one: then that is an error.
    pub async fn of(&self, name: &Name, links: &[CatalogLink], origin: &Origin) -> Result<Option<Accepted>, Error> {
        let seen = self.memory.prefix_of(name);
        let longest = links
            .iter()
            .map(|link| &link.prefix)
            .max_by_key(|prefix| prefix.as_str().len());
        let Some(prefix) = seen.as_ref().or(longest) else {
            let policy = self.keyring.policy_for(name).map_err(|source| Error::NotTrusted {
                archive: name.to_string(),
                source: Box::new(source),
            })?;
            return match policy.is_some_and(|placed| placed.policy.catalog_required) {
                true => Err(Error::CatalogRequired { name: name.clone() }),
                false => Ok(None),
            };
        };
        let mut gravest = Gravest::default();
        for link in links.iter().filter(|link| link.prefix == *prefix) {
            match self.at(name, link, origin).await {
                Ok(accepted) => return Ok(Some(accepted)),
                Err(error) => gravest.add(error),
            }
        }
        match gravest.found() {
            // That it is not there any more is no news to believe.
            Some(Error::NotFound { .. }) | None if seen.is_some() => Err(Error::CatalogMissing {
                prefix: prefix.clone(),
                name: name.clone(),
            }),
            Some(error) => Err(error),
            None => unreachable!("a prefix that was not seen before is that of a link"),
        }
    }

    async fn at(&self, name: &Name, link: &CatalogLink, origin: &Origin) -> Result<Accepted, Error> {
        match self.accept(name, link, origin, false).await {
            // What is kept here may have been replaced on the server, whatever that said then.
            Err(Error::Catalog { source, .. }) if matches!(*source, CatalogError::Expired { .. }) => {
                self.accept(name, link, origin, true).await
            }
            outcome => outcome,
        }
    }

    async fn accept(
        &self,
        name: &Name,
        link: &CatalogLink,
        origin: &Origin,
        look_again: bool,
    ) -> Result<Accepted, Error> {
        let answer = Pages::new(self.client, origin)
            .cached(self.cache)
            .small(&link.url, SignedCatalog::MAX_SIZE, look_again)
            .await?;
        match answer.status {
            200..300 => {}
            404 | 410 => {
                return Err(Error::NotFound {
                    url: shown(&link.url),
                    status: answer.status,
                });
            }
            status => {
                return Err(Error::Status {
                    url: shown(&link.url),
                    status,
                    retry_after: None,
                });
            }
        }
        let (memory, keyring) = (self.memory.clone(), self.keyring.clone());
        let (name, prefix) = (name.clone(), link.prefix.clone());
        let accept = move || memory.accept_for(&name, &answer.body, &prefix, &keyring, Utc::now());
        let accepted = tokio::task::spawn_blocking(accept).await;
        let accepted = accepted.expect("reading a catalog does not panic");
        accepted.map_err(|source| not_believed_at(&link.url, source))
    }
}

fn not_believed_at(url: &Url, source: CatalogError) -> Error {
    not_believed(&shown(url), source)
}

pub(crate) fn not_believed(place: &str, source: CatalogError) -> Error {
    Error::Catalog {
        place: place.to_owned(),
        source: Box::new(source),
    }
}
