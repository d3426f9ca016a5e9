//! [`Folder`]: what lies in the folder of a name, read so that a thousand versions cost little more than one.
//!
//! ```text
//!   listing of ACI/<name>/ ── entity tags ──► Cache, then RECORDS, then each record that is in neither
//! ```
//!
//! `RECORDS` has the records of a name in one file, each with the entity tag of the file that it was read from: JSON, one
//! to a line. It is no truth but a shortcut. An entry counts only where the listing has the same entity tag, so whoever
//! copies a site to another place, where all tags are others, only reads each record once more. It is written where more
//! than a few records were not in it, or another of the pages of older versions was written: most of the times one
//! publishes, it stays as it is.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use bytes::Bytes;
use chrono::{DateTime, Utc};
use dhow_image::Name;
use object_store::{ObjectMeta, path::Path};
use serde::{Deserialize, Serialize};

use crate::{
    Error, Layout, Record, Site,
    brief::{Brief, Versioned},
    cache::Known,
    listing::ListedFile,
};

/// How many records of a name may be read one by one.
const LOOSE: usize = 16;

/// What lies in the folder of a name.
#[derive(Clone, Debug, Default)]
pub(crate) struct Folder {
    /// The folder.
    pub(crate) path: Path,
    /// What is published under exactly this name.
    pub(crate) versions: Vec<Arc<VersionFile>>,
    /// The names one path segment longer.
    pub(crate) children: Vec<Name>,
    /// Notes of archives that are being taken away.
    pub(crate) removals: Vec<Path>,
    /// The numbers of the pages of older versions that are there.
    pub(crate) pages: BTreeSet<usize>,
}

/// The record of a version as it lies in its folder, read no further than is needed to put it in order.
#[derive(Debug, PartialEq)]
pub(crate) struct VersionFile {
    /// The file's name in its folder.
    pub(crate) file: String,
    /// What the store called the version of the file that it was read from.
    pub(crate) e_tag: Option<String>,
    pub(crate) brief: Brief,
    json: Bytes,
}

/// What the index of a name says.
#[derive(Default)]
struct Index {
    versions: Vec<Arc<VersionFile>>,
    pages: Vec<String>,
}

/// The first line of the index.
#[derive(Default, Serialize, Deserialize)]
struct Head {
    /// Of what each page of older versions was made.
    pages: Vec<String>,
}

/// What stands before a record in its line of the index.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Line {
    file: String,
    e_tag: String,
    brief: Brief,
}

impl Versioned for VersionFile {
    fn version(&self) -> &str {
        self.brief.version()
    }

    fn platform(&self) -> [Option<&str>; 2] {
        self.brief.platform()
    }

    fn published(&self) -> DateTime<Utc> {
        self.brief.published()
    }

    fn is_yanked(&self) -> bool {
        self.brief.is_yanked()
    }
}

impl VersionFile {
    #[cfg(test)]
    pub(crate) fn example(version: &str) -> Arc<Self> {
        let record = Record::example(&[("version", version)]);
        Arc::new(Self {
            file: format!("{version}.aci.json"),
            e_tag: Some(version.to_owned()),
            brief: Brief::of(&record),
            json: record.to_json().into(),
        })
    }

    fn read(file: &ListedFile, path: &Path, location: &str, json: Bytes) -> Result<Self, Error> {
        let record = parse(&json, path, location)?;
        Ok(Self {
            file: file.name.clone(),
            e_tag: file.e_tag.clone(),
            brief: Brief::of(&record),
            json,
        })
    }

    /// A line of the index. One that cannot be read is of no use, and does no harm.
    fn of_line(index: &Bytes, line: &[u8]) -> Option<Self> {
        let mut values = serde_json::Deserializer::from_slice(line).into_iter::<Line>();
        let known = values.next()?.ok()?;
        Some(Self {
            file: known.file,
            e_tag: Some(known.e_tag),
            brief: known.brief,
            json: index.slice_ref(line.get(values.byte_offset()..)?),
        })
    }

