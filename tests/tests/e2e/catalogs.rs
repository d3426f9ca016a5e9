//! Signed catalogs, from the publisher's machine over nginx to the user's: what they find, what they forbid, and what
//! several publishers or a `kill -9` leave of them.

use std::{
    env, fs,
    path::Path,
    process::{Child, Command, Stdio},
    thread::sleep,
    time::Duration,
};

use dhow_tests::{Nginx, Outcome, Server, World};
use serde_json::Value;

pub(crate) const SITE: [&str; 4] = ["--site", "site", "--url", "https://example.com"];
const BEGIN: &str = "-----BEGIN PGP SIGNATURE-----";

/// A publisher of `example.com/app` in these versions, a server, and a user who trusts the publisher. The image IDs
/// are in the order of the versions.
pub(crate) fn with_versions(versions: &[&str]) -> (World, Nginx, Vec<String>) {
    let mut world = World::new();
    world.key();
    let ids = versions.iter().map(|version| publish(&world, "app", version)).collect();
    let nginx = world.nginx("site");
    world.trust_own_key();
    (world, nginx, ids)
}

pub(crate) fn build(world: &World, name: &str, version: &str) -> (String, String) {
    let file = format!("{}-{version}.aci", name.replace('/', "-"));
    let id = world
        .image(&format!("example.com/{name}"))
        .file("etc/version", version.as_bytes())
        .version(version)
        .build(&file);
    (file, id)
}

pub(crate) fn publish(world: &World, name: &str, version: &str) -> String {
    let (file, id) = build(world, name, version);
    world.dhow(&[&["publish", "-q", &file][..], &SITE].concat()).success();
    id
}

pub(crate) fn fetch(world: &World, reference: &str) -> Outcome {
    world.dhow(&["fetch", "--pull", "update", reference])
}

pub(crate) fn catalog(site: &Path) -> Value {
    let file = fs::read_to_string(site.join("CATALOG")).unwrap();
    serde_json::from_str(file.split_once(BEGIN).unwrap().0).unwrap()
}

/// Changes what the catalog says, and signs it with a key, as anybody can who has one.
fn forge(world: &World, key: &str, change: impl FnOnce(&mut Value)) {
    let mut catalog = catalog(&world.path("site"));
    change(&mut catalog);
    // Not as pretty as ours, so that it differs in size too: nginx tells files apart by that and by the second.
    fs::write(world.path("forged.json"), format!("{catalog}\n")).unwrap();
    world
        .dhow(&["sign", "-q", "forged.json", "--overwrite", "--key", key])
        .success();
    let signature = fs::read_to_string(world.path("forged.json.asc")).unwrap();
    let json = fs::read_to_string(world.path("forged.json")).unwrap();
    fs::write(world.path("site/CATALOG"), json + &signature).unwrap();
}

#[test]
fn versions_and_ranges_come_from_the_catalog() {
    let (world, nginx, ids) = with_versions(&["1.0.0", "1.2.0", "1.10.0", "2.0.0-rc.1"]);
    for (reference, expected) in [
        ("example.com/app", 2),
        ("example.com/app:latest", 2),
        ("example.com/app:^1.0", 2),
        ("example.com/app:~1.2", 1),
        ("example.com/app:>=1 <1.10", 1),
        ("example.com/app:1.0.0", 0),
        ("example.com/app:^2.0.0-rc.1", 3),
    ] {
        assert_eq!(fetch(&world, reference).success().trim(), ids[expected], "{reference}");
    }
    assert!(!nginx.requests().contains("/latest"), "{}", nginx.requests());
    fetch(&world, "example.com/app:^3")
        .exited(3)
        .says("lists no `example.com/app`");
    fetch(&world, "example.com/app:9.9.9")
        .exited(3)
        .says("lists no `example.com/app`");
    fetch(&world, "example.com/app:^x").exited(2).says("`^x` is no range");

    publish(&world, "team/tool", "0.1.0");
    let found = world.dhow(&["search", "example.com"]).success();
    let lines: Vec<_> = found.lines().collect();
    assert!(
        lines.len() == 3 && lines[1].contains("1.10.0") && lines[2].starts_with("example.com/team/tool"),
        "{found}"
    );
    let found = world
        .dhow(&["search", "example.com/team", "--format", "json"])
        .success();
    assert_eq!(
        serde_json::from_str::<Value>(&found).unwrap()["images"]
            .as_array()
            .unwrap()
            .len(),
        1
    );
    let found = world.dhow(&["versions", "example.com/app"]).success();
    let of = |line: &str| line.split_whitespace().nth(1).map(str::to_owned);
    let versions: Vec<_> = found.lines().skip(1).filter_map(of).collect();
    assert_eq!(versions, ["1.10.0", "1.2.0", "1.0.0", "2.0.0-rc.1"]);
    assert_eq!(
        world
            .dhow(&["versions", "example.com/app:^1.2"])
            .success()
            .lines()
            .count(),
        3
    );
    world.dhow(&["versions", "example.com/none"]).exited(3);
    let told = world.dhow(&["discover", "--explain", "example.com/app:^1.2"]).success();
    assert!(
        told.contains("dhow-catalog") && told.contains("version=1.10.0"),
        "{told}"
    );

    // From here on nobody is asked, and what the store has is enough.
    drop(nginx);
    assert_eq!(
        world
            .dhow(&["--offline", "fetch", "example.com/app:~1.2"])
            .success()
            .trim(),
        ids[1]
    );
    assert_eq!(
        world.dhow(&["--offline", "versions", "example.com/app"]).success(),
        found
    );
    assert_eq!(
        world
            .dhow(&["fetch", "--pull", "new", "example.com/app:^1"])
            .success()
            .trim(),
        ids[2]
    );
    world.dhow(&["--offline", "fetch", "example.com/app:^3"]).exited(3);
}

