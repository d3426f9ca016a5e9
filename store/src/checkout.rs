//! Trees as plain directories: where an EROFS image cannot be mounted, and for who wants the files themselves.
//!
//! Every file is made beneath an open directory, never by a path from the root: so no symbolic link leads elsewhere, and
//! paths can be as long as an image has them. Until all is done nobody but the owner can enter the directory.

use std::{
    collections::HashMap,
    ffi::OsStr,
    fs::{self, File},
    io::{self, Write},
    os::{
        fd::{AsFd, AsRawFd, OwnedFd},
        unix::ffi::OsStrExt,
    },
    path::{Path, PathBuf},
};

use nix::{
    errno::Errno,
    fcntl::{AtFlags, OFlag, OpenHow, ResolveFlag, open, openat, openat2},
    sys::{
        stat::{Mode, SFlag, UtimensatFlags, fchmod, fstat, fstatat, futimens, makedev, mkdirat, mknodat, utimensat},
        time::TimeSpec,
    },
    unistd::{Gid, Uid, UnlinkatFlags, fchown, fchownat, geteuid, linkat, symlinkat, unlinkat},
};
use xattr::FileExt as _;

use crate::tree::{Content, Metadata, Node, NodeId, NodeKind, Tree};

/// What stands for the content of a file.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Contents {
    /// A copy of it, which shares its blocks where the file system can.
    Copied,
    /// Nothing but its size, and the attributes by which overlayfs finds the object.
    Stubs,
}

/// What is in the directory before.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Before {
    /// Nothing.
    Empty,
    /// Files, which give way to those of the tree; what the tree does not name stays.
    Anything,
}

/// Makes the files of `tree` in `directory`.
///
/// An ordinary user owns all of them, makes no devices and sets no attributes but `user.*`: in a user namespace the
/// files are root's, and devices come from the pod's own `/dev`.
pub(crate) fn check_out(
    tree: &Tree,
    directory: &Path,
    objects: &Path,
    contents: Contents,
    before: Before,
) -> io::Result<()> {
    let root = open(directory, DIRECTORY, Mode::empty())?;
    fchmod(&root, Mode::S_IRWXU)?;
    CheckOut {
        tree,
        objects,
        contents,
        before,
        is_root: geteuid().is_root(),
        open: vec![(Tree::ROOT, identity(&root)?)],
        current: root.try_clone()?,
        root,
        first_names: HashMap::new(),
    }
    .run()
}

const DIRECTORY: OFlag = OFlag::O_RDONLY
    .union(OFlag::O_DIRECTORY)
    .union(OFlag::O_NOFOLLOW)
    .union(OFlag::O_CLOEXEC);

struct CheckOut<'a> {
    tree: &'a Tree,
    objects: &'a Path,
    contents: Contents,
    before: Before,
    is_root: bool,
    root: OwnedFd,
    /// The directories on the way to the current one, the root first. Only the current one is held open, since a tree
    /// can be deeper than a process has descriptors.
    open: Vec<(NodeId, Identity)>,
    current: OwnedFd,
    /// Files with several names, under the first.
    first_names: HashMap<NodeId, (PathBuf, Identity)>,
}

/// Which file it is: device and inode.
type Identity = (u64, u64);

fn identity(file: impl AsFd) -> io::Result<Identity> {
    let status = fstat(file)?;
    Ok((status.st_dev, status.st_ino))
}

