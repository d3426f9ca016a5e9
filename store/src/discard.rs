//! Removing what nobody needs any more.

use std::{
    fs, io,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
};

use crate::{error::StoreError, store::Store};

/// Removes a file, or a directory with all that is in it: also where the directories of an image's root file system
/// forbid that to the ordinary user who owns them. What is gone already is no error.
pub(crate) fn discard(path: &Path) -> Result<(), StoreError> {
    let gone = |result: io::Result<()>| match result {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    };
    let is_directory = match fs::symlink_metadata(path) {
        Ok(metadata) => metadata.is_dir(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(StoreError::io(path)(error)),
    };
    let removed = if is_directory {
        gone(fs::remove_dir_all(path)).or_else(|error| match error.kind() {
            io::ErrorKind::PermissionDenied => {
                open_up(path)?;
                gone(fs::remove_dir_all(path))
            }
            _ => Err(error),
        })
    } else {
        gone(fs::remove_file(path))
    };
    removed.map_err(StoreError::io(path))
}

/// Lets the owner into every directory beneath `path`.
fn open_up(path: &Path) -> io::Result<()> {
    fs::set_permissions(path, fs::Permissions::from_mode(0o700))?;
    for entry in fs::read_dir(path)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            open_up(&entry.path())?;
        }
    }
    Ok(())
}

impl Store {
    /// Moves a file or directory of the store into `tmp/` under a name that nobody else has: from one moment to the
    /// next it is gone from its place. `None` if it was not there.
    pub(crate) fn set_aside(&self, path: &Path) -> Result<Option<PathBuf>, StoreError> {
        let tmp = self.tmp_dir();
        // Nothing is made for it: this must work where the disk is full.
        let moved = tempfile::Builder::new()
            .prefix("removed-")
            .rand_bytes(16)
            .make_in(&tmp, |aside| fs::rename(path, aside));
        match moved {
            Ok(aside) => {
                let kept = aside.into_temp_path().keep();
                kept.map(Some).map_err(|error| StoreError::io(&tmp)(error.error))
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(StoreError::io(path)(error)),
        }
    }
}
