//! Conversion, judged by the tools of the other side: umoci and skopeo.

use std::{
    collections::BTreeMap,
    fs,
    os::unix::fs::{PermissionsExt, chown, symlink},
    path::{Path, PathBuf},
    process::Command,
};

use dhow_tests::{Outcome, World, debian, differences, tree};
use serde_json::{Value, json};

fn run(program: &str, arguments: &[&str]) -> String {
    Outcome::of(Command::new(program).args(arguments)).success()
}

/// An image of four layers in `layout`, made by umoci, and what it unpacks of it: files and directories are changed,
/// deleted, replaced by other kinds, linked; one layer has an opaque directory.
fn image_of_umoci(world: &World) -> BTreeMap<PathBuf, String> {
    let (layout, bundle) = (world.arg("layout"), world.arg("bundle"));
    let image = format!("{layout}:1.0");
    let rootfs = world.path("bundle/rootfs");
    run("umoci", &["init", "--layout", &layout]);
    run("umoci", &["new", "--image", &image]);
    run("umoci", &["unpack", "--image", &image, &bundle]);
    let repack = || run("umoci", &["repack", "--refresh-bundle", "--image", &image, &bundle]);

    let debian = debian();
    fs::create_dir_all(rootfs.join("usr/lib")).unwrap();
    for part in ["etc", "usr/bin", "usr/lib/apt", "var/log"] {
        let target = rootfs.join(part);
        fs::create_dir_all(target.parent().unwrap()).unwrap();
        run(
            "cp",
            &["-a", debian.join(part).to_str().unwrap(), target.to_str().unwrap()],
        );
    }
    let write = |name: &str, text: &str| {
        let path = rootfs.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    };
    let busybox = ["/bin/busybox", "/usr/bin/busybox"]
        .into_iter()
        .find(|path| Path::new(path).exists());
    fs::copy(
        busybox.expect("tests/run installs busybox"),
        rootfs.join("usr/bin/busybox"),
    )
    .unwrap();
    write("data/kept", "kept");
    write("data/dropped", "dropped");
    write("data/becomes-a-directory", "file");
    write("data/becomes-a-file/inner", "inner");
    write("opaque/lower", "lower");
    write("links/one", "linked");
    for name in ["links/two", "links/three", "data/far"] {
        fs::hard_link(rootfs.join("links/one"), rootfs.join(name)).unwrap();
    }
    let long = "x".repeat(200);
    write(&format!("data/{long}/{long}"), "long");
    symlink("../data/kept", rootfs.join("links/soft")).unwrap();
    symlink("/nowhere/é", rootfs.join("links/dangling")).unwrap();
    run("mkfifo", &[rootfs.join("pipe").to_str().unwrap()]);
    run("mknod", &[rootfs.join("null").to_str().unwrap(), "c", "1", "3"]);
    chown(rootfs.join("data/kept"), Some(3_000_000), Some(70_000)).unwrap();
    fs::set_permissions(rootfs.join("data/kept"), fs::Permissions::from_mode(0o4751)).unwrap();
    xattr::set(rootfs.join("data/kept"), "user.note", b"two\nlines\0\xff").unwrap();
    // cap_net_bind_service=ep, with a newline's byte in it.
    let capability = [1, 0, 0, 2, 0, 4, 0, 0, 0, 0, 0, 0, 10, 0, 0, 0, 0, 0, 0, 0];
    xattr::set(rootfs.join("usr/bin/env"), "security.capability", &capability).unwrap();
    xattr::set(rootfs.join("data"), "user.directory", b"yes").unwrap();
    repack();

    fs::remove_file(rootfs.join("data/dropped")).unwrap();
    fs::remove_dir_all(rootfs.join("usr/lib/apt")).unwrap();
    fs::remove_file(rootfs.join("data/becomes-a-directory")).unwrap();
    write("data/becomes-a-directory/inner", "inner");
    fs::remove_dir_all(rootfs.join("data/becomes-a-file")).unwrap();
    write("data/becomes-a-file", "file");
    fs::remove_file(rootfs.join("links/one")).unwrap();
    repack();

    write("data/dropped", "again");
    fs::hard_link(rootfs.join("data/dropped"), rootfs.join("links/again")).unwrap();
    fs::set_permissions(rootfs.join("links"), fs::Permissions::from_mode(0o1777)).unwrap();
    repack();

    let upper = world.path("upper");
    fs::create_dir(&upper).unwrap();
    fs::write(upper.join("upper"), "upper").unwrap();
    run(
        "umoci",
        &[
            "insert",
            "--image",
            &image,
            "--opaque",
            upper.to_str().unwrap(),
            "/opaque",
        ],
    );
    run(
        "umoci",
        &[
            "config",
            "--image",
            &image,
            "--config.entrypoint",
            "/bin/sh",
            "--config.cmd",
            "-c",
            "--config.cmd",
            "true",
            "--config.env",
            "A=b=c",
            "--config.user",
            "1000:1000",
            "--config.workingdir",
            "/data",
            "--config.exposedports",
            "80/tcp",
            "--config.volume",
            "/var/lib/app",
            "--config.label",
            "com.example.team=web",
            "--config.stopsignal",
            "SIGQUIT",
            "--author",
            "Carly <carly@example.com>",
        ],
    );
    let manifest = run("skopeo", &["inspect", "--raw", &format!("oci:{image}")]);
    assert_eq!(manifest.matches("layer.v1.tar+gzip").count(), 4, "{manifest}");
    unpacked(world, &image, "expected")
}

