//! Hostile archives, taken in and rendered: each is refused with a reason or harmless, and nothing comes to be outside
//! of the store.

#![allow(clippy::unwrap_used)]

#[path = "../../image/tests/hostile/cases.rs"]
mod cases;
#[path = "../../image/tests/hostile/heavy.rs"]
mod heavy;
#[path = "../../image/tests/hostile/tar.rs"]
mod tar;

use std::{
    collections::BTreeMap,
    error::Error,
    fs,
    io::Read,
    os::unix::fs::{MetadataExt, PermissionsExt},
    path::{Path, PathBuf},
};

use cases::{Outcome, cases, noise};
use dhow_image::Decompressor;
use dhow_store::{Rootfs, Standing, Store, StoreError};
use nix::{
    mount::{MntFlags, MsFlags, mount, umount2},
    sched::{CloneFlags, unshare},
};
use tar::Tar;
use tempfile::TempDir;

/// An error with its causes, as a person reads it.
fn told(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(&format!(": {error}"));
        cause = error.source();
    }
    text
}

/// A store, deep beneath a directory whose other files nobody may touch.
struct World {
    directory: TempDir,
    store: Store,
}

impl World {
    fn new(parent: &Path) -> Self {
        let directory = TempDir::new_in(parent).unwrap();
        for path in ["outside", "a/b/c", "a/b/outside", "mounted"] {
            fs::create_dir_all(directory.path().join(path)).unwrap();
        }
        for path in ["outside/sentinel", "a/b/outside/sentinel", "a/b/c/sentinel"] {
            fs::write(directory.path().join(path), path).unwrap();
        }
        let store = Store::open(&directory.path().join("a/b/c/store")).unwrap();
        Self { directory, store }
    }

    /// Every file outside of the store, and in it what is neither an object, an image nor a tree.
    fn outside(&self) -> BTreeMap<PathBuf, String> {
        let mut files = BTreeMap::new();
        let store = self.store.root().to_owned();
        let passed_over = ["objects", "images", "trees", "index.db", "index.db-wal", "index.db-shm"];
        let passed_over = passed_over.map(|name| store.join(name));
        let mut directories = vec![self.directory.path().to_owned()];
        while let Some(directory) = directories.pop() {
            for entry in fs::read_dir(directory).unwrap() {
                let path = entry.unwrap().path();
                if passed_over.contains(&path) {
                    continue;
                }
                let metadata = path.symlink_metadata().unwrap();
                let content = match metadata.is_file() {
                    true => fs::read_to_string(&path).unwrap(),
                    false => String::new(),
                };
                let (mode, owner, links) = (metadata.mode(), metadata.uid(), metadata.nlink());
                let links = if metadata.is_dir() { 0 } else { links };
                files.insert(path.clone(), format!("{mode:o} {owner} {links} {content}"));
                if metadata.is_dir() {
                    directories.push(path);
                }
            }
        }
        files
    }

    /// Takes an archive in, gives it back and renders it.
    fn take_in(&self, archive: &[u8]) -> Result<Rootfs, StoreError> {
        let staged = self.store.stage(archive)?;
        let id = staged.commit(&serde_json::Value::Null, Standing::Unverified)?;
        let (mut expected, mut exported) = (Vec::new(), Vec::new());
        Decompressor::new(archive).unwrap().read_to_end(&mut expected).unwrap();
        self.store.export(&id)?.read_to_end(&mut exported).unwrap();
        assert_eq!(exported, expected, "the same tar comes back");
        self.store.rootfs(&id)
    }

    /// Mounts a root file system and looks at every file of it.
    fn look_at(&self, rootfs: &Rootfs) {
        let target = self.directory.path().join("mounted");
        rootfs.mount(&target, None, None).unwrap();
        let root = target.symlink_metadata().unwrap();
        assert!(root.is_dir());
        let mut directories = vec![fs::File::open(&target).unwrap()];
        while let Some(directory) = directories.pop() {
            // By descriptors, since paths of images can be longer than a path may be from here.
            let path = format!("/proc/self/fd/{}", std::os::fd::AsRawFd::as_raw_fd(&directory));
            for entry in fs::read_dir(path).unwrap() {
                let entry = entry.unwrap();
                let metadata = entry.path().symlink_metadata().unwrap();
                if metadata.is_dir() {
                    assert_eq!(metadata.dev(), root.dev(), "nothing is mounted within");
                    directories.push(fs::File::open(entry.path()).unwrap());
                } else if metadata.is_file() {
                    fs::read(entry.path()).unwrap();
                } else if metadata.rdev() != 0 {
                    let error = fs::File::open(entry.path()).unwrap_err();
                    assert_eq!(error.kind(), std::io::ErrorKind::PermissionDenied, "devices are inert");
                }
            }
        }
        drop(directories);
        umount2(&target, MntFlags::MNT_DETACH).unwrap();
    }
}

