//! Root file systems: the rendered tree of an image, ready to be mounted.
//!
//! There are three ways, from the fastest to the one that always works, and [`Store::rootfs`] takes the first that
//! this machine and this user can:
//!
//! | way | tree | needs |
//! |---|---|---|
//! | composefs | an EROFS image over `objects/` | root, Linux 6.16, a store on a disk file system |
//! | stubs | a directory of stubs over `objects/` | Linux 6.16, `user.*` attributes |
//! | checkout | a directory of copies (reflinks where the file system can) | overlayfs |
//!
//! [`Store::probe`] tells which, and why.

use std::{
    fs,
    io::{self, BufWriter},
    os::{
        fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd},
        unix::fs::{PermissionsExt, chown},
    },
    path::{Path, PathBuf},
};

use dhow_image::ImageId;
use nix::{
    mount::{MsFlags, mount},
    unistd::geteuid,
};
use sha2::{Digest, Sha256};

use crate::{
    checkout::{Before, Contents, check_out},
    error::StoreError,
    render::{Layer, layers, render},
    store::Store,
    tree::{Overlay, TreeError, Upper, attach, mount_erofs, write_erofs},
    way::Way,
};

/// The rendered root file system of an image.
#[derive(Clone, Debug)]
pub struct Rootfs {
    way: Way,
    tree: PathBuf,
    objects: PathBuf,
}

impl Store {
    /// Renders an image with its dependencies, unless that has been done before, in the first way that works here.
    pub fn rootfs(&self, id: &ImageId) -> Result<Rootfs, StoreError> {
        let layers = layers(self, id)?;
        self.mark_used(layers.iter().map(|layer| layer.id));
        self.rendered(id, &layers, self.probe().way)
    }

    /// The tree of these layers, made if it is not there yet.
    fn rendered(&self, id: &ImageId, layers: &[Layer], way: Way) -> Result<Rootfs, StoreError> {
        let place = self.trees_dir().join(tree_name(id, layers, way));
        if !place.exists() {
            let tree = render(self, layers)?;
            let tmp = self.tmp_dir();
            let staging = tempfile::Builder::new()
                .prefix("tree-")
                .tempdir_in(&tmp)
                .map_err(StoreError::io(&tmp))?;
            let staged = staging.path().join("tree");
            if way == Way::Composefs {
                let mut file = BufWriter::new(fs::File::create(&staged).map_err(StoreError::io(&staged))?);
                write_erofs(&tree, &mut file).map_err(|error| StoreError::Tree {
                    id: *id,
                    source: Box::new(error),
                })?;
                let written = file.into_inner().map_err(io::IntoInnerError::into_error);
                // A tree that a power cut left with its name and without its bytes would be taken for whole.
                written
                    .and_then(|file| file.sync_data())
                    .map_err(StoreError::io(&staged))?;
            } else {
                let mut on_disk = self.sync_point()?;
                let contents = if way == Way::Stubs {
                    Contents::Stubs
                } else {
                    Contents::Copied
                };
                fs::create_dir(&staged).map_err(StoreError::io(&staged))?;
                check_out(&tree, &staged, &self.objects_dir(), contents, Before::Empty)
                    .map_err(StoreError::io(&staged))?;
                on_disk.sync()?;
            }
            match fs::rename(&staged, &place) {
                // Another process was faster; its tree is the same.
                Err(_) if place.exists() => {}
                result => result.map_err(StoreError::io(&place))?,
            }
        }
        Ok(Rootfs {
            way,
            tree: place,
            objects: self.objects_dir(),
        })
    }
}

/// Trees are named by what made them: the images in their order, each with those whose whitelists it had to pass.
pub(crate) fn tree_name(id: &ImageId, layers: &[Layer], way: Way) -> String {
    let suffix = way.as_str();
    if layers.len() == 1 {
        return format!("{id}.{suffix}");
    }
    let mut hasher = Sha256::new();
    for layer in layers {
        let whitelisted_by = layer.whitelisted_by();
        hasher.update(layer.id.as_bytes());
        hasher.update((whitelisted_by.len() as u64).to_le_bytes());
        whitelisted_by.for_each(|id| hasher.update(id.as_bytes()));
    }
    format!("rendered-{}.{suffix}", hex::encode(hasher.finalize()))
}

impl Rootfs {
    /// In which way it is made.
    pub fn way(&self) -> Way {
        self.way
    }