/// What umoci makes of an image in a layout.
fn unpacked(world: &World, image: &str, name: &str) -> BTreeMap<PathBuf, String> {
    let bundle = world.arg(name);
    run("umoci", &["unpack", "--image", image, &bundle]);
    tree(&Path::new(&bundle).join("rootfs"))
}

fn assert_same(one: &BTreeMap<PathBuf, String>, other: &BTreeMap<PathBuf, String>) {
    let differences = differences(one, other);
    assert!(
        differences.is_empty(),
        "{} differences:\n{}",
        differences.len(),
        differences.join("\n")
    );
}

/// What an image's configuration says of running it.
fn run_config(image: &str) -> Value {
    let config = run("skopeo", &["inspect", "--config", "--raw", image]);
    let config: Value = serde_json::from_str(&config).unwrap();
    config["config"].clone()
}

#[test]
fn an_oci_image_becomes_an_aci_and_comes_back() {
    let world = World::new();
    let expected = image_of_umoci(&world);
    assert!(expected.len() > 500 && expected.contains_key(Path::new("opaque/upper")));
    assert!(!expected.contains_key(Path::new("opaque/lower")));

    let converted = world.dhow(&["convert", "oci:layout:1.0", "app.aci", "--name", "example.com/app"]);
    assert!(converted.peak_memory < 64 << 20, "{} bytes", converted.peak_memory);
    let id = converted.success();
    assert!(world.dhow(&["validate", "app.aci"]).success().contains(id.trim()));

    let exported = world.dhow(&["convert", "app.aci", "oci:back"]);
    assert!(exported.peak_memory < 64 << 20, "{} bytes", exported.peak_memory);
    let digest = exported.success();
    assert_same(
        &expected,
        &unpacked(&world, &format!("{}:1.0", world.arg("back")), "round"),
    );
    let (before, after) = (
        format!("oci:{}:1.0", world.arg("layout")),
        format!("oci:{}:1.0", world.arg("back")),
    );
    assert_eq!(run_config(&before), run_config(&after));
    assert!(
        run("skopeo", &["inspect", &after]).contains(digest.trim()),
        "the digest is what skopeo computes"
    );

    // The same ACI gives the same digest, wherever it goes; and the same image gives the same ACI.
    assert_eq!(world.dhow(&["convert", "app.aci", "oci:again"]).success(), digest);
    assert_eq!(
        world.dhow(&["convert", "app.aci", "oci-archive:back.tar"]).success(),
        digest
    );
    let again = world.dhow(&["convert", "oci:layout:1.0", "again.aci", "--name", "example.com/app"]);
    assert_eq!(again.success(), id);
    for source in ["oci:back:1.0", "oci-archive:back.tar"] {
        let back = world.dhow(&["convert", source, "back.aci", "--overwrite"]).success();
        assert_eq!(back, id, "{source}");
    }

    // skopeo reads the archive, and so it does when the layer is of another compression.
    for (number, compression) in ["gzip", "zstd", "none"].iter().enumerate() {
        let archive = format!("oci-archive:{compression}.tar");
        world
            .dhow(&["convert", "app.aci", &archive, "--compression", compression])
            .success();
        let copy = world.arg(&format!("copy{number}"));
        run(
            "skopeo",
            &[
                "--insecure-policy",
                "copy",
                "-q",
                &format!("oci-archive:{}", world.arg(&format!("{compression}.tar"))),
                &format!("oci:{copy}:x"),
            ],
        );
        if *compression != "zstd" {
            assert_same(
                &expected,
                &unpacked(&world, &format!("{copy}:x"), &format!("copied{number}")),
            );
        }
    }
}

