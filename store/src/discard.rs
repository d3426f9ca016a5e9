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
        let aside = tempfile::Builder::new().prefix("removed-").tempdir_in(&tmp);
        let aside = aside.map_err(StoreError::io(&tmp))?.keep();
        let place = aside.join(path.file_name().expect("what is moved has a name"));
        match fs::rename(path, &place) {
            Ok(()) => Ok(Some(place)),
            Err(error) => {
                discard(&aside)?;
                match error.kind() {
                    io::ErrorKind::NotFound => Ok(None),
                    _ => Err(StoreError::io(path)(error)),
                }
            }
        }
    }

    /// Removes what [`Self::set_aside`] has moved.
    pub(crate) fn discard_aside(&self, place: &Path) -> Result<(), StoreError> {
        discard(place.parent().expect("what was moved lies in a directory of its own"))
    }
}