    fn to_line(&self) -> Option<String> {
        let record: Record = serde_json::from_slice(&self.json).ok()?;
        let line = Line {
            file: self.file.clone(),
            e_tag: self.e_tag.clone()?,
            brief: self.brief.clone(),
        };
        const VALID: &str = "a record has only text keys";
        let [line, record] = [serde_json::to_string(&line), serde_json::to_string(&record)];
        Some(format!("{} {}\n", line.expect(VALID), record.expect(VALID)))
    }
}

impl Index {
    fn of(file: &Bytes) -> Self {
        let mut index = Self::default();
        let (mut start, mut is_first) = (0, true);
        for end in memchr::memchr_iter(b'\n', file) {
            let line = &file[start..end];
            match is_first {
                true => {
                    let head = serde_json::from_slice::<Head>(line).unwrap_or_default();
                    index.pages = head.pages;
                }
                false => index.versions.extend(VersionFile::of_line(file, line).map(Arc::new)),
            }
            (start, is_first) = (end + 1, false);
        }
        index
    }
}

impl Site {
    /// What is published under exactly this name.
    pub async fn versions(&self, name: &Name) -> Result<Vec<Record>, Error> {
        let folder = self.folder(name).await?;
        self.records(&folder.path, &folder.versions).await
    }

    pub(crate) async fn folder(&self, name: &Name) -> Result<Folder, Error> {
        let path = self.layout.archives(name);
        // Where a question costs nothing, the index is read while the folder is listed: each takes as long as the other.
        let is_early = self.files.directory().is_some() && !self.cache.has(&path);
        let early = async {
            match is_early {
                true => Some(self.read_index(name).await),
                false => None,
            }
        };
        let (listing, early) = tokio::join!(self.files.list(&path, Layout::is_of_folder), early);
        let listing = listing?;
        let (mut files, mut folder) = (Vec::new(), Folder::default());
        let mut has_index = false;
        for file in listing.files {
            if Layout::is_removal(&file.name) {
                folder.removals.push(in_folder(&path, &file.name)?);
            } else if let Some(number) = Layout::older_number(&file.name) {
                folder.pages.insert(number);
            } else if Layout::is_version_record(&file.name) {
                files.push(file);
            } else {
                has_index = true;
            }
        }
        self.cache.retain(&path, &files);
        if has_index && self.cache.missing(&path, &files) > LOOSE {
            let index = match early {
                Some(index) => index?,
                None => self.read_index(name).await?,
            };
            self.cache.keep_pages(&path, index.pages, true);
            let versions = index.versions.into_iter().map(|version| (version, true));
            self.cache.keep(&path, versions);
            self.cache.retain(&path, &files);
        }
        folder.versions = self.read_versions(&path, files).await?;
        folder.children = names_of(listing.folders, Some(name));
        folder.path = path;
        Ok(folder)
    }

    /// Those of the versions in files that were just listed which are still there.
    async fn read_versions(&self, folder: &Path, files: Vec<ListedFile>) -> Result<Vec<Arc<VersionFile>>, Error> {
        let mut found: Vec<_> = files.iter().map(|file| self.cache.version(folder, file)).collect();
        let missing = files.iter().zip(&found).filter(|(_, found)| found.is_none());
        let names: Vec<_> = missing.map(|(file, _)| file.name.clone()).collect();
        let mut read = self.files.read_all(folder, names).await?.into_iter();
        for (file, found) in files.iter().zip(&mut found).filter(|(_, found)| found.is_none()) {
            let Some(json) = read.next().flatten() else { continue };
            let path = in_folder(folder, &file.name)?;
            let version = Arc::new(VersionFile::read(file, &path, self.files.location(), json)?);
            self.cache.keep(folder, [(version.clone(), false)]);
            *found = Some(version);
        }
        Ok(found.into_iter().flatten().collect())
    }

