//! What can go wrong in a build.

use std::{io, path::PathBuf};

use thiserror::Error;

use crate::manifest::ManifestError;

/// Why an image could not be built.
#[derive(Debug, Error)]
pub enum BuildError {
    /// The manifest is not valid.
    #[error("the image's manifest would not be valid")]
    Manifest(#[from] ManifestError),
    /// A file of the root file system could not be read.
    #[error("could not read `{path}`")]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A file that was listed is not there.
    #[error("`{path}` was listed, and is not in the root file system")]
    Missing {
        /// Its path in the root file system.
        path: String,
    },
    /// The root file system is no directory.
    #[error("`{path}` is not a directory")]
    NotADirectory {
        /// What was given.
        path: PathBuf,
    },
    /// The archive could not be written.
    #[error("could not write the archive")]
    Write(#[source] io::Error),
}
