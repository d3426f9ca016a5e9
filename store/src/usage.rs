//! How much the store holds, and how much of that nobody needs.

use crate::{
    error::StoreError,
    gc::{Effect, GcOptions},
    inventory::{disk_usage, entries},
    roots::Images,
    store::Store,
};

/// A number of things, and what they take on the disk.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Amount {
    /// How many there are.
    pub number: u64,
    /// What they take together, in bytes.
    pub bytes: u64,
}

impl Amount {
    pub(crate) fn add(&mut self, bytes: u64) {
        self.number += 1;
        self.bytes += bytes;
    }
}

impl FromIterator<u64> for Amount {
    fn from_iter<I: IntoIterator<Item = u64>>(sizes: I) -> Self {
        let mut amount = Self::default();
        sizes.into_iter().for_each(|bytes| amount.add(bytes));
        amount
    }
}

/// What a store holds. Sizes are bytes on the disk where nothing else is said.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// The images, with what their own files (recipes, manifests) take.
    pub images: Amount,
    /// The sum of the images' tars: what they would take without each other.
    pub logical: u64,
    /// Objects.
    pub objects: Amount,
    /// What is spared since images share objects: each object's size times the images that need it beside the first.
    pub shared: u64,
    /// Rendered trees.
    pub trees: Amount,
    /// Temporary files.
    pub temporary: u64,
    /// What was found damaged.
    pub quarantine: u64,
    /// What [`Store::collect`] would free now. `None` if it would not start, since an image is damaged.
    pub collectable: Option<Amount>,
}

impl Usage {
    /// All that the store takes on the disk, without the pods.
    pub fn total(&self) -> u64 {
        self.images.bytes + self.objects.bytes + self.trees.bytes + self.temporary + self.quarantine
    }
}

impl Store {
    /// Counts what the store holds. Other programs may change it meanwhile.
    pub fn usage(&self) -> Result<Usage, StoreError> {
        let objects = self.list_objects()?;
        let images = Images::of(self)?;
        let mut usage = Usage {
            objects: objects.values().map(|file| file.bytes).collect(),
            temporary: disk_usage(&self.tmp_dir())?,
            quarantine: disk_usage(&self.quarantine_dir())?,
            ..Usage::default()
        };
        let mut named = 0;
        let mut needed = std::collections::HashSet::new();
        for record in images.records() {
            usage.logical += record.tar_size;
            let Ok(directory) = self.image_dir(&record.id) else {
                continue;
            };
            usage.images.add(disk_usage(directory.path())?);
            // What a damaged recipe needs is not known; fsck tells of it.
            for object in self.objects_of(&directory).unwrap_or_default().into_keys() {
                let bytes = objects.get(&object).map_or(0, |file| file.bytes);
                named += bytes;
                if needed.insert(object) {
                    usage.shared += bytes;
                }
            }
        }
        // All that is named, less what is there for it.
        usage.shared = named - usage.shared;
        for path in entries(&self.trees_dir())? {
            usage.trees.add(disk_usage(&path)?);
        }
        let options = GcOptions {
            effect: Effect::Report,
            ..GcOptions::default()
        };
        usage.collectable = match self.collect(&options) {
            Ok(report) => Some(report.freed()),
            Err(StoreError::Damaged { .. }) => None,
            Err(error) => return Err(error),
        };
        Ok(usage)
    }
}
