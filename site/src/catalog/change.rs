//! [`Change`]: what is to be different in a catalog.

use dhow_discovery::{CatalogError, CatalogImage, CatalogLines};
use dhow_image::{Labels, Name};

use crate::{Record, record::platform};

/// A change of a catalog.
#[derive(Clone, Debug)]
pub(crate) enum Change {
    Put(Box<CatalogImage>),
    Remove(Name, Labels),
}

impl Change {
    /// Lists what a record tells of.
    pub(crate) fn put(record: &Record) -> Self {
        Self::Put(Box::new(entry(record)))
    }

    pub(super) fn name(&self) -> &Name {
        match self {
            Self::Put(image) => &image.name,
            Self::Remove(name, _) => name,
        }
    }

    pub(super) fn apply(&self, images: &mut CatalogLines) -> Result<(), CatalogError> {
        let (name, labels) = match self {
            Self::Put(image) => (&image.name, &image.labels),
            Self::Remove(name, labels) => (name, labels),
        };
        // A site can have one image of a name, a version and a platform.
        let version = labels.get("version").unwrap_or_default();
        let is_same =
            |other: &Labels| (other.get("version"), platform(other)) == (labels.get("version"), platform(labels));
        images.remove(name, version, is_same)?;
        match self {
            Self::Put(image) => images.insert(image),
            Self::Remove(..) => Ok(()),
        }
    }
}

/// What a catalog says of an image.
pub(super) fn entry(record: &Record) -> CatalogImage {
    let labels: Vec<_> = record.labels.iter().cloned().collect();
    CatalogImage {
        name: record.name.clone(),
        // Without what the manifest says beside them.
        labels: labels.try_into().expect("no label stands twice in a list of labels"),
        id: record.id,
        tar_size: record.tar_size,
        published: record.published,
        archive: record.archive.clone(),
        recipe: record.recipe.clone(),
        torrent: record.torrent.as_ref().map(|torrent| torrent.metainfo.clone()),
        yanked: record.yanked.clone(),
    }
}
