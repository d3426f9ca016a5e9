//! [`HttpClient`]: HTTP as far as it may be trusted with a stranger's URL.
//!
//! Redirects are followed here, not by the HTTP library, so that each hop is judged: never from HTTPS to HTTP, never
//! to a URL with credentials in it, never into a network where the origin is not (see [`Origin`]). Names are judged
//! when they are resolved, by the resolver of the library's client; addresses in URLs before each hop. There is one
//! library client for each set of permitted networks, so that no connection is shared between them.

use std::{
    collections::HashMap,
    fs,
    sync::{Arc, Mutex, PoisonError},
};

use reqwest::{
    Certificate,
    header::{ACCEPT_ENCODING, HOST, HeaderMap, HeaderValue},
};
use url::Url;

use crate::{
    address::{AddressClass, AddressClasses},
    connect_to::ConnectTo,
    error::{Error, shown},
    options::HttpOptions,
    origin::{Origin, ip_of_host},
    redirect::redirect,
    resolver::{Elsewhere, ForbiddenAddress, PermittedAddresses, proxy_hosts},
    response::HttpResponse,
};

const MAX_REDIRECTS: usize = 10;

/// A client that can be cloned cheaply; clones share their connections.
#[derive(Clone)]
pub struct HttpClient(Arc<Inner>);

struct Inner {
    options: HttpOptions,
    certificates: Vec<Certificate>,
    clients: Mutex<HashMap<Route, reqwest::Client>>,
}

/// Requests of one route may share connections.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
enum Route {
    Permitted(AddressClasses),
    /// By this one of the options' rules. HTTP/2 takes the port from the URL, and so cannot be spoken where the URL
    /// has to go without.
    Elsewhere {
        rule: usize,
        http1_only: bool,
    },
}

impl HttpClient {
    /// Reads the certificates. No connection is made.
    pub fn new(options: HttpOptions) -> Result<Self, Error> {
        let mut certificates = Vec::new();
        for path in &options.ca {
            let pem = fs::read(path).map_err(|source| Error::ReadCertificates {
                path: path.clone(),
                source,
            })?;
            match Certificate::from_pem_bundle(&pem) {
                Ok(found) if !found.is_empty() => certificates.extend(found),
                _ => return Err(Error::NoCertificates { path: path.clone() }),
            }
        }
        Ok(Self(Arc::new(Inner {
            options,
            certificates,
            clients: Mutex::default(),
        })))
    }

    /// How requests are made.
    pub fn options(&self) -> &HttpOptions {
        &self.0.options
    }

    /// The same, but that speaks plain HTTP where a URL says so.
    pub(crate) fn with_insecure_http(&self) -> Result<Self, Error> {
        Self::new(HttpOptions {
            insecure_http: true,
            ..self.0.options.clone()
        })
    }

    /// Asks for `url` on the word of `origin`, and follows redirects. Any status may come back.
    pub async fn get(&self, url: &Url, origin: &Origin) -> Result<HttpResponse, Error> {
        self.get_with(url, origin, HeaderMap::new()).await
    }

    /// The same, with further headers, which may not be secret: every hop gets them.
    pub(crate) async fn get_with(&self, url: &Url, origin: &Origin, headers: HeaderMap) -> Result<HttpResponse, Error> {
        let mut hop = url.clone();
        for _ in 0..=MAX_REDIRECTS {
            self.check_scheme(&hop)?;
            let response = self.send(&hop, origin, &headers).await?;
            match redirect(&hop, &response)? {
                None => {
                    return Ok(HttpResponse::new(hop, response));
                }
                Some(next) => hop = next,
            }
        }
        Err(Error::TooManyRedirects {
            url: shown(url),
            most: MAX_REDIRECTS,
        })
    }

    /// Fetches something small. A longer body than `most` bytes comes back cut, one byte longer than that.
    pub async fn get_small(&self, url: &Url, origin: &Origin, most: usize) -> Result<(u16, Url, Vec<u8>), Error> {
        let limit = self.0.options.timeouts.small;
        let fetched = tokio::time::timeout(limit, async {
            let mut response = self.get(url, origin).await?;
            let mut body = Vec::new();
            while body.len() <= most
                && let Some(chunk) = response.chunk().await?
            {
                body.extend_from_slice(&chunk[..chunk.len().min(most + 1 - body.len())]);
            }
            if response.is_encoded() {
                return Err(Error::Encoded {
                    url: shown(&response.url),
                });
            }
            Ok((response.status(), response.url, body))
        });
        fetched
            .await
            .unwrap_or_else(|_| Err(Error::TooSlow { url: shown(url), limit }))
    }

