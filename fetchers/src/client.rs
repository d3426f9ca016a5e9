//! [`HttpClient`]: HTTP as far as it may be trusted with a stranger's URL.
//!
//! Redirects are followed here, not by the HTTP library, so that each hop is judged: never from HTTPS to HTTP, never
//! to a URL with credentials in it, never into a network where the origin is not (see [`Origin`]). Names are judged
//! when they are resolved, by the resolver of the library's client; addresses in URLs before each hop. There is one
//! library client for each set of permitted networks, so that no connection is shared between them.

use std::{
    collections::{HashMap, HashSet},
    fs,
    sync::{Arc, Mutex, PoisonError},
};

use bytes::Bytes;
use reqwest::{
    Certificate, Method, StatusCode,
    header::{ACCEPT_ENCODING, HOST, HeaderMap, HeaderValue},
};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use url::Url;

use crate::{
    address::{AddressClass, AddressClasses},
    connect_to::ConnectTo,
    credentials::{Login, Sending},
    error::{Error, shown},
    options::HttpOptions,
    origin::{Origin, ip_of_host},
    redirect::redirect,
    resolver::{Elsewhere, ForbiddenAddress, PermittedAddresses, proxy_hosts},
    response::{HttpResponse, SmallResponse},
    retry::RetryPolicy,
};

const MAX_REDIRECTS: usize = 10;
/// What a server may send before we have read it, in bytes: 2 MiB are enough for 160 Mbit/s over 100 ms.
const STREAM_WINDOW: u32 = 2 << 20;

/// So many bytes are worth a connection of their own: in this lane, where those who help have the lanes behind it.
pub(crate) const LONG: u64 = 256 << 20;
pub(crate) const LONG_LANE: u8 = 1;

/// A client that can be cloned cheaply; clones share their connections.
#[derive(Clone)]
pub struct HttpClient(Arc<Inner>);

struct Inner {
    options: HttpOptions,
    certificates: Vec<Certificate>,
    clients: Mutex<HashMap<(Route, u8), reqwest::Client>>,
    /// How many more requests each host and port may have under way.
    hosts: Mutex<HashMap<String, Arc<Semaphore>>>,
    /// Hosts and ports that have asked for a login.
    asked: Mutex<HashSet<String>>,
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

/// Whether a request waits for its turn, where the host has as many of ours under way as it may.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Turn {
    Waited,
    /// It is made at once or not at all, and half of the turns are left to others.
    Spare,
}

/// One request, but for where it goes.
struct Outgoing<'a> {
    method: Method,
    headers: &'a HeaderMap,
    body: Bytes,
    lane: u8,
    login: Option<&'a Login>,
}

