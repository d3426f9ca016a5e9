//! Paths inside of a root file system that is being made: links in it lead nowhere else.

use std::{
    ffi::OsStr,
    fs::{self, File},
    io,
    os::fd::{AsFd, AsRawFd, OwnedFd},
    path::{Component, Path, PathBuf},
};

use nix::fcntl::{OFlag, OpenHow, ResolveFlag, openat2};

/// A directory that is held open, of a root file system or of the files beside a build file.
pub(crate) struct Directory(OwnedFd);

impl Directory {
    /// Opens the directory `path` of the root file system `root`, and makes it, with those above it, if there is none.
    /// Links are followed as if `root` were `/`.
    pub(crate) fn in_root(root: &Path, path: &Path) -> io::Result<Self> {
        let root = File::open(root)?;
        let open = |way: &Path| Ok(openat2(&root, way, directory(ResolveFlag::RESOLVE_IN_ROOT))?);
        let mut way = PathBuf::from("/");
        let mut here = Self(open(&way)?);
        for part in path.components() {
            let Component::Normal(name) = part else { continue };
            way.push(name);
            here = match open(&way) {
                Err(error) if is_missing(&error) => {
                    fs::create_dir(here.join(name)).map_err(named(&way))?;
                    Self(open(&way).map_err(named(&way))?)
                }
                opened => Self(opened.map_err(named(&way))?),
            };
        }
        Ok(here)
    }

    /// The path of what is called `name` in it, which must be a single name. It is no link's, unless `name` is one.
    pub(crate) fn join(&self, name: &OsStr) -> PathBuf {
        self.path().join(name)
    }

    /// The path of the directory itself, which leads to it whatever becomes of its name.
    pub(crate) fn path(&self) -> PathBuf {
        PathBuf::from(format!("/proc/self/fd/{}", self.0.as_raw_fd()))
    }
}

/// Where `path` is, which must be below `directory`, and through no link to elsewhere.
pub(crate) fn beneath(directory: &Path, path: &Path) -> io::Result<(File, PathBuf)> {
    let root = File::open(directory)?;
    let how = OpenHow::new()
        .flags(OFlag::O_PATH | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC)
        .resolve(ResolveFlag::RESOLVE_BENEATH);
    let file = openat2(root.as_fd(), path, how).map_err(|errno| match errno {
        nix::errno::Errno::EXDEV => io::Error::other("it leads out of the build file's directory"),
        errno => errno.into(),
    })?;
    let place = fs::read_link(format!("/proc/self/fd/{}", file.as_raw_fd()))?;
    Ok((File::from(file), place))
}

fn directory(resolve: ResolveFlag) -> OpenHow {
    OpenHow::new()
        .flags(OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC)
        .resolve(resolve)
}

fn is_missing(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::NotFound
}

fn named(path: &Path) -> impl Fn(io::Error) -> io::Error {
    move |error| io::Error::new(error.kind(), format!("`{}` in the image: {error}", path.display()))
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
            if let Ok(place) = Directory::in_root(&root, Path::new(path)) {
                fs::write(place.join(OsStr::new("file")), "x").unwrap();
            }
        }
        assert!(root.join("usr/bin/file").exists());
        assert_eq!(fs::read_dir(&outside).unwrap().count(), 0);
    }

    #[test]
    fn what_is_copied_is_below_the_build_file() {
        let directory = tempfile::tempdir().unwrap();
        fs::create_dir(directory.path().join("files")).unwrap();
        symlink("/etc", directory.path().join("link")).unwrap();
        let open = |path: &str| beneath(directory.path(), Path::new(path)).map(drop);
        open("files").unwrap();
        for path in ["/etc/hostname", "../x", "link/hostname", "files/../../x"] {
            assert!(open(path).is_err(), "{path}");
        }
    }
}
