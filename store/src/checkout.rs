//! Trees as plain directories, for where an EROFS image cannot be mounted.

use std::{
    fs::{self, File, OpenOptions},
    io,
    os::unix::{
        ffi::OsStrExt,
        fs::{OpenOptionsExt, PermissionsExt, symlink},
    },
    path::Path,
};

use nix::{
    sys::stat::{Mode, SFlag, makedev, mknod},
    unistd::{Gid, Uid, fchownat, geteuid},
};

use crate::tree::{Content, Metadata, NodeKind, Tree};

/// What stands for the content of a file.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Contents {
    /// A copy of it.
    Copied,
    /// Nothing but its size, and the attributes by which overlayfs finds the object.
    Stubs,
}

/// Makes the files of `tree` in `directory`, which must be new and empty, so that nothing in it can lead elsewhere.
///
/// An ordinary user owns all of them, makes no devices and sets no attributes but `user.*`: in a user namespace the
/// files are root's, and devices come from the pod's own `/dev`.
pub(crate) fn check_out(tree: &Tree, directory: &Path, objects: &Path, contents: Contents) -> io::Result<()> {
    let is_root = geteuid().is_root();
    let mut first_names = std::collections::HashMap::new();
    let mut directories = Vec::new();
    for visit in tree.iter() {
        let path = directory.join(std::ffi::OsStr::from_bytes(&visit.path));
        let node = tree.node(visit.id);
        let metadata = node.metadata();
        let in_path = |error: io::Error| io::Error::new(error.kind(), format!("`{}`: {error}", path.display()));
        if let NodeKind::Directory(_) = node.kind() {
            if !visit.path.is_empty() {
                fs::create_dir(&path).map_err(in_path)?;
            }
            directories.push((path, metadata));
            continue;
        }
        if let Some(first) = first_names.get(&visit.id) {
            fs::hard_link(first, &path).map_err(in_path)?;
            continue;
        }
        if make(&path, node.kind(), objects, contents, is_root).map_err(in_path)? {
            finish(&path, node.kind(), metadata, is_root).map_err(in_path)?;
            first_names.insert(visit.id, path);
        }
    }
    // Last, for a directory's mode may forbid, and its time would not survive, the making of what is in it.
    for (path, metadata) in directories.into_iter().rev() {
        finish(&path, &NodeKind::directory(), metadata, is_root)?;
    }
    Ok(())
}

/// Makes one file; says whether there is one now.
fn make(path: &Path, kind: &NodeKind, objects: &Path, contents: Contents, is_root: bool) -> io::Result<bool> {
    let device = |kind, major, minor| mknod(path, kind, Mode::S_IRUSR | Mode::S_IWUSR, makedev(major, minor));
    match kind {
        NodeKind::Directory(_) => fs::create_dir(path)?,
        NodeKind::File(Content::Inline(bytes)) => io::Write::write_all(&mut create(path)?, bytes)?,
        NodeKind::File(Content::Object { id, size }) => {
            let object = id.relative_path();
            let mut file = create(path)?;
            match contents {
                Contents::Copied => drop(io::copy(&mut File::open(objects.join(object))?, &mut file)?),
                Contents::Stubs => {
                    file.set_len(*size)?;
                    xattr::set(path, "user.overlay.metacopy", b"")?;
                    xattr::set(path, "user.overlay.redirect", format!("/{object}").as_bytes())?;
                }
            }
        }
        NodeKind::Symlink(target) => symlink(std::ffi::OsStr::from_bytes(target), path)?,
        NodeKind::Fifo => mknod(path, SFlag::S_IFIFO, Mode::S_IRUSR | Mode::S_IWUSR, 0)?,
        NodeKind::Socket => mknod(path, SFlag::S_IFSOCK, Mode::S_IRUSR | Mode::S_IWUSR, 0)?,
        NodeKind::CharDevice { .. } | NodeKind::BlockDevice { .. } if !is_root => return Ok(false),
        NodeKind::CharDevice { major, minor } => device(SFlag::S_IFCHR, u64::from(*major), u64::from(*minor))?,
        NodeKind::BlockDevice { major, minor } => device(SFlag::S_IFBLK, u64::from(*major), u64::from(*minor))?,
    }
    Ok(true)
}

fn create(path: &Path) -> io::Result<File> {
    OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)
}

/// Owner, attributes, mode and time, in an order in which none undoes another.
fn finish(path: &Path, kind: &NodeKind, metadata: &Metadata, is_root: bool) -> io::Result<()> {
    if is_root {
        let (uid, gid) = (Uid::from_raw(metadata.uid), Gid::from_raw(metadata.gid));
        fchownat(
            nix::fcntl::AT_FDCWD,
            path,
            Some(uid),
            Some(gid),
            nix::fcntl::AtFlags::AT_SYMLINK_NOFOLLOW,
        )?;
    }
    for (name, value) in &metadata.xattrs {
        if is_root || name.starts_with(b"user.") {
            xattr::set(path, std::ffi::OsStr::from_bytes(name), value)?;
        }
    }
    if !matches!(kind, NodeKind::Symlink(_)) {
        fs::set_permissions(path, fs::Permissions::from_mode(u32::from(metadata.mode)))?;
    }
    let time = nix::sys::time::TimeSpec::new(metadata.mtime_seconds, i64::from(metadata.mtime_nanoseconds));
    nix::sys::stat::utimensat(
        nix::fcntl::AT_FDCWD,
        path,
        &time,
        &time,
        nix::sys::stat::UtimensatFlags::NoFollowSymlink,
    )?;
    Ok(())
}
