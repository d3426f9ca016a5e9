//! What can go wrong in a fetch.

use std::{io, net::IpAddr, path::PathBuf, time::Duration};

use chrono::{DateTime, Utc};
use dhow_discovery::{BucketError, CatalogError, Mismatch};
use dhow_image::{ArchiveError, ConvertError, Name};
use dhow_store::{StoreError, delta::DeltaError};
use thiserror::Error;
use url::Url;

use crate::{address::AddressClass, bittorrent::MetainfoError};

/// Why something could not be fetched. [`Error::kind`] sorts the variants.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum Error {
    /// A URL cannot be parsed.
    #[error("`{text}` is not a URL")]
    Url {
        /// What was given.
        text: String,
        /// What is wrong with it.
        source: url::ParseError,
    },
    /// No transport knows the scheme.
    #[error("`{url}` cannot be fetched: its scheme is not supported")]
    Scheme {
        /// The URL.
        url: String,
    },
    /// The URL is of plain HTTP.
    #[error("`{url}` is of plain HTTP, which is used only with `--insecure-options=http`")]
    PlainHttp {
        /// The URL.
        url: String,
    },
    /// A file of certificates could not be read.
    #[error("could not read the certificates in `{}`", path.display())]
    ReadCertificates {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// A file of certificates has none.
    #[error("`{}` holds no certificates in PEM", path.display())]
    NoCertificates {
        /// The file.
        path: PathBuf,
    },
    /// TLS could not be set up.
    #[error("could not set up TLS")]
    Client(#[source] reqwest::Error),

    /// No answer came.
    #[error("could not fetch `{url}`")]
    Request {
        /// The URL.
        url: String,
        /// Why not.
        source: reqwest::Error,
    },
    /// Nobody was to be asked.
    #[error("`{url}` was not asked for: --offline asks nobody")]
    Offline {
        /// The URL.
        url: String,
    },
    /// The server answered with something else.
    #[error(
        "could not fetch `{url}`: the server answered with status {status}{}",
        asks(retry_after)
    )]
    Status {
        /// The URL.
        url: String,
        /// The status.
        status: u16,
        /// After how long it wants to be asked again, if it says so.
        retry_after: Option<Duration>,
    },
    /// The server does not have it.
    #[error("`{url}` was not found: the server answered with status {status}")]
    NotFound {
        /// The URL.
        url: String,
        /// The status.
        status: u16,
    },
    /// There are too many redirects.
    #[error("could not fetch `{url}`: it was redirected more than {most} times")]
    TooManyRedirects {
        /// The URL.
        url: String,
        /// How many are followed.
        most: usize,
    },
    /// A redirect is not followed.
    #[error("`{from}` redirects to `{to}`, which is not followed: {problem}")]
    Redirect {
        /// Who redirects.
        from: String,
        /// Where to.
        to: String,
        /// Why not.
        problem: RedirectProblem,
    },
    /// A stranger's URL leads into a network to which only the user may send us.
    #[error("`{url}` is refused: it leads to {address}, a {class} address, and was not named by you")]
    ForbiddenAddress {
        /// The URL.
        url: String,
        /// The address.
        address: IpAddr,
        /// Its class.
        class: AddressClass,
    },
    /// Something small took too long.
    #[error("could not fetch `{url}`: it took more than {} seconds", limit.as_secs_f32())]
    TooSlow {
        /// The URL.
        url: String,
        /// How long it may take.
        limit: Duration,
    },
    /// A body comes too slowly to ever come.
    #[error("`{url}` comes too slowly: fewer than {least_rate} bytes a second for {} seconds", over.as_secs_f32())]
    TooFewBytes {
        /// The URL.
        url: String,
        /// How many it should be, at least.
        least_rate: u64,
        /// For how long it was fewer.
        over: Duration,
    },
    /// The server compressed what it was not asked to.
    #[error("could not read `{url}`: the server compressed it, though it was asked not to")]
    Encoded {
        /// The URL.
        url: String,
    },
    /// Something is larger than anything of its kind.
    #[error("`{url}` is larger than {most} bytes, which no {what} is")]
    TooLarge {
        /// The URL.
        url: String,
        /// How many bytes it may have.
        most: usize,
        /// What it should be.
        what: &'static str,
    },
    /// The connection broke, or stalled, before the end.
    #[error("the download of `{url}` was truncated after {received} bytes")]
    Truncated {
        /// The URL.
        url: String,
        /// How many bytes came.
        received: u64,
        /// What happened.
        source: io::Error,
    },
    /// The server has no rest of what it began to send.
    #[error("could not go on with the download of `{url}`: what the server offers is not the rest of it")]
    Range {
        /// The URL.
        url: String,
    },

    /// A URL names no object of a bucket.
    #[error("`{url}` cannot be fetched: {problem}")]
    BucketUrl {
        /// The URL.
        url: String,
        /// What is wrong with it.
        problem: String,
    },
    /// It cannot be said how buckets are reached.
    #[error("could not find out how buckets are reached")]
    BucketSettings(#[source] BucketError),
    /// A bucket did not answer as it should.
    #[error("could not fetch `{url}`")]
    Bucket {
        /// The URL.
        url: String,
        /// Why not.
        source: Box<object_store::Error>,
    },

    /// An image is of a kind that nobody signs.
    #[error(
        "`{image}` has no signature that could be verified: images of registries, of OCI layouts and of Docker \
         archives are taken only with `--insecure-options=image`"
    )]
    NeverSigned {
        /// The image.
        image: String,
    },
    /// An image was to be fetched by difference, and cannot be.
    #[error("`{archive}` has no recipe beside it, so it cannot be fetched by difference")]
    NoRecipe {
        /// The archive.
        archive: String,
    },
    /// A server does not give parts of a file, or gives another file.
    #[error("`{url}` is not given in parts, or is not the file that the recipe means")]
    NoRanges {
        /// The URL.
        url: String,
    },
    /// An image could not be rebuilt.
    #[error("could not rebuild an image by `{recipe}`")]
    Delta {
        /// The recipe.
        recipe: String,
        /// Why not.
        source: Box<DeltaError>,
    },
    /// A registry wants a login, and does not get one that it takes.
    #[error("`{registry}` gives nothing: {problem}")]
    RegistryLogin {
        /// The registry.
        registry: String,
        /// What is wrong.
        problem: String,
    },
    /// A registry gives something else than what was asked for.
    #[error("`{registry}` does not give `{name}`, but something else: {problem}")]
    WrongBlob {
        /// The registry and repository.
        registry: String,
        /// The tag or digest.
        name: String,
        /// How it can be told.
        problem: String,
    },
    /// An image of OCI's or Docker's cannot be made an image of the store.
    #[error("could not convert `{image}`")]
    Convert {
        /// The image.
        image: String,
        /// Why not.
        source: Box<ConvertError>,
    },

    /// Metainfo cannot be used.
    #[error("`{place}` is not a torrent that can be fetched")]
    Metainfo {
        /// Where it came from.
        place: String,
        /// Why not.
        source: MetainfoError,
    },
    /// A magnet link names no torrent.
    #[error("`{text}` is not a magnet link of a torrent: {problem}")]
    Magnet {
        /// What was given.
        text: String,
        /// What is wrong with it.
        problem: &'static str,
    },
    /// No peer told what a magnet link means.
    #[error("no peer told within {} seconds what `{magnet}` is", patience.as_secs())]
    NoMetadata {
        /// The link.
        magnet: String,
        /// How long they had.
        patience: Duration,
    },
    /// A place on the web has other bytes than the torrent that names it.
    #[error("what `{url}` gives is not what the torrent says")]
    WrongPieces {
        /// The URL.
        url: String,
    },
    /// A file that was to be seeded is not what its torrent says.
    #[error("`{place}` is not the file that its torrent describes")]
    NotTheTorrent {
        /// The file.
        place: String,
    },
    /// Nobody in the swarm gives what is missing, nor does anybody else.
    #[error("`{place}` came to a standstill after {received} of {total} bytes: nothing came for {} seconds", patience.as_secs())]
    SwarmStalled {
        /// The torrent.
        place: String,
        /// How many bytes came.
        received: u64,
        /// How many it has.
        total: u64,
        /// How long nothing came.
        patience: Duration,
    },
    /// The BitTorrent session failed.
    #[error("could not take part in a swarm: {problem}")]
    Swarm {
        /// Why not.
        problem: String,
    },

    /// A catalog is not believed, or does not list what was asked for.
    #[error("could not go by the catalog of `{place}`")]
    Catalog {
        /// Where it was, or whose it is.
        place: String,
        /// Why not.
        source: Box<CatalogError>,
    },
    /// A catalog that was seen before is not there.
    #[error(
        "a catalog of `{prefix}` was seen before, and now there is none for `{name}`: somebody keeps it back, or the \
         site is broken"
    )]
    CatalogMissing {
        /// Whose catalog it is.
        prefix: Name,
        /// The name that was asked for.
        name: Name,
    },
    /// The user asks for a catalog, and there is none.
    #[error("the policy of `{name}` asks for a signed catalog that lists it, and there is none")]
    CatalogRequired {
        /// The name that was asked for.
        name: Name,
    },
    /// Nothing was kept of a catalog.
    #[error("no catalog that lists `{name}` was kept, and --offline asks nobody for one")]
    NoCatalogKept {
        /// The name that was asked for.
        name: Name,
    },
    /// Without a catalog nobody knows which versions there are.
    #[error("`{name}` has no catalog, so nobody can tell which versions are in the range `{range}`: name one version")]
    RangeWithoutCatalog {
        /// The name that was asked for.
        name: Name,
        /// The range.
        range: String,
    },
    /// Another image came than the catalog lists.
    #[error("`{archive}` is not what the catalog of `{prefix}` lists: it is {found}, and {listed} is listed")]
    NotAsListed {
        /// The archive.
        archive: String,
        /// Whose catalog it is.
        prefix: Name,
        /// What came.
        found: String,
        /// What is listed.
        listed: String,
    },
    /// The name could not be discovered.
    #[error(transparent)]
    Discovery(#[from] dhow_discovery::Error),
    /// Nobody signed the archive.
    #[error("`{archive}` is not signed: there is no `{signature}`")]
    NotSigned {
        /// The archive.
        archive: String,
        /// Where its signature would be.
        signature: String,
    },
    /// The signature is not to be believed, or does not fit the archive.
    #[error("could not verify `{archive}`")]
    NotTrusted {
        /// The archive.
        archive: String,
        /// Why not.
        source: Box<dhow_trust::Error>,
    },
    /// The archive is encrypted, and could not be decrypted.
    #[error("could not decrypt `{archive}`")]
    Decrypt {
        /// The archive.
        archive: String,
        /// Why not.
        source: Box<dhow_trust::Error>,
    },
    /// The image is not the one that was asked for.
    #[error("`{archive}` is not the image that was asked for")]
    Mismatch {
        /// The archive.
        archive: String,
        /// How it differs.
        source: Box<Mismatch>,
    },
    /// The archive is no valid image.
    #[error("`{archive}` is not a valid image")]
    Archive {
        /// The archive.
        archive: String,
        /// Why not.
        source: ArchiveError,
    },
    /// No endpoint gave the image.
    #[error("none of the {count} places where `{name}` should be gave it; the gravest of their errors follows")]
    Endpoints {
        /// The name.
        name: Name,
        /// How many there are.
        count: usize,
        /// The gravest error.
        source: Box<Error>,
    },
    /// The image is not in the store, and nothing else was to be asked.
    #[error("`{reference}` is not in the store")]
    NotInStore {
        /// What was asked for.
        reference: String,
    },
    /// The image is in the store, but only as one that was never verified.
    #[error("`{reference}` is in the store, but was never verified: it came with `--insecure-options=image`")]
    Unverified {
        /// What was asked for.
        reference: String,
    },
    /// The store refused.
    #[error(transparent)]
    Store(#[from] Box<StoreError>),
    /// A file could not be read.
    #[error("could not read `{}`", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// A file of this machine is written to while it is fetched.
    #[error("`{path}` is written to while it is read")]
    Changed {
        /// The file.
        path: PathBuf,
    },
    /// A temporary file could not be made, written or read.
    #[error("could not use a temporary file in the store")]
    Temporary(#[source] io::Error),

    /// What an image depends on could not be fetched.
    #[error("could not fetch `{dependency}`, on which `{image}` depends")]
    Dependency {
        /// The image.
        image: Name,
        /// What it depends on.
        dependency: String,
        /// Why not.
        source: Box<Error>,
    },
    /// Images depend on each other in a circle.
    #[error("images depend on each other in a circle: {}", chain.join(" → "))]
    DependencyCycle {
        /// What depends on what.
        chain: Vec<String>,
    },
    /// Images depend on others more deeply than any honest image does.
    #[error("`{image}` depends on images more than {most} levels deep")]
    DependencyDepth {
        /// The deepest of them.
        image: String,
        /// How many levels there may be.
        most: usize,
    },
    /// A dependency is given by its ID, and another came.
    #[error("`{found}` was found, where `{wanted}` is needed")]
    DependencyId {
        /// The ID in the manifest.
        wanted: String,
        /// The ID of what was found.
        found: String,
    },
}

/// Why a redirect is not followed.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum RedirectProblem {
    /// It leads from HTTPS to plain HTTP.
    #[error("it leads from HTTPS to plain HTTP")]
    Downgrade,
    /// It leads away from HTTP.
    #[error("it does not lead to HTTPS")]
    Scheme,
    /// It names a user.
    #[error("it holds credentials")]
    Credentials,
    /// It is no URL.
    #[error("it is no URL")]
    NoUrl,
}

/// What an error means for the caller, as an exit code does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ErrorKind {
    /// What was asked for cannot be asked for.
    Usage,
    /// Everybody was asked, and nobody has it.
    NotFound,
    /// Something could not be asked, or did not answer as it should.
    Network,
    /// It came and must not be believed: unsigned, altered, by the wrong signer, or not what was asked for.
    NotTrusted,
    /// It came, believed or not, and is no valid image.
    Corrupt,
    /// This machine failed: its store, its files.
    Local,
}

