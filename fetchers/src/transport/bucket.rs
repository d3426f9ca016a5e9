//! Buckets: Amazon's S3 and all that speaks its protocol, Google Cloud Storage, Azure Blob Storage.
//!
//! Requests are made and signed by the `object_store` crate, and go out over our own [`HttpClient`]: with its
//! certificates, its proxies, its limits, and no redirects, for a signature holds for one URL. Where the endpoint is and
//! what is signed with is for the user to say (see [`BucketSettings`]); a stranger's URL can name a
//! bucket and a key there, and nothing else. Trying again is the downloader's business, so `object_store` does not.

use std::{fmt, str::FromStr, sync::Arc, time::Duration};

use async_trait::async_trait;
use bytes::Bytes;
use dhow_discovery::{BucketSettings, Scheme};
use futures::{StreamExt, future::BoxFuture};
use object_store::{
    ClientOptions, Error as StoreError, GetOptions, GetRange, ObjectStore, ObjectStoreExt, RetryConfig,
    aws::{AmazonS3Builder, AmazonS3ConfigKey},
    azure::MicrosoftAzureBuilder,
    client::{
        HttpClient as StoreClient, HttpConnector, HttpError, HttpErrorKind, HttpRequest, HttpResponse,
        HttpResponseBody, HttpService,
    },
    gcp::GoogleCloudStorageBuilder,
    path::Path,
};
use url::Url;

use super::{Ask, Opened, Transport, Version};
use crate::{
    client::HttpClient,
    error::{Error, shown},
};

/// Fetches one object of a bucket.
#[derive(Clone)]
pub struct BucketTransport {
    client: HttpClient,
    settings: BucketSettings,
    url: Url,
    path: Path,
    store: Arc<dyn ObjectStore>,
}

impl BucketTransport {
    /// Fetches `url`, as in `s3://bucket/key`, `gs://bucket/key` or `az://container/key`, from where these settings
    /// lead.
    pub fn new(client: HttpClient, url: Url, settings: BucketSettings) -> Result<Self, Error> {
        let path = key(&url)?;
        let store = open(&client, &url, &settings, 0)?;
        Ok(Self {
            client,
            settings,
            url,
            path,
            store,
        })
    }

    /// Asks for the whole before it is known whether it is wanted.
    pub(crate) async fn ahead(&self) -> Option<Result<Opened, Error>> {
        Some(self.get(&Ask::whole()).await)
    }

    async fn get(&self, ask: &Ask) -> Result<Opened, Error> {
        let range = match ask.to {
            Some(to) if to > ask.from => Some(GetRange::Bounded(ask.from..to)),
            _ if ask.from > 0 => Some(GetRange::Offset(ask.from)),
            _ => None,
        };
        let options = GetOptions {
            if_match: ask.version.as_ref().map(|version| version.as_str().to_owned()),
            range,
            ..GetOptions::default()
        };
        let result = match self.store.get_opts(&self.path, options.clone()).await {
            // It has another version now, of which the whole is wanted. (That it is shorter may be said first.)
            Err(StoreError::Precondition { .. }) => self.store.get(&self.path).await,
            Err(error) if ask.version.is_some() && is_beyond_end(&error) => self.store.get(&self.path).await,
            result => result,
        };
        let result = result.map_err(|error| self.failed(error, options.range.is_some()))?;
        let version = strong(result.meta.e_tag.as_deref());
        let (from, size) = (result.range.start, result.meta.size);
        if from != 0 && from != ask.from || ask.version.is_some() && from != 0 && version != ask.version {
            return Err(self.not_the_rest());
        }
        let (url, end) = (shown(&self.url), result.range.end);
        let body = result.into_stream();
        Ok(Opened {
            from,
            size: Some(size),
            ranges: version.is_some(),
            version,
            shared: false,
            body: whole(body, from, end, url).boxed(),
        })
    }

    async fn is_unchanged(&self, version: &Version) -> Result<bool, Error> {
        let options = GetOptions {
            if_none_match: Some(version.as_str().to_owned()),
            head: true,
            ..GetOptions::default()
        };
        match self.store.get_opts(&self.path, options).await {
            Ok(result) => Ok(strong(result.meta.e_tag.as_deref()).as_ref() == Some(version)),
            Err(StoreError::NotModified { .. }) => Ok(true),
            Err(error) => Err(self.failed(error, false)),
        }
    }

    fn failed(&self, error: StoreError, asked_for_part: bool) -> Error {
        let url = shown(&self.url);
        match error {
            StoreError::NotFound { .. } => Error::NotFound { url, status: 404 },
            StoreError::Precondition { .. } => Error::Range { url },
            error if asked_for_part && is_beyond_end(&error) => Error::Range { url },
            error => Error::Bucket {
                url,
                source: Box::new(error),
            },
        }
    }

