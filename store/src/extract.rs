//! Root file systems as plain files, for who wants to look at them or change them.

use std::{fs, io, path::Path};

use dhow_image::ImageId;

use crate::{
    checkout::{Before, Contents, check_out},
    error::StoreError,
    render::{layers, render},
    store::Store,
    tree::Tree,
};

impl Store {
    /// Copies the root file system of an image, with those it depends on, into a directory, which is made if it is not
    /// there, and must be empty if it is. After an error, what was not there before is not there.
    ///
    /// For an ordinary user, who may not give files away, all of them are that user's.
    pub fn extract(&self, id: &ImageId, directory: &Path) -> Result<(), StoreError> {
        let tree = self.tree_to_copy(id)?;
        let io = StoreError::io;
        let is_new = match fs::create_dir(directory) {
            Ok(()) => true,
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => false,
            Err(error) => return Err(io(directory)(error)),
        };
        if fs::read_dir(directory).map_err(io(directory))?.next().is_some() {
            return Err(StoreError::NotEmpty {
                path: directory.to_owned(),
            });
        }
        let done = check_out(&tree, directory, &self.objects_dir(), Contents::Copied, Before::Empty);
        if done.is_err() {
            let emptied = empty(directory);
            if is_new && emptied.is_ok() {
                // What cannot be removed stays; why there is something to remove is what matters.
                let _ = fs::remove_dir(directory);
            }
        }
        done.map_err(io(directory))
    }

    /// Copies the root file system of an image over the files in a directory. A file of the image replaces a file or a
    /// symbolic link of that name; files that the image does not name stay, and so does a directory that is not empty
    /// where the image has none: that is an error.
    pub fn extract_over(&self, id: &ImageId, directory: &Path) -> Result<(), StoreError> {
        let tree = self.tree_to_copy(id)?;
        fs::create_dir_all(directory).map_err(StoreError::io(directory))?;
        let objects = self.objects_dir();
        check_out(&tree, directory, &objects, Contents::Copied, Before::Anything).map_err(StoreError::io(directory))
    }

    fn tree_to_copy(&self, id: &ImageId) -> Result<Tree, StoreError> {
        let layers = layers(self, id)?;
        self.mark_used(layers.iter().map(|layer| layer.id));
        render(self, &layers)
    }
}

/// Removes what is in a directory; `remove_dir_all` follows nothing out of it.
fn empty(directory: &Path) -> io::Result<()> {
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        match entry.file_type()?.is_dir() {
            true => fs::remove_dir_all(entry.path())?,
            false => fs::remove_file(entry.path())?,
        }
    }
    Ok(())
}
