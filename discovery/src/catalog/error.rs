//! Why a catalog is not believed.

use std::{io, path::PathBuf};

use chrono::{DateTime, Utc};
use dhow_image::Name;
use thiserror::Error;

use super::version::VersionRangeError;

/// Why a catalog is not believed, or does not tell what was asked.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum CatalogError {
    /// The file is larger than any catalog.
    #[error("the catalog is larger than {max} bytes")]
    TooLarge {
        /// The size of the largest that is read.
        max: usize,
    },
    /// The file has no signature at its end.
    #[error("the catalog is not signed")]
    Unsigned,
    /// No trusted key signed it, or too few.
    #[error("the catalog of `{prefix}` is not signed as it must be")]
    Signature {
        /// Whose catalog it should be.
        prefix: Name,
        /// What is wrong.
        source: Box<dhow_trust::Error>,
    },
    /// What was signed is no catalog.
    #[error("the catalog cannot be read")]
    Malformed(#[source] serde_json::Error),
    /// What was signed is something else, or of a later version.
    #[error("this is `{kind}` of format {format}, and no catalog of format 1")]
    Format {
        /// What it says to be.
        kind: String,
        /// Which format it says to have.
        format: u32,
    },
    /// It is the catalog of another prefix.
    #[error("this is the catalog of `{found}`, not of `{wanted}`")]
    OtherPrefix {
        /// Whose catalog was wanted.
        wanted: Name,
        /// Whose it is.
        found: Name,
    },
    /// It lists an image that is not under its prefix.
    #[error("the catalog of `{prefix}` speaks of `{name}`, which is not under it")]
    Extraneous {
        /// Whose catalog it is.
        prefix: Name,
        /// The image.
        name: Name,
    },
    /// It is past its time.
    #[error("the catalog of `{prefix}` expired on {}", expired.format("%Y-%m-%d %H:%M UTC"))]
    Expired {
        /// Whose catalog it is.
        prefix: Name,
        /// When it expired.
        expired: DateTime<Utc>,
    },
    /// It says to be made later than now, or to end before it begins.
    #[error("the catalog of `{prefix}` says that it was issued on {}, which is not before now or before its end",
        issued.format("%Y-%m-%d %H:%M UTC"))]
    FromTheFuture {
        /// Whose catalog it is.
        prefix: Name,
        /// When it says to be issued.
        issued: DateTime<Utc>,
    },
    /// An older one than was seen before.
    #[error("the catalog of `{prefix}` has serial {found}, but {seen} was seen before: somebody shows an old one")]
    Rollback {
        /// Whose catalog it is.
        prefix: Name,
        /// Its serial.
        found: u64,
        /// The highest serial that was seen.
        seen: u64,
    },
    /// Two different ones have the same serial.
    #[error("there are two different catalogs of `{prefix}` with serial {serial}")]
    Forked {
        /// Whose catalog it is.
        prefix: Name,
        /// Their serial.
        serial: u64,
    },
    /// This machine's clock is behind what it was when the last catalog was accepted.
    #[error("the clock says {}, but it was {} when a catalog of `{prefix}` was last believed",
        now.format("%Y-%m-%d %H:%M UTC"), seen.format("%Y-%m-%d %H:%M UTC"))]
    ClockBehind {
        /// Whose catalog it is.
        prefix: Name,
        /// What the clock says.
        now: DateTime<Utc>,
        /// What it said then.
        seen: DateTime<Utc>,
    },
    /// The catalog does not list what was asked for.
    #[error("the catalog of `{prefix}` lists no `{name}` with {}{}", of(labels), if *yanked { " but what was yanked" } else { "" })]
    NotListed {
        /// Whose catalog it is.
        prefix: Name,
        /// The image's name.
        name: Name,
        /// The labels that were asked for.
        labels: String,
        /// Whether there is one that was yanked.
        yanked: bool,
    },
    /// The version that was asked for is a malformed range.
    #[error(transparent)]
    Range(#[from] VersionRangeError),
    /// What was seen before could not be read or written.
    #[error("could not use `{}`", path.display())]
    Memory {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

fn of(labels: &str) -> String {
    if labels.is_empty() {
        "any labels".to_owned()
    } else {
        format!("`{labels}`")
    }
}
