//! [`Brief`]: what of a record puts a version in its place among others.

use std::sync::Arc;

use chrono::{DateTime, Utc};
use dhow_image::Labels;
use serde::{Deserialize, Serialize};

use crate::{
    Record,
    record::{RecordSigner, platform},
};

/// What of a record puts a version in its place among others, and what a page tells of all versions together.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Brief {
    version: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    os: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    arch: Option<String>,
    published: DateTime<Utc>,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    yanked: bool,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(crate) torrent: bool,
    pub(crate) signers: Vec<RecordSigner>,
}

/// What has a version.
pub(crate) trait Versioned {
    /// The value of the label `version`.
    fn version(&self) -> &str;
    /// See [`Record::platform`].
    fn platform(&self) -> [Option<&str>; 2];
    /// When it was published first.
    fn published(&self) -> DateTime<Utc>;
    /// Whether it is not to be used any more.
    fn is_yanked(&self) -> bool;

    /// Whether this is the same version for the same platform, if it is of the same name.
    fn is_version(&self, labels: &Labels) -> bool {
        (self.version(), self.platform()) == (labels.get("version").unwrap_or_default(), platform(labels))
    }
}

impl Brief {
    pub(crate) fn of(record: &Record) -> Self {
        let [os, arch] = record.platform().map(|label| label.map(str::to_owned));
        Self {
            version: record.version().to_owned(),
            os,
            arch,
            published: record.published,
            yanked: record.yanked.is_some(),
            torrent: record.torrent.is_some(),
            signers: record.signers.clone(),
        }
    }
}

impl Versioned for Brief {
    fn version(&self) -> &str {
        &self.version
    }

    fn platform(&self) -> [Option<&str>; 2] {
        [self.os.as_deref(), self.arch.as_deref()]
    }

    fn published(&self) -> DateTime<Utc> {
        self.published
    }

    fn is_yanked(&self) -> bool {
        self.yanked
    }
}

impl<T: Versioned> Versioned for Arc<T> {
    fn version(&self) -> &str {
        T::version(self)
    }

    fn platform(&self) -> [Option<&str>; 2] {
        T::platform(self)
    }

    fn published(&self) -> DateTime<Utc> {
        T::published(self)
    }

    fn is_yanked(&self) -> bool {
        T::is_yanked(self)
    }
}

impl Versioned for Record {
    fn version(&self) -> &str {
        self.version()
    }

    fn platform(&self) -> [Option<&str>; 2] {
        self.platform()
    }

    fn published(&self) -> DateTime<Utc> {
        self.published
    }

    fn is_yanked(&self) -> bool {
        self.yanked.is_some()
    }
}
