//! A tree as the kernel shows it. These tests run as root and need `fsck.erofs` (Debian: erofs-utils), a kernel of 6.16
//! or newer, and a temporary directory on a disk file system.
#![allow(clippy::unwrap_used)]

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::fs::{self, File, Permissions};
use std::io::{Seek, SeekFrom, Write};
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileExt, FileTypeExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::Command;

use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};
use sha2::{Digest, Sha256};

use super::*;
use crate::ObjectId;

/// A directory with an image, its objects, and places to mount at.
struct World {
    directory: tempfile::TempDir,
}

impl World {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        for name in ["objects", "erofs", "merged", "upper", "work"] {
            fs::create_dir(directory.path().join(name)).unwrap();
        }
        Self { directory }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn object_path(&self, id: ObjectId) -> PathBuf {
        self.path("objects").join(id.relative_path())
    }

    /// Stores an object that reads as zeros but for `text` at its end.
    fn object(&self, size: u64, text: &str) -> Content {
        let id = ObjectId(Sha256::digest(format!("{size} {text}")).into());
        let path = self.object_path(id);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        let mut file = File::create(&path).unwrap();
        file.set_len(size - text.len() as u64).unwrap();
        file.seek(SeekFrom::End(0)).unwrap();
        file.write_all(text.as_bytes()).unwrap();
        // Overlayfs reads objects as who mounted it; the mode a user sees is the tree's.
        fs::set_permissions(&path, Permissions::from_mode(0o400)).unwrap();
        Content::Object { id, size }
    }

    /// Writes the image and has it checked.
    fn write(&self, tree: &Tree) -> PathBuf {
        let image = self.path("image.erofs");
        let size = write_erofs(tree, File::create(&image).unwrap()).unwrap();
        assert_eq!(size, fs::metadata(&image).unwrap().len());
        assert_eq!(size % 4096, 0);
        let output = Command::new("fsck.erofs").arg(&image).output();
        let output = output.expect("fsck.erofs is missing: install erofs-utils");
        let said = [output.stdout, output.stderr].concat();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&said));
        image
    }

    fn mount(&self, image: &Path, upper: bool) {
        let (directory, work) = (self.path("upper"), self.path("work"));
        let metadata = mount_erofs(image).unwrap();
        let overlay = Overlay {
            metadata: metadata.as_fd(),
            objects: &self.path("objects"),
            upper: upper.then_some(Upper {
                directory: &directory,
                work: &work,
            }),
        };
        let merged = overlay.mount().unwrap();
        attach(metadata.as_fd(), &self.path("erofs")).unwrap();
        attach(merged.as_fd(), &self.path("merged")).unwrap();
    }

    /// Writes, checks and mounts a tree, and compares every file with it, on EROFS itself and through the overlay.
    fn compare(&self, tree: &Tree) {
        let image = self.write(tree);
        in_mount_namespace(|| {
            self.mount(&image, false);
            let nodes: BTreeSet<_> = tree.iter().map(|visit| visit.id).collect();
            assert_eq!(inode_count(&image), nodes.len());
            let mut names = 0;
            for visit in tree.iter() {
                let node = tree.node(visit.id).unwrap();
                let path = OsStr::from_bytes(&visit.path);
                compare_metadata(&self.path("erofs").join(path), tree, visit.id, true);
                compare_holes(&self.path("erofs").join(path), node.kind());
                let merged = self.path("merged").join(path);
                compare_metadata(&merged, tree, visit.id, false);
                self.compare_content(&merged, node.kind());
                names += 1;
            }
            assert_eq!(count_names(&self.path("merged")), names - 1);
            assert_eq!(count_names(&self.path("erofs")), names - 1);
        });
    }

    fn compare_content(&self, path: &Path, kind: &NodeKind) {
        match kind {
            NodeKind::File(Content::Inline(bytes)) => assert!(fs::read(path).unwrap() == *bytes, "{path:?}"),
            NodeKind::File(Content::Object { id, size: 1.. }) => {
                let (file, object) = (File::open(path).unwrap(), File::open(self.object_path(*id)).unwrap());
                let size = object.metadata().unwrap().len();
                for offset in [0, size.saturating_sub(100)] {
                    let (mut shown, mut stored) = ([1; 100], [2; 100]);
                    let length = file.read_at(&mut shown, offset).unwrap();
                    assert_eq!(length, object.read_at(&mut stored, offset).unwrap());
                    assert_eq!(shown[..length], stored[..length], "{path:?}");
                }
            }
            NodeKind::Symlink(target) => assert_eq!(fs::read_link(path).unwrap().as_os_str().as_bytes(), target),
            _ => {}
        }
    }
}

