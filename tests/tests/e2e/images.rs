//! Images in the store, looked at: rendered, extracted, mounted, compared and verified.

use std::{
    ffi::OsStr,
    fs,
    os::unix::{
        ffi::OsStrExt,
        fs::{PermissionsExt, chown, symlink},
    },
    path::Path,
    process::Command,
};

use dhow_tests::{Disk, Outcome, World, differences, programs, tree};
use serde_json::{Value, json};

/// A root file system with every kind of file and of metadata that an archive of GNU tar can hold.
fn every_kind(root: &Path) {
    let write = |name: &str, content: &[u8], mode: u32| {
        let path = root.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, content).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
    };
    for size in [
        0, 1, 59, 60, 4031, 4032, 4033, 4095, 4096, 4097, 8191, 8192, 8193, 100_000,
    ] {
        write(&format!("sizes/{size}"), &vec![b'x'; size], 0o644);
    }
    write("bin/su", b"set-user-ID", 0o4755);
    write("bin/wall", b"set-group-ID", 0o2711);
    write("bin/none", b"no permissions", 0);
    write(&"n".repeat(255), b"a long name", 0o600);
    write(
        &format!("{}/{}", "d".repeat(200), "e".repeat(200)),
        b"long names",
        0o600,
    );
    fs::write(root.join(OsStr::from_bytes(b"not\xff\xfeutf8\n")), b"bytes").unwrap();
    fs::create_dir(root.join("tmp")).unwrap();
    fs::set_permissions(root.join("tmp"), fs::Permissions::from_mode(0o1777)).unwrap();
    for length in [1, 99, 100, 101, 255, 256, 4030, 4031, 4032, 4095] {
        symlink("t".repeat(length), root.join(format!("link-{length}"))).unwrap();
    }
    let device = |arguments: &[&str]| {
        let made = Command::new("mknod")
            .current_dir(root)
            .args(arguments)
            .status()
            .unwrap();
        assert!(made.success());
    };
    device(&["null", "c", "1", "3"]);
    device(&["far", "c", "511", "1048575"]);
    device(&["disk", "b", "8", "1"]);
    device(&["pipe", "p"]);
    for number in 0..40 {
        fs::hard_link(root.join("sizes/4097"), root.join(format!("hard-{number}"))).unwrap();
    }
    for (name, value) in [
        ("user.note", &b"\0binary\xff"[..]),
        ("user.empty", b""),
        ("trusted.note", b"trusted"),
        (
            "security.capability",
            &[1, 0, 0, 2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0],
        ),
    ] {
        xattr::set(root.join("sizes/60"), name, value).unwrap();
    }
    for number in 0..30 {
        let name = format!("user.{number}{}", "n".repeat(number * 7));
        xattr::set(root.join("sizes/59"), name, &vec![b'v'; number]).unwrap();
    }
    xattr::set(root.join("tmp"), "trusted.directory", b"x").unwrap();
    // An access list: owner rw-, user 1000 r--, group r--, mask r--, others r--.
    let acl: &[u8] = &[
        2, 0, 0, 0, 1, 0, 6, 0, 255, 255, 255, 255, 2, 0, 4, 0, 232, 3, 0, 0, 4, 0, 4, 0, 255, 255, 255, 255, 16, 0, 4,
        0, 255, 255, 255, 255, 32, 0, 4, 0, 255, 255, 255, 255,
    ];
    xattr::set(root.join("sizes/1"), "system.posix_acl_access", acl).unwrap();
    chown(root.join("sizes/8192"), Some(u32::MAX - 1), Some(u32::MAX - 1)).unwrap();
    std::os::unix::fs::lchown(root.join("link-1"), Some(1000), Some(1001)).unwrap();
    for (name, time) in [
        ("sizes/0", "@-1.000000001"),
        ("sizes/4095", "@-2000000000.5"),
        ("sizes/4096", "@5000000000.123456789"),
        ("link-99", "@1000000000.999999999"),
        ("sizes", "@1234567890.987654321"),
    ] {
        let touched = Command::new("touch")
            .current_dir(root)
            .args(["-h", "-d", time, name])
            .status()
            .unwrap();
        assert!(touched.success());
    }
}