    fn not_the_rest(&self) -> Error {
        Error::Range { url: shown(&self.url) }
    }
}

impl Transport for BucketTransport {
    fn open<'a>(&'a self, ask: &'a Ask) -> BoxFuture<'a, Result<Opened, Error>> {
        Box::pin(self.get(ask))
    }

    fn place(&self) -> String {
        // The same bucket and key elsewhere is another thing.
        match self.settings.endpoint() {
            Some(endpoint) => {
                let endpoint = Url::parse(endpoint).map_or_else(|_| "another endpoint".to_owned(), |url| shown(&url));
                format!("{} at {endpoint}", shown(&self.url))
            }
            None => shown(&self.url),
        }
    }

    fn is_still<'a>(&'a self, version: &'a Version) -> BoxFuture<'a, Result<bool, Error>> {
        Box::pin(self.is_unchanged(version))
    }

    fn beside(&self, lane: u8) -> Option<Box<dyn Transport>> {
        let store = open(&self.client, &self.url, &self.settings, lane).ok()?;
        Some(Box::new(Self { store, ..self.clone() }))
    }
}

/// The name of the object in its bucket. Nothing else may be in the URL.
fn key(url: &Url) -> Result<Path, Error> {
    let refused = |problem: &str| Error::BucketUrl {
        url: shown(url),
        problem: problem.to_owned(),
    };
    let bucket = url.host_str().unwrap_or_default();
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.$".contains(&byte);
    if bucket.is_empty() || !bucket.bytes().all(is_plain) || bucket.starts_with('.') || bucket.contains("..") {
        return Err(refused("its bucket is no name of a bucket"));
    }
    if url.port().is_some() || !url.username().is_empty() || url.password().is_some() {
        return Err(refused(
            "a bucket has no port and no user: settings say where it is and who asks",
        ));
    }
    if url.query().is_some() || url.fragment().is_some() {
        return Err(refused("a `?` or `#` in a key is written %3F or %23"));
    }
    let path = Path::from_url_path(url.path()).map_err(|error| refused(&error.to_string()))?;
    match path.as_ref().is_empty() {
        true => Err(refused("it names no object in the bucket")),
        false => Ok(path),
    }
}

fn open(client: &HttpClient, url: &Url, settings: &BucketSettings, lane: u8) -> Result<Arc<dyn ObjectStore>, Error> {
    let allows_http = client.options().insecure_http || settings.allows_http();
    if let Some(endpoint) = settings.endpoint()
        && endpoint.to_ascii_lowercase().starts_with("http:")
        && !allows_http
    {
        let url = Url::parse(endpoint).map_or_else(|_| "the endpoint".to_owned(), |url| shown(&url));
        return Err(Error::PlainHttp { url });
    }
    let connector = Connector {
        client: client.clone(),
        lane,
    };
    let scheme = Scheme::from_name(url.scheme());
    // Amazon itself wants the bucket in the host's name, where that can be.
    let in_host = settings.endpoint().is_none() && !url.host_str().unwrap_or_default().contains('.');
    let settings = settings.with_default(AmazonS3ConfigKey::VirtualHostedStyleRequest.as_ref(), in_host);
    let mut place = url.clone();
    place.set_path("");
    let options = ClientOptions::new().with_allow_http(allows_http);
    let retry = RetryConfig {
        max_retries: 0,
        retry_timeout: Duration::ZERO,
        ..RetryConfig::default()
    };
    // The three builders are alike in all but their type.
    macro_rules! build {
        ($builder:ty) => {{
            let builder = settings.options().fold(<$builder>::new(), |builder, (key, value)| {
                match FromStr::from_str(key) {
                    Ok(key) => builder.with_config(key, value),
                    Err(_) => builder,
                }
            });
            let builder = builder
                .with_url(place.as_str())
                .with_client_options(options)
                .with_retry(retry)
                .with_http_connector(connector);
            builder.build().map(|store| Arc::new(store) as Arc<dyn ObjectStore>)
        }};
    }
    let built = match scheme {
        Some(Scheme::S3) => build!(AmazonS3Builder),
        Some(Scheme::Gs) => build!(GoogleCloudStorageBuilder),
        Some(Scheme::Az) => build!(MicrosoftAzureBuilder),
        _ => return Err(Error::Scheme { url: shown(url) }),
    };
    built.map_err(|error| Error::Bucket {
        url: shown(url),
        source: Box::new(error),
    })
}

/// Whether the server has no such range. `object_store` has no variant for it, but gives the status in its text.
fn is_beyond_end(error: &StoreError) -> bool {
    matches!(error, StoreError::Generic { .. }) && error.to_string().contains("416 Range Not Satisfiable")
}

/// An entity tag that calls each version differently.
fn strong(tag: Option<&str>) -> Option<Version> {
    tag.filter(|tag| !tag.is_empty() && !tag.starts_with("W/"))
        .map(Version::new)
}