#[test]
fn a_server_that_lies_about_what_is_newest_is_refused() {
    let (world, _nginx, ids) = with_versions(&["1.0.0"]);
    let fetched = fetch(&world, "example.com/app").success();
    assert_eq!(fetched.trim(), ids[0]);
    let site = |file: &str| world.path("site").join(file);
    let old = fs::read(site("CATALOG")).unwrap();
    let newest = publish(&world, "app", "1.1.0");
    let good = fs::read(site("CATALOG")).unwrap();
    let restored = || {
        fs::write(site("CATALOG"), &good).unwrap();
        assert_eq!(fetch(&world, "example.com/app").success().trim(), newest);
    };
    restored();

    fs::write(site("CATALOG"), &old).unwrap();
    fetch(&world, "example.com/app")
        .exited(4)
        .says("somebody shows an old one");
    fetch(&world, "example.com/app:1.0.0")
        .exited(4)
        .says("somebody shows an old one");
    world.dhow(&["versions", "example.com/app"]).exited(4);
    restored();

    forge(&world, "carly@example.com", |catalog| {
        catalog["serial"] = (catalog["serial"].as_u64().unwrap() + 1).into();
        catalog["issued"] = "2014-12-01T00:00:00Z".into();
        catalog["expires"] = "2014-12-31T00:00:00Z".into();
    });
    // Nothing is resolved from it; an exact version is fetched as the pages have it.
    for reference in ["example.com/app", "example.com/app:latest", "example.com/app:^1"] {
        fetch(&world, reference).exited(4).says("expired on 2014-12-31");
    }
    world.dhow(&["versions", "example.com/app"]).exited(4);
    let warned =
        fetch(&world, "example.com/app:1.0.0").says("warning: the catalog of `example.com` expired on 2014-12-31");
    assert_eq!(warned.success().trim(), ids[0]);
    let policy = |arguments: &[&str]| {
        world
            .dhow(&[&["trust", "policy"], arguments, &["--prefix", "example.com"]].concat())
            .success()
    };
    policy(&["set", "--catalog-required"]);
    fetch(&world, "example.com/app:1.0.0")
        .exited(4)
        .says("expired on 2014-12-31");
    policy(&["remove"]);
    restored();

    // That it has expired as well makes an older one no better.
    forge(&world, "carly@example.com", |catalog| {
        catalog["serial"] = (catalog["serial"].as_u64().unwrap() - 1).into();
        catalog["issued"] = "2014-12-01T00:00:00Z".into();
        catalog["expires"] = "2014-12-31T00:00:00Z".into();
    });
    fetch(&world, "example.com/app:1.0.0")
        .exited(4)
        .says("somebody shows an old one");
    restored();

    world
        .dhow(&["key", "generate", "Mallory <mallory@evil.example>"])
        .success();
    forge(&world, "mallory@evil.example", |catalog| {
        catalog["serial"] = (catalog["serial"].as_u64().unwrap() + 1).into();
    });
    let refused = fetch(&world, "example.com/app").exited(4);
    refused.says("is not signed as it must be");
    restored();

    let altered = String::from_utf8(good.clone()).unwrap().replacen("1.1.0", "1.0.00", 1);
    fs::write(site("CATALOG"), altered).unwrap();
    fetch(&world, "example.com/app").exited(4).says("was altered");
    restored();

    // That there is none any more is not believed either, whether the file or what names it is gone.
    fs::remove_file(site("CATALOG")).unwrap();
    fetch(&world, "example.com/app").exited(4).says("was seen before");
    restored();
    for page in ["index.html", "app/index.html"] {
        let html = fs::read_to_string(site(page)).unwrap();
        fs::write(site(page), html.replace("dhow-catalog", "no-catalog-at-all")).unwrap();
    }
    fetch(&world, "example.com/app").exited(4).says("was seen before");
    // Unless the user says that it is to be forgotten.
    let forget = || world.dhow(&["trust", "forget-catalog", "--prefix", "example.com"]);
    let hint = "`dhow trust forget-catalog --prefix example.com`";
    fetch(&world, "example.com/app").exited(4).says(hint);
    forget().says("an old catalog of `example.com` is believed").success();
    assert_eq!(fetch(&world, "example.com/app").success().trim(), newest);
    forget().exited(3).says("No catalog of `example.com` was ever seen");
    fs::write(site("CATALOG"), &old).unwrap();
    for page in ["index.html", "app/index.html"] {
        let html = fs::read_to_string(site(page)).unwrap();
        fs::write(site(page), html.replace("no-catalog-at-all", "dhow-catalog")).unwrap();
    }
    assert_eq!(fetch(&world, "example.com/app").success().trim(), ids[0]);
}

