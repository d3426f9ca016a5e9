//! The directory of one image: `images/<id>/{manifest,recipe,provenance.json}`, and an empty file `unverified` where
//! nobody vouches for the image.

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
};

use dhow_image::{ImageId, ImageManifest};

use crate::{error::StoreError, index::Standing};

pub(crate) const MANIFEST: &str = "manifest";
pub(crate) const RECIPE: &str = "recipe";
pub(crate) const PROVENANCE: &str = "provenance.json";
pub(crate) const UNVERIFIED: &str = "unverified";
pub(crate) const USED: &str = "used";

/// An image that is in the store.
pub(crate) struct ImageDir {
    id: ImageId,
    path: PathBuf,
}

impl ImageDir {
    /// Opens the directory of `id`, which is there whole or not at all.
    pub(crate) fn open(images: &Path, id: &ImageId) -> Result<Self, StoreError> {
        let path = images.join(id.to_string());
        if path.is_dir() {
            Ok(Self { id: *id, path })
        } else {
            Err(StoreError::NotFound { id: id.to_string() })
        }
    }

    pub(crate) fn manifest(&self) -> Result<ImageManifest, StoreError> {
        let json = self.manifest_json()?;
        ImageManifest::from_json(&json).map_err(|source| StoreError::DamagedManifest { id: self.id, source })
    }

    /// The manifest as it stands in the archive.
    pub(crate) fn manifest_json(&self) -> Result<Vec<u8>, StoreError> {
        let path = self.path.join(MANIFEST);
        fs::read(&path).map_err(StoreError::io(path))
    }

    pub(crate) fn recipe_path(&self) -> PathBuf {
        self.path.join(RECIPE)
    }

    pub(crate) fn recipe(&self) -> Result<File, StoreError> {
        let path = self.recipe_path();
        File::open(&path).map_err(StoreError::io(path))
    }

    pub(crate) fn standing(&self) -> Standing {
        if self.path.join(UNVERIFIED).exists() {
            Standing::Unverified
        } else {
            Standing::Verified
        }
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    pub(crate) fn provenance(&self) -> Result<serde_json::Value, StoreError> {
        let path = self.path.join(PROVENANCE);
        let json = fs::read(&path).map_err(StoreError::io(&path))?;
        serde_json::from_slice(&json).map_err(|error| StoreError::Damaged {
            path,
            problem: format!("is no JSON: {error}"),
        })
    }
}