/// Runs `body` where its mounts are seen by no one else and go when it ends: on a thread with its own mount namespace.
fn in_mount_namespace(body: impl FnOnce() + Send) {
    std::thread::scope(|scope| {
        let run = || {
            unshare(CloneFlags::CLONE_FS | CloneFlags::CLONE_NEWNS).expect("these tests run as root");
            let private = MsFlags::MS_REC | MsFlags::MS_PRIVATE;
            mount(None::<&str>, "/", None::<&str>, private, None::<&str>).unwrap();
            body();
        };
        if let Err(panic) = scope.spawn(run).join() {
            std::panic::resume_unwind(panic);
        }
    });
}

fn inode_count(image: &Path) -> usize {
    let output = Command::new("dump.erofs").arg("-s").arg(image).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let line = text.lines().find(|line| line.contains("inode count")).unwrap();
    line.split_whitespace().last().unwrap().parse().unwrap()
}

fn count_names(directory: &Path) -> usize {
    let entries = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap());
    entries
        .map(|entry| match entry.file_type().unwrap().is_dir() {
            true => 1 + count_names(&entry.path()),
            false => 1,
        })
        .sum()
}

fn compare_metadata(path: &Path, tree: &Tree, id: NodeId, on_erofs: bool) {
    let (node, seen) = (tree.node(id).unwrap(), fs::symlink_metadata(path).unwrap());
    let metadata = node.metadata();
    assert_eq!(seen.mode() & 0o7777, u32::from(metadata.mode), "{path:?}");
    assert_eq!((seen.uid(), seen.gid()), (metadata.uid, metadata.gid), "{path:?}");
    let time = (metadata.mtime_seconds, i64::from(metadata.mtime_nanoseconds));
    assert_eq!((seen.mtime(), seen.mtime_nsec()), time, "{path:?}");
    let is_kind = match node.kind() {
        NodeKind::Directory => seen.is_dir(),
        NodeKind::File(content) => seen.is_file() && seen.len() == content.size(),
        NodeKind::Symlink(target) => seen.is_symlink() && seen.len() == target.len() as u64,
        NodeKind::CharDevice { major, minor } => {
            seen.file_type().is_char_device() && seen.rdev() == nix::libc::makedev(*major, *minor)
        }
        NodeKind::BlockDevice { major, minor } => {
            seen.file_type().is_block_device() && seen.rdev() == nix::libc::makedev(*major, *minor)
        }
        NodeKind::Fifo => seen.file_type().is_fifo(),
        NodeKind::Socket => seen.file_type().is_socket(),
    };
    assert!(is_kind, "{path:?} is not {:?}", node.kind());
    // Overlayfs shows every directory with one link.
    if on_erofs || !seen.is_dir() {
        assert_eq!(seen.nlink(), u64::from(tree.links(id)), "{path:?}");
    }
    let mut expected = metadata.xattrs.clone();
    if let (true, NodeKind::File(Content::Object { id, size: 1.. })) = (on_erofs, node.kind()) {
        let hex = id.to_string();
        let redirect = format!("/{}/{}", &hex[..2], &hex[2..]);
        expected.insert(b"user.overlay.metacopy".into(), Vec::new());
        expected.insert(b"user.overlay.redirect".into(), redirect.into());
    }
    assert_eq!(xattrs(path), expected, "{path:?}");
}

/// A file whose content is an object has none in the image.
fn compare_holes(path: &Path, kind: &NodeKind) {
    if let NodeKind::File(Content::Object { size: 1.., .. }) = kind {
        let mut start = [1; 4096];
        let length = File::open(path).unwrap().read_at(&mut start, 0).unwrap();
        assert!(length > 0 && start[..length].iter().all(|byte| *byte == 0), "{path:?}");
    }
}

