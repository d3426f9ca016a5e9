//! Files that are written whole or not at all: in a temporary file beside their place, then renamed into it.

use std::{
    fs::{self, Permissions},
    io::{self, Write},
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
};

use tempfile::NamedTempFile;

use super::ConvertError;

/// The directory in which a file is to be.
pub(super) fn directory_of(path: &Path) -> PathBuf {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent.to_owned(),
        _ => PathBuf::from("."),
    }
}

/// A temporary file in `directory`.
pub(super) fn temporary(directory: &Path) -> Result<NamedTempFile, ConvertError> {
    let made = tempfile::Builder::new().prefix(".dhow-convert-").tempfile_in(directory);
    made.map_err(write_error(directory))
}

/// Puts a finished file in its place, readable for all as files are.
pub(super) fn persist(file: NamedTempFile, path: &Path) -> Result<(), ConvertError> {
    let permitted = file.as_file().set_permissions(Permissions::from_mode(0o644));
    permitted.map_err(write_error(path))?;
    file.persist(path)
        .map(drop)
        .map_err(|error| write_error(path)(error.error))
}

/// Writes a small file.
pub(super) fn write(path: &Path, bytes: &[u8]) -> Result<(), ConvertError> {
    let mut file = temporary(&directory_of(path))?;
    file.write_all(bytes).map_err(write_error(path))?;
    persist(file, path)
}

/// Makes a directory, where there is none.
pub(super) fn make_directory(path: &Path) -> Result<(), ConvertError> {
    fs::create_dir_all(path).map_err(write_error(path))
}

pub(super) fn write_error(path: &Path) -> impl Fn(io::Error) -> ConvertError {
    move |source| ConvertError::Write {
        path: path.to_owned(),
        source,
    }
}