/// The image of a directory, as GNU tar writes it.
fn archive(world: &World, rootfs: &str, file: &str) {
    let manifest = json!({ "acKind": "ImageManifest", "acVersion": "0.8.11", "name": "example.com/every" });
    fs::write(world.path("manifest"), manifest.to_string()).unwrap();
    let transform = format!("--transform=s,^{rootfs},rootfs,S");
    let packed = Command::new("tar")
        .current_dir(world.path("."))
        .args([
            "--format=pax",
            "--xattrs",
            "--xattrs-include=*",
            "--acls",
            "--numeric-owner",
        ])
        .args([&transform, "-cf", file, "manifest", rootfs])
        .status()
        .unwrap();
    assert!(packed.success());
}

fn fetch(world: &World, file: &str) -> String {
    let outcome = world.dhow(&["--insecure-options=image", "fetch", &world.arg(file)]);
    outcome.success().trim().to_owned()
}

#[test]
fn mounted_and_extracted_files_are_those_of_the_tar_in_every_attribute() {
    let world = World::new();
    fs::create_dir(world.path("root")).unwrap();
    every_kind(&world.path("root"));
    archive(&world, "root", "every.aci");
    let id = fetch(&world, "every.aci");
    let expected = tree(&world.path("root"));

    let rendered = world.dhow(&["image", "render", &id]).success();
    let path = rendered.lines().find_map(|line| line.strip_prefix("tree  ")).unwrap();
    assert!(rendered.starts_with("way   composefs"), "{rendered}");
    Outcome::of(Command::new("fsck.erofs").arg(path)).success();

    fs::create_dir(world.path("mounted")).unwrap();
    world.dhow(&["image", "mount", &id, "mounted"]).success();
    let seen = tree(&world.path("mounted"));
    world.dhow(&["image", "rm", &id]).exited(1).says("pin `mounted-");
    world.dhow(&["store", "gc", "--grace", "0"]).success();
    let written = fs::write(world.path("mounted/new"), "no").unwrap_err();
    world.dhow(&["image", "unmount", "mounted"]).success();
    assert_eq!(
        world.dhow(&["image", "pins", "--format", "json"]).success().trim(),
        "[]"
    );
    assert_eq!(differences(&seen, &expected), Vec::<String>::new());
    assert_eq!(written.kind(), std::io::ErrorKind::ReadOnlyFilesystem);
    assert_eq!(fs::read_dir(world.path("mounted")).unwrap().count(), 0);
    world
        .dhow(&["image", "unmount", "mounted"])
        .exited(1)
        .says("is no image that");

    world.dhow(&["image", "extract", &id, "extracted"]).success();
    assert_eq!(
        differences(&tree(&world.path("extracted")), &expected),
        Vec::<String>::new()
    );

    let verified = world.dhow(&["image", "verify", &id]).success();
    assert!(verified.contains("is whole: a tar of"), "{verified}");
}

#[test]
fn extracting_leaves_alone_what_is_there_unless_told() {
    let world = World::new();
    let image = world
        .image("example.com/app")
        .file("etc/conf", b"image")
        .file("etc/dir/f", b"f");
    image.build("app.aci");
    fetch(&world, "app.aci");
    let extract = |arguments: &[&str]| {
        let words = [&["image", "extract", "example.com/app"], arguments].concat();
        world.dhow(&words)
    };
    for name in ["outside", "there/etc"] {
        fs::create_dir_all(world.path(name)).unwrap();
    }
    fs::write(world.path("outside/precious"), "precious").unwrap();
    fs::write(world.path("there/mine"), "mine").unwrap();
    symlink("../../outside/precious", world.path("there/etc/conf")).unwrap();
    symlink("../../outside", world.path("there/etc/dir")).unwrap();
    let before = tree(&world.path("there"));
    extract(&["there"])
        .exited(1)
        .says("`there` is not empty")
        .says("--overwrite");
    assert_eq!(differences(&tree(&world.path("there")), &before), Vec::<String>::new());

    extract(&["--overwrite", "there"]).success();
    assert_eq!(fs::read_to_string(world.path("there/etc/conf")).unwrap(), "image");
    assert!(!world.path("there/etc/conf").is_symlink());
    assert_eq!(fs::read_to_string(world.path("there/etc/dir/f")).unwrap(), "f");
    assert!(!world.path("there/etc/dir").is_symlink());
    assert_eq!(fs::read_to_string(world.path("there/mine")).unwrap(), "mine");
    assert_eq!(fs::read_to_string(world.path("outside/precious")).unwrap(), "precious");
    assert_eq!(fs::read_dir(world.path("outside")).unwrap().count(), 1);

    // A directory with something in it is nobody's to remove.
    fs::create_dir_all(world.path("other/etc/conf/mine")).unwrap();
    extract(&["--overwrite", "other"]).exited(1).says("`etc/conf`");
    assert!(world.path("other/etc/conf/mine").is_dir());

    // What fails halfway leaves nothing: an object is gone.
    let objects = world.path("data/objects");
    for fan in fs::read_dir(objects).unwrap() {
        fs::remove_dir_all(fan.unwrap().path()).unwrap();
    }
    extract(&["half"]).exited(1);
    assert!(!world.path("half").exists());
    let damaged = world.dhow(&["image", "verify", "example.com/app"]).exited(4);
    assert!(damaged.stdout.contains("is missing"), "{}", damaged.stdout);
}

