//! The store's directory.
//!
//! ```text
//!   VERSION                                    `1`
//!   objects/ab/cdef…                           contents of files, named by SHA-256; never changed
//!   images/<id>/{manifest,recipe,provenance.json}   one directory an image; never changed, but that an image which
//!   images/<id>/unverified                       nobody vouches for has this mark, until somebody does
//!   trees/<id>.{erofs,stubs,checkout}          rendered root file systems; can be made again
//!   pods/                                      the pods', which `dhow-pod` owns
//!   index.db                                   SQLite over images/; can be made again
//!   locks/store                                held shared by every process that has the store open
//!   tmp/                                       what is being made; emptied by whoever finds nobody else here
//!   downloads/                                 what is on its way here, which `dhow-fetchers` owns; outlives processes
//! ```
//!
//! **Visible means whole.** Everything is made in `tmp/`, synced, and renamed into its place; an image's directory
//! comes last. A process that dies leaves temporary files, or objects that no image names, and nothing else.
//!
//! **Readers.** Only the store's owner looks into `objects/`, `trees/`, `tmp/`, `downloads/` and `locks/`: an image may hold secrets,
//! and whoever can open a lock can keep it.
//!
//! **Locks.** A process holds `locks/store` shared as long as a [`Store`] lives, so that nobody empties `tmp/` or
//! collects objects under it. SQLite looks after the index itself.

use std::{
    fs::{self, File, OpenOptions},
    io,
    os::unix::fs::DirBuilderExt,
    path::{Path, PathBuf},
    sync::{Mutex, MutexGuard, OnceLock},
};

use dhow_image::{ImageId, ImageIdPrefix, ImageManifest, Labels, Limits, Name};
use nix::fcntl::{Flock, FlockArg};

use crate::{
    error::StoreError,
    image_dir::ImageDir,
    index::{ImageRecord, Index, Standing, image_ids},
    way::Probe,
};

/// The version of the layout.
pub(crate) const VERSION: &str = "1";

/// A directory of images.
pub struct Store {
    root: PathBuf,
    index: Mutex<Index>,
    limits: Limits,
    pub(crate) probed: OnceLock<Probe>,
    _lock: Flock<File>,
}

impl Store {
    /// Opens the store in `root`, and makes one there if there is none.
    pub fn open(root: &Path) -> Result<Self, StoreError> {
        fs::create_dir_all(root).map_err(StoreError::io(root))?;
        let root = root.canonicalize().map_err(StoreError::io(root))?;
        for (name, mode) in [
            ("objects", 0o700),
            ("images", 0o755),
            ("trees", 0o700),
            ("pods", 0o755),
            ("locks", 0o700),
            ("tmp", 0o700),
            ("downloads", 0o700),
        ] {
            let path = root.join(name);
            fs::DirBuilder::new()
                .recursive(true)
                .mode(mode)
                .create(&path)
                .map_err(StoreError::io(&path))?;
        }
        check_version(&root)?;
        let lock = lock(&root)?;
        let index = Index::open(&root.join("index.db"), &root.join("images"))?;
        Ok(Self {
            root,
            index: Mutex::new(index),
            limits: Limits::default(),
            probed: OnceLock::new(),
            _lock: lock,
        })
    }

    /// The same store, which takes in images of other sizes than [`Limits::default`] permits.
    pub fn with_limits(mut self, limits: Limits) -> Self {
        self.limits = limits;
        self
    }

    /// How large the images may be that are taken in.
    pub fn limits(&self) -> Limits {
        self.limits
    }

    /// The store's directory.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// A directory for temporary files on the store's file system. Whoever uses it removes them; those of a process
    /// that died are removed later.
    pub fn tmp_dir(&self) -> PathBuf {
        self.root.join("tmp")
    }

    /// A directory for downloads that outlive the process that began them, on the store's file system. The store keeps
    /// nothing there itself, and removes nothing from it.
    pub fn downloads_dir(&self) -> PathBuf {
        self.root.join("downloads")
    }

    /// Whether the image is in the store.
    pub fn contains(&self, id: &ImageId) -> bool {
        self.image_dir(id).is_ok()
    }

    /// The one image whose ID begins so.
    pub fn resolve(&self, prefix: &ImageIdPrefix) -> Result<ImageId, StoreError> {
        let mut ids = image_ids(&self.images_dir())?;
        ids.retain(|id| prefix.matches(id));
        match ids.as_slice() {
            [id] => Ok(*id),
            [] => Err(StoreError::NotFound { id: prefix.to_string() }),
            _ => Err(StoreError::Ambiguous {
                prefix: prefix.to_string(),
                ids,
            }),
        }
    }

