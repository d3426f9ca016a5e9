//! Keeping a store small and sound: removal, collection, limits, pins, and what `fsck` finds and puts right.

#![allow(clippy::unwrap_used)]

use std::{
    fs::{self, File, FileTimes},
    io::{self, Read},
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    thread,
    time::{Duration, SystemTime},
};

use dhow_image::{BuildOptions, Compression, Dependency, ImageId, ImageManifest, Labels, Name, build};
use dhow_store::{
    Dependents, Effect, FsckOptions, FsckReport, GcOptions, ImageGcOptions, Outcome, Repair, Standing, Store,
    StoreError, Thoroughness, User,
};
use serde_json::json;
use tempfile::TempDir;

struct World {
    directory: TempDir,
    store: Store,
}

impl World {
    fn new() -> Self {
        let directory = TempDir::new_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
        let store = Store::open(&directory.path().join("store")).unwrap();
        Self { directory, store }
    }

    fn path(&self, beneath: &str) -> PathBuf {
        self.store.root().join(beneath)
    }

    fn archive(&self, manifest: &ImageManifest, files: &[(&str, &str)]) -> Vec<u8> {
        let rootfs = tempfile::tempdir_in(&self.directory).unwrap();
        for (path, content) in files {
            let path = rootfs.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, large(content)).unwrap();
        }
        let mut archive = Vec::new();
        let options = BuildOptions {
            compression: Compression::None,
            source_date_epoch: Some(1_000_000),
            ..BuildOptions::default()
        };
        build(manifest, rootfs.path(), &options, &mut archive).unwrap();
        archive
    }

    fn commit(&self, archive: &[u8]) -> ImageId {
        let staged = self.store.stage(archive).unwrap();
        staged
            .commit(&json!({"reference": "here"}), Standing::Verified)
            .unwrap()
    }

    fn add(&self, manifest: &ImageManifest, files: &[(&str, &str)]) -> ImageId {
        self.commit(&self.archive(manifest, files))
    }

    fn objects(&self) -> Vec<PathBuf> {
        let mut objects = Vec::new();
        for fan in fs::read_dir(self.path("objects")).unwrap() {
            let fan = fs::read_dir(fan.unwrap().path()).unwrap();
            objects.extend(fan.map(|entry| entry.unwrap().path()));
        }
        objects.sort();
        objects
    }

    /// The object that has this content.
    fn object(&self, content: &str) -> PathBuf {
        let content = large(content);
        let is = |path: &PathBuf| fs::read(path).unwrap() == content;
        self.objects().into_iter().find(is).unwrap()
    }

    fn collect(&self) -> dhow_store::GcReport {
        self.store.collect(&now()).unwrap()
    }

    fn fsck(&self, repair: Repair) -> FsckReport {
        let options = FsckOptions {
            repair,
            ..FsckOptions::default()
        };
        self.store.fsck(&options).unwrap()
    }

    fn export(&self, id: &ImageId) -> io::Result<Vec<u8>> {
        let mut tar = Vec::new();
        self.store.export(id).unwrap().read_to_end(&mut tar)?;
        Ok(tar)
    }

    fn used(&self, id: &ImageId, hours_ago: u64) {
        let time = SystemTime::now() - Duration::from_hours(hours_ago);
        for name in ["used", "recipe"] {
            let path = self.path(&format!("images/{id}/{name}"));
            let file = File::options().create(true).append(true).open(path).unwrap();
            file.set_times(FileTimes::new().set_modified(time)).unwrap();
        }
    }
}

/// A content that is an object, whatever is kept in recipes.
fn large(content: &str) -> Vec<u8> {
    content.repeat(20_000 / content.len() + 1).into_bytes()
}

fn now() -> GcOptions {
    GcOptions {
        grace: Duration::ZERO,
        ..GcOptions::default()
    }
}

fn manifest(name: &str) -> ImageManifest {
    ImageManifest::new(Name::new(name).unwrap())
}

