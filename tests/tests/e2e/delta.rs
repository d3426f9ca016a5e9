//! Images by difference: published with `--delta`, served by nginx, fetched by what is missing.

use std::{fs, path::PathBuf};

use dhow_tests::{Nginx, Outcome, World};

/// Bytes that no compression makes smaller.
fn noise(seed: u64, size: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()
    };
    std::iter::repeat_with(&mut next).flatten().take(size).collect()
}

/// A publisher, a site and a user who trusts the publisher.
struct Scene {
    world: World,
    large: Vec<u8>,
    nginx: Option<Nginx>,
}

impl Scene {
    fn new() -> Self {
        let world = World::new();
        world.key();
        world.trust_own_key();
        Self {
            world,
            large: noise(1, 6 << 20),
            nginx: None,
        }
    }

    /// Publishes a version with one large file and some others. Gives its image ID.
    fn publish(&mut self, version: &str, more: &[&str]) -> String {
        let file = format!("app-{version}.aci");
        let id = self
            .world
            .image("example.com/app")
            .version(version)
            .file("bin/large", &self.large)
            .file("bin/same", &noise(7, 300_000))
            .file("version", version.as_bytes())
            .build(&file);
        let publish = ["publish", &file, "--site", "site", "--url", "https://example.com"];
        self.world.dhow(&[&publish[..], more].concat()).success();
        id
    }

    fn serve(&mut self) {
        self.nginx = Some(self.world.nginx("site"));
    }

    fn fetch(&self, more: &[&str]) -> Outcome {
        self.world.dhow(&[&["fetch"], more].concat())
    }

    /// The requests since `before`: paths, statuses and bytes.
    fn requests(&self, before: usize) -> Vec<(String, u16, u64)> {
        let log = self.nginx.as_ref().unwrap().requests();
        let request = |line: &str| {
            let mut parts = line.split('"');
            let path = parts.nth(1)?.split(' ').nth(1)?.to_owned();
            let mut numbers = parts.next()?.split_whitespace();
            Some((path, numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?))
        };
        log.lines().skip(before).filter_map(request).collect()
    }

    fn count(&self) -> usize {
        self.nginx.as_ref().unwrap().requests().lines().count()
    }

    fn recipe(&self, version: &str) -> PathBuf {
        let folder = self.world.path("site/ACI/example.com/app");
        folder.join(format!("{version}-linux-amd64.aci.recipe"))
    }

    fn patch(&self, version: &str) -> PathBuf {
        self.recipe(version).with_extension("patch")
    }

    fn packs(&self) -> Vec<PathBuf> {
        let mut packs = Vec::new();
        for folder in fs::read_dir(self.world.path("site/PACKS")).unwrap() {
            packs.extend(
                fs::read_dir(folder.unwrap().path())
                    .unwrap()
                    .map(|pack| pack.unwrap().path()),
            );
        }
        packs
    }
}

