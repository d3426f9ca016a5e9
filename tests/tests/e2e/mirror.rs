//! `dhow mirror serve` as the web server of a site.

use std::{
    io::{BufRead, BufReader},
    process::{Child, Stdio},
};

use dhow_tests::World;

struct Mirror(Child);

impl Drop for Mirror {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn a_site_served_by_dhow_itself() {
    let mut world = World::new();
    let fingerprint = world.key();
    let id = world.image("example.com/app").version("1").build("app.aci");
    world
        .dhow(&["publish", "app.aci", "--site", "site", "--url", "https://example.com"])
        .success();
    let (certificate, key) = world.certificate("example.com");
    let (certificate, key) = (certificate.display().to_string(), key.display().to_string());
    let arguments = [
        "mirror",
        "serve",
        "--site",
        "site",
        "--listen",
        "127.0.0.1:0",
        "--tls-cert",
        &certificate,
        "--tls-key",
        &key,
    ];
    // `dhow mirror` hands over to `dhow-mirror`, which knows no `--ca` or `--dir`.
    let mut command = std::process::Command::new(dhow_tests::programs().join("dhow"));
    let child = command
        .args(arguments)
        .current_dir(world.path(""))
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut mirror = Mirror(child);
    let mut line = String::new();
    BufReader::new(mirror.0.stdout.take().unwrap())
        .read_line(&mut line)
        .unwrap();
    let port = line.trim().rsplit_once(':').unwrap().1.parse().unwrap();
    world.connect("example.com", port);

    world
        .dhow(&["trust", "add", "--prefix", "example.com", "--fingerprint", &fingerprint])
        .success();
    assert_eq!(world.dhow(&["fetch", "example.com/app"]).success().trim(), id);
}