    fn check_scheme(&self, url: &Url) -> Result<(), Error> {
        match url.scheme() {
            "https" => Ok(()),
            "http" if self.0.options.insecure_http => Ok(()),
            "http" => Err(Error::PlainHttp { url: shown(url) }),
            _ => Err(Error::Scheme { url: shown(url) }),
        }
    }

    async fn send(&self, url: &Url, origin: &Origin, headers: &HeaderMap) -> Result<reqwest::Response, Error> {
        let rules = &self.0.options.connect_to;
        let (route, target) = match rules.iter().position(|rule| rule.applies_to(url)) {
            Some(rule) => {
                let target = without_port(url, &rules[rule]);
                (
                    Route::Elsewhere {
                        rule,
                        http1_only: target.is_some(),
                    },
                    target,
                )
            }
            None => {
                let permitted = origin.permitted(url, |host| self.is_sent_elsewhere(host)).await;
                check_address(url, permitted)?;
                (Route::Permitted(permitted), None)
            }
        };
        let client = self.client(route)?;
        let request = || {
            let request = client
                .get(target.as_ref().unwrap_or(url).clone())
                .headers(headers.clone());
            if target.is_some() {
                request.header(HOST, host_and_port(url))
            } else {
                request
            }
        };
        let answer = match request().send().await {
            // A server may close an idle connection in the moment in which it is used again.
            Err(error) if error.is_request() && !error.is_connect() && !error.is_timeout() => request().send().await,
            answer => answer,
        };
        answer.map_err(|source| match ForbiddenAddress::among_causes(&source) {
            Some(ForbiddenAddress { address, class, .. }) => Error::ForbiddenAddress {
                url: shown(url),
                address: *address,
                class: *class,
            },
            None => Error::Request {
                url: shown(url),
                source: source.without_url(),
            },
        })
    }

    fn is_sent_elsewhere(&self, host: &str) -> bool {
        let url = Url::parse(&format!("https://{host}/"));
        url.is_ok_and(|url| self.0.options.connect_to.iter().any(|rule| rule.applies_to(&url)))
    }

    fn client(&self, route: Route) -> Result<reqwest::Client, Error> {
        let mut clients = self.0.clients.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(client) = clients.get(&route) {
            return Ok(client.clone());
        }
        let client = self.build(route).map_err(Error::Client)?;
        clients.insert(route, client.clone());
        Ok(client)
    }

    fn build(&self, route: Route) -> reqwest::Result<reqwest::Client> {
        let HttpOptions {
            connect_to,
            insecure_tls,
            timeouts,
            ..
        } = &self.0.options;
        let identity = HeaderMap::from_iter([(ACCEPT_ENCODING, HeaderValue::from_static("identity"))]);
        let mut builder = reqwest::Client::builder()
            .user_agent(concat!("dhow/", env!("CARGO_PKG_VERSION")))
            .default_headers(identity)
            .redirect(reqwest::redirect::Policy::none())
            .referer(false)
            .connect_timeout(timeouts.connect)
            .read_timeout(timeouts.read)
            .no_gzip()
            .no_brotli()
            .no_deflate()
            .no_zstd()
            .tls_certs_merge(self.0.certificates.iter().cloned())
            .tls_danger_accept_invalid_certs(*insecure_tls);
        match route {
            Route::Permitted(permitted) => {
                builder = builder.dns_resolver(PermittedAddresses {
                    permitted,
                    proxies: proxy_hosts(),
                });
            }
            Route::Elsewhere { rule, http1_only } => {
                builder = builder.no_proxy().dns_resolver(Elsewhere(connect_to[rule].clone()));
                if http1_only {
                    builder = builder.http1_only();
                }
            }
        }
        builder.build()
    }
}

fn check_address(url: &Url, permitted: AddressClasses) -> Result<(), Error> {
    let address = url
        .host()
        .and_then(ip_of_host)
        .filter(|address| !permitted.permit(*address));
    match address.and_then(|address| Some((address, AddressClass::of(address)?))) {
        Some((address, class)) => Err(Error::ForbiddenAddress {
            url: shown(url),
            address,
            class,
        }),
        None => Ok(()),
    }
}

/// A port in the URL would win over the resolver's, so a rule that changes it needs the URL without.
fn without_port(url: &Url, rule: &ConnectTo) -> Option<Url> {
    url.port().and(rule.target_port())?;
    let mut url = url.clone();
    url.set_port(None).ok()?;
    Some(url)
}

fn host_and_port(url: &Url) -> String {
    let host = url.host_str().unwrap_or_default();
    url.port()
        .map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"))
}