#[test]
fn a_second_version_costs_what_changed() {
    let mut scene = Scene::new();
    let first = scene.publish("1.0.0", &["--delta"]);
    scene.serve();
    scene.fetch(&["example.com/app:1.0.0"]).success();
    assert!(scene.world.images().contains(&first));

    scene.large[5 << 20] ^= 1;
    let second = scene.publish("1.0.1", &["--delta"]);
    let before = scene.count();
    let fetched = scene.fetch(&["--delta", "always", "example.com/app:1.0.1"]);
    assert!(fetched.peak_memory < 64 << 20, "{}", fetched.peak_memory);
    let fetched = fetched.says("were here");
    assert_eq!(fetched.success().trim(), second);

    let requests = scene.requests(before);
    assert!(
        requests.iter().all(|(path, ..)| !path.ends_with(".aci")),
        "{requests:?}"
    );
    let patches: Vec<_> = requests
        .iter()
        .filter(|(path, ..)| path.ends_with(".aci.patch"))
        .collect();
    assert!(
        requests.iter().all(|(path, ..)| !path.starts_with("/PACKS/")),
        "{requests:?}"
    );
    assert_eq!(patches.len(), 1, "{requests:?}");
    assert!(patches[0].2 < 8000, "{requests:?}");

    // What is in the store is what was signed, and says how it came.
    scene
        .world
        .dhow(&["image", "verify", "example.com/app:1.0.1"])
        .success();
    let shown = scene.world.dhow(&["image", "show", "example.com/app:1.0.1"]).success();
    assert!(shown.contains("by a signed recipe, the archive never came"), "{shown}");
    assert!(shown.contains("verified  "), "{shown}");

    // It is asked for again, and nothing comes but the recipe.
    let before = scene.count();
    assert_eq!(scene.fetch(&["example.com/app:1.0.1"]).success().trim(), second);
    let paths = scene.requests(before);
    assert!(
        paths
            .iter()
            .all(|(path, ..)| path.contains(".recipe") || path.contains("ac-discovery") || path == "/CATALOG"),
        "{paths:?}"
    );

    // Without a version, it is the latest's.
    assert_eq!(
        scene.fetch(&["--delta", "always", "example.com/app"]).success().trim(),
        second
    );

    // From two versions before, it is packs that bring what changed.
    scene.large[2 << 20] ^= 1;
    let third = scene.publish("1.0.2", &["--delta"]);
    fs::remove_dir_all(scene.world.path("data")).unwrap();
    scene.fetch(&["example.com/app:1.0.0"]).success();
    let before = scene.count();
    let fetched = scene.fetch(&["--delta", "always", "example.com/app:1.0.2"]);
    assert_eq!(fetched.success().trim(), third);
    let requests = scene.requests(before);
    let packs: Vec<_> = requests
        .iter()
        .filter(|(path, ..)| path.starts_with("/PACKS/"))
        .collect();
    let bytes = packs.iter().map(|(_, _, bytes)| bytes).sum::<u64>();
    assert!(!packs.is_empty() && packs.len() <= 4, "{requests:?}");
    assert!(bytes < 400_000, "{requests:?}");
    assert!(
        requests.iter().all(|(path, ..)| !path.ends_with(".patch")),
        "{requests:?}"
    );
}

/// A patch that a disk has damaged, that is cut short, or that is gone: packs bring the image.
#[test]
fn where_a_patch_cannot_be_used_packs_are() {
    let mut scene = Scene::new();
    scene.publish("1.0.0", &["--delta"]);
    scene.large[5 << 20] ^= 1;
    let second = scene.publish("1.0.1", &["--delta"]);
    scene.serve();
    let patch = scene.patch("1.0.1");
    assert_eq!(fs::read(&patch).unwrap(), fs::read(scene.patch("latest")).unwrap());
    assert!(!scene.patch("1.0.0").exists());
    let good = fs::read(&patch).unwrap();
    let mut bent = good.clone();
    bent[200] ^= 1;
    for (content, said) in [
        (Some(bent), "not what the recipe says"),
        (Some(good[..good.len() - 1].to_vec()), "patch`"),
        (None, "404"),
    ] {
        match content {
            Some(content) => fs::write(&patch, content).unwrap(),
            None => fs::remove_file(&patch).unwrap(),
        }
        scene.fetch(&["example.com/app:1.0.0"]).success();
        let before = scene.count();
        let fetched = scene
            .fetch(&["example.com/app:1.0.1"])
            .says(said)
            .says("fetching from packs");
        assert_eq!(fetched.success().trim(), second);
        let requests = scene.requests(before);
        assert!(
            requests.iter().any(|(path, ..)| path.starts_with("/PACKS/"))
                && requests.iter().all(|(path, ..)| !path.ends_with(".aci")),
            "{requests:?}"
        );
        fs::remove_dir_all(scene.world.path("data")).unwrap();
    }
    // Publishing again makes it anew.
    let publish = [
        "publish",
        "app-1.0.1.aci",
        "--site",
        "site",
        "--url",
        "https://example.com",
        "--delta",
    ];
    scene.world.dhow(&publish).success();
    assert_eq!(fs::read(&patch).unwrap(), good);
    let unpublish = [
        "unpublish",
        "example.com/app:1.0.1",
        "--site",
        "site",
        "--url",
        "https://example.com",
    ];
    scene.world.dhow(&unpublish).success();
    assert!(!patch.exists() && !scene.patch("latest").exists());
}