fn version(name: &str, version: &str) -> ImageManifest {
    let mut manifest = manifest(name);
    let label = dhow_image::Label {
        name: Name::new("version").unwrap(),
        value: version.to_owned(),
    };
    manifest.labels = vec![label].try_into().unwrap();
    manifest
}

fn on(base: &str, mut manifest: ImageManifest) -> ImageManifest {
    let base = Dependency::new(Name::new(base).unwrap());
    manifest.dependencies.push(base);
    manifest
}

#[test]
fn what_no_image_names_is_collected_and_what_one_does_is_not() {
    let world = World::new();
    let a = world.add(&manifest("example.com/a"), &[("x", "shared"), ("y", "only a")]);
    let b = world.add(&manifest("example.com/b"), &[("x", "shared"), ("y", "only b")]);
    world.store.rootfs(&a).unwrap();
    let tar = world.export(&b).unwrap();
    assert_eq!(world.collect().freed().number, 0, "everything is needed");

    world.store.remove(&[a], Dependents::Protected).unwrap();
    assert!(!world.store.contains(&a));
    assert_eq!(world.store.images().unwrap().len(), 1);
    assert_eq!(world.objects().len(), 3, "removal leaves objects to the collection");
    let young = world.store.collect(&GcOptions::default()).unwrap();
    assert_eq!(young.freed().number, 0, "young things are left: {young:?}");
    let told = world.store.collect(&GcOptions {
        effect: Effect::Report,
        ..now()
    });
    assert_eq!(world.objects().len(), 3);

    let report = world.collect();
    assert_eq!(told.unwrap(), report, "what is told is what is done");
    assert_eq!((report.objects.number, report.trees.number > 0), (1, true));
    assert_eq!(world.objects().len(), 2);
    assert_eq!(fs::read_dir(world.path("trees")).unwrap().count(), 0);
    assert_eq!(world.export(&b).unwrap(), tar);
    assert!(world.fsck(Repair::No).problems.is_empty());
    assert!(matches!(
        world.store.remove(&[a], Dependents::Protected),
        Err(StoreError::NotFound { .. })
    ));
}

#[test]
fn a_collection_waits_for_an_image_that_is_on_its_way_in_and_says_if_that_takes_too_long() {
    let world = World::new();
    let archive = world.archive(&manifest("example.com/a"), &[("x", "content")]);
    let id = world.commit(&archive);
    world.store.remove(&[id], Dependents::Protected).unwrap();

    // The object is there and needed by nobody but by this one, which does not write it again.
    let staged = world.store.stage(archive.as_slice()).unwrap();
    let impatient = GcOptions {
        patience: Duration::from_millis(30),
        ..now()
    };
    assert!(matches!(world.store.collect(&impatient), Err(StoreError::Busy { .. })));
    thread::scope(|scope| {
        let collection = scope.spawn(|| world.collect());
        thread::sleep(Duration::from_millis(100));
        staged.commit(&json!({}), Standing::Verified).unwrap();
        assert_eq!(collection.join().unwrap().objects.number, 0);
    });
    assert_eq!(world.export(&id).unwrap(), archive);
}

#[test]
fn images_come_and_go_while_objects_are_collected() {
    let world = World::new();
    let archives: Vec<_> = (0..4)
        .map(|number| {
            let own = format!("own {number}");
            world.archive(
                &manifest(&format!("example.com/{number}")),
                &[("a", "shared"), ("b", "more shared"), ("c", &own)],
            )
        })
        .collect();
    let end = std::time::Instant::now() + Duration::from_secs(3);
    let rounds = std::sync::atomic::AtomicUsize::new(0);
    thread::scope(|scope| {
        for archive in &archives {
            let (root, rounds) = (world.store.root(), &rounds);
            scope.spawn(move || {
                let store = Store::open(root).unwrap();
                while std::time::Instant::now() < end {
                    let staged = store.stage(archive.as_slice()).unwrap();
                    let id = staged.commit(&json!({}), Standing::Verified).unwrap();
                    let mut tar = Vec::new();
                    store.export(&id).unwrap().read_to_end(&mut tar).unwrap();
                    assert_eq!(tar, *archive);
                    store.remove(&[id], Dependents::Protected).unwrap();
                    rounds.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
                }
            });
        }
        scope.spawn(|| {
            let store = Store::open(world.store.root()).unwrap();
            while std::time::Instant::now() < end {
                store.collect(&now()).unwrap();
            }
        });
    });
    assert!(rounds.into_inner() > 20, "somebody starved");
    world.collect();
    assert_eq!(world.objects().len(), 0);
    assert_eq!(fs::read_dir(world.store.tmp_dir()).unwrap().count(), 0);
}

