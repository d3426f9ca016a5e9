//! The store as its callers see it.

use std::{
    collections::BTreeMap,
    fs,
    io::Read,
    os::unix::fs::{MetadataExt, PermissionsExt},
    path::{Path, PathBuf},
};

use dhow_image::{BuildOptions, Compression, Dependency, ImageId, ImageManifest, Labels, Name, build};
use serde_json::json;
use tempfile::TempDir;

use crate::{Standing, Store, StoreError};

/// A store and a place to build images in.
struct World {
    directory: TempDir,
    store: Store,
}

impl World {
    fn new() -> Self {
        let directory = TempDir::new().unwrap();
        let store = Store::open(&directory.path().join("store")).unwrap();
        Self { directory, store }
    }

    /// A root file system with these files.
    fn rootfs(&self, files: &[(&str, &[u8])]) -> PathBuf {
        let rootfs = tempfile::Builder::new().tempdir_in(&self.directory).unwrap().keep();
        for (path, content) in files {
            let path = rootfs.join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, content).unwrap();
        }
        rootfs
    }

    /// The archive of an image, and its tar.
    fn archive(&self, manifest: &ImageManifest, rootfs: &Path) -> (Vec<u8>, Vec<u8>) {
        let packed = |compression| {
            let mut archive = Vec::new();
            let options = BuildOptions {
                compression,
                source_date_epoch: Some(1_000_000),
                ..BuildOptions::default()
            };
            build(manifest, rootfs, &options, &mut archive).unwrap();
            archive
        };
        (packed(Compression::Gzip), packed(Compression::None))
    }

    fn add(&self, manifest: &ImageManifest, files: &[(&str, &[u8])]) -> ImageId {
        let (archive, _) = self.archive(manifest, &self.rootfs(files));
        self.store
            .stage(archive.as_slice())
            .unwrap()
            .commit(&json!({"test": true}), Standing::Verified)
            .unwrap()
    }

    fn objects(&self) -> usize {
        let objects = fs::read_dir(self.store.objects_dir()).unwrap();
        objects
            .map(|fan| fs::read_dir(fan.unwrap().path()).unwrap().count())
            .sum()
    }
}

fn manifest(name: &str) -> ImageManifest {
    ImageManifest::new(Name::new(name).unwrap())
}

/// A content that is an object.
fn large(text: &str) -> Vec<u8> {
    text.repeat(2000).into_bytes()
}

/// Every file of the image's root file system, as the checkout has it.
fn rendered(world: &World, id: &ImageId) -> BTreeMap<String, Vec<u8>> {
    let layers = crate::render::layers(&world.store, id).unwrap();
    let tree = crate::render::render(&world.store, &layers).unwrap();
    let directory = TempDir::new().unwrap();
    let objects = world.store.objects_dir();
    crate::checkout::check_out(
        &tree,
        directory.path(),
        &objects,
        crate::checkout::Contents::Copied,
        crate::checkout::Before::Empty,
    )
    .unwrap();
    let mut files = BTreeMap::new();
    for visit in tree.iter() {
        let path = String::from_utf8(visit.path).unwrap();
        let file = directory.path().join(&path);
        if file.is_file() {
            files.insert(path, fs::read(file).unwrap());
        }
    }
    files
}

#[test]
fn an_image_comes_back_bit_for_bit() {
    let world = World::new();
    let rootfs = world.rootfs(&[
        ("bin/a", &large("a")),
        ("big", &vec![7; 3 << 20]),
        ("empty", b""),
        ("same", &large("a")),
        ("small", b"small"),
        ("largest-small", &[1; 1024]),
        ("smallest-large", &[1; 1025]),
    ]);
    fs::hard_link(rootfs.join("bin/a"), rootfs.join("linked")).unwrap();
    std::os::unix::fs::symlink("bin/a", rootfs.join("soft")).unwrap();
    let (archive, tar) = world.archive(&manifest("example.com/a"), &rootfs);

    let id = world
        .store
        .stage(archive.as_slice())
        .unwrap()
        .commit(&json!({"from": "here"}), Standing::Verified)
        .unwrap();
    assert_eq!(
        world.objects(),
        3,
        "`a` is stored once, small files and empty ones not at all"
    );
    let mut exported = Vec::new();
    world.store.export(&id).unwrap().read_to_end(&mut exported).unwrap();
    assert_eq!(exported, tar);
    assert_eq!(world.store.provenance(&id).unwrap(), json!({"from": "here"}));
    assert_eq!(world.store.manifest(&id).unwrap(), manifest("example.com/a"));
}