#[test]
fn publishing_again_changes_nothing_and_replacing_takes_the_recipe_along() {
    let mut scene = Scene::new();
    scene.publish("1.0.0", &["--delta"]);
    let (recipe, packs) = (fs::read(scene.recipe("1.0.0")).unwrap(), scene.packs());
    let publish = [
        "publish",
        "app-1.0.0.aci",
        "--site",
        "site",
        "--url",
        "https://example.com",
    ];
    let again = scene
        .world
        .dhow(&[&publish[..], &["--delta", "--format", "json"]].concat())
        .success();
    let again: serde_json::Value = serde_json::from_str(&again).unwrap();
    let written = again["written"].as_array().unwrap();
    // A new signature of the archive is another signature.
    assert!(
        written.iter().all(|file| !file.as_str().unwrap().contains("recipe")),
        "{again}"
    );
    assert_eq!(again["newPackBytes"], 0);
    assert_eq!(
        (fs::read(scene.recipe("1.0.0")).unwrap(), scene.packs()),
        (recipe, packs)
    );

    scene.large[1] ^= 1;
    scene.publish("1.0.0", &["--replace"]);
    assert!(!scene.recipe("1.0.0").exists(), "it was that of another archive");
    assert!(!scene.recipe("latest").exists(), "it was that of another archive");
}

#[test]
fn whatever_does_not_work_out_the_archive_is_fetched() {
    let mut scene = Scene::new();
    let id = scene.publish("1.0.0", &["--delta"]);
    scene.serve();

    // A site without recipes is fetched from as ever.
    scene
        .world
        .image("example.com/plain")
        .version("1")
        .file("a", b"b")
        .build("plain.aci");
    scene
        .world
        .dhow(&["publish", "plain.aci", "--site", "site", "--url", "https://example.com"])
        .success();
    scene
        .fetch(&["--delta", "always", "example.com/plain"])
        .exited(3)
        .says("has no recipe");
    let fetched = scene.fetch(&["example.com/plain"]);
    assert_eq!(fetched.stderr.matches("recipe").count(), 0, "{}", fetched.stderr);
    fetched.success();

    for pack in scene.packs() {
        let mut bytes = fs::read(&pack).unwrap();
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
        fs::write(&pack, bytes).unwrap();
    }
    scene
        .fetch(&["--delta", "always", "example.com/app"])
        .exited(4)
        .says("could not rebuild");
    assert!(!scene.world.images().contains(&id));
    let fetched = scene.fetch(&["example.com/app"]).says("fetching `https://example.com/");
    assert_eq!(fetched.success().trim(), id);
    scene.world.dhow(&["image", "verify", "example.com/app"]).success();
}

#[test]
fn a_recipe_that_was_tampered_with_or_is_of_another_image_is_refused() {
    let mut scene = Scene::new();
    // A catalog would know that it is another image before the recipe is asked what it is of.
    scene.publish("1.0.0", &["--delta", "--no-catalog"]);
    scene.large[1] ^= 1;
    scene.publish("1.0.1", &["--delta", "--no-catalog"]);
    scene.serve();
    // Whoever has nothing does not ask for recipes.
    scene.fetch(&["--delta", "always", "example.com/app:1.0.0"]).success();
    let (old, new) = (scene.recipe("1.0.0"), scene.recipe("1.0.1"));
    let signature = |recipe: &PathBuf| recipe.with_extension("recipe.asc");
    let good = (fs::read(&new).unwrap(), fs::read(signature(&new)).unwrap());

    let mut bent = good.0.clone();
    bent[20] ^= 1;
    fs::write(&new, bent).unwrap();
    scene.fetch(&["example.com/app:1.0.1"]).exited(4).says("was altered");

    // Another signed recipe of the same publisher, with its signature.
    fs::copy(&old, &new).unwrap();
    scene.fetch(&["example.com/app:1.0.1"]).exited(4).says("was altered");
    fs::copy(signature(&old), signature(&new)).unwrap();
    scene.fetch(&["example.com/app:1.0.1"]).exited(4).says("1.0.0");

    // By somebody whom nobody trusts: then the archive has to do, which is signed as it should be.
    fs::write(&new, &good.0).unwrap();
    let stranger = World::new();
    stranger.key();
    fs::write(stranger.path("recipe"), &good.0).unwrap();
    stranger.dhow(&["sign", "recipe"]).success();
    fs::copy(stranger.path("recipe.asc"), signature(&new)).unwrap();
    scene
        .fetch(&["--delta", "always", "example.com/app:1.0.1"])
        .exited(4)
        .says("no trusted key");
    scene.fetch(&["example.com/app:1.0.1"]).says("no trusted key").success();
}