#[test]
fn what_somebody_needs_is_not_removed() {
    let world = World::new();
    let base = world.add(&manifest("example.com/base"), &[("x", "base")]);
    let app = world.add(&on("example.com/base", manifest("example.com/app")), &[("y", "app")]);

    let error = world.store.remove(&[base], Dependents::Protected).unwrap_err();
    assert!(
        error.to_string().contains("is needed by image `example.com/app"),
        "{error}"
    );

    world.store.pin("web", &[app]).unwrap();
    let error = world.store.remove(&[base, app], Dependents::Protected).unwrap_err();
    assert!(
        matches!(&error, StoreError::InUse { users, .. } if *users == [User::Pin("web".to_owned())]),
        "{error}"
    );
    assert!(world.store.unpin("web").unwrap());
    assert!(!world.store.unpin("web").unwrap());
    assert!(matches!(
        world.store.pin("../web", &[app]),
        Err(StoreError::PinName { .. })
    ));

    // A pod that nobody can read may need anything.
    let pod = world.path("pods/00000000-0000-4000-8000-000000000000");
    fs::create_dir_all(&pod).unwrap();
    fs::write(pod.join("pod"), "{").unwrap();
    let error = world.store.remove(&[app], Dependents::Protected).unwrap_err();
    assert!(error.to_string().contains("pod `00000000-"), "{error}");
    assert!(world.store.contains(&app));
    fs::write(pod.join("garbage"), "").unwrap();

    world.store.remove(&[base], Dependents::LeftBehind).unwrap();
    assert!(matches!(
        world.store.rootfs(&app),
        Err(StoreError::MissingDependency { .. })
    ));
    world.store.remove(&[app], Dependents::Protected).unwrap();
    assert!(matches!(
        world.store.pin("web", &[app]),
        Err(StoreError::NotFound { .. })
    ));
    assert!(world.store.pins().unwrap().is_empty(), "a pin of nothing is none");
}

#[test]
fn what_is_mounted_is_not_removed() {
    let world = World::new();
    let a = world.add(&manifest("example.com/a"), &[("x", "a")]);
    let b = world.add(&manifest("example.com/b"), &[("x", "b")]);
    let place = Path::new("/mnt/here");
    world.store.pin_mounted(place, &a).unwrap();
    world.store.pin_mounted(place, &b).unwrap();
    // An earlier run of the machine had this one mounted.
    let ended = world.path("pins/mounted-0e7a1c5e-5b1f-4a55-8f0d-8f3b8a3b8f10-0123456789abcdef");
    fs::write(&ended, format!("{a}\n")).unwrap();
    let all = ImageGcOptions {
        unused_for: Duration::ZERO,
        only_superseded: false,
        effect: Effect::Remove,
    };
    assert!(world.store.collect_images(&all).unwrap().is_empty());
    assert!(!ended.exists(), "what has ended holds nothing");
    let refused = world.store.remove(&[a], Dependents::Protected);
    assert!(matches!(refused, Err(StoreError::InUse { .. })), "{refused:?}");
    world.store.unpin_mounted(place).unwrap();
    assert_eq!(world.store.collect_images(&all).unwrap().len(), 2);
    assert!(world.store.pins().unwrap().is_empty());

    let c = world.add(&manifest("example.com/c"), &[("x", "c")]);
    fs::write(&ended, format!("{c}\n")).unwrap();
    world.store.remove(&[c], Dependents::Protected).unwrap();
}

