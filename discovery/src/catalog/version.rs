//! Versions: which is higher, and which are in a range.

use std::cmp::{Ordering, Reverse};

use semver::{Version, VersionReq};
use thiserror::Error;

use super::CatalogImage;

/// A range of semantic versions, as in `app:^1.2`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VersionRange(VersionReq);

/// A version that begins as a range does and is none.
#[derive(Debug, Error)]
#[error("`{text}` is no range of versions")]
pub struct VersionRangeError {
    text: String,
    source: semver::Error,
}

impl VersionRange {
    /// Reads a version that is a range: one that begins with `^`, `~`, `=`, `<` or `>`, or that has a `*`. Several
    /// conditions have spaces between, since commas end a label. Any other version is a version: `None`.
    pub fn parse(text: &str) -> Result<Option<Self>, VersionRangeError> {
        if !text.starts_with(['^', '~', '=', '<', '>']) && !text.split('.').any(|part| part == "*") {
            return Ok(None);
        }
        match VersionReq::parse(&joined(text)) {
            Ok(range) => Ok(Some(Self(range))),
            Err(source) => Err(VersionRangeError {
                text: text.to_owned(),
                source,
            }),
        }
    }

    /// Whether a version is in the range. What is no semantic version is in none.
    pub fn contains(&self, version: &str) -> bool {
        Version::parse(version).is_ok_and(|version| self.0.matches(&version))
    }
}

/// `>=1 <2` as semver's grammar has it: `>=1, <2`. A space after an operator joins nothing.
fn joined(text: &str) -> String {
    let mut joined = String::new();
    for word in text.split_whitespace() {
        if !joined.is_empty() && !joined.ends_with(['^', '~', '=', '<', '>', ',']) {
            joined.push(',');
        }
        joined.push_str(word);
    }
    joined
}

/// The order of a name's images: releases by semantic version, highest first; then pre-releases; then what has other
/// versions, by the time of publishing.
pub(super) fn newest_first(a: &CatalogImage, b: &CatalogImage) -> Ordering {
    let rank = |image: &CatalogImage| {
        let text = image.labels.get("version").unwrap_or_default();
        let version = Version::parse(text).ok();
        let class = match &version {
            Some(version) if version.pre.is_empty() => 0,
            Some(_) => 1,
            None => 2,
        };
        (class, Reverse(version), Reverse(image.published))
    };
    rank(a)
        .cmp(&rank(b))
        .then_with(|| a.labels.to_string().cmp(&b.labels.to_string()))
        .then_with(|| a.id.cmp(&b.id))
}