fn xattrs(path: &Path) -> BTreeMap<Vec<u8>, Vec<u8>> {
    let names = xattr::list(path).unwrap();
    names
        .map(|name| (name.as_bytes().to_vec(), xattr::get(path, &name).unwrap().unwrap()))
        .collect()
}

fn metadata(mode: u16) -> Metadata {
    Metadata {
        mtime_seconds: 1_418_169_600,
        mtime_nanoseconds: 123_456_789,
        ..Metadata::root_owned(mode)
    }
}

fn with_xattrs<const N: usize>(mode: u16, xattrs: [(&str, &[u8]); N]) -> Metadata {
    let xattrs = xattrs.map(|(name, value)| (name.into(), value.into()));
    Metadata {
        xattrs: xattrs.into(),
        ..metadata(mode)
    }
}

fn inline(length: usize) -> NodeKind {
    NodeKind::File(Content::Inline((0..length).map(|at| (at % 251) as u8).collect()))
}

/// Every kind of file, with every kind of metadata.
fn every_kind(world: &World) -> Tree {
    let capability: &[u8] = &[1, 0, 0, 2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    // An access list: owner rwx, user 1000 r-x, group r-x, mask r-x, others r-x.
    let acl: &[u8] = &[
        2, 0, 0, 0, 1, 0, 7, 0, 255, 255, 255, 255, 2, 0, 5, 0, 232, 3, 0, 0, 4, 0, 5, 0, 255, 255, 255, 255, 16, 0, 5,
        0, 255, 255, 255, 255, 32, 0, 5, 0, 255, 255, 255, 255,
    ];
    let big: &[u8] = &[b'v'; 5000];
    let mut tree = Tree::new();
    let mut put = |path: &str, metadata: Metadata, kind: NodeKind| {
        tree.insert(path.as_bytes(), metadata, kind).unwrap();
    };
    put("", metadata(0o755), NodeKind::Directory);
    put("empty", metadata(0o755), NodeKind::Directory);
    put("tmp", metadata(0o1777), NodeKind::Directory);
    put(
        "acl",
        with_xattrs(
            0o755,
            [("system.posix_acl_access", acl), ("system.posix_acl_default", acl)],
        ),
        NodeKind::Directory,
    );
    put("dev/null", metadata(0o666), NodeKind::CharDevice { major: 1, minor: 3 });
    put(
        "dev/far",
        metadata(0o600),
        NodeKind::CharDevice {
            major: 4095,
            minor: (1 << 20) - 1,
        },
    );
    put("dev/sda", metadata(0o660), NodeKind::BlockDevice { major: 8, minor: 0 });
    put(
        "dev/whole",
        metadata(0o660),
        NodeKind::BlockDevice { major: 0, minor: 0 },
    );
    put("dev/pipe", metadata(0o620), NodeKind::Fifo);
    put("dev/log", metadata(0o666), NodeKind::Socket);
    put("link", metadata(0o777), NodeKind::Symlink(b"../dev/null".into()));
    put(
        "noted-link",
        with_xattrs(0o777, [("trusted.note", b"x"), ("security.note", big)]),
        NodeKind::Symlink(vec![b'l'; 4000]),
    );
    for length in [1, 59, 60, 4030, 4031, 4032, 4033, 4094, 4095] {
        put(
            &format!("links/{length}"),
            metadata(0o777),
            NodeKind::Symlink(vec![b't'; length]),
        );
    }
    for length in [0, 1, 4031, 4032, 4033, 4095, 4096, 4097, 8191, 8192, 8193, 100_000] {
        put(&format!("inline/{length}"), metadata(0o644), inline(length));
    }
    for size in [
        1,
        4095,
        4096,
        4097,
        1 << 20,
        (1 << 32) - 1,
        1 << 32,
        (1 << 32) + 1,
        5 << 30,
        9 << 40,
    ] {
        put(
            &format!("objects/{size}"),
            metadata(0o640),
            NodeKind::File(world.object(size, "e")),
        );
    }
    put("bin/su", metadata(0o4755), NodeKind::File(world.object(3000, "setuid")));
    put(
        "bin/wall",
        metadata(0o2711),
        NodeKind::File(world.object(3000, "setgid")),
    );
    put(
        "bin/none",
        metadata(0),
        NodeKind::File(world.object(3000, "no permissions")),
    );
    put(
        "bin/same",
        metadata(0o755),
        NodeKind::File(world.object(3000, "setuid")),
    );
    put(
        "bin/nothing",
        metadata(0o755),
        NodeKind::File(Content::Object {
            id: ObjectId([7; 32]),
            size: 0,
        }),
    );
    put(
        "bin/ping",
        with_xattrs(0o755, [("security.capability", capability), ("user.empty", b"")]),
        NodeKind::File(world.object(9, "ping")),
    );
    put(
        "bin/ping6",
        with_xattrs(0o755, [("security.capability", capability), ("user.big", big)]),
        NodeKind::File(world.object(9, "ping6")),
    );
    put(
        "bin/noted",
        with_xattrs(0o755, [("user.big", &[b'w'; 60_000])]),
        inline(5000),
    );
    put(&"n".repeat(255), metadata(0o644), inline(3));
    put(
        &format!("{}/{}", "d".repeat(255), "ä".repeat(127)),
        metadata(0o644),
        inline(3),
    );
    let old = Metadata {
        uid: 65_534,
        gid: 4_000_000_000,
        mtime_seconds: -1,
        mtime_nanoseconds: 999_999_999,
        ..metadata(0o600)
    };
    put("old", old, inline(3));
    let late = Metadata {
        uid: 4_000_000_000,
        mtime_seconds: 1 << 33,
        ..metadata(0o600)
    };
    put("late", late, inline(3));
    tree.link(b"inline/zz-again", b"inline/4097").unwrap();
    tree.link(b"aa-first-name", b"bin/su").unwrap();
    tree.link(b"dev/pipe2", b"dev/pipe").unwrap();
    tree.insert(b"not\xff\xfeutf8\n", metadata(0o644), inline(1)).unwrap();
    tree
}

#[test]
fn the_kernel_shows_every_kind_of_file_as_it_is_in_the_tree() {
    let world = World::new();
    world.compare(&every_kind(&world));
}

#[test]
fn an_empty_tree_can_be_mounted() {
    World::new().compare(&Tree::new());
}

#[test]
fn hard_links_are_one_inode() {
    let world = World::new();
    let image = world.write(&every_kind(&world));
    in_mount_namespace(|| {
        world.mount(&image, false);
        for root in ["erofs", "merged"] {
            let inode = |name: &str| fs::symlink_metadata(world.path(root).join(name)).unwrap().ino();
            assert_eq!(inode("inline/zz-again"), inode("inline/4097"));
            assert_eq!(inode("aa-first-name"), inode("bin/su"));
            assert_ne!(inode("bin/same"), inode("bin/su"));
        }
    });
}

#[test]
fn equal_trees_make_equal_images() {
    let world = World::new();
    let tree = every_kind(&world);
    let bytes = |tree: &Tree| {
        let mut bytes = Vec::new();
        write_erofs(tree, &mut bytes).unwrap();
        bytes
    };
    // The same files, inserted in another order and after others that are gone again.
    let mut other = Tree::new();
    other.insert(b"links", metadata(0o644), inline(9)).unwrap();
    other.insert(b"old/with/all", metadata(0o644), inline(9)).unwrap();
    let visits: Vec<_> = tree.iter().collect();
    let mut names: BTreeMap<NodeId, &[u8]> = BTreeMap::new();
    for visit in visits.iter().rev() {
        let node = tree.node(visit.id).unwrap();
        match names.get(&visit.id) {
            Some(first) => other.link(&visit.path, first).unwrap(),
            None => other
                .insert(&visit.path, node.metadata().clone(), node.kind().clone())
                .unwrap(),
        };
        names.insert(visit.id, &visit.path);
    }
    assert!(bytes(&tree) == bytes(&tree));
    assert!(bytes(&tree) == bytes(&other));
    other.insert(b"old", metadata(0o644), inline(9)).unwrap();
    assert!(bytes(&tree) != bytes(&other));
}

#[test]
fn a_directory_can_have_100_000_entries() {
    let world = World::new();
    let mut tree = Tree::new();
    let content = world.object(5000, "shared");
    for number in 0..100_000 {
        // Names on both sides of `.` and `..`, short and long.
        let start = ["!", "-", "..", ".", ".-", "a", "é", "zz"][number % 8];
        let name = format!("big/{start}{number}{}", "x".repeat(number % 40));
        tree.insert(name.as_bytes(), metadata(0o644), NodeKind::File(content.clone()))
            .unwrap();
    }
    for name in ["!", "-", ".-", "..-", "...", "~"] {
        tree.insert(format!("big/{name}").as_bytes(), metadata(0o600), inline(1))
            .unwrap();
    }
    let image = world.write(&tree);
    in_mount_namespace(|| {
        world.mount(&image, false);
        for root in ["erofs", "merged"] {
            assert_eq!(count_names(&world.path(root)), 100_007);
            for visit in tree.iter() {
                let path = world.path(root).join(OsStr::from_bytes(&visit.path));
                let seen = fs::symlink_metadata(&path).unwrap();
                assert_eq!(
                    seen.mode() & 0o7777,
                    u32::from(tree.node(visit.id).unwrap().metadata().mode),
                    "{path:?}"
                );
            }
            assert!(!world.path(root).join("big/absent").exists());
        }
        assert!(fs::read(world.path("merged/big/a5xxxxx")).unwrap().ends_with(b"shared"));
    });
}

/// Thousands of files whose sizes fall on all sides of the block limits. The numbers are drawn, but the same each time.
#[test]
fn no_size_falls_between_blocks() {
    let world = World::new();
    let mut state = 0x2014_1201_u64;
    let mut draw = |below: usize| {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) as usize % below
    };
    let mut tree = Tree::new();
    for number in 0..4000 {
        let mut metadata = metadata(0o600 + (number % 8) as u16);
        for attribute in 0..draw(3) {
            let name = format!("trusted.{attribute}{}", "n".repeat(draw(60)));
            let length = [draw(20), draw(300), draw(5000)][draw(3)];
            metadata.xattrs.insert(name.into(), vec![b'v'; length]);
        }
        let near = |limit: usize, off: usize| limit + off - 50;
        let kind = match draw(4) {
            0 => NodeKind::Symlink(vec![
                b's';
                [1 + draw(100), 1 + draw(4095), near(4045, draw(101))][draw(3)]
            ]),
            1 => NodeKind::File(world.object(1 + draw(9000) as u64, "")),
            2 => NodeKind::Directory,
            _ => inline([draw(100), draw(9000), near(4096, draw(100)), near(8192, draw(100))][draw(4)]),
        };
        tree.insert(format!("{}/{number}", draw(30)).as_bytes(), metadata, kind)
            .unwrap();
    }
    // Directories that end at, before and after the end of a block: an entry is 12 bytes and its name, the dots take 27.
    for (last, names) in (0..60).flat_map(|last| [(last, 15), (last, 30)]) {
        for name in 0..names {
            let name = format!("edge/{names}-{last}/{name:0>240}");
            tree.insert(name.as_bytes(), metadata(0o644), NodeKind::Fifo).unwrap();
        }
        let name = format!("edge/{names}-{last}/{}", "z".repeat(200 + last % 56));
        tree.insert(name.as_bytes(), metadata(0o644), NodeKind::Fifo).unwrap();
        for name in 0..last {
            let name = format!("edge/{names}-{last}/y{}", "y".repeat(name));
            tree.insert(name.as_bytes(), metadata(0o644), NodeKind::Fifo).unwrap();
        }
    }
    world.compare(&tree);
}

