//! [`Lease`]: a file of this machine that is read where it lies, and that nobody can change meanwhile.

use std::{
    fs::File,
    io,
    os::fd::{AsRawFd, RawFd},
    path::{Path, PathBuf},
};

use nix::{
    libc::{self, c_int},
    sys::statfs::{BTRFS_SUPER_MAGIC, EXT4_SUPER_MAGIC, FsType, TMPFS_MAGIC, XFS_SUPER_MAGIC, fstatfs},
};

/// The file systems of this machine itself: others may give other bytes without anybody here opening the file.
const LOCAL: [FsType; 4] = [EXT4_SUPER_MAGIC, XFS_SUPER_MAGIC, BTRFS_SUPER_MAGIC, TMPFS_MAGIC];
/// Which signal tells of somebody who waits for the file. (The libc crate does not have it for every Linux.)
const F_SETSIG: c_int = 10;

/// A read lease of the kernel's (`fcntl(2)`, `F_SETLEASE`): whoever opens the file to write it waits until this is
/// dropped, for 45 seconds at most, and [`Self::holds`] says no from that moment on.
#[derive(Debug)]
pub(super) struct Lease {
    file: File,
}

impl Lease {
    /// A lease of the file at `path`; `None` where there is none to be had: it is not ours, somebody has it open for
    /// writing, it is no plain file, or its file system is not of this machine.
    pub(super) fn take(path: &Path) -> Option<Self> {
        // Before it is opened: opening a pipe or a device may wait, or do something.
        if !path.metadata().ok()?.is_file() {
            return None;
        }
        let file = File::open(path).ok()?;
        let is_local = fstatfs(&file).is_ok_and(|status| LOCAL.contains(&status.filesystem_type()));
        if !is_local || !file.metadata().ok()?.is_file() {
            return None;
        }
        let lease = Self { file };
        // The signal that comes by default ends the process; this one is passed over.
        lease.control(F_SETSIG, libc::SIGURG).ok()?;
        lease.control(libc::F_SETLEASE, libc::F_RDLCK).ok()?;
        Some(lease)
    }

    /// Whether nobody has changed the file since, nor waits to.
    pub(super) fn holds(&self) -> bool {
        self.control(libc::F_GETLEASE, 0)
            .is_ok_and(|lease| lease == libc::F_RDLCK)
    }

    pub(super) fn file(&self) -> &File {
        &self.file
    }

    /// A path by which this process opens the file itself, whatever lies by then where it was.
    pub(super) fn path(&self) -> PathBuf {
        PathBuf::from(format!("/proc/self/fd/{}", self.descriptor()))
    }

    fn descriptor(&self) -> RawFd {
        self.file.as_raw_fd()
    }

    fn control(&self, command: c_int, value: c_int) -> io::Result<c_int> {
        // SAFETY: these commands take an integer and touch no memory of ours; the descriptor is open.
        match unsafe { libc::fcntl(self.descriptor(), command, value) } {
            -1 => Err(io::Error::last_os_error()),
            result => Ok(result),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::{fs, os::unix::fs::OpenOptionsExt};

    use super::*;

    #[test]
    fn who_wants_to_write_is_noticed() {
        let directory = tempfile::tempdir_in("/dev/shm").unwrap();
        let path = directory.path().join("archive");
        fs::write(&path, b"archive").unwrap();
        let lease = Lease::take(&path).expect("memory is of this machine");
        assert!(lease.holds());
        assert_eq!(fs::read(lease.path()).unwrap(), b"archive", "readers are let in");
        assert!(lease.holds());
        let mut impatient = File::options();
        let opened = impatient.write(true).custom_flags(libc::O_NONBLOCK).open(&path);
        assert_eq!(opened.unwrap_err().kind(), io::ErrorKind::WouldBlock);
        assert!(!lease.holds());
        drop(lease);
        let writer = File::options().write(true).open(&path).unwrap();
        assert!(Lease::take(&path).is_none(), "somebody has it open for writing");
        drop(writer);
        assert!(Lease::take(&path).is_some());
    }

    #[test]
    fn only_files_are_leased() {
        let directory = tempfile::tempdir().unwrap();
        assert!(Lease::take(directory.path()).is_none());
        assert!(Lease::take(&directory.path().join("none")).is_none());
        assert!(
            Lease::take(Path::new("/proc/self/status")).is_none(),
            "what is no file of a disk"
        );
    }
}
