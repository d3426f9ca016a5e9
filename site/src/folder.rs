//! [`Folder`]: what lies in the folder of a name, read so that a thousand versions cost little more than one.
//!
//! ```text
//!   listing of ACI/<name>/ ── entity tags ──► Cache, then RECORDS, then each record that is in neither
//! ```
//!
//! `RECORDS` has the records of a name in one file, each with the entity tag of the file that it was read from, one to a
//! line: what puts it in order in fields with a tab behind each, which are read ten times faster than JSON, and then the
//! record itself, which is read where a page shows it. It is no truth but a shortcut. An entry counts only where the
//! listing has the same entity tag, so whoever copies a site to another place, where all tags are others, only reads each
//! record once more. It is written where more than a few records were not in it, or another of the pages of older versions
//! was written: most of the times one publishes, it stays as it is.

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
    brief::{Brief, FIELDS, Versioned},
    cache::Known,
    listing::ListedFile,
    record::RecordSigner,
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
    /// Whose signatures versions have: lines tell it by number.
    #[serde(default)]
    signers: Vec<Vec<RecordSigner>>,
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
    fn of_line(index: &Bytes, line: &[u8], sets: &[Arc<[RecordSigner]>]) -> Option<Self> {
        let mut fields = line.splitn(2 + FIELDS + 1, |byte| *byte == b'\t');
        let mut text = || std::str::from_utf8(fields.next()?).ok();
        let (file, e_tag) = (text()?, text()?);
        let brief = [text()?, text()?, text()?, text()?, text()?, text()?];
        Some(Self {
            file: file.to_owned(),
            e_tag: Some(e_tag.to_owned()),
            brief: Brief::of_fields(brief, sets)?,
            json: index.slice_ref(fields.next()?),
        })
    }

    /// `None` for what no line can say: such a record is read from its own file each time.
    fn to_line(&self, sets: &[Arc<[RecordSigner]>]) -> Option<String> {
        let record: Record = serde_json::from_slice(&self.json).ok()?;
        let brief = self.brief.to_fields(sets)?;
        let mut line = String::new();
        for field in [&self.file, self.e_tag.as_ref()?].into_iter().chain(&brief) {
            if field.contains(['\t', '\n']) {
                return None;
            }
            line.push_str(field);
            line.push('\t');
        }
        line.push_str(&serde_json::to_string(&record).expect("a record has only text keys"));
        line.push('\n');
        Some(line)
    }
}

impl Index {
    fn of(file: &Bytes) -> Self {
        let mut ends = memchr::memchr_iter(b'\n', file);
        let mut start = ends.next().map_or(file.len(), |end| end + 1);
        let head: Head = serde_json::from_slice(&file[..start]).unwrap_or_default();
        let sets: Vec<Arc<[_]>> = head.signers.into_iter().map(Arc::from).collect();
        let mut versions = Vec::new();
        for end in ends {
            versions.extend(VersionFile::of_line(file, &file[start..end], &sets).map(Arc::new));
            start = end + 1;
        }
        Self {
            versions,
            pages: head.pages,
        }
    }

    fn to_text(&self) -> String {
        let mut sets: Vec<Arc<[RecordSigner]>> = Vec::new();
        for version in &self.versions {
            if !sets.contains(&version.brief.signers) {
                sets.push(version.brief.signers.clone());
            }
        }
        let head = Head {
            pages: self.pages.clone(),
            signers: sets.iter().map(|signers| signers.to_vec()).collect(),
        };
        let mut text = serde_json::to_string(&head).expect("the head of an index has only text keys");
        text.push('\n');
        text.extend(self.versions.iter().filter_map(|version| version.to_line(&sets)));
        text
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
        let mut found = self.cache.versions(folder, &files);
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
        let known = Index { versions, pages };
        self.files.write(&index, known.to_text()).await?;
        self.cache.keep_pages(&folder, known.pages, true);
        let versions = known.versions.into_iter().map(|version| (version, true));
        self.cache.keep(&folder, versions);
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

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::TorrentFacts;

    fn version(labels: &[(&str, &str)], change: fn(&mut Record)) -> Arc<VersionFile> {
        let mut record = Record::example(labels);
        change(&mut record);
        let file = ListedFile {
            name: format!("{}.aci.json", record.version()),
            e_tag: Some("\"1f-62-9\"".to_owned()),
        };
        let json = record.to_json().into();
        let path = Path::from(file.name.as_str());
        Arc::new(VersionFile::read(&file, &path, "here", json).unwrap())
    }

    #[test]
    fn the_index_says_of_a_version_what_its_record_says() {
        let signer = |digit: &str, user_id: Option<&str>| RecordSigner {
            fingerprint: digit.repeat(40).parse().unwrap(),
            user_id: user_id.map(str::to_owned),
        };
        let mut versions = vec![
            version(&[("version", "1.0.0"), ("os", "linux"), ("arch", "amd64")], |_| {}),
            version(&[("version", "2.0.0"), ("os", "linux")], |record| {
                record.yanked = Some("broken\tby\nus".to_owned());
                record.published = Utc::now();
            }),
            version(&[("version", "nightly")], |record| {
                record.torrent = Some(TorrentFacts {
                    metainfo: record.archive.clone(),
                    info_hash: "00".repeat(20),
                });
            }),
        ];
        for (version, signers) in versions.iter_mut().zip([
            vec![signer("a", Some("Carly\t<c@example.com>"))],
            vec![signer("a", Some("Carly\t<c@example.com>"))],
            vec![signer("a", None), signer("b", None)],
        ]) {
            let mut record: Record = serde_json::from_slice(&version.json).unwrap();
            record.signers = signers;
            let version = Arc::get_mut(version).unwrap();
            version.brief = Brief::of(&record);
            version.json = record.to_json().into();
        }
        let index = Index {
            versions: versions.clone(),
            pages: vec!["1".to_owned(), "2".to_owned()],
        };
        let text = Bytes::from(index.to_text());
        let read = Index::of(&text);
        assert_eq!(read.pages, index.pages);
        assert_eq!(read.versions.len(), versions.len());
        for (read, version) in read.versions.iter().zip(&versions) {
            assert_eq!((&read.file, &read.e_tag), (&version.file, &version.e_tag));
            assert_eq!(read.brief, version.brief);
            let [read, record] = [read, version].map(|version| serde_json::from_slice::<Record>(&version.json));
            assert_eq!(read.unwrap(), record.unwrap());
        }
        assert!(Arc::ptr_eq(
            &read.versions[0].brief.signers,
            &read.versions[1].brief.signers
        ));
    }

    #[test]
    fn what_a_line_cannot_say_is_in_no_index() {
        let plain = version(&[("version", "1.0.0")], |_| {});
        let others = [("version", "1\t0"), ("version", "1\n0"), ("os", "")];
        let mut versions = vec![plain.clone()];
        versions.extend(others.map(|label| version(&[label], |_| {})));
        let index = Index {
            versions,
            pages: Vec::new(),
        };
        let text = index.to_text();
        let read = Index::of(&Bytes::from(text.clone()));
        assert_eq!(read.versions.len(), 1);
        assert_eq!(read.versions[0].brief, plain.brief);
        // A damaged line is passed over, and so is an index of another make.
        for (from, to) in [
            ("\t0\t", "\t7\t"),
            ("\t", " "),
            ("{\"pages\"", "{\"pages\":[]}\n{\"pages\""),
        ] {
            assert!(text.contains(from), "{from:?}");
            assert!(
                Index::of(&Bytes::from(text.replace(from, to))).versions.is_empty(),
                "{from:?}"
            );
        }
    }
}
