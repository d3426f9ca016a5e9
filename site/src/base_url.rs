//! [`BaseUrl`]: where on the web a site is.

use std::fmt;

use dhow_image::Name;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use url::Url;

use crate::Error;

/// What stands for itself in a URL's path (RFC 3986, "unreserved"), and the slash. A `+` does not: S3 reads it as a
/// space.
const ESCAPED: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~')
    .remove(b'/');

/// The URL under which a site's files are served: `https://example.com`, perhaps with a port and a path. It has no
/// slash at its end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BaseUrl {
    url: Url,
    name: Option<Name>,
}

impl BaseUrl {
    /// Checks that `url` can be the base of a site.
    pub fn new(url: Url) -> Result<Self, Error> {
        let refuse = |reason| {
            Err(Error::BaseUrl {
                url: without_secrets(&url),
                reason,
            })
        };
        if !matches!(url.scheme(), "https" | "http") {
            return refuse("it must begin with `https://`");
        }
        if !url.username().is_empty() || url.password().is_some() {
            return refuse("it would show a user name or password to every visitor");
        }
        if url.query().is_some() || url.fragment().is_some() {
            return refuse("it must end with a path");
        }
        if url.path().contains("//") || url.path().contains(['{', '}', '%']) {
            return refuse("its path must be plain");
        }
        let path = url.path().trim_end_matches('/').to_owned();
        let name = url.host_str().and_then(|host| Name::new(format!("{host}{path}")).ok());
        let mut url = url;
        url.set_path(&path);
        Ok(Self { url, name })
    }

    /// The name whose page is the site's first: host and path, without port. `None` where they are no name.
    pub fn name(&self) -> Option<&Name> {
        self.name.as_ref()
    }

    /// The host as a person reads it, for titles.
    pub(crate) fn host(&self) -> &str {
        self.url.host_str().unwrap_or_default()
    }

    /// The URL of a file of the site.
    pub fn join(&self, path: &str) -> String {
        format!("{self}/{}", utf8_percent_encode(path, ESCAPED))
    }

    /// The path of a file of the site on its host, as links between pages have it: a page is then right under
    /// every host name and with or without a slash at the end of its URL.
    pub(crate) fn link(&self, path: &str) -> String {
        format!(
            "{}/{}",
            self.url.path().trim_end_matches('/'),
            utf8_percent_encode(path, ESCAPED)
        )
    }
}

impl fmt::Display for BaseUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.url.as_str().trim_end_matches('/'))
    }
}

fn without_secrets(url: &Url) -> String {
    let mut url = url.clone();
    if url.password().is_some() || !url.username().is_empty() {
        // Fails only for URLs that cannot have them.
        let _ = url.set_password(None);
        let _ = url.set_username("redacted");
    }
    url.into()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn base(url: &str) -> Result<BaseUrl, Error> {
        BaseUrl::new(Url::parse(url).unwrap())
    }

    #[test]
    fn a_base_has_a_name_and_no_slash_at_its_end() {
        for (url, text, name) in [
            ("https://example.com", "https://example.com", Some("example.com")),
            (
                "https://Example.com:8443/",
                "https://example.com:8443",
                Some("example.com"),
            ),
            (
                "https://bob.example/aci/",
                "https://bob.example/aci",
                Some("bob.example/aci"),
            ),
            ("https://[::1]:1/", "https://[::1]:1", None),
            ("https://example.com/Docs", "https://example.com/Docs", None),
        ] {
            let base = base(url).unwrap();
            assert_eq!(base.to_string(), text);
            assert_eq!(base.name().map(Name::as_str), name, "{url}");
        }
    }

    #[test]
    fn paths_are_escaped() {
        let base = base("https://bob.example/aci/").unwrap();
        assert_eq!(base.join("a/~b/1.0+x.aci"), "https://bob.example/aci/a/~b/1.0%2Bx.aci");
        assert_eq!(base.link("a"), "/aci/a");
    }

    #[test]
    fn what_cannot_be_a_base_is_refused_without_its_secrets() {
        for url in [
            "ftp://example.com",
            "https://u:secret@example.com",
            "https://a.example/?q",
            "https://a.example/%41",
        ] {
            let error = base(url).unwrap_err().to_string();
            assert!(!error.contains("secret"), "{error}");
        }
    }
}
