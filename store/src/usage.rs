//! How much room the images take, and how much they share.

use std::{collections::HashMap, fs, io, os::unix::fs::MetadataExt, path::Path};

use dhow_image::ImageId;

use crate::{error::StoreError, object::ObjectId, store::Store};

/// What a store holds, in bytes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// How many images there are.
    pub images: usize,
    /// How many objects they have.
    pub objects: usize,
    /// What the tars of all images come to.
    pub logical: u64,
    /// What the disk holds of objects, images and trees, in whole blocks.
    pub real: u64,
    /// Of that, what trees take: they can be made again.
    pub trees: u64,
    /// What would be there beside what is, if every image had its objects for itself.
    pub shared: u64,
    /// The images, in the order of their IDs.
    pub by_image: Vec<ImageUsage>,
}

/// What one image takes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ImageUsage {
    /// Which image.
    pub id: ImageId,
    /// The bytes of all of its objects.
    pub objects: u64,
    /// Of these, what other images have too.
    pub shared: u64,
}

impl ImageUsage {
    /// What goes when the image goes.
    pub fn own(&self) -> u64 {
        self.objects - self.shared
    }
}

impl Store {
    /// Adds up what the images take, from their recipes and from the disk. An image whose recipe is damaged is left
    /// out of what is shared.
    pub fn usage(&self) -> Result<Usage, StoreError> {
        let images = self.images()?;
        let mut uses: HashMap<ObjectId, (u64, u32)> = HashMap::new();
        for image in &images {
            for (object, size) in self.objects_of(&image.id).unwrap_or_default() {
                uses.entry(object).or_insert((size, 0)).1 += 1;
            }
        }
        let mut by_image = Vec::new();
        for image in &images {
            let objects = self.objects_of(&image.id).unwrap_or_default();
            let shared = objects
                .iter()
                .filter(|(object, _)| uses.get(object).is_some_and(|(_, uses)| *uses > 1));
            by_image.push(ImageUsage {
                id: image.id,
                objects: objects.values().sum(),
                shared: shared.map(|(_, size)| size).sum(),
            });
        }
        by_image.sort_by_key(|image| image.id);
        let trees = on_disk(&self.trees_dir())?;
        Ok(Usage {
            images: images.len(),
            objects: uses.len(),
            logical: images.iter().map(|image| image.tar_size).sum(),
            real: on_disk(&self.objects_dir())? + on_disk(&self.images_dir())? + trees,
            trees,
            shared: uses.values().map(|(size, uses)| size * u64::from(uses - 1)).sum(),
            by_image,
        })
    }
}

/// The blocks of all files in a directory and of itself, hard links counted once. What vanishes on the way is not
/// counted: other processes may be at work.
fn on_disk(directory: &Path) -> Result<u64, StoreError> {
    let mut total = 0;
    let mut linked = std::collections::HashSet::new();
    let mut pending = vec![directory.to_owned()];
    while let Some(path) = pending.pop() {
        let gone = |error: io::Error| match error.kind() {
            io::ErrorKind::NotFound => Ok(()),
            _ => Err(StoreError::io(&path)(error)),
        };
        let metadata = match fs::symlink_metadata(&path) {
            Ok(metadata) => metadata,
            Err(error) => {
                gone(error)?;
                continue;
            }
        };
        if metadata.is_dir() {
            match fs::read_dir(&path) {
                Ok(entries) => pending.extend(entries.flatten().map(|entry| entry.path())),
                Err(error) => gone(error)?,
            }
        } else if metadata.nlink() > 1 && !linked.insert((metadata.dev(), metadata.ino())) {
            continue;
        }
        total += metadata.blocks() * 512;
    }
    Ok(total)
}
