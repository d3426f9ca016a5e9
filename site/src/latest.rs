//! Which version is the latest.

use std::cmp::Ordering;

use semver::Version;

use crate::{Record, brief::Versioned};

/// The highest version among these: by semantic versioning where both are such versions, else the one published
/// later. A pre-release is the latest only where there is nothing else, and what was yanked never.
pub(crate) fn highest<'a, T: Versioned>(versions: impl IntoIterator<Item = &'a T>) -> Option<&'a T> {
    let mut versions: Vec<_> = versions.into_iter().filter(|version| !version.is_yanked()).collect();
    sort(&mut versions);
    versions.into_iter().next()
}

/// The version before `record`, of the same platform: that from which most come who fetch this one.
pub(crate) fn before<'a>(records: &'a [Record], record: &Record) -> Option<&'a Record> {
    let is_candidate = |other: &&Record| {
        other.platform() == record.platform() && !other.is_same_version(record) && other.id != record.id
    };
    let others: Vec<_> = records
        .iter()
        .filter(is_candidate)
        .filter(|other| other.yanked.is_none())
        .collect();
    let mut with_this = others.clone();
    with_this.push(record);
    sort(&mut with_this);
    let place = with_this.iter().position(|other| std::ptr::eq(*other, record))?;
    let lower = with_this.get(place + 1).copied();
    // What is the lowest, to mend an old line perhaps, is fetched by those who have what is newest.
    let version = lower.or_else(|| others.into_iter().max_by_key(|other| other.published))?;
    records.iter().find(|other| std::ptr::eq(*other, version))
}

/// Sorts versions, latest first.
pub(crate) fn sort<T: Versioned + ?Sized>(versions: &mut [&T]) {
    let mut parsed: Vec<_> = versions.iter().map(|version| Parsed::of(*version)).collect();
    // The order between a semantic version and another is that of time, which could contradict that of versions:
    // first the latest of each kind is found, and the kinds are put in order by these.
    let newest_of = |kind: Kind| {
        let of_kind = parsed.iter().filter(|version| version.kind() == kind);
        of_kind.map(|version| version.of.published()).max()
    };
    let semantic_first = newest_of(Kind::Semantic) >= newest_of(Kind::Other);
    let rank = |version: &Parsed<'_, T>| match version.kind() {
        Kind::Semantic => (false, !semantic_first),
        Kind::Other => (false, semantic_first),
        Kind::PreRelease => (true, false),
    };
    parsed.sort_by(|a, b| rank(a).cmp(&rank(b)).then_with(|| b.within_kind(a)));
    for (place, sorted) in versions.iter_mut().zip(parsed) {
        *place = sorted.of;
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Semantic,
    PreRelease,
    Other,
}

struct Parsed<'a, T: ?Sized> {
    of: &'a T,
    version: Option<Version>,
}

impl<'a, T: Versioned + ?Sized> Parsed<'a, T> {
    fn of(of: &'a T) -> Self {
        let version = Version::parse(of.version()).ok();
        Self { of, version }
    }

    fn kind(&self) -> Kind {
        match &self.version {
            Some(version) if version.pre.is_empty() => Kind::Semantic,
            Some(_) => Kind::PreRelease,
            None => Kind::Other,
        }
    }

    fn within_kind(&self, other: &Self) -> Ordering {
        let by_version = match (&self.version, &other.version) {
            (Some(a), Some(b)) => a.cmp(b),
            _ => Ordering::Equal,
        };
        let (a, b) = (self.of, other.of);
        by_version
            .then_with(|| a.published().cmp(&b.published()))
            .then_with(|| a.version().cmp(b.version()))
            .then_with(|| b.platform().cmp(&a.platform()))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use chrono::{DateTime, TimeDelta};
    use dhow_image::ImageId;

    use super::*;

    fn records(published_in_order: &[&str]) -> Vec<Record> {
        let records = published_in_order.iter().zip(0..);
        let records = records.map(|(version, day)| Record {
            id: ImageId::from_bytes([u8::try_from(day).unwrap(); 64]),
            published: DateTime::UNIX_EPOCH + TimeDelta::days(day),
            ..Record::example(&[("version", version)])
        });
        records.collect()
    }

    fn sorted(published_in_order: &[&str]) -> Vec<String> {
        let records = records(published_in_order);
        let mut refs: Vec<_> = records.iter().collect();
        sort(&mut refs);
        assert_eq!(
            highest(&records).map(Record::version),
            refs.first().map(|record| record.version())
        );
        refs.into_iter().map(|record| record.version().to_owned()).collect()
    }

    #[test]
    fn versions_go_by_number_and_other_texts_by_time() {
        assert_eq!(sorted(&["1.10.0", "1.9.0", "1.2.0"]), ["1.10.0", "1.9.0", "1.2.0"]);
        assert_eq!(sorted(&["zesty", "artful", "bionic"]), ["bionic", "artful", "zesty"]);
        assert_eq!(sorted(&["2.0.0", "nightly", "1.0.0"]), ["2.0.0", "1.0.0", "nightly"]);
        assert_eq!(sorted(&["2.0.0", "1.0.0", "nightly"]), ["nightly", "2.0.0", "1.0.0"]);
    }

    #[test]
    fn the_version_before_is_the_next_lower_or_else_the_newest() {
        let before = |published: &[&str]| {
            let records = records(published);
            before(&records, records.last().unwrap()).map(|record| record.version().to_owned())
        };
        assert_eq!(before(&["1.0.0"]), None);
        assert_eq!(before(&["1.0.0", "1.9.0", "1.10.0"]).unwrap(), "1.9.0");
        assert_eq!(before(&["2.0.0", "1.0.0", "1.0.1"]).unwrap(), "1.0.0");
        assert_eq!(before(&["2.0.0", "3.0.0", "1.0.0"]).unwrap(), "3.0.0");
        assert_eq!(before(&["zesty", "artful"]).unwrap(), "zesty");
    }

    #[test]
    fn a_pre_release_is_the_latest_only_when_alone() {
        assert_eq!(
            sorted(&["1.0.0", "2.0.0-rc.2", "2.0.0-rc.10"]),
            ["1.0.0", "2.0.0-rc.10", "2.0.0-rc.2"]
        );
        assert_eq!(sorted(&["0.1.0-beta"]), ["0.1.0-beta"]);
    }
}
