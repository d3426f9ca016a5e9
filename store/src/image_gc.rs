//! Removing the images that nobody has used for long.

use std::{
    collections::HashSet,
    time::{Duration, SystemTime},
};

use dhow_image::{ImageId, Labels};

use crate::{
    error::StoreError,
    gc::Effect,
    index::ImageRecord,
    locks,
    remove::Dependents,
    roots::{Images, Roots},
    store::Store,
};

/// Which images are removed.
#[derive(Clone, Copy, Debug)]
pub struct ImageGcOptions {
    /// What was used, or came, in this time stays.
    pub unused_for: Duration,
    /// Whether only those go of which the store has a newer version.
    pub only_superseded: bool,
    /// Whether anything is removed.
    pub effect: Effect,
}

impl Store {
    /// Removes the images that no pod, no pin and no other image needs and that were not used for some time. Gives
    /// those that went, or would.
    pub fn collect_images(&self, options: &ImageGcOptions) -> Result<Vec<ImageRecord>, StoreError> {
        self.check_writable()?;
        if options.effect == Effect::Remove {
            self.forget_ended_mounts()?;
        }
        let _lock = locks::ingest(self.root())?;
        let images = Images::of(self)?;
        let users = Roots::of(self)?.users(&images);
        let now = SystemTime::now();
        let superseded = superseded(images.records());
        let may_go = |record: &&ImageRecord| {
            let age = now.duration_since(self.last_used(&record.id)).unwrap_or_default();
            age >= options.unused_for
                && !users.contains_key(&record.id)
                && (!options.only_superseded || superseded.contains(&record.id))
        };
        let mut going: Vec<_> = images.records().iter().filter(may_go).cloned().collect();
        // What an image that stays depends on stays.
        loop {
            let ids: HashSet<_> = going.iter().map(|record| record.id).collect();
            let mut stays = HashSet::new();
            for id in &ids {
                if images.dependents(self, id)?.iter().any(|above| !ids.contains(above)) {
                    stays.insert(*id);
                }
            }
            if stays.is_empty() {
                break;
            }
            going.retain(|record| !stays.contains(&record.id));
        }
        if options.effect == Effect::Remove && !going.is_empty() {
            let ids: Vec<_> = going.iter().map(|record| record.id).collect();
            self.remove_locked(&ids, Dependents::Protected)?;
        }
        Ok(going)
    }
}

/// The images beside which there is a newer one of the same name with the same labels but for the version. Records
/// come with the newest of a name first.
fn superseded(records: &[ImageRecord]) -> HashSet<ImageId> {
    let kind = |record: &ImageRecord| -> (String, String) {
        let labels: Labels = {
            let rest = record.labels.iter().filter(|label| label.name.as_str() != "version");
            rest.cloned()
                .collect::<Vec<_>>()
                .try_into()
                .expect("a part of valid labels is valid")
        };
        (record.name.to_string(), labels.to_string())
    };
    let mut seen = HashSet::new();
    let older = records.iter().filter(|record| !seen.insert(kind(record)));
    older.map(|record| record.id).collect()
}
