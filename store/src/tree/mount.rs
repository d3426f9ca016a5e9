use std::ffi::{CStr, CString};
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use super::error::TreeError;

/// What the kernel means by "block device required".
const NOT_FROM_FILE: &str = "this kernel cannot mount a file, or not one on this file system, such as tmpfs";

/// Mounts an EROFS image from its file, read-only and without a loop device. The mount is attached nowhere yet.
///
/// Needs CAP_SYS_ADMIN in the initial user namespace, Linux 6.12, and an image on a disk file system: the kernel refuses
/// one on tmpfs.
pub fn mount_erofs(image: &Path) -> Result<OwnedFd, TreeError> {
    let mount = || {
        let file = File::open(image)?;
        let mut source = image.as_os_str().as_bytes().to_vec();
        // fsconfig takes values below 256 bytes.
        if source.len() > 255 {
            source = format!("/proc/self/fd/{}", file.as_raw_fd()).into_bytes();
        }
        let context = FsContext::open(c"erofs")?;
        context.set_string(c"source", &CString::new(source)?)?;
        context.set_flag(c"ro")?;
        context
            .create()
            .map_err(|failure| failure.explained(libc::ENOTBLK, NOT_FROM_FILE))?;
        context.mount(libc::MOUNT_ATTR_RDONLY)
    };
    mount().map_err(|failure: Failure| failure.in_action(format!("mount the EROFS image `{}`", image.display())))
}

/// A rendered image: metadata over the store's objects, and a writable layer over both if there is to be one.
///
/// Needs Linux 6.16, the first in which `userxattr` and data-only layers go together.
#[derive(Clone, Copy, Debug)]
pub struct Overlay<'a> {
    /// The mounted EROFS image, or a directory of stubs with the same attributes.
    pub metadata: BorrowedFd<'a>,
    /// The directory of objects.
    pub objects: &'a Path,
    /// Where changes go; without it the mount is read-only.
    pub upper: Option<Upper<'a>>,
}

/// The writable layer of an [`Overlay`]: two directories on one file system that holds `user.*` attributes.
#[derive(Clone, Copy, Debug)]
pub struct Upper<'a> {
    /// What has been written.
    pub directory: &'a Path,
    /// An empty directory that belongs to overlayfs while it is mounted.
    pub work: &'a Path,
}

impl Overlay<'_> {
    /// Mounts the overlay, attached nowhere yet. Layers are passed as open directories, so that their paths may have any
    /// length and any characters.
    pub fn mount(&self) -> Result<OwnedFd, TreeError> {
        let mount = || {
            let context = FsContext::open(c"overlay")?;
            context.set_string(c"source", c"dhow")?;
            context.set_flag(c"userxattr")?;
            context.set_fd(c"lowerdir+", self.metadata)?;
            context.set_fd(c"datadir+", open_directory(self.objects)?.as_fd())?;
            if let Some(upper) = self.upper {
                context.set_fd(c"upperdir", open_directory(upper.directory)?.as_fd())?;
                context.set_fd(c"workdir", open_directory(upper.work)?.as_fd())?;
            }
            context.create()?;
            let read_only = if self.upper.is_some() {
                0
            } else {
                libc::MOUNT_ATTR_RDONLY
            };
            // An image's device nodes are inert: a pod has its own `/dev`.
            context.mount(read_only | libc::MOUNT_ATTR_NODEV)
        };
        let action = || format!("mount an overlay over the objects in `{}`", self.objects.display());
        mount().map_err(|failure: Failure| failure.in_action(action()))
    }
}

/// Attaches a mount to the directory `target`. A symbolic link in the last place of `target` is not followed.
pub fn attach(mount: BorrowedFd<'_>, target: &Path) -> Result<(), TreeError> {
    let attach = || {
        let target = CString::new(target.as_os_str().as_bytes())?;
        // SAFETY: both paths are NUL-terminated and live through the call, which writes to no memory of ours.
        let result = unsafe {
            libc::syscall(
                libc::SYS_move_mount,
                mount.as_raw_fd(),
                c"".as_ptr(),
                libc::AT_FDCWD,
                target.as_ptr(),
                libc::MOVE_MOUNT_F_EMPTY_PATH,
            )
        };
        succeeded(result)
    };
    attach().map_err(|failure: Failure| failure.in_action(format!("attach a mount to `{}`", target.display())))
}

/// A failed step, and what the kernel wrote about it.
struct Failure {
    source: io::Error,
    log: String,
}

impl Failure {
    /// Says in words what an error number means here, if the kernel said nothing.
    fn explained(mut self, errno: i32, meaning: &str) -> Self {
        if self.source.raw_os_error() == Some(errno) && self.log.is_empty() {
            self.log = meaning.to_owned();
        }
        self
    }

    fn in_action(self, action: String) -> TreeError {
        let detail = match self.log.as_str() {
            "" => String::new(),
            log => format!(" ({log})"),
        };
        TreeError::Mount {
            action,
            detail,
            source: self.source,
        }
    }
}