#[test]
fn what_is_not_committed_was_never_there() {
    let world = World::new();
    let (archive, _) = world.archive(&manifest("example.com/a"), &world.rootfs(&[("a", b"content")]));
    let staged = world.store.stage(archive.as_slice()).unwrap();
    let id = *staged.id();
    assert!(!world.store.contains(&id));
    drop(staged);
    for length in [0, 10, archive.len() / 2, archive.len() - 1] {
        assert!(
            matches!(world.store.stage(&archive[..length]), Err(StoreError::Archive(_))),
            "{length}"
        );
    }
    assert_eq!(world.objects(), 0);
    assert!(world.store.images().unwrap().is_empty());
    assert_eq!(fs::read_dir(world.store.tmp_dir()).unwrap().count(), 0);
}

#[test]
fn a_second_image_shares_what_it_can() {
    let world = World::new();
    let (shared, one, two) = (large("shared"), large("one"), large("two"));
    world.add(&manifest("example.com/a"), &[("x", &shared), ("y", &one)]);
    world.add(&manifest("example.com/b"), &[("z/w", &shared), ("y", &two)]);
    assert_eq!(world.objects(), 3);
    let names: Vec<_> = world
        .store
        .images()
        .unwrap()
        .into_iter()
        .map(|image| image.name.to_string())
        .collect();
    assert_eq!(names, ["example.com/a", "example.com/b"]);
}

#[test]
fn a_damaged_object_is_named_and_not_given_out_as_whole() {
    let world = World::new();
    let id = world.add(
        &manifest("example.com/a"),
        &[("x", &large("content")), ("y", &large("other"))],
    );
    let mut objects: Vec<PathBuf> = Vec::new();
    for fan in fs::read_dir(world.store.objects_dir()).unwrap() {
        objects.extend(
            fs::read_dir(fan.unwrap().path())
                .unwrap()
                .map(|entry| entry.unwrap().path()),
        );
    }
    for object in objects {
        let whole = fs::read(&object).unwrap();
        let mut changed = whole.clone();
        changed[5000] ^= 1;
        fs::set_permissions(&object, fs::Permissions::from_mode(0o644)).unwrap();
        for (content, problem) in [
            (Some(changed), "has another content than its name says"),
            (Some(whole[1..].to_vec()), "bytes instead of"),
            (None, "is missing"),
        ] {
            match content {
                Some(content) => fs::write(&object, content).unwrap(),
                None => fs::remove_file(&object).unwrap(),
            }
            for mut export in [
                world.store.export(&id).unwrap(),
                world.store.export_range(&id, 0..u64::MAX).unwrap(),
            ] {
                let error = export.read_to_end(&mut Vec::new()).unwrap_err().to_string();
                let expected = format!("the store is damaged: `{}` ", object.display());
                assert!(error.starts_with(&expected) && error.contains(problem), "{error}");
            }
        }
        fs::write(&object, whole).unwrap();
    }
    world.store.export(&id).unwrap().read_to_end(&mut Vec::new()).unwrap();
}

#[test]
fn a_damaged_recipe_is_named() {
    let world = World::new();
    let [id, other] = ["a", "b"].map(|name| world.add(&manifest(name), &[("x", name.as_bytes())]));
    let recipe = |id: &ImageId| world.store.image_dir(id).unwrap().recipe_path();
    let export = || -> Result<(), Box<dyn std::error::Error>> {
        world.store.export(&id)?.read_to_end(&mut Vec::new())?;
        Ok(())
    };
    let whole = fs::read(recipe(&id)).unwrap();
    for (content, problem) in [
        (whole[..whole.len() - 10].to_vec(), "cannot be read"),
        (fs::read(recipe(&other)).unwrap(), "is that of"),
        // The head of the one and the records of the other.
        (
            [&whole[..86], &fs::read(recipe(&other)).unwrap()[86..]].concat(),
            "rebuilds `sha512-",
        ),
    ] {
        fs::write(recipe(&id), content).unwrap();
        let error = export().unwrap_err().to_string();
        let expected = format!("the store is damaged: `{}` {problem}", recipe(&id).display());
        assert!(error.starts_with(&expected), "{error}");
    }
}

