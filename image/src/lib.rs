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
mod convert;
mod image_id;
mod inspect;
mod label;
mod manifest;
mod name;
mod patch;
mod reference;
mod registry_reference;
mod sha512;
mod validate;

pub use archive::{
    ArchiveError, Compression, Compressor, Decompressor, Entry, EntryKind, ImageSummary, Limits, RootfsPath, TarPipe,
    TarReader, TarWriter, read_manifest, read_summary, read_summary_within, with_tar,
};
pub use build::{BuildError, BuildOptions, Built, OwnerMap, OwnerMapError, Selection, SelectionError, build};
pub use convert::{
    AciOptions, Blob, BlobDigest, ConvertError, Converted, DigestCheck, ExportOptions, Exported, FoundImage,
    ImageLocation, ImageLocationError, ImagePull, Images, LayerAci, Needed, ORIGINAL_MANIFEST, OciPlatform,
    OciPlatformError, export, keep_layers, squash,
};
pub use image_id::{ImageId, ImageIdError, ImageIdPrefix};
pub use inspect::{DirectorySize, EntryCounts, Inspection, inspect};
pub use label::{Label, Labels, LabelsError};
pub use manifest::{
    AcKind, AcKindError, AcVersion, AcVersionError, Annotation, App, Dependency, EnvironmentError, EnvironmentVariable,
    EventHandler, ExposedPort, Finding, ImageManifest, Isolator, IsolatorParametersError, IsolatorSetting,
    ManifestError, MountPoint, Notation, Outline, OutlineApp, OutlineImage, OutlineLabel, ParametersError, Platform,
    PodApp, PodAppImage, PodManifest, Port, Quantity, QuantityError, Resource, SPEC_VERSION, SeccompSet,
    SelinuxContext, Severity, Timestamp, TimestampError, Volume, VolumeKind, VolumeMount, parameters,
};
pub use name::{AcName, Name, NameError};
pub use patch::{PatchError, Patched, patch};
pub use reference::{Reference, ReferenceError};
pub use registry_reference::{RegistryReference, RegistryReferenceError};
pub use sha512::Sha512;
pub use validate::{Validation, validate_archive, validate_manifest};
