//! An ordinary user does all of it.

use std::{fs, os::unix::fs::chown, process::Command};

use dhow_tests::{Outcome, World, programs};

/// A user that is in no `/etc/subuid`, and so has one ID to map.
const NOBODY: &str = "65534";

#[test]
fn fetch_and_run_without_root() {
    let mut world = World::new();
    let fingerprint = world.key();
    let id = world
        .image("example.com/app")
        .version("1")
        .shell("id -u; cat /etc/greeting; exit 5")
        .file("etc/greeting", b"hello\n")
        .build("app.aci");
    world
        .dhow(&["publish", "app.aci", "--site", "site", "--url", "https://example.com"])
        .success();
    let nginx = world.nginx("site");

    // The user's own directory, on a disk, where every path to it can be passed.
    let home = tempfile::tempdir_in("/var/tmp").unwrap();
    for program in ["dhow", "dhow-pod"] {
        fs::copy(programs().join(program), home.path().join(program)).unwrap();
    }
    fs::copy(world.path("ca.pem"), home.path().join("ca.pem")).unwrap();
    chown(home.path(), Some(65534), Some(65534)).unwrap();
    let dhow = |arguments: &[&str]| {
        let mut command = Command::new("setpriv");
        command.args([
            "--reuid",
            NOBODY,
            "--regid",
            NOBODY,
            "--clear-groups",
            "--inh-caps=-all",
            "--bounding-set=-all",
        ]);
        command.arg(home.path().join("dhow")).current_dir(home.path());
        command
            .env_clear()
            .env("HOME", home.path())
            .env("PATH", "/usr/bin:/bin");
        command.args([
            "--ca",
            "ca.pem",
            "--connect-to",
            &format!("example.com:443:127.0.0.1:{}", nginx.port()),
        ]);
        Outcome::of(command.args(arguments))
    };
    dhow(&["trust", "add", "--prefix", "example.com", "--fingerprint", &fingerprint]).success();
    assert_eq!(dhow(&["fetch", "example.com/app"]).success().trim(), id);
    let ran = dhow(&["run", "example.com/app"]).exited(5);
    assert_eq!(ran.stdout, "0\nhello\n");
    assert!(dhow(&["list"]).success().contains("exited"));
    dhow(&["gc", "--grace-period", "0s"]).success();
}
