//! Discovery: from a name to the places where its archive, its signature and its keys lie (appc spec, discovery.md).
//!
//! A name such as `example.com/app` is asked for at `https://example.com/app?ac-discovery=1`, then at the parent
//! paths, until a page has meta tags that speak of it. This crate reads and writes those tags, fills in their URL
//! templates and decides which page to ask for next. It never opens a connection: a [`PageSource`] does.
//!
//! ```text
//!   PageTags ──to_html──► page ──read_tags──► MetaTag ──Template──► Endpoint ┐
//!                          ▲                                                 ├─► Discovery, with its Trace
//!   Request ──discover──► PageSource (walks to the parent path)   pubkeys ───┘
//!      │
//!      └──check── the manifest that was fetched in the end
//! ```
//!
//! How the buckets of `s3`, `gs` and `az` are reached is the user's own affair, and known to [`Buckets`], by which a site
//! is written and archives are fetched alike.
//!
//! Nothing on a page is to be trusted: it says where to look, and a signature whether it was the right place. A signed
//! [`Catalog`] says which images there are, and that the list is fresh.
//! It may use `dhow-image`, and `dhow-trust` for the signed catalog.

mod bucket;
mod catalog;
mod discover;
mod error;
mod page;
mod request;
mod scheme;
mod tags;
mod template;
mod trace;

pub use bucket::{BucketError, BucketSettings, Buckets};
pub use catalog::{
    Accepted, Catalog, CatalogError, CatalogHead, CatalogImage, CatalogLines, CatalogMemory, FileFacts, SignedCatalog,
    VersionRange, VersionRangeError,
};
pub use discover::{
    CatalogLink, Discovery, Endpoint, Options, PageAnswer, PageSource, discover, discover_catalogs, discover_pubkeys,
};
pub use error::Error;
pub use page::PageTags;
pub use request::{Mismatch, Request, host_labels};
pub use scheme::Scheme;
pub use tags::{MAX_PAGE, MetaTag, PageError, TagError, TagKind, read_tags};
pub use template::{Template, TemplateError};
pub use trace::{Answer, Decision, Step, TagStep, Trace, Use};
