//! Conversion between App Container Images and those of OCI and Docker, both ways.
//!
//! ```text
//!   oci:DIR, oci-archive:FILE, docker-archive:FILE            FILE.aci
//!        │                                                       │
//!     Container ──► Images ──select──► FoundImage             TarReader
//!                                          │                     │
//!                      layers: digest ► decompress ► digest   TarWriter ► digest ► compress ► digest
//!                                          │                     │
//!                                  Plan: which entry wins      config, manifest, index
//!                                          │                     │
//!                                  squash │ keep ──► ACI       oci:, oci-archive:, docker-archive:
//! ```
//!
//! Nothing is unpacked on the way. The layers of an image are read twice: once to learn which entry of which layer each
//! path of the result comes from, once to copy those entries; only the paths are held in memory. Every blob is checked
//! against its digest and size each time that it is read.
//!
//! The same input gives the same bytes. What one format says and the other has no place for travels as an annotation,
//! so that it is there again after the way back: [`ORIGINAL_MANIFEST`] in what is made of an ACI, `appc.io/docker/…` in
//! the manifest of an ACI that was made from Docker's.

mod aci;
mod blob;
mod config;
mod container;
mod digest;
mod document;
mod error;
mod export;
mod layer;
mod location;
mod naming;
mod packing;
mod plan;
mod platform;
mod pull;
mod source;
mod tar;

#[cfg(test)]
mod tests;

pub use aci::{AciOptions, Converted, LayerAci, keep_layers, squash};
pub use digest::{Digest as BlobDigest, DigestCheck};
pub use error::ConvertError;
pub use export::{ExportOptions, Exported, export};
pub use location::{ImageLocation, ImageLocationError};
pub use platform::{OciPlatform, OciPlatformError};
pub use pull::{Blob, ImagePull, Needed};
pub use source::{FoundImage, Images};

/// The annotation, or in a Docker archive the label, that holds the manifest of the ACI from which an image was made.
pub const ORIGINAL_MANIFEST: &str = "appc.io/manifest";

/// No honest JSON document comes near this, and it is held in memory.
const MAX_DOCUMENT: u64 = 4 << 20;
