//! The pages of a site, as a browser shows them.

use std::{fs, path::PathBuf, process::Command};

use dhow_tests::{Outcome, World, workspace};
use serde_json::json;

/// Where `tests/run` puts what `tests/pages` depends on.
fn tools() -> PathBuf {
    let tools = workspace().join("target/pages");
    assert!(
        tools.join("node_modules/puppeteer-core").exists(),
        "the tools that look at pages are missing: tests/run installs them"
    );
    tools
}

#[test]
fn pages_are_valid_accessible_and_read_without_script() {
    let mut world = World::new();
    let fingerprint = world.key();
    let publish = |name: &str, version: &str, more: &[&str]| {
        let image = world.image(name).version(version).shell("true");
        let image = more.iter().fold(image, |image, argument| image.arg(argument));
        let id = image.build("image.aci");
        let site = ["--site", "site", "--url", "https://example.com"];
        world
            .dhow(&[&["publish", "image.aci", "--torrent"], &site[..]].concat())
            .success();
        id
    };
    let annotations = [
        "authors=Carly Container <carly@example.com> </dd><script>alert(1)</script>",
        "homepage=https://example.com/?a=1&b=2",
        "documentation=https://example.com/\"><script>alert(1)</script>",
    ];
    let annotations: Vec<_> = annotations.iter().flat_map(|text| ["--annotation", text]).collect();
    publish("example.com/team/web-server", "1.9.0", &annotations);
    let newest = publish("example.com/team/web-server", "1.10.0", &annotations);
    let long = "example.com/team/web-server/a-name-that-is-long-and-has-no-place-to-break-it-and-goes-on-and-on-and-on";
    publish(long, "2026.11.24-with-a-long-version+and.a.build", &["--no-arch"]);
    publish("other.org/tool", "1", &[]);
    let nginx = world.nginx("site");

    let pages = json!({
        "/": ["example.com/team", "Mirrored names", "other.org", "All names of this site"],
        "/ACI/": ["3 names are", "example.com/team/web-server", long, "other.org/tool"],
        "/team/": ["example.com/team/web-server"],
        "/team/web-server/": [
            "1.10.0", "1.9.0", "linux/amd64", "unpacked", newest, fingerprint, "dhow trust add --prefix",
            "dhow fetch example.com/team/web-server", "archive", "signature", "torrent", "Carly Container", long,
        ],
        (format!("/{}/", long.strip_prefix("example.com/").unwrap())): ["2026.11.24-with"],
        "/other.org/tool/": ["dhow run other.org/tool"],
    });
    let pictures = workspace().join("target/pages/pictures");
    fs::create_dir_all(&pictures).unwrap();
    fs::create_dir(world.path("browser")).unwrap();
    let job = json!({
        "chromium": "/usr/bin/chromium",
        "profile": world.path("browser"),
        "pictures": pictures,
        "port": nginx.port(),
        "host": "example.com",
        "pages": pages,
    });
    fs::write(world.path("job.json"), job.to_string()).unwrap();
    // Beside what it imports.
    fs::copy(workspace().join("tests/pages/check.mjs"), tools().join("check.mjs")).unwrap();
    // A browser that hangs must not hang the tests.
    let mut command = Command::new("timeout");
    command
        .args(["--kill-after=10", "480", "node", "check.mjs"])
        .arg(world.path("job.json"));
    command.current_dir(tools()).env("HOME", world.path("browser"));
    let outcome = Outcome::of(&mut command);
    assert_eq!(outcome.code, 0, "{}\n{}", outcome.stdout, outcome.stderr);
}
