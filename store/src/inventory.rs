//! What is in the store: objects with their sizes and ages, which images name them, and how much all else takes.

use std::{
    collections::{BTreeMap, HashMap},
    fs::{self, Metadata},
    io,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    time::SystemTime,
};

use dhow_image::ImageId;

use crate::{
    error::StoreError,
    image_dir::ImageDir,
    object::ObjectId,
    recipe::{RecipeReader, Record},
    store::Store,
};

/// An object's file.
pub(crate) struct ObjectFile {
    /// What it takes on the disk.
    pub(crate) bytes: u64,
    pub(crate) modified: SystemTime,
}

impl Store {
    /// All objects that there are.
    pub(crate) fn list_objects(&self) -> Result<HashMap<ObjectId, ObjectFile>, StoreError> {
        let mut objects = HashMap::new();
        self.walk_objects(|path, id| {
            let Some(id) = id else { return Ok(()) };
            match fs::symlink_metadata(path) {
                Ok(metadata) => drop(objects.insert(
                    id,
                    ObjectFile {
                        bytes: on_disk(&metadata),
                        modified: metadata.modified().map_err(StoreError::io(path))?,
                    },
                )),
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(StoreError::io(path)(error)),
            }
            Ok(())
        })?;
        Ok(objects)
    }

    /// Goes through `objects/`, and gives the path of everything in it, with the object that it is if it is one.
    pub(crate) fn walk_objects(
        &self,
        mut visit: impl FnMut(&Path, Option<ObjectId>) -> Result<(), StoreError>,
    ) -> Result<(), StoreError> {
        for fan in entries(&self.objects_dir())? {
            if !fan.is_dir() {
                visit(&fan, None)?;
                continue;
            }
            for path in entries(&fan)? {
                let id = name(&fan).and_then(|fan| ObjectId::from_path(fan, name(&path)?));
                visit(&path, id)?;
            }
        }
        Ok(())
    }

    /// The images that have a directory.
    pub(crate) fn image_ids(&self) -> Result<Vec<ImageId>, StoreError> {
        crate::index::image_ids(&self.images_dir())
    }

    /// The objects that an image's recipe names, with their sizes. An image that is gone meanwhile names none.
    pub(crate) fn objects_of(&self, image: &ImageDir) -> Result<BTreeMap<ObjectId, u64>, StoreError> {
        let read = || -> io::Result<BTreeMap<ObjectId, u64>> {
            let mut recipe = RecipeReader::new(fs::File::open(image.recipe_path())?)?;
            let mut objects = BTreeMap::new();
            while let Some(record) = recipe.next()? {
                if let Record::Object(id, size) = record {
                    objects.insert(id, size);
                }
            }
            Ok(objects)
        };
        match read() {
            Ok(objects) => Ok(objects),
            Err(_) if !image.path().exists() => Ok(BTreeMap::new()),
            Err(error) => Err(StoreError::Damaged {
                path: image.recipe_path(),
                problem: format!("cannot be read ({error}), so that nobody knows which objects it needs"),
            }),
        }
    }
}

/// What a file takes on the disk, in bytes.
fn on_disk(metadata: &Metadata) -> u64 {
    metadata.blocks() * 512
}

/// What a file, or a directory with all that is in it, takes on the disk. Files that go meanwhile take nothing.
pub(crate) fn disk_usage(path: &Path) -> Result<u64, StoreError> {
    let metadata = match fs::symlink_metadata(path) {
        Ok(metadata) => metadata,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(0),
        Err(error) => return Err(StoreError::io(path)(error)),
    };
    let mut bytes = on_disk(&metadata);
    if metadata.is_dir() {
        for entry in entries(path)? {
            bytes += disk_usage(&entry)?;
        }
    }
    Ok(bytes)
}

/// The paths in a directory. One that is not there has none.
pub(crate) fn entries(directory: &Path) -> Result<Vec<PathBuf>, StoreError> {
    let entries = match fs::read_dir(directory) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(StoreError::io(directory)(error)),
    };
    let paths = entries.map(|entry| entry.map(|entry| entry.path()));
    paths.collect::<io::Result<_>>().map_err(StoreError::io(directory))
}

fn name(path: &Path) -> Option<&str> {
    path.file_name()?.to_str()
}
