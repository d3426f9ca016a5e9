//! Downloads that processes share, and that outlive them.

use std::{
    fs,
    io::{BufRead, BufReader, Read},
    process::{Child, Stdio},
    thread,
    time::{Duration, Instant},
};

use dhow_tests::{Nginx, Outcome, World};

/// This world, where `example.com/app` is an archive of `size` bytes or a little more, which nginx sends at this rate to
/// each connection.
fn published(mut world: World, size: usize, rate: &str) -> (World, Nginx, String) {
    world.key();
    let mut state = 0x2545_f491_4f6c_dd1d_u64;
    let next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()
    };
    let noise: Vec<u8> = std::iter::repeat_with(next).flatten().take(size).collect();
    let id = world
        .image("example.com/app")
        .version("1")
        .file("noise", &noise)
        .build("app.aci");
    world
        .dhow(&["publish", "app.aci", "--site", "site", "--url", "https://example.com"])
        .success();
    world.trust_own_key();
    fs::create_dir_all(world.path("nginx-0")).unwrap();
    fs::write(world.path("nginx-0/extra.conf"), format!("limit_rate {rate};")).unwrap();
    let nginx = world.nginx("site");
    (world, nginx, id)
}

fn size(world: &World) -> u64 {
    fs::metadata(world.path("app.aci")).unwrap().len()
}

/// How many bytes of archives nginx has sent, by its log, and in how many answers.
fn sent(nginx: &Nginx) -> (u64, usize) {
    let log = nginx.requests();
    let sizes = log.lines().filter(|line| line.contains(".aci HTTP")).map(|line| {
        // … "GET /x HTTP/2.0" 200 1234 "-" "dhow"
        let behind = line.rsplit("HTTP/").next().unwrap();
        behind.split(' ').nth(2).unwrap().parse::<u64>().unwrap()
    });
    let sizes: Vec<_> = sizes.collect();
    (sizes.iter().sum(), sizes.len())
}

