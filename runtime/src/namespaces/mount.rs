//! Mounts that are made first and attached later (fsopen(2), open_tree(2), move_mount(2)).
//!
//! A pod's mounts are made while the host's files are still in sight and attached once the pod's own root is `/`, so
//! that whatever symbolic links an image holds lead nowhere but into the image.

use std::{
    ffi::{CStr, CString},
    fs::File,
    io,
    os::{
        fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd},
        unix::ffi::OsStrExt,
    },
    path::Path,
};

pub(super) const NO_DEVICES: u64 = libc::MOUNT_ATTR_NODEV;
pub(super) const NO_EXECUTION: u64 = libc::MOUNT_ATTR_NOEXEC;
pub(super) const NO_SET_USER_ID: u64 = libc::MOUNT_ATTR_NOSUID;
pub(super) const READ_ONLY: u64 = libc::MOUNT_ATTR_RDONLY;

/// A mount that is attached nowhere yet. Dropping it unmounts it.
#[derive(Debug)]
pub(super) struct DetachedMount(OwnedFd);

impl DetachedMount {
    /// A new file system of this kind; an option is a name and a value.
    pub(super) fn new(kind: &CStr, options: &[(&CStr, &CStr)], attributes: u64) -> io::Result<Self> {
        // SAFETY: the name is NUL-terminated and lives through the call.
        let context = unsafe { libc::syscall(libc::SYS_fsopen, kind.as_ptr(), libc::FSOPEN_CLOEXEC) };
        let context = File::from(descriptor(context)?);
        let configure = |command: u32, key: *const libc::c_char, value: *const libc::c_char| {
            // SAFETY: key and value are null or NUL-terminated and live through the call.
            succeeded(unsafe { libc::syscall(libc::SYS_fsconfig, context.as_raw_fd(), command, key, value, 0) })
        };
        configure(libc::FSCONFIG_SET_STRING, c"source".as_ptr(), kind.as_ptr())?;
        for (key, value) in options {
            configure(libc::FSCONFIG_SET_STRING, key.as_ptr(), value.as_ptr())?;
        }
        configure(libc::FSCONFIG_CMD_CREATE, std::ptr::null(), std::ptr::null())?;
        // SAFETY: the call takes and returns descriptors and numbers only.
        let mount = unsafe {
            libc::syscall(
                libc::SYS_fsmount,
                context.as_raw_fd(),
                libc::FSMOUNT_CLOEXEC,
                attributes,
            )
        };
        descriptor(mount).map(Self)
    }

    /// What is at `path` now, once more; `recursive` with what is mounted beneath.
    pub(super) fn of_path(path: &Path, recursive: bool) -> io::Result<Self> {
        let path = CString::new(path.as_os_str().as_bytes())?;
        Self::open_tree(libc::AT_FDCWD, &path, 0, recursive)
    }

    /// What is open as `file`, once more.
    pub(super) fn of_file(file: BorrowedFd<'_>, recursive: bool) -> io::Result<Self> {
        Self::open_tree(file.as_raw_fd(), c"", libc::AT_EMPTY_PATH, recursive)
    }

    fn open_tree(directory: i32, path: &CStr, flags: i32, recursive: bool) -> io::Result<Self> {
        let recursive = if recursive { libc::AT_RECURSIVE } else { 0 };
        let flags = libc::OPEN_TREE_CLONE | libc::OPEN_TREE_CLOEXEC | (flags | recursive).unsigned_abs();
        // SAFETY: the path is NUL-terminated and lives through the call.
        let mount = unsafe { libc::syscall(libc::SYS_open_tree, directory, path.as_ptr(), flags) };
        descriptor(mount).map(Self)
    }

    /// Makes it read-only; `recursive` with what is mounted beneath.
    pub(super) fn read_only(self, recursive: bool) -> io::Result<Self> {
        set_attributes(self.0.as_raw_fd(), c"", READ_ONLY, recursive)?;
        Ok(self)
    }

    /// Makes the device nodes in it inert; `recursive` those in what is mounted beneath too.
    pub(super) fn no_devices(self, recursive: bool) -> io::Result<Self> {
        set_attributes(self.0.as_raw_fd(), c"", NO_DEVICES, recursive)?;
        Ok(self)
    }

    /// Attaches it at `target`, which is looked up beneath this process's root.
    pub(super) fn attach(&self, target: &Path) -> io::Result<()> {
        let target = CString::new(target.as_os_str().as_bytes())?;
        let flags = libc::MOVE_MOUNT_F_EMPTY_PATH | libc::MOVE_MOUNT_T_SYMLINKS;
        // SAFETY: both paths are NUL-terminated and live through the call.
        succeeded(unsafe {
            let (mount, here) = (self.0.as_raw_fd(), libc::AT_FDCWD);
            libc::syscall(libc::SYS_move_mount, mount, c"".as_ptr(), here, target.as_ptr(), flags)
        })
    }
}

/// Makes the mount at this process's root read-only, and no other.
pub(super) fn make_root_read_only() -> io::Result<()> {
    set_attributes(libc::AT_FDCWD, c"/", READ_ONLY, false)
}

fn set_attributes(directory: i32, path: &CStr, attributes: u64, recursive: bool) -> io::Result<()> {
    let attributes = libc::mount_attr {
        attr_set: attributes,
        attr_clr: 0,
        propagation: 0,
        userns_fd: 0,
    };
    let flags = libc::AT_EMPTY_PATH | if recursive { libc::AT_RECURSIVE } else { 0 };
    let size = size_of::<libc::mount_attr>();
    // SAFETY: the path is NUL-terminated and `attributes` is of `size` bytes; both live through the call.
    succeeded(unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            directory,
            path.as_ptr(),
            flags,
            &raw const attributes,
            size,
        )
    })
}

fn succeeded(result: libc::c_long) -> io::Result<()> {
    if result < 0 {
        Err(io::Error::last_os_error())
    } else {
        Ok(())
    }
}

fn descriptor(result: libc::c_long) -> io::Result<OwnedFd> {
    succeeded(result)?;
    let number = i32::try_from(result).expect("the kernel numbers descriptors with an `int`");
    // SAFETY: the call that returned the number opened the descriptor, and nobody else has it.
    Ok(unsafe { OwnedFd::from_raw_fd(number) })
}
