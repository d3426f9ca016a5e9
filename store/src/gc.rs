//! Collecting what no image needs: objects, trees, and what processes that died have left.
//!
//! Mark and sweep. What images name is read without a lock; then objects that none names are removed in batches, each
//! under the lock that keeps images from coming and going, after a look at those that have come since. So fetches and
//! pods go on, and wait for a batch at most, which takes milliseconds.

use std::{
    collections::{HashMap, HashSet},
    path::{Path, PathBuf},
    thread::sleep,
    time::{Duration, Instant, SystemTime},
};

use dhow_image::ImageId;

use crate::{
    discard::discard,
    error::StoreError,
    image_dir::ImageDir,
    index::{ImageRecord, image_ids},
    inventory::{ObjectFile, disk_usage, entries},
    locks,
    object::ObjectId,
    remove::Dependents,
    roots::{Images, Roots},
    store::Store,
    trees::Trees,
    usage::Amount,
};

/// How long a batch of removing may take.
const BATCH: Duration = Duration::from_millis(20);
/// Between two batches, for those who wait.
const PAUSE: Duration = Duration::from_millis(5);
/// Temporary files are left for this long at least: their owner may be waiting for somebody's network or passphrase.
const LEAST_AGE_OF_TEMPORARY: Duration = Duration::from_hours(24);
/// The same for blobs: a fetch marks those that it finds here, and then fetches the others.
const LEAST_AGE_OF_BLOBS: Duration = Duration::from_hours(1);

/// Whether anything is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    /// It is only told what would be.
    Report,
    /// It is removed.
    Remove,
}

/// What is collected.
#[derive(Clone, Copy, Debug)]
pub struct GcOptions {
    /// Objects and trees that no image needs and that are younger are left: whoever tries a fetch again needs them.
    pub grace: Duration,
    /// How many bytes the store may take. Images go, the least recently used first, until it does, and their objects
    /// however young they are.
    pub max_size: Option<u64>,
    /// Whether anything is removed.
    pub effect: Effect,
    /// For how long to wait for those who take images in.
    pub patience: Duration,
}

impl Default for GcOptions {
    fn default() -> Self {
        Self {
            grace: Duration::from_hours(24),
            max_size: None,
            effect: Effect::Remove,
            patience: Duration::from_secs(60),
        }
    }
}

/// What was collected, or would be.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct GcReport {
    /// The images that went for the limit's sake.
    pub images: Vec<ImageRecord>,
    /// Objects.
    pub objects: Amount,
    /// Rendered trees.
    pub trees: Amount,
    /// What registries sent, and nobody used within the grace period.
    pub blobs: Amount,
    /// What processes that died have left in `tmp/`, and damaged things of which the store has whole ones again.
    pub leftovers: Amount,
    /// By how many bytes the store exceeds its limit all the same, since pods and pins hold the rest.
    pub excess: u64,
}

impl GcReport {
    /// All of it together, without the images' own files.
    pub fn freed(&self) -> Amount {
        let parts = [self.objects, self.trees, self.blobs, self.leftovers];
        Amount {
            number: parts.iter().map(|part| part.number).sum(),
            bytes: parts.iter().map(|part| part.bytes).sum(),
        }
    }
}