impl Error {
    /// What the error means for the caller.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Url { .. }
            | Self::Scheme { .. }
            | Self::PlainHttp { .. }
            | Self::BucketUrl { .. }
            | Self::Magnet { .. } => ErrorKind::Usage,
            Self::NotFound { .. } | Self::NotInStore { .. } | Self::NoRecipe { .. } => ErrorKind::NotFound,
            Self::Discovery(error) if error.is_not_found() => ErrorKind::NotFound,
            Self::Discovery(_)
            | Self::Request { .. }
            | Self::Offline { .. }
            | Self::Status { .. }
            | Self::TooManyRedirects { .. }
            | Self::Redirect { .. }
            | Self::ForbiddenAddress { .. }
            | Self::TooSlow { .. }
            | Self::TooFewBytes { .. }
            | Self::Encoded { .. }
            | Self::TooLarge { .. }
            | Self::Range { .. }
            | Self::NoRanges { .. }
            | Self::Bucket { .. }
            | Self::RegistryLogin { .. }
            | Self::Truncated { .. }
            | Self::NoMetadata { .. }
            | Self::WrongPieces { .. }
            | Self::SwarmStalled { .. } => ErrorKind::Network,
            Self::NotTrusted { source, .. } => match source.kind() {
                dhow_trust::ErrorKind::Untrusted => ErrorKind::NotTrusted,
                _ => ErrorKind::Local,
            },
            Self::Decrypt { source, .. } => match source.kind() {
                dhow_trust::ErrorKind::Untrusted => ErrorKind::Corrupt,
                _ => ErrorKind::Local,
            },
            Self::Catalog { source, .. } => match **source {
                CatalogError::NotListed { .. } => ErrorKind::NotFound,
                CatalogError::Range(_) => ErrorKind::Usage,
                CatalogError::Memory { .. } => ErrorKind::Local,
                _ => ErrorKind::NotTrusted,
            },
            Self::RangeWithoutCatalog { .. } | Self::NoCatalogKept { .. } => ErrorKind::NotFound,
            Self::CatalogMissing { .. } | Self::CatalogRequired { .. } | Self::NotAsListed { .. } => {
                ErrorKind::NotTrusted
            }
            Self::NeverSigned { .. }
            | Self::NotSigned { .. }
            | Self::Unverified { .. }
            | Self::Mismatch { .. }
            | Self::DependencyId { .. } => ErrorKind::NotTrusted,
            Self::Convert { source, .. } if source.is_not_found() => ErrorKind::NotFound,
            Self::Convert { source, .. } if source.is_corrupt() => ErrorKind::Corrupt,
            Self::Convert { .. } => ErrorKind::Local,
            Self::Delta { source, .. } => match **source {
                DeltaError::Store(_) | DeltaError::Temporary(_) => ErrorKind::Local,
                _ => ErrorKind::Corrupt,
            },
            Self::WrongBlob { .. }
            | Self::DependencyCycle { .. }
            | Self::DependencyDepth { .. }
            | Self::Metainfo { .. }
            | Self::NotTheTorrent { .. }
            | Self::Archive { .. } => ErrorKind::Corrupt,
            Self::Store(error) => match **error {
                StoreError::Archive(_) => ErrorKind::Corrupt,
                StoreError::NotFound { .. } => ErrorKind::NotFound,
                StoreError::Ambiguous { .. } => ErrorKind::Usage,
                _ => ErrorKind::Local,
            },
            Self::Read { source, .. } if source.kind() == io::ErrorKind::NotFound => ErrorKind::NotFound,
            Self::BucketSettings(_)
            | Self::ReadCertificates { .. }
            | Self::NoCertificates { .. }
            | Self::Client(_)
            | Self::Swarm { .. }
            | Self::Read { .. }
            | Self::Changed { .. }
            | Self::Temporary(_) => ErrorKind::Local,
            Self::Endpoints { source, .. } | Self::Dependency { source, .. } => source.kind(),
        }
    }

    /// Whether it may pass by itself.
    pub(crate) fn is_transient(&self) -> bool {
        match self {
            Self::Status { status, .. } => matches!(status, 408 | 425 | 429 | 500 | 502 | 503 | 504),
            // Whoever may not read it may not read it later either.
            Self::Bucket { source, .. } => matches!(**source, object_store::Error::Generic { .. }),
            Self::Request { .. }
            | Self::TooSlow { .. }
            | Self::TooFewBytes { .. }
            | Self::Truncated { .. }
            | Self::Range { .. } => true,
            _ => false,
        }
    }

    /// After how long the server wants to be asked again, if it said so.
    pub(crate) fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Status { retry_after, .. } => *retry_after,
            _ => None,
        }
    }

    pub(crate) fn convert(image: &str, source: ConvertError) -> Self {
        Self::Convert {
            image: image.to_owned(),
            source: Box::new(source),
        }
    }

    /// Which of several endpoints' errors is told. The larger is the graver.
    pub(crate) fn gravity(&self) -> u8 {
        match self.kind() {
            ErrorKind::NotFound => 0,
            ErrorKind::Usage => 1,
            ErrorKind::Network => 2,
            ErrorKind::Corrupt => 3,
            // It can be done without that one, and so must hide none that is worse.
            ErrorKind::NotTrusted if self.expired_catalog().is_some() => 4,
            ErrorKind::NotTrusted => 5,
            ErrorKind::Local => 6,
        }
    }

    /// The prefix of the catalog that is all right but for its age, and when it expired, if that is what is wrong.
    pub(crate) fn expired_catalog(&self) -> Option<(&Name, DateTime<Utc>)> {
        match self {
            Self::Catalog { source, .. } => match &**source {
                CatalogError::Expired { prefix, expired } => Some((prefix, *expired)),
                _ => None,
            },
            Self::Endpoints { source, .. } => source.expired_catalog(),
            _ => None,
        }
    }
}

impl From<StoreError> for Error {
    fn from(error: StoreError) -> Self {
        Self::Store(Box::new(error))
    }
}

fn asks(retry_after: &Option<Duration>) -> String {
    match retry_after {
        Some(wait) => format!(" and asks to be left alone for {} seconds", wait.as_secs()),
        None => String::new(),
    }
}

/// A URL as it may be shown to anybody: without the user's name and password.
pub(crate) fn shown(url: &Url) -> String {
    let mut url = url.clone();
    // A URL without a host has no credentials, and refuses to have them set.
    let _ = url.set_username("");
    let _ = url.set_password(None);
    url.into()
}