#[test]
fn what_the_catalog_does_not_list_is_refused_however_well_it_is_signed() {
    let (world, _nginx, ids) = with_versions(&["1.0.0", "1.1.0"]);
    assert_eq!(fetch(&world, "example.com/app").success().trim(), ids[1]);
    // The publisher's key signed both, but the catalog lists one.
    let forged = world
        .image("example.com/app")
        .file("etc/version", b"another")
        .version("1.1.0")
        .build("other.aci");
    assert_ne!(forged, ids[1]);
    let replace = ["publish", "other.aci", "--replace", "--no-catalog"];
    world.dhow(&[&replace[..], &SITE].concat()).success();
    fetch(&world, "example.com/app")
        .exited(4)
        .says("is not what the catalog of `example.com` lists");
    fetch(&world, "example.com/app:1.1.0")
        .exited(4)
        .says("is not what the catalog");
    assert!(!world.images().contains(&forged));
    // One that was never listed is not found.
    let (file, _) = build(&world, "app", "3.0.0");
    world
        .dhow(&[&["publish", &file, "--no-catalog"][..], &SITE].concat())
        .success();
    fetch(&world, "example.com/app:3.0.0").exited(3).says("lists no");
    // Made of what is there, the catalog lists them all.
    let refresh = ["publish", "--refresh", "--rebuild", "--key", "carly@example.com"];
    world.dhow(&[&refresh[..], &SITE].concat()).success();
    assert_eq!(fetch(&world, "example.com/app:1.1.0").success().trim(), forged);
    fetch(&world, "example.com/app:3.0.0").success();
}

#[test]
fn a_yanked_version_is_for_those_alone_who_name_it() {
    let (world, _nginx, ids) = with_versions(&["1.0.0", "1.1.0"]);
    assert_eq!(fetch(&world, "example.com/app:^1").success().trim(), ids[1]);
    let yank = |arguments: &[&str]| world.dhow(&[&["yank", "example.com/app:1.1.0"], arguments, &SITE].concat());
    yank(&["--reason", "it eats data"]).success();
    assert_eq!(fetch(&world, "example.com/app:^1").success().trim(), ids[0]);
    assert_eq!(
        world
            .dhow(&["fetch", "--pull", "new", "example.com/app"])
            .success()
            .trim(),
        ids[0]
    );
    let warned = fetch(&world, "example.com/app:1.1.0").says("was withdrawn by its publisher: it eats data");
    assert_eq!(warned.success().trim(), ids[1]);
    let versions = world.dhow(&["versions", "example.com/app"]).success();
    assert!(versions.contains("it eats data"), "{versions}");
    yank(&["--undo"]).success();
    assert_eq!(fetch(&world, "example.com/app").success().trim(), ids[1]);

    let unpublish = |reference: &str| world.dhow(&[&["unpublish", reference], &SITE[..]].concat());
    unpublish("example.com/app").exited(2).says("names no version");
    unpublish("example.com/app:1.1.0").success();
    assert_eq!(fetch(&world, "example.com/app").success().trim(), ids[0]);
    fetch(&world, "example.com/app:1.1.0").exited(3);
    assert!(!world.path("site/ACI/example.com/app/1.1.0.aci").exists());
    unpublish("example.com/app:1.1.0").exited(3);
}

