//! Buckets that `config.toml` tells of: sites published into them, and images fetched from them.

use std::{fs, path::Path, process::Command};

use dhow_tests::{Outcome, Server, World};

const ARCHIVE: &str = "ACI/example.com/app/1.0.0-linux-amd64.aci";

/// A world with an image `app.aci` whose key the user trusts, and its image ID.
fn with_image() -> (World, String) {
    let world = World::new();
    world.key();
    let id = world
        .image("example.com/app")
        .version("1.0.0")
        .file("data", &vec![7; 1 << 20])
        .build("app.aci");
    world.trust_own_key();
    (world, id)
}

/// Writes the configuration.
fn configure(world: &World, text: &str) {
    fs::write(world.path("config/config.toml"), text).unwrap();
}

/// A command of a user of whom nothing is known but the configuration.
fn dhow(world: &World, arguments: &[&str]) -> Outcome {
    let mut command = world.dhow_command(arguments);
    let of_storage = |name: &str| {
        ["AWS_", "GOOGLE_", "AZURE_"]
            .iter()
            .any(|prefix| name.starts_with(prefix))
    };
    for (name, _) in std::env::vars().filter(|(name, _)| of_storage(name)) {
        command.env_remove(name);
    }
    Outcome::of(command.env("HOME", "/nonexistent"))
}

fn publish(world: &World, site: &str) {
    let publish = ["publish", "app.aci", "--site", site, "--url", "https://example.com"];
    dhow(world, &publish).success();
}

#[test]
fn s3_is_reached_as_the_configuration_says() {
    let (world, id) = with_image();
    let server = Server::s3(&world);
    let (access, secret) = Server::KEYS;
    fs::write(world.path("config/s3.secret"), format!("{secret}\n")).unwrap();
    let endpoint = format!("http://127.0.0.1:{}", server.port());
    let table = format!(
        "[[bucket]]\nurl = 's3://images'\nendpoint = '{endpoint}'\nregion = 'us-east-1'\n\
         access-key-id = '{access}'\nsecret-access-key-file = 's3.secret'\n"
    );
    configure(&world, &table);
    let url = format!("s3://images/site/{ARCHIVE}");
    dhow(&world, &["fetch", &url]).exited(2).says("is of plain HTTP");
    configure(&world, &format!("{table}insecure-http = true\n"));
    publish(&world, "s3://images/site");
    assert_eq!(dhow(&world, &["fetch", "-q", &url]).success().trim(), id);
    // Another bucket is not told of.
    let other = dhow(&world, &["fetch", "s3://others/app.aci", "--offline"]).exited(3);
    other.says("s3://others/app.aci");

    let shown = dhow(&world, &["config"]).success();
    let line = |key: &str| shown.lines().find(|line| line.starts_with(key)).unwrap_or_default();
    assert!(line("bucket.endpoint (s3://images)").contains(&endpoint), "{shown}");
    assert!(line("bucket.endpoint").ends_with("config/config.toml:3"), "{shown}");
    assert!(!shown.contains(secret), "{shown}");
}