#[test]
fn blobs_that_no_fetch_uses_go() {
    let world = World::new();
    let blobs = world.path("blobs/sha256");
    fs::create_dir_all(&blobs).unwrap();
    for (name, age) in [("00", 0), ("11", 7200)] {
        fs::write(blobs.join(name), vec![1; 5000]).unwrap();
        let file = fs::File::options().write(true).open(blobs.join(name)).unwrap();
        file.set_modified(SystemTime::now() - Duration::from_secs(age)).unwrap();
    }
    let report = world.collect();
    assert_eq!((report.blobs.number, report.blobs.bytes > 0), (1, true));
    assert!(blobs.join("00").exists(), "a fetch may be using it");
    assert!(!blobs.join("11").exists());
}

#[test]
fn images_that_nobody_uses_go() {
    let world = World::new();
    let old = world.add(&version("example.com/a", "1.0.0"), &[("x", "one")]);
    let new = world.add(&version("example.com/a", "2.0.0"), &[("x", "two")]);
    let base = world.add(&manifest("example.com/base"), &[("x", "base")]);
    let app = world.add(&on("example.com/base", manifest("example.com/app")), &[("y", "app")]);
    for id in [&old, &new, &base] {
        world.used(id, 48);
    }
    let options = ImageGcOptions {
        unused_for: Duration::from_hours(24),
        only_superseded: true,
        effect: Effect::Report,
    };
    let ids = |options: &ImageGcOptions| -> Vec<ImageId> {
        let images = world.store.collect_images(options).unwrap();
        images.into_iter().map(|image| image.id).collect()
    };
    assert_eq!(ids(&options), [old]);
    let all = ImageGcOptions {
        only_superseded: false,
        ..options
    };
    assert_eq!(ids(&all).len(), 2, "the base is needed by what was used");
    // Whoever exports an image uses it.
    world.export(&old).unwrap();
    let remove = ImageGcOptions {
        effect: Effect::Remove,
        ..all
    };
    assert_eq!(ids(&remove), [new]);
    assert!(world.store.contains(&old) && world.store.contains(&base) && world.store.contains(&app));
    // The index does not know when an image was used, so losing it loses nothing of that.
    world.store.rebuild_index().unwrap();
    assert_eq!(ids(&remove), []);
}

#[test]
fn a_limit_costs_the_least_recently_used() {
    let world = World::new();
    let ids: Vec<_> = (0..4)
        .map(|number| {
            let own = format!("own {number}");
            let id = world.add(
                &manifest(&format!("example.com/{number}")),
                &[("a", "shared"), ("b", &own)],
            );
            world.used(&id, 10 + number);
            id
        })
        .collect();
    world.store.pin("kept", &[ids[3]]).unwrap();
    let usage = world.store.usage().unwrap();
    assert_eq!((usage.images.number, usage.objects.number), (4, 5));
    assert!(usage.shared >= 3 * 20_000, "{usage:?}");
    assert_eq!(usage.collectable.unwrap().number, 0);

    let limited = GcOptions {
        max_size: Some(usage.total() - 1),
        ..GcOptions::default()
    };
    let told = world
        .store
        .collect(&GcOptions {
            effect: Effect::Report,
            ..limited
        })
        .unwrap();
    let report = world.store.collect(&limited).unwrap();
    let gone: Vec<_> = report.images.iter().map(|image| image.id).collect();
    assert_eq!(gone, [ids[2]], "the oldest that is not pinned goes");
    assert_eq!((told, report.objects.number, report.excess), (report.clone(), 1, 0));
    assert!(world.store.usage().unwrap().total() < usage.total());

    let report = world
        .store
        .collect(&GcOptions {
            max_size: Some(0),
            ..GcOptions::default()
        })
        .unwrap();
    assert_eq!(report.images.len(), 2);
    assert!(report.excess > 0, "the pinned image is more than nothing");
    assert!(world.export(&ids[3]).is_ok());
}

