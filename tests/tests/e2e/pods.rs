//! Pods, as far as more than `dhow-pod` has a part in them.

use std::process::Command;

use dhow_tests::{Outcome, World};

/// CVE-2024-21626: a directory of the host's that the caller has open must not become the app's.
#[test]
fn what_the_caller_has_open_is_not_the_apps() {
    let world = World::new();
    let image = world
        .image("example.com/app")
        .version("1")
        .shell("cat hostname; ls /proc/self/fd");
    image.arg("--working-directory").arg("/proc/self/fd/9").build("app.aci");
    world
        .dhow(&["--insecure-options", "image", "fetch", "./app.aci"])
        .success();
    let run = world.dhow_command(&["--insecure-options", "image", "run", "example.com/app"]);
    let mut shell = Command::new("sh");
    shell
        .args(["-c", "exec \"$@\" 9</etc", "sh"])
        .arg(run.get_program())
        .args(run.get_args());
    let outcome = Outcome::of(&mut shell);
    assert_ne!(outcome.code, 0, "{outcome:?}");
    assert_eq!(outcome.stdout, "", "{outcome:?}");
}

#[test]
fn a_relative_data_directory_will_do() {
    let world = World::new();
    world
        .image("example.com/app")
        .version("1")
        .shell("echo here")
        .build("app.aci");
    let dhow = |arguments: &[&str]| {
        let mut command = Command::new(dhow_tests::programs().join("dhow"));
        command
            .current_dir(world.path(""))
            .args(["--dir", "relative", "--insecure-options", "image"]);
        Outcome::of(command.args(arguments))
    };
    dhow(&["fetch", "./app.aci"]).success();
    assert_eq!(dhow(&["run", "example.com/app"]).success(), "here\n");
}
