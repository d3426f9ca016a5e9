//! What can go wrong in the store.

use std::{io, path::PathBuf};

use dhow_image::{ArchiveError, ImageId, ManifestError, Name};
use thiserror::Error;

use crate::{roots::User, tree::TreeError};

/// Why the store could not do what was asked.
#[derive(Debug, Error)]
pub enum StoreError {
    /// A file of the store could not be read or written.
    #[error("could not access `{path}` in the store")]
    Io {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The directory is a store of a version that this program does not know.
    #[error(
        "`{path}` is a store of version `{found}`; this program knows version {}",
        crate::store::VERSION
    )]
    Version {
        /// The store's directory.
        path: PathBuf,
        /// What its `VERSION` says.
        found: String,
    },
    /// The archive is no image.
    #[error("the archive is not a valid image")]
    Archive(#[from] ArchiveError),
    /// No image has this ID.
    #[error("no image `{id}` is in the store")]
    NotFound {
        /// The ID or its beginning.
        id: String,
    },
    /// The beginning of an ID fits several images.
    #[error("`{prefix}` fits several images: {}", ids.iter().map(ImageId::short).collect::<Vec<_>>().join(", "))]
    Ambiguous {
        /// What was given.
        prefix: String,
        /// The images that it fits.
        ids: Vec<ImageId>,
    },
    /// A directory that was to be empty is not.
    #[error("`{path}` is not empty")]
    NotEmpty {
        /// The directory.
        path: PathBuf,
    },
    /// An image's file in the store is damaged.
    #[error("the store is damaged: `{path}` {problem}")]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        problem: String,
    },
    /// An image's manifest in the store is damaged.
    #[error("the store is damaged: the manifest of `{id}` is not valid")]
    DamagedManifest {
        /// The image.
        id: ImageId,
        /// What is wrong with it.
        #[source]
        source: ManifestError,
    },
    /// A dependency of an image is not in the store.
    #[error("`{dependency}`, on which {} depends, is not in the store{but}", last_of(chain))]
    MissingDependency {
        /// The names from the image that was asked for to the one that depends.
        chain: Vec<Name>,
        /// What it depends on: name, labels and ID.
        dependency: String,
        /// What is there in its place, if anything.
        but: &'static str,
    },
    /// What is in the store is not what an image says that it depends on.
    #[error("`{dependency}`, on which {} depends, does not fit: {problem}", last_of(chain))]
    WrongDependency {
        /// The names from the image that was asked for to the one that depends.
        chain: Vec<Name>,
        /// What it depends on: name, labels and ID.
        dependency: String,
        /// What does not fit.
        problem: String,
    },
    /// Images depend on each other in a circle.
    #[error("images depend on each other in a circle: {}", arrows(chain))]
    DependencyCycle {
        /// The names along the circle.
        chain: Vec<Name>,
    },
    /// An image depends on more than any real one does.
    #[error("the dependencies of `{image}` make {problem}")]
    TooManyDependencies {
        /// The image that was asked for.
        image: Name,
        /// What there is too much of.
        problem: String,
    },
    /// An image holds what no file system here can.
    #[error("the root file system of `{id}` cannot be made")]
    Tree {
        /// The image.
        id: ImageId,
        /// Why.
        #[source]
        source: Box<TreeError>,
    },
    /// Another program holds a lock for longer than anyone waits.
    #[error("other programs keep the store busy: `{path}` was locked for too long")]
    Busy {
        /// The lock.
        path: PathBuf,
    },
    /// The store can only be read.
    #[error("the store `{path}` can only be read")]
    ReadOnly {
        /// The store's directory.
        path: PathBuf,
    },
    /// An image is needed, and stays.
    #[error("`{image}` is needed by {}", users.iter().map(ToString::to_string).collect::<Vec<_>>().join(", "))]
    InUse {
        /// The image, by its name and ID.
        image: String,
        /// Who needs it.
        users: Vec<User>,
    },
    /// A pin's name cannot be a file's.
    #[error("`{name}` is no name for a pin: letters, digits, `-`, `_` and `.` are, with a letter or digit first")]
    PinName {
        /// What was given.
        name: String,
    },
    /// The index is damaged, or another program holds it.
    #[error("could not use the store's index `{path}`")]
    Index {
        /// The index.
        path: PathBuf,
        /// Why.
        #[source]
        source: rusqlite::Error,
    },
}

impl StoreError {
    /// Names the file that an I/O error is about.
    pub(crate) fn io(path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |source| Self::Io { path, source }
    }

    /// Whether the index could not be written, for want of room or since the disk fails: what it holds is in the files.
    pub(crate) fn is_lack_of_room(&self) -> bool {
        use rusqlite::ErrorCode::{CannotOpen, DiskFull, ReadOnly, SystemIoFailure};
        match self {
            Self::Index { source, .. } => matches!(
                source.sqlite_error_code(),
                Some(DiskFull | SystemIoFailure | CannotOpen | ReadOnly)
            ),
            _ => false,
        }
    }
}

/// The last image of a chain, and how it was come to.
fn last_of(chain: &[Name]) -> String {
    let last = chain.last().map_or("", Name::as_str);
    match chain.len() {
        0 | 1 => format!("`{last}`"),
        _ => format!("`{last}` ({})", arrows(chain)),
    }
}

fn arrows(chain: &[Name]) -> String {
    chain.iter().map(Name::as_str).collect::<Vec<_>>().join(" → ")
}
