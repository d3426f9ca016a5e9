//! [`Credentials`]: what the operator logs in with, and where.

use std::fmt;

use reqwest::{RequestBuilder, header::AUTHORIZATION};
use url::Url;

/// Logins by host. The first that fits a URL counts.
///
/// Each is sent to its own host and port alone, over HTTPS alone, whoever names the URL: it is looked up anew for every
/// hop of a redirect.
#[derive(Clone, Debug, Default)]
pub struct Credentials(Vec<Credential>);

/// A login for one host.
#[derive(Clone, Debug)]
pub struct Credential {
    /// The host, in lower case.
    pub host: String,
    /// The port, or `None` for HTTPS's own.
    pub port: Option<u16>,
    /// What is sent.
    pub login: Login,
    /// When it is sent.
    pub sending: Sending,
}

/// How one logs in.
#[derive(Clone, Debug)]
pub enum Login {
    /// HTTP's Basic scheme.
    Basic {
        /// The user.
        user: String,
        /// The password.
        password: Secret,
    },
    /// A bearer token.
    Bearer(Secret),
}

/// When a login is sent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Sending {
    /// When the server has asked for one.
    #[default]
    WhenAsked,
    /// With each request, as rkt does.
    Upfront,
}

/// A text that is not shown to anybody.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Keeps a secret.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("…")
    }
}

impl Credentials {
    /// Adds one after the others.
    pub fn add(&mut self, credential: Credential) {
        self.0.push(credential);
    }

    /// What is sent to the host of this URL, if anything is.
    pub fn for_url(&self, url: &Url) -> Option<&Credential> {
        // A user in the URL is the user's own word.
        if url.scheme() != "https" || !url.username().is_empty() || url.password().is_some() {
            return None;
        }
        let (host, port) = (url.host_str()?, url.port_or_known_default());
        let fits = |credential: &&Credential| credential.host == host && port == Some(credential.port.unwrap_or(443));
        self.0.iter().find(fits)
    }
}

impl Login {
    pub(crate) fn apply(&self, request: RequestBuilder) -> RequestBuilder {
        match self {
            Self::Basic { user, password } => request.basic_auth(user, Some(&password.0)),
            Self::Bearer(Secret(token)) => {
                let value = reqwest::header::HeaderValue::from_str(&format!("Bearer {token}"));
                match value {
                    Ok(mut value) => {
                        value.set_sensitive(true);
                        request.header(AUTHORIZATION, value)
                    }
                    // What is no header is no token: the server will say so.
                    Err(_) => request,
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_login_is_for_its_host_and_port_over_https() {
        let mut credentials = Credentials::default();
        for (port, token) in [(None, "default"), (Some(8443), "other")] {
            credentials.add(Credential {
                host: "example.com".to_owned(),
                port,
                login: Login::Bearer(Secret::new(token)),
                sending: Sending::WhenAsked,
            });
        }
        let found = |url: &str| {
            let url = Url::parse(url).unwrap();
            credentials.for_url(&url).map(|credential| credential.port)
        };
        assert_eq!(found("https://example.com/x"), Some(None));
        assert_eq!(found("https://EXAMPLE.com:443/"), Some(None));
        assert_eq!(found("https://example.com:8443/"), Some(Some(8443)));
        for other in [
            "http://example.com/",
            "http://example.com:443/",
            "https://example.com:444/",
            "https://www.example.com/",
            "https://example.com.evil.example/",
            "https://example.com@evil.example/",
            "https://user@example.com/",
        ] {
            assert_eq!(found(other), None, "{other}");
        }
        assert!(!format!("{credentials:?}").contains("default"), "{credentials:?}");
    }
}
