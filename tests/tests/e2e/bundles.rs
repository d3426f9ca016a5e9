//! Images carried in a file to where no network is.

use std::{fs, process::Command};

use dhow_tests::{Outcome, World};
use serde_json::{Value, json};

const URL: [&str; 4] = ["--site", "site", "--url", "https://example.com"];

/// A publisher's world, with a site of an image and one that it depends on, and another.
fn publisher() -> World {
    let world = World::new();
    world.key();
    let publish = |image: dhow_tests::Image<'_>| {
        image.build("image.aci");
        world.dhow(&[&["publish", "image.aci"], &URL[..]].concat()).success();
    };
    publish(
        world
            .image("example.com/base")
            .version("1.0.0")
            .file("etc/motd", b"from the base"),
    );
    world.trust_own_key();
    let manifest = json!({"acKind": "ImageManifest", "acVersion": "0.8.11", "name": "example.com/app",
        "dependencies": [{"imageName": "example.com/base", "labels": [{"name": "version", "value": "1.0.0"}]}]});
    fs::write(world.path("manifest.json"), manifest.to_string()).unwrap();
    let app = world
        .image("example.com/app")
        .version("1.1.0")
        .shell("cat /etc/motd; exit 5");
    publish(app.arg("--manifest").arg(&world.arg("manifest.json")));
    publish(world.image("example.com/other").version("2.0.0").shell("true"));
    world
}

fn export(world: &World, reference: &str, file: &str) -> String {
    let export = ["bundle", "export", reference, "--site", "site", "-o", file];
    world.dhow(&export).success()
}

/// A world that trusts the publisher, and knows nothing else.
fn receiver(publisher: &World) -> World {
    let world = World::new();
    let key = publisher.arg("carly.asc");
    world
        .dhow(&["trust", "add", "--prefix", "example.com", "--yes", &key])
        .success();
    world
}

fn is_empty(world: &World) -> bool {
    // Its first line has the headings.
    world.images().lines().count() == 1
}

/// Runs `dhow` with no network, not even loopback.
fn offline(world: &World, arguments: &[&str]) -> Outcome {
    let dhow = world.dhow_command(arguments);
    let mut command = Command::new("unshare");
    command.arg("--net").arg(dhow.get_program()).args(dhow.get_args());
    Outcome::of(command.current_dir(world.path("")))
}

#[test]
fn a_bundle_installs_verifies_and_runs_where_no_network_is() {
    let publisher = publisher();
    let told = export(&publisher, "example.com/app", "app.tar");
    let names: Vec<_> = told.lines().filter_map(|line| line.split(' ').next()).collect();
    assert_eq!(
        names,
        ["example.com/base", "example.com/app"],
        "dependencies first, and nothing else"
    );
    export(&publisher, "example.com/app:1.1.0", "again.tar");
    assert_eq!(
        fs::read(publisher.path("app.tar")).unwrap(),
        fs::read(publisher.path("again.tar")).unwrap()
    );
    // Any tar reads it.
    let listed = Outcome::of(Command::new("tar").arg("-tf").arg(publisher.path("app.tar"))).success();
    assert_eq!(listed.lines().count(), 7, "{listed}");
    assert!(
        listed
            .starts_with("BUNDLE\npubkeys.gpg\nexample.com/CATALOG\nACI/example.com/base/1.0.0-linux-amd64.aci.asc\n"),
        "{listed}"
    );

    let bundle = publisher.arg("app.tar");
    let stranger = World::new();
    let refused = offline(&stranger, &["bundle", "import", &bundle]).exited(4);
    assert!(refused.stderr.contains("hint: `dhow trust add"), "{}", refused.stderr);
    assert!(is_empty(&stranger));

    let world = receiver(&publisher);
    let imported = offline(&world, &["bundle", "import", &bundle]).success();
    assert_eq!(imported.lines().count(), 2, "{imported}");
    let shown = world.dhow(&["image", "show", "example.com/app"]).success();
    assert!(shown.contains("trusted for `example.com`"), "{shown}");
    let ran = offline(&world, &["run", "example.com/app"]).exited(5);
    assert_eq!(ran.stdout, "from the base");
}

