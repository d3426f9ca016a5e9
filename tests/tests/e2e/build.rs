//! Images that are built by the steps of a `BUILD.toml`.

use std::{fs, os::unix::fs::PermissionsExt};

use dhow_tests::World;

/// A world with `example.com/base` in its store.
fn with_base() -> World {
    let world = World::new();
    world
        .image("example.com/base")
        .version("1")
        .file("etc/kept", b"base\n")
        .file("etc/changed", b"base\n")
        .file("etc/removed", b"base\n")
        .file("old/deep/file", b"base\n")
        .build("base.aci");
    world
        .dhow(&["--insecure-options", "image", "fetch", "./base.aci"])
        .success();
    world
}

fn build_file(world: &World, text: &str) {
    let head = r#"
        name = "example.com/app"
        labels = { version = "2" }
        base = "example.com/base:1"
    "#;
    fs::write(world.path("BUILD.toml"), format!("{head}{text}")).unwrap();
}

fn build(world: &World) -> dhow_tests::Outcome {
    world.dhow(&[
        "--insecure-options",
        "image",
        "build",
        "-f",
        "BUILD.toml",
        "-o",
        "app.aci",
        "--overwrite",
    ])
}

/// What a command inside of the built image prints.
fn inside(world: &World, script: &str) -> String {
    world
        .dhow(&["--insecure-options", "image", "fetch", "./app.aci"])
        .success();
    let run = [
        "--insecure-options",
        "image",
        "run",
        "example.com/app:2",
        "--exec",
        "/bin/sh",
        "--",
        "-c",
        script,
    ];
    world.dhow(&run).success()
}

#[test]
fn steps_build_upon_a_base_image() {
    let world = with_base();
    fs::create_dir_all(world.path("files/sub")).unwrap();
    fs::write(world.path("files/a"), "a\n").unwrap();
    fs::write(world.path("files/sub/b"), "b\n").unwrap();
    fs::write(world.path("files/junk.pyc"), "junk\n").unwrap();
    build_file(
        &world,
        r#"
        exclude = ["*.pyc"]

        [app]
        exec = ["/bin/sh"]
        environment = { FROM = "build file" }

        [[step]]
        copy = "files"
        to = "/srv"

        [[step]]
        copy = "files/a"
        to = "/bin/tool"
        mode = "0750"
        owner = "7:8"

        [[step]]
        run = "cat /srv/a /srv/sub/b > /etc/made; echo $WORD >> /etc/changed; rm /etc/removed; rm -r /old; mkdir /old; echo new > /old/file"
        environment = { WORD = "step" }

        [[step]]
        run = ["/bin/sh", "-c", "mv /etc/made /etc/moved; chmod 2700 /etc; ln -s moved /etc/link"]
        "#,
    );
    build(&world).success();
    let seen = inside(
        &world,
        "cat /etc/kept /etc/changed /etc/moved /old/file; ls -a /etc /old /srv | tr '\\n' ' '; stat -c '%a %u %g' /bin/tool /etc; readlink /etc/link; echo $FROM",
    );
    let expected = "base\nbase\nstep\na\nb\nnew\n\
        /etc: . .. changed hosts kept link moved  /old: . .. file  /srv: . .. a sub \
        750 7 8\n2700 0 0\nmoved\nbuild file\n";
    assert_eq!(seen, expected);

    // What the pods of the steps needed is in no image, and nothing is left behind.
    let listed = world.dhow(&["validate", "app.aci"]);
    listed.success();
    let left: Vec<_> = fs::read_dir(world.path("data"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name())
        .collect();
    assert!(
        !left.iter().any(|name| name.to_string_lossy().starts_with(".build-")),
        "{left:?}"
    );
}

#[test]
fn the_same_steps_give_the_same_image() {
    let world = with_base();
    build_file(&world, "[[step]]\nrun = \"echo x > /etc/x; rm /etc/removed\"\n");
    let first = build(&world).success();
    assert_eq!(build(&world).success(), first);
}

#[test]
fn a_step_that_fails_leaves_no_image() {
    let world = with_base();
    build_file(&world, "[[step]]\nrun = \"echo on its way; exit 3\"\n");
    build(&world)
        .exited(1)
        .says("Step 1 failed: `echo on its way; exit 3`")
        .says("exit status: 3");
    assert!(!world.path("app.aci").exists());
    build_file(&world, "[[step]]\ncopy = \"nothing\"\nto = \"/x\"\n");
    build(&world).exited(1).says("Step 1 could not copy `nothing`");
    build_file(&world, "[[step]]\ncopi = \"nothing\"\nto = \"/x\"\n");
    build(&world).exited(1).says("`BUILD.toml` is no valid build file");
}

#[test]
fn a_base_image_is_verified_like_any_other() {
    let mut world = with_base();
    world.connect("example.com", 1);
    build_file(&world, "");
    // It is in the store, but nobody vouches for it, and there is no server to ask.
    world
        .dhow(&["build", "-f", "BUILD.toml", "-o", "app.aci"])
        .exited(5)
        .says("example.com/base:1");
}

#[test]
fn nothing_of_the_host_is_changed_or_copied() {
    let world = with_base();
    let victim = world.path("victim");
    fs::create_dir(&victim).unwrap();
    fs::write(victim.join("hosts"), "the host's\n").unwrap();
    fs::set_permissions(&victim, PermissionsExt::from_mode(0o700)).unwrap();

    // A step that turns `/etc` into a link to the host's files.
    build_file(
        &world,
        &format!("[[step]]\nrun = \"rm -rf /etc; ln -s {} /etc\"\n", victim.display()),
    );
    build(&world).success();
    assert_eq!(fs::read_to_string(victim.join("hosts")).unwrap(), "the host's\n");

    // A directory that is copied over a link to the host's.
    fs::create_dir_all(world.path("files/lib")).unwrap();
    fs::write(world.path("files/lib/x"), "x").unwrap();
    fs::set_permissions(world.path("files/lib"), PermissionsExt::from_mode(0o777)).unwrap();
    let link = format!("mkdir -p {0}; ln -s {0} /lib", victim.display());
    build_file(
        &world,
        &format!("[[step]]\nrun = \"{link}\"\n[[step]]\ncopy = \"files\"\nto = \"/\"\n"),
    );
    build(&world).success();
    assert_eq!(fs::metadata(&victim).unwrap().permissions().mode() & 0o7777, 0o700);
    assert!(!victim.join("x").exists());

    for outside in ["/etc/hostname", "../x", "files/../../x"] {
        build_file(&world, &format!("[[step]]\ncopy = \"{outside}\"\nto = \"/x\"\n"));
        build(&world).exited(1).says("Step 1 could not copy");
    }
}

#[test]
fn what_a_step_does_to_the_root_is_kept_and_what_its_pod_needed_is_not() {
    let world = with_base();
    build_file(&world, "[app]\nexec = [\"/bin/sh\"]\n[[step]]\nrun = \"chmod 711 /\"\n");
    build(&world).success();
    let listed = world.dhow(&["inspect", "app.aci"]).success();
    assert!(!listed.contains("/proc") && !listed.contains("/dev"), "{listed}");
    assert_eq!(inside(&world, "stat -c %a /"), "711\n");
}
