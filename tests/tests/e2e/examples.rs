//! The examples that are scripts.

use std::process::Command;

use dhow_tests::{Outcome, World, free_port, programs, workspace};

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
