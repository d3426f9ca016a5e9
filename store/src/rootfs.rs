//! Root file systems: the rendered tree of an image, ready to be mounted.
//!
//! There are three ways, from the fastest to the one that always works, and [`Store::rootfs`] takes the first that
//! this machine and this user can:
//!
//! | way | tree | needs |
//! |---|---|---|
//! | composefs | an EROFS image over `objects/` | root, Linux 6.16, a store on a disk file system |
//! | stubs | a directory of stubs over `objects/` | Linux 6.16, `user.*` attributes |
//! | checkout | a directory of copies | overlayfs |

use std::{
    fmt, fs,
    io::{self, BufWriter, Write},
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
    checkout::{Contents, check_out},
    error::StoreError,
    render::{Layer, layers, render},
    store::Store,
    tree::{Overlay, TreeError, Upper, attach, mount_erofs, write_erofs},
};

/// The rendered root file system of an image.
#[derive(Clone, Debug)]
pub struct Rootfs {
    way: Way,
    tree: PathBuf,
    objects: PathBuf,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    Composefs,
    Stubs,
    Checkout,
}

impl Store {
    /// Renders an image with its dependencies, unless that has been done before, in the first way that works here.
    pub fn rootfs(&self, id: &ImageId) -> Result<Rootfs, StoreError> {
        let layers = layers(self, id)?;
        for way in [Way::Composefs, Way::Stubs] {
            if !way.could_work() {
                continue;
            }
            let rootfs = self.rendered(id, &layers, way)?;
            match rootfs.probe(&self.tmp_dir()) {
                Ok(()) => return Ok(rootfs),
                Err(problem) => tracing::debug!("no {way} here: {problem}"),
            }
        }
        self.rendered(id, &layers, Way::Checkout)
    }

    /// Copies the root file system of an image, with those it depends on, into a directory, which must be empty.
    ///
    /// For an ordinary user, who may not give files away, all of them are that user's.
    pub fn extract(&self, id: &ImageId, directory: &Path) -> Result<(), StoreError> {
        let tree = render(self, &layers(self, id)?)?;
        check_out(&tree, directory, &self.objects_dir(), Contents::Copied).map_err(StoreError::io(directory))
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
                file.flush().map_err(StoreError::io(&staged))?;
            } else {
                let contents = if way == Way::Stubs {
                    Contents::Stubs
                } else {
                    Contents::Copied
                };
                fs::create_dir(&staged).map_err(StoreError::io(&staged))?;
                check_out(&tree, &staged, &self.objects_dir(), contents).map_err(StoreError::io(&staged))?;
            }
            // A tree that a power cut left with its name and without its bytes would be taken for whole.
            self.sync()?;
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

/// Trees are named by what made them.
fn tree_name(id: &ImageId, layers: &[Layer], way: Way) -> String {
    let suffix = match way {
        Way::Composefs => "erofs",
        Way::Stubs => "stubs",
        Way::Checkout => "checkout",
    };
    if layers.len() == 1 {
        return format!("{id}.{suffix}");
    }
    let mut hasher = Sha256::new();
    for layer in layers {
        hasher.update(layer.id.as_bytes());
    }
    format!("rendered-{}.{suffix}", hex::encode(hasher.finalize()))
}

impl Rootfs {
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

    /// Tries the mount, attached nowhere. Where only a user namespace could do it, the kernel's version must do.
    fn probe(&self, tmp: &Path) -> Result<(), String> {
        match self.way {
            Way::Composefs => self.overlay(None).map(drop).map_err(|error| error.to_string()),
            Way::Stubs => {
                let file = tempfile::NamedTempFile::new_in(tmp).map_err(|error| error.to_string())?;
                xattr::set(file.path(), "user.overlay.metacopy", b"").map_err(|error| error.to_string())
            }
            Way::Checkout => Ok(()),
        }
    }
}

impl Way {
    fn could_work(self) -> bool {
        let is_new_enough = kernel_version().is_some_and(|version| version >= (6, 16));
        match self {
            Self::Composefs => is_new_enough && geteuid().is_root(),
            Self::Stubs => is_new_enough,
            Self::Checkout => true,
        }
    }
}

fn kernel_version() -> Option<(u32, u32)> {
    let uname = nix::sys::utsname::uname().ok()?;
    let mut parts = uname.release().to_str()?.split(['.', '-']);
    Some((parts.next()?.parse().ok()?, parts.next()?.parse().ok()?))
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

impl fmt::Display for Way {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Composefs => "composefs (EROFS over the store's objects)",
            Self::Stubs => "stubs over the store's objects",
            Self::Checkout => "a checkout under overlayfs",
        })
    }
}

/// The root file system of an image in each of the ways, for the tests that compare them.
#[cfg(test)]
pub(crate) fn every_way(store: &Store, id: &ImageId) -> Vec<Rootfs> {
    let layers = layers(store, id).unwrap();
    [Way::Composefs, Way::Stubs, Way::Checkout]
        .map(|way| store.rendered(id, &layers, way).unwrap())
        .into()
}