    /// Its tree: an EROFS image or a directory, by [`Self::way`].
    pub fn path(&self) -> &Path {
        &self.tree
    }

    /// In which way it is made, for people.
    pub fn describe(&self) -> String {
        self.way.to_string()
    }

    /// Whether this is the fastest of the ways.
    pub fn is_fastest(&self) -> bool {
        self.way == Way::Composefs
    }

    /// Mounts the root file system at `target`, in the mount namespace of the caller. What is written goes to `upper`,
    /// beside which `work` is for the kernel's own use; without an upper directory it is read-only. Device nodes in
    /// it are inert.
    pub fn mount(&self, target: &Path, upper: Option<&Path>, work: Option<&Path>) -> io::Result<()> {
        let upper = match (upper, work) {
            (Some(directory), Some(work)) => Some(Upper { directory, work }),
            _ => None,
        };
        match (self.way, upper) {
            (Way::Checkout, None) => bind_read_only(&self.tree, target),
            (Way::Checkout, Some(upper)) => mount_over(&self.tree, upper, target),
            _ => self
                .overlay(upper)
                .and_then(|overlay| attach(overlay.as_fd(), target))
                .map_err(io::Error::other),
        }
    }

    /// The overlay of metadata and objects, attached nowhere yet.
    fn overlay(&self, upper: Option<Upper<'_>>) -> Result<OwnedFd, TreeError> {
        let metadata = match self.way {
            Way::Composefs => mount_erofs(&self.tree)?,
            _ => fs::File::open(&self.tree)
                .map(OwnedFd::from)
                .map_err(|source| TreeError::Mount {
                    action: format!("open the tree `{}`", self.tree.display()),
                    detail: String::new(),
                    source,
                })?,
        };
        if let Some(upper) = upper {
            give_root(metadata.as_fd(), upper).map_err(|source| TreeError::Mount {
                action: format!("prepare the upper directory `{}`", upper.directory.display()),
                detail: String::new(),
                source,
            })?;
        }
        Overlay {
            metadata: metadata.as_fd(),
            objects: &self.objects,
            upper,
        }
        .mount()
    }
}

/// Gives an upper directory the owner and mode of the root below it: what overlayfs shows of the root is the upper's.
fn give_root(lower: BorrowedFd<'_>, upper: Upper<'_>) -> io::Result<()> {
    let root = nix::sys::stat::fstat(lower)?;
    if geteuid().is_root() {
        chown(upper.directory, Some(root.st_uid), Some(root.st_gid))?;
    }
    fs::set_permissions(upper.directory, fs::Permissions::from_mode(root.st_mode & 0o7777))
}

/// An ordinary overlay over a directory, by the system call that every kernel has. Its layers are named by open
/// descriptors, so that their paths may hold commas and colons.
fn mount_over(lower: &Path, upper: Upper<'_>, target: &Path) -> io::Result<()> {
    let layers = [lower, upper.directory, upper.work].map(fs::File::open);
    let [lower, directory, work] = layers;
    let (lower, directory, work) = (lower?, directory?, work?);
    give_root(lower.as_fd(), upper)?;
    let [lower, directory, work] =
        [&lower, &directory, &work].map(|file| format!("/proc/self/fd/{}", file.as_raw_fd()));
    let options = format!("lowerdir={lower},upperdir={directory},workdir={work}");
    let mounted = |options: &str| mount(Some("dhow"), target, Some("overlay"), MsFlags::MS_NODEV, Some(options));
    // In a user namespace its marks must be `user.*` attributes, which Linux before 5.11 does not know.
    mounted(&format!("{options},userxattr")).or_else(|_| mounted(&options))?;
    Ok(())
}

fn bind_read_only(source: &Path, target: &Path) -> io::Result<()> {
    let none = None::<&str>;
    mount(Some(source), target, none, MsFlags::MS_BIND, none)?;
    mount(
        none,
        target,
        none,
        MsFlags::MS_BIND | MsFlags::MS_REMOUNT | MsFlags::MS_RDONLY | MsFlags::MS_NODEV,
        none,
    )?;
    Ok(())
}

/// The root file system of an image in each of the ways, for the tests that compare them.
#[cfg(test)]
pub(crate) fn every_way(store: &Store, id: &ImageId) -> Vec<Rootfs> {
    let layers = layers(store, id).unwrap();
    [Way::Composefs, Way::Stubs, Way::Checkout]
        .map(|way| store.rendered(id, &layers, way).unwrap())
        .into()
}