#[test]
fn docker_archives_are_read_and_written() {
    let world = World::new();
    let expected = image_of_umoci(&world);
    let saved = format!("docker-archive:{}", world.arg("saved.tar"));
    run(
        "skopeo",
        &[
            "--insecure-policy",
            "copy",
            "-q",
            &format!("oci:{}:1.0", world.arg("layout")),
            &format!("{saved}:example.com/team/app:1.0"),
        ],
    );
    let direct = world
        .dhow(&[
            "convert",
            "oci:layout:1.0",
            "direct.aci",
            "--name",
            "example.com/team/app",
        ])
        .success();
    let converted = world.dhow(&["convert", "docker-archive:saved.tar", "app.aci"]);
    assert!(converted.peak_memory < 64 << 20, "{} bytes", converted.peak_memory);
    let id = converted.success();
    assert_ne!(
        id, direct,
        "the name in the archive is another than the tag in the layout"
    );
    let manifest = world.dhow(&["manifest", "app.aci"]).success();
    for text in [
        "\"example.com/team/app\"",
        "\"version\"",
        "\"1.0\"",
        "appc.io/docker/stopsignal",
        "80-tcp",
    ] {
        assert!(manifest.contains(text), "{text}: {manifest}");
    }

    // The tools from before Docker 1.10 look for other files in it.
    world
        .dhow(&["convert", "app.aci", "docker-archive:written.tar"])
        .success();
    let copied = world.arg("copied");
    run(
        "skopeo",
        &[
            "--insecure-policy",
            "copy",
            "-q",
            &format!("docker-archive:{}", world.arg("written.tar")),
            &format!("oci:{copied}:x"),
        ],
    );
    assert_same(&expected, &unpacked(&world, &format!("{copied}:x"), "from-docker"));
    assert_eq!(
        world
            .dhow(&["convert", "docker-archive:written.tar", "back.aci"])
            .success(),
        id
    );
    let files = world.arg("files");
    fs::create_dir(&files).unwrap();
    run("tar", &["-C", &files, "-xf", &world.arg("written.tar")]);
    fs::remove_file(Path::new(&files).join("manifest.json")).unwrap();
    run("tar", &["-C", &files, "-czf", &world.arg("old.tar.gz"), "."]);
    let old = world
        .dhow(&[
            "convert",
            "docker-archive:old.tar.gz:example.com/team/app:1.0",
            "old.aci",
        ])
        .success();
    assert_eq!(old, id, "as an archive from before Docker 1.10");
}

