//! A site: what a publisher puts on a web server, a mirror serves and a bundle carries.
//!
//! [`Site::publish`] writes an archive, its signature, its publisher's keys and the pages by which it is discovered
//! into a directory or any other `object_store`. What it writes needs nothing of the server but to serve files, so
//! that nginx, GitHub Pages or a bucket can host it as it is. [`Site::list`] then puts what was published into the
//! site's signed catalog; [`Site::yank`] and [`Site::unpublish`] withdraw it, and
//! [`Site::retention`] says which versions are too many. [`Files`] is the reading side, which a mirror serves.
//!
//! ```text
//!   Publication ──check──► pubkeys.gpg ──► archive, signature, Record ──► latest copies ──► pages ──► CATALOG
//!                                                                │                            ▲          ▲
//!                                                                └── all that they are made from ────────┘
//!   Layout: names → paths and URLs          Files: the store beneath, directory or bucket
//! ```
//!
//! It may use `dhow-image`, `dhow-trust`, `dhow-discovery` and `dhow-store`; never `dhow-fetchers`.

mod base_url;
mod brief;
mod bundle;
mod cache;
mod candidate;
mod catalog;
mod contested;
mod delta;
mod encryption;
mod error;
mod files;
mod folder;
mod keys;
mod latest;
mod layout;
mod listing;
mod metainfo;
mod names;
mod older;
mod packs;
mod page;
mod publish;
mod record;
mod removal;
mod retention;
mod secrets;
mod settle;
mod site;
mod torrent;
mod withdraw;

pub use base_url::BaseUrl;
pub use bundle::{Unpacked, UnpackedCatalog, UnpackedImage, unpack_bundle};
pub use catalog::{CatalogOptions, CatalogWritten, Listed, OnOtherSigner};
pub use delta::{DeltaOptions, PublishedDelta, Sealing};
pub use dhow_discovery::FileFacts;
pub use encryption::{Encryption, Inside};
pub use error::Error;
pub use files::{Files, content_type};
pub use layout::Layout;
pub use metainfo::{Metainfo, TorrentOptions};
pub use packs::SitePacks;
pub use publish::{OnConflict, Publication, Published};
pub use record::{Record, TorrentFacts};
pub use retention::{Kept, Retention};
pub use secrets::SealingSecrets;
pub use site::Site;
pub use torrent::PublishedTorrent;