/// Changes the byte in the middle of a file, whatever its mode.
fn flip(path: &Path) {
    let mut bytes = fs::read(path).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 0x20;
    fs::remove_file(path).unwrap();
    fs::write(path, bytes).unwrap();
}

#[test]
fn every_kind_of_damage_is_found_and_put_right_or_named() {
    type Damage = fn(&World, &ImageId);
    /// What is done, what the report must say of it, and whether the image is lost.
    const CASES: [(&str, Damage, &str, bool); 11] = [
        (
            "an object flipped",
            |world, _| flip(&world.object("own")),
            "holds something else",
            true,
        ),
        (
            "an object cut short",
            |world, _| {
                let path = world.object("own");
                let file = File::options().write(true).open(path).unwrap();
                file.set_len(100).unwrap();
            },
            "needs the object",
            true,
        ),
        (
            "an object missing",
            |world, _| fs::remove_file(world.object("own")).unwrap(),
            "is missing",
            true,
        ),
        (
            "a recipe flipped",
            |world, id| flip(&world.path(&format!("images/{id}/recipe"))),
            "recipe` ",
            true,
        ),
        (
            "a recipe missing",
            |world, id| fs::remove_file(world.path(&format!("images/{id}/recipe"))).unwrap(),
            "recipe` cannot be read",
            true,
        ),
        (
            "a recipe of another image",
            |world, id| {
                let other = world.add(&manifest("example.com/other"), &[("x", "other")]);
                let from = world.path(&format!("images/{other}/recipe"));
                fs::copy(from, world.path(&format!("images/{id}/recipe"))).unwrap();
            },
            "that of another image",
            true,
        ),
        (
            "a provenance that is no JSON",
            |world, id| fs::write(world.path(&format!("images/{id}/provenance.json")), "{").unwrap(),
            "provenance.json` cannot be read",
            true,
        ),
        (
            "another manifest",
            |world, id| {
                let other = manifest("example.com/evil").to_json().unwrap();
                fs::write(world.path(&format!("images/{id}/manifest")), other).unwrap();
            },
            "is not the manifest in the image",
            false,
        ),
        (
            "stray files",
            |world, _| {
                fs::write(world.path("objects/README"), "").unwrap();
                fs::write(world.path("images/README"), "").unwrap();
                fs::write(world.path("trees/README"), "").unwrap();
            },
            "`trees/README` is no tree",
            false,
        ),
        (
            "trees flipped",
            |world, _| {
                for tree in fs::read_dir(world.path("trees")).unwrap() {
                    let tree = tree.unwrap().path();
                    match tree.is_file() {
                        true => flip(&tree),
                        false => fs::write(tree.join("stranger"), "").unwrap(),
                    }
                }
            },
            "trees/sha512-",
            false,
        ),
        (
            "an index that tells another name",
            |world, _| {
                let index = rusqlite::Connection::open(world.path("index.db")).unwrap();
                index.execute("UPDATE image SET name = 'example.com/b'", []).unwrap();
            },
            "has another name in its files",
            false,
        ),
    ];
    for (what, damage, says, is_lost) in CASES {
        let world = World::new();
        let archive = world.archive(&manifest("example.com/a"), &[("x", "own"), ("y", "more")]);
        let id = world.commit(&archive);
        world.store.rootfs(&id).unwrap();
        assert!(world.fsck(Repair::No).problems.is_empty());

        damage(&world, &id);
        let report = world.fsck(Repair::No);
        let said: Vec<_> = report
            .problems
            .iter()
            .map(|problem| format!("`{}` {}", problem.path.display(), problem.problem))
            .collect();
        assert!(said.join("\n").contains(says), "{what}: {said:#?}");
        assert_eq!(
            report.lost.iter().any(|lost| lost.id == id),
            is_lost,
            "{what}: {report:?}"
        );
        assert!(world.store.contains(&id), "{what}: looking changes nothing");

        let repaired = world.fsck(Repair::Yes);
        assert_eq!(repaired.problems.len(), report.problems.len(), "{what}");
        assert!(
            repaired
                .problems
                .iter()
                .all(|problem| problem.outcome != Outcome::Found)
        );
        assert_eq!(world.store.contains(&id), !is_lost, "{what}");
        let after = world.fsck(Repair::No);
        assert!(after.problems.is_empty(), "{what}: {after:?}");
        if is_lost {
            let lost = repaired.lost.iter().find(|lost| lost.id == id).unwrap();
            assert_eq!(lost.name.as_ref().unwrap().as_str(), "example.com/a", "{what}");
            if !what.contains("provenance") {
                assert_eq!(lost.reference.as_deref(), Some("here"), "{what}");
            }
            assert!(world.path(&format!("quarantine/{id}")).is_dir(), "{what}");
            assert_eq!(world.commit(&archive), id, "{what}");
            world.collect();
            assert!(!world.path(&format!("quarantine/{id}")).exists(), "{what}: it is back");
        }
        assert_eq!(world.export(&id).unwrap(), archive, "{what}");
        let found = world.store.find(
            &Name::new("example.com/a").unwrap(),
            &Labels::default(),
            Standing::Verified,
        );
        assert_eq!(found.unwrap(), Some(id), "{what}");
        world.store.rootfs(&id).unwrap();
        assert!(world.fsck(Repair::No).problems.is_empty(), "{what}");
    }
}

