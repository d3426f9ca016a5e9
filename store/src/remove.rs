//! Removing images.

use std::{fs, path::PathBuf};

use dhow_image::ImageId;

use crate::{
    discard::discard,
    error::StoreError,
    locks,
    roots::{Images, Roots, User},
    store::Store,
};

/// What happens to the images that depend on one that is to be removed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dependents {
    /// Nothing: while there are any, it stays.
    Protected,
    /// They stay behind and cannot be rendered until it is fetched again.
    LeftBehind,
}

impl Store {
    /// Removes images: all of them or, where a pod, a pin or another image needs one, none. Their objects and trees
    /// stay until they are collected.
    ///
    /// Whoever reads one meanwhile ends well or with an error that names what is gone.
    pub fn remove(&self, ids: &[ImageId], dependents: Dependents) -> Result<(), StoreError> {
        self.check_writable()?;
        self.forget_ended_mounts()?;
        let _lock = locks::ingest(self.root())?;
        self.remove_locked(ids, dependents)
    }

    /// As [`Self::remove`], for who holds the lock.
    pub(crate) fn remove_locked(&self, ids: &[ImageId], dependents: Dependents) -> Result<(), StoreError> {
        for id in ids {
            self.image_dir(id)?;
        }
        let images = Images::of(self)?;
        self.check_unused(ids, &images)?;
        if dependents == Dependents::Protected {
            self.check_independent(ids, &images)?;
        }
        let mut aside = Vec::new();
        for id in ids {
            if let Some(place) = self.set_aside(&self.images_dir().join(id.to_string()))? {
                aside.push((*id, place));
            }
        }
        // A pod or a pin that came meanwhile has either seen that the image is gone, or is seen here.
        if let Err(error) = self.check_unused(ids, &images) {
            self.put_back(&aside)?;
            return Err(error);
        }
        for (id, place) in aside {
            // First what frees room, for the index needs some.
            discard(&place)?;
            self.index()?.remove(&id)?;
        }
        Ok(())
    }

    fn put_back(&self, aside: &[(ImageId, PathBuf)]) -> Result<(), StoreError> {
        for (id, place) in aside {
            let image = self.images_dir().join(id.to_string());
            match fs::rename(place, &image) {
                Ok(()) => {}
                // Somebody has fetched it again.
                Err(_) if image.exists() => discard(place)?,
                Err(error) => return Err(StoreError::io(image)(error)),
            }
        }
        Ok(())
    }

    fn check_unused(&self, ids: &[ImageId], images: &Images) -> Result<(), StoreError> {
        let users = Roots::of(self)?.users(images);
        match ids.iter().find_map(|id| Some((id, users.get(id)?))) {
            Some((id, users)) => Err(StoreError::InUse {
                image: images.title(id),
                users: users.clone(),
            }),
            None => Ok(()),
        }
    }

    fn check_independent(&self, ids: &[ImageId], images: &Images) -> Result<(), StoreError> {
        for id in ids {
            let mut dependents = images.dependents(self, id)?;
            dependents.retain(|dependent| !ids.contains(dependent));
            if !dependents.is_empty() {
                return Err(StoreError::InUse {
                    image: images.title(id),
                    users: dependents.iter().map(|id| User::Image(images.title(id))).collect(),
                });
            }
        }
        Ok(())
    }
}