/// Makes of what skopeo saved what Docker 25 and later save: an OCI layout, in which a `manifest.json` names the same
/// blobs.
fn as_docker_saves_today(world: &World, saved: &str, new: &str) {
    let (files, layout) = (world.path("saved-files"), world.path("saved-layout"));
    fs::create_dir(&files).unwrap();
    run("tar", &["-C", files.to_str().unwrap(), "-xf", &world.arg(saved)]);
    let blobs = layout.join("blobs/sha256");
    fs::create_dir_all(&blobs).unwrap();
    let put = |bytes: &[u8]| {
        let file = layout.join("blob");
        fs::write(&file, bytes).unwrap();
        let hex = run("sha256sum", &[file.to_str().unwrap()])[..64].to_owned();
        fs::rename(file, blobs.join(&hex)).unwrap();
        (hex, bytes.len())
    };
    let json = |name: &str| serde_json::from_slice::<Value>(&fs::read(files.join(name)).unwrap()).unwrap();
    let mut saved = json("manifest.json");
    let descriptor = |kind: &str, (hex, size): &(String, usize)| json!({ "mediaType": format!("application/vnd.oci.image.{kind}"), "digest": format!("sha256:{hex}"), "size": size });
    let blob = |name: &mut Value| {
        let stored = put(&fs::read(files.join(name.as_str().unwrap())).unwrap());
        *name = format!("blobs/sha256/{}", stored.0).into();
        stored
    };
    let config = descriptor("config.v1+json", &blob(&mut saved[0]["Config"]));
    let layers = saved[0]["Layers"].as_array_mut().unwrap().iter_mut();
    let layers: Vec<_> = layers.map(|layer| descriptor("layer.v1.tar", &blob(layer))).collect();
    let kind = "application/vnd.oci.image.manifest.v1+json";
    let manifest = json!({ "schemaVersion": 2, "mediaType": kind, "config": config, "layers": layers });
    let mut manifest = descriptor("manifest.v1+json", &put(manifest.to_string().as_bytes()));
    manifest["annotations"] = json!({
        "io.containerd.image.name": saved[0]["RepoTags"][0], "org.opencontainers.image.ref.name": "1.0",
    });
    let kind = "application/vnd.oci.image.index.v1+json";
    let index = json!({ "schemaVersion": 2, "mediaType": kind, "manifests": [manifest] });
    let write = |name: &str, value: &Value| fs::write(layout.join(name), value.to_string()).unwrap();
    write("index.json", &index);
    write("manifest.json", &saved);
    write("oci-layout", &json!({ "imageLayoutVersion": "1.0.0" }));
    let members = ["blobs", "index.json", "manifest.json", "oci-layout"];
    let arguments = ["-C", layout.to_str().unwrap(), "-cf", &world.arg(new)];
    run("tar", &[&arguments[..], &members].concat());
}

#[test]
fn what_docker_saves_today_is_read_as_either_form() {
    let world = World::new();
    let expected = image_of_umoci(&world);
    let layout = format!("oci:{}:1.0", world.arg("layout"));
    let saved = format!("docker-archive:{}:example.com/team/app:1.0", world.arg("saved.tar"));
    run("skopeo", &["--insecure-policy", "copy", "-q", &layout, &saved]);
    as_docker_saves_today(&world, "saved.tar", "new.tar");
    let id = world
        .dhow(&["convert", "docker-archive:saved.tar", "saved.aci"])
        .success();
    let new = world.dhow(&["convert", "docker-archive:new.tar", "new.aci"]).success();
    assert_eq!(new, id, "the same image in the newer shape");
    let name = ["--name", "example.com/team/app"];
    let arguments = ["convert", "oci-archive:new.tar:1.0", "oci.aci"];
    world.dhow(&[&arguments[..], &name].concat()).success();
    for (number, aci) in ["new.aci", "oci.aci"].iter().enumerate() {
        let back = format!("back{number}");
        world.dhow(&["convert", aci, &format!("oci:{back}:x")]).success();
        let back = format!("{}:x", world.arg(&back));
        assert_same(&expected, &unpacked(&world, &back, &format!("unpacked{number}")));
    }
}

#[test]
fn layers_that_others_compressed_with_zstd_are_read() {
    let world = World::new();
    let expected = image_of_umoci(&world);
    let layout = format!("oci:{}:1.0", world.arg("layout"));
    let copy = |arguments: &[&str]| run("skopeo", &[&["--insecure-policy", "copy", "-q"], arguments].concat());
    // Layers that are compressed already stay as they are, so that they are decompressed on the way.
    let plain = format!("dir:{}", world.arg("plain"));
    copy(&["--dest-decompress", &layout, &plain]);
    let zstd = format!("oci:{}:1.0", world.arg("zstd"));
    copy(&["--dest-compress-format", "zstd", &plain, &zstd]);
    let manifest = run("skopeo", &["inspect", "--raw", &zstd]);
    assert_eq!(manifest.matches("layer.v1.tar+zstd").count(), 4, "{manifest}");
    let name = ["--name", "example.com/app"];
    let arguments = ["convert", "oci:zstd:1.0", "app.aci"];
    world.dhow(&[&arguments[..], &name].concat()).success();
    world.dhow(&["convert", "app.aci", "oci:back:x"]).success();
    let back = format!("{}:x", world.arg("back"));
    assert_same(&expected, &unpacked(&world, &back, "unpacked"));
}

