//! Images from buckets and from registries, as a user fetches and runs them.

use std::{
    fs,
    process::{Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use dhow_tests::{Outcome, Relay, Server, World};

/// Bytes that no compression makes fewer.
fn noise(size: usize, seed: u64) -> Vec<u8> {
    let mut state = 0x2545_f491_4f6c_dd1d_u64 ^ (seed << 7);
    let next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()
    };
    std::iter::repeat_with(next).flatten().take(size).collect()
}

/// This world with a bucket in which `app.aci` and its signature are, whose key the user trusts.
fn with_bucket(world: World, content: &[u8]) -> (World, Server, String) {
    let fingerprint = world.key();
    let id = world
        .image("example.com/app")
        .version("1")
        .file("noise", content)
        .shell("echo from a bucket")
        .build("app.aci");
    world.dhow(&["sign", "app.aci"]).success();
    let keys = world.arg("carly.asc");
    world
        .dhow(&["key", "export", "carly@example.com", "-o", &keys])
        .success();
    let prefix = ["--prefix", "example.com", "--fingerprint", &fingerprint];
    world
        .dhow(&[&["trust", "add"], &prefix[..], &[&keys]].concat())
        .success();
    let server = Server::s3(&world);
    server.put(&world, "app.aci");
    server.put(&world, "app.aci.asc");
    (world, server, id)
}

/// Lets a command find the bucket at this port, and nothing of the user who runs the tests.
fn at(command: &mut Command, port: u16) -> &mut Command {
    let (access, secret) = Server::KEYS;
    command
        .env_remove("AWS_PROFILE")
        .env("HOME", "/nonexistent")
        .env("AWS_ENDPOINT_URL", format!("http://127.0.0.1:{port}"))
        .env("AWS_REGION", "us-east-1")
        .env("AWS_ACCESS_KEY_ID", access)
        .env("AWS_SECRET_ACCESS_KEY", secret)
}

const S3_FETCH: [&str; 5] = ["--insecure-options", "http", "fetch", "-q", "s3://images/app.aci"];

#[test]
fn an_archive_in_a_bucket_is_verified_and_run() {
    let (world, server, id) = with_bucket(World::new(), b"");
    let fetched = Outcome::of(at(&mut world.dhow_command(&S3_FETCH), server.port()));
    assert_eq!(fetched.success().trim(), id);
    let run = ["--insecure-options", "http", "run", "s3://images/app.aci"];
    let said = Outcome::of(at(&mut world.dhow_command(&run), server.port())).success();
    assert_eq!(said.trim(), "from a bucket");

    // By a profile in place of the environment.
    let (access, secret) = Server::KEYS;
    fs::create_dir_all(world.path("home/.aws")).unwrap();
    let keys = format!("[own]\naws_access_key_id = {access}\naws_secret_access_key = {secret}\n");
    fs::write(world.path("home/.aws/credentials"), keys).unwrap();
    let config = format!(
        "[profile own]\nregion = us-east-1\nendpoint_url = http://127.0.0.1:{}\n",
        server.port()
    );
    fs::write(world.path("home/.aws/config"), config).unwrap();
    let by_profile = |profile: &str, arguments: &[&str]| {
        let mut command = world.dhow_command(arguments);
        for variable in [
            "AWS_ENDPOINT_URL",
            "AWS_REGION",
            "AWS_ACCESS_KEY_ID",
            "AWS_SECRET_ACCESS_KEY",
        ] {
            command.env_remove(variable);
        }
        Outcome::of(command.env("HOME", world.path("home")).env("AWS_PROFILE", profile))
    };
    fs::remove_dir_all(world.path("data")).unwrap();
    assert_eq!(by_profile("own", &S3_FETCH).success().trim(), id);
    by_profile("none", &S3_FETCH)
        .exited(1)
        .says("there is no AWS profile `none`");
    by_profile("own", &S3_FETCH[2..]).exited(2).says("is of plain HTTP");
    let missing = ["--insecure-options", "http", "fetch", "s3://images/none.aci"];
    by_profile("own", &missing).exited(3).says("s3://images/none.aci");
}

#[test]
fn an_image_of_a_registry_is_converted_and_run() {
    let world = World::new();
    // In pieces: what this process holds counts as the memory of those that it starts.
    let pieces = (0..24).fold(world.image("example.com/app").version("1"), |image, piece| {
        image.file(&format!("noise/{piece}"), &noise(4 << 20, piece))
    });
    pieces
        .shell("echo from a registry; busybox cat /noise/* | busybox wc -c")
        .build("app.aci");
    world.dhow(&["convert", "app.aci", "oci:layout:1.0"]).success();
    fs::remove_file(world.path("app.aci")).unwrap();
    let server = Server::registry(&world);
    server.push(&world, "layout:1.0", "team/app:1.0");
    let reference = format!("docker://127.0.0.1:{}/team/app:1.0", server.port());
    world
        .dhow(&["--insecure-options", "http", "fetch", &reference])
        .exited(4)
        .says("--insecure-options=image");
    let insecure = ["--insecure-options", "http,image"];
    let fetched = world.dhow(&[&insecure[..], &["fetch", &reference]].concat());
    assert!(fetched.peak_memory < 64 << 20, "{} bytes", fetched.peak_memory);
    println!("96 MiB from a registry: peak memory {} MiB", fetched.peak_memory >> 20);
    let id = fetched.says("by its digest sha256:").success();
    let said = world.dhow(&[&insecure[..], &["run", &reference]].concat()).success();
    assert_eq!(said.split_whitespace().last(), Some("100663296"), "{said}");

    // What is on this machine is a reference too, and the same image.
    let local = world.dhow(&["--insecure-options", "image", "fetch", "oci:layout:1.0"]);
    assert_eq!(local.success(), id);
    let kept = ["fetch", "--layers", "keep", "oci:layout:1.0"];
    world
        .dhow(&[&["--insecure-options", "image"], &kept[..]].concat())
        .success();
    world
        .dhow(&["fetch", "docker://example.com/No/app"])
        .exited(2)
        .says("is no repository");
}

/// Kills `dhow` again and again, until it has come to an end without; gives how many of the bytes came twice, in
/// percent. `KILLS=100` does it as often as that.
#[expect(clippy::print_stdout, reason = "a figure for whoever reads the log")]
fn killed(world: &World, relay: &Relay, size: u64, command: impl Fn() -> Command) -> f64 {
    let kills: u32 = std::env::var("KILLS").map_or(10, |kills| kills.parse().unwrap());
    let (mut wanted, mut killed, mut state) = (0, 0, 88_172_645_463_325_252_u64);
    loop {
        let mut child = command()
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        let deadline = Instant::now() + Duration::from_millis(200 + state % 1000);
        let status = loop {
            match child.try_wait().unwrap() {
                Some(status) => break Some(status),
                None if killed < kills && Instant::now() >= deadline => {
                    child.kill().unwrap();
                    child.wait().unwrap();
                    killed += 1;
                    break None;
                }
                None => thread::sleep(Duration::from_millis(5)),
            }
        };
        let Some(status) = status else { continue };
        let said = child.wait_with_output().unwrap().stderr;
        assert!(status.success(), "{}", String::from_utf8_lossy(&said));
        wanted += size;
        if killed == kills {
            break;
        }
        fs::remove_dir_all(world.path("data")).unwrap();
    }
    let twice = 100.0 * (relay.sent() as f64 / wanted as f64 - 1.0);
    println!("{twice:.2} % of the bytes came twice");
    twice
}

#[test]
fn a_fetch_from_a_bucket_that_is_killed_loses_next_to_nothing() {
    let (world, server, id) = with_bucket(World::in_memory(), &noise(24 << 20, 1));
    let relay = Relay::new(server.port(), 8 << 20);
    let size = fs::metadata(world.path("app.aci")).unwrap().len();
    let twice = killed(&world, &relay, size, || {
        let mut command = world.dhow_command(&S3_FETCH);
        at(&mut command, relay.port());
        command
    });
    assert!(world.images().contains(&id));
    assert!(twice <= 5.0, "{twice:.2} % of the bytes came twice");
}

#[test]
fn a_pull_from_a_registry_that_is_killed_loses_next_to_nothing() {
    let world = World::in_memory();
    world
        .image("example.com/app")
        .version("1")
        .file("noise", &noise(24 << 20, 1))
        .build("app.aci");
    world.dhow(&["convert", "app.aci", "oci:layout:1.0"]).success();
    let server = Server::registry(&world);
    server.push(&world, "layout:1.0", "app:1.0");
    let relay = Relay::new(server.port(), 8 << 20);
    let blobs = fs::read_dir(world.path("layout/blobs/sha256")).unwrap().flatten();
    let size = blobs.map(|blob| blob.metadata().unwrap().len()).sum();
    let reference = format!("docker://127.0.0.1:{}/app:1.0", relay.port());
    let twice = killed(&world, &relay, size, || {
        world.dhow_command(&["--insecure-options", "http,image", "fetch", "-q", &reference])
    });
    assert!(twice <= 5.0, "{twice:.2} % of the bytes came twice");
}
