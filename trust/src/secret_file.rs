//! Files that only their owner may read.

use std::{
    io::{self, Write as _},
    path::Path,
};

use tempfile::NamedTempFile;

use crate::Error;

/// Writes a new file with mode 0600, whole or not at all; one that exists is left as it is.
pub(crate) fn create(path: &Path, contents: &[u8]) -> Result<(), Error> {
    match write_beside(path, contents)?.persist_noclobber(path) {
        Ok(_) => Ok(()),
        Err(error) if error.error.kind() == std::io::ErrorKind::AlreadyExists => {
            Err(Error::Exists { path: path.to_owned() })
        }
        Err(error) => Err(failed(path)(error.error)),
    }
}

/// Writes a file with mode 0600, whole or not at all, in the place of one that may be there.
pub(crate) fn replace(path: &Path, contents: &[u8]) -> Result<(), Error> {
    let written = write_beside(path, contents)?.persist(path);
    written.map(drop).map_err(|error| failed(path)(error.error))
}

fn write_beside(path: &Path, contents: &[u8]) -> Result<NamedTempFile, Error> {
    let directory = path
        .parent()
        .filter(|parent| !parent.as_os_str().is_empty())
        .unwrap_or(Path::new("."));
    // A temporary file has mode 0600 from its first moment.
    let mut file = NamedTempFile::new_in(directory).map_err(failed(path))?;
    file.write_all(contents).map_err(failed(path))?;
    file.as_file().sync_all().map_err(failed(path))?;
    Ok(file)
}

fn failed(path: &Path) -> impl Fn(io::Error) -> Error {
    let path = path.to_owned();
    move |source| Error::Write {
        path: path.clone(),
        source,
    }
}
