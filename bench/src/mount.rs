//! Rendering and mounting root file systems of many files.

use std::{
    env,
    fs::{self, File},
    io::BufWriter,
    path::Path,
    process::Command,
    time::Instant,
};

use anyhow::{Context, Result, ensure};
use dhow_image::{Entry, EntryKind, ImageId, ImageManifest, Name, RootfsPath, TarWriter};
use dhow_store::{Rootfs, Standing, Store};
use nix::{
    mount::{MntFlags, MsFlags, mount as mount_call, umount2},
    sched::{CloneFlags, unshare},
};

use crate::Contest;

/// Mounting and unmounting, beside an empty tmpfs: rendered images of these numbers of files, read-only and, as a pod
/// has it, with a writable layer.
pub fn mount(scratch: &Path, rounds: usize, sizes: [usize; 2]) -> Result<Contest> {
    unshare(CloneFlags::CLONE_NEWNS).context("mounting takes root")?;
    let none = None::<&str>;
    mount_call(none, "/", none, MsFlags::MS_REC | MsFlags::MS_PRIVATE, none)?;
    let store = Store::open(&scratch.join("store"))?;
    let [small, large] =
        sizes.map(|files| -> Result<Rootfs> { Ok(store.rootfs(&synthetic(&store, scratch, files)?)?) });
    let (small, large) = (small?, large?);
    let [target, upper, work] = ["target", "upper", "work"].map(|name| scratch.join(name));
    for directory in [&target, &upper, &work] {
        fs::create_dir(directory)?;
    }
    let unmount = || Ok(umount2(&target, MntFlags::empty())?);
    let read_only = |rootfs: &Rootfs| {
        rootfs.mount(&target, None, None)?;
        unmount()
    };
    let writable = |rootfs: &Rootfs| {
        rootfs.mount(&target, Some(&upper), Some(&work))?;
        unmount()
    };
    let title = format!("mount and unmount, {}", small.describe());
    let names = sizes.map(|files| [format!("{files} files, read-only"), format!("{files} files, writable")]);
    Contest::new(title, rounds).run(&mut [
        ("an empty tmpfs", &mut || {
            mount_call(Some("none"), &target, Some("tmpfs"), MsFlags::empty(), none)?;
            unmount()
        }),
        (&names[0][0], &mut || read_only(&small)),
        (&names[1][0], &mut || read_only(&large)),
        (&names[0][1], &mut || writable(&small)),
        (&names[1][1], &mut || writable(&large)),
    ])
}

/// Renders an image anew, in a process of its own for each round, and tells the time and the peak of memory.
pub fn render(scratch: &Path, rounds: usize, image: Image<'_>) -> Result<String> {
    let store = Store::open(&scratch.join("store"))?;
    let (id, title) = match image {
        Image::Synthetic(files) => (synthetic(&store, scratch, files)?, format!("{files} files")),
        Image::Packed(archive) => (take_in(&store, archive)?, archive.display().to_string()),
    };
    drop(store);
    let mut told = Vec::new();
    for _ in 0..rounds {
        let child = Command::new(env::current_exe()?)
            .args(["render-once", &id.to_string(), "--scratch"])
            .arg(scratch)
            .output()?;
        ensure!(child.status.success(), "{}", String::from_utf8_lossy(&child.stderr));
        told.push(String::from_utf8_lossy(&child.stdout).trim().to_owned());
    }
    told.sort();
    Ok(format!(
        "rendering {title} (median of {rounds})\n  {}\n",
        told[told.len() / 2]
    ))
}

/// What is rendered.
pub enum Image<'a> {
    /// So many files.
    Synthetic(usize),
    /// The image in this archive.
    Packed(&'a Path),
}

/// The work of one round of [`render`].
pub fn render_once(scratch: &Path, id: &ImageId) -> Result<String> {
    let store = Store::open(&scratch.join("store"))?;
    let trees = store.root().join("trees");
    fs::remove_dir_all(&trees)?;
    fs::create_dir(&trees)?;
    store.probe();
    let start = Instant::now();
    let rootfs = store.rootfs(id)?;
    let cold = start.elapsed();
    let start = Instant::now();
    store.rootfs(id)?;
    let warm = start.elapsed();
    let status = fs::read_to_string("/proc/self/status")?;
    let peak = status
        .lines()
        .find_map(|line| line.strip_prefix("VmHWM:"))
        .unwrap_or_default()
        .trim();
    let size = fs::metadata(rootfs.path())?.len();
    Ok(format!(
        "{:9.1} ms, again {:.2} ms, peak {peak}, tree of {size} bytes",
        cold.as_secs_f64() * 1000.0,
        warm.as_secs_f64() * 1000.0
    ))
}

/// An image of so many files, a hundred to a directory, each with a content of its own.
fn synthetic(store: &Store, scratch: &Path, files: usize) -> Result<ImageId> {
    let archive = scratch.join("synthetic.aci");
    let manifest = serde_json::to_vec(&ImageManifest::new(Name::new("bench.example/synthetic")?))?;
    let mut tar = TarWriter::new(BufWriter::new(File::create(&archive)?));
    let mut entry = Entry {
        kind: EntryKind::Manifest {
            size: manifest.len() as u64,
        },
        path: RootfsPath::root(),
        mode: 0o644,
        uid: 0,
        gid: 0,
        mtime: 1_400_000_000,
        mtime_nanoseconds: 0,
        xattrs: Default::default(),
    };
    tar.append(&entry, manifest.as_slice())?;
    for number in 0..files {
        // So few files have objects; more would take minutes to write, and have their contents in the tree.
        let times = if files <= 50_000 { 400 } else { 1 + number % 50 };
        let content = format!("{number:04x}").repeat(times);
        let path = format!("usr/share/{}/file-{number}", number / 100);
        entry.kind = EntryKind::File {
            size: content.len() as u64,
        };
        entry.path = RootfsPath::new(path.as_bytes()).context("a path of plain digits")?;
        entry.mtime = 1_400_000_000 + (number % 5000) as i64;
        tar.append(&entry, content.as_bytes())?;
    }
    drop(tar.finish()?.into_inner()?);
    let id = take_in(store, &archive)?;
    fs::remove_file(&archive)?;
    Ok(id)
}

fn take_in(store: &Store, archive: &Path) -> Result<ImageId> {
    let staged = store.stage(File::open(archive)?)?;
    Ok(staged.commit(&serde_json::Value::Null, Standing::Unverified)?)
}