#[test]
fn kept_layers_are_rendered_as_the_image_was() {
    let world = World::new();
    let whole = image_of_umoci(&world);
    let ids = world.dhow(&[
        "convert",
        "--layers",
        "keep",
        "oci:layout:1.0",
        "layers",
        "--name",
        "example.com/app",
    ]);
    let ids = ids.success();
    let ids: Vec<&str> = ids.split_whitespace().collect();
    assert_eq!(ids.len(), 4);
    let mut files: Vec<_> = fs::read_dir(world.path("layers"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    files.sort();
    world
        .dhow(&["convert", "layers/image.aci", "oci:whole:x"])
        .exited(1)
        .says("once `dhow fetch layers/image.aci` has stored them");
    for (file, id) in files.iter().zip(&ids) {
        let said = world.dhow(&["validate", file.to_str().unwrap()]).success();
        assert!(said.contains(id), "{said}");
        world
            .dhow(&["--insecure-options", "image", "fetch", file.to_str().unwrap()])
            .success();
    }
    world.dhow(&["convert", "layers/image.aci", "oci:whole:x"]).success();
    let image = format!("{}:x", world.arg("whole"));
    assert_same(&whole, &unpacked(&world, &image, "rendered"));

    // What is left of the deleted, the replaced and the linked, seen from inside.
    let script = "cd /; busybox find data links opaque usr/lib -maxdepth 2 -name '[a-z]*' | busybox grep -v xxx | busybox sort; \
                  busybox stat -c %h links/two data/dropped; busybox cat data/dropped";
    let arguments = [
        "--insecure-options",
        "image",
        "run",
        ids[3],
        "--user",
        "0",
        "--group",
        "0",
    ];
    let exec = ["--exec", "/usr/bin/busybox", "--", "sh", "-c", script];
    let said = world.dhow(&[&arguments[..], &exec].concat()).success();
    let expected = "data data/becomes-a-directory data/becomes-a-directory/inner data/becomes-a-file data/dropped \
                    data/far data/kept links links/again links/dangling links/soft links/three links/two opaque \
                    opaque/upper usr/lib 3 2 again";
    assert_eq!(said.split_whitespace().collect::<Vec<_>>().join(" "), expected);
}

#[test]
fn failures_say_what_and_exit_as_documented() {
    let world = World::new();
    world.image("example.com/app").shell("true").build("app.aci");
    world.dhow(&["convert", "app.aci", "oci:layout:1"]).success();
    world
        .dhow(&["convert", "oci:layout:2", "x.aci"])
        .exited(3)
        .says("it has `1`");
    world
        .dhow(&["convert", "oci:layout:1", "x.aci", "--platform", "linux/s390x"])
        .exited(3)
        .says("no image for linux/s390x");
    world.dhow(&["convert", "oci:none", "x.aci"]).exited(3);
    world
        .dhow(&["convert", "oci:layout:1", "app.aci"])
        .exited(1)
        .says("--overwrite");
    world.dhow(&["convert", "app.aci", "b.aci"]).exited(1);
    world
        .dhow(&["convert", "docker://example.com/app", "b.aci"])
        .exited(2)
        .says("reads no network");
    let blobs = world.path("layout/blobs/sha256");
    let largest = fs::read_dir(&blobs).unwrap().map(|entry| entry.unwrap().path());
    let largest = largest.max_by_key(|path| path.metadata().unwrap().len()).unwrap();
    let mut bytes = fs::read(&largest).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(&largest, bytes).unwrap();
    world.dhow(&["convert", "oci:layout:1", "x.aci"]).exited(4);
    assert!(!world.path("x.aci").exists());
}