#[test]
fn azure_is_published_into_and_fetched_from() {
    let (world, id) = with_image();
    fs::create_dir_all(world.path("azure")).unwrap();
    let server = Server::azure(&world.path("azure"));
    let (account, key) = Server::AZURE_KEY;
    configure(
        &world,
        &format!(
            "[[bucket]]\nurl = 'az://'\nendpoint = 'http://127.0.0.1:{}/{account}'\ninsecure-http = true\n\
             account = '{account}'\naccount-key = '{key}'\n",
            server.port()
        ),
    );
    publish(&world, "az://images/site");
    // A second time nothing changes, and its catalog is changed only if nobody else did.
    publish(&world, "az://images/site");
    let url = format!("az://images/site/{ARCHIVE}");
    assert_eq!(dhow(&world, &["fetch", "-q", &url]).success().trim(), id);
    let missing = dhow(&world, &["fetch", "az://images/site/none.aci"]);
    missing.exited(3).says("az://images/site/none.aci");
    let shown = dhow(&world, &["config", "--format", "json"]).success();
    assert!(
        shown.contains(r#""key":"bucket.account-key","of":"az://","value":"(secret)""#),
        "{shown}"
    );
    assert!(!shown.contains(key), "{shown}");
}

#[test]
fn google_is_fetched_from() {
    let (world, id) = with_image();
    let server = Server::gcs();
    publish(&world, "site");
    let site = world.path("site");
    for file in files(&site) {
        let key = file.strip_prefix(&site).unwrap().to_str().unwrap().replace('/', "%2F");
        server.put_into_gcs(&file, &key);
    }
    configure(
        &world,
        &format!(
            "[[bucket]]\nurl = 'gs://images'\nendpoint = 'http://127.0.0.1:{}'\ninsecure-http = true\nanonymous = true\n",
            server.port()
        ),
    );
    let url = format!("gs://images/{ARCHIVE}");
    assert_eq!(dhow(&world, &["fetch", "-q", &url]).success().trim(), id);
    let missing = dhow(&world, &["fetch", "gs://images/none.aci"]);
    missing.exited(3).says("gs://images/none.aci");
}

/// The files beneath a directory.
fn files(directory: &Path) -> Vec<std::path::PathBuf> {
    let listed = Outcome::of(Command::new("find").arg(directory).args(["-type", "f"])).success();
    listed.lines().map(Into::into).collect()
}

#[test]
fn what_is_configured_is_shown_with_where_it_stands() {
    let (world, _) = with_image();
    configure(
        &world,
        "[fetch]\nstreams = 2\n\n[[mirror]]\nprefix = 'example.com'\nurl = 'https://mirror.example'\n\n\
         [[credentials]]\nhost = 'mirror.example'\nuser = 'carly'\npassword = 'tell-nobody'\n",
    );
    fs::create_dir_all(world.path("config/config.d")).unwrap();
    fs::write(world.path("config/config.d/10.toml"), "[fetch]\nstreams = 3\n").unwrap();
    let shown = dhow(&world, &["config"]).success();
    let row = |key: &str| {
        let line = shown.lines().find(|line| line.starts_with(key)).unwrap_or_default();
        line.split("  ")
            .map(str::trim)
            .filter(|cell| !cell.is_empty())
            .collect::<Vec<_>>()
    };
    let file = |name: &str| world.arg(&format!("config/{name}"));
    assert_eq!(row("data"), ["data", &world.arg("data"), "--dir"], "{shown}");
    assert_eq!(row("fetch.jobs"), ["fetch.jobs", "3", "default"]);
    assert_eq!(
        row("fetch.streams"),
        ["fetch.streams", "3", &file("config.d/10.toml:2")]
    );
    let mirror = [
        "mirror.url (example.com)",
        "https://mirror.example",
        &file("config.toml:6"),
    ];
    assert_eq!(row("mirror.url"), mirror);
    let password = [
        "credentials.password (mirror.example)",
        "(secret)",
        &file("config.toml:11"),
    ];
    assert_eq!(row("credentials.password"), password);
    let json = dhow(&world, &["config", "--format", "json"]).success();
    assert!(
        !shown.contains("tell-nobody") && !json.contains("tell-nobody"),
        "{json}"
    );
    let streams = json.lines().find(|line| line.contains("fetch.streams")).unwrap();
    let streams: serde_json::Value = serde_json::from_str(streams).unwrap();
    assert_eq!((&streams["value"], &streams["source"]["line"]), (&3.into(), &2.into()));

    configure(&world, "[fetch]\nstreems = 2\n");
    let refused = dhow(&world, &["config"]);
    refused
        .exited(1)
        .says("config/config.toml")
        .says("line 2, `fetch.streems`: unknown field");
}
