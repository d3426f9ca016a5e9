//! `dhow image rm|gc|pin` and `dhow store status|gc|fsck`.

use std::{fs, process::Command};

use dhow_tests::{Outcome, Workload, World, programs};
use serde_json::Value;

fn json(text: &str) -> Value {
    serde_json::from_str(text).unwrap()
}

fn fetch(world: &World, archive: &str) -> Outcome {
    world.dhow(&["--insecure-options=image", "fetch", archive])
}

fn pod(world: &World, arguments: &[&str]) -> Outcome {
    let mut command = Command::new(programs().join("dhow-pod"));
    Outcome::of(command.arg("--dir").arg(world.path("data")).args(arguments))
}

#[test]
fn an_image_goes_when_nobody_needs_it() {
    let world = World::new();
    let id = world
        .image("example.com/app")
        .version("1.0.0")
        .shell("true")
        .build("app.aci");
    fetch(&world, "app.aci").success();
    let uuid = pod(&world, &["prepare", &id]).success().trim().to_owned();

    let refused = world.dhow(&["image", "rm", "example.com/app"]).exited(1);
    refused
        .says("`example.com/app:1.0.0 (sha512-")
        .says(&format!("is needed by pod `{uuid}`"))
        .says(&format!("hint: `dhow rm {}`", &uuid[..8]));
    pod(&world, &["rm", &uuid]).success();

    let pin = world
        .dhow(&["image", "pin", "--name", "web", "example.com/app"])
        .success();
    assert_eq!(pin, "web\n");
    world
        .dhow(&["image", "rm", "example.com/app"])
        .exited(1)
        .says("is needed by pin `web`");
    assert!(
        world
            .dhow(&["image", "pins"])
            .success()
            .contains("web  example.com/app sha512-")
    );
    world.dhow(&["image", "gc", "--grace-period", "0"]).success();
    assert!(world.images().contains(&id));
    world.dhow(&["image", "unpin", "web"]).success();
    world
        .dhow(&["image", "unpin", "web"])
        .exited(3)
        .says("There is no pin `web`");

    let told = world
        .dhow(&["image", "gc", "--grace-period", "0", "--dry-run"])
        .success();
    assert_eq!(told.trim(), id);
    assert!(
        world
            .dhow(&["image", "gc", "--grace-period", "1h"])
            .success()
            .is_empty()
    );
    assert_eq!(world.dhow(&["image", "rm", "example.com/app"]).success().trim(), id);
    world.dhow(&["image", "rm", "example.com/app"]).exited(3);
    assert!(!world.images().contains(&id));

    let status = json(&world.dhow(&["store", "status", "--format", "json"]).success());
    assert_eq!(status["images"]["number"], 0);
    assert!(status["objects"]["number"].as_u64() > Some(0));
    let freed = world
        .dhow(&["store", "gc", "--grace", "0", "--format", "json"])
        .success();
    assert!(json(&freed)["freedBytes"].as_u64() > Some(100_000), "{freed}");
    let status = json(&world.dhow(&["store", "status", "--format", "json"]).success());
    assert_eq!(status["objects"]["number"], 0);
    assert_eq!(status["trees"]["number"], 0);
}

#[test]
fn a_running_pod_keeps_its_image() {
    let world = World::new();
    let id = world.image("example.com/app").shell("cat; true").build("app.aci");
    fetch(&world, "app.aci").success();
    let mut command = Command::new(programs().join("dhow-pod"));
    command.arg("--dir").arg(world.path("data")).args(["run", &id]);
    let mut running = command
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::null())
        .spawn()
        .unwrap();
    let begin = std::time::Instant::now();
    while !pod(&world, &["list"]).success().contains("running") {
        assert!(begin.elapsed().as_secs() < 30, "the pod does not run");
    }
    world.dhow(&["image", "rm", &id]).exited(1).says("is needed by pod");
    world.dhow(&["image", "gc", "--grace-period", "0"]).success();
    world
        .dhow(&["store", "gc", "--grace", "0", "--max-size", "0"])
        .exited(1)
        .says("hold the rest");
    assert!(world.images().contains(&id));
    // Its root file system is whole still: the shell finds `true`, whose content is an object.
    drop(running.stdin.take());
    assert!(running.wait().unwrap().success());
}

