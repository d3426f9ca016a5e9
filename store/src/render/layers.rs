use std::{collections::HashSet, sync::Arc};

use dhow_image::{Dependency, ImageId, ImageManifest, Name};

use super::whitelist::Whitelist;
use crate::{
    error::StoreError,
    index::{ImageRecord, Standing},
    store::Store,
};

/// How far a chain of dependencies goes down; what fetches images goes as far.
const MAX_DEPTH: usize = 32;
/// How many layers a root file system has. Only a contrived one has more than a few dozen.
const MAX_LAYERS: usize = 1000;

/// One image in the order of rendering, with the whitelists that its files must pass: those of the images that brought
/// it in, the outermost first, and its own last.
pub(crate) struct Layer {
    pub(crate) id: ImageId,
    pub(super) whitelists: Vec<Arc<Whitelist>>,
}

impl Layer {
    /// Whose whitelists these are. Together with the ID, it says all there is to say of a layer.
    pub(crate) fn whitelisted_by(&self) -> impl ExactSizeIterator<Item = &ImageId> {
        self.whitelists.iter().map(|whitelist| &whitelist.image)
    }
}

/// Lists the images that make up the root file system of `id`, those beneath first.
///
/// An image that is reached by two ways with different whitelists is listed twice. With the same whitelists it is
/// listed where it comes last: all that it laid before is laid again there.
pub(crate) fn layers(store: &Store, id: &ImageId) -> Result<Vec<Layer>, StoreError> {
    let mut descent = Descent {
        store,
        standing: store.standing(id)?,
        chain: Vec::new(),
        seen: HashSet::new(),
        layers: Vec::new(),
    };
    descent.descend(id, &[])?;
    let mut layers = descent.layers;
    layers.reverse();
    Ok(layers)
}

/// The way down from an image to those it depends on, from the last to the first: so what is met again is known to be
/// covered by what was met before.
struct Descent<'a> {
    store: &'a Store,
    /// What is found by its name must stand as high as the image that asks for it: no verified image ever gets files
    /// that nobody vouches for. What is named by its ID is vouched for by who names it.
    standing: Standing,
    chain: Vec<(ImageId, Name)>,
    seen: HashSet<(ImageId, Vec<ImageId>)>,
    layers: Vec<Layer>,
}

impl Descent<'_> {
    fn descend(&mut self, id: &ImageId, outer: &[Arc<Whitelist>]) -> Result<(), StoreError> {
        let manifest = self.store.manifest(id)?;
        let circle = self.chain.iter().any(|(above, _)| above == id);
        self.chain.push((*id, manifest.name.clone()));
        if circle {
            return Err(StoreError::DependencyCycle { chain: self.names() });
        }
        if self.chain.len() > MAX_DEPTH {
            return Err(StoreError::TooManyDependencies {
                image: self.chain[0].1.clone(),
                problem: format!("a chain of over {MAX_DEPTH} images"),
            });
        }
        let mut whitelists = outer.to_vec();
        whitelists.extend(Whitelist::of(id, &manifest).map(Arc::new));
        let listed_by = whitelists.iter().map(|whitelist| whitelist.image).collect();
        if self.seen.insert((*id, listed_by)) {
            if self.layers.len() == MAX_LAYERS {
                return Err(StoreError::TooManyDependencies {
                    image: self.chain[0].1.clone(),
                    problem: format!("over {MAX_LAYERS} layers"),
                });
            }
            self.layers.push(Layer {
                id: *id,
                whitelists: whitelists.clone(),
            });
            for dependency in manifest.dependencies.iter().rev() {
                let found = self.find(dependency)?;
                self.descend(&found, &whitelists)?;
            }
        }
        self.chain.pop();
        Ok(())
    }

    /// The image in the store that a dependency means (appc spec, aci.md, "Dependency Matching"): one with the name and
    /// the labels, and with the ID and the size where they are given.
    fn find(&self, dependency: &Dependency) -> Result<ImageId, StoreError> {
        match &dependency.image_id {
            Some(id) if self.store.contains(id) => {
                let manifest = self.store.manifest(id)?;
                if let Some(problem) = contradiction(dependency, &manifest) {
                    return Err(self.wrong(dependency, problem));
                }
                let images = self.store.index()?.named(&manifest.name)?;
                let image = images.iter().find(|image| image.id == *id);
                match (dependency.size, image) {
                    (Some(size), Some(image)) if !self.has_size(image, size)? => {
                        Err(self.wrong(dependency, other_size(size)))
                    }
                    _ => Ok(*id),
                }
            }
            Some(_) => Err(self.missing(dependency, "")),
            None => self.find_named(dependency),
        }
    }

    fn find_named(&self, dependency: &Dependency) -> Result<ImageId, StoreError> {
        let mut images = self.store.index()?.named(&dependency.image_name)?;
        images.retain(|image| dependency.labels.first_mismatch(&image.labels).is_none());
        if images.is_empty() {
            return Err(self.missing(dependency, ""));
        }
        let stands = |image: &ImageRecord| image.standing >= self.standing;
        if !images.iter().any(stands) {
            return Err(self.missing(dependency, ", but for an image that nobody vouches for"));
        }
        for image in images.iter().filter(|image| stands(image)) {
            match dependency.size {
                Some(size) if !self.has_size(image, size)? => {}
                _ => return Ok(image.id),
            }
        }
        let size = dependency.size.expect("without a size, the first image fits");
        Err(self.wrong(dependency, other_size(size)))
    }

    /// Whether an image has this size: the spec leaves open whether that of its tar or of the archive as it travelled.
    fn has_size(&self, image: &ImageRecord, size: u64) -> Result<bool, StoreError> {
        let provenance = self.store.provenance(&image.id)?;
        let travelled = provenance.pointer("/archive/size").and_then(serde_json::Value::as_u64);
        Ok(travelled == Some(size) || image.tar_size == size)
    }

    fn missing(&self, dependency: &Dependency, but: &'static str) -> StoreError {
        StoreError::MissingDependency {
            chain: self.names(),
            dependency: shown(dependency),
            but,
        }
    }

    fn wrong(&self, dependency: &Dependency, problem: String) -> StoreError {
        StoreError::WrongDependency {
            chain: self.names(),
            dependency: shown(dependency),
            problem,
        }
    }

    fn names(&self) -> Vec<Name> {
        self.chain.iter().map(|(_, name)| name.clone()).collect()
    }
}

/// How an image that was named by its ID is not what the dependency says of it.
fn contradiction(dependency: &Dependency, manifest: &ImageManifest) -> Option<String> {
    if manifest.name != dependency.image_name {
        return Some(format!("the image with that ID is `{}`", manifest.name));
    }
    let (label, found) = dependency.labels.first_mismatch(&manifest.labels)?;
    let found = found.map_or_else(|| "none".to_owned(), |value| format!("`{value}`"));
    Some(format!(
        "of the label `{}`, the image with that ID has {found}",
        label.name
    ))
}

fn other_size(size: u64) -> String {
    format!("neither its tar nor its archive has the {size} bytes that are asked for")
}

/// A dependency as a person would write it.
fn shown(dependency: &Dependency) -> String {
    let mut text = dependency.image_name.to_string();
    for label in dependency.labels.iter() {
        text.push_str(&format!(",{}={}", label.name, label.value));
    }
    if let Some(id) = &dependency.image_id {
        text.push_str(&format!(" ({})", id.short()));
    }
    text
}