#[test]
fn a_writable_overlay_leaves_the_objects_alone() {
    let world = World::new();
    let mut tree = Tree::new();
    let content = world.object(100, "the end");
    tree.insert(b"etc/conf", metadata(0o644), NodeKind::File(content.clone()))
        .unwrap();
    tree.insert(b"etc/other", metadata(0o644), NodeKind::File(content.clone()))
        .unwrap();
    let image = world.write(&tree);
    in_mount_namespace(|| {
        world.mount(&image, true);
        let conf = world.path("merged/etc/conf");
        let mut file = File::options().append(true).open(&conf).unwrap();
        file.write_all(b", changed").unwrap();
        drop(file);
        fs::remove_file(world.path("merged/etc/other")).unwrap();
        fs::write(world.path("merged/etc/new"), "new").unwrap();
        assert!(fs::read(&conf).unwrap().ends_with(b"the end, changed"));
        assert_eq!(fs::metadata(&conf).unwrap().len(), 109);
        assert_eq!(count_names(&world.path("merged")), 3);
        world.compare_content(
            &world.path("upper/etc/new"),
            &NodeKind::File(Content::Inline(b"new".into())),
        );
    });
    let Content::Object { id, .. } = content else {
        unreachable!()
    };
    let object = fs::read(world.object_path(id)).unwrap();
    assert!(object.len() == 100 && object.ends_with(b"the end"));
}

