//! Who needs which image: pods, pins, and the images that depend on it.
//!
//! A pod writes its manifest, which names its images, before it looks for them in the store and renders them; and
//! whoever removes an image looks for pods once more when the image is out of its place. So at least one of the two
//! sees the other: a pod never runs on an image whose objects are collected.

use std::{
    collections::{HashMap, HashSet},
    fmt, fs, io,
};

use dhow_image::{Dependency, ImageId, ImageManifest, PodManifest};

use crate::{error::StoreError, index::ImageRecord, pin::Pin, store::Store};

/// Who needs an image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum User {
    /// A pod, by its UUID.
    Pod(String),
    /// A pod whose manifest cannot be read, so that it may need any image.
    UnreadablePod(String),
    /// A pin, by its name.
    Pin(String),
    /// Another image that depends on it, by its name and ID.
    Image(String),
}

impl fmt::Display for User {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Pod(id) => write!(f, "pod `{id}`"),
            Self::UnreadablePod(id) => write!(f, "perhaps pod `{id}`, whose manifest cannot be read"),
            Self::Pin(name) => write!(f, "pin `{name}`"),
            Self::Image(name) => write!(f, "image `{name}`"),
        }
    }
}

/// The images that pods and pins name.
pub(crate) struct Roots {
    pods: Vec<(String, PodImages)>,
    pins: Vec<Pin>,
}

/// The images of a pod.
enum PodImages {
    Known(Vec<ImageId>),
    Unreadable,
}

impl Roots {
    /// Reads all pods and pins, as they are now.
    pub(crate) fn of(store: &Store) -> Result<Self, StoreError> {
        Ok(Self {
            pods: pods(store)?,
            pins: store.pins()?,
        })
    }

    /// Whether any pod may have a rendered root file system in use of which its manifest does not tell the name:
    /// one that was made of several images, of which some may have been chosen by their names.
    pub(crate) fn have_pods(&self) -> bool {
        !self.pods.is_empty()
    }

    /// Who needs each image.
    pub(crate) fn users(&self, images: &Images) -> HashMap<ImageId, Vec<User>> {
        let mut users: HashMap<ImageId, Vec<User>> = HashMap::new();
        let mut add = |ids: HashSet<ImageId>, user: &User| {
            for id in ids {
                users.entry(id).or_default().push(user.clone());
            }
        };
        for (pod, named) in &self.pods {
            match named {
                PodImages::Known(ids) => add(images.all_that_may_be_below(ids), &User::Pod(pod.clone())),
                PodImages::Unreadable => add(
                    images.manifests.keys().copied().collect(),
                    &User::UnreadablePod(pod.clone()),
                ),
            }
        }
        for pin in &self.pins {
            add(images.all_that_may_be_below(&pin.images), &User::Pin(pin.name.clone()));
        }
        users
    }
}

fn pods(store: &Store) -> Result<Vec<(String, PodImages)>, StoreError> {
    let directory = store.root().join("pods");
    let entries = match fs::read_dir(&directory) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(StoreError::io(directory)(error)),
    };
    let mut pods = Vec::new();
    for entry in entries {
        let entry = entry.map_err(StoreError::io(&directory))?;
        let path = entry.path();
        // A pod that is garbage runs nothing and never will.
        if path.join("garbage").exists() {
            continue;
        }
        let name = entry.file_name().to_string_lossy().into_owned();
        match fs::read(path.join("pod")) {
            Ok(json) => pods.push((
                name,
                match PodManifest::from_json(&json) {
                    Ok(pod) => PodImages::Known(pod.apps.iter().map(|app| app.image.id).collect()),
                    Err(_) => PodImages::Unreadable,
                },
            )),
            // It has rendered nothing yet, or it is being removed.
            Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {}
            Err(_) => pods.push((name, PodImages::Unreadable)),
        }
    }
    Ok(pods)
}

/// The manifests of all images, for what depends on what.
pub(crate) struct Images {
    records: Vec<ImageRecord>,
    manifests: HashMap<ImageId, Option<ImageManifest>>,
}

impl Images {
    /// Reads them. Of one that cannot be read is known only that it is there.
    pub(crate) fn of(store: &Store) -> Result<Self, StoreError> {
        let ids = store.image_ids()?;
        Ok(Self {
            records: store.images()?,
            manifests: ids.into_iter().map(|id| (id, store.manifest(&id).ok())).collect(),
        })
    }

    /// What a person calls an image.
    pub(crate) fn title(&self, id: &ImageId) -> String {
        let record = self.records.iter().find(|record| record.id == *id);
        record.map_or_else(|| id.short(), title)
    }

    pub(crate) fn records(&self) -> &[ImageRecord] {
        &self.records
    }

    /// The images that depend on `id` as they would be rendered now.
    pub(crate) fn dependents(&self, store: &Store, id: &ImageId) -> Result<Vec<ImageId>, StoreError> {
        let mut dependents = Vec::new();
        for (dependent, manifest) in &self.manifests {
            for dependency in manifest.iter().flat_map(|manifest| &manifest.dependencies) {
                if below(store, dependent, dependency)? == Some(*id) {
                    dependents.push(*dependent);
                    break;
                }
            }
        }
        dependents.sort_by_key(|id| self.title(id));
        Ok(dependents)
    }

    /// These images and all that they depend on, however deep. A dependency by name may have meant another image when
    /// a pod was started than it does now, so all that it could mean are there.
    fn all_that_may_be_below(&self, ids: &[ImageId]) -> HashSet<ImageId> {
        let mut found = HashSet::new();
        let mut next = ids.to_vec();
        while let Some(id) = next.pop() {
            if !found.insert(id) {
                continue;
            }
            let manifest = self.manifests.get(&id).and_then(Option::as_ref);
            for dependency in manifest.iter().flat_map(|manifest| &manifest.dependencies) {
                match &dependency.image_id {
                    Some(id) => next.push(*id),
                    None => next.extend(self.records.iter().filter_map(|record| {
                        let fits = record.name == dependency.image_name
                            && dependency.labels.first_mismatch(&record.labels).is_none();
                        fits.then_some(record.id)
                    })),
                }
            }
        }
        found
    }
}

/// The image that a dependency means now.
fn below(store: &Store, dependent: &ImageId, dependency: &Dependency) -> Result<Option<ImageId>, StoreError> {
    if let Some(id) = dependency.image_id {
        return Ok(Some(id));
    }
    match store.standing(dependent) {
        Ok(standing) => store.find(&dependency.image_name, &dependency.labels, standing),
        Err(StoreError::NotFound { .. }) => Ok(None),
        Err(error) => Err(error),
    }
}

/// A name, its version if it has one, and the beginning of an ID.
pub(crate) fn title(record: &ImageRecord) -> String {
    let version = record.labels.get("version");
    let version = version.map_or_else(String::new, |version| format!(":{version}"));
    format!("{}{version} ({})", record.name, record.id.short())
}