#[test]
fn a_policy_can_ask_for_a_catalog_and_a_range_needs_one() {
    let mut world = World::new();
    world.key();
    let (file, id) = build(&world, "app", "1.0.0");
    world
        .dhow(&[&["publish", &file, "--no-catalog"][..], &SITE].concat())
        .success();
    assert!(!world.path("site/CATALOG").exists());
    let _nginx = world.nginx("site");
    world.trust_own_key();
    assert_eq!(fetch(&world, "example.com/app").success().trim(), id);
    fetch(&world, "example.com/app:^1")
        .exited(3)
        .says("`example.com/app` has no catalog");
    world.dhow(&["versions", "example.com/app"]).exited(3);
    let policy = [
        "trust",
        "policy",
        "set",
        "--prefix",
        "example.com",
        "--catalog-required",
    ];
    world.dhow(&policy).success();
    fetch(&world, "example.com/app")
        .exited(4)
        .says("asks for a signed catalog");
    world.dhow(&[&["publish", "--refresh"][..], &SITE].concat()).success();
    assert_eq!(fetch(&world, "example.com/app:^1").success().trim(), id);
}

#[test]
fn who_cannot_sign_the_catalog_publishes_without_one_or_not_at_all() {
    let (author, publisher) = (World::new(), World::new());
    author.key();
    publisher.dhow(&["key", "generate", "Bob <bob@example.com>"]).success();
    let bring = |version: &str| {
        let (file, _) = build(&author, "app", version);
        author.dhow(&["sign", &file]).success();
        for file in [file.clone(), format!("{file}.asc")] {
            fs::copy(author.path(&file), publisher.path(&file)).unwrap();
        }
        file
    };
    author
        .dhow(&["key", "export", "carly@example.com", "-o", "carly.asc"])
        .success();
    fs::copy(author.path("carly.asc"), publisher.path("carly.asc")).unwrap();
    let publish = |file: &str, arguments: &[&str]| {
        publisher.dhow(&[&["publish", file, "--pubkey", "carly.asc"], arguments, &SITE].concat())
    };
    publish(&bring("1.0.0"), &[]).says("No catalog was written").success();
    assert!(!publisher.path("site/CATALOG").exists());
    publish(&bring("1.1.0"), &["--catalog-key", "bob@example.com"]).success();
    let catalog_before = catalog(&publisher.path("site"));
    assert_eq!(catalog_before["images"].as_array().unwrap().len(), 2);
    let next = bring("1.2.0");
    publish(&next, &[]).exited(1).says("--catalog-key KEY signs it");
    assert!(!publisher.path("site/ACI/example.com/app/1.2.0.aci").exists());
    publisher.dhow(&["key", "generate", "Eve <eve@example.com>"]).success();
    publish(&next, &["--catalog-key", "eve@example.com"])
        .exited(4)
        .says("--take-over-catalog");
    assert_eq!(catalog(&publisher.path("site")), catalog_before);
    publish(&next, &["--catalog-key", "eve@example.com", "--take-over-catalog"]).success();
    assert_eq!(catalog(&publisher.path("site"))["images"].as_array().unwrap().len(), 3);
}

/// Starts to publish, and tells nobody.
fn start(command: &mut Command) -> Child {
    let quiet = command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped());
    quiet.spawn().unwrap()
}