#[test]
fn an_overlay_without_an_upper_layer_is_read_only() {
    let world = World::new();
    let image = world.write(&every_kind(&world));
    in_mount_namespace(|| {
        world.mount(&image, false);
        let error = fs::write(world.path("merged/new"), "new").unwrap_err();
        assert_eq!(error.kind(), std::io::ErrorKind::ReadOnlyFilesystem);
    });
}

#[test]
fn paths_with_separators_and_of_any_length_can_be_mounted() {
    let world = World::new();
    let long = world.path(&format!("a:b,c\\d=e/{}/{}", "x".repeat(200), "y".repeat(200)));
    fs::create_dir_all(&long).unwrap();
    for name in ["objects", "upper", "work"] {
        fs::rename(world.path(name), long.join(name)).unwrap();
    }
    let mut tree = Tree::new();
    tree.insert(b"f", metadata(0o644), inline(3)).unwrap();
    let image = long.join("image");
    fs::rename(world.write(&tree), &image).unwrap();
    in_mount_namespace(|| {
        let metadata = mount_erofs(&image).unwrap();
        let upper = Upper {
            directory: &long.join("upper"),
            work: &long.join("work"),
        };
        let overlay = Overlay {
            metadata: metadata.as_fd(),
            objects: &long.join("objects"),
            upper: Some(upper),
        };
        attach(overlay.mount().unwrap().as_fd(), &world.path("merged")).unwrap();
        assert_eq!(fs::read(world.path("merged/f")).unwrap(), [0, 1, 2]);
    });
}

