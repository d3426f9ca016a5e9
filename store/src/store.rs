//! The store's directory.
//!
//! ```text
//!   VERSION                                    `1`
//!   objects/ab/cdef…                           contents of files, named by SHA-256; never changed
//!   images/<id>/{manifest,recipe,provenance.json}   one directory an image; never changed, but that an image which
//!   images/<id>/unverified                       nobody vouches for has this mark, until somebody does
//!   images/<id>/used                           an empty file: its time is when the image was last used
//!   trees/<id>.{erofs,stubs,checkout}          rendered root file systems; can be made again
//!   pods/                                      the pods', which `dhow-pod` owns
//!   index.db                                   SQLite over images/; can be made again
//!   locks/                                     see `locks.rs`
//!   pins/<name>                                IDs of images that stay
//!   quarantine/                                what `fsck` found damaged
//!   tmp/                                       what is being made; emptied by whoever finds nobody else here
//!   blobs/sha256/…                             what registries sent, which `dhow-fetchers` owns; can be fetched again
//!   downloads/                                 what is on its way here, which `dhow-fetchers` owns; outlives processes
//! ```
//!
//! **Visible means whole.** Everything is made in `tmp/`, synced, and renamed into its place; an image's directory
//! comes last, after its objects are synced there too. What is removed goes the other way: an image's directory is
//! renamed into `tmp/` first, and objects go only when no image names them. A process that dies leaves temporary
//! files, or objects that no image names, and nothing else.
//!
//! **Readers.** Only the store's owner looks into `objects/`, `trees/`, `tmp/`, `blobs/`, `downloads/` and `locks/`: an image may
//! hold secrets,
//! and whoever can open a lock can keep it.
//!
//! **A store that cannot be written** (a read-only file system, another user's directory) is opened to be read: it is
//! listed from its files, and exports what its reader may read.

use std::{
    fs::{self, File},
    io::{self, Write},
    os::unix::fs::{DirBuilderExt, PermissionsExt},
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, OnceLock},
    thread::{self, JoinHandle},
};

use dhow_image::{ImageId, ImageIdPrefix, ImageManifest, Labels, Limits, Name};
use nix::{
    errno::Errno,
    fcntl::{Flock, FlockArg},
    unistd::syncfs,
};

use crate::{
    discard::discard,
    error::StoreError,
    image_dir::ImageDir,
    index::{ImageRecord, Index, Standing, image_ids},
    locks,
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
    is_read_only: bool,
    /// `None` where a store that can only be read has no lock to be opened.
    _lock: Option<Flock<File>>,
}

impl Store {
    /// Opens the store in `root`, and makes one there if there is none. One that cannot be written is opened to be
    /// read.
    pub fn open(root: &Path) -> Result<Self, StoreError> {
        match Self::open_to_write(root) {
            Err(StoreError::Io { path, source }) if cannot_write(&source) && root.join("VERSION").is_file() => {
                let path = path.display();
                tracing::warn!("the store can only be read: `{path}`: {source}");
                Self::open_to_read(root)
            }
            opened => opened,
        }
    }

    fn open_to_write(root: &Path) -> Result<Self, StoreError> {
        fs::create_dir_all(root).map_err(StoreError::io(root))?;
        let root = root.canonicalize().map_err(StoreError::io(root))?;
        // Who opens another user's store must not fail halfway: all of these are the owner's.
        let writable = nix::unistd::access(&root, nix::unistd::AccessFlags::W_OK);
        writable.map_err(|errno| StoreError::io(&root)(errno.into()))?;
        for (name, mode) in [
            ("objects", 0o700),
            ("images", 0o755),
            ("trees", 0o700),
            ("pods", 0o755),
            ("pins", 0o755),
            ("locks", 0o700),
            ("tmp", 0o700),
            ("blobs", 0o700),
            ("downloads", 0o700),
        ] {
            let path = root.join(name);
            fs::DirBuilder::new()
                .recursive(true)
                .mode(mode)
                .create(&path)
                .map_err(StoreError::io(&path))?;
        }
        // First, so that nothing is done to a store of another version; written under the lock, for whoever is here
        // alone empties `tmp/`.
        let has_version = check_version(&root)?;
        for name in locks::ALL {
            let path = root.join("locks").join(name);
            locks::open(&path).map_err(StoreError::io(path))?;
        }
        let lock = lock(&root)?;
        if !has_version {
            write_version(&root).map_err(StoreError::io(root.join("VERSION")))?;
        }
        let index = Index::open(&root)?;
        Ok(Self {
            root,
            index: Mutex::new(index),
            limits: Limits::default(),
            probed: OnceLock::new(),
            is_read_only: false,
            _lock: Some(lock),
        })
    }