impl Store {
    /// Removes what no image needs any more. Any number of programs may use the store meanwhile.
    ///
    /// [`StoreError::Busy`] if others keep the store busy for longer than the options allow;
    /// [`StoreError::Damaged`] if the recipe of an image cannot be read, so that nobody knows what it needs.
    pub fn collect(&self, options: &GcOptions) -> Result<GcReport, StoreError> {
        let removes = options.effect == Effect::Remove;
        let _lock = match removes {
            true => Some(self.collector_lock(options)?),
            false => None,
        };
        if removes {
            self.forget_ended_mounts()?;
        }
        let mut report = GcReport::default();
        let objects = self.list_objects()?;
        let now = SystemTime::now();
        let is_old = |file: &ObjectFile| age(now, file.modified) >= options.grace;

        let mut released = HashSet::new();
        let mut going = Vec::new();
        if let Some(limit) = options.max_size {
            let _lock = removes.then(|| locks::ingest(self.root())).transpose()?;
            let choice = self.choose(limit, &objects, |file| !is_old(file))?;
            report.excess = choice.excess;
            for record in self.images()? {
                if choice.images.contains(&record.id) {
                    released.extend(self.objects_of(&self.image_dir(&record.id)?)?.into_keys());
                    report.images.push(record);
                }
            }
            going = choice.images;
            if removes {
                self.remove_locked(&going, Dependents::Protected)?;
            }
        }

        let mut marked = Marked::default();
        marked.mark(self, &going)?;
        let unneeded = objects
            .iter()
            .filter(|(id, file)| !marked.objects.contains(id) && (is_old(file) || released.contains(id)))
            .map(|(id, file)| (*id, file.bytes))
            .collect::<Vec<_>>();
        match options.effect {
            Effect::Report => {
                report.objects = unneeded.iter().map(|(_, bytes)| *bytes).collect();
                report.trees = self.unneeded_trees(&going, options)?.values().copied().collect();
                report.blobs = self.old_blobs(options)?.values().copied().collect();
                report.leftovers = self.leftovers(options)?.values().copied().collect();
            }
            Effect::Remove => {
                report.objects = self.sweep(&unneeded, &mut marked, options)?;
                let _quiet = locks::quiet(self.root(), options.patience)?;
                for (path, bytes) in self.unneeded_trees(&[], options)? {
                    // A directory of many files goes from its place at once.
                    if let Some(aside) = self.set_aside(&path)? {
                        discard(&aside)?;
                        report.trees.add(bytes);
                    }
                }
                for (path, bytes) in self.old_blobs(options)? {
                    discard(&path)?;
                    report.blobs.add(bytes);
                }
                for (path, bytes) in self.leftovers(options)? {
                    discard(&path)?;
                    report.leftovers.add(bytes);
                }
            }
        }
        Ok(report)
    }

    fn collector_lock(&self, options: &GcOptions) -> Result<locks::Held, StoreError> {
        self.check_writable()?;
        locks::collector(self.root(), options.patience)
    }

    fn sweep(
        &self,
        unneeded: &[(ObjectId, u64)],
        marked: &mut Marked,
        options: &GcOptions,
    ) -> Result<Amount, StoreError> {
        let mut removed = Amount::default();
        let mut rest = unneeded.iter();
        while rest.len() > 0 {
            let quiet = locks::quiet(self.root(), options.patience)?;
            marked.mark(self, &[])?;
            let begin = Instant::now();
            for (id, bytes) in rest.by_ref() {
                if !marked.objects.contains(id) {
                    discard(&self.objects_dir().join(id.relative_path()))?;
                    removed.add(*bytes);
                }
                if begin.elapsed() > BATCH {
                    break;
                }
            }
            drop(quiet);
            sleep(PAUSE);
        }
        Ok(removed)
    }

    /// The trees that nobody needs, with what they take. The images that are `going` are not asked.
    fn unneeded_trees(&self, going: &[ImageId], options: &GcOptions) -> Result<HashMap<PathBuf, u64>, StoreError> {
        let trees = Trees::of(self, &Images::of(self)?)?;
        let roots = Roots::of(self)?;
        let of_going = trees
            .present()
            .iter()
            .filter(|tree| tree.of.is_some_and(|origin| going.contains(&origin.image)));
        let unneeded = trees
            .unneeded(&roots)
            .into_iter()
            .filter(|tree| is_older(&tree.path, options.grace));
        let mut paths = HashMap::new();
        for tree in of_going.chain(unneeded) {
            paths.insert(tree.path.clone(), disk_usage(&tree.path)?);
        }
        Ok(paths)
    }

    /// The blobs of registries that no fetch has used for so long, with what they take. Any of them can be fetched
    /// again; one that an image is being made of was used a moment ago.
    fn old_blobs(&self, options: &GcOptions) -> Result<HashMap<PathBuf, u64>, StoreError> {
        let mut paths = HashMap::new();
        for algorithm in entries(&self.root().join("blobs"))? {
            if !algorithm.is_dir() {
                continue;
            }
            for path in entries(&algorithm)? {
                let used = path.symlink_metadata().and_then(|metadata| metadata.modified());
                if used.is_ok_and(|used| age(SystemTime::now(), used) >= options.grace.max(LEAST_AGE_OF_BLOBS)) {
                    paths.insert(path.clone(), disk_usage(&path)?);
                }
            }
        }
        Ok(paths)
    }