#[test]
fn a_refused_mount_names_what_was_refused() {
    let world = World::new();
    fs::write(world.path("junk"), [0; 8192]).unwrap();
    in_mount_namespace(|| {
        let error = mount_erofs(&world.path("junk")).unwrap_err();
        let expected = format!("could not mount the EROFS image `{}`", world.path("junk").display());
        assert!(error.to_string().starts_with(&expected), "{error}");
        let metadata = File::open(world.path("erofs")).unwrap();
        let absent = world.path("absent");
        let overlay = Overlay {
            metadata: metadata.as_fd(),
            objects: &absent,
            upper: None,
        };
        let error = overlay.mount().unwrap_err();
        let expected = format!("could not mount an overlay over the objects in `{}`", absent.display());
        assert!(error.to_string().starts_with(&expected), "{error}");
        // A symbolic link in the target's last place is not followed.
        std::os::unix::fs::symlink("merged", world.path("trap")).unwrap();
        let image = mount_erofs(&world.write(&Tree::new())).unwrap();
        assert!(attach(image.as_fd(), &world.path("trap")).is_err());
    });
}

/// An inode can refer to 255 shared attributes; the rest are its own.
#[test]
fn files_can_share_more_attributes_than_an_inode_can_refer_to() {
    let world = World::new();
    let mut tree = Tree::new();
    let mut metadata = metadata(0o644);
    for number in 0..600 {
        metadata
            .xattrs
            .insert(format!("user.{number}").into(), vec![b'v'; number % 50]);
    }
    for path in ["a", "b", "c"] {
        tree.insert(path.as_bytes(), metadata.clone(), inline(5)).unwrap();
    }
    world.compare(&tree);
}

