//! A tracker of others: opentracker, as Debian has it, to which the seeder announces and which the downloader asks.

use std::{
    fs::{self, Permissions},
    os::unix::fs::PermissionsExt,
    process::Command,
    thread,
    time::{Duration, Instant},
};

use dhow_tests::{Network, World};

const PORT: u16 = 6969;

fn seeder_and_downloader_find_each_other(scheme: &str) {
    let mut network = Network::enter();
    let host = network.host();
    let tracker = format!("{}:{PORT}", host.gateway());
    let announce = format!("{scheme}://{tracker}/announce");
    let mut world = World::new();
    let fingerprint = world.key();
    let id = world
        .image("example.com/app")
        .version("1.0.0")
        .file("data", &vec![7; 2 << 20])
        .build("app.aci");
    let published = world
        .dhow(&[
            "publish",
            "app.aci",
            "--site",
            "site",
            "--url",
            "https://example.com",
            "--torrent",
            "--private",
            "--tracker",
            &announce,
            "--format",
            "json",
        ])
        .success();
    let published: serde_json::Value = serde_json::from_str(&published).unwrap();
    let info_hash = published["infoHash"].as_str().unwrap();

    // It reads its list of torrents as nobody, and serves no others.
    let mut directory = tempfile::Builder::new();
    let directory = directory.permissions(Permissions::from_mode(0o755)).tempdir().unwrap();
    fs::write(directory.path().join("whitelist"), format!("{info_hash}\n")).unwrap();
    let mut opentracker = Command::new("opentracker");
    opentracker
        .args(["-i", &host.gateway().to_string(), "-u", "nobody", "-w", "whitelist"])
        .args(["-p", &PORT.to_string(), "-P", &PORT.to_string()])
        .arg("-d")
        .arg(directory.path());
    let _opentracker = host.start(&mut opentracker);

    // The archive is nowhere but in the swarm.
    fs::create_dir_all(world.path("nginx-0")).unwrap();
    fs::write(world.path("nginx-0/extra.conf"), "location ~ [.]aci$ { return 503; }").unwrap();
    let nginx = world.nginx("site");
    world
        .dhow(&["trust", "add", "--prefix", "example.com", "--fingerprint", &fingerprint])
        .success();
    let listen = format!("{}:6882", host.address());
    let seed = world.dhow_command(&["seed", "--site", "site", "--no-local-peers", "--peer-listen", &listen]);
    let mut there = host.command(seed.get_program().to_str().unwrap());
    there.args(seed.get_args()).current_dir(world.path(""));
    let _seeding = host.start(&mut there);
    let deadline = Instant::now() + Duration::from_secs(40);
    while !knows_a_seeder(&tracker, info_hash) {
        assert!(Instant::now() < deadline, "the seeder does not announce itself");
        thread::sleep(Duration::from_millis(100));
    }

    // A tracker in a private network is asked on the user's own word alone.
    let fetch = ["fetch", "--prefer-torrent", "--no-local-peers", "--tracker", &announce];
    let fetched = world
        .dhow(&[&fetch[..], &["--format", "json", "example.com/app"]].concat())
        .success();
    assert!(fetched.contains(&id) && fetched.contains(".aci.torrent"), "{fetched}");
    let requests = nginx.requests();
    assert!(!requests.contains(".aci HTTP/2.0\" 200"), "{requests}");
}

/// Whether the tracker knows somebody who has the whole of a torrent.
fn knows_a_seeder(tracker: &str, info_hash: &str) -> bool {
    let escaped: String = info_hash
        .as_bytes()
        .chunks(2)
        .map(|byte| format!("%{}", String::from_utf8_lossy(byte)))
        .collect();
    let url = format!("http://{tracker}/scrape?info_hash={escaped}");
    let scraped = Command::new("curl").args(["-s", &url]).output().unwrap();
    scraped.stdout.windows(12).any(|window| window == b"8:completei1")
}

#[test]
fn opentracker_over_http_brings_peers_together() {
    seeder_and_downloader_find_each_other("http");
}

#[test]
fn opentracker_over_udp_brings_peers_together() {
    seeder_and_downloader_find_each_other("udp");
}
