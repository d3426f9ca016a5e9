//! What can be wrong with an archive.

use std::io;

use thiserror::Error;

use crate::manifest::ManifestError;

/// Why an archive could not be read or written.
#[derive(Debug, Error)]
pub enum ArchiveError {
    /// The bytes could not be read, decompressed or written.
    #[error("could not read the archive")]
    Io(#[source] io::Error),
    /// The compressed stream or the tar ends too early.
    #[error("the archive is truncated")]
    Truncated,
    /// The file is an OpenPGP message.
    #[error("the archive is encrypted: `dhow decrypt` opens it for who holds the key")]
    Encrypted,
    /// The file is neither a tar nor a compressed one.
    #[error("this is not an image archive: it is neither a tar nor compressed with gzip, bzip2, xz or zstd")]
    NotAnArchive,
    /// A header's bytes make no sense.
    #[error("the archive is corrupt at byte {offset} of its tar: {problem}")]
    Corrupt {
        /// How far into the uncompressed tar.
        offset: u64,
        /// What is wrong there.
        problem: String,
    },
    /// An entry is not allowed in an image.
    #[error("the archive has the entry `{path}`, which {problem}")]
    Entry {
        /// The entry's name.
        path: String,
        /// Why it is not allowed.
        problem: String,
    },
    /// The archive is larger than [`Limits`](super::Limits) permit.
    #[error("the archive has over {limit} {what}, which is the most that is read")]
    TooLarge {
        /// What there is too much of.
        what: &'static str,
        /// The limit.
        limit: u64,
    },
    /// The archive has no `manifest`.
    #[error("the archive has no `manifest`, so it is not an App Container Image")]
    NoManifest,
    /// The archive has no `rootfs` directory.
    #[error("the archive has no `rootfs`, so it is not an App Container Image")]
    NoRootfs,
    /// The manifest is not valid.
    #[error("the archive's manifest is not valid")]
    Manifest(#[from] ManifestError),
}

impl From<io::Error> for ArchiveError {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::UnexpectedEof => Self::Truncated,
            // A reader beneath may know better than that it failed.
            _ => error.downcast().unwrap_or_else(Self::Io),
        }
    }
}