#[test]
fn any_range_of_the_tar_is_given_and_nothing_else_is_opened() {
    let world = World::new();
    let noise: Vec<u8> = (0..3_000_000_u32)
        .map(|number| (number.wrapping_mul(2_654_435_761) >> 13) as u8)
        .collect();
    let files: [(&str, &[u8]); 4] = [("a", &large("a")), ("b", b"small"), ("c", &noise), ("d", &large("d"))];
    let (archive, tar) = world.archive(&manifest("example.com/a"), &world.rootfs(&files));
    let staged = world.store.stage(archive.as_slice()).unwrap();
    let id = staged.commit(&json!(null), Standing::Verified).unwrap();
    let part = |range: std::ops::Range<u64>| {
        let mut part = Vec::new();
        world
            .store
            .export_range(&id, range)
            .unwrap()
            .read_to_end(&mut part)
            .unwrap();
        part
    };
    let mut random = 1_u64;
    for _ in 0..60 {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        let start = (random >> 20) as usize % tar.len();
        let length = (random >> 45) as usize % if random & 1 == 0 { 3000 } else { 1_000_000 };
        let end = (start + length).min(tar.len());
        assert!(
            part(start as u64..(start + length) as u64) == tar[start..end],
            "{start}+{length}"
        );
    }
    assert_eq!(part(0..u64::MAX), tar);
    assert_eq!(part(tar.len() as u64..u64::MAX), b"");
    assert_eq!(world.store.export(&id).unwrap().tar_size(), tar.len() as u64);

    fs::remove_dir_all(world.store.objects_dir()).unwrap();
    assert_eq!(part(0..1000), tar[..1000]);
    let after_objects = tar.len() - 1024;
    assert_eq!(part(after_objects as u64..u64::MAX), tar[after_objects..]);
}

#[test]
fn the_index_is_made_anew_from_the_files() {
    let World { directory, store } = World::new();
    let world = World { directory, store };
    let id = world.add(&manifest("example.com/a"), &[("x", b"content")]);
    let before = world.store.images().unwrap();
    let World { directory, store } = world;
    drop(store);
    let index = directory.path().join("store/index.db");
    let whole = fs::read(&index).unwrap();
    let noise = b"this is no database, however long it is".repeat(100);
    // Past the header, so that only reading a table shows it.
    let torn = [&whole[..2000], &vec![0xee; whole.len() - 2000]].concat();
    for damage in [None, Some(noise), Some(torn)] {
        match damage {
            None => fs::remove_file(&index).unwrap(),
            Some(bytes) => fs::write(&index, bytes).unwrap(),
        }
        let store = Store::open(&directory.path().join("store")).unwrap();
        let after = store.images().unwrap();
        assert_eq!(
            (after[0].id, &after[0].name, after[0].tar_size),
            (id, &before[0].name, before[0].tar_size)
        );
    }
}

#[test]
fn one_damaged_image_does_not_shut_out_the_others() {
    let world = World::new();
    let damaged = world.add(&manifest("example.com/a"), &[("x", b"1")]);
    let good = world.add(&manifest("example.com/b"), &[("x", b"2")]);
    let World { directory, store } = world;
    drop(store);
    let root = directory.path().join("store");
    fs::remove_file(root.join("images").join(damaged.to_string()).join("manifest")).unwrap();
    fs::remove_file(root.join("index.db")).unwrap();
    let store = Store::open(&root).unwrap();
    let listed: Vec<_> = store.images().unwrap().into_iter().map(|image| image.id).collect();
    assert_eq!(listed, [good]);
    assert!(store.manifest(&damaged).is_err());
}

#[test]
fn prefixes_and_labels_find_images() {
    let world = World::new();
    let mut versioned = manifest("example.com/a");
    versioned.labels.insert(Name::new("version").unwrap(), "1").unwrap();
    let id = world.add(&versioned, &[("x", b"content")]);
    assert_eq!(world.store.resolve(&id.short().parse().unwrap()).unwrap(), id);
    let absent = "sha512-000000000000".parse().unwrap();
    assert!(matches!(world.store.resolve(&absent), Err(StoreError::NotFound { .. })));
    let name = Name::new("example.com/a").unwrap();
    assert_eq!(
        world.store.find(&name, &versioned.labels, Standing::Verified).unwrap(),
        Some(id)
    );
    let mut other = dhow_image::Labels::default();
    other.insert(Name::new("version").unwrap(), "2").unwrap();
    assert_eq!(world.store.find(&name, &other, Standing::Unverified).unwrap(), None);
}