#[test]
fn a_bundle_becomes_a_site_that_others_fetch_from() {
    let publisher = publisher();
    export(&publisher, "example.com/app", "app.tar");
    let mut world = receiver(&publisher);
    let bundle = publisher.arg("app.tar");
    let import = [&["bundle", "import", &bundle], &URL[..]].concat();
    offline(&world, &import).success();
    offline(&world, &import).success();
    assert!(is_empty(&world));
    let page = fs::read_to_string(world.path("site/app/index.html")).unwrap();
    assert!(page.contains("1.1.0") && page.contains("Carly"), "{page}");
    // The publisher's catalog came along, to the byte, and clients go by it.
    let catalogs = [&publisher, &world].map(|world| fs::read(world.path("site/CATALOG")).unwrap());
    assert_eq!(catalogs[0], catalogs[1]);
    assert!(page.contains("dhow-catalog"), "{page}");
    let nginx = world.nginx("site");
    world.dhow(&["fetch", "example.com/app:^1"]).success();
    assert!(nginx.requests().contains("/CATALOG"), "{}", nginx.requests());
    let versions = world.dhow(&["versions", "example.com/app"]).success();
    assert!(versions.contains("1.1.0"), "{versions}");
    assert_eq!(
        world.dhow(&["run", "example.com/app"]).exited(5).stdout,
        "from the base"
    );
    // An older bundle does not take a newer catalog's place, and a newer one does.
    let newer = ["publish", "--refresh", "-q"];
    publisher.dhow(&[&newer[..], &URL].concat()).success();
    export(&publisher, "example.com/app", "newer.tar");
    let newest = fs::read(publisher.path("site/CATALOG")).unwrap();
    assert_ne!(newest, catalogs[0]);
    for bundle in ["newer.tar", "app.tar"] {
        let bundle = publisher.arg(bundle);
        offline(&world, &[&["bundle", "import", &bundle], &URL[..]].concat()).success();
        assert_eq!(fs::read(world.path("site/CATALOG")).unwrap(), newest);
    }
    // On the site of one of the names it lies where those of all others have theirs.
    let below = ["--site", "below", "--url", "https://example.com/app"];
    offline(&world, &[&["bundle", "import", &bundle], &below[..]].concat()).success();
    assert_eq!(fs::read(world.path("below/example.com/CATALOG")).unwrap(), catalogs[0]);
    assert!(!world.path("below/CATALOG").exists());
}

#[test]
fn a_bundle_is_made_of_what_is_found_by_its_name() {
    let mut world = publisher();
    let nginx = world.nginx("site");
    let export = |reference: &str, file: &str| world.dhow(&["bundle", "export", reference, "-o", file]);
    let told = export("example.com/app", "app.tar").success();
    let names: Vec<_> = told.lines().filter_map(|line| line.split(' ').next()).collect();
    assert_eq!(names, ["example.com/base", "example.com/app"]);
    // The store keeps nothing of it.
    assert!(is_empty(&world));
    let left: Vec<_> = fs::read_dir(world.path("data/tmp")).unwrap().collect();
    assert!(left.is_empty(), "{left:?}");
    export(
        "https://example.com/ACI/example.com/other/2.0.0-linux-amd64.aci",
        "other.tar",
    )
    .success();
    export("example.com/none", "none.tar").exited(3);
    export("./app.aci", "none.tar").exited(2);
    world
        .dhow(&["--offline", "bundle", "export", "example.com/app", "-o", "none.tar"])
        .exited(5);

    let receiver = receiver(&world);
    for (bundle, count) in [("app.tar", 2), ("other.tar", 1)] {
        let imported = offline(&receiver, &["bundle", "import", &world.arg(bundle)]).success();
        assert_eq!(imported.lines().count(), count, "{imported}");
    }
    let ran = offline(&receiver, &["run", "example.com/app"]).exited(5);
    assert_eq!(ran.stdout, "from the base");
    let bundle = world.arg("app.tar");
    offline(&receiver, &[&["bundle", "import", &bundle], &URL[..]].concat()).success();
    let catalogs = [&world, &receiver].map(|world| fs::read(world.path("site/CATALOG")).unwrap());
    assert_eq!(catalogs[0], catalogs[1]);

    // What is not verified is in no bundle.
    let archive = world.path("site/ACI/example.com/base/1.0.0-linux-amd64.aci");
    let mut bytes = fs::read(&archive).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(&archive, bytes).unwrap();
    export("example.com/app", "none.tar").exited(4);
    assert!(!world.path("none.tar").exists());
    drop(nginx);
}