fn ended(child: Child) {
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn of_two_who_publish_at_once_none_is_forgotten() {
    let world = World::new();
    world.key();
    let server = Server::s3(&world);
    let files: Vec<_> = (0..6)
        .map(|version| build(&world, "app", &format!("1.{version}.0")).0)
        .collect();
    let bucket = ["--site", "s3://images/site", "--url", "https://example.com"];
    let (access, secret) = Server::KEYS;
    for site in [SITE, bucket] {
        let publish = |file: &String| {
            let mut command = world.dhow_command(&[&["publish", file][..], &site].concat());
            command
                .env("HOME", "/nonexistent")
                .env("AWS_ENDPOINT_URL", format!("http://127.0.0.1:{}", server.port()))
                .env("AWS_ALLOW_HTTP", "true")
                .env("AWS_REGION", "us-east-1")
                .env("AWS_ACCESS_KEY_ID", access)
                .env("AWS_SECRET_ACCESS_KEY", secret);
            start(&mut command)
        };
        for pair in files.chunks(2) {
            let children: Vec<_> = pair.iter().map(publish).collect();
            children.into_iter().for_each(ended);
        }
    }
    for site in [world.path("site"), world.path("s3/images/site")] {
        assert_eq!(
            catalog(&site)["images"].as_array().unwrap().len(),
            files.len(),
            "{}",
            site.display()
        );
        check_site(&site);
    }
}

/// Whatever names a file names one that is there, of the size that it says. How many files are named.
fn check_site(site: &Path) -> usize {
    let mut named = 0;
    if let Ok(file) = fs::read_to_string(site.join("CATALOG")) {
        let (json, signature) = file.split_once(BEGIN).expect("a whole catalog");
        assert!(
            signature.trim_end().ends_with("-----END PGP SIGNATURE-----"),
            "{signature}"
        );
        let catalog: Value = serde_json::from_str(json).unwrap();
        for image in catalog["images"].as_array().unwrap() {
            let label = |wanted: &str| {
                let labels = image["labels"].as_array().unwrap();
                let label = labels.iter().find(|label| label["name"] == wanted);
                label.map(|label| label["value"].as_str().unwrap())
            };
            let mut stem = label("version").unwrap().to_owned();
            if let Some(os) = label("os") {
                stem = format!("{stem}-{os}-{}", label("arch").unwrap());
            }
            let archive = site.join(format!("ACI/{}/{stem}.aci", image["name"].as_str().unwrap()));
            let size = fs::metadata(&archive).unwrap_or_else(|error| panic!("{}: {error}", archive.display()));
            assert_eq!(size.len(), image["archive"]["size"].as_u64().unwrap());
            named += 1;
        }
    }
    for page in ["index.html", "app/index.html", "tool/index.html"] {
        let Ok(html) = fs::read_to_string(site.join(page)) else {
            continue;
        };
        assert!(html.ends_with("</html>\n"), "{html}");
        let links = html
            .split("href=\"/")
            .chain(html.split("content=\"example.com https://example.com/"))
            .skip(1);
        let links = links.map(|rest| rest.split('"').next().unwrap());
        for link in links.filter(|link| !link.contains('{') && !link.starts_with('<')) {
            let is_folder = link.is_empty() || link.ends_with('/');
            let file = site.join(if is_folder {
                format!("{link}index.html")
            } else {
                link.to_owned()
            });
            assert!(file.is_file(), "{page} names `{link}`");
            named += 1;
        }
    }
    named
}

/// `DHOW_PUBLISH_KILLS` says how often; a few times in every run of the tests.
#[test]
fn whoever_is_killed_while_publishing_leaves_a_site_that_names_no_missing_file() {
    let kills: usize = env::var("DHOW_PUBLISH_KILLS").map_or(12, |kills| kills.parse().unwrap());
    let world = World::new();
    world.key();
    let mut rng = fastrand::Rng::with_seed(20_261_124);
    let files: Vec<_> = (0..8)
        .map(|version| build(&world, ["app", "tool"][version % 2], &format!("1.{version}.0")).0)
        .collect();
    let arguments = |file: &str| [&["publish", "-q", file, "--torrent"][..], &SITE].concat().join(" ");
    let site = world.path("site");
    let (mut killed, mut named, mut longest) = (0, 0, Duration::from_millis(400));
    for round in 0.. {
        if killed == kills {
            break;
        }
        assert!(round < 10 * kills, "hardly any was killed before it ended");
        let arguments = arguments(&files[rng.usize(..files.len())]);
        let begun = std::time::Instant::now();
        let mut child = start(&mut world.dhow_command(&arguments.split(' ').collect::<Vec<_>>()));
        let moment = longest.mul_f64(rng.f64());
        while begun.elapsed() < moment && child.try_wait().unwrap().is_none() {
            named += check_site(&site);
            sleep(Duration::from_millis(1));
        }
        match child.try_wait().unwrap() {
            Some(_) => longest = begun.elapsed(),
            None => {
                child.kill().unwrap();
                killed += 1;
            }
        }
        child.wait().unwrap();
        named += check_site(&site);
        // What is begun anew after a while has new things to write.
        if rng.u8(..8) == 0 {
            // It may not be there yet.
            let _ = fs::remove_dir_all(&site);
        }
    }
    for file in &files {
        world.dhow(&arguments(file).split(' ').collect::<Vec<_>>()).success();
    }
    assert_eq!(catalog(&site)["images"].as_array().unwrap().len(), files.len());
    println!("{killed} kills, {named} names of files followed, none of a missing one");
    check_site(&site);
}
