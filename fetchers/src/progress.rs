//! [`Progress`]: telling somebody how far it is.

use std::{
    fmt,
    io::{self, Read},
    time::Duration,
};

use chrono::{DateTime, Utc};
use dhow_image::Name;

use crate::error::Error;

/// Whoever shows how far a fetch is. What comes is a row of phases, each with its bytes.
pub trait Progress: Send + Sync {
    /// Something begins: on what, and how many bytes it has, if that is known. It ends whatever went on before.
    fn begin(&self, phase: Phase, subject: &str, total: Option<u64>);

    /// So many bytes more are done.
    fn advance(&self, bytes: u64);

    /// So many peers give what is fetched now, and take it.
    fn peers(&self, _count: u32) {}

    /// All is done, well or not.
    fn end(&self);

    /// Something happened on the way that does not end it.
    fn note(&self, note: &Note<'_>);
}

/// What a person may want to know though the fetch goes on.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub enum Note<'a> {
    /// Another process fetches the same thing: we wait for it.
    Waiting {
        /// What is fetched.
        place: &'a str,
    },
    /// A place will be asked again.
    Retrying {
        /// The place.
        place: &'a str,
        /// What went wrong.
        error: &'a Error,
        /// After so long.
        wait: Duration,
    },
    /// An image cannot be fetched by difference: its archive is fetched.
    NoDelta {
        /// The archive.
        place: &'a str,
        /// What went wrong.
        error: &'a Error,
    },
    /// A patch cannot be used: packs are fetched.
    NoPatch {
        /// The patch.
        place: &'a str,
        /// What went wrong.
        error: &'a Error,
    },
    /// An image was fetched by difference. All are bytes, but for the requests.
    Rebuilt {
        /// The recipe.
        place: &'a str,
        /// What was here already, of the tar.
        held: u64,
        /// What was fetched.
        fetched: u64,
        /// With how many requests.
        requests: usize,
        /// What the archive has.
        archive: u64,
    },
    /// The publisher has withdrawn what is fetched, which was asked for by its exact version.
    Yanked {
        /// The image's name.
        name: &'a Name,
        /// Its version.
        version: &'a str,
        /// Why.
        reason: &'a str,
    },
    /// The publisher's catalog has expired, and the exact version that is asked for is fetched without.
    CatalogExpired {
        /// The image's name.
        name: &'a Name,
        /// Whose catalog it is.
        prefix: &'a Name,
        /// When it expired.
        expired: DateTime<Utc>,
    },
    /// One of several places did not give what was asked for. If there is another, it is tried.
    Failed {
        /// The place.
        place: &'a str,
        /// What went wrong.
        error: &'a Error,
    },
}

/// What is being done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Asking where the image is. The subject is its name.
    Discovering,
    /// Asking a registry for its manifest. The subject is its repository.
    Manifest,
    /// Making an ACI of it. The subject is a repository or a file.
    Converting,
    /// Fetching its signature. The subject is a URL.
    Signature,
    /// Fetching its recipe. The subject is a URL.
    Recipe,
    /// Fetching the patch from the version before. The subject is a URL.
    Patch,
    /// Fetching the parts of packs that are missing. The subject is a URL.
    Packs,
    /// Fetching its archive. The subject is a URL or a file.
    Archive,
    /// Verifying the archive. The subject is a URL or a file.
    Verifying,
    /// Decrypting the archive. The subject is a URL or a file.
    Decrypting,
    /// Taking it into the store. The subject is a URL or a file.
    Storing,
}

impl Phase {
    /// A word for programs, which stays the same.
    pub fn id(self) -> &'static str {
        match self {
            Self::Discovering => "discovering",
            Self::Manifest => "manifest",
            Self::Converting => "converting",
            Self::Signature => "signature",
            Self::Recipe => "recipe",
            Self::Patch => "patch",
            Self::Packs => "packs",
            Self::Archive => "archive",
            Self::Verifying => "verifying",
            Self::Decrypting => "decrypting",
            Self::Storing => "storing",
        }
    }
}

/// Shows nothing.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoProgress;

impl Progress for NoProgress {
    fn begin(&self, _: Phase, _: &str, _: Option<u64>) {}
    fn advance(&self, _: u64) {}
    fn end(&self) {}
    fn note(&self, _: &Note<'_>) {}
}

/// A reader that tells how much was read.
pub(crate) struct Counted<'a, R> {
    reader: R,
    progress: &'a dyn Progress,
}

impl<'a, R> Counted<'a, R> {
    pub(crate) fn new(reader: R, progress: &'a dyn Progress) -> Self {
        Self { reader, progress }
    }
}

impl<R: Read> Read for Counted<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.reader.read(buffer)?;
        self.progress.advance(read as u64);
        Ok(read)
    }
}

impl fmt::Display for Note<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let error = match self {
            Self::Waiting { place } => return write!(f, "waiting for another process that fetches `{place}`"),
            Self::Rebuilt {
                held,
                fetched,
                requests,
                archive,
                ..
            } => {
                return write!(
                    f,
                    "{} were here, {} fetched in {requests} {}; the archive has {}",
                    megabytes(*held),
                    megabytes(*fetched),
                    if *requests == 1 { "part" } else { "parts" },
                    megabytes(*archive),
                );
            }
            Self::Yanked { name, version, reason } => {
                return write!(
                    f,
                    "`{name}` {version} was withdrawn by its publisher: {}",
                    reason.escape_debug()
                );
            }
            Self::CatalogExpired { name, prefix, expired } => {
                return write!(
                    f,
                    "the catalog of `{prefix}` expired on {}, so `{name}` is fetched as its pages have it: nobody vouches \
                     that this version was not withdrawn",
                    expired.format("%Y-%m-%d %H:%M UTC"),
                );
            }
            Self::Retrying { error, .. }
            | Self::Failed { error, .. }
            | Self::NoDelta { error, .. }
            | Self::NoPatch { error, .. } => error,
        };
        let causes = std::iter::successors(Some(*error as &dyn std::error::Error), |error| error.source());
        for (index, cause) in causes.enumerate() {
            write!(f, "{}{cause}", if index == 0 { "" } else { ": " })?;
        }
        match self {
            Self::Retrying { wait, .. } => write!(f, "; trying again in {:.1} s", wait.as_secs_f64()),
            Self::NoDelta { place, .. } => write!(f, "; fetching `{place}` whole"),
            Self::NoPatch { .. } => write!(f, "; fetching from packs what it would have brought"),
            _ => Ok(()),
        }
    }
}

fn megabytes(bytes: u64) -> String {
    format!("{:.2} MB", bytes as f64 / 1e6)
}

impl fmt::Display for Phase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Discovering => "discovering",
            Self::Manifest => "fetching the manifest",
            Self::Converting => "converting",
            Self::Signature => "fetching the signature",
            Self::Recipe => "fetching the recipe",
            Self::Patch => "fetching the patch",
            Self::Packs => "fetching what changed",
            Self::Archive => "fetching",
            Self::Verifying => "verifying",
            Self::Decrypting => "decrypting",
            Self::Storing => "storing",
        })
    }
}