#[test]
fn tampered_bundles_are_refused_and_leave_nothing() {
    let publisher = publisher();
    export(&publisher, "example.com/other", "other.tar");
    let good = fs::read(publisher.path("other.tar")).unwrap();
    let world = receiver(&publisher);
    let refused = |what: &str, bundle: &[u8], reason: &str| {
        fs::write(world.path("bad.tar"), bundle).unwrap();
        for to in [&[][..], &URL[..]] {
            let outcome = offline(&world, &[&["bundle", "import", "bad.tar"], to].concat());
            assert_eq!(outcome.code, 4, "{what}: {}", outcome.stderr);
            assert!(outcome.stderr.contains(reason), "{what}: {}", outcome.stderr);
            assert!(outcome.peak_memory < 64 << 20, "{what}: {} bytes", outcome.peak_memory);
        }
        assert!(is_empty(&world), "{what}");
        assert!(!world.path("site").exists(), "{what}");
        let left: Vec<_> = fs::read_dir(world.path("data/tmp")).unwrap().collect();
        assert!(left.is_empty(), "{what} left {left:?}");
    };

    // Where each entry begins, with its header.
    let size = |at: usize| {
        let digits = std::str::from_utf8(&good[at + 124..at + 135]).unwrap();
        usize::from_str_radix(digits, 8).unwrap()
    };
    let mut starts = vec![0];
    while starts.len() < 6 {
        let last = *starts.last().unwrap();
        starts.push(last + 512 + size(last).next_multiple_of(512));
    }
    let [index, keys, catalog, signature, archive, end] = starts[..] else {
        unreachable!()
    };
    assert_eq!(good.len(), end + 1024);

    let flipped = |at: usize| {
        let mut bundle = good.clone();
        bundle[at] ^= 1;
        bundle
    };
    refused("a byte of the archive", &flipped((archive + end) / 2), "another digest");
    refused(
        "a byte of the signature",
        &flipped(signature + 512 + 100),
        "another digest",
    );
    refused("a byte of the keys", &flipped(keys + 512 + 100), "another digest");
    refused("a byte of the catalog", &flipped(catalog + 512 + 100), "another digest");
    refused(
        "another catalog's prefix",
        &flipped(catalog + 3),
        "not where it should be",
    );
    refused("a byte of the index", &flipped(index + 512), "cannot be read");
    refused("a byte of a path", &flipped(archive + 8), "not where it should be");
    refused("another owner", &flipped(archive + 110), "not where it should be");
    refused("a link", &flipped(archive + 156), "not where it should be");
    refused("another size", &flipped(archive + 130), "not where it should be");
    refused(
        "something in the padding",
        &flipped(archive - 1),
        "followed by something",
    );
    refused("something at the end", &flipped(end + 600), "comes after it");
    for cut in [0, 100, 512, keys + 5, signature + 600, archive, archive + 700, end - 1] {
        refused(&format!("{cut} bytes"), &good[..cut], "is cut off");
    }
    refused("no end", &good[..end + 512], "its end");
    refused(
        "a file more",
        &[&good[..end], &good[signature..archive], &good[end..]].concat(),
        "its end",
    );
    refused(
        "a file twice",
        &[&good[..archive], &good[signature..]].concat(),
        "not where it should be",
    );
    refused(
        "a file less",
        &[&good[..signature], &good[archive..]].concat(),
        "not where it should be",
    );
    refused(
        "no catalog",
        &[&good[..catalog], &good[signature..]].concat(),
        "not where it should be",
    );
    refused(
        "other order",
        &[&good[keys..catalog], &good[..keys], &good[catalog..]].concat(),
        "no bundle",
    );
    let mut huge = good.clone();
    huge[124..135].copy_from_slice(b"77777777777");
    refused("a huge index", &huge, "no bundle");
    refused("no tar", b"no tar at all", "is cut off");

    // A catalog that somebody changed, or that nobody signed whom the receiver trusts, in a bundle that is whole.
    let signed = fs::read_to_string(publisher.path("site/CATALOG")).unwrap();
    let site = publisher.path("site/CATALOG");
    let of_mallory = {
        publisher
            .dhow(&["key", "generate", "Mallory <mallory@evil.example>"])
            .success();
        let json = signed.split_once("-----BEGIN PGP SIGNATURE-----").unwrap().0;
        fs::write(publisher.path("forged.json"), json).unwrap();
        publisher
            .dhow(&["sign", "forged.json", "--key", "mallory@evil.example"])
            .success();
        json.to_owned() + &fs::read_to_string(publisher.path("forged.json.asc")).unwrap()
    };
    let renamed = signed.replace("\"prefix\": \"example.com\"", "\"prefix\": \"example.com/other\"");
    for (what, catalog) in [
        ("an altered catalog", signed.replacen("2.0.0", "9.0.0", 1)),
        ("a catalog of another prefix", renamed),
        ("another's catalog", of_mallory),
    ] {
        fs::write(&site, catalog).unwrap();
        let export = [
            "bundle",
            "export",
            "example.com/other",
            "--site",
            "site",
            "--overwrite",
            "-o",
            "forged.tar",
        ];
        publisher.dhow(&export).success();
        let forged = fs::read(publisher.path("forged.tar")).unwrap();
        refused(what, &forged, "Could not verify the catalog");
    }
    fs::write(&site, signed).unwrap();

    // What a site of the attacker's own would export: digests are right, signatures or names are not.
    let record = |name: &str| format!("site/ACI/example.com/{name}-linux-amd64.aci.json");
    let change = |name: &str, change: &dyn Fn(&mut Value)| {
        let path = publisher.path(&record(name));
        let mut json: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
        change(&mut json);
        fs::write(path, json.to_string()).unwrap();
        json
    };
    let facts = change("base/1.0.0", &|_| {});
    let (base, other) = (
        "site/ACI/example.com/base/1.0.0-linux-amd64.aci",
        "site/ACI/example.com/other/2.0.0-linux-amd64.aci",
    );
    fs::copy(publisher.path(base), publisher.path(other)).unwrap();
    change("other/2.0.0", &|json| json["archive"] = facts["archive"].clone());
    export(&publisher, "example.com/other", "attack.tar");
    let attack = fs::read(publisher.path("attack.tar")).unwrap();
    refused("another archive", &attack, "Could not verify");
    let [base_signature, other_signature] = [base, other].map(|archive| publisher.path(&format!("{archive}.asc")));
    fs::copy(base_signature, other_signature).unwrap();
    change("other/2.0.0", &|json| json["signature"] = facts["signature"].clone());
    fs::remove_file(publisher.path("attack.tar")).unwrap();
    export(&publisher, "example.com/other", "attack.tar");
    let attack = fs::read(publisher.path("attack.tar")).unwrap();
    refused("another name", &attack, "what the bundle calls `example.com/other`");
}