#[test]
fn differences_are_told_with_totals() {
    let world = World::new();
    let build = |version: &str, files: &[(&str, &[u8])]| {
        let image = world.image("example.com/app").version(version);
        let image = files
            .iter()
            .fold(image, |image, (path, content)| image.file(path, content));
        image.build("app.aci");
        fetch(&world, "app.aci");
    };
    build(
        "1.0.0",
        &[("etc/conf", b"one"), ("etc/old", b"old"), ("etc/same", b"same")],
    );
    fs::remove_file(world.path("rootfs-example.com-app/etc/old")).unwrap();
    fs::set_permissions(
        world.path("rootfs-example.com-app/etc/same"),
        fs::Permissions::from_mode(0o600),
    )
    .unwrap();
    build("2.0.0", &[("etc/conf", b"longer"), ("etc/new/file", b"new")]);

    let (one, two) = ("example.com/app:1.0.0", "example.com/app:2.0.0");
    let text = world.dhow(&["image", "diff", one, two]).success();
    let lines: Vec<_> = text.lines().collect();
    assert_eq!(
        lines[..5],
        [
            "~ /etc/conf  content  3 B → 6 B",
            "+ /etc/new",
            "+ /etc/new/file  3 B",
            "- /etc/old  3 B",
            "~ /etc/same  mode  4 B",
        ],
        "{text}"
    );
    assert!(lines[5].starts_with("2 added, 1 removed, 2 changed"), "{text}");
    assert!(lines[5].contains("9 B added, 6 B removed"), "{text}");
    assert_eq!(lines.len(), 6);
    let json: Value =
        serde_json::from_str(&world.dhow(&["image", "diff", "--format", "json", one, two]).success()).unwrap();
    assert_eq!(json["totals"]["bytesAdded"], 9);
    assert_eq!(json["changes"][0]["aspects"], json!(["content"]));
    let none = world.dhow(&["image", "diff", one, one]).success();
    assert!(none.starts_with("0 added, 0 removed, 0 changed"), "{none}");
}

#[test]
fn the_store_tells_its_size_and_its_way() {
    let world = World::new();
    let noise: Vec<u8> = (0..2_000_000u32)
        .map(|at| (at.wrapping_mul(2_654_435_761) >> 13) as u8)
        .collect();
    for name in ["example.com/one", "example.com/two"] {
        world.image(name).file("usr/big", &noise).build("app.aci");
        fetch(&world, "app.aci");
    }
    let status = |arguments: &[&str]| {
        let words = [&["store", "status"], arguments].concat();
        world.dhow(&words).success()
    };
    let text = status(&[]);
    assert!(text.contains("\nimages     2 ("), "{text}");
    assert!(text.contains("\nroots      composefs"), "{text}");
    let json: Value = serde_json::from_str(&status(&["--format", "json"])).unwrap();
    let number = |key: &str| json[key].as_u64().unwrap();
    // Both have the noise and the shell.
    assert!(number("sharedBytes") > 2_000_000, "{json}");
    assert!(number("logicalBytes") > 2 * number("sharedBytes"), "{json}");
    assert!(number("totalBytes") < number("logicalBytes"), "{json}");
    assert_eq!(json["rootFileSystems"], json!({ "way": "erofs", "refused": [] }));
}

