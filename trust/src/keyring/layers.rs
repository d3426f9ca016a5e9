//! The files of a keyring: reading them in layers, and replacing one.

use std::{
    collections::BTreeMap,
    fs,
    io::{self, Write as _},
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
};

use dhow_image::Name;
use tempfile::NamedTempFile;

use super::TrustedKey;
use crate::{Certificate, Error, Fingerprint};

/// What the files read so far say about each key.
#[derive(Default)]
pub(super) struct Layers(BTreeMap<Fingerprint, Vec<TrustedKey>>);

impl Layers {
    pub(super) fn add(&mut self, directory: &Path, prefix: Option<&Name>) -> Result<(), Error> {
        for File {
            fingerprint,
            certificate,
            path,
        } in read_layer(&layer_path(directory, prefix))?
        {
            match certificate {
                Some(certificate) => {
                    let key = TrustedKey {
                        prefix: prefix.cloned(),
                        certificate,
                        path,
                    };
                    self.0.entry(fingerprint).or_default().push(key);
                }
                None => {
                    self.0.remove(&fingerprint);
                }
            }
        }
        Ok(())
    }

    /// Each key once: a revocation in any copy counts, and the longest prefix names the rule.
    pub(super) fn into_keys(self) -> Result<Vec<TrustedKey>, Error> {
        let merge = |copies: Vec<TrustedKey>| {
            let copies = copies.into_iter().map(Ok);
            copies.reduce(|merged, copy| {
                let (merged, copy): (TrustedKey, TrustedKey) = (merged?, copy?);
                let certificate = merged.certificate.merge(copy.certificate)?;
                let length = |prefix: &Option<Name>| prefix.as_ref().map_or(0, |prefix| prefix.as_str().len());
                let is_longer = length(&copy.prefix) >= length(&merged.prefix);
                let (prefix, path) = if is_longer {
                    (copy.prefix, copy.path)
                } else {
                    (merged.prefix, merged.path)
                };
                Ok(TrustedKey {
                    prefix,
                    certificate,
                    path,
                })
            })
        };
        self.0.into_values().filter_map(merge).collect()
    }
}

/// One file of a keyring.
pub(super) struct File {
    pub(super) fingerprint: Fingerprint,
    /// `None` if the file is empty: a mask.
    pub(super) certificate: Option<Certificate>,
    pub(super) path: PathBuf,
}

/// A name's segments are never empty, `.` or `..`, so the path stays below `directory`.
pub(super) fn layer_path(directory: &Path, prefix: Option<&Name>) -> PathBuf {
    match prefix {
        None => directory.join("trustedkeys/root.d"),
        Some(prefix) => directory.join("trustedkeys/prefix.d").join(prefix.as_str()),
    }
}

/// Whether the last directory that says anything about a key of this layer masks it.
pub(super) fn is_masked<'a>(
    directories: impl Iterator<Item = &'a Path>,
    prefix: Option<&Name>,
    fingerprint: &Fingerprint,
) -> Result<bool, Error> {
    let mut is_masked = false;
    for directory in directories {
        if let Some(file) = read_key(&layer_path(directory, prefix).join(fingerprint.to_file_name()))? {
            is_masked = file.certificate.is_none();
        }
    }
    Ok(is_masked)
}

fn read_layer(layer: &Path) -> Result<Vec<File>, Error> {
    let paths = read_directory(layer)?.into_iter().filter(|path| !path.is_dir());
    paths.filter_map(|path| read_key(&path).transpose()).collect()
}

pub(super) fn read_key(path: &Path) -> Result<Option<File>, Error> {
    let bytes = match fs::read(path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(source) => {
            return Err(Error::Read {
                path: path.to_owned(),
                source,
            });
        }
    };
    let named = path
        .file_name()
        .and_then(|name| name.to_str())
        .and_then(|name| name.parse::<Fingerprint>().ok());
    let path = path.to_owned();
    match (named, Certificate::parse(&bytes)) {
        (Some(fingerprint), _) if bytes.is_empty() => Ok(Some(File {
            fingerprint,
            certificate: None,
            path,
        })),
        (Some(fingerprint), Ok(certificate)) if certificate.fingerprint() == fingerprint => Ok(Some(File {
            fingerprint,
            certificate: Some(certificate),
            path,
        })),
        (_, Ok(certificate)) => Err(Error::KeyFileName {
            path,
            expected: certificate.fingerprint().to_file_name(),
        }),
        (_, Err(error)) => Err(Error::KeyFile {
            path,
            source: Box::new(error),
        }),
    }
}

pub(super) fn find_prefixes(
    directory: &Path,
    above: Option<&Name>,
    found: &mut Vec<Option<Name>>,
) -> Result<(), Error> {
    for path in read_directory(directory)?.into_iter().filter(|path| path.is_dir()) {
        let segment = path.file_name().unwrap_or_default().to_string_lossy();
        let name = above.map_or_else(|| segment.to_string(), |above| format!("{above}/{segment}"));
        // No image has such a name, so no key in there is ever asked for.
        let Ok(name) = Name::new(name) else { continue };
        find_prefixes(&path, Some(&name), found)?;
        found.push(Some(name));
    }
    Ok(())
}

/// The paths in a directory in order, but hidden ones; none if there is no such directory.
fn read_directory(directory: &Path) -> Result<Vec<PathBuf>, Error> {
    let read = || -> io::Result<Vec<PathBuf>> {
        let entries = match fs::read_dir(directory) {
            Ok(entries) => entries,
            Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
                return Ok(Vec::new());
            }
            Err(error) => return Err(error),
        };
        let mut paths = Vec::new();
        for entry in entries {
            let entry = entry?;
            if !entry.file_name().as_encoded_bytes().starts_with(b".") {
                paths.push(entry.path());
            }
        }
        paths.sort();
        Ok(paths)
    };
    read().map_err(|source| Error::Read {
        path: directory.to_owned(),
        source,
    })
}

/// Replaces a file whole, readable by everyone: it holds public keys, and other users of the machine rely on it.
pub(super) fn write(directory: &Path, path: &Path, contents: &[u8]) -> Result<(), Error> {
    let write = || -> io::Result<()> {
        fs::create_dir_all(directory)?;
        let mut file = NamedTempFile::new_in(directory)?;
        file.write_all(contents)?;
        file.as_file().set_permissions(fs::Permissions::from_mode(0o644))?;
        file.as_file().sync_all()?;
        file.persist(path)?;
        Ok(())
    };
    write().map_err(|source| Error::Write {
        path: path.to_owned(),
        source,
    })
}