    /// The records of these versions, whole.
    pub(crate) async fn records(&self, folder: &Path, versions: &[Arc<VersionFile>]) -> Result<Vec<Record>, Error> {
        let mut records = Vec::new();
        for version in versions {
            match serde_json::from_slice(&version.json) {
                Ok(record) => records.push(record),
                // It is from an index that somebody else made.
                Err(_) => records.extend(self.read_record(&in_folder(folder, &version.file)?).await?),
            }
        }
        Ok(records)
    }

    /// The records in files that were just listed.
    pub(crate) async fn read_records(&self, files: Vec<ObjectMeta>) -> Result<Vec<Record>, Error> {
        let mut folders: BTreeMap<Path, Vec<ListedFile>> = BTreeMap::new();
        for file in files {
            let mut parts: Vec<_> = file.location.parts().collect();
            let Some(name) = parts.pop() else { continue };
            folders
                .entry(parts.into_iter().collect())
                .or_default()
                .push(ListedFile {
                    name: name.as_ref().to_owned(),
                    e_tag: file.e_tag,
                });
        }
        let mut records = Vec::new();
        for (folder, files) in folders {
            let versions = self.read_versions(&folder, files).await?;
            records.extend(self.records(&folder, &versions).await?);
        }
        Ok(records)
    }

    pub(crate) async fn read_record(&self, path: &Path) -> Result<Option<Record>, Error> {
        let json = self.files.read(path).await?;
        json.map(|json| parse(&json, path, self.files.location())).transpose()
    }

    async fn read_index(&self, name: &Name) -> Result<Index, Error> {
        let Some(index) = self.files.read(&self.layout.index(name)).await? else {
            return Ok(Index::default());
        };
        let read = tokio::task::spawn_blocking(move || Index::of(&index)).await;
        Ok(read.expect("reading an index does not panic"))
    }

    /// Writes the index of a name, or takes it away, if it has become of less use than it could be.
    pub(crate) async fn keep_index(&self, name: &Name) -> Result<(), Error> {
        let folder = self.layout.archives(name);
        let index = self.layout.index(name);
        let Known {
            mut versions,
            loose,
            pages,
            has_pages,
        } = self.cache.folder(&folder);
        if versions.is_empty() {
            return self.files.remove(&index).await;
        }
        if loose <= LOOSE && has_pages {
            return Ok(());
        }
        versions.sort_by(|a, b| a.file.cmp(&b.file));
        let head = Head { pages: pages.clone() };
        let mut text = serde_json::to_string(&head).expect("a list of texts is JSON");
        text.push('\n');
        text.extend(versions.iter().filter_map(|version| version.to_line()));
        self.files.write(&index, text).await?;
        self.cache.keep_pages(&folder, pages, true);
        self.cache
            .keep(&folder, versions.into_iter().map(|version| (version, true)));
        Ok(())
    }
}

fn parse(json: &[u8], path: &Path, location: &str) -> Result<Record, Error> {
    serde_json::from_slice(json).map_err(|source| Error::DamagedRecord {
        location: location.to_owned(),
        path: path.to_string(),
        source,
    })
}

fn in_folder(folder: &Path, name: &str) -> Result<Path, Error> {
    Path::parse(format!("{folder}/{name}")).map_err(|_| Error::NotFound {
        location: folder.to_string(),
        path: name.to_owned(),
    })
}

/// The names whose folders these are, sorted. What is no name was not put there by us.
pub(crate) fn names_of(folders: Vec<String>, parent: Option<&Name>) -> Vec<Name> {
    let name = |folder: String| match parent {
        Some(parent) => Name::new(format!("{parent}/{folder}")).ok(),
        None => Name::new(folder).ok(),
    };
    let mut names: Vec<_> = folders.into_iter().filter_map(name).collect();
    names.sort();
    names
}
