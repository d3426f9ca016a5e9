//! [`Disk`]: a disk of its own for a test, whose power can be cut, which can be full, and which can fail.

use std::{
    fs::{self, File, OpenOptions},
    os::{fd::AsRawFd, unix::fs::OpenOptionsExt},
    path::{Path, PathBuf},
    process::Command,
};

use crate::Outcome;

/// `FS_IOC_SHUTDOWN`: what was not written yet never is, as when the power is cut. ext4 and XFS share the number.
const SHUTDOWN: libc::c_ulong = 0x8004_587d;
/// Nor is what is in the journal's memory.
const WITHOUT_LOG: u32 = 2;

/// A file system in a file, mounted where the test says. Only the test and what it starts see the mount.
pub struct Disk {
    image: PathBuf,
    mounted: PathBuf,
}

impl Disk {
    /// Lets this thread, and all threads and programs that it starts, have mounts of their own.
    pub fn privacy() {
        // SAFETY: both calls take plain values and constant strings.
        let result = unsafe {
            match libc::unshare(libc::CLONE_NEWNS) {
                0 => libc::mount(
                    c"none".as_ptr(),
                    c"/".as_ptr(),
                    std::ptr::null(),
                    libc::MS_REC | libc::MS_PRIVATE,
                    std::ptr::null(),
                ),
                failed => failed,
            }
        };
        assert_eq!(result, 0, "the tests need root: {}", std::io::Error::last_os_error());
    }

    /// Makes a file system of this kind (`ext4`, `xfs`) in the sparse file `image`, and mounts it.
    pub fn new(image: &Path, kind: &str, megabytes: u64, mounted: &Path) -> Self {
        let file = File::create(image).expect("the world can be written");
        file.set_len(megabytes << 20).expect("the world can be written");
        let mut format = Command::new(format!("mkfs.{kind}"));
        match kind {
            // Neither spends minutes on what is empty.
            "ext4" => format.args(["-q", "-F", "-E", "lazy_itable_init=1,nodiscard"]),
            _ => format.args(["-q", "-f", "-K"]),
        };
        Outcome::of(format.arg(image)).success();
        fs::create_dir_all(mounted).expect("the world can be written");
        let disk = Self {
            image: image.to_owned(),
            mounted: mounted.to_owned(),
        };
        disk.mount();
        disk
    }

    /// Mounts it. What a power cut has left in the journal is put right by that.
    pub fn mount(&self) {
        Outcome::of(
            Command::new("mount")
                .args(["-o", "loop"])
                .arg(&self.image)
                .arg(&self.mounted),
        )
        .success();
    }

    /// Unmounts it, which nobody may hold.
    pub fn unmount(&self) {
        Outcome::of(Command::new("umount").arg(&self.mounted)).success();
    }

    /// Cuts the power: all that is not on the disk yet is lost, and whoever uses the disk gets errors from now on.
    pub fn cut_power(&self) {
        let directory = OpenOptions::new()
            .read(true)
            .custom_flags(libc::O_DIRECTORY)
            .open(&self.mounted)
            .expect("the disk is mounted");
        // SAFETY: the descriptor is open, and the argument is a number that the kernel reads.
        let result = unsafe { libc::ioctl(directory.as_raw_fd(), SHUTDOWN, &WITHOUT_LOG) };
        assert_eq!(result, 0, "{}", std::io::Error::last_os_error());
    }
}

impl Disk {
    /// Lets all that lies beyond so many bytes fail with an I/O error, as where a disk has bad sectors; 0 ends that.
    pub fn fail_beyond(&self, bytes: u64) {
        /// `LOOP_GET_STATUS64` and `LOOP_SET_STATUS64`, of `struct loop_info64`: in its 232 bytes the limit is the fifth
        /// number of eight bytes.
        const GET: libc::c_ulong = 0x4c05;
        const SET: libc::c_ulong = 0x4c04;
        let mut list = Command::new("losetup");
        let device = Outcome::of(list.args(["-n", "-O", "NAME", "-j"]).arg(&self.image)).success();
        let device = OpenOptions::new()
            .read(true)
            .write(true)
            .open(device.trim())
            .expect("the disk is mounted");
        let mut status = [0_u64; 29];
        // SAFETY: the descriptor is open, and the array is as large as the structure that the kernel writes.
        let got = unsafe { libc::ioctl(device.as_raw_fd(), GET, status.as_mut_ptr()) };
        status[4] = bytes;
        // SAFETY: the same, and the kernel reads what it has written but for one number.
        let set = unsafe { libc::ioctl(device.as_raw_fd(), SET, status.as_ptr()) };
        assert_eq!((got, set), (0, 0), "{}", std::io::Error::last_os_error());
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("--lazy").arg(&self.mounted).status();
    }
}