#[test]
fn a_quick_look_finds_what_is_missing_or_cut_short() {
    let world = World::new();
    world.add(&manifest("example.com/a"), &[("x", "own"), ("y", "more")]);
    let quick = FsckOptions {
        thoroughness: Thoroughness::Quick,
        ..FsckOptions::default()
    };
    flip(&world.object("own"));
    assert!(world.store.fsck(&quick).unwrap().problems.is_empty());
    assert_eq!(world.fsck(Repair::No).lost.len(), 1);
    fs::remove_file(world.object("more")).unwrap();
    assert_eq!(world.store.fsck(&quick).unwrap().lost.len(), 1);
}

#[test]
fn taking_an_image_in_again_heals_it() {
    let world = World::new();
    let archive = world.archive(&manifest("example.com/a"), &[("x", "own"), ("y", "more")]);
    let id = world.commit(&archive);
    fs::remove_file(world.object("own")).unwrap();
    let cut = File::options().write(true).open(world.object("more")).unwrap();
    cut.set_len(5).unwrap();
    assert!(world.export(&id).is_err());
    assert_eq!(world.commit(&archive), id);
    assert_eq!(world.export(&id).unwrap(), archive);
}

#[test]
fn nothing_is_collected_while_nobody_knows_what_an_image_needs() {
    let world = World::new();
    let a = world.add(&manifest("example.com/a"), &[("x", "own")]);
    let b = world.add(&manifest("example.com/b"), &[("x", "other")]);
    world.store.remove(&[b], Dependents::Protected).unwrap();
    flip(&world.path(&format!("images/{a}/recipe")));
    let error = world.store.collect(&now()).unwrap_err();
    assert!(error.to_string().contains("recipe"), "{error}");
    assert_eq!(world.objects().len(), 2);
    assert_eq!(world.store.usage().unwrap().collectable, None);
}

#[test]
fn an_index_that_is_no_database_is_made_anew() {
    let world = World::new();
    let id = world.add(&manifest("example.com/a"), &[("x", "own")]);
    let World { directory, store } = world;
    let root = store.root().to_owned();
    drop(store);
    for garbage in [&b"no database"[..], &[0x55; 8192]] {
        for name in ["index.db-wal", "index.db-shm"] {
            let _ = fs::remove_file(root.join(name));
        }
        fs::write(root.join("index.db"), garbage).unwrap();
        let store = Store::open(&root).unwrap();
        assert_eq!(store.images().unwrap()[0].id, id);
        assert!(store.fsck(&FsckOptions::default()).unwrap().problems.is_empty());
    }
    drop(directory);
}

