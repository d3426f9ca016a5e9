//! Paths inside of a root file system that is being made: links in it lead nowhere else.

use std::{
    ffi::OsStr,
    fs::{self, File},
    io,
    os::fd::{AsRawFd, OwnedFd},
    path::{Component, Path, PathBuf},
};

use nix::fcntl::{OFlag, OpenHow, ResolveFlag, openat2};

/// A directory of a root file system, held open.
pub(crate) struct InRoot(OwnedFd);

impl InRoot {
    /// Opens the directory `path` of the root file system `root`, and makes it, with those above it, if there is none.
    /// Links are followed as if `root` were `/`.
    pub(crate) fn directory(root: &Path, path: &Path) -> io::Result<Self> {
        let root = File::open(root)?;
        let mut way = PathBuf::from("/");
        let mut here = open(&root, &way)?;
        for part in path.components() {
            let Component::Normal(name) = part else { continue };
            way.push(name);
            here = match open(&root, &way) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => {
                    fs::create_dir(Self(here).join(name))?;
                    open(&root, &way)?
                }
                opened => opened?,
            };
        }
        Ok(Self(here))
    }

    /// The path of what is called `name` in it, which must be a single name.
    pub(crate) fn join(&self, name: &OsStr) -> PathBuf {
        PathBuf::from(format!("/proc/self/fd/{}", self.0.as_raw_fd())).join(name)
    }
}

fn open(root: &File, path: &Path) -> io::Result<OwnedFd> {
    let how = OpenHow::new()
        .flags(OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC)
        .resolve(ResolveFlag::RESOLVE_IN_ROOT);
    Ok(openat2(root, path, how)?)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn links_lead_nowhere_else() {
        let directory = tempfile::tempdir().unwrap();
        let (root, outside) = (directory.path().join("root"), directory.path().join("outside"));
        fs::create_dir_all(root.join("usr/bin")).unwrap();
        fs::create_dir(&outside).unwrap();
        symlink("usr/bin", root.join("bin")).unwrap();
        symlink(&outside, root.join("absolute")).unwrap();
        symlink("../../outside", root.join("usr/relative")).unwrap();
        for path in ["/bin", "/absolute", "/usr/relative/deep"] {
            let made = InRoot::directory(&root, Path::new(path));
            if let Ok(place) = made {
                fs::write(place.join(OsStr::new("file")), "x").unwrap();
            }
        }
        assert!(root.join("usr/bin/file").exists());
        assert_eq!(fs::read_dir(&outside).unwrap().count(), 0);
    }
}