    fn open_to_read(root: &Path) -> Result<Self, StoreError> {
        let root = root.canonicalize().map_err(StoreError::io(root))?;
        check_version(&root)?;
        let lock = File::open(root.join("locks/store"));
        let lock = lock
            .ok()
            .and_then(|file| Flock::lock(file, FlockArg::LockSharedNonblock).ok());
        let index = Index::in_memory(&root)?;
        Ok(Self {
            root,
            index: Mutex::new(index),
            limits: Limits::default(),
            probed: OnceLock::new(),
            is_read_only: true,
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

    /// Whether the store can only be read.
    pub fn is_read_only(&self) -> bool {
        self.is_read_only
    }

    pub(crate) fn check_writable(&self) -> Result<(), StoreError> {
        match self.is_read_only {
            true => Err(StoreError::ReadOnly {
                path: self.root.clone(),
            }),
            false => Ok(()),
        }
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

    /// A directory for the signed catalogs that were believed, which tell how new the next ones must be. The store keeps
    /// nothing there itself, and removes nothing from it.
    pub fn catalogs_dir(&self) -> PathBuf {
        self.root.join("catalogs")
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
        // What is being removed has lost its directory and not yet its row.
        let found = images.into_iter().find(|image| fits(image) && self.contains(&image.id));
        Ok(found.map(|image| image.id))
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

    pub(crate) fn quarantine_dir(&self) -> PathBuf {
        self.root.join("quarantine")
    }

    pub(crate) fn index(&self) -> Result<MutexGuard<'_, Index>, StoreError> {
        Ok(self.index.lock().unwrap_or_else(std::sync::PoisonError::into_inner))
    }

    /// Begins something that is to be on the disk as a whole.
    pub(crate) fn sync_point(&self) -> Result<SyncPoint, StoreError> {
        Ok(SyncPoint {
            directory: Arc::new(File::open(&self.root).map_err(StoreError::io(&self.root))?),
            root: self.root.clone(),
            ahead: None,
        })
    }
}

/// A moment before which nothing was written of what is to be on the disk as a whole.
///
/// The kernel tells each open file of a failed write once, and a file that is opened later only if nobody was told
/// yet: so it must be opened before the first write.
pub(crate) struct SyncPoint {
    directory: Arc<File>,
    root: PathBuf,
    /// Puts a part on the disk while more is written.
    ahead: Option<JoinHandle<nix::Result<()>>>,
}

impl SyncPoint {
    /// Begins to put on the disk what was written so far, unless that is being done already: a disk that has nothing
    /// to do until the end makes the end long.
    pub(crate) fn begin(&mut self) -> Result<(), StoreError> {
        if self.ahead.as_ref().is_none_or(JoinHandle::is_finished) {
            self.await_ahead()?;
            let directory = self.directory.clone();
            self.ahead = Some(thread::spawn(move || syncfs(&directory)));
        }
        Ok(())
    }

    /// Puts all that was written to the store's file system on the disk: one call, however many files there are.
    pub(crate) fn sync(&mut self) -> Result<(), StoreError> {
        self.await_ahead()?;
        syncfs(&self.directory).map_err(|errno| self.failed(errno))
    }

    /// What went wrong is told to one call alone.
    fn await_ahead(&mut self) -> Result<(), StoreError> {
        match self.ahead.take().map(JoinHandle::join) {
            None => Ok(()),
            Some(synced) => synced
                .expect("a system call does not panic")
                .map_err(|errno| self.failed(errno)),
        }
    }

    fn failed(&self, errno: Errno) -> StoreError {
        StoreError::Io {
            path: self.root.clone(),
            source: errno.into(),
        }
    }
}

/// Whether the store says its version, which must be the one that is known here.
fn check_version(root: &Path) -> Result<bool, StoreError> {
    let path = root.join("VERSION");
    match fs::read_to_string(&path) {
        Ok(version) if version.trim() == VERSION => Ok(true),
        Ok(version) => Err(StoreError::Version {
            path: root.to_owned(),
            found: version.trim().chars().take(20).collect(),
        }),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(source) => Err(StoreError::Io { path, source }),
    }
}

/// Whole or not at all, and first on the disk: a store whose `VERSION` a power cut has emptied is nobody's.
fn write_version(root: &Path) -> io::Result<()> {
    let mut file = tempfile::Builder::new()
        .permissions(fs::Permissions::from_mode(0o644))
        .tempfile_in(root.join("tmp"))?;
    file.write_all(format!("{VERSION}\n").as_bytes())?;
    file.as_file().sync_all()?;
    file.persist(root.join("VERSION")).map_err(|error| error.error)?;
    File::open(root)?.sync_all()
}

/// Whether an error says that this user may not, or nobody can, write here.
fn cannot_write(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ReadOnlyFilesystem | io::ErrorKind::PermissionDenied
    )
}

/// Takes the lock, and tidies up if nobody else has the store open.
fn lock(root: &Path) -> Result<Flock<File>, StoreError> {
    let path = root.join("locks/store");
    let file = locks::open(&path).map_err(StoreError::io(&path))?;
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
        discard(&entry.map_err(StoreError::io(tmp))?.path())?;
    }
    Ok(())
}