#[test]
fn a_command_sees_the_image_and_nobody_else_does() {
    let world = World::new();
    let image = world.image("example.com/app").file("etc/greeting", b"hello\n");
    image.build("app.aci");
    fetch(&world, "app.aci");
    let mount = |arguments: &[&str]| {
        let words = [&["image", "mount", "example.com/app"], arguments].concat();
        world.dhow(&words)
    };
    let seen = mount(&["--", "sh", "-c", "cat etc/greeting; exit 7"]).exited(7);
    assert_eq!(seen.stdout, "hello\n");
    assert_eq!(
        world.dhow(&["image", "pins", "--format", "json"]).success().trim(),
        "[]"
    );
    fs::create_dir(world.path("here")).unwrap();
    assert_eq!(mount(&["here", "--", "ls", "etc"]).success(), "greeting\n");
    assert_eq!(fs::read_dir(world.path("here")).unwrap().count(), 0);
    mount(&[]).exited(2).says("name a directory to mount at, or a command");
    mount(&["--", "/nonesuch"]).exited(1).says("Could not run `/nonesuch`");

    // So it is for an ordinary user, who has a way of their own.
    let home = tempfile::tempdir_in("/var/tmp").unwrap();
    fs::copy(programs().join("dhow"), home.path().join("dhow")).unwrap();
    fs::copy(world.path("app.aci"), home.path().join("app.aci")).unwrap();
    chown(home.path(), Some(65534), Some(65534)).unwrap();
    let dhow = |arguments: &[&str]| {
        let mut command = Command::new("setpriv");
        command.args(["--reuid=65534", "--regid=65534", "--clear-groups", "--inh-caps=-all"]);
        command
            .args(["--bounding-set=-all", "./dhow", "--insecure-options=image"])
            .args(arguments);
        command.current_dir(home.path()).env_clear();
        Outcome::of(command.env("HOME", home.path()).env("PATH", "/usr/bin:/bin"))
    };
    dhow(&["fetch", "./app.aci"]).success();
    let seen = dhow(&["image", "mount", "example.com/app", "--", "cat", "etc/greeting"]).success();
    assert_eq!(seen, "hello\n");
    dhow(&["image", "mount", "example.com/app", "/mnt"])
        .exited(2)
        .says("only root can mount");
    let status = dhow(&["store", "status"]).success();
    assert!(
        status.contains("\nroots      stubs over the store's objects"),
        "{status}"
    );
    assert!(
        status.contains("only root, outside of user namespaces, can mount EROFS"),
        "{status}"
    );
    dhow(&["image", "extract", "example.com/app", "out"]).success();
    assert_eq!(
        fs::read_to_string(home.path().join("out/etc/greeting")).unwrap(),
        "hello\n"
    );
}

#[test]
fn copies_share_their_blocks_where_the_file_system_can() {
    Disk::privacy();
    let world = World::new();
    let image = world.image("example.com/app").file("large", &vec![b'x'; 48 << 20]);
    image.build("app.aci");
    let disk = Disk::new(&world.path("disk"), "xfs", 512, &world.path("data"));
    fetch(&world, "app.aci");
    let extract = ["image", "extract", "example.com/app", "data/out"];
    world.dhow(&extract).success();
    let copy = fs::read(world.path("data/out/large")).unwrap();
    assert!(copy.len() == 48 << 20 && copy.iter().all(|&byte| byte == b'x'));
    let mut filefrag = Command::new("/usr/sbin/filefrag");
    let extents = Outcome::of(filefrag.args(["-s", "-v", &world.arg("data/out/large")])).success();
    let extents: Vec<_> = extents.lines().filter(|line| line.contains("..")).collect();
    assert!(
        !extents.is_empty() && extents.iter().all(|extent| extent.contains("shared")),
        "{extents:?}"
    );
    disk.unmount();
}

#[test]
fn an_archive_that_somebody_writes_to_is_copied_first() {
    let world = World::new();
    let image = world.image("example.com/app").file("etc/greeting", b"hello\n");
    image.build("app.aci");
    let writer = fs::File::options().write(true).open(world.path("app.aci")).unwrap();
    let id = fetch(&world, "app.aci");
    drop(writer);
    // Without one, it is read where it lies.
    assert_eq!(fetch(&world, "app.aci"), id);
}
