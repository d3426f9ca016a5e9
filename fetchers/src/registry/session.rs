//! [`Registry`]: one repository of one registry, asked until it answers.

use std::sync::{Arc, Mutex, PoisonError};

use dhow_image::{Blob, BlobDigest, DigestCheck, ImagePull};
use reqwest::header::{ACCEPT, HeaderMap, HeaderName, WWW_AUTHENTICATE};
use serde::Deserialize;
use url::Url;

use super::{challenge::Challenge, logins::RegistryLogins};
use crate::{
    client::HttpClient,
    credentials::{Login, Secret},
    error::{Error, shown},
    origin::Origin,
    response::{HttpResponse, SmallResponse},
    retry::RetryPolicy,
};

/// No honest token is longer, in bytes.
const MAX_TOKEN: usize = 1 << 20;
const CONTENT_DIGEST: HeaderName = HeaderName::from_static("docker-content-digest");

/// A repository, and how one logs in to it.
pub(crate) struct Registry {
    client: HttpClient,
    /// Of the registry or its mirror, without a path.
    base: Url,
    origin: Arc<Origin>,
    repository: String,
    logins: Arc<RegistryLogins>,
    /// What it wanted to see last, so that it need not ask for each blob.
    login: Mutex<Option<Login>>,
    patience: RetryPolicy,
}

/// An index or a manifest, which has the digest that it should have.
pub(crate) struct Document {
    pub(crate) digest: BlobDigest,
    pub(crate) json: Vec<u8>,
}

#[derive(Deserialize)]
struct Token {
    #[serde(default, alias = "access_token")]
    token: String,
}

impl Registry {
    /// The repository of that name at this URL.
    pub(crate) fn new(
        client: HttpClient,
        base: Url,
        repository: &str,
        logins: Arc<RegistryLogins>,
        patience: RetryPolicy,
    ) -> Self {
        Self {
            origin: Arc::new(Origin::of_url(&base)),
            client,
            base,
            repository: repository.to_owned(),
            logins,
            login: Mutex::default(),
            patience,
        }
    }

    /// Host, port and repository.
    pub(crate) fn place(&self) -> String {
        format!("{}/{}", self.host(), self.repository)
    }

    /// The document of this tag.
    pub(crate) async fn tagged(&self, tag: &str) -> Result<Document, Error> {
        let answer = self.document(tag).await?;
        let digest = BlobDigest::of(&answer.body);
        let said = answer.headers.get(CONTENT_DIGEST).and_then(|said| said.to_str().ok());
        if let Some(said) = said.filter(|said| said.starts_with("sha256:"))
            && *said != digest.to_string()
        {
            return Err(self.wrong(tag, format!("its digest is {digest}, where the registry says {said}")));
        }
        Ok(Document {
            digest,
            json: answer.body,
        })
    }

    /// The document that has this digest, and this size if one is given.
    pub(crate) async fn by_digest(&self, digest: &BlobDigest, size: Option<u64>) -> Result<Document, Error> {
        let json = self.document(&digest.to_string()).await?.body;
        if let Some(size) = size.filter(|size| *size != json.len() as u64) {
            let problem = format!("it has {} bytes, where {size} should be", json.len());
            return Err(self.wrong(&digest.to_string(), problem));
        }
        let mut check = DigestCheck::new(digest);
        check.update(&json);
        match check.finish() {
            Ok(()) => Ok(Document {
                digest: digest.clone(),
                json,
            }),
            Err(found) => Err(self.wrong(&digest.to_string(), format!("its content has the digest {found}"))),
        }
    }

    /// Asks for a blob, or a part of it. Any status may come back but that which asks for a login.
    pub(super) async fn blob(&self, blob: &Blob, headers: HeaderMap, lane: u8) -> Result<(Url, HttpResponse), Error> {
        let url = self.url("blobs", &blob.digest.to_string());
        let mut login = self.known_login();
        for is_last in [false, true] {
            let answer = self
                .client
                .get_as(&url, &self.origin, headers.clone(), lane, login.as_ref());
            let answer = answer.await?;
            if answer.status() != 401 || is_last {
                return Ok((url, answer));
            }
            let challenge = answer.header(WWW_AUTHENTICATE).map(str::to_owned);
            login = Some(self.answer(&answer.url, challenge.as_deref()).await?);
        }
        unreachable!("the last attempt ends the loop")
    }

    /// Something came that is not what was asked for.
    pub(crate) fn wrong(&self, name: &str, problem: String) -> Error {
        Error::WrongBlob {
            registry: self.place(),
            name: name.to_owned(),
            problem,
        }
    }

    async fn document(&self, name: &str) -> Result<SmallResponse, Error> {
        let most = usize::try_from(ImagePull::MAX_DOCUMENT).expect("a few megabytes");
        let url = self.url("manifests", name);
        let accepted = ImagePull::MEDIA_TYPES.join(", ");
        let headers = HeaderMap::from_iter([(ACCEPT, accepted.parse().expect("media types are fit for a header"))]);
        let mut login = self.known_login();
        for is_last in [false, true] {
            let (headers, patience) = (headers.clone(), &self.patience);
            let answer = self
                .client
                .get_small_as(&url, &self.origin, most, headers, patience, login.as_ref());
            let answer = answer.await?;
            if answer.status == 401 && !is_last {
                let challenge = answer
                    .headers
                    .get(WWW_AUTHENTICATE)
                    .and_then(|value| value.to_str().ok());
                login = Some(self.answer(&answer.url, challenge).await?);
                continue;
            }
            if matches!(answer.status, 401 | 403) {
                return Err(self.no_entry(&format!("it answers with status {}", answer.status)));
            }
            answer.check(&url)?;
            if answer.body.len() > most {
                return Err(Error::TooLarge {
                    url: shown(&url),
                    most,
                    what: "manifest",
                });
            }
            return Ok(answer);
        }
        unreachable!("the last attempt ends the loop")
    }