#[test]
fn what_a_kill_leaves_in_the_index_is_put_right() {
    let world = World::new();
    let a = world.add(&manifest("example.com/a"), &[("x", "a")]);
    let b = world.add(&manifest("example.com/b"), &[("x", "b")]);
    // One image has its directory and no row, another its row and no directory: as many rows as images.
    let index = rusqlite::Connection::open(world.path("index.db")).unwrap();
    index
        .execute("DELETE FROM image WHERE name = 'example.com/a'", [])
        .unwrap();
    fs::remove_dir_all(world.path(&format!("images/{b}"))).unwrap();
    let store = Store::open(world.store.root()).unwrap();
    let images: Vec<_> = store.images().unwrap().into_iter().map(|image| image.id).collect();
    assert_eq!(images, [a]);
}

#[test]
fn a_store_that_cannot_be_written_is_read() {
    use nix::{
        mount::{MsFlags, mount},
        sched::{CloneFlags, unshare},
    };
    let world = World::new();
    let archive = world.archive(&manifest("example.com/a"), &[("x", "own")]);
    let id = world.commit(&archive);
    let World { directory, store } = world;
    let root = store.root().to_owned();
    drop(store);

    thread::spawn(move || {
        let none = None::<&str>;
        unshare(CloneFlags::CLONE_NEWNS).unwrap();
        mount(none, "/", none, MsFlags::MS_REC | MsFlags::MS_PRIVATE, none).unwrap();
        mount(Some(&root), &root, none, MsFlags::MS_BIND, none).unwrap();
        let read_only = MsFlags::MS_BIND | MsFlags::MS_REMOUNT | MsFlags::MS_RDONLY;
        mount(none, &root, none, read_only, none).unwrap();

        let store = Store::open(&root).unwrap();
        assert!(store.is_read_only());
        assert_eq!(store.images().unwrap()[0].id, id);
        let mut tar = Vec::new();
        store.export(&id).unwrap().read_to_end(&mut tar).unwrap();
        assert_eq!(tar, archive);
        assert!(store.fsck(&FsckOptions::default()).unwrap().problems.is_empty());
        store.usage().unwrap();
        for error in [
            store.stage(archive.as_slice()).map(drop).unwrap_err(),
            store.remove(&[id], Dependents::Protected).unwrap_err(),
            store.collect(&now()).map(drop).unwrap_err(),
            store.pin("web", &[id]).unwrap_err(),
        ] {
            assert!(matches!(error, StoreError::ReadOnly { .. }), "{error}");
        }
    })
    .join()
    .unwrap();
    drop(directory);
}

#[test]
fn what_forbids_its_own_removal_is_removed() {
    let world = World::new();
    let tmp = world.store.tmp_dir();
    let World { directory, store } = world;
    let root = store.root().to_owned();
    drop(store);
    // As a checkout that was killed leaves it; an ordinary user must be able to open the store all the same.
    let inner = tmp.join("tree-x/tree/sealed");
    fs::create_dir_all(&inner).unwrap();
    fs::write(inner.join("file"), "").unwrap();
    fs::set_permissions(&inner, fs::Permissions::from_mode(0o555)).unwrap();
    let owner = nix::unistd::Uid::from_raw(12345);
    fn give(path: &Path, owner: nix::unistd::Uid) {
        nix::unistd::chown(path, Some(owner), None).unwrap();
        if path.is_dir() {
            for entry in fs::read_dir(path).unwrap() {
                give(&entry.unwrap().path(), owner);
            }
        }
    }
    fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o755)).unwrap();
    give(&root, owner);
    let handle = thread::spawn(move || {
        // SAFETY: the system call itself changes the user of this thread alone.
        let changed = unsafe { libc::syscall(libc::SYS_setresuid, 12345, 12345, 12345) };
        assert_eq!(changed, 0);
        Store::open(&root).map(|store| (store.is_read_only(), fs::read_dir(store.tmp_dir()).unwrap().count()))
    });
    assert_eq!(handle.join().unwrap().unwrap(), (false, 0));
    drop(directory);
}
