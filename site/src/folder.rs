//! [`Folder`]: what lies in the folder of a name, read so that a thousand versions cost little more than one.
//!
//! ```text
//!   listing of ACI/<name>/ ── entity tags ──► Cache, then RECORDS, then each record that is in neither
//! ```
//!
//! `RECORDS` has the records of a name in one file, each with the entity tag of the file that it was read from: JSON, one
//! to a line. It is no truth but a shortcut. An entry counts only where the listing has the same entity tag, so whoever
//! copies a site to another place, where all tags are others, only reads each record once more. It is written where more
//! than a few records were not in it: most of the times one publishes, it stays as it is.

use std::fmt::Write as _;

use dhow_image::Name;
use futures::{StreamExt, TryStreamExt};
use object_store::{ObjectMeta, path::Path};
use serde::{Deserialize, Serialize};

use crate::{Error, Layout, Record, Site, cache::KnownRecord};

/// How many small files are read at once.
const READS: usize = 16;
/// How many records of a name may be read one by one.
const LOOSE: usize = 16;

/// What lies in the folder of a name.
#[derive(Clone, Debug, Default)]
pub(crate) struct Folder {
    /// What is published under exactly this name.
    pub(crate) records: Vec<Record>,
    /// The names one path segment longer.
    pub(crate) children: Vec<Name>,
    /// Notes of archives that are being taken away.
    pub(crate) removals: Vec<Path>,
}

/// A line of the index.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Line {
    file: String,
    e_tag: String,
    record: Record,
}

impl Site {
    /// What is published under exactly this name.
    pub async fn versions(&self, name: &Name) -> Result<Vec<Record>, Error> {
        Ok(self.folder(name).await?.records)
    }

    pub(crate) async fn folder(&self, name: &Name) -> Result<Folder, Error> {
        let path = self.layout.archives(name);
        let listing = self.files.list(&path).await?;
        let (index, mut files) = (self.layout.index(name), listing.objects);
        let has_index = files.iter().any(|file| file.location == index);
        let removals = files.iter().map(|file| &file.location);
        let removals = removals.filter(|file| Layout::is_removal(file)).cloned().collect();
        files.retain(|file| Layout::is_version_record(&file.location));
        self.cache.retain(&path, &files);
        if has_index && self.cache.missing(&files) > LOOSE {
            self.read_index(name, &path, &files).await?;
        }
        Ok(Folder {
            records: self.read_records(files).await?,
            children: names_of(listing.common_prefixes, Some(name)),
            removals,
        })
    }

    /// The records in files that were just listed.
    pub(crate) async fn read_records(&self, files: Vec<ObjectMeta>) -> Result<Vec<Record>, Error> {
        let records = files.into_iter().map(|file| async move {
            if let Some(record) = self.cache.record(&file) {
                return Ok(Some(record));
            }
            let record = self.read_record(&file.location).await?;
            if let Some(record) = &record {
                self.cache.keep_record(&file, record);
            }
            Ok(record)
        });
        futures::stream::iter(records)
            .buffered(READS)
            .try_filter_map(|record| async { Ok(record) })
            .try_collect()
            .await
    }

    pub(crate) async fn read_record(&self, path: &Path) -> Result<Option<Record>, Error> {
        let Some(json) = self.files.read(path).await? else {
            return Ok(None);
        };
        serde_json::from_slice(&json)
            .map(Some)
            .map_err(|source| Error::DamagedRecord {
                location: self.files.location().to_owned(),
                path: path.to_string(),
                source,
            })
    }

    async fn read_index(&self, name: &Name, folder: &Path, files: &[ObjectMeta]) -> Result<(), Error> {
        let Some(index) = self.files.read(&self.layout.index(name)).await? else {
            return Ok(());
        };
        // A line that cannot be read is of no use, and does no harm.
        let lines = index.split(|&byte| byte == b'\n');
        let lines = lines.filter_map(|line| serde_json::from_slice::<Line>(line).ok());
        let known = lines.filter_map(|line| {
            let path = Path::parse(format!("{folder}/{}", line.file)).ok()?;
            let known = KnownRecord {
                e_tag: line.e_tag,
                record: line.record,
                is_indexed: true,
            };
            Some((path, known))
        });
        self.cache.keep(known);
        self.cache.retain(folder, files);
        Ok(())
    }

    /// Writes the index of a name, or takes it away, if it has become of less use than it could be.
    pub(crate) async fn keep_index(&self, name: &Name) -> Result<(), Error> {
        let mut known = self.cache.folder(&self.layout.archives(name));
        let index = self.layout.index(name);
        if known.is_empty() {
            return self.files.remove(&index).await;
        }
        if known.iter().filter(|(_, known)| !known.is_indexed).count() <= LOOSE {
            return Ok(());
        }
        known.sort_by(|(a, _), (b, _)| a.cmp(b));
        let mut text = String::new();
        for (path, known) in &known {
            let line = Line {
                file: path.filename().unwrap_or_default().to_owned(),
                e_tag: known.e_tag.clone(),
                record: known.record.clone(),
            };
            let line = serde_json::to_string(&line).expect("a record has only text keys");
            writeln!(text, "{line}").expect("writing to a string does not fail");
        }
        self.files.write(&index, text).await?;
        let indexed = known.into_iter().map(|(path, known)| {
            let known = KnownRecord {
                is_indexed: true,
                ..known
            };
            (path, known)
        });
        self.cache.keep(indexed);
        Ok(())
    }
}

/// The names whose folders these are, sorted. What is no name was not put there by us.
pub(crate) fn names_of(folders: Vec<Path>, parent: Option<&Name>) -> Vec<Name> {
    let name = |folder: &Path| match (folder.filename()?, parent) {
        (last, Some(parent)) => Name::new(format!("{parent}/{last}")).ok(),
        (last, None) => Name::new(last).ok(),
    };
    let mut names: Vec<_> = folders.iter().filter_map(name).collect();
    names.sort();
    names
}