/// A body that ends early is an error, whoever may have believed its end.
fn whole(
    body: impl futures::Stream<Item = Result<Bytes, StoreError>> + Send,
    from: u64,
    end: u64,
    url: String,
) -> impl futures::Stream<Item = Result<Bytes, Error>> + Send {
    futures::stream::try_unfold((Box::pin(body), from), move |(mut body, at)| {
        let url = url.clone();
        async move {
            let truncated = |source| Error::Truncated {
                url,
                received: at,
                source,
            };
            match body.next().await {
                Some(Ok(bytes)) => {
                    let at = at + bytes.len() as u64;
                    Ok(Some((bytes, (body, at))))
                }
                Some(Err(error)) => Err(truncated(std::io::Error::other(error))),
                None if at < end => Err(truncated(std::io::ErrorKind::UnexpectedEof.into())),
                None => Ok(None),
            }
        }
    })
}

/// Lets `object_store` speak over our client.
#[derive(Clone)]
struct Connector {
    client: HttpClient,
    lane: u8,
}

impl fmt::Debug for Connector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connector").finish_non_exhaustive()
    }
}

impl HttpConnector for Connector {
    fn connect(&self, _: &ClientOptions) -> object_store::Result<StoreClient> {
        Ok(StoreClient::new(self.clone()))
    }
}

#[async_trait]
impl HttpService for Connector {
    async fn call(&self, request: HttpRequest) -> Result<HttpResponse, HttpError> {
        let (parts, body) = request.into_parts();
        let url = Url::parse(&parts.uri.to_string()).map_err(|error| HttpError::new(HttpErrorKind::Unknown, error))?;
        // Only small bodies are sent: those of requests for credentials.
        let body = body.as_bytes().cloned().unwrap_or_default();
        let response = self.client.pass_on(parts.method, &url, parts.headers, body, self.lane);
        let response = response.await.map_err(|error| HttpError::new(kind(&error), error))?;
        let (parts, body) = http::Response::<reqwest::Body>::from(response).into_parts();
        let body = http_body_util::BodyExt::map_err(body, |error| {
            HttpError::new(HttpErrorKind::Unknown, error.without_url())
        });
        Ok(HttpResponse::from_parts(parts, HttpResponseBody::new(body)))
    }
}

fn kind(error: &Error) -> HttpErrorKind {
    match error {
        Error::Request { source, .. } if source.is_timeout() => HttpErrorKind::Timeout,
        Error::Request { source, .. } if source.is_connect() => HttpErrorKind::Connect,
        _ => HttpErrorKind::Unknown,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::options::HttpOptions;

    fn transport(url: &str, settings: &[(&str, &str)]) -> Result<BucketTransport, Error> {
        let client = HttpClient::new(HttpOptions::default()).unwrap();
        let settings = BucketSettings::new(settings.iter().copied());
        BucketTransport::new(client, Url::parse(url).unwrap(), settings)
    }

    #[test]
    fn a_url_names_a_bucket_and_a_key_and_nothing_else() {
        let unsigned = [("aws_skip_signature", "true")];
        assert_eq!(
            transport("s3://bucket/a/b%20c.aci", &unsigned).unwrap().path.as_ref(),
            "a/b c.aci"
        );
        for url in [
            "s3://bucket/",
            "s3://bucket",
            "s3:///key",
            "s3://user:password@bucket/key",
            "s3://bucket:80/key",
            "s3://bucket/key?versionId=1",
            "s3://bucket/key#part",
            "s3://..%2f/key",
            "s3://b%40ucket/key",
            "s3://bucket/a//b",
        ] {
            let error = transport(url, &unsigned).err().unwrap_or_else(|| panic!("{url}"));
            assert!(matches!(error, Error::BucketUrl { .. }), "{url}: {error}");
            assert!(!error.to_string().contains("password"), "{error}");
        }
    }

    #[test]
    fn plain_http_is_for_who_says_so() {
        let endpoint = ("aws_endpoint_url", "http://user:hidden@storage.example");
        let error = transport("s3://bucket/key", &[endpoint]).err().unwrap();
        assert!(matches!(error, Error::PlainHttp { .. }), "{error}");
        assert!(!error.to_string().contains("hidden"), "{error}");
        transport("s3://bucket/key", &[endpoint, ("aws_allow_http", "true")]).unwrap();
    }

    #[test]
    fn a_place_is_the_endpoint_too() {
        let place =
            |settings: &[(&str, &str)]| transport("s3://bucket/key", settings).map(|transport| transport.place());
        assert_eq!(place(&[]).unwrap(), "s3://bucket/key");
        assert_eq!(
            place(&[("aws_endpoint_url", "https://user:hidden@storage.example")]).unwrap(),
            "s3://bucket/key at https://storage.example/"
        );
    }
}
