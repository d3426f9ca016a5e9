//! Which images go so that a store fits its limit: the least recently used first.

use std::{
    collections::{HashMap, HashSet},
    time::SystemTime,
};

use dhow_image::ImageId;

use crate::{
    error::StoreError,
    inventory::{ObjectFile, disk_usage},
    object::ObjectId,
    roots::{Images, Roots},
    store::Store,
    trees::Trees,
};

/// What the limit costs.
pub(crate) struct Choice {
    /// The images that go, in this order.
    pub(crate) images: Vec<ImageId>,
    /// By how many bytes the limit is exceeded all the same.
    pub(crate) excess: u64,
}

impl Store {
    /// Chooses the images that must go so that the store takes at most `limit` bytes on the disk. `is_spared` tells
    /// the objects that stay although no image names them.
    pub(crate) fn choose(
        &self,
        limit: u64,
        objects: &HashMap<ObjectId, ObjectFile>,
        is_spared: impl Fn(&ObjectFile) -> bool,
    ) -> Result<Choice, StoreError> {
        let images = Images::of(self)?;
        let users = Roots::of(self)?.users(&images);
        let trees = Trees::of(self, &images)?;
        let mut needed_by: HashMap<ObjectId, u32> = HashMap::new();
        let mut metadata = HashMap::new();
        for record in images.records() {
            let Ok(directory) = self.image_dir(&record.id) else {
                continue;
            };
            let named = self.objects_of(&directory)?;
            for object in named.keys() {
                *needed_by.entry(*object).or_default() += 1;
            }
            let own = disk_usage(directory.path())? + trees.bytes_of(&record.id)?;
            metadata.insert(record.id, (named, own));
        }
        let stay = |(id, file): &(&ObjectId, &ObjectFile)| needed_by.contains_key(id) || is_spared(file);
        let mut bytes: u64 = objects.iter().filter(stay).map(|(_, file)| file.bytes).sum();
        bytes += metadata.values().map(|(_, own)| own).sum::<u64>();
        bytes += disk_usage(&self.tmp_dir())? + disk_usage(&self.quarantine_dir())?;

        let mut candidates: Vec<(SystemTime, ImageId)> = metadata
            .keys()
            .filter(|id| !users.contains_key(id))
            .map(|id| (self.last_used(id), *id))
            .collect();
        candidates.sort();
        let mut above: HashMap<ImageId, Vec<ImageId>> = HashMap::new();
        for (_, id) in &candidates {
            above.insert(*id, images.dependents(self, id)?);
        }
        let mut going: Vec<ImageId> = Vec::new();
        let mut gone = HashSet::new();
        while bytes > limit {
            // What an image that stays depends on stays with it.
            let next = candidates
                .iter()
                .find(|(_, id)| !gone.contains(id) && above[id].iter().all(|above| gone.contains(above)));
            let Some((_, id)) = next else { break };
            let (named, own) = &metadata[id];
            bytes = bytes.saturating_sub(*own);
            for object in named.keys() {
                let users = needed_by
                    .get_mut(object)
                    .expect("the objects of all images were counted");
                *users -= 1;
                if *users == 0 {
                    let freed = objects.get(object).map_or(0, |file| file.bytes);
                    bytes = bytes.saturating_sub(freed);
                }
            }
            gone.insert(*id);
            going.push(*id);
        }
        Ok(Choice {
            images: going,
            excess: bytes.saturating_sub(limit),
        })
    }
}
