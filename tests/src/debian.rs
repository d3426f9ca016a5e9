//! A Debian root file system.

use std::{
    fs::{self, File},
    path::PathBuf,
    process::Command,
};

use crate::{Outcome, workspace};

/// The root file system that `debootstrap` makes of the release that this machine runs: some 280 MB in 11,000 files.
///
/// It is made once and kept under the target directory. Needs root.
pub fn debian() -> PathBuf {
    let data = workspace().join("target/test-data");
    fs::create_dir_all(&data).expect("the target directory can be written");
    let rootfs = data.join("debian");
    // Tests run beside each other: one makes it, the others wait.
    let lock = File::create(data.join("debian.lock")).expect("the target directory can be written");
    lock.lock().expect("a file can be locked");
    if !rootfs.exists() {
        let part = data.join("debian.part");
        let _ = fs::remove_dir_all(&part);
        let release = fs::read_to_string("/etc/os-release").expect("this is a Linux distribution");
        let suite = release.lines().find_map(|line| line.strip_prefix("VERSION_CODENAME="));
        let suite = suite.expect("this machine runs Debian or Ubuntu");
        Outcome::of(Command::new("debootstrap").arg(suite).arg(&part)).success();
        fs::rename(part, &rootfs).expect("the target directory can be written");
    }
    rootfs
}