fn depends_on(mut image: ImageManifest, names: &[&str]) -> ImageManifest {
    for name in names {
        let dependency: Dependency = serde_json::from_value(json!({ "imageName": name })).unwrap();
        image.dependencies.push(dependency);
    }
    image
}

#[test]
fn later_dependencies_and_the_image_itself_override() {
    // The example of ace.md: A → [B, C], C → [D]: the order is B, D, C, A.
    let world = World::new();
    world.add(
        &manifest("b"),
        &[("b", b"b"), ("bd", b"b"), ("bc", b"b"), ("all", b"b")],
    );
    world.add(&manifest("d"), &[("bd", b"d"), ("cd", b"d"), ("all", b"d")]);
    world.add(
        &depends_on(manifest("c"), &["d"]),
        &[("cd", b"c"), ("bc", b"c"), ("all", b"c")],
    );
    let a = world.add(&depends_on(manifest("a"), &["b", "c"]), &[("all", b"a")]);
    let files: Vec<_> = rendered(&world, &a)
        .into_iter()
        .map(|(path, content)| (path, content[0] as char))
        .collect();
    let expected = [("all", 'a'), ("b", 'b'), ("bc", 'c'), ("bd", 'd'), ("cd", 'c')];
    assert_eq!(files, expected.map(|(path, content)| (path.to_owned(), content)));
}

#[test]
fn whitelists_of_image_and_ancestors_both_count() {
    let world = World::new();
    let mut base = manifest("base");
    base.path_whitelist = vec!["/etc/kept".into(), "/etc/dropped-above".into()];
    world.add(
        &base,
        &[
            ("etc/kept", b"1"),
            ("etc/dropped-above", b"2"),
            ("etc/dropped-here", b"3"),
        ],
    );
    let mut app = depends_on(manifest("app"), &["base"]);
    app.path_whitelist = vec!["/etc/kept".into(), "/bin/app".into()];
    let id = world.add(&app, &[("bin/app", b"4"), ("etc/dropped-here", b"5")]);
    let paths: Vec<_> = rendered(&world, &id).into_keys().collect();
    assert_eq!(paths, ["bin/app", "etc/kept"]);
}

#[test]
fn missing_and_circular_dependencies_are_named() {
    let world = World::new();
    let a = world.add(&depends_on(manifest("a"), &["b"]), &[]);
    let missing = world.store.rootfs(&a).unwrap_err().to_string();
    assert_eq!(missing, "`b`, on which `a` depends, is not in the store");
    world.add(&depends_on(manifest("b"), &["a"]), &[]);
    let circle = world.store.rootfs(&a).unwrap_err().to_string();
    assert_eq!(circle, "images depend on each other in a circle: a → b → a");
}

