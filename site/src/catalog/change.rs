//! [`Change`]: what is to be different in a catalog.

use dhow_discovery::CatalogImage;
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

    pub(super) fn apply(&self, images: &mut Vec<CatalogImage>) {
        let (name, labels) = match self {
            Self::Put(image) => (&image.name, &image.labels),
            Self::Remove(name, labels) => (name, labels),
        };
        let place = place(name, labels);
        images.retain(|image| self::place(&image.name, &image.labels) != place);
        if let Self::Put(image) = self {
            images.push((**image).clone());
        }
    }
}

/// What a site can have one image of.
fn place<'a>(name: &'a Name, labels: &'a Labels) -> (&'a Name, Option<&'a str>, [Option<&'a str>; 2]) {
    (name, labels.get("version"), platform(labels))
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
