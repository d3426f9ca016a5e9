//! Rendering root file systems of many files, mounting them, and letting go of them.

use std::fs::{self, File};

use anyhow::Result;
use dhow_image::ImageId;
use dhow_store::{Rootfs, Standing, Store};
use nix::{
    mount::{MntFlags, MsFlags, mount as mount_at, umount2},
    sched::{CloneFlags, unshare},
};

use crate::{
    contest::{Contest, Contestant},
    images::Images,
};

/// How many files the images have.
const SIZES: [usize; 2] = [11_000, 50_000];

/// Mounts and unmounts rendered images, read-only and, as a pod has it, with a writable layer, in mounts of this
/// process's own: beside mounting a tmpfs. Needs root.
pub fn mount(images: &Images, rounds: usize) -> Result<String> {
    let store = Store::open(&images.path("mounted"))?;
    let [small, large] = SIZES.map(|files| -> Result<Rootfs> { Ok(store.rootfs(&take_in(&store, images, files)?)?) });
    let (small, large) = (small?, large?);
    let [target, upper, work] = ["target", "upper", "work"].map(|name| images.path(name));
    for directory in [&target, &upper, &work] {
        fs::create_dir_all(directory)?;
    }

    unshare(CloneFlags::CLONE_NEWNS)?;
    let none = None::<&str>;
    mount_at(none, "/", none, MsFlags::MS_REC | MsFlags::MS_PRIVATE, none)?;
    let unmount = || Ok(umount2(&target, MntFlags::empty())?);
    let read_only = |rootfs: &Rootfs| {
        rootfs.mount(&target, None, None)?;
        unmount()
    };
    let writable = |rootfs: &Rootfs| {
        rootfs.mount(&target, Some(&upper), Some(&work))?;
        unmount()
    };
    let names = SIZES.map(|files| [format!("{files} files, read-only"), format!("{files} files, writable")]);
    let contest = Contest::new("mount: a rendered image, and its unmounting", rounds.max(100)).run(vec![
        Contestant::new("a tmpfs", || {
            mount_at(Some("bench"), &target, Some("tmpfs"), MsFlags::empty(), none)?;
            unmount()
        }),
        Contestant::new(&names[0][0], || read_only(&small)),
        Contestant::new(&names[1][0], || read_only(&large)),
        Contestant::new(&names[0][1], || writable(&small)),
        Contestant::new(&names[1][1], || writable(&large)),
    ])?;
    Ok(format!("{contest}  by {}\n", small.describe()))
}

/// Renders images anew, of the root file system and of so many files, beside each other, with the memory that takes.
pub fn render(images: &Images, rounds: usize) -> Result<String> {
    let store = Store::open(&images.path("rendered"))?;
    let staged = store.stage(File::open(images.archive()?)?)?;
    let real = staged.commit(&serde_json::Value::Null, Standing::Unverified)?;
    let [small, large] = SIZES.map(|files| take_in(&store, images, files));
    let trees = store.root().join("trees");
    let contestants = [
        ("the root file system".to_owned(), real),
        (format!("{} files", SIZES[0]), small?),
        (format!("{} files", SIZES[1]), large?),
    ];
    drop(store);
    let peaks = [const { std::cell::Cell::new(0) }; 3];
    let work = contestants.iter().zip(&peaks).map(|((name, id), peak)| {
        let forget = || {
            fs::remove_dir_all(&trees)?;
            Ok(fs::create_dir(&trees)?)
        };
        Contestant::prepared(name, forget, move || {
            let used = images.dhow("rendered", &["image", "render", &id.to_string()])?.run()?;
            peak.set(peak.get().max(used));
            Ok(())
        })
    });
    let contest = Contest::new("render: an image's tree, anew", rounds).run(work.collect())?;
    let peaks = peaks.map(|peak| format!("{:.1} MB", peak.get() as f64 / 1e6));
    Ok(format!("{contest}  peak memory: {}\n", peaks.join(", ")))
}

/// An image of so many files, a hundred to a directory, each with a content of its own that is too large to be inline.
fn take_in(store: &Store, images: &Images, files: usize) -> Result<ImageId> {
    let archive = images.synthetic(files)?;
    let staged = store.stage(File::open(&archive)?)?;
    let id = staged.commit(&serde_json::Value::Null, Standing::Unverified)?;
    fs::remove_file(&archive)?;
    Ok(id)
}