impl<E: Into<io::Error>> From<E> for Failure {
    fn from(error: E) -> Self {
        Self {
            source: error.into(),
            log: String::new(),
        }
    }
}

/// A mount in the making (`fsopen`).
struct FsContext(File);

impl FsContext {
    fn open(file_system: &CStr) -> Result<Self, Failure> {
        // SAFETY: the name is NUL-terminated and lives through the call.
        let result = unsafe { libc::syscall(libc::SYS_fsopen, file_system.as_ptr(), libc::FSOPEN_CLOEXEC) };
        Ok(Self(descriptor(result)?.into()))
    }

    fn set_flag(&self, key: &CStr) -> Result<(), Failure> {
        self.configure(libc::FSCONFIG_SET_FLAG, Some(key), None, 0)
    }

    fn set_string(&self, key: &CStr, value: &CStr) -> Result<(), Failure> {
        self.configure(libc::FSCONFIG_SET_STRING, Some(key), Some(value), 0)
    }

    fn set_fd(&self, key: &CStr, value: BorrowedFd<'_>) -> Result<(), Failure> {
        self.configure(libc::FSCONFIG_SET_FD, Some(key), None, value.as_raw_fd())
    }

    fn create(&self) -> Result<(), Failure> {
        self.configure(libc::FSCONFIG_CMD_CREATE, None, None, 0)
    }

    fn mount(&self, attributes: u64) -> Result<OwnedFd, Failure> {
        let context = self.0.as_raw_fd();
        // SAFETY: the call takes and returns descriptors only.
        let result = unsafe { libc::syscall(libc::SYS_fsmount, context, libc::FSMOUNT_CLOEXEC, attributes) };
        descriptor(result).map_err(|source| self.failure(source))
    }

    fn configure(&self, command: u32, key: Option<&CStr>, value: Option<&CStr>, extra: i32) -> Result<(), Failure> {
        let pointer = |text: Option<&CStr>| text.map_or(std::ptr::null(), CStr::as_ptr);
        let context = self.0.as_raw_fd();
        // SAFETY: key and value are null or NUL-terminated and live through the call, which writes to no memory of ours.
        let result = unsafe {
            libc::syscall(
                libc::SYS_fsconfig,
                context,
                command,
                pointer(key),
                pointer(value),
                extra,
            )
        };
        succeeded(result).map_err(|failure: Failure| self.failure(failure.source))
    }

    /// Adds what the kernel logged in this context: lines such as `e overlay: No changes allowed in reconfigure`.
    fn failure(&self, source: io::Error) -> Failure {
        let mut log: Vec<String> = Vec::new();
        let mut line = [0; 1024];
        while let Ok(length @ 1..) = (&self.0).read(&mut line) {
            let text = String::from_utf8_lossy(&line[..length]);
            let text = text.trim_end();
            log.push(text.strip_prefix("e ").unwrap_or(text).to_owned());
        }
        Failure {
            source,
            log: log.join("; "),
        }
    }
}

fn open_directory(path: &Path) -> Result<OwnedFd, Failure> {
    let flags = libc::O_PATH | libc::O_DIRECTORY;
    match File::options().read(true).custom_flags(flags).open(path) {
        Ok(directory) => Ok(directory.into()),
        Err(source) => Err(Failure {
            source,
            log: format!("opening `{}`", path.display()),
        }),
    }
}

/// The error of a system call that returns nothing else. Called before anything can change `errno`.
fn succeeded(result: libc::c_long) -> Result<(), Failure> {
    match result {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error().into()),
    }
}

/// The descriptor that a system call returned, or its error.
fn descriptor(result: libc::c_long) -> io::Result<OwnedFd> {
    match i32::try_from(result) {
        // SAFETY: the kernel has just given us this descriptor, which nothing else owns.
        Ok(fd @ 0..) => Ok(unsafe { OwnedFd::from_raw_fd(fd) }),
        _ => Err(io::Error::last_os_error()),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn the_kernels_explanation_is_part_of_the_error() {
        let context = FsContext::open(c"overlay").unwrap_or_else(|failure| panic!("{}", failure.source));
        let Err(failure) = context.set_flag(c"nonsense") else {
            panic!("overlayfs has an option `nonsense`");
        };
        assert_eq!(
            failure.in_action("mount".to_owned()).to_string(),
            "could not mount (overlay: Unknown parameter 'nonsense')"
        );
    }

    #[test]
    fn an_image_on_tmpfs_is_refused_in_words() {
        let image = tempfile::NamedTempFile::new_in("/dev/shm").unwrap();
        crate::tree::write_erofs(&crate::tree::Tree::new(), &image).unwrap();
        let error = mount_erofs(image.path()).unwrap_err();
        assert!(error.to_string().ends_with("such as tmpfs)"), "{error}");
    }
}