/// Runs a test in a thread with mounts of its own, which go when it does.
fn with_own_mounts(test: impl FnOnce() + Send) {
    std::thread::scope(|scope| {
        let test = scope.spawn(move || {
            unshare(CloneFlags::CLONE_FS | CloneFlags::CLONE_NEWNS).unwrap();
            let none = None::<&str>;
            mount(none, "/", none, MsFlags::MS_REC | MsFlags::MS_PRIVATE, none).unwrap();
            test();
        });
        test.join().unwrap();
    });
}

/// The cases with a store in `parent`, which decides in which way root file systems are made.
fn every_case_ends_as_it_must(parent: &Path, way: &str) {
    with_own_mounts(|| {
        let world = World::new(parent);
        let before = world.outside();
        let mut failures = Vec::new();
        for case in cases() {
            let fits = match (world.take_in(&case.archive), case.outcome) {
                (Err(StoreError::Archive(error)), Outcome::Refused(part)) => {
                    told(&error).contains(part).then_some(()).ok_or(told(&error))
                }
                (Err(error), Outcome::NotRendered(part)) => {
                    told(&error).contains(part).then_some(()).ok_or(told(&error))
                }
                (Ok(rootfs), Outcome::Safe) => {
                    assert!(rootfs.describe().contains(way), "{}", rootfs.describe());
                    world.look_at(&rootfs);
                    Ok(())
                }
                (Ok(_), _) => Err("it was rendered".to_owned()),
                (Err(error), _) => Err(told(&error)),
            };
            if let Err(told) = fits {
                failures.push(format!("{}: should be {:?}: {told}", case.name, case.outcome));
            }
            assert_eq!(world.outside(), before, "{}", case.name);
            assert!(!Path::new("/escaped").exists(), "{}", case.name);
        }
        assert!(failures.is_empty(), "{}", failures.join("\n"));
    });
}

#[test]
fn every_case_ends_as_it_must_on_a_disk() {
    let target = Path::new(env!("CARGO_TARGET_TMPDIR"));
    every_case_ends_as_it_must(target, "composefs");
}

#[test]
fn every_case_ends_as_it_must_in_memory() {
    // EROFS mounts no file of a tmpfs, so the tree is a directory here, made with ordinary system calls.
    with_own_mounts(|| {
        let directory = TempDir::new().unwrap();
        let none = None::<&str>;
        mount(Some("tmpfs"), directory.path(), Some("tmpfs"), MsFlags::empty(), none).unwrap();
        fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o755)).unwrap();
        every_case_ends_as_it_must(directory.path(), "stubs");
        umount2(directory.path(), MntFlags::MNT_DETACH).unwrap();
    });
}

#[test]
fn an_archive_cut_at_any_block_leaves_nothing() {
    let world = World::new(Path::new(env!("CARGO_TARGET_TMPDIR")));
    let before = world.outside();
    let tar = Tar::image()
        .file("rootfs/a", &noise(20_000))
        .symlink("rootfs/s", "a")
        .end();
    for cut in (0..tar.len()).step_by(512) {
        let error = world.store.stage(&tar[..cut]).err().unwrap();
        assert!(told(&error).contains("truncated"), "cut at {cut}: {}", told(&error));
    }
    assert_eq!(world.outside(), before);
    assert_eq!(fs::read_dir(world.store.root().join("objects")).unwrap().count(), 0);
    world.take_in(&tar).unwrap();
}

#[test]
fn memory_stays_bounded() {
    let directory = TempDir::new_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    heavy::assert_memory_stays_bounded(directory.path(), "in_a_process_of_its_own", 64);
}

#[test]
#[ignore = "`memory_stays_bounded` runs it in a process of its own"]
fn in_a_process_of_its_own() {
    heavy::read_and_tell(|archive| {
        let directory = TempDir::new_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
        let store = Store::open(directory.path()).unwrap();
        store.stage(archive).map(drop).map_err(|error| told(&error))
    });
}
