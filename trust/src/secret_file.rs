//! Files that only their owner may read.

use std::{io::Write as _, path::Path};

use tempfile::NamedTempFile;

use crate::Error;

/// Writes a new file with mode 0600, whole or not at all; one that exists is left as it is.
pub(crate) fn create(path: &Path, contents: &[u8]) -> Result<(), Error> {
    let failed = |source| Error::Write {
        path: path.to_owned(),
        source,
    };
    let directory = path
        .parent()
        .filter(|parent| !parent.as_os_str().is_empty())
        .unwrap_or(Path::new("."));
    // A temporary file has mode 0600 from its first moment.
    let mut file = NamedTempFile::new_in(directory).map_err(failed)?;
    file.write_all(contents).map_err(failed)?;
    file.as_file().sync_all().map_err(failed)?;
    match file.persist_noclobber(path) {
        Ok(_) => Ok(()),
        Err(error) if error.error.kind() == std::io::ErrorKind::AlreadyExists => {
            Err(Error::Exists { path: path.to_owned() })
        }
        Err(error) => Err(failed(error.error)),
    }
}
