//! `dhow validate`, `dhow inspect` and `dhow patch`, with GNU tar as the other party.

use std::{fs, path::Path, process::Command};

use dhow_tests::{Outcome, World};
use serde_json::{Value, json};

fn tar(directory: &Path, arguments: &[&str]) -> Vec<u8> {
    let output = Command::new("tar")
        .current_dir(directory)
        .args(arguments)
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    output.stdout
}

/// Each line of output as JSON.
fn json_lines(stdout: &str) -> Vec<Value> {
    stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// An image with five faults: three in its manifest, two in its archive.
fn archive_with_five_faults(world: &World) {
    fs::create_dir_all(world.path("five/rootfs/bin")).unwrap();
    fs::write(world.path("five/rootfs/bin/app"), "app").unwrap();
    fs::write(world.path("five/readme"), "a file outside of rootfs").unwrap();
    let manifest = json!({
        "acKind": "ImageManifest", "acVersion": "0.8.11", "name": "Example.com/App",
        "labels": [{"name": "os", "value": "linux"}, {"name": "arch", "value": "vax"}],
        "app": {"exec": ["/bin/app"], "user": "0", "group": "0",
                "isolators": [{"name": "resource/memory", "value": {"limit": "lots"}}]}
    });
    fs::write(world.path("five/manifest"), manifest.to_string()).unwrap();
    // The last name stands twice.
    let members = ["-czf", "../five.aci", "manifest", "readme", "rootfs", "rootfs/bin/app"];
    tar(&world.path("five"), &members);
}

#[test]
fn an_archive_with_five_faults_is_told_all_five() {
    let world = World::new();
    archive_with_five_faults(&world);
    let outcome: Outcome = world.dhow(&["validate", "five.aci"]).exited(4);
    let stdout = &outcome.stdout;
    assert!(
        stdout.starts_with("`five.aci` is not a valid image: 5 errors"),
        "{stdout}"
    );
    for fault in [
        "error: `name` is wrong: `Example.com/App`",
        "error: `labels` has `arch=vax`",
        "error: `app.isolators[0].value.limit` is wrong: `lots`",
        "error: `readme` is outside of `rootfs` (aci.md, \"Image Archives\")",
        "error: `rootfs/bin/app` stands twice",
    ] {
        assert!(stdout.contains(fault), "{fault}\n{stdout}");
    }
    assert_eq!(stdout.matches("error: ").count(), 5, "{stdout}");

    let outcome = world
        .dhow(&["validate", "--format", "json", "five.aci", "five/manifest"])
        .exited(4);
    let [archive, manifest] = <[Value; 2]>::try_from(json_lines(&outcome.stdout)).unwrap();
    assert_eq!(
        (&archive["valid"], &archive["name"]),
        (&json!(false), &json!("Example.com/App"))
    );
    assert_eq!(archive["findings"].as_array().unwrap().len(), 5, "{archive}");
    assert_eq!(archive["findings"][0]["section"], "types.md, \"AC Identifier Type\"");
    assert_eq!(manifest["findings"].as_array().unwrap().len(), 3, "{manifest}");
}

#[test]
fn what_is_valid_is_told_so_and_warned_of() {
    let world = World::new();
    let id = world.image("example.com/app").version("1").build("app.aci");
    let outcome = world.dhow(&["validate", "app.aci"]).success();
    assert!(
        outcome.contains("`app.aci` is the valid image `example.com/app`"),
        "{outcome}"
    );
    assert!(outcome.contains(&id), "{outcome}");
    world
        .image("example.com/app")
        .arg("--compression")
        .arg("zstd")
        .build("zstd.aci");
    let outcome = world.dhow(&["validate", "--format", "json", "zstd.aci"]).success();
    let report = &json_lines(&outcome)[0];
    assert_eq!(report["valid"], true);
    assert_eq!(report["findings"][0]["severity"], "warning");

    let pod =
        json!({"acKind": "PodManifest", "acVersion": "0.8.11", "apps": [], "volumes": [{"name": "v", "kind": "x"}]});
    fs::write(world.path("pod.json"), pod.to_string()).unwrap();
    let outcome = world.dhow(&["validate", "pod.json"]).exited(4);
    assert!(outcome.stdout.contains("`volumes[0].kind` is `x`"), "{outcome:?}");
    assert!(outcome.stdout.contains("pods.md"), "{outcome:?}");
    fs::write(world.path("pod.json"), pod.to_string().replace("\"x\"", "\"empty\"")).unwrap();
    world.dhow(&["validate", "pod.json"]).success();
}

/// What an archive holds beside its manifest, as GNU tar tells it.
fn listing(world: &World, archive: &str) -> String {
    let list = tar(
        &world.path("."),
        &["--numeric-owner", "--full-time", "--exclude=manifest", "-tvf", archive],
    );
    String::from_utf8(list).unwrap()
}

#[test]
fn a_patch_changes_the_manifest_and_nothing_else() {
    let world = World::new();
    world
        .image("example.com/app")
        .version("1")
        .shell("true")
        .file("data", &[7; 5000])
        .arg("--environment")
        .arg("A=1")
        .arg("--annotation")
        .arg("authors=Carly")
        .build("app.aci");
    let patch = [
        "patch",
        "app.aci",
        "-o",
        "new.aci",
        "--name",
        "example.com/new",
        "--label",
        "version=2",
        "--label",
        "env=test",
        "--annotation",
        "homepage=https://example.com",
        "--no-annotation",
        "authors",
        "--exec",
        "/bin/sh",
        "--exec",
        "-x",
        "--user",
        "7",
        "--group",
        "8",
        "--supplementary-gids",
        "9,10",
        "--working-directory",
        "/tmp",
        "--environment",
        "A=2",
        "--environment",
        "B=3",
        "--mount-point",
        "data,path=/data,readOnly=true",
        "--port",
        "http,port=80,count=2",
        "--isolator",
        "resource/memory,request=1G,limit=2G",
        "--isolator",
        "os/linux/no-new-privileges,true",
        "--caps-retain",
        "CAP_KILL,CAP_CHOWN",
        "--seccomp-mode",
        "remove,errno=EPERM",
        "--seccomp-set",
        "reboot,mount",
    ];
    let id = world.dhow(&patch).success();
    let manifest: Value = serde_json::from_str(&world.dhow(&["manifest", "new.aci"]).success()).unwrap();
    assert_eq!(manifest["name"], "example.com/new");
    let labels = manifest["labels"].as_array().unwrap();
    assert!(labels.contains(&json!({"name": "version", "value": "2"})), "{labels:?}");
    assert!(labels.contains(&json!({"name": "env", "value": "test"})), "{labels:?}");
    assert_eq!(
        manifest["annotations"],
        json!([{"name": "homepage", "value": "https://example.com"}])
    );
    let expected = json!({
        "exec": ["/bin/sh", "-x"], "user": "7", "group": "8", "supplementaryGIDs": [9, 10], "workingDirectory": "/tmp",
        "environment": [{"name": "A", "value": "2"}, {"name": "B", "value": "3"}],
        "mountPoints": [{"name": "data", "path": "/data", "readOnly": true}],
        "ports": [{"name": "http", "protocol": "tcp", "port": 80, "count": 2}],
        "isolators": [
            {"name": "resource/memory", "value": {"request": "1G", "limit": "2G"}},
            {"name": "os/linux/no-new-privileges", "value": true},
            {"name": "os/linux/capabilities-retain-set", "value": {"set": ["CAP_KILL", "CAP_CHOWN"]}},
            {"name": "os/linux/seccomp-remove-set", "value": {"set": ["reboot", "mount"], "errno": "EPERM"}}
        ]
    });
    assert_eq!(manifest["app"], expected);

    // The image ID is that of the new tar, the compression the old one, and the rest as it was.
    let validated = world.dhow(&["validate", "--format", "json", "new.aci"]).success();
    assert_eq!(json_lines(&validated)[0]["id"], id.trim());
    assert_eq!(fs::read(world.path("new.aci")).unwrap()[..2], [0x1f, 0x8b]);
    assert_eq!(listing(&world, "new.aci"), listing(&world, "app.aci"));
    for archive in ["app", "new"] {
        fs::create_dir(world.path(archive)).unwrap();
        tar(
            &world.path(archive),
            &["--no-same-owner", "-xf", &format!("../{archive}.aci"), "rootfs"],
        );
    }
    let diff = Command::new("diff")
        .args(["-r", "app", "new"])
        .current_dir(world.path("."))
        .status()
        .unwrap();
    assert!(diff.success());
}

#[test]
fn a_patch_is_whole_or_not_at_all() {
    let world = World::new();
    let id = world.image("example.com/app").version("1").build("app.aci");
    let before = fs::read(world.path("app.aci")).unwrap();
    world.dhow(&["patch", "app.aci", "--label", "version=2"]).exited(2);
    world
        .dhow(&["patch", "app.aci", "--label", "version=2", "-o", "app.aci"])
        .exited(1)
        .says("--overwrite replaces it");
    world
        .dhow(&["patch", "app.aci", "--label", "arch=vax", "--overwrite"])
        .exited(1)
        .says("`labels` has `arch=vax`");
    world
        .dhow(&["patch", "app.aci", "--user", "7", "--overwrite"])
        .exited(1)
        .says("nothing to run");
    world
        .dhow(&["patch", "app.aci", "--no-label", "none", "--overwrite"])
        .exited(1)
        .says("no label `none`");
    assert!(fs::read(world.path("app.aci")).unwrap() == before);

    let new = world
        .dhow(&["patch", "app.aci", "--label", "version=2", "--overwrite"])
        .success();
    assert_ne!(new.trim(), id);
    // Back again, by the old manifest as a file: the same image.
    let old = world.dhow(&["manifest", "app.aci"]).success().replace("\"2\"", "\"1\"");
    let compact: Value = serde_json::from_str(&old).unwrap();
    fs::write(world.path("old.json"), compact.to_string()).unwrap();
    let again = world
        .dhow(&["patch", "app.aci", "--manifest", "old.json", "--overwrite"])
        .success();
    assert_eq!(again.trim(), id);
}

#[test]
fn a_broken_manifest_can_be_replaced() {
    let world = World::new();
    fs::create_dir_all(world.path("broken/rootfs")).unwrap();
    fs::write(world.path("broken/manifest"), "{ not json").unwrap();
    tar(&world.path("broken"), &["-cJf", "../broken.aci", "rootfs", "manifest"]);
    world.dhow(&["validate", "broken.aci"]).exited(4);
    let manifest = json!({"acKind": "ImageManifest", "acVersion": "0.8.11", "name": "example.com/mended"});
    fs::write(world.path("new.json"), manifest.to_string()).unwrap();
    world
        .dhow(&["patch", "broken.aci", "--manifest", "new.json", "--overwrite"])
        .success();
    let outcome = world.dhow(&["validate", "broken.aci"]).success();
    assert!(outcome.contains("`example.com/mended`"), "{outcome}");
}

#[test]
fn inspect_shows_sizes_dependencies_and_the_signature() {
    let world = World::new();
    fs::write(
        world.path("base.json"),
        json!({"acKind": "ImageManifest", "acVersion": "0.8.11", "name": "example.com/app",
               "dependencies": [{"imageName": "example.com/base", "labels": [{"name": "version", "value": "3"}]}]})
        .to_string(),
    )
    .unwrap();
    let id = world
        .image("example.com/app")
        .file("srv/large/one", &[1; 3_000_000])
        .arg("--manifest")
        .arg(&world.arg("base.json"))
        .build("app.aci");
    let inspect = || json_lines(&world.dhow(&["inspect", "--format", "json", "app.aci"]).success()).remove(0);
    let report = inspect();
    assert_eq!(report["id"], id);
    assert_eq!(report["compression"], "gzip");
    assert_eq!(report["signature"], json!({"state": "none"}));
    assert_eq!(
        report["archiveSize"],
        fs::metadata(world.path("app.aci")).unwrap().len()
    );
    assert_eq!(report["manifest"]["dependencies"][0]["imageName"], "example.com/base");
    let directories = report["directories"].as_array().unwrap();
    let large = directories
        .iter()
        .find(|directory| directory["path"] == "/srv/large")
        .unwrap();
    assert_eq!((&large["size"], &large["files"]), (&json!(3_000_000), &json!(1)));

    let fingerprint = world.key();
    world.dhow(&["sign", "app.aci"]).success();
    assert_eq!(inspect()["signature"]["state"], "untrusted");
    let key = world.dhow(&["key", "export", "carly"]).success();
    fs::write(world.path("key.asc"), key).unwrap();
    world
        .dhow(&[
            "trust",
            "add",
            "--prefix",
            "example.com",
            "--fingerprint",
            &fingerprint,
            "key.asc",
        ])
        .success();
    let signature = &inspect()["signature"];
    assert_eq!(signature["state"], "trusted", "{signature}");
    assert!(
        signature["verification"]
            .to_string()
            .to_lowercase()
            .contains(&fingerprint.to_lowercase()),
        "{signature}"
    );

    let text = world
        .dhow(&["inspect", "--depth", "1", "--top", "2", "app.aci"])
        .success();
    assert!(text.contains("example.com/base,version=3"), "{text}");
    assert!(text.contains("/srv"), "{text}");
    assert!(!text.contains("/srv/large"), "{text}");
    assert_eq!(
        text.lines().skip_while(|line| !line.starts_with("SIZE")).count(),
        3,
        "{text}"
    );

    // A patched archive is another one than was signed.
    world
        .dhow(&["patch", "app.aci", "--label", "env=test", "--overwrite"])
        .says("is not of the new archive")
        .success();
    assert_eq!(inspect()["signature"]["state"], "untrusted");
}

#[test]
fn archives_are_read_within_limits_that_can_be_set() {
    let world = World::new();
    world
        .image("example.com/app")
        .version("1")
        .shell("true")
        .build("app.aci");
    let few = ["--max-entries", "1"];
    let small = ["--max-size", "1Ki"];
    let commands: [&[&str]; 5] = [
        &["validate", "app.aci"],
        &["inspect", "app.aci"],
        &["patch", "app.aci", "--label", "version=2", "-o", "new.aci"],
        &["convert", "app.aci", "oci:layout:1"],
        &["--insecure-options", "image", "fetch", "./app.aci"],
    ];
    for command in commands {
        let within = |limit: &[&str]| world.dhow(&[command, limit].concat());
        let told = |outcome: Outcome| {
            let outcome = outcome.exited(4);
            outcome.stdout + &outcome.stderr
        };
        let said = told(within(&few));
        assert!(said.contains("over 1 names"), "{command:?}: {said}");
        let said = told(within(&small));
        assert!(said.contains("over 1024 bytes of tar"), "{command:?}: {said}");
        within(&["--max-entries", "1000", "--max-size", "1Gi"]).success();
    }
    world
        .dhow(&["convert", "oci:layout:1", "back.aci", "--max-entries", "1"])
        .exited(4)
        .says("over 1 names");
    world
        .dhow(&["convert", "oci:layout:1", "back.aci", "--max-size", "1k"])
        .exited(4)
        .says("over 1000 uncompressed");
    world.dhow(&["validate", "app.aci", "--max-size", "much"]).exited(2);
}

#[test]
fn a_patched_archive_is_readable_by_whom_it_was() {
    use std::os::unix::fs::PermissionsExt;
    let world = World::new();
    world.image("example.com/app").version("1").build("app.aci");
    let app = world.path("app.aci");
    fs::set_permissions(&app, fs::Permissions::from_mode(0o640)).unwrap();
    let patch = |output: &[&str]| {
        let arguments = ["patch", "app.aci", "--label", "version=2"];
        world.dhow(&[&arguments[..], output].concat()).success();
    };
    patch(&["--overwrite"]);
    let mode = |name: &str| world.path(name).metadata().unwrap().permissions().mode() & 0o7777;
    assert_eq!(mode("app.aci"), 0o640);
    patch(&["-o", "new.aci"]);
    assert_eq!(mode("new.aci"), 0o644);
}
