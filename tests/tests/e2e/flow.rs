//! The main job: build, sign, publish, discover, trust, fetch, store, run.

use std::{
    fs::{self, File},
    process::Command,
};

use dhow_tests::{Outcome, World, debian};

#[test]
fn a_name_is_enough() {
    let mut world = World::new();
    let fingerprint = world.key();
    let id = world
        .image("example.com/app")
        .version("1.0.0")
        .shell("echo hello from $AC_APP_NAME; exit 7")
        .build("app.aci");
    world
        .dhow(&["publish", "app.aci", "--site", "site", "--url", "https://example.com"])
        .success();
    let nginx = world.nginx("site");

    let found = world.dhow(&["discover", "example.com/app"]).success();
    assert!(found.contains("https://example.com/ACI/example.com/app/"), "{found}");

    // Nobody is trusted yet, which is found out before the archive is asked for.
    let refused = world
        .dhow(&["fetch", "example.com/app"])
        .exited(4)
        .says("no trusted key made the signature");
    assert!(
        refused.stderr.contains("hint: `dhow trust add --prefix"),
        "{}",
        refused.stderr
    );
    assert!(!nginx.requests().contains(".aci HTTP"), "{}", nginx.requests());

    world
        .dhow(&["trust", "add", "--prefix", "example.com", "--fingerprint", &fingerprint])
        .success();
    assert_eq!(world.dhow(&["fetch", "example.com/app"]).success().trim(), id);
    assert!(world.images().contains(&id));
    let shown = world.dhow(&["image", "show", "example.com/app"]).success();
    assert!(
        shown.contains("Carly <carly@example.com>") && shown.contains("trusted for `example.com`"),
        "{shown}"
    );

    // From here on nothing is asked of the server.
    drop(nginx);
    let ran = world.dhow(&["run", "example.com/app"]).exited(7);
    assert_eq!(ran.stdout, "hello from app\n");
    let pods = world.dhow(&["list"]).success();
    assert!(pods.contains("example.com/app") && pods.contains("exited"), "{pods}");
    world.dhow(&["gc", "--grace-period", "0s"]).success();
    let pods = world.dhow(&["list", "--no-legend"]).success();
    assert_eq!(pods.trim(), "");
}

#[test]
fn the_same_input_gives_the_same_image() {
    let (first, second) = (World::new(), World::new());
    let build = |world: &World| {
        world
            .image("example.com/app")
            .file("etc/x", b"x")
            .version("1")
            .build("app.aci")
    };
    assert_eq!(build(&first), build(&second));
    assert_eq!(
        fs::read(first.path("app.aci")).unwrap(),
        fs::read(second.path("app.aci")).unwrap()
    );
}

#[test]
fn versions_and_latest_are_told_apart() {
    let mut world = World::new();
    let fingerprint = world.key();
    let ids = ["1.9.0", "1.10.0"].map(|version| {
        let file = format!("{version}.aci");
        let id = world
            .image("example.com/team/app")
            .file("etc/version", version.as_bytes())
            .version(version)
            .build(&file);
        world
            .dhow(&["publish", &file, "--site", "site", "--url", "https://example.com"])
            .success();
        id
    });
    let _nginx = world.nginx("site");
    world
        .dhow(&[
            "trust",
            "add",
            "--prefix",
            "example.com/team",
            "--fingerprint",
            &fingerprint,
        ])
        .success();
    let fetch = |reference: &str| {
        world
            .dhow(&["fetch", "--pull", "update", reference])
            .success()
            .trim()
            .to_owned()
    };
    assert_eq!(fetch("example.com/team/app:1.9.0"), ids[0]);
    assert_eq!(fetch("example.com/team/app"), ids[1]);
    world.dhow(&["fetch", "example.com/team/app:3.0.0"]).exited(3);
    world.dhow(&["fetch", "example.com/team/nothing"]).exited(3);
}

/// The bars of a whole distribution: bounded memory, and the same tar in the end.
#[test]
fn a_debian_image_goes_all_the_way() {
    let mut world = World::new();
    let fingerprint = world.key();
    let rootfs = debian();
    let built = world.dhow(&[
        "build",
        "--rootfs",
        rootfs.to_str().unwrap(),
        "--name",
        "example.com/debian",
        "--label",
        "version=12",
        "-o",
        "debian.aci",
        "--",
        "/bin/sh",
        "-c",
        "cat /etc/debian_version; exit 3",
    ]);
    let id = built.success().trim().to_owned();
    world
        .dhow(&[
            "publish",
            "debian.aci",
            "--site",
            "site",
            "--url",
            "https://example.com",
        ])
        .success();
    let _nginx = world.nginx("site");
    world
        .dhow(&["trust", "add", "--prefix", "example.com", "--fingerprint", &fingerprint])
        .success();

    let fetched = world.dhow(&["fetch", "example.com/debian:12"]);
    let peak = fetched.peak_memory;
    assert_eq!(fetched.success().trim(), id);
    assert!(peak < 64 << 20, "`dhow fetch` took {} MiB", peak >> 20);

    world
        .dhow(&["image", "export", "example.com/debian", "exported.tar"])
        .success();
    let digest = |command: &str| {
        let outcome = Outcome::of(Command::new("sh").arg("-c").arg(command).current_dir(world.path("")));
        outcome.success().split_whitespace().next().unwrap().to_owned()
    };
    let published = digest("gzip -dc debian.aci | sha512sum");
    assert_eq!(digest("sha512sum exported.tar"), published);
    assert_eq!(id, format!("sha512-{published}"));
    assert!(
        File::open(world.path("exported.tar"))
            .unwrap()
            .metadata()
            .unwrap()
            .len()
            > 200 << 20
    );

    let part = ["--range", "150000000-150999999", "part.tar"];
    world
        .dhow(&[&["image", "export", "example.com/debian"], &part[..]].concat())
        .success();
    assert_eq!(
        digest("sha512sum part.tar"),
        digest("tail -c +150000001 exported.tar | head -c 1000000 | sha512sum")
    );

    let version = fs::read_to_string(rootfs.join("etc/debian_version")).unwrap();
    assert_eq!(world.dhow(&["run", "example.com/debian"]).exited(3).stdout, version);
}
