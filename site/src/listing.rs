//! [`Listing`]: what lies in a folder.
//!
//! A folder of a thousand versions has some four thousand files, and only every fourth is of interest to who publishes
//! one more. In a directory no more than these are looked at.

use std::{
    fs::{self, DirEntry},
    io,
    os::unix::fs::MetadataExt,
    path::Path as FilePath,
};

use bytes::Bytes;
use futures::{StreamExt, TryStreamExt};
use object_store::{Error as StoreError, path::Path};

use crate::{Error, Files};

/// How many small files are read at once.
const READS: usize = 16;
/// From how many files on two threads look at them.
const MANY: usize = 256;

/// What lies in a folder.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Listing {
    /// The files whose names were asked for.
    pub(crate) files: Vec<ListedFile>,
    /// The names of all folders.
    pub(crate) folders: Vec<String>,
}

/// A file of a folder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ListedFile {
    /// Its name in the folder.
    pub(crate) name: String,
    /// What the store calls this version of it, if it does. In a directory it is made of inode, time and size.
    pub(crate) e_tag: Option<String>,
}

impl Files {
    /// The folders in a folder, and those of its files whose names are wanted; nothing if there is no folder.
    pub(crate) async fn list(&self, folder: &Path, is_wanted: fn(&str) -> bool) -> Result<Listing, Error> {
        let failed = |source| self.failed("list", folder, source);
        if let Some(directory) = self.directory() {
            let directory = directory.join(folder.as_ref());
            let listed = tokio::task::spawn_blocking(move || list_directory(&directory, is_wanted));
            let listed = listed.await.expect("listing a directory does not panic");
            return listed.map_err(|source| {
                failed(StoreError::Generic {
                    store: "directory",
                    source: Box::new(source),
                })
            });
        }
        let listed = match self.object_store().list_with_delimiter(Some(folder)).await {
            Err(StoreError::NotFound { .. }) => return Ok(Listing::default()),
            listed => listed.map_err(failed)?,
        };
        let name = |path: &Path| path.filename().map(str::to_owned);
        let files = listed.objects.into_iter().filter_map(|file| {
            let name = name(&file.location).filter(|name| is_wanted(name))?;
            Some(ListedFile {
                name,
                e_tag: file.e_tag,
            })
        });
        Ok(Listing {
            files: files.collect(),
            folders: listed.common_prefixes.iter().filter_map(name).collect(),
        })
    }

    /// The whole of small files of a folder, in their order; `None` for those that are not there.
    pub(crate) async fn read_all(&self, folder: &Path, names: Vec<String>) -> Result<Vec<Option<Bytes>>, Error> {
        if names.is_empty() {
            return Ok(Vec::new());
        }
        let reads = names.into_iter().map(|name| {
            let path = Path::parse(format!("{folder}/{name}"));
            async move {
                match path {
                    Ok(path) => self.read(&path).await,
                    Err(_) => Ok(None),
                }
            }
        });
        futures::stream::iter(reads).buffered(READS).try_collect().await
    }
}

fn list_directory(directory: &FilePath, is_wanted: fn(&str) -> bool) -> io::Result<Listing> {
    let entries = match fs::read_dir(directory) {
        Err(error) if is_absence(&error) => return Ok(Listing::default()),
        entries => entries?,
    };
    let (mut files, mut folders) = (Vec::new(), Vec::new());
    for entry in entries {
        let entry = entry?;
        let Ok(name) = entry.file_name().into_string() else {
            continue;
        };
        let kind = entry.file_type()?;
        if kind.is_dir() {
            folders.push(name);
        } else if kind.is_symlink() || is_wanted(&name) {
            files.push((entry, name));
        }
    }
    let half = if files.len() < MANY {
        files.len()
    } else {
        files.len() / 2
    };
    let (files, others) = files.split_at(half);
    let (mut found, others) = std::thread::scope(|scope| {
        let others = (!others.is_empty()).then(|| scope.spawn(|| look_at(others, is_wanted)));
        let found = look_at(files, is_wanted)?;
        let others = others.map(|others| others.join().expect("looking at files does not panic"));
        io::Result::Ok((found, others.transpose()?.unwrap_or_default()))
    })?;
    found.files.extend(others.files);
    found.folders.extend(others.folders);
    found.folders.extend(folders);
    Ok(found)
}

/// What files, and links to files and folders, are. What was taken away meanwhile is not there.
fn look_at(files: &[(DirEntry, String)], is_wanted: fn(&str) -> bool) -> io::Result<Listing> {
    let mut listing = Listing::default();
    for (entry, name) in files {
        let metadata = match entry.file_type()?.is_symlink() {
            true => fs::metadata(entry.path()),
            false => entry.metadata(),
        };
        match metadata {
            Ok(metadata) if metadata.is_dir() => listing.folders.push(name.clone()),
            Ok(metadata) if is_wanted(name) => listing.files.push(ListedFile {
                name: name.clone(),
                e_tag: Some(e_tag(&metadata)),
            }),
            Ok(_) => {}
            Err(error) if is_absence(&error) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(listing)
}

fn is_absence(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory | io::ErrorKind::InvalidFilename
    )
}

/// As `object_store` makes them of directories, so that a file has one tag whoever lists it.
fn e_tag(metadata: &fs::Metadata) -> String {
    let microseconds = metadata.mtime() * 1_000_000 + metadata.mtime_nsec() / 1000;
    format!("\"{:x}-{microseconds:x}-{:x}\"", metadata.ino(), metadata.len())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[tokio::test]
    async fn a_directory_is_listed_as_any_store_is() {
        let directory = tempfile::tempdir().unwrap();
        let folder = directory.path().join("a");
        fs::create_dir_all(folder.join("below/deeper")).unwrap();
        for name in ["1.aci.json", "1.aci", "2.aci.json", "3.aci.json#1"] {
            fs::write(folder.join(name), name).unwrap();
        }
        fs::create_dir(directory.path().join("many")).unwrap();
        for number in 0..2 * MANY {
            fs::write(directory.path().join(format!("many/{number}.json")), "").unwrap();
        }
        std::os::unix::fs::symlink(folder.join("below"), folder.join("linked")).unwrap();
        std::os::unix::fs::symlink(folder.join("nowhere"), folder.join("4.aci.json")).unwrap();
        let files = Files::open_directory(directory.path()).unwrap();
        let store = object_store::local::LocalFileSystem::new_with_prefix(directory.path()).unwrap();
        let other = Files::new(std::sync::Arc::new(store));
        let is_wanted = |name: &str| name.ends_with(".json");
        for path in ["a", "a/below", "none", "a/1.aci", "many"] {
            let path = Path::parse(path).unwrap();
            let [ours, theirs] = [&files, &other].map(|files| files.list(&path, is_wanted));
            let [mut ours, mut theirs] = [ours.await.unwrap(), theirs.await.unwrap_or_default()];
            for listing in [&mut ours, &mut theirs] {
                listing.files.sort_by(|a, b| a.name.cmp(&b.name));
                listing.folders.sort();
            }
            assert_eq!(ours, theirs, "{path}");
        }
        let listing = files.list(&Path::parse("a").unwrap(), is_wanted).await.unwrap();
        assert_eq!((listing.files.len(), listing.folders.len()), (2, 2));
    }
}