impl CheckOut<'_> {
    fn run(mut self) -> io::Result<()> {
        for visit in self.tree.iter().skip(1) {
            while self.open.last().is_some_and(|(id, _)| *id != visit.parent) {
                self.leave()?;
            }
            let path = Path::new(OsStr::from_bytes(&visit.path));
            let name = path.file_name().expect("only the root has no name");
            self.make(path, name, visit.id)
                .map_err(|error| io::Error::new(error.kind(), format!("`{}`: {error}", path.display())))?;
        }
        while !self.open.is_empty() {
            self.leave()?;
        }
        Ok(())
    }

    /// Goes back to the directory above, and only then gives the current one its mode and time: they may forbid, and
    /// would not survive, the making of what is in it.
    fn leave(&mut self) -> io::Result<()> {
        let (id, _) = self.open.pop().expect("the root is left last");
        let above = match self.open.last() {
            None => None,
            Some((_, expected)) => {
                let above = openat(&self.current, "..", DIRECTORY, Mode::empty())?;
                if identity(&above)? != *expected {
                    return Err(io::Error::other("a directory was moved while it was filled"));
                }
                Some(above)
            }
        };
        let directory = File::from(match above {
            Some(above) => std::mem::replace(&mut self.current, above),
            None => self.current.try_clone()?,
        });
        self.finish(&directory, self.node(id)?.metadata())
    }

    fn node(&self, id: NodeId) -> io::Result<Node> {
        self.tree.node(id).map_err(io::Error::other)
    }

    /// Makes one file.
    fn make(&mut self, path: &Path, name: &OsStr, id: NodeId) -> io::Result<()> {
        let node = self.node(id)?;
        let metadata = node.metadata();
        if self.before == Before::Anything {
            self.make_way(name, matches!(node.kind(), NodeKind::Directory))?;
        }
        if let Some(first) = self.first_names.get(&id) {
            return self.link(first, name);
        }
        let private = Mode::S_IRUSR | Mode::S_IWUSR;
        let special = |kind, device| mknodat(&self.current, name, kind, private, device);
        match node.kind() {
            NodeKind::Directory => {
                match mkdirat(&self.current, name, Mode::S_IRWXU) {
                    Err(Errno::EEXIST) if self.before == Before::Anything => {}
                    result => result?,
                }
                let directory = openat(&self.current, name, DIRECTORY, Mode::empty())?;
                fchmod(&directory, Mode::S_IRWXU)?;
                self.open.push((id, identity(&directory)?));
                self.current = directory;
                return Ok(());
            }
            NodeKind::File(content) => {
                let flags = OFlag::O_WRONLY | OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
                let mut file = File::from(openat(&self.current, name, flags, private)?);
                self.fill(&mut file, content)?;
                self.finish(&file, metadata)?;
            }
            NodeKind::CharDevice { .. } | NodeKind::BlockDevice { .. } if !self.is_root => return Ok(()),
            NodeKind::Symlink(target) => {
                symlinkat(OsStr::from_bytes(target), &self.current, name)?;
                self.finish_unopened(name, metadata, true)?;
            }
            kind => {
                match *kind {
                    NodeKind::CharDevice { major, minor } => {
                        special(SFlag::S_IFCHR, makedev(u64::from(major), u64::from(minor)))?;
                    }
                    NodeKind::BlockDevice { major, minor } => {
                        special(SFlag::S_IFBLK, makedev(u64::from(major), u64::from(minor)))?;
                    }
                    NodeKind::Socket => special(SFlag::S_IFSOCK, 0)?,
                    _ => special(SFlag::S_IFIFO, 0)?,
                }
                self.finish_unopened(name, metadata, false)?;
            }
        }
        if self.tree.links(id) > 1 {
            let status = fstatat(&self.current, name, AtFlags::AT_SYMLINK_NOFOLLOW)?;
            let first = (path.to_owned(), (status.st_dev, status.st_ino));
            self.first_names.insert(id, first);
        }
        Ok(())
    }

    /// Gives a file another name. The first one is looked up again without following anything, and must still be the
    /// file that was made.
    fn link(&self, (first, made): &(PathBuf, Identity), name: &OsStr) -> io::Result<()> {
        let how = OpenHow::new()
            .flags(OFlag::O_PATH | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC)
            .resolve(ResolveFlag::RESOLVE_BENEATH | ResolveFlag::RESOLVE_NO_SYMLINKS);
        // A symbolic link itself can be opened only by a look-up that may end at one.
        let parent = first.parent().filter(|parent| !parent.as_os_str().is_empty());
        let directory = match parent {
            Some(parent) => openat2(&self.root, parent, how)?,
            None => self.root.try_clone()?,
        };
        let last = first.file_name().expect("only the root has no name");
        let status = fstatat(&directory, last, AtFlags::AT_SYMLINK_NOFOLLOW)?;
        if (status.st_dev, status.st_ino) != *made {
            return Err(io::Error::other("the file that it is a hard link to was exchanged"));
        }
        linkat(&directory, last, &self.current, name, AtFlags::empty())?;
        Ok(())
    }

    fn fill(&self, file: &mut File, content: &Content) -> io::Result<()> {
        match content {
            Content::Inline(bytes) => file.write_all(bytes),
            Content::Object { id, size } => {
                let object = id.relative_path();
                match self.contents {
                    // `copy_file_range`, by which file systems that can share the blocks.
                    Contents::Copied => {
                        let copied = io::copy(&mut File::open(self.objects.join(object))?, file)?;
                        match copied == *size {
                            true => Ok(()),
                            false => Err(io::Error::other(format!("its object `{id}` has not its size"))),
                        }
                    }
                    Contents::Stubs => {
                        file.set_len(*size)?;
                        file.set_xattr("user.overlay.metacopy", b"")?;
                        file.set_xattr("user.overlay.redirect", format!("/{object}").as_bytes())
                    }
                }
            }
        }
    }

    /// Owner, attributes, mode and time, in an order in which none undoes another.
    fn finish(&self, file: &File, metadata: &Metadata) -> io::Result<()> {
        if self.is_root {
            fchown(
                file,
                Some(Uid::from_raw(metadata.uid)),
                Some(Gid::from_raw(metadata.gid)),
            )?;
        }
        self.set_xattrs(metadata, |name, value| file.set_xattr(name, value))?;
        fchmod(file, Mode::from_bits_truncate(u32::from(metadata.mode)))?;
        let time = time(metadata);
        futimens(file, &time, &time)?;
        Ok(())
    }

    /// The same for a file in the current directory that cannot be opened; a symbolic link has no mode.
    fn finish_unopened(&self, name: &OsStr, metadata: &Metadata, is_symlink: bool) -> io::Result<()> {
        let here = PathBuf::from(format!("/proc/self/fd/{}", self.current.as_raw_fd())).join(name);
        if self.is_root {
            let (uid, gid) = (Uid::from_raw(metadata.uid), Gid::from_raw(metadata.gid));
            fchownat(&self.current, name, Some(uid), Some(gid), AtFlags::AT_SYMLINK_NOFOLLOW)?;
        }
        // The kernel knows `user.*` of files and directories only, and shows it of nothing else either.
        let of_files = |attribute: &OsStr| attribute.as_bytes().starts_with(b"user.");
        self.set_xattrs(metadata, |attribute, value| match of_files(attribute) {
            true => Ok(()),
            false => xattr::set(&here, attribute, value),
        })?;
        if !is_symlink {
            let file = openat(
                &self.current,
                name,
                OFlag::O_PATH | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC,
                Mode::empty(),
            )?;
            let opened = format!("/proc/self/fd/{}", file.as_raw_fd());
            fs::set_permissions(
                opened,
                std::os::unix::fs::PermissionsExt::from_mode(u32::from(metadata.mode)),
            )?;
        }
        let time = time(metadata);
        utimensat(&self.current, name, &time, &time, UtimensatFlags::NoFollowSymlink)?;
        Ok(())
    }

    fn set_xattrs(&self, metadata: &Metadata, set: impl Fn(&OsStr, &[u8]) -> io::Result<()>) -> io::Result<()> {
        for (name, value) in &metadata.xattrs {
            if self.is_root || name.starts_with(b"user.") {
                let name = OsStr::from_bytes(name);
                set(name, value).map_err(|error| {
                    io::Error::new(error.kind(), format!("its attribute `{}`: {error}", name.display()))
                })?;
            }
        }
        Ok(())
    }

    /// Removes what is there and is no directory, or is not to be one. A directory with files in it stays.
    fn make_way(&self, name: &OsStr, for_directory: bool) -> io::Result<()> {
        let there = match fstatat(&self.current, name, AtFlags::AT_SYMLINK_NOFOLLOW) {
            Err(Errno::ENOENT) => return Ok(()),
            there => there?,
        };
        let is_directory = there.st_mode & SFlag::S_IFMT.bits() == SFlag::S_IFDIR.bits();
        let flag = match (is_directory, for_directory) {
            (true, true) => return Ok(()),
            (true, false) => UnlinkatFlags::RemoveDir,
            (false, _) => UnlinkatFlags::NoRemoveDir,
        };
        Ok(unlinkat(&self.current, name, flag)?)
    }
}

fn time(metadata: &Metadata) -> TimeSpec {
    TimeSpec::new(metadata.mtime_seconds, i64::from(metadata.mtime_nanoseconds))
}
