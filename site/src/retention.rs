//! [`Retention`]: which versions of a name are too many.

use std::collections::BTreeMap;

use dhow_image::{Dependency, Name};

use crate::{Error, Record, Site, latest};

/// What is to go of a name, and what stays though it is as old.
#[derive(Clone, Debug, Default)]
pub struct Retention {
    /// The images that are too many.
    pub superfluous: Vec<Record>,
    /// Those that would be, if others did not depend on them.
    pub kept: Vec<Kept>,
}

/// An image that stays because another depends on it.
#[derive(Clone, Debug)]
pub struct Kept {
    /// The image.
    pub record: Record,
    /// One that depends on it.
    pub dependent: Name,
}

impl Site {
    /// What is to go of a name where the newest so many versions are kept of each platform, at least one.
    ///
    /// Yanked versions do not count: nobody uses them who need not. They go with the versions that are older than the
    /// oldest which is kept. What an image that stays, of whatever name, depends on by its version or image ID stays too,
    /// and so do the images of `published`. To find that out, the manifest of every image of the site is read, or what its
    /// record says where it is encrypted.
    pub async fn retention(&self, name: &Name, keep: usize, published: &[Record]) -> Result<Retention, Error> {
        let records = self.versions(name).await?;
        let mut retention = Retention {
            superfluous: too_many(&records, keep),
            kept: Vec::new(),
        };
        retention
            .superfluous
            .retain(|record| !published.iter().any(|other| other.is_same_version(record)));
        if retention.superfluous.is_empty() {
            return Ok(retention);
        }
        for other in self.names().await? {
            for dependent in self.versions(&other).await? {
                if !retention.superfluous.contains(&dependent) {
                    retention.spare(&dependent, &self.dependencies(&dependent).await?);
                }
            }
        }
        // What stays for the sake of another has dependencies of its own.
        let mut at = 0;
        while let Some(kept) = retention.kept.get(at).map(|kept| kept.record.clone()) {
            retention.spare(&kept, &self.dependencies(&kept).await?);
            at += 1;
        }
        Ok(retention)
    }
}

impl Retention {
    /// Keeps what an image depends on that stays.
    fn spare(&mut self, dependent: &Record, dependencies: &[Dependency]) {
        let is_needed = |record: &Record| dependencies.iter().any(|dependency| means(dependency, record));
        let (needed, superfluous): (Vec<_>, Vec<_>) = self.superfluous.drain(..).partition(is_needed);
        self.superfluous = superfluous;
        self.kept.extend(needed.into_iter().map(|record| Kept {
            record,
            dependent: dependent.name.clone(),
        }));
    }
}

/// The records that are older than the newest so many of their platform.
fn too_many(records: &[Record], keep: usize) -> Vec<Record> {
    let mut platforms: BTreeMap<[Option<&str>; 2], Vec<&Record>> = BTreeMap::new();
    for record in records {
        platforms.entry(record.platform()).or_default().push(record);
    }
    let mut too_many = Vec::new();
    for mut records in platforms.into_values() {
        latest::sort(&mut records);
        let mut left = keep;
        for record in records {
            if left == 0 {
                too_many.push(record.clone());
            } else if record.yanked.is_none() {
                left -= 1;
            }
        }
    }
    too_many
}

/// Whether a dependency names exactly this image. One that names no version means the newest.
fn means(dependency: &Dependency, record: &Record) -> bool {
    dependency.image_name == record.name
        && match &dependency.image_id {
            Some(id) => *id == record.id,
            None => {
                dependency.labels.get("version").is_some() && dependency.labels.first_mismatch(&record.labels).is_none()
            }
        }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use chrono::{DateTime, TimeDelta};

    use super::*;

    fn record(text: &str, day: i64) -> Record {
        let (version, arch) = text.split_once(' ').unwrap_or((text, "amd64"));
        let (version, yanked) = match version.strip_suffix('!') {
            Some(version) => (version, Some("it eats data".to_owned())),
            None => (version, None),
        };
        Record {
            yanked,
            published: DateTime::UNIX_EPOCH + TimeDelta::days(day),
            ..Record::example(&[("version", version), ("os", "linux"), ("arch", arch)])
        }
    }

    #[test]
    fn the_newest_of_each_platform_stay_and_yanked_ones_do_not_count() {
        for (versions, keep, expected) in [
            (&["1.0.0", "1.2.0", "1.10.0"][..], 2, &["1.0.0"][..]),
            (&["1.0.0", "1.2.0", "1.10.0!"], 2, &[]),
            (&["1.0.0", "1.1.0!", "1.2.0", "1.3.0"], 2, &["1.1.0", "1.0.0"]),
            (&["1.0.0 aarch64", "1.1.0", "1.2.0"], 1, &["1.1.0"]),
            (&["a", "b", "c"], 1, &["b", "a"]),
            (&["1.0.0", "2.0.0-rc.1"], 1, &["2.0.0-rc.1"]),
        ] {
            let records: Vec<_> = versions.iter().zip(0..).map(|(text, day)| record(text, day)).collect();
            let found = too_many(&records, keep);
            let found: Vec<_> = found.iter().map(Record::version).collect();
            assert_eq!(found, expected, "{versions:?}");
        }
    }
}
