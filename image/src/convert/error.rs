//! What can be wrong with a conversion.

use std::{io, path::PathBuf};

use thiserror::Error;

use crate::{archive::ArchiveError, manifest::ManifestError, name::NameError};

/// Why an image could not be converted.
#[derive(Debug, Error)]
pub enum ConvertError {
    /// A file could not be read.
    #[error("could not read `{path}`")]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A file could not be written.
    #[error("could not write `{path}`")]
    Write {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The directory or archive is not what it was said to be.
    #[error("`{path}` is no {expected}: {problem}")]
    NotA {
        /// What was given.
        path: PathBuf,
        /// What it should be.
        expected: &'static str,
        /// What is missing or wrong.
        problem: String,
    },
    /// No image of that name is there.
    #[error("`{path}` has no image `{wanted}`; it has {found}")]
    NoImage {
        /// Where it was looked for.
        path: PathBuf,
        /// What was asked for.
        wanted: String,
        /// What there is.
        found: String,
    },
    /// There are several images, and none was named.
    #[error("`{path}` holds several images: name one of {found}")]
    SeveralImages {
        /// Where they are.
        path: PathBuf,
        /// Their names.
        found: String,
    },
    /// No image for that platform is there.
    #[error("`{path}` has no image for {wanted}; it has {found}")]
    NoPlatform {
        /// Where it was looked for.
        path: PathBuf,
        /// The platform asked for.
        wanted: String,
        /// Those that there are.
        found: String,
    },
    /// A document is not JSON, or not of the form that it should have.
    #[error("`{name}` is not the document that it should be")]
    Document {
        /// Its name, or its digest.
        name: String,
        /// What is wrong.
        #[source]
        source: serde_json::Error,
    },
    /// Something that is referred to breaks a rule.
    #[error("`{name}` {problem}")]
    Invalid {
        /// What it is.
        name: String,
        /// What is wrong with it.
        problem: String,
    },
    /// The content of a blob could not be read, or is not what its digest and size say.
    #[error("could not read the blob `{name}`")]
    Blob {
        /// Its digest, or its name in the archive.
        name: String,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A layer is no tar, or a broken one.
    #[error("could not read the layer `{layer}`")]
    Layer {
        /// Its digest, or its name in the archive.
        layer: String,
        /// What is wrong.
        #[source]
        source: ArchiveError,
    },
    /// An entry of a layer is not allowed.
    #[error("the layer `{layer}` has the entry `{path}`, which {problem}")]
    Entry {
        /// The layer's digest, or its name in the archive.
        layer: String,
        /// The entry's name.
        path: String,
        /// Why it is not allowed.
        problem: String,
    },
    /// The image's name cannot be made from what it is called.
    #[error("no name can be made from `{text}`: give one with --name")]
    Name {
        /// What it is called.
        text: String,
        /// What is wrong with it.
        #[source]
        source: NameError,
    },
    /// An ACI has dependencies, whose files are elsewhere.
    #[error(
        "`{path}` depends on {dependencies}, whose files are not in it: convert an archive that has no dependencies, \
         or put the files together first"
    )]
    Dependencies {
        /// The archive.
        path: PathBuf,
        /// The names that it depends on.
        dependencies: String,
    },
    /// An ACI could not be read.
    #[error("could not read `{path}`")]
    Aci {
        /// The archive.
        path: PathBuf,
        /// What is wrong.
        #[source]
        source: ArchiveError,
    },
    /// The manifest of the result would not be valid.
    #[error("the image's manifest would not be valid")]
    Manifest(#[from] ManifestError),
    /// The result could not be written to where the caller puts it.
    #[error("could not write the image")]
    Output(#[source] io::Error),
}

impl ConvertError {
    /// Whether what was asked for is not there.
    pub fn is_not_found(&self) -> bool {
        match self {
            Self::NoImage { .. } | Self::NoPlatform { .. } => true,
            Self::Read { source, .. } => source.kind() == io::ErrorKind::NotFound,
            _ => false,
        }
    }

    /// Whether what was read is damaged, or breaks the rules of its format.
    pub fn is_corrupt(&self) -> bool {
        matches!(
            self,
            Self::NotA { .. }
                | Self::Document { .. }
                | Self::Invalid { .. }
                | Self::Blob { .. }
                | Self::Layer { .. }
                | Self::Entry { .. }
                | Self::Aci { .. }
        )
    }

    pub(super) fn invalid(name: impl Into<String>, problem: impl Into<String>) -> Self {
        Self::Invalid {
            name: name.into(),
            problem: problem.into(),
        }
    }
}