    /// What meets a challenge. It must be the registry's own, not that of a place where it redirects to.
    async fn answer(&self, asker: &Url, header: Option<&str>) -> Result<Login, Error> {
        if asker.origin() != self.base.origin() {
            let problem = format!(
                "it leads to `{}`, which wants a login",
                asker.origin().ascii_serialization()
            );
            return Err(self.no_entry(&problem));
        }
        let stored = self.logins.find(&self.host()).await?;
        let login = match header.and_then(Challenge::read) {
            Some(Challenge::Basic) => stored.ok_or_else(|| self.no_entry("it wants a user and a password"))?,
            Some(Challenge::Bearer { realm, service }) => self.token(&realm, service.as_deref(), stored).await?,
            None => return Err(self.no_entry("it wants a login of an unknown kind")),
        };
        *self.login.lock().unwrap_or_else(PoisonError::into_inner) = Some(login.clone());
        Ok(login)
    }

    async fn token(&self, realm: &str, service: Option<&str>, stored: Option<Login>) -> Result<Login, Error> {
        let mut url = Url::parse(realm).map_err(|source| Error::Url {
            text: realm.to_owned(),
            source,
        })?;
        let service_place = url.origin().ascii_serialization();
        if self.base.scheme() == "https" && url.scheme() != "https" {
            let problem = format!("its tokens come from `{service_place}`, which is not of HTTPS");
            return Err(self.no_entry(&problem));
        }
        let host = url.host_str().unwrap_or_default();
        if stored.is_some() && !may_see_login(self.base.host_str().unwrap_or_default(), host) {
            let problem = format!(
                "it wants the login for it to be sent to `{service_place}`, which is another's: a login of that host's \
                 own in ~/.netrc or in the configuration would be sent there"
            );
            return Err(self.no_entry(&problem));
        }
        {
            // The scope is what we need, whatever the registry would have us ask for.
            let mut query = url.query_pairs_mut();
            if let Some(service) = service {
                query.append_pair("service", service);
            }
            query.append_pair("scope", &format!("repository:{}:pull", self.repository));
        }
        let (headers, patience) = (HeaderMap::new(), &self.patience);
        let answer = self
            .client
            .get_small_as(&url, &self.origin, MAX_TOKEN, headers, patience, stored.as_ref());
        let answer = answer.await?;
        if answer.status != 200 {
            let known = if stored.is_some() {
                "the login for it"
            } else {
                "nobody without a login"
            };
            let problem = format!("`{service_place}` gives {known} no token (status {})", answer.status);
            return Err(self.no_entry(&problem));
        }
        match serde_json::from_slice::<Token>(&answer.body) {
            Ok(Token { token }) if !token.is_empty() => Ok(Login::Bearer(Secret::new(token))),
            _ => Err(self.no_entry(&format!("`{service_place}` answers with no token"))),
        }
    }

    fn no_entry(&self, problem: &str) -> Error {
        Error::RegistryLogin {
            registry: self.place(),
            problem: problem.to_owned(),
        }
    }

    fn known_login(&self) -> Option<Login> {
        self.login.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Repository, tag and digest have nothing in them that could lead elsewhere.
    fn url(&self, kind: &str, name: &str) -> Url {
        let mut url = self.base.clone();
        let prefix = url.path().trim_end_matches('/').to_owned();
        url.set_path(&format!("{prefix}/v2/{}/{kind}/{name}", self.repository));
        url
    }

    fn host(&self) -> String {
        let host = self.base.host_str().unwrap_or_default();
        self.base
            .port()
            .map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"))
    }
}

/// Whether a service that gives out a registry's tokens may see the login for it: on the same host, or on one of which
/// the registry's is a part, whose owner could take over the registry anyway; and Docker's own.
fn may_see_login(registry: &str, service: &str) -> bool {
    let is_part = registry
        .strip_suffix(service)
        .is_some_and(|rest| rest.ends_with('.') && service.contains('.'));
    registry == service || is_part || (registry, service) == ("registry-1.docker.io", "auth.docker.io")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_login_stays_at_home() {
        for (registry, service, expected) in [
            ("ghcr.io", "ghcr.io", true),
            ("registry.gitlab.com", "gitlab.com", true),
            ("registry-1.docker.io", "auth.docker.io", true),
            ("registry.example.com", "auth.example.com", false),
            ("registry.example.com", "com", false),
            ("registry.example.com", "evil.example", false),
            ("example.com", "registry.example.com", false),
            ("notexample.com", "example.com", false),
            ("example.com", "", false),
        ] {
            assert_eq!(may_see_login(registry, service), expected, "{registry} {service}");
        }
    }
}
