//! Registries of OCI and Docker (opencontainers/distribution-spec 1.1, "Pull").
//!
//! ```text
//!   RegistryReference ──► Registry ── documents, verified ──► ImagePull ──► the blobs that are needed
//!                            │                                                  │
//!            challenge, token, RegistryLogins          BlobTransport ──Downloader──► BlobCache, verified
//!                                                                                   │
//!                                                    an OCI layout, which `dhow-image` makes an ACI of
//! ```
//!
//! All requests go out over our own [`HttpClient`](crate::HttpClient), so what holds for a stranger's URL holds here: a
//! login never leaves the registry's own host but for the service that gives out its tokens, redirects lead nowhere
//! where the registry itself is not, and no document is longer than any honest one.

mod blob;
mod cache;
mod challenge;
mod logins;
mod session;

pub use self::logins::RegistryLogins;
pub(crate) use self::{
    blob::BlobTransport,
    cache::BlobCache,
    session::{Document, Registry},
};