#[test]
fn attributes_too_large_for_an_inode_are_refused() {
    let mut tree = Tree::new();
    let mut metadata = metadata(0o644);
    for number in 0..5 {
        metadata.xattrs.insert(format!("user.{number}").into(), vec![0; 65_000]);
    }
    tree.insert(b"etc/conf", metadata, inline(0)).unwrap();
    let error = write_erofs(&tree, std::io::sink()).unwrap_err();
    assert!(
        error
            .to_string()
            .starts_with("`etc/conf` has the extended attribute `user."),
        "{error}"
    );
}

#[test]
fn symlinks_can_have_every_length() {
    let world = World::new();
    let mut tree = Tree::new();
    for length in 1..=4095 {
        let target = NodeKind::Symlink(vec![b't'; length]);
        tree.insert(format!("{}/{length}", length % 50).as_bytes(), metadata(0o777), target)
            .unwrap();
    }
    world.compare(&tree);
}

#[test]
fn attributes_can_be_as_long_as_linux_has_them() {
    let world = World::new();
    let mut tree = Tree::new();
    for (path, prefix) in [("a", "user."), ("b", "trusted."), ("c", "security.")] {
        let mut metadata = metadata(0o644);
        let name = format!("{prefix}{}", "n".repeat(255 - prefix.len()));
        metadata.xattrs.insert(name.into(), vec![b'v'; 65_535]);
        metadata
            .xattrs
            .insert(format!("{prefix}short").into(), vec![b'w'; 65_535]);
        tree.insert(path.as_bytes(), metadata, inline(4096)).unwrap();
    }
    world.compare(&tree);
}

/// Paths of 4,095 bytes, which is as far as a path can go, and in a mounted image a good deal further than one can from
/// the root of the machine.
#[test]
fn directories_can_be_as_deep_as_a_path_is_long() {
    const DEPTH: usize = 2047;
    let world = World::new();
    let mut tree = Tree::new();
    let deep = [b"d/".repeat(DEPTH), b"f".to_vec()].concat();
    tree.insert(&deep, metadata(0o640), NodeKind::File(world.object(5000, "the bottom")))
        .unwrap();
    let beyond = [b"d/".repeat(DEPTH + 1), b"f".to_vec()].concat();
    let error = tree.insert(&beyond, metadata(0o640), inline(1)).unwrap_err();
    assert!(error.to_string().ends_with("it is longer than 4095 bytes"), "{error}");
    let bottom = |root: &Path| {
        let mut directory = File::open(root).unwrap();
        for _ in 0..DEPTH {
            directory = File::open(format!("/proc/self/fd/{}/d", directory.as_raw_fd())).unwrap();
        }
        let file = format!("/proc/self/fd/{}/f", directory.as_raw_fd());
        assert_eq!(fs::metadata(&file).unwrap().mode() & 0o7777, 0o640);
        fs::read(file).unwrap()
    };
    // `fsck.erofs` 1.5 ends here without a word; the kernel does not mind.
    let image = world.path("image.erofs");
    write_erofs(&tree, File::create(&image).unwrap()).unwrap();
    in_mount_namespace(|| {
        world.mount(&image, false);
        assert!(bottom(&world.path("erofs")).iter().all(|byte| *byte == 0));
        assert!(bottom(&world.path("merged")).ends_with(b"the bottom"));
    });
    use crate::checkout::{Before, Contents, check_out};
    let directory = world.path("upper");
    check_out(
        &tree,
        &directory,
        &world.path("objects"),
        Contents::Copied,
        Before::Empty,
    )
    .unwrap();
    assert!(bottom(&directory).ends_with(b"the bottom"));
    assert!(Command::new("rm").arg("-rf").arg(directory).status().unwrap().success());
}

#[test]
fn times_and_owners_reach_their_limits() {
    let world = World::new();
    let mut tree = Tree::new();
    for (number, seconds) in [i64::from(i32::MIN), -1, 0, 1 << 31, 1 << 32, 1 << 34, 1 << 40]
        .into_iter()
        .enumerate()
    {
        let metadata = Metadata {
            uid: u32::MAX - 1,
            gid: u32::MAX - 1 - number as u32,
            mtime_seconds: seconds,
            mtime_nanoseconds: 999_999_999,
            ..metadata(0o600)
        };
        tree.insert(number.to_string().as_bytes(), metadata, inline(number))
            .unwrap();
    }
    world.compare(&tree);
}
