//! Fetching: from a reference to an image in the store, verified.
//!
//! ```text
//!   Reference ──fetch──► discovery ──► Endpoint, Endpoint, …      tried in order, until one gives what was asked for
//!                            │             │
//!                       HttpClient     Transport ──► signature, then the archive into a temporary file, read as it comes
//!                                                        │
//!                             Keyring ── verified ── name and labels checked ── dependencies ──► Store, Provenance
//! ```
//!
//! [`HttpClient`] holds what is dangerous about URLs of strangers: redirects, addresses inside one's own network,
//! plain HTTP. A [`Transport`] moves bytes and believes nothing; [`fetch`] believes a signature.
//!
//! It may use `dhow-image`, `dhow-trust`, `dhow-discovery` and `dhow-store`.

mod address;
mod bittorrent;
mod catalogs;
mod client;
mod connect_to;
mod containers;
mod credentials;
mod dependency;
mod download;
mod error;
mod fetch;
mod gravest;
mod ingest;
mod insecure;
mod mirrors;
mod options;
mod origin;
mod pages;
mod progress;
mod provenance;
mod pubkeys;
mod pull;
mod rate_limit;
mod redirect;
mod registry;
mod resolver;
mod response;
mod retry;
mod transport;
mod vectored;
mod workers;

pub use address::{AddressClass, AddressClasses};
pub use bittorrent::{
    KeptArchive, KeptArchives, Magnet, Metainfo, MetainfoError, SeedGoal, Seeding, Swarm, SwarmDownload, SwarmOptions,
    Swarms,
};
pub use catalogs::Catalogs;
pub use client::HttpClient;
pub use connect_to::{ConnectTo, ConnectToError};
pub use containers::Layers;
pub use credentials::{Credential, Credentials, Login, Secret, Sending};
pub use download::{DownloadOptions, Downloader, Downloads, Partial};
pub use error::{Error, ErrorKind};
pub use fetch::{CarriedArchive, DeltaUse, FetchContext, Fetched, fetch, fetch_archives};
pub use insecure::Insecure;
pub use mirrors::{Mirror, MirrorMode, Mirrors};
pub use options::{HttpOptions, Timeouts};
pub use origin::Origin;
pub use pages::Pages;
pub use progress::{NoProgress, Note, Phase, Progress};
pub use provenance::{ArchiveRecord, ConvertedFrom, Insecurity, Provenance, Rebuilt, Verified};
pub use pubkeys::{PubkeySource, Pubkeys, fetch_pubkeys};
pub use pull::PullPolicy;
pub use rate_limit::{RateLimit, RateLimitError};
pub use registry::RegistryLogins;
pub use response::{HttpResponse, SmallResponse};
pub use retry::RetryPolicy;
pub use transport::{
    Ask, Body, BucketTransport, FileTransport, Filler, HttpsTransport, Opened, SwarmTransport, Transport, Version,
};
pub use workers::runtime;
