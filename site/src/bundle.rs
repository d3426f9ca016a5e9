//! Bundles: images of a site in one file, to be carried to where no network is.
//!
//! ```text
//! BUNDLE                       JSON: the format, facts of the keys, the record of each image, dependencies first
//! pubkeys.gpg                  the certificates of the signers, armored
//! <prefix>/CATALOG             each signed catalog that lists one of the images, as its publisher signed it
//! ACI/<name>/<stem>.aci.asc    for each image, in the order of the records: its signature,
//! ACI/<name>/<stem>.aci        and its archive
//! ```
//!
//! It is a tar of plain ustar headers, and the same for the same images: no times, no owners. Whoever reads one knows,
//! from its first entry on, every byte of every header that follows: what is anything else (a link, another path or
//! order, a file more) is refused, and no path of it is ever used for a file. Contents are held against the sizes and
//! digests of the records. That shows damage; whom to believe, signatures show, which are checked afterwards.

mod export;
mod header;
mod unpack;

use dhow_image::Name;
use object_store::path::Path;
use serde::{Deserialize, Serialize};
use url::Url;

pub use self::unpack::{Unpacked, UnpackedCatalog, UnpackedImage, unpack_bundle};
use crate::{BaseUrl, FileFacts, Layout, Record};

const FORMAT: &str = "dhow-bundle-1";
const INDEX: &str = "BUNDLE";
const KEYS: &str = "pubkeys.gpg";
const CATALOG: &str = "CATALOG";
const BLOCK: usize = 512;
/// What is held in memory: the index, the keys.
const MAX_SMALL: u64 = 16 << 20;
/// No catalog is larger, in bytes.
const MAX_CATALOG: u64 = dhow_discovery::SignedCatalog::MAX_SIZE as u64;
/// No honest signature is larger, in bytes.
const MAX_SIGNATURE: u64 = 1 << 20;

/// The first entry of a bundle.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Index {
    format: String,
    keys: FileFacts,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    catalogs: Vec<BundledCatalog>,
    images: Vec<Record>,
}

/// A catalog in a bundle.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct BundledCatalog {
    prefix: Name,
    file: FileFacts,
}

impl Index {
    fn to_json(&self) -> Vec<u8> {
        let mut json = serde_json::to_vec_pretty(self).expect("an index has only text keys");
        json.push(b'\n');
        json
    }
}

/// Where archives lie does not depend on where the site is.
fn layout() -> Layout {
    let nowhere = Url::parse("https://bundle.invalid").expect("it is a URL");
    Layout::new(BaseUrl::new(nowhere).expect("it is the URL of a site"))
}

/// Paths of an image's signature and archive, as they are in a bundle.
fn paths(record: &Record) -> [Path; 2] {
    let paths = layout().archive(record);
    [paths.signature, paths.archive]
}

/// The path of a prefix's catalog, as it is in a bundle: that of a host's in any site.
fn catalog_path(prefix: &Name) -> String {
    format!("{prefix}/{CATALOG}")
}

/// The zeros after a content of this size.
fn padding(size: u64) -> usize {
    let beyond = usize::try_from(size % BLOCK as u64).expect("it is less than a block");
    (BLOCK - beyond) % BLOCK
}
