//! `dhow publish --keep`: old versions go, and with them all that only they needed.

use std::fs;

use crate::catalogs::{SITE, build, catalog, fetch, with_versions};

fn versions(world: &dhow_tests::World) -> Vec<String> {
    let catalog = catalog(&world.path("site"));
    let images = catalog["images"].as_array().unwrap();
    let version = |image: &serde_json::Value| image["labels"][0]["value"].as_str().unwrap().to_owned();
    images.iter().map(version).collect()
}

#[test]
fn the_newest_versions_stay_and_the_rest_goes_whole() {
    let (world, _nginx, _) = with_versions(&["1.0.0", "1.1.0"]);
    let publish = |version: &str, arguments: &[&str]| {
        let (file, id) = build(&world, "app", version);
        (world.dhow(&[&["publish", &file][..], arguments, &SITE].concat()), id)
    };
    let yank = ["yank", "example.com/app:1.1.0", "--reason", "it eats data"];
    world.dhow(&[&yank[..], &SITE].concat()).success();
    // A yanked version does not count, and goes with those that are older than what stays.
    let (outcome, _) = publish("1.2.0", &["--keep", "2", "--delta"]);
    outcome.success();
    assert_eq!(versions(&world), ["1.2.0", "1.1.0", "1.0.0"]);
    let (outcome, id) = publish("1.3.0", &["--keep", "2", "--delta", "--torrent"]);
    let told = outcome.says("Took away `example.com/app` with version=1.1.0");
    let told = told.says(", which was yanked").says("with version=1.0.0");
    told.success();
    assert_eq!(versions(&world), ["1.3.0", "1.2.0"]);
    let names: Vec<_> = fs::read_dir(world.path("site/ACI/example.com/app"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    assert!(
        !names
            .iter()
            .any(|name| name.starts_with("1.0.0") || name.starts_with("1.1.0")),
        "{names:?}"
    );
    assert!(!names.iter().any(|name| name.ends_with(".removed")), "{names:?}");
    let page = fs::read_to_string(world.path("site/app/index.html")).unwrap();
    assert!(page.contains("1.2.0") && !page.contains("1.0.0"), "{page}");
    assert_eq!(fetch(&world, "example.com/app").success().trim(), id);
    fetch(&world, "example.com/app:1.0.0").exited(3);

    // Whoever publishes an old version keeps it.
    let (outcome, id) = publish("0.9.0", &["--keep", "2"]);
    outcome.success();
    assert_eq!(versions(&world), ["1.3.0", "1.2.0", "0.9.0"]);
    assert_eq!(fetch(&world, "example.com/app:0.9.0").success().trim(), id);
    // A program is told what went.
    let (outcome, _) = publish("1.4.0", &["--keep", "2", "--format", "json"]);
    let told: serde_json::Value = serde_json::from_str(&outcome.success()).unwrap();
    let removed: Vec<_> = told["removed"].as_array().unwrap().iter().collect();
    let version = |image: &serde_json::Value| image["labels"][0]["value"].as_str().unwrap().to_owned();
    let gone: Vec<_> = removed.iter().map(|image| version(image)).collect();
    assert_eq!(gone, ["1.2.0", "0.9.0"]);
    assert!(removed.iter().any(|image| image["id"] == id.as_str()), "{told}");
    assert_eq!(versions(&world), ["1.4.0", "1.3.0"]);
    // What the catalog would go on listing is not taken away.
    let (outcome, _) = publish("1.5.0", &["--keep", "1", "--no-catalog"]);
    outcome.exited(1).says("there is no key to sign it");
    assert_eq!(versions(&world), ["1.4.0", "1.3.0"]);
    assert!(!world.path("site/ACI/example.com/app/1.5.0-linux-amd64.aci").exists());
    let (outcome, _) = publish("1.5.0", &["--keep", "0"]);
    outcome.exited(2);
}

#[test]
fn what_others_depend_on_stays_and_a_site_without_catalog_keeps_few_versions_too() {
    let world = dhow_tests::World::new();
    world.key();
    let publish = |name: &str, version: &str, arguments: &[&str]| {
        let (file, _) = build(&world, name, version);
        world.dhow(&[&["publish", &file, "--no-catalog"][..], arguments, &SITE].concat())
    };
    publish("base", "1.0.0", &[]).success();
    publish("base", "1.1.0", &[]).success();
    let manifest = serde_json::json!({"acKind": "ImageManifest", "acVersion": "0.8.11", "name": "example.com/app",
        "dependencies": [{"imageName": "example.com/base", "labels": [{"name": "version", "value": "1.0.0"}]}]});
    fs::write(world.path("manifest.json"), manifest.to_string()).unwrap();
    let app = world.image("example.com/app").version("1.0.0").shell("true");
    app.arg("--manifest").arg(&world.arg("manifest.json")).build("app.aci");
    world
        .dhow(&[&["publish", "app.aci", "--no-catalog"][..], &SITE].concat())
        .success();
    publish("base", "1.2.0", &["--keep", "1"])
        .says("Kept `example.com/base` with version=1.0.0")
        .says("`example.com/app` depends on it")
        .says("Took away `example.com/base` with version=1.1.0")
        .success();
    let there = |version: &str| {
        let files = fs::read_dir(world.path("site/ACI/example.com/base")).unwrap();
        let mut names = files.map(|entry| entry.unwrap().file_name().into_string().unwrap());
        names.any(|name| name.starts_with(version))
    };
    assert!(there("1.0.0") && there("1.2.0") && !there("1.1.0"));
}