#[test]
fn a_store_has_a_limit() {
    let world = World::new();
    let workload = Workload::new(&world, 4, 7);
    for subject in &workload.subjects {
        fetch(&world, &subject.archive).success();
    }
    let total = |world: &World| {
        let status = json(&world.dhow(&["store", "status", "--format", "json"]).success());
        status["totalBytes"].as_u64().unwrap()
    };
    let before = total(&world);
    let limit = before - 50_000;
    let gc = ["store", "gc", "--max-size", &limit.to_string(), "--format", "json"];
    let report = json(&world.dhow(&gc).success());
    assert!(!report["images"].as_array().unwrap().is_empty());
    assert!(total(&world) <= limit);
    world.dhow(&["store", "fsck"]).success();
    world.dhow(&["store", "gc", "--max-size", "12X"]).exited(2);
}

#[test]
fn damage_is_named_and_what_was_lost_is_fetched_again() {
    let world = World::new();
    let id = world
        .image("example.com/app")
        .version("1.0.0")
        .shell("true")
        .build("app.aci");
    let archive = world.arg("app.aci");
    fetch(&world, &archive).success();
    let sound = world.dhow(&["store", "fsck"]).success();
    assert!(sound.contains("all is well"), "{sound}");

    let mut objects = fs::read_dir(world.path("data/objects")).unwrap();
    let fan = objects.next().unwrap().unwrap().path();
    let object = fs::read_dir(fan).unwrap().next().unwrap().unwrap().path();
    let mut content = fs::read(&object).unwrap();
    content[0] ^= 1;
    fs::remove_file(&object).unwrap();
    fs::write(&object, content).unwrap();

    let found = world.dhow(&["store", "fsck"]).exited(4).stdout;
    assert!(found.contains("holds something else"), "{found}");
    let again = "must be fetched again: example.com/app,";
    assert!(
        found.contains(again) && found.contains(&format!("({id}), from `{archive}`")),
        "{found}"
    );
    let report = json(&world.dhow(&["store", "fsck", "--format", "json"]).exited(4).stdout);
    assert_eq!(report["lost"][0]["id"], id.as_str());
    assert_eq!(report["problems"][0]["outcome"], "found");
    world.dhow(&["image", "export", &id, "-"]).exited(4);

    let repair = ["--insecure-options=image", "store", "fsck", "--repair", "--fetch"];
    let repaired = world.dhow(&repair).success();
    assert!(
        repaired.contains("now in quarantine") && repaired.contains("fetched again: example.com/app"),
        "{repaired}"
    );
    world.dhow(&["store", "fsck"]).success();
    world.dhow(&["image", "export", &id, "app.tar"]).success();

    // What cannot be fetched again is said to be lost still.
    fs::remove_file(&object).unwrap();
    fs::remove_file(world.path("app.aci")).unwrap();
    world.dhow(&repair).exited(4);
    let quarantine = fs::read_dir(world.path("data/quarantine")).unwrap();
    assert!(quarantine.count() > 0);
}

#[test]
fn the_index_is_made_anew() {
    let world = World::new();
    let id = world.image("example.com/app").shell("true").build("app.aci");
    fetch(&world, "app.aci").success();
    let index = world.path("data/index.db");
    let size = fs::metadata(&index).unwrap().len();
    // The header stays, and what is behind it is noise: it opens, and breaks where it is read.
    let mut bytes = fs::read(&index).unwrap();
    for byte in &mut bytes[4096..] {
        *byte = 0x5a;
    }
    fs::write(&index, &bytes).unwrap();
    assert!(size > 4096);
    let outcome = world.dhow(&["image", "list"]);
    if outcome.code != 0 {
        outcome.says("hint: `dhow store fsck --rebuild`");
    }
    world.dhow(&["store", "fsck", "--rebuild"]).success();
    assert!(world.images().contains(&id));
}
