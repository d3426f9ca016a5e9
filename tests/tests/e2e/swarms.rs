//! Swarms with the peers that people have: aria2 and transmission, in network namespaces.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use dhow_tests::{Host, Network, Nginx, Outcome, Running, Tracker, World};

const ARCHIVE: &str = "site/ACI/example.com/app/1.0.0-linux-amd64.aci";

/// A published image, a tracker, and another host.
struct Scene {
    world: World,
    nginx: Nginx,
    tracker: Tracker,
    host: Host,
    id: String,
    fingerprint: String,
}

/// Bytes that no compression makes smaller.
fn noise(size: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()
    };
    std::iter::repeat_with(&mut next).flatten().take(size).collect()
}

/// A web server that is faster than anybody can say hello leaves nothing for a swarm to do: it sends at this rate.
fn scene(size: usize, rate: &str) -> Scene {
    scene_by(size, &format!("limit_rate {rate};"))
}

fn scene_by(size: usize, configuration: &str) -> Scene {
    let mut network = Network::enter();
    let host = network.host();
    let tracker = Tracker::start(host.gateway());
    let mut world = World::new();
    let fingerprint = world.key();
    let id = world
        .image("example.com/app")
        .version("1.0.0")
        .file("noise", &noise(size))
        .build("app.aci");
    let url = tracker.url();
    let publish = ["publish", "app.aci", "--site", "site", "--url", "https://example.com"];
    world
        .dhow(&[&publish[..], &["--torrent", "--tracker", &url]].concat())
        .success();
    fs::create_dir_all(world.path("nginx-0")).unwrap();
    fs::write(world.path("nginx-0/extra.conf"), configuration).unwrap();
    let nginx = world.nginx("site");
    world
        .dhow(&["trust", "add", "--prefix", "example.com", "--fingerprint", &fingerprint])
        .success();
    Scene {
        world,
        nginx,
        tracker,
        host,
        id,
        fingerprint,
    }
}

impl Scene {
    fn torrent(&self) -> PathBuf {
        self.world.path(&format!("{ARCHIVE}.torrent"))
    }

    /// The same torrent without its web seed, which no other host reaches.
    fn without_web_seed(&self) -> PathBuf {
        let torrent = fs::read(self.torrent()).unwrap();
        let at = torrent.windows(10).position(|window| window == b"8:url-list").unwrap();
        let path = self.world.path("client.torrent");
        fs::write(&path, [&torrent[..at], b"e"].concat()).unwrap();
        path
    }

    /// The directory of a client, perhaps with the archive in it under the name that the torrent has for it.
    fn client(&self, with_archive: bool) -> PathBuf {
        let directory = self.world.path("client");
        fs::create_dir_all(&directory).unwrap();
        if with_archive {
            fs::copy(self.world.path(ARCHIVE), directory.join("app-1.0.0-linux-amd64.aci")).unwrap();
        }
        directory
    }

    fn aria2(&self, with_archive: bool) -> Running {
        let mut aria2 = self.host.command("aria2c");
        aria2.args([
            "--no-conf",
            "--enable-dht=false",
            "--bt-enable-lpd=false",
            "--seed-ratio=0",
            "--quiet",
        ]);
        aria2.args([
            "--check-integrity",
            "--listen-port=6881",
            "--file-allocation=none",
            "--bt-max-peers=5",
        ]);
        aria2.arg(format!("--dir={}", self.client(with_archive).display()));
        self.host.start(aria2.arg(self.without_web_seed()))
    }

