//! Which of the rendered trees can still be of use.

use std::{collections::HashMap, path::PathBuf};

use dhow_image::ImageId;

use crate::{
    error::StoreError,
    inventory::{disk_usage, entries},
    render::layers,
    rootfs::tree_name,
    roots::{Images, Roots},
    store::Store,
    way::Way,
};

/// The trees in the store, by what they are of.
pub(crate) struct Trees {
    present: Vec<Tree>,
}

/// A rendered tree.
pub(crate) struct Tree {
    pub(crate) path: PathBuf,
    /// What it is made of, if it is what an image is rendered to as things are now.
    pub(crate) of: Option<Origin>,
}

/// What a tree is made of.
#[derive(Clone, Copy)]
pub(crate) struct Origin {
    pub(crate) image: ImageId,
    pub(crate) way: Way,
}

impl Trees {
    pub(crate) fn of(store: &Store, images: &Images) -> Result<Self, StoreError> {
        let mut origins = HashMap::new();
        for record in images.records() {
            // Without all that it depends on there is no tree of it.
            let Ok(layers) = layers(store, &record.id) else {
                continue;
            };
            for way in Way::ALL {
                let image = record.id;
                origins.insert(tree_name(&image, &layers, way), Origin { image, way });
            }
        }
        let tree = |path: PathBuf| Tree {
            of: path.file_name().and_then(|name| origins.get(name.to_str()?)).copied(),
            path,
        };
        Ok(Self {
            present: entries(&store.trees_dir())?.into_iter().map(tree).collect(),
        })
    }

    pub(crate) fn present(&self) -> &[Tree] {
        &self.present
    }

    /// What the trees of an image take on the disk.
    pub(crate) fn bytes_of(&self, id: &ImageId) -> Result<u64, StoreError> {
        let own = |tree: &&Tree| tree.of.is_some_and(|origin| origin.image == *id);
        self.present.iter().filter(own).map(|tree| disk_usage(&tree.path)).sum()
    }

    /// The trees that no image is rendered to any more, and that no pod has mounted.
    pub(crate) fn unneeded(&self, roots: &Roots) -> Vec<&Tree> {
        // A pod may have mounted what its image was rendered to when other images were there.
        let may_be_mounted = |tree: &Tree| {
            let name = tree.path.file_name().unwrap_or_default().to_string_lossy();
            roots.have_pods() && name.starts_with("rendered-")
        };
        let unneeded = self.present.iter().filter(|tree| tree.of.is_none());
        unneeded.filter(|tree| !may_be_mounted(tree)).collect()
    }
}
