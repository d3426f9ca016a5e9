//! [`Brief`]: what of a record puts a version in its place among others.

use std::sync::Arc;

use chrono::{DateTime, Utc};
use dhow_image::Labels;

use crate::{
    Record,
    record::{RecordSigner, platform},
};

/// What of a record puts a version in its place among others, and what a page tells of all versions together.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Brief {
    version: String,
    os: Option<String>,
    arch: Option<String>,
    published: DateTime<Utc>,
    yanked: bool,
    pub(crate) torrent: bool,
    /// Most versions of a name share theirs.
    pub(crate) signers: Arc<[RecordSigner]>,
}

/// What a brief is as a part of a line: so many fields, none with a tab or a line end.
pub(crate) const FIELDS: usize = 6;

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
            signers: record.signers.as_slice().into(),
        }
    }

    /// Version, os, arch, time in nanoseconds, `y` if it was yanked and `t` if it has a torrent, and the number of its
    /// signers among `sets`. `None` if it cannot be written so.
    pub(crate) fn to_fields(&self, sets: &[Arc<[RecordSigner]>]) -> Option<[String; FIELDS]> {
        let platform = [&self.os, &self.arch];
        if platform.iter().any(|label| label.as_deref() == Some("")) {
            return None;
        }
        let [os, arch] = platform.map(|label| label.clone().unwrap_or_default());
        let flags = [(self.yanked, 'y'), (self.torrent, 't')];
        let flags = flags.iter().filter(|(is_set, _)| *is_set).map(|(_, flag)| flag);
        let signers = sets.iter().position(|set| *set == self.signers)?;
        let published = self.published.timestamp_nanos_opt()?;
        Some([
            self.version.clone(),
            os,
            arch,
            published.to_string(),
            flags.collect(),
            signers.to_string(),
        ])
    }

    /// Reads what [`Self::to_fields`] wrote.
    pub(crate) fn of_fields(
        [version, os, arch, published, flags, signers]: [&str; FIELDS],
        sets: &[Arc<[RecordSigner]>],
    ) -> Option<Self> {
        let label = |text: &str| (!text.is_empty()).then(|| text.to_owned());
        Some(Self {
            version: version.to_owned(),
            os: label(os),
            arch: label(arch),
            published: DateTime::from_timestamp_nanos(published.parse().ok()?),
            yanked: flags.contains('y'),
            torrent: flags.contains('t'),
            signers: sets.get(signers.parse::<usize>().ok()?)?.clone(),
        })
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