impl<'a> Outgoing<'a> {
    fn get(headers: &'a HeaderMap, lane: u8, login: Option<&'a Login>) -> Self {
        Self {
            method: Method::GET,
            headers,
            body: Bytes::new(),
            lane,
            login,
        }
    }
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
            hosts: Mutex::default(),
            asked: Mutex::default(),
        })))
    }

    /// How requests are made.
    pub fn options(&self) -> &HttpOptions {
        &self.0.options
    }

    /// Why what comes is believed to come from where it should: what differs in this is not the same answer.
    pub(crate) fn trusts(&self) -> String {
        let HttpOptions {
            ca,
            connect_to,
            insecure_http,
            insecure_tls,
            ..
        } = &self.0.options;
        let rules: Vec<_> = connect_to.iter().map(ToString::to_string).collect();
        format!("{ca:?} {rules:?} {insecure_http} {insecure_tls}")
    }

    /// Uses none of the connections for further requests.
    pub(crate) fn hang_up(&self) {
        self.0.clients.lock().unwrap_or_else(PoisonError::into_inner).clear();
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
        self.get_by(url, origin, HeaderMap::new(), 0).await
    }

    /// The same, with further headers, which may not be secret: every hop gets them. Requests of different lanes share
    /// no connection, and those of any lane but 0 speak HTTP/1.1: they have nothing to share one with. What is long comes by
    /// lane 0, too, where there can be no other connection.
    pub(crate) async fn get_by(
        &self,
        url: &Url,
        origin: &Origin,
        headers: HeaderMap,
        lane: u8,
    ) -> Result<HttpResponse, Error> {
        self.get_as(url, origin, headers, lane, None).await
    }

    /// The same, with a login in place of the operator's. It goes to the host and port of `url` alone, and over HTTPS
    /// alone, wherever redirects lead.
    pub(crate) async fn get_as(
        &self,
        url: &Url,
        origin: &Origin,
        headers: HeaderMap,
        lane: u8,
        login: Option<&Login>,
    ) -> Result<HttpResponse, Error> {
        let followed = self.follow(url, origin, headers, lane, login, Turn::Waited).await?;
        Ok(followed.expect("whoever waits has a turn in the end"))
    }

    /// Asks for `url` if its host is not busy. An answer that somebody holds back never keeps those requests from being
    /// made for which it waits.
    pub(crate) async fn get_ahead(&self, url: &Url, origin: &Origin) -> Result<Option<HttpResponse>, Error> {
        self.follow(url, origin, HeaderMap::new(), 0, None, Turn::Spare).await
    }

    async fn follow(
        &self,
        url: &Url,
        origin: &Origin,
        headers: HeaderMap,
        lane: u8,
        login: Option<&Login>,
        turn: Turn,
    ) -> Result<Option<HttpResponse>, Error> {
        let mut hop = url.clone();
        for _ in 0..=MAX_REDIRECTS {
            if self.0.options.offline {
                return Err(Error::Offline { url: shown(&hop) });
            }
            self.check_scheme(&hop)?;
            let Some(permit) = self.permit(&hop, turn).await else {
                return Ok(None);
            };
            let own = login.filter(|_| hop.scheme() == "https" && hop.origin() == url.origin());
            let response = match own {
                Some(login) => {
                    let request = Outgoing::get(&headers, lane, Some(login));
                    self.send_as(&hop, origin, &request).await?
                }
                None => self.send(&hop, origin, &headers, lane).await?,
            };
            match redirect(&hop, &response)? {
                None => {
                    return Ok(Some(HttpResponse::new(hop, response, permit)));
                }
                Some(next) => hop = next,
            }
        }
        Err(Error::TooManyRedirects {
            url: shown(url),
            most: MAX_REDIRECTS,
        })
    }

    /// Fetches something small, and tries again as the options say. A longer body than `most` bytes comes back cut, one
    /// byte longer than that.
    pub async fn get_small(&self, url: &Url, origin: &Origin, most: usize) -> Result<SmallResponse, Error> {
        self.get_small_by(url, origin, most, HeaderMap::new(), &self.0.options.retry)
            .await
    }

    /// The same, with further headers, which may not be secret, and another patience.
    pub(crate) async fn get_small_by(
        &self,
        url: &Url,
        origin: &Origin,
        most: usize,
        headers: HeaderMap,
        retry: &RetryPolicy,
    ) -> Result<SmallResponse, Error> {
        self.get_small_as(url, origin, most, headers, retry, None).await
    }

    /// The same, with a login in place of the operator's (see [`Self::get_as`]).
    pub(crate) async fn get_small_as(
        &self,
        url: &Url,
        origin: &Origin,
        most: usize,
        headers: HeaderMap,
        retry: &RetryPolicy,
        login: Option<&Login>,
    ) -> Result<SmallResponse, Error> {
        let mut failed = 0;
        loop {
            let answer = self.get_small_once(url, origin, most, headers.clone(), login).await;
            // A status is an answer, which the caller judges: but one that may pass is waited for.
            let error = match &answer {
                Ok(answer) => answer.check(url).err(),
                Err(_) => None,
            };
            failed += 1;
            match error
                .as_ref()
                .or(answer.as_ref().err())
                .and_then(|error| retry.wait(failed, error))
            {
                Some(wait) => tokio::time::sleep(wait).await,
                None => return answer,
            }
        }
    }

    async fn get_small_once(
        &self,
        url: &Url,
        origin: &Origin,
        most: usize,
        headers: HeaderMap,
        login: Option<&Login>,
    ) -> Result<SmallResponse, Error> {
        let limit = self.0.options.timeouts.small;
        let fetched = tokio::time::timeout(limit, async {
            let mut response = self.get_as(url, origin, headers, 0, login).await?;
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
            Ok(SmallResponse::new(response, body))
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

    /// Sends a request of another library's making, as it is, to a place that the user's own settings name. Redirects
    /// are not followed.
    pub(crate) async fn pass_on(
        &self,
        method: Method,
        url: &Url,
        headers: HeaderMap,
        body: Bytes,
        lane: u8,
    ) -> Result<reqwest::Response, Error> {
        if self.0.options.offline {
            return Err(Error::Offline { url: shown(url) });
        }
        let request = Outgoing {
            method,
            body,
            ..Outgoing::get(&headers, lane, None)
        };
        self.send_as(url, &Origin::of_url(url), &request).await
    }

    /// Waits until the host has not too many requests of ours under way, if this is worth waiting for.
    async fn permit(&self, url: &Url, turn: Turn) -> Option<OwnedSemaphorePermit> {
        let most = self.0.options.per_host.max(1);
        let semaphore = {
            let mut hosts = self.0.hosts.lock().unwrap_or_else(PoisonError::into_inner);
            let host = hosts
                .entry(origin_of(url))
                .or_insert_with(|| Arc::new(Semaphore::new(most)));
            host.clone()
        };
        match turn {
            Turn::Waited => Some(semaphore.acquire_owned().await.expect("nobody closes it")),
            Turn::Spare => {
                let with_the_others = u32::try_from(most / 2 + 1).ok().filter(|_| most > 1)?;
                semaphore.try_acquire_many_owned(with_the_others).ok()?.split(1)
            }
        }
    }

    /// Sends one request, with the login of its host where that is wanted.
    async fn send(
        &self,
        url: &Url,
        origin: &Origin,
        headers: &HeaderMap,
        lane: u8,
    ) -> Result<reqwest::Response, Error> {
        let Some(credential) = self.0.options.credentials.for_url(url) else {
            return self.send_as(url, origin, &Outgoing::get(headers, lane, None)).await;
        };
        let asked = || self.0.asked.lock().unwrap_or_else(PoisonError::into_inner);
        let is_upfront = credential.sending == Sending::Upfront || asked().contains(&origin_of(url));
        let login = Some(&credential.login);
        let answer = self
            .send_as(url, origin, &Outgoing::get(headers, lane, login.filter(|_| is_upfront)))
            .await?;
        if answer.status() != StatusCode::UNAUTHORIZED || is_upfront {
            return Ok(answer);
        }
        asked().insert(origin_of(url));
        self.send_as(url, origin, &Outgoing::get(headers, lane, login)).await
    }

    async fn send_as(&self, url: &Url, origin: &Origin, request: &Outgoing<'_>) -> Result<reqwest::Response, Error> {
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
        let send = |client: &reqwest::Client| {
            let target_url = target.as_ref().unwrap_or(url).clone();
            let built = client
                .request(request.method.clone(), target_url)
                .headers(request.headers.clone())
                .body(request.body.clone());
            let built = match request.login {
                Some(login) => login.apply(built),
                None => built,
            };
            let built = match target {
                Some(_) => built.header(HOST, host_and_port(url)),
                None => built,
            };
            built.send()
        };
        let client = self.client(route, request.lane)?;
        let answer = match send(&client).await {
            // A server may close an idle connection in the moment in which it is used again.
            Err(error) if error.is_request() && !error.is_connect() && !error.is_timeout() => send(&client).await,
            // It may permit no second connection.
            Err(error) if error.is_connect() && request.lane == LONG_LANE => send(&self.client(route, 0)?).await,
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

    /// Whether whatever is at the host of `url` may be asked on the word of `origin`, by any protocol.
    pub(crate) async fn permits(&self, url: &Url, origin: &Origin) -> bool {
        let permitted = origin.permitted(url, |host| self.is_sent_elsewhere(host)).await;
        let Some(host) = url.host_str() else { return false };
        let host = host.trim_start_matches('[').trim_end_matches(']');
        match tokio::net::lookup_host((host, 0)).await {
            Ok(mut found) => found.all(|address| permitted.permit(address.ip())),
            Err(_) => false,
        }
    }

    fn is_sent_elsewhere(&self, host: &str) -> bool {
        let url = Url::parse(&format!("https://{host}/"));
        url.is_ok_and(|url| self.0.options.connect_to.iter().any(|rule| rule.applies_to(&url)))
    }

    fn client(&self, route: Route, lane: u8) -> Result<reqwest::Client, Error> {
        let mut clients = self.0.clients.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(client) = clients.get(&(route, lane)) {
            return Ok(client.clone());
        }
        let client = self.build(route, lane).map_err(Error::Client)?;
        clients.insert((route, lane), client.clone());
        Ok(client)
    }

    fn build(&self, route: Route, lane: u8) -> reqwest::Result<reqwest::Client> {
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
            .http2_initial_stream_window_size(STREAM_WINDOW)
            .http2_initial_connection_window_size(2 * STREAM_WINDOW)
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
        if lane > 0 {
            builder = builder.http1_only();
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

/// A host and port, whatever is said there.
fn origin_of(url: &Url) -> String {
    url.origin().ascii_serialization()
}

fn host_and_port(url: &Url) -> String {
    let host = url.host_str().unwrap_or_default();
    url.port()
        .map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"))
}