#[test]
fn every_way_of_rendering_mounts_the_same_files() {
    let world = World::new();
    let rootfs = world.rootfs(&[("bin/tool", b"#!/bin/sh\n"), ("etc/conf", b"x=1\n"), ("empty", b"")]);
    fs::set_permissions(rootfs.join("bin/tool"), fs::Permissions::from_mode(0o4755)).unwrap();
    fs::set_permissions(&rootfs, fs::Permissions::from_mode(0o2751)).unwrap();
    let (archive, _) = world.archive(&manifest("example.com/a"), &rootfs);
    let id = world
        .store
        .stage(archive.as_slice())
        .unwrap()
        .commit(&json!(null), Standing::Verified)
        .unwrap();
    let ways = crate::rootfs::every_way(&world.store, &id);
    assert_eq!(ways.len(), 3);
    // In a thread with a mount namespace of its own, the mounts go when it does.
    std::thread::scope(|scope| {
        let outcome = scope.spawn(|| {
            use nix::{
                mount::{MsFlags, mount},
                sched::{CloneFlags, unshare},
            };
            unshare(CloneFlags::CLONE_FS | CloneFlags::CLONE_NEWNS).unwrap();
            let none = None::<&str>;
            mount(none, "/", none, MsFlags::MS_REC | MsFlags::MS_PRIVATE, none).unwrap();
            for (number, rootfs) in ways.iter().enumerate() {
                let at = |name: &str| {
                    let path = world.directory.path().join(format!("{name}{number}"));
                    fs::create_dir(&path).unwrap();
                    path
                };
                let (target, upper, work, read_only) = (at("target"), at("upper"), at("work"), at("read-only"));
                rootfs.mount(&target, Some(&upper), Some(&work)).unwrap();
                let way = rootfs.describe();
                assert_eq!(fs::metadata(&target).unwrap().mode() & 0o7777, 0o2751, "{way}");
                assert_eq!(fs::read(target.join("etc/conf")).unwrap(), b"x=1\n", "{way}");
                assert_eq!(
                    fs::metadata(target.join("bin/tool")).unwrap().mode() & 0o7777,
                    0o4755,
                    "{way}"
                );
                assert_eq!(
                    fs::metadata(target.join("bin/tool")).unwrap().mtime(),
                    1_000_000,
                    "{way}"
                );
                fs::write(target.join("etc/conf"), b"changed").unwrap();
                fs::remove_file(target.join("empty")).unwrap();
                rootfs.mount(&read_only, None, None).unwrap();
                assert_eq!(
                    fs::read(read_only.join("etc/conf")).unwrap(),
                    b"x=1\n",
                    "{way}: the store is as it was"
                );
                assert!(fs::write(read_only.join("etc/conf"), b"no").is_err(), "{way}");
            }
        });
        outcome.join().unwrap();
    });
}

#[test]
fn a_reference_without_version_means_the_highest() {
    let world = World::new();
    let ids = ["1.10.0", "1.9.0", "2.0.0-rc.1", "nightly"].map(|version| {
        let mut image = manifest("example.com/a");
        image.labels.insert(Name::new("version").unwrap(), version).unwrap();
        world.add(&image, &[("version", version.as_bytes())])
    });
    let found = world.store.find(
        &Name::new("example.com/a").unwrap(),
        &Labels::default(),
        Standing::Verified,
    );
    assert_eq!(found.unwrap(), Some(ids[0]));
}

#[test]
fn a_verified_image_gets_no_files_that_nobody_vouches_for() {
    let world = World::new();
    let good = world.add(&manifest("base"), &[("file", b"good")]);
    let app = world.add(&depends_on(manifest("app"), &["base"]), &[]);
    let mut later = manifest("base");
    later.labels.insert(Name::new("version").unwrap(), "2.0.0").unwrap();
    let (archive, _) = world.archive(&later, &world.rootfs(&[("file", b"evil")]));
    let commit = |standing| {
        let staged = world.store.stage(archive.as_slice()).unwrap();
        staged
            .commit(&json!({"verified": standing == Standing::Verified}), standing)
            .unwrap()
    };
    let evil = commit(Standing::Unverified);
    let layers = |id| {
        crate::render::layers(&world.store, id)
            .unwrap()
            .iter()
            .map(|layer| layer.id)
            .collect::<Vec<_>>()
    };
    assert_eq!(layers(&app), [good, app]);

    // Vouched for in the end, it counts; and stays so, whoever adds it again.
    commit(Standing::Verified);
    commit(Standing::Unverified);
    assert_eq!(layers(&app), [evil, app]);
    assert_eq!(world.store.provenance(&evil).unwrap(), json!({"verified": true}));
}

#[test]
fn attributes_that_linux_has_no_place_for_do_not_keep_an_image_from_being_copied() {
    use crate::{
        checkout::{Before, Contents, check_out},
        tree::{Metadata, NodeKind, Tree},
    };
    let mut metadata = Metadata::root_owned(0o777);
    metadata.xattrs.insert(b"user.note".to_vec(), b"of a link".to_vec());
    let mut tree = Tree::new();
    let link = NodeKind::Symlink(b"target".to_vec());
    tree.insert(b"link", metadata.clone(), link).unwrap();
    tree.insert(b"pipe", metadata, NodeKind::Fifo).unwrap();
    tree.sort();
    for contents in [Contents::Copied, Contents::Stubs] {
        let directory = TempDir::new().unwrap();
        check_out(&tree, directory.path(), Path::new("objects"), contents, Before::Empty).unwrap();
        let target = fs::read_link(directory.path().join("link")).unwrap();
        assert_eq!(target, Path::new("target"));
    }
}
