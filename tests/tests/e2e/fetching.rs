//! `dhow fetch`: when it asks, whom it asks, and through whom.

use std::{
    fs,
    net::TcpStream,
    path::Path,
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use dhow_tests::{Nginx, World};

/// A world in which images are published, signed and trusted.
fn published(names: &[&str]) -> (World, Vec<String>) {
    let world = World::new();
    world.key();
    let ids = names.iter().map(|name| {
        let file = format!("{}.aci", name.replace('/', "-"));
        let id = world
            .image(name)
            .version("1")
            .file("name", name.as_bytes())
            .build(&file);
        world
            .dhow(&[
                "publish",
                &file,
                // Requests are counted here, and a catalog is one more.
                "--no-catalog",
                "--site",
                "site",
                "--url",
                "https://example.com",
            ])
            .success();
        id
    });
    let ids = ids.collect();
    world.trust_own_key();
    (world, ids)
}

fn count(nginx: &Nginx, what: &str) -> usize {
    nginx.requests().lines().filter(|line| line.contains(what)).count()
}

#[test]
fn many_are_fetched_at_once_and_told_in_order() {
    let (mut world, ids) = published(&["example.com/a", "example.com/b", "example.com/c", "example.com/d"]);
    let _nginx = world.nginx("site");
    let fetched = world.dhow(&[
        "fetch",
        "example.com/d",
        "example.com/a",
        "example.com/c",
        "example.com/a",
    ]);
    let expected = [&ids[3], &ids[0], &ids[2], &ids[0]];
    assert_eq!(fetched.success().lines().collect::<Vec<_>>(), expected);

    // One that fails keeps no other from coming.
    let fetched = world
        .dhow(&["fetch", "example.com/none", "example.com/b", "example.com/none2"])
        .exited(3)
        .says("Could not fetch `example.com/none`")
        .says("Could not fetch `example.com/none2`");
    assert_eq!(fetched.stdout.trim(), ids[1]);
}

#[test]
fn the_pull_policy_says_when_the_network_is_asked() {
    let (mut world, ids) = published(&["example.com/app"]);
    let nginx = world.nginx("site");
    let fetch = |world: &World, arguments: &[&str]| {
        let before = nginx.requests().lines().count();
        let outcome = world.dhow(&[&["fetch"], arguments].concat());
        (outcome, nginx.requests().lines().count() - before)
    };
    world
        .dhow(&["fetch", "--pull", "never", "example.com/app"])
        .exited(3)
        .says("is not in the store");
    assert_eq!(nginx.requests(), "");
    world
        .dhow(&["fetch", "--offline", "example.com/app"])
        .exited(3)
        .says("is not in the store");
    assert_eq!(nginx.requests(), "");
    let (first, asked) = fetch(&world, &["example.com/app"]);
    assert_eq!((first.success().trim(), asked), (ids[0].as_str(), 4));
    // It is asked about, by a recipe first, of which there is none, and does not come again.
    let (again, asked) = fetch(&world, &["example.com/app"]);
    assert_eq!((again.success().trim(), asked), (ids[0].as_str(), 5));
    assert_eq!(
        count(&nginx, "HTTP/2.0\" 304 "),
        2,
        "the page and the archive: {}",
        nginx.requests()
    );
    for pull in [&["--pull", "new"][..], &["--pull", "never"], &["--offline"]] {
        let (fetched, asked) = fetch(&world, &[pull, &["example.com/app"]].concat());
        assert_eq!((fetched.success().trim(), asked), (ids[0].as_str(), 0), "{pull:?}");
    }

    // By URL it is the same.
    let discovered = world.dhow(&["discover", "example.com/app"]).success();
    let url = discovered
        .lines()
        .find_map(|line| line.strip_prefix("archive"))
        .unwrap()
        .trim()
        .to_owned();
    for pull in ["new", "never"] {
        let (fetched, asked) = fetch(&world, &["--pull", pull, &url]);
        assert_eq!((fetched.success().trim(), asked), (ids[0].as_str(), 0), "{pull}");
    }
    let (fetched, asked) = fetch(&world, &["--pull", "update", &url]);
    assert_eq!((fetched.success().trim(), asked), (ids[0].as_str(), 2));

    // What is signed by nobody who is trusted now is not taken for what it was.
    let fingerprint = world.dhow(&["key", "list", "--format", "json"]).success();
    let keys: serde_json::Value = serde_json::from_str(&fingerprint).unwrap();
    let fingerprint = keys[0]["fingerprint"].as_str().unwrap();
    world
        .dhow(&["trust", "remove", "--prefix", "example.com", fingerprint])
        .success();
    world.dhow(&["fetch", "example.com/app"]).exited(4);
    world.dhow(&["fetch", "--pull", "update", &url]).exited(4);
}

#[test]
fn discovery_is_remembered_by_http_s_own_rules() {
    let (mut world, _) = published(&["example.com/app"]);
    fs::create_dir_all(world.path("nginx-0")).unwrap();
    fs::write(world.path("nginx-0/extra.conf"), "add_header Cache-Control max-age=60;").unwrap();
    let nginx = world.nginx("site");
    let discover = |arguments: &[&str]| {
        let outcome = world.dhow(&[&["discover"], arguments, &["example.com/app"]].concat());
        outcome.success()
    };
    world
        .dhow(&["discover", "--offline", "example.com/app"])
        .exited(5)
        .says("--offline asks nobody");
    let first = discover(&[]);
    let asked = nginx.requests();
    assert_eq!(discover(&[]), first);
    assert_eq!(discover(&["--offline"]), first);
    assert_eq!(nginx.requests(), asked, "it is fresh");
    // What was believed with a check switched off is not believed without.
    world
        .dhow(&["discover", "--insecure-options=tls", "example.com/app"])
        .success();
    assert_ne!(nginx.requests(), asked);
}

/// Of names that have no page of their own, the host's page tells; and no client believes one over 1 MiB.
#[test]
fn a_name_among_twenty_thousand_is_found_by_the_page_of_its_host() {
    let mut world = World::in_memory();
    world.key();
    world.trust_own_key();
    let publish = |name: &str| {
        let id = world.image(name).version("1").build("image.aci");
        let site = ["--no-catalog", "--site", "site", "--url", "https://example.com"];
        world.dhow(&[&["publish", "image.aci"][..], &site].concat()).success();
        id
    };
    let first = publish("example.com/app00000");
    let archives = world.path("site/ACI/example.com");
    let record = fs::read_to_string(find(&archives, ".aci.json")).unwrap();
    for number in 1..20_000 {
        let name = format!("app{number:05}");
        fs::create_dir(archives.join(&name)).unwrap();
        let record = record.replace("app00000", &name);
        fs::write(archives.join(name).join("1-linux-amd64.aci.json"), record).unwrap();
    }
    let last = publish("example.com/app20000");
    assert!(world.path("site/index.html").metadata().unwrap().len() < 1 << 20);
    for name in ["app00000", "app20000"] {
        fs::remove_dir_all(world.path("site").join(name)).unwrap();
    }
    let nginx = world.nginx("site");
    let fetched = world.dhow(&["fetch", "example.com/app00000", "example.com/app20000"]);
    assert_eq!(fetched.success().lines().collect::<Vec<_>>(), [first, last]);
    assert!(count(&nginx, "GET /?ac-discovery=1") > 0, "{}", nginx.requests());
}

#[test]
fn mirrors_are_asked_in_the_operators_order() {
    let (mut world, ids) = published(&["example.com/app"]);
    let site = world.path("site");
    let nginx = world.nginx("site");
    // The mirror has the page at its base URL + name, and its own template in it.
    let mirror = world.path("mirror/images/example.com/app");
    fs::create_dir_all(&mirror).unwrap();
    let page =
        "<head><meta name=\"ac-discovery\" content=\"example.com https://mirror.example/files/app.{ext}\"></head>";
    fs::write(mirror.join("index.html"), page).unwrap();
    let files = world.path("mirror/files");
    fs::create_dir_all(&files).unwrap();
    let archive = find(&site, ".aci");
    fs::copy(&archive, files.join("app.aci")).unwrap();
    fs::copy(archive.with_added_extension("asc"), files.join("app.aci.asc")).unwrap();
    let mirror = world.nginx_as("mirror.example", "mirror");

    let configure = |world: &World, mode: &str| {
        let config = format!(
            "[fetch]\nattempts = 1\n[[mirror]]\nprefix = 'example.com'\nurl = 'https://mirror.example/images/'\nmode = '{mode}'\n"
        );
        fs::write(world.path("config/config.toml"), config).unwrap();
        let _ = fs::remove_dir_all(world.path("data"));
    };
    let asked = || (mirror.requests().lines().count(), nginx.requests().lines().count());
    for (mode, expected) in [("only", (4, 0)), ("prefer", (4, 0)), ("fallback", (0, 4))] {
        configure(&world, mode);
        let before = asked();
        assert_eq!(world.dhow(&["fetch", "example.com/app"]).success().trim(), ids[0]);
        let after = asked();
        assert_eq!((after.0 - before.0, after.1 - before.1), expected, "{mode}");
        let discovered = world.dhow(&["discover", "example.com/app"]).success();
        let is_mirrors = discovered.contains("https://mirror.example/files/app.aci\n");
        assert_eq!(is_mirrors, mode != "fallback", "{mode}: {discovered}");
    }

    // A mirror is no authority: what it alters is not believed, and the name itself is asked then, or nobody.
    let altered = fs::read(files.join("app.aci")).unwrap();
    fs::write(files.join("app.aci"), [&altered[..altered.len() - 1], b"!"].concat()).unwrap();
    configure(&world, "only");
    world.dhow(&["fetch", "example.com/app"]).exited(4).says("was altered");
    configure(&world, "prefer");
    let fetched = world
        .dhow(&["fetch", "example.com/app"])
        .says("warning: could not verify `https://mirror.example/files/app.aci`");
    assert_eq!(fetched.success().trim(), ids[0]);

    // One that is gone costs no more than a moment.
    drop(mirror);
    configure(&world, "prefer");
    let started = Instant::now();
    assert_eq!(world.dhow(&["fetch", "example.com/app"]).success().trim(), ids[0]);
    assert!(started.elapsed() < Duration::from_secs(10));
    configure(&world, "only");
    world
        .dhow(&["fetch", "example.com/app"])
        .exited(5)
        .says("mirror.example");
    configure(&world, "fallback");
    drop(nginx);
    world.dhow(&["fetch", "example.com/app"]).exited(5);
}

fn find(directory: &Path, end: &str) -> std::path::PathBuf {
    let mut paths: Vec<_> = fs::read_dir(directory)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    paths.sort();
    for path in paths {
        if path.is_dir() {
            if fs::read_dir(&path).unwrap().count() > 0 && contains(&path, end) {
                return find(&path, end);
            }
        } else if path.to_string_lossy().ends_with(end) && !path.to_string_lossy().contains("latest") {
            return path;
        }
    }
    panic!("there is no {end} in {}", directory.display())
}

fn contains(directory: &Path, end: &str) -> bool {
    fs::read_dir(directory).unwrap().any(|entry| {
        let path = entry.unwrap().path();
        path.to_string_lossy().ends_with(end) || (path.is_dir() && contains(&path, end))
    })
}

#[test]
fn a_login_comes_from_the_places_that_users_know() {
    let (mut world, ids) = published(&["example.com/app"]);
    let password = std::process::Command::new("openssl")
        .args(["passwd", "-apr1", "hunter2"])
        .output()
        .unwrap();
    let line = format!("carly:{}", String::from_utf8(password.stdout).unwrap());
    fs::create_dir_all(world.path("nginx-0")).unwrap();
    fs::write(world.path("nginx-0/users"), line).unwrap();
    let users = world.arg("nginx-0/users");
    let config = format!("auth_basic images; auth_basic_user_file {users};");
    fs::write(world.path("nginx-0/extra.conf"), config).unwrap();
    let _nginx = world.nginx("site");
    world.dhow(&["fetch", "example.com/app"]).exited(3);

    let fetched = |world: &World, netrc: &str| {
        let _ = fs::remove_dir_all(world.path("data"));
        let mut command = world.dhow_command(&["fetch", "-vv", "example.com/app"]);
        let outcome = dhow_tests::Outcome::of(command.env("NETRC", world.path(netrc)));
        assert!(!outcome.stderr.contains("hunter2"), "{}", outcome.stderr);
        outcome
    };
    fs::write(world.path("netrc"), "machine example.com login carly password hunter2").unwrap();
    assert_eq!(fetched(&world, "netrc").success().trim(), ids[0]);
    fs::write(
        world.path("wrong"),
        "machine www.example.com login carly password hunter2",
    )
    .unwrap();
    fetched(&world, "wrong").exited(3);
    let rkt = r#"{"rktKind":"auth","rktVersion":"v1","domains":["example.com"],"type":"basic","credentials":{"user":"carly","password":"hunter2"}}"#;
    fs::create_dir_all(world.path("config/auth.d")).unwrap();
    fs::write(world.path("config/auth.d/example.json"), rkt).unwrap();
    assert_eq!(fetched(&world, "none").success().trim(), ids[0]);
    fs::write(
        world.path("config/config.toml"),
        "[[credentials]]\nhost = 'example.com'\nuser = 'carly'\npassword = 'wrong'\n",
    )
    .unwrap();
    fetched(&world, "none").exited(3);
}

struct Tinyproxy {
    process: Child,
    port: u16,
    log: std::path::PathBuf,
}

impl Tinyproxy {
    fn start(world: &World) -> Self {
        let port = dhow_tests::free_port();
        let log = world.path("tinyproxy.log");
        let config = format!(
            "Port {port}\nListen 127.0.0.1\nTimeout 20\nLogFile \"{}\"\nLogLevel Connect\nMaxClients 20\n",
            log.display()
        );
        fs::write(world.path("tinyproxy.conf"), config).unwrap();
        let process = Command::new("tinyproxy")
            .arg("-d")
            .arg("-c")
            .arg(world.path("tinyproxy.conf"))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("tinyproxy is installed: tests/run does it");
        let deadline = Instant::now() + Duration::from_secs(10);
        while TcpStream::connect(("127.0.0.1", port)).is_err() {
            assert!(Instant::now() < deadline, "tinyproxy does not listen");
            thread::sleep(Duration::from_millis(10));
        }
        Self { process, port, log }
    }

    fn connects(&self) -> usize {
        let log = fs::read_to_string(&self.log).unwrap_or_default();
        log.lines().filter(|line| line.contains("CONNECT localhost:")).count()
    }
}

impl Drop for Tinyproxy {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

#[test]
fn proxies_are_those_of_the_environment() {
    let (mut world, ids) = published(&["example.com/app"]);
    let nginx = world.nginx_as("localhost", "site");
    let archive = find(&world.path("site"), ".aci");
    let path = archive.strip_prefix(world.path("site")).unwrap();
    let url = format!("https://localhost:{}/{}", nginx.port(), path.display());
    let proxy = Tinyproxy::start(&world);
    let fetch = |port: u16, without: &str| {
        let _ = fs::remove_dir_all(world.path("data"));
        let mut command = world.dhow_command(&["fetch", &url]);
        command
            .env("HTTPS_PROXY", format!("http://127.0.0.1:{port}"))
            .env("NO_PROXY", without);
        fs::write(world.path("config/config.toml"), "[fetch]\nattempts = 1\n").unwrap();
        dhow_tests::Outcome::of(&mut command)
    };
    assert_eq!(fetch(proxy.port, "").success().trim(), ids[0]);
    let connects = proxy.connects();
    // Signature and archive are asked for at once, before there is a connection for them to share.
    assert!((1..=2).contains(&connects), "{connects} connections");
    assert_eq!(fetch(proxy.port, "other.example,localhost").success().trim(), ids[0]);
    assert_eq!(proxy.connects(), connects);
    drop(proxy);
    fetch(1, "").exited(5).says("could not fetch `https://localhost:");
}