    fn transmission(&self, with_archive: bool) -> Running {
        let settings = self.world.path("transmission");
        fs::create_dir_all(&settings).unwrap();
        let quiet = r#"{"dht-enabled": false, "lpd-enabled": false, "pex-enabled": false, "utp-enabled": false,
                        "port-forwarding-enabled": false, "ratio-limit-enabled": false}"#;
        fs::write(settings.join("settings.json"), quiet).unwrap();
        let mut transmission = self.host.command("transmission-cli");
        transmission.args(["-p", "6881", "-M", "-et"]);
        transmission
            .arg("-g")
            .arg(&settings)
            .arg("-w")
            .arg(self.client(with_archive));
        self.host
            .start(transmission.arg(self.without_web_seed()).env("TR_CURL_VERBOSE", "0"))
    }

    /// Fetches the image, the swarm first.
    fn fetch(&self, more: &[&str]) -> Outcome {
        let tracker = self.tracker.url();
        let fetch = [
            "fetch",
            "--prefer-torrent",
            "--no-local-peers",
            "--tracker",
            &tracker,
            "--format",
            "json",
        ];
        self.world.dhow(&[&fetch[..], more, &["example.com/app"]].concat())
    }

    /// How many bytes of the archive the web server sent.
    fn sent_by_origin(&self) -> u64 {
        let requests = self.nginx.requests();
        let of_archive = requests.lines().filter(|line| line.contains(".aci HTTP"));
        let size = |line: &str| line.split('"').nth(2)?.split_whitespace().nth(1)?.parse::<u64>().ok();
        of_archive.filter_map(size).sum()
    }

    fn size(&self) -> u64 {
        fs::metadata(self.world.path(ARCHIVE)).unwrap().len()
    }

    fn gives(&self, _client: Running) {
        self.tracker.wait_for(self.host.address());
        let fetched = self.fetch(&[]).success();
        assert!(
            fetched.contains(&self.id) && fetched.contains(".aci.torrent"),
            "{fetched}"
        );
        let by_origin = self.sent_by_origin();
        assert!(
            by_origin < self.size() / 2,
            "the origin sent {by_origin} of {}",
            self.size()
        );
    }

    fn takes(&self, start: impl Fn(&Self) -> Running) {
        let ours = self.host.gateway().to_string();
        let mut seed = self
            .world
            .dhow_command(&["seed", "--site", "site", "--no-local-peers", "--peer-listen"]);
        let seeding = seed
            .arg(format!("{ours}:6882"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .spawn();
        let mut seeding = Stopped(seeding.unwrap());
        self.tracker.wait_for(self.host.gateway());
        let _client = start(self);
        let (came, expected) = (
            self.client(false).join("app-1.0.0-linux-amd64.aci"),
            fs::read(self.world.path(ARCHIVE)).unwrap(),
        );
        let deadline = Instant::now() + Duration::from_secs(60);
        while !is_same(&came, &expected) {
            assert!(Instant::now() < deadline, "it does not arrive");
            assert!(seeding.0.try_wait().unwrap().is_none(), "dhow seed ended");
            thread::sleep(Duration::from_millis(100));
        }
    }
}

/// A program that is ended when this is dropped.
struct Stopped(std::process::Child);

impl Drop for Stopped {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn is_same(path: &Path, expected: &[u8]) -> bool {
    let is_long_enough = fs::metadata(path).is_ok_and(|metadata| metadata.len() == expected.len() as u64);
    is_long_enough && fs::read(path).is_ok_and(|content| content == expected)
}

#[test]
fn aria2_gives() {
    let scene = scene(6 << 20, "256k");
    scene.gives(scene.aria2(true));
}

#[test]
fn aria2_takes() {
    scene(6 << 20, "256k").takes(|scene| scene.aria2(false));
}

#[test]
fn transmission_gives() {
    let scene = scene(6 << 20, "256k");
    scene.gives(scene.transmission(true));
}

#[test]
fn transmission_takes() {
    scene(6 << 20, "256k").takes(|scene| scene.transmission(false));
}

#[test]
fn without_a_peer_the_origin_gives_it_all_once() {
    let scene = scene(3 << 20, "0");
    scene.fetch(&[]).success();
    assert!(scene.world.images().contains(&scene.id));
    let (sent, size) = (scene.sent_by_origin(), scene.size());
    assert!((size..size + 1000).contains(&sent), "{sent} of {size}");
}

/// The archive is nowhere but in the swarm: the web has its page, its signature and its torrent.
#[test]
fn the_swarm_gives_it_all_where_the_origin_does_not() {
    let scene = scene_by(6 << 20, "location ~ [.]aci$ { return 503; }");
    let _client = scene.aria2(true);
    scene.tracker.wait_for(scene.host.address());
    let fetched = scene.fetch(&[]).success();
    assert!(
        fetched.contains(&scene.id) && fetched.contains(".aci.torrent"),
        "{fetched}"
    );
    assert!(
        scene.nginx.requests().contains(".aci HTTP/2.0\" 503"),
        "the origin was asked, too"
    );
}

/// `KILLS=100` does it as often as that.
#[test]
fn whoever_is_killed_goes_on_where_it_was() {
    let kills: u32 = std::env::var("KILLS").map_or(3, |kills| kills.parse().unwrap());
    let scene = scene(24 << 20, "256k");
    let _client = scene.aria2(true);
    scene.tracker.wait_for(scene.host.address());
    let (tracker, before) = (scene.tracker.url(), scene.host.sent());
    let (mut wanted, mut killed, mut state) = (scene.size(), 0, 88_172_645_463_325_252_u64);
    while killed < kills {
        let fetch = ["fetch", "--prefer-torrent", "--no-local-peers", "--tracker", &tracker];
        let mut fetch = scene
            .world
            .dhow_command(&[&fetch[..], &["--limit-download", "4M", "example.com/app"]].concat());
        let running = fetch
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn();
        let mut running = Stopped(running.unwrap());
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        let deadline = Instant::now() + Duration::from_millis(300 + state % 2000);
        let ended = loop {
            match running.0.try_wait().unwrap() {
                Some(status) => break Some(status),
                None if Instant::now() >= deadline => break None,
                None => thread::sleep(Duration::from_millis(5)),
            }
        };
        match ended {
            Some(status) => {
                assert!(status.success(), "{status}");
                assert!(scene.world.images().contains(&scene.id));
                fs::remove_dir_all(scene.world.path("data")).unwrap();
                wanted += scene.size();
            }
            None => killed += 1,
        }
    }
    scene.fetch(&[]).success();
    assert!(scene.world.images().contains(&scene.id));
    let came = scene.host.sent() - before + scene.sent_by_origin();
    println!("{kills} kills: {came} bytes came for {wanted}");
    // Packets have headers, too.
    assert!(came < wanted * 110 / 100, "{came} bytes came for {wanted}");
}

#[test]
fn what_is_kept_is_seeded_and_found_by_its_link() {
    let scene = scene(1 << 20, "0");
    scene.fetch(&["--keep-archive"]).success();
    let world = &scene.world;
    let mut seed = world.dhow_command(&[
        "seed",
        "example.com/app",
        "--peer-listen",
        "10.213.1.1:6882",
        "--seed-ratio",
        "1",
    ]);
    let seeding = seed.stdin(Stdio::null()).stdout(Stdio::piped()).spawn();
    let mut seeding = Stopped(seeding.unwrap());
    let mut line = String::new();
    let mut said = std::io::BufReader::new(seeding.0.stdout.take().unwrap());
    std::io::BufRead::read_line(&mut said, &mut line).unwrap();
    let (hash, name) = line.trim_end().split_once("  ").unwrap();
    assert_eq!(name, "app-1.0.0-linux-amd64.aci");

    // Another user has the link alone, and the signature from the web.
    let link = format!("magnet:?xt=urn:btih:{hash}&ws=https://example.com/ACI/example.com/app/1.0.0-linux-amd64.aci");
    let other = World::new();
    let (ca, web) = (
        world.arg("ca.pem"),
        format!("example.com:443:127.0.0.1:{}", scene.nginx.port()),
    );
    let run = |arguments: &[&str]| other.dhow(&[&["--ca", &ca, "--connect-to", &web], arguments].concat());
    run(&[
        "trust",
        "add",
        "--prefix",
        "example.com",
        "--fingerprint",
        &scene.fingerprint,
    ])
    .success();
    let fetch = |link: &str| run(&["fetch", "--no-local-peers", "--peer", "10.213.1.1:6882", link]);
    assert_eq!(fetch(&link).success().trim(), scene.id);
    assert!(other.images().contains(&scene.id));

    let unsigned = format!("magnet:?xt=urn:btih:{hash}");
    fetch(&unsigned).exited(4).says("is not signed");
    fetch("magnet:?dn=x").exited(2).says("`xt=urn:btih:");
}

#[test]
fn a_torrent_that_lies_is_refused_and_nothing_is_stored() {
    let scene = scene(1 << 20, "0");
    let world = &scene.world;
    let honest = fs::read(scene.torrent()).unwrap();
    let replaced = |from: &str, to: &str| {
        let text: Vec<char> = honest.iter().map(|byte| char::from(*byte)).collect();
        let text: String = text.into_iter().collect();
        text.replacen(from, to, 1)
            .chars()
            .map(|char| char as u8)
            .collect::<Vec<u8>>()
    };
    let at = honest.windows(7).position(|window| window == b"6:piece").unwrap();
    let mut wrong_digests = honest.clone();
    wrong_digests[at + 15..at + 200].fill(7);
    let deep = [b"d1:a".repeat(1 << 19), b"e".repeat(1 << 19)].concat();
    let cases = [
        (
            "a path",
            replaced("25:app-1.0.0-linux-amd64.aci", "25:../../../1.0-linux-amd64x"),
            4,
        ),
        ("digests", wrong_digests, 5),
        ("depth", deep, 4),
        ("length", replaced("d6:lengthi", "d6:lengthi9"), 4),
        ("nothing", Vec::new(), 4),
    ];
    for (case, torrent, code) in cases {
        fs::write(scene.torrent(), &torrent).unwrap();
        let url = "https://example.com/ACI/example.com/app/1.0.0-linux-amd64.aci.torrent";
        let fetched = world.dhow(&["fetch", "--no-local-peers", url]);
        assert_eq!(fetched.code, code, "{case}: {}", fetched.stderr);
        assert!(fetched.peak_memory < 64 << 20, "{case}: {}", fetched.peak_memory);
        assert!(!world.images().contains(&scene.id), "{case}");
    }
    // A hundred megabytes of it are not read.
    fs::write(scene.torrent(), &honest).unwrap();
    let torrent = fs::File::options().write(true).open(scene.torrent()).unwrap();
    torrent.set_len(100 << 20).unwrap();
    let url = "https://example.com/ACI/example.com/app/1.0.0-linux-amd64.aci.torrent";
    let refused = world
        .dhow(&["fetch", "--no-local-peers", url])
        .exited(5)
        .says("which no metainfo is");
    assert!(refused.peak_memory < 64 << 20, "{}", refused.peak_memory);
    // By its name the image is found all the same: there is another endpoint.
    fs::write(scene.torrent(), "junk").unwrap();
    scene.fetch(&[]).success();
    assert!(world.images().contains(&scene.id));
    let left: Vec<_> = Command::new("find")
        .arg(world.path("data/tmp"))
        .args(["-type", "f", "-name", "fetch-*"])
        .output()
        .unwrap()
        .stdout;
    assert_eq!(String::from_utf8_lossy(&left), "");
}