fn start(world: &World, arguments: &[&str]) -> Child {
    world
        .dhow_command(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap()
}

/// Waits until some of the archive is here.
fn wait_for_bytes(world: &World) {
    let deadline = Instant::now() + Duration::from_secs(20);
    let has_some = || {
        let files = fs::read_dir(world.path("data/downloads")).ok()?;
        files.flatten().find(|file| {
            file.path().extension().is_some_and(|extension| extension == "part")
                && file.metadata().is_ok_and(|metadata| metadata.len() > 100_000)
        })
    };
    while has_some().is_none() {
        assert!(Instant::now() < deadline, "nothing comes");
        thread::sleep(Duration::from_millis(10));
    }
}

/// Fetches again and again, and kills each fetch after a while, `KILLS` times or as often as this, then fetches once more.
/// Of a hundred bytes at most five may come more often than they were wanted. Gives what was counted.
fn kill_often(world: &World, nginx: &Nginx, id: &str, often: u32) -> String {
    let kills: u32 = std::env::var("KILLS").map_or(often, |kills| kills.parse().unwrap());
    let (size, before) = (size(world), sent(nginx).0);
    let (mut wanted, mut killed, mut state) = (0, 0, 88_172_645_463_325_252_u64);
    while killed < kills {
        let mut child = start(world, &["fetch", "-q", "example.com/app"]);
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        let deadline = Instant::now() + Duration::from_millis(150 + state % 1000);
        loop {
            match child.try_wait().unwrap() {
                Some(status) => {
                    assert!(
                        status.success(),
                        "{}",
                        String::from_utf8_lossy(&child.wait_with_output().unwrap().stderr)
                    );
                    assert!(world.images().contains(id));
                    fs::remove_dir_all(world.path("data")).unwrap();
                    wanted += size;
                    break;
                }
                None if Instant::now() >= deadline => {
                    child.kill().unwrap();
                    child.wait().unwrap();
                    killed += 1;
                    break;
                }
                None => thread::sleep(Duration::from_millis(5)),
            }
        }
    }
    assert_eq!(world.dhow(&["fetch", "-q", "example.com/app"]).success().trim(), id);
    wanted += size;
    let left: Vec<_> = fs::read_dir(world.path("data/downloads")).unwrap().flatten().collect();
    assert!(
        left.iter()
            .all(|file| file.path().extension().is_some_and(|extension| extension == "got")),
        "{left:?}"
    );
    thread::sleep(Duration::from_millis(200));
    let (sent, requests) = sent(nginx);
    let sent = sent - before;
    let twice = 100.0 * (sent as f64 / wanted as f64 - 1.0);
    let counted =
        format!("{killed} kills, {requests} requests, {wanted} bytes wanted, {sent} sent: {twice:.2} % twice");
    assert!(twice <= 5.0, "{counted}");
    counted
}

#[test]
fn a_process_that_is_killed_loses_next_to_nothing() {
    let (world, nginx, id) = published(World::in_memory(), 24 << 20, "4m");
    println!("{}", kill_often(&world, &nginx, &id, 15));
}

/// What is long comes by a connection of its own, over HTTP/1.1.
#[test]
fn a_long_archive_that_is_killed_loses_as_little() {
    let (world, nginx, id) = published(World::in_memory(), 288 << 20, "32m");
    assert_eq!(world.dhow(&["fetch", "-q", "example.com/app"]).success().trim(), id);
    let (log, (sent, _), size) = (nginx.requests(), sent(&nginx), size(&world));
    // What is shared brings the head, and what was on its way when that was here.
    let (_, shared) = log
        .split_once(".aci HTTP/2.0\" 200 ")
        .expect("it is asked for by what is there");
    let shared: u64 = shared.split(' ').next().unwrap().parse().unwrap();
    assert!(shared < 16 << 20, "{log}");
    assert!(log.contains(".aci HTTP/1.1\" 206 "), "{log}");
    assert!(sent < size + size / 20, "{sent} bytes were sent for {size}: {log}");
    fs::remove_dir_all(world.path("data")).unwrap();
    println!("{}", kill_often(&world, &nginx, &id, 10));
}

#[test]
fn two_processes_download_one_thing_once() {
    let (world, nginx, id) = published(World::new(), 4 << 20, "2m");
    let first = start(&world, &["fetch", "-q", "example.com/app"]);
    wait_for_bytes(&world);
    let second = world
        .dhow(&["fetch", "example.com/app"])
        .says("waiting for another process that fetches `https://");
    assert_eq!(second.success().trim(), id);
    let first = first.wait_with_output().unwrap();
    assert_eq!(String::from_utf8(first.stdout).unwrap().trim(), id);
    assert_eq!(
        sent(&nginx).0,
        size(&world),
        "once; and then it is asked whether it is the same"
    );
}

#[test]
fn who_waits_takes_over_from_who_dies() {
    let (world, nginx, id) = published(World::new(), 4 << 20, "512k");
    let mut first = start(&world, &["fetch", "-q", "example.com/app"]);
    wait_for_bytes(&world);
    let mut second = start(&world, &["fetch", "example.com/app"]);
    let mut said = BufReader::new(second.stderr.take().unwrap());
    let mut line = String::new();
    while !line.contains("waiting for another process") {
        assert_ne!(said.read_line(&mut line).unwrap(), 0, "it does not wait: {line}");
    }
    first.kill().unwrap();
    first.wait().unwrap();
    said.read_to_string(&mut line).unwrap();
    let second = second.wait_with_output().unwrap();
    assert!(second.status.success(), "{line}");
    assert_eq!(String::from_utf8(second.stdout).unwrap().trim(), id);
    let (sent, size) = (sent(&nginx).0, size(&world));
    assert!(sent < size + size / 10, "{sent} bytes were sent for {size}");
}

#[test]
fn a_rate_is_kept_and_progress_is_told_to_machines() {
    let (world, _nginx, _) = published(World::new(), 3 << 20, "0");
    let started = Instant::now();
    let fetched = world.dhow(&["fetch", "--limit-rate", "1M", "--progress", "json", "example.com/app"]);
    let took = started.elapsed().as_secs_f64();
    assert!((2.4..12.0).contains(&took), "3 MiB at 1 MiB/s took {took} s");
    let lines: Vec<serde_json::Value> = fetched
        .stderr
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let phases = lines
        .iter()
        .filter(|line| line["event"] == "begin")
        .map(|line| line["phase"].as_str().unwrap());
    assert_eq!(
        phases.collect::<Vec<_>>(),
        ["discovering", "signature", "archive", "verifying", "storing"]
    );
    let archive: Vec<_> = lines
        .iter()
        .filter(|line| line["event"] == "progress" && line["phase"] == "archive")
        .collect();
    assert!(archive.len() > 5, "{lines:?}");
    for line in &archive {
        assert_eq!(line["reference"], "example.com/app");
        assert_eq!(line["total"], size(&world));
        assert!(line["subject"].as_str().unwrap().starts_with("https://example.com/"));
    }
    let last = archive.last().unwrap();
    assert_eq!(last["done"], size(&world));
    let rate = last["bytesPerSecond"].as_f64().unwrap();
    assert!((200_000.0..1_500_000.0).contains(&rate), "{rate}");
    assert_eq!(lines.last().unwrap()["event"], "end");
    fetched.success();
    world
        .dhow(&["fetch", "--limit-rate", "fast", "example.com/app"])
        .exited(2)
        .says("`fast` is not a rate");
}

#[test]
fn a_slow_connection_is_helped_by_others() {
    let (world, nginx, id) = published(World::new(), 60 << 20, "4m");
    let started = Instant::now();
    let fetched: Outcome = world.dhow(&["fetch", "example.com/app"]);
    let took = started.elapsed();
    assert_eq!(fetched.success().trim(), id);
    let (sent, requests) = sent(&nginx);
    assert!(requests > 1, "one connection alone");
    // One alone takes fifteen seconds.
    assert!(took < Duration::from_secs(12), "{took:?}");
    let size = size(&world);
    assert!(sent < size + size / 4, "{sent} bytes were sent for {size}");
    println!("60 MiB at 4 MiB/s a connection: {took:?} by {requests} requests, {sent} bytes");
}
