//! Running a program inside of a root file system that is being made, in a pod of its own.
//!
//! The root file system becomes an image in a store that lives as long as the step; `dhow-pod` runs it; and what the
//! pod has written, which overlayfs has kept apart in its upper directory, is moved into the root file system.

use std::{
    ffi::OsStr,
    fmt,
    fs::{self, Metadata},
    io,
    os::unix::{
        fs::{FileTypeExt, MetadataExt, PermissionsExt, lchown},
        process::CommandExt,
    },
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::{Context as _, Result, bail};
use dhow_image::{App, BuildOptions, Compression, ImageManifest, Name};
use dhow_store::{Standing, Store};

use super::{
    assemble::{remove, replace},
    build_file::{Run, Words},
};
use crate::{context::is_root, external};

/// What `dhow-pod` makes in every root file system that lacks it, beside the directories to mount upon.
const PROVIDED: [&str; 2] = ["hosts", "resolv.conf"];
const MOUNTED_UPON: [&str; 3] = ["dev", "proc", "sys"];

pub(super) fn run(step: &Run, rootfs: &Path, scratch: &Path) -> Result<()> {
    let before = Provided::of(rootfs)?;
    let data = scratch.join("data");
    let id = {
        let mut manifest = ImageManifest::new(Name::new("dhow.build/step")?);
        manifest.app = Some(App::new(step.run.words()));
        let mut archive = tempfile::tempfile_in(scratch.parent().unwrap_or(Path::new("/tmp")))?;
        let options = BuildOptions {
            compression: Compression::None,
            ..BuildOptions::default()
        };
        dhow_image::build(&manifest, rootfs, &options, &mut archive)?;
        io::Seek::rewind(&mut archive)?;
        let store = Store::open(&data)?;
        store
            .stage(archive)?
            .commit(&serde_json::Value::Null, Standing::Unverified)?
    };

    let program = external::find(OsStr::new("dhow-pod")).context("`dhow-pod` is neither beside `dhow` nor on PATH")?;
    let mut command = Command::new(program);
    command.arg("--dir").arg(&data).arg("run");
    if let Some(network) = &step.network {
        command.arg("--net").arg(network);
    }
    for (name, value) in &step.environment {
        command.arg("--set-env").arg(format!("{name}={value}"));
    }
    // What a step prints is for the person who waits, and no result.
    command.arg(id.to_string()).stdin(Stdio::null()).stdout(io::stderr());
    let killed = || Ok(nix::sys::prctl::set_pdeathsig(nix::sys::signal::Signal::SIGTERM)?);
    // SAFETY: between fork and exec only a system call is made, and nothing is allocated.
    unsafe { command.pre_exec(killed) };
    let status = command.status()?;
    if !status.success() {
        bail!("it ended with {status}");
    }
    let upper = upper(&data)?;
    merge(&upper, rootfs)?;
    let root = fs::metadata(&upper)?;
    fs::set_permissions(rootfs, fs::Permissions::from_mode(root.mode() & 0o7777))?;
    before.take_back(rootfs)?;
    Ok(fs::remove_dir_all(scratch)?)
}

/// What of that which `dhow-pod` makes was there before it.
struct Provided {
    files: Vec<&'static str>,
    directories: Vec<&'static str>,
}

impl Provided {
    fn of(rootfs: &Path) -> io::Result<Self> {
        let is_there = |path: PathBuf| fs::symlink_metadata(path).is_ok();
        let etc = rootfs.join("etc");
        // An `etc` that is no directory of this root file system holds nothing that was made here.
        let has_etc = fs::symlink_metadata(&etc).is_ok_and(|metadata| metadata.is_dir());
        let files = PROVIDED.into_iter().filter(|name| has_etc && is_there(etc.join(name)));
        let directories = MOUNTED_UPON.into_iter().filter(|name| is_there(rootfs.join(name)));
        Ok(Self {
            files: files.collect(),
            directories: directories.collect(),
        })
    }

    /// Removes what was made. Links, which the step may have made, are not followed.
    fn take_back(&self, rootfs: &Path) -> io::Result<()> {
        let etc = rootfs.join("etc");
        if fs::symlink_metadata(&etc).is_ok_and(|metadata| metadata.is_dir()) {
            for name in PROVIDED.into_iter().filter(|name| !self.files.contains(name)) {
                match fs::remove_file(etc.join(name)) {
                    Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                    _ => {}
                }
            }
        }
        for name in MOUNTED_UPON.into_iter().filter(|name| !self.directories.contains(name)) {
            // Whatever a step has put there stays.
            let _ = fs::remove_dir(rootfs.join(name));
        }
        Ok(())
    }
}

/// Where the one app of the one pod has written.
fn upper(data: &Path) -> Result<PathBuf> {
    let only = |directory: &Path| -> Result<PathBuf> {
        let mut entries = fs::read_dir(directory)?;
        match (entries.next().transpose()?, entries.next()) {
            (Some(entry), None) => Ok(entry.path()),
            _ => bail!("`{}` does not hold exactly one entry", directory.display()),
        }
    };
    Ok(only(&only(&data.join("pods"))?.join("apps"))?.join("upper"))
}

/// Moves what is in an upper directory over what is in a lower one (the kernel's filesystems/overlayfs.rst).
fn merge(upper: &Path, lower: &Path) -> Result<()> {
    for entry in fs::read_dir(upper)? {
        let source = entry?.path();
        let target = lower.join(source.file_name().context("an entry has a name")?);
        let metadata = fs::symlink_metadata(&source)?;
        if is_whiteout(&source, &metadata)? {
            remove(&target)?;
        } else if metadata.is_dir() && !is_opaque(&source)? && fs::symlink_metadata(&target).is_ok_and(|t| t.is_dir()) {
            merge(&source, &target)?;
            if is_root() {
                lchown(&target, Some(metadata.uid()), Some(metadata.gid()))?;
            }
            fs::set_permissions(&target, fs::Permissions::from_mode(metadata.mode() & 0o7777))?;
        } else {
            clean(&source, &metadata)?;
            replace(&source, &target)?;
        }
    }
    Ok(())
}

fn is_whiteout(path: &Path, metadata: &Metadata) -> io::Result<bool> {
    let is_device = metadata.file_type().is_char_device() && metadata.rdev() == 0;
    Ok(is_device || (metadata.is_file() && metadata.len() == 0 && has(path, "user.overlay.whiteout")?))
}

fn is_opaque(path: &Path) -> io::Result<bool> {
    Ok(xattr::get(path, "user.overlay.opaque")?.is_some_and(|value| value == b"y"))
}

fn has(path: &Path, attribute: &str) -> io::Result<bool> {
    Ok(xattr::get(path, attribute)?.is_some())
}

/// Takes overlayfs's marks from what is no longer under it. Whiteouts below a directory that is new hide nothing.
fn clean(path: &Path, metadata: &Metadata) -> Result<()> {
    if metadata.is_symlink() {
        return Ok(());
    }
    for name in xattr::list(path)? {
        if name.to_string_lossy().starts_with("user.overlay.") {
            xattr::remove(path, &name)?;
        }
    }
    if metadata.is_dir() {
        for entry in fs::read_dir(path)? {
            let inner = entry?.path();
            let metadata = fs::symlink_metadata(&inner)?;
            if is_whiteout(&inner, &metadata)? {
                fs::remove_file(&inner)?;
            } else {
                clean(&inner, &metadata)?;
            }
        }
    }
    Ok(())
}

impl Words {
    fn words(&self) -> Vec<String> {
        match self {
            Self::Line(line) => ["/bin/sh", "-c", line].map(str::to_owned).into(),
            Self::List(words) => words.clone(),
        }
    }
}

impl fmt::Display for Words {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Line(line) => write!(f, "`{line}`"),
            Self::List(words) => write!(f, "`{}`", words.join(" ")),
        }
    }
}
