//! The examples, run as a newcomer runs them.

use std::{fs, os::unix::fs::chown, process::Command};

use dhow_tests::{Outcome, World, free_port, programs, workspace};

/// What quickstart says of a pod's process, and at its end.
fn told_all(outcome: &Outcome) -> bool {
    outcome.stdout.contains("| I am process 2 on dhow-") && outcome.stdout.contains("\nThat is dhow. All of it took ")
}

#[test]
fn quickstart_needs_nothing_and_leaves_nothing() {
    // Where there is no program to be found, and where its temporary files can be counted.
    let home = tempfile::tempdir_in("/var/tmp").unwrap();
    let program = home.path().join("quickstart");
    fs::copy(programs().join("examples/quickstart"), &program).unwrap();
    let tmp = home.path().join("tmp");
    fs::create_dir(&tmp).unwrap();
    let alone = |command: &mut Command| {
        let outcome = Outcome::of(command.env_clear().env("TMPDIR", &tmp)).exited(0);
        assert!(told_all(&outcome), "{}", outcome.stdout);
        assert_eq!(fs::read_dir(&tmp).unwrap().count(), 0, "it leaves nothing");
    };
    alone(&mut Command::new(&program));

    // Nor root.
    let nobody = 65534;
    for path in [home.path(), &tmp] {
        chown(path, Some(nobody), Some(nobody)).unwrap();
    }
    let mut command = Command::new("/usr/bin/setpriv");
    command.args(["--reuid=65534", "--regid=65534", "--clear-groups", "--inh-caps=-all"]);
    alone(command.args(["--bounding-set=-all"]).arg(&program));
}

#[test]
fn static_site_goes_a_publishers_whole_path() {
    let world = World::new();
    let mut command = Command::new(workspace().join("examples/static-site/run.sh"));
    command
        .env("DHOW_BIN", programs())
        .env("PORT", free_port().to_string())
        // On a disk, not on a tmpfs.
        .env("TMPDIR", world.path(""));
    let outcome = Outcome::of(&mut command).exited(0);
    assert!(
        outcome.stdout.ends_with("Hello from version 1.1.0\n"),
        "{}",
        outcome.stdout
    );
    let told = outcome.stdout.lines().find_map(|line| {
        let (first, second) = line
            .strip_prefix("The first fetch took ")?
            .split_once(" bytes, the second ")?;
        Some((
            first.parse::<u64>().ok()?,
            second.strip_suffix('.')?.parse::<u64>().ok()?,
        ))
    });
    let (first, second) = told.unwrap_or_else(|| panic!("it tells no sizes:\n{}", outcome.stdout));
    assert!(first > 4_000_000, "{first} bytes cannot be the image");
    assert!(second < 100_000, "{second} bytes for one changed line");
}
