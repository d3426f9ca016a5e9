//! App Container images: what they are called, what they say and how they are packed.
//!
//! An image is a tar with `manifest` and `rootfs/`, perhaps compressed, named by the SHA-512 of the uncompressed
//! tar (appc spec, aci.md). This crate reads and writes that format and nothing else: it never touches the network,
//! a store or a key.
//!
//! ```text
//!   Reference ──parse── what a user types
//!      │
//!    Name, Labels ──── found in ──── ImageManifest ──── first thing in an ── archive
//!                                                                              │
//!   build ──writes──► TarWriter ──► Compressor ──► FILE.aci ──► Decompressor ──► TarReader ──► entries
//!                                                                              │
//!                                                                           ImageId
//! ```
//!
//! It may use no other crate of the workspace.

mod archive;
mod build;
mod image_id;
mod label;
mod manifest;
mod name;
mod reference;

pub use archive::{
    ArchiveError, Compression, Compressor, Decompressor, Entry, EntryKind, ImageSummary, RootfsPath, TarReader,
    TarWriter, read_manifest, read_summary,
};
pub use build::{BuildError, BuildOptions, Built, OwnerMap, OwnerMapError, Selection, SelectionError, build};
pub use image_id::{ImageId, ImageIdError, ImageIdPrefix};
pub use label::{Label, Labels, LabelsError};
pub use manifest::{
    Annotation, App, Dependency, EnvironmentVariable, EventHandler, ImageManifest, Isolator, ManifestError, MountPoint,
    PodApp, PodAppImage, PodManifest, Port, SPEC_VERSION, Volume, VolumeKind, VolumeMount,
};
pub use name::{AcName, Name, NameError};
pub use reference::{Reference, ReferenceError};