    /// The image of that name with these labels that has at least this standing: of several versions the highest, of
    /// one version the newest.
    pub fn find(&self, name: &Name, labels: &Labels, standing: Standing) -> Result<Option<ImageId>, StoreError> {
        let images = self.index()?.named(name)?;
        let fits = |image: &ImageRecord| image.standing >= standing && labels.first_mismatch(&image.labels).is_none();
        Ok(images.into_iter().find(fits).map(|image| image.id))
    }

    /// All images, in the order of their names, and within a name the highest version first.
    pub fn images(&self) -> Result<Vec<ImageRecord>, StoreError> {
        self.index()?.images()
    }

    /// The manifest of an image.
    pub fn manifest(&self, id: &ImageId) -> Result<ImageManifest, StoreError> {
        self.image_dir(id)?.manifest()
    }

    /// The manifest of an image, as it stands in its archive.
    pub fn manifest_json(&self, id: &ImageId) -> Result<Vec<u8>, StoreError> {
        self.image_dir(id)?.manifest_json()
    }

    /// Whether anybody vouches for an image.
    pub fn standing(&self, id: &ImageId) -> Result<Standing, StoreError> {
        Ok(self.image_dir(id)?.standing())
    }

    /// Where an image came from and why it was believed, as it was recorded when it was committed.
    pub fn provenance(&self, id: &ImageId) -> Result<serde_json::Value, StoreError> {
        self.image_dir(id)?.provenance()
    }

    pub(crate) fn image_dir(&self, id: &ImageId) -> Result<ImageDir, StoreError> {
        ImageDir::open(&self.images_dir(), id)
    }

    pub(crate) fn images_dir(&self) -> PathBuf {
        self.root.join("images")
    }

    pub(crate) fn objects_dir(&self) -> PathBuf {
        self.root.join("objects")
    }

    pub(crate) fn trees_dir(&self) -> PathBuf {
        self.root.join("trees")
    }

    pub(crate) fn index(&self) -> Result<MutexGuard<'_, Index>, StoreError> {
        Ok(self.index.lock().unwrap_or_else(std::sync::PoisonError::into_inner))
    }

    /// Puts all that was written to the store's file system on the disk: one call, however many files there are.
    pub(crate) fn sync(&self) -> Result<(), StoreError> {
        let directory = File::open(&self.root).map_err(StoreError::io(&self.root))?;
        nix::unistd::syncfs(&directory).map_err(|errno| StoreError::Io {
            path: self.root.clone(),
            source: errno.into(),
        })
    }
}

fn check_version(root: &Path) -> Result<(), StoreError> {
    let path = root.join("VERSION");
    match fs::read_to_string(&path) {
        Ok(version) if version.trim() == VERSION => Ok(()),
        Ok(version) => Err(StoreError::Version {
            path: root.to_owned(),
            found: version.trim().chars().take(20).collect(),
        }),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            fs::write(&path, format!("{VERSION}\n")).map_err(StoreError::io(path))
        }
        Err(source) => Err(StoreError::Io { path, source }),
    }
}

/// Takes the lock, and tidies up if nobody else has the store open.
fn lock(root: &Path) -> Result<Flock<File>, StoreError> {
    let path = root.join("locks/store");
    let open = || OpenOptions::new().create(true).truncate(false).write(true).open(&path);
    let file = open().map_err(StoreError::io(&path))?;
    let file = match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
        Ok(alone) => {
            empty(&root.join("tmp"))?;
            return alone
                .relock(FlockArg::LockShared)
                .map_err(|errno| StoreError::Io {
                    path,
                    source: errno.into(),
                })
                .map(|()| alone);
        }
        Err((file, _)) => file,
    };
    Flock::lock(file, FlockArg::LockShared).map_err(|(_, errno)| StoreError::Io {
        path,
        source: errno.into(),
    })
}

/// Removes what processes that died have left.
fn empty(tmp: &Path) -> Result<(), StoreError> {
    for entry in fs::read_dir(tmp).map_err(StoreError::io(tmp))? {
        let path = entry.map_err(StoreError::io(tmp))?.path();
        let removed = if path.is_dir() {
            fs::remove_dir_all(&path)
        } else {
            fs::remove_file(&path)
        };
        removed.map_err(StoreError::io(path))?;
    }
    Ok(())
}