    /// What is left in `tmp/`, and what in `quarantine/` is whole in the store again, with what they take.
    fn leftovers(&self, options: &GcOptions) -> Result<HashMap<PathBuf, u64>, StoreError> {
        let mut paths = HashMap::new();
        for path in entries(&self.tmp_dir())? {
            if is_untouched(&path, options.grace.max(LEAST_AGE_OF_TEMPORARY))? {
                paths.insert(path.clone(), disk_usage(&path)?);
            }
        }
        for path in entries(&self.quarantine_dir())? {
            let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
            let id = name.split('.').next().unwrap_or_default().parse::<ImageId>();
            if id.is_ok_and(|id| self.contains(&id)) && is_older(&path, options.grace) {
                paths.insert(path.clone(), disk_usage(&path)?);
            }
        }
        Ok(paths)
    }
}

/// The images that were looked at, and the objects that they name.
#[derive(Default)]
struct Marked {
    images: HashSet<PathBuf>,
    objects: HashSet<ObjectId>,
}

impl Marked {
    /// Looks at the images that were not looked at yet, and at those in quarantine: their objects are what makes it
    /// cheap to get them whole again, and a pod may run on one.
    fn mark(&mut self, store: &Store, except: &[ImageId]) -> Result<(), StoreError> {
        for id in store.image_ids()? {
            let Ok(image) = store.image_dir(&id) else { continue };
            if except.contains(&id) || self.images.contains(image.path()) {
                continue;
            }
            let objects = store.objects_of(&image)?;
            // One that went meanwhile names none, and is looked at again if it comes back.
            if !objects.is_empty() {
                self.images.insert(image.path().to_owned());
                self.objects.extend(objects.into_keys());
            }
        }
        let quarantine = store.quarantine_dir();
        for id in image_ids_if_any(&quarantine)? {
            let Ok(image) = ImageDir::open(&quarantine, &id) else {
                continue;
            };
            if self.images.insert(image.path().to_owned())
                && let Ok(objects) = store.objects_of(&image)
            {
                self.objects.extend(objects.into_keys());
            }
        }
        Ok(())
    }
}

/// The images that have a directory in `directory`, which may be missing.
fn image_ids_if_any(directory: &Path) -> Result<Vec<ImageId>, StoreError> {
    match directory.exists() {
        true => image_ids(directory),
        false => Ok(Vec::new()),
    }
}

fn age(now: SystemTime, then: SystemTime) -> Duration {
    // What comes from the future, by a clock that was set back, is young.
    now.duration_since(then).unwrap_or_default()
}

fn is_older(path: &Path, than: Duration) -> bool {
    let modified = std::fs::symlink_metadata(path).and_then(|metadata| metadata.modified());
    // A tree's own time is that of the image's root directory; when it came here is told by its last change.
    let changed = std::fs::symlink_metadata(path).map(|metadata| changed(&metadata));
    match (modified, changed) {
        (Ok(modified), Ok(changed)) => age(SystemTime::now(), modified.max(changed)) >= than,
        _ => false,
    }
}

fn changed(metadata: &std::fs::Metadata) -> SystemTime {
    use std::os::unix::fs::MetadataExt;
    SystemTime::UNIX_EPOCH + Duration::from_secs(metadata.ctime().try_into().unwrap_or(0))
}

/// Whether neither a file nor anything in it, two directories deep, was touched for so long.
fn is_untouched(path: &Path, long: Duration) -> Result<bool, StoreError> {
    fn all(path: &Path, long: Duration, depth: u32) -> Result<bool, StoreError> {
        if !is_older(path, long) {
            return Ok(false);
        }
        if depth == 0 || !path.is_dir() {
            return Ok(true);
        }
        for entry in entries(path)? {
            if !all(&entry, long, depth - 1)? {
                return Ok(false);
            }
        }
        Ok(true)
    }
    all(path, long, 2)
}
