//! [`ConnectTo`]: sending the connections for one host and port elsewhere.

use std::{fmt, str::FromStr};

use thiserror::Error;
use url::Url;

/// `HOST:PORT:HOST:PORT`, as curl's `--connect-to`: connections for the first go to the second, while the name in TLS
/// and in the request stays. Where the first host or port is empty, any fits; where the second is, it stays as it was.
///
/// A name has no port, so this is how a staging site or a test is reached. It is the user's word: no address that
/// stands here is refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConnectTo {
    host: Option<String>,
    port: Option<u16>,
    to_host: Option<String>,
    to_port: Option<u16>,
}

/// Why a text is not of that form.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[error("`{text}` is not of the form HOST:PORT:HOST:PORT: {problem}")]
pub struct ConnectToError {
    text: String,
    problem: &'static str,
}

impl ConnectTo {
    /// Whether requests for this URL go elsewhere.
    pub(crate) fn applies_to(&self, url: &Url) -> bool {
        // An IP address is connected to without being resolved, and resolving is where this takes hold.
        let Some(url::Host::Domain(host)) = url.host() else {
            return false;
        };
        self.host.as_deref().is_none_or(|wanted| wanted == host)
            && self
                .port
                .is_none_or(|wanted| Some(wanted) == url.port_or_known_default())
    }

    /// The host to resolve in place of `host`.
    pub(crate) fn target_host<'a>(&'a self, host: &'a str) -> &'a str {
        self.to_host.as_deref().unwrap_or(host)
    }

    /// The port to connect to, if it is another.
    pub(crate) fn target_port(&self) -> Option<u16> {
        self.to_port
    }
}

impl FromStr for ConnectTo {
    type Err = ConnectToError;

    fn from_str(text: &str) -> Result<Self, ConnectToError> {
        let error = |problem| ConnectToError {
            text: text.to_owned(),
            problem,
        };
        let (host, rest) = take_host(text).ok_or(error("the first host is not followed by `:`"))?;
        let (port, rest) = rest.split_once(':').ok_or(error("there are too few `:`"))?;
        let (to_host, to_port) = take_host(rest).ok_or(error("the second host is not followed by `:`"))?;
        let number = |port: &str| match port {
            "" => Ok(None),
            _ => port
                .parse()
                .map(Some)
                .map_err(|_| error("a port is a number up to 65535")),
        };
        let named = |host: &str| (!host.is_empty()).then(|| host.to_ascii_lowercase());
        if host.parse::<std::net::IpAddr>().is_ok() {
            return Err(error("the first host must be a name, not an address"));
        }
        Ok(Self {
            host: named(host),
            port: number(port)?,
            to_host: named(to_host),
            to_port: number(to_port)?,
        })
    }
}

/// A host up to its `:`, without the brackets of an IPv6 address.
fn take_host(text: &str) -> Option<(&str, &str)> {
    match text.strip_prefix('[') {
        Some(text) => text.split_once("]:"),
        None => text.split_once(':'),
    }
}

impl fmt::Display for ConnectTo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let host = |host: &Option<String>| match host.as_deref() {
            Some(address) if address.contains(':') => format!("[{address}]"),
            other => other.unwrap_or_default().to_owned(),
        };
        let port = |port: Option<u16>| port.map(|port| port.to_string()).unwrap_or_default();
        let (from, to) = (host(&self.host), host(&self.to_host));
        write!(f, "{from}:{}:{to}:{}", port(self.port), port(self.to_port))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn the_form_is_curls() {
        for text in [
            "example.com:443:127.0.0.1:8443",
            "example.com:443:[::1]:8443",
            "::localhost:",
            ":80::8080",
        ] {
            assert_eq!(text.parse::<ConnectTo>().unwrap().to_string(), text);
        }
        for text in [
            "",
            "example.com",
            "a:443:b",
            "a:x:b:1",
            "a:1:b:70000",
            "[::1]:443:b:1",
            "a:443:[::1:8443",
            "a:1:b:2:3",
        ] {
            assert!(text.parse::<ConnectTo>().is_err(), "{text}");
        }
    }

    #[test]
    fn it_applies_to_its_host_and_port_alone() {
        let applies = |rule: &str, url: &str| rule.parse::<ConnectTo>().unwrap().applies_to(&Url::parse(url).unwrap());
        let rule = "example.com:443:127.0.0.1:8443";
        assert!(applies(rule, "https://example.com/app"));
        assert!(applies(rule, "https://EXAMPLE.com:443/app"));
        assert!(!applies(rule, "http://example.com/app"));
        assert!(!applies(rule, "https://example.com:8443/app"));
        assert!(!applies(rule, "https://www.example.com/app"));
        assert!(applies("::127.0.0.1:8443", "http://anything.example:1234/"));
        assert!(!applies("::127.0.0.1:8443", "http://10.0.0.1/"));
    }
}
