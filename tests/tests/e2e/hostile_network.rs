//! Servers that lie, stall, storm and lead astray: what each comes to, in which exit code and which words.

use std::{
    fs,
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use dhow_tests::World;

use crate::hostile_server::{Asked, Hostile, Wire};

/// A publisher whose server does what it likes, and a user who trusts the publisher's key.
struct Stage {
    world: World,
    server: Hostile,
    other: Hostile,
    site: Arc<Site>,
    id: String,
}

/// What an honest server would have.
struct Site {
    page: Vec<u8>,
    archive: Vec<u8>,
    signature: Vec<u8>,
}

const PAGE: &str = "/app?ac-discovery=1";
const ARCHIVE: &str = "/app.aci";
const SIGNATURE: &str = "/app.aci.asc";

impl Stage {
    fn new() -> Self {
        let mut world = World::new();
        world.key();
        let noise: Vec<u8> = (0..100_000_u32)
            .flat_map(|n| n.wrapping_mul(2_654_435_761).to_le_bytes())
            .collect();
        let id = world
            .image("example.com/app")
            .version("1")
            .file("noise", &noise)
            .build("app.aci");
        world.trust_own_key();
        world.dhow(&["sign", "app.aci"]).success();
        fs::write(
            world.path("config/config.toml"),
            "[fetch]\nattempts = 2\ntimeout = 1\n\
             [[credentials]]\nhost = 'example.com'\nuser = 'carly'\npassword = 'hunter2'\nsend = 'upfront'\n",
        )
        .unwrap();
        let server = Hostile::start(&world.certificate("example.com"));
        let other = Hostile::start(&world.certificate("other.example"));
        world.connect("example.com", server.port);
        world.connect("other.example", other.port);
        let read = |name: &str| fs::read(world.path(name)).unwrap();
        let site = Arc::new(Site {
            page: page("https://example.com/app.{ext}"),
            archive: read("app.aci"),
            signature: read("app.aci.asc"),
        });
        Self {
            world,
            server,
            other,
            site,
            id,
        }
    }

    /// Lets the server answer so for one path, and honestly for all others.
    fn answers(&self, path: &'static str, answer: impl Fn(&Asked, &Site, &mut dyn Wire) + Send + Sync + 'static) {
        let site = self.site.clone();
        self.server.answers(move |asked, wire| match asked.path == path {
            true => answer(asked, &site, wire),
            false => site.honest(asked, wire),
        });
    }

    /// Fetches, which must end soon, and leave nothing that a next fetch would believe.
    fn fetch(&self, name: &str) -> dhow_tests::Outcome {
        let started = Instant::now();
        let outcome = self.world.dhow(&["fetch", "example.com/app"]);
        let took = started.elapsed();
        assert!(took < Duration::from_secs(25), "{name} took {took:?}");
        assert!(
            outcome.peak_memory < 64 << 20,
            "{name} took {} MiB",
            outcome.peak_memory >> 20
        );
        assert!(!outcome.stderr.contains("hunter2"), "{name}: {}", outcome.stderr);
        outcome
    }
}

impl Site {
    fn honest(&self, asked: &Asked, wire: &mut dyn Wire) {
        match asked.path.as_str() {
            PAGE => ok(wire, &self.page),
            SIGNATURE => ok(wire, &self.signature),
            ARCHIVE => part(wire, &self.archive, asked.from(), "\"v1\"", usize::MAX),
            _ => head(wire, "404 Not Found", "Content-Length: 0\r\n"),
        }
    }
}

fn page(template: &str) -> Vec<u8> {
    format!("<html><head><meta name=\"ac-discovery\" content=\"example.com {template}\"></head></html>").into_bytes()
}

// Whoever is hung up on has no more to say: writes that fail are fine.

fn head(wire: &mut dyn Wire, status: &str, headers: &str) {
    let _ = write!(wire, "HTTP/1.1 {status}\r\nConnection: close\r\n{headers}\r\n");
}

fn ok(wire: &mut dyn Wire, body: &[u8]) {
    head(wire, "200 OK", &format!("Content-Length: {}\r\n", body.len()));
    let _ = wire.write_all(body);
}

fn redirect(wire: &mut dyn Wire, location: &str) {
    head(
        wire,
        "302 Found",
        &format!("Location: {location}\r\nContent-Length: 0\r\n"),
    );
}

/// Sends the whole, or the rest from a byte on, and breaks off after so many bytes.
fn part(wire: &mut dyn Wire, body: &[u8], from: Option<usize>, tag: &str, most: usize) {
    let (size, first) = (body.len(), from.unwrap_or(0));
    let (status, range) = match from {
        Some(first) => (
            "206 Partial Content",
            format!("Content-Range: bytes {first}-{}/{size}\r\n", size - 1),
        ),
        None => ("200 OK", String::new()),
    };
    let length = size - first;
    head(
        wire,
        status,
        &format!("ETag: {tag}\r\nAccept-Ranges: bytes\r\nContent-Length: {length}\r\n{range}"),
    );
    let _ = wire.write_all(&body[first..size.min(first.saturating_add(most))]);
}

/// Writes until the other side has had enough.
fn drip(wire: &mut dyn Wire, piece: &[u8], every: Duration) {
    while wire.write_all(piece).and_then(|()| wire.flush()).is_ok() {
        thread::sleep(every);
    }
}

type Misdeed = fn(&Asked, &Site, &mut dyn Wire);

/// What is done, in answer to which path, how; the exit code and words that come of it.
type Case = (&'static str, &'static str, Misdeed, i32, &'static str);

const MISDEEDS: &[Case] = &[
    // Led astray.
    (
        "page, to plain HTTP",
        PAGE,
        |_, _, wire| redirect(wire, "http://example.com/app"),
        5,
        "from HTTPS to plain HTTP",
    ),
    (
        "archive, to plain HTTP",
        ARCHIVE,
        |_, _, wire| redirect(wire, "http://example.com/app.aci"),
        5,
        "from HTTPS to plain HTTP",
    ),
    (
        "signature, to plain HTTP",
        SIGNATURE,
        |_, _, wire| redirect(wire, "http://example.com/x"),
        5,
        "from HTTPS to plain HTTP",
    ),
    (
        "page, to this machine",
        PAGE,
        |_, _, wire| redirect(wire, "https://127.0.0.1/"),
        5,
        "127.0.0.1, a loopback address",
    ),
    (
        "page, to this machine by another spelling",
        PAGE,
        |_, _, wire| redirect(wire, "https://0x7f.1/"),
        5,
        "a loopback address",
    ),
    (
        "archive, to this machine over IPv6",
        ARCHIVE,
        |_, _, wire| redirect(wire, "https://[::ffff:127.0.0.1]/"),
        5,
        "a loopback address",
    ),
    (
        "archive, to a cloud's metadata",
        ARCHIVE,
        |_, _, wire| redirect(wire, "https://169.254.169.254/latest"),
        5,
        "a link-local address",
    ),
    (
        "archive, into a private network",
        ARCHIVE,
        |_, _, wire| redirect(wire, "https://10.0.0.1/"),
        5,
        "a private address",
    ),
    (
        "archive, into another",
        ARCHIVE,
        |_, _, wire| redirect(wire, "https://192.168.1.1/"),
        5,
        "a private address",
    ),
    (
        "archive, into another over IPv6",
        ARCHIVE,
        |_, _, wire| redirect(wire, "https://[fd00::1]/"),
        5,
        "a private address",
    ),
    (
        "template of this machine",
        PAGE,
        |_, _, wire| ok(wire, &page("https://127.0.0.1/app.{ext}")),
        5,
        "a loopback address",
    ),
    (
        "template of a cloud's metadata",
        PAGE,
        |_, _, wire| ok(wire, &page("https://169.254.169.254/app.{ext}")),
        5,
        "a link-local address",
    ),
    (
        "archive, with credentials",
        ARCHIVE,
        |_, _, wire| redirect(wire, "https://u:p@other.example/"),
        5,
        "it holds credentials",
    ),
    (
        "archive, to a file",
        ARCHIVE,
        |_, _, wire| redirect(wire, "file:///etc/shadow"),
        5,
        "it does not lead to HTTPS",
    ),
    (
        "archive, round in a circle",
        ARCHIVE,
        |_, _, wire| redirect(wire, "/app.aci"),
        5,
        "redirected more than 10 times",
    ),
    // Lies about ranges and lengths. The first attempt breaks off in the middle.
    (
        "a range that is none",
        ARCHIVE,
        |asked, site, wire| match asked.from() {
            None => part(wire, &site.archive, None, "\"v1\"", 200_000),
            Some(from) => {
                let lie = format!(
                    "ETag: \"v1\"\r\nContent-Range: bytes {}-{}/{}\r\n",
                    from - 9,
                    site.archive.len() - 10,
                    site.archive.len()
                );
                head(wire, "206 Partial Content", &lie);
                let _ = wire.write_all(&site.archive[from..]);
            }
        },
        5,
        "is not the rest of it",
    ),
    (
        "the rest of another version",
        ARCHIVE,
        |asked, site, wire| match asked.from() {
            None => part(wire, &site.archive, None, "\"v1\"", 200_000),
            from => part(wire, &site.archive, from, "\"v2\"", usize::MAX),
        },
        5,
        "is not the rest of it",
    ),
    (
        "other bytes as the rest of the same version",
        ARCHIVE,
        |asked, site, wire| match asked.from() {
            None => part(wire, &site.archive, None, "\"v1\"", 200_000),
            from => part(wire, &vec![0; site.archive.len()], from, "\"v1\"", usize::MAX),
        },
        4,
        "was altered",
    ),
    (
        "another archive in the middle",
        ARCHIVE,
        |asked, site, wire| match asked.before {
            0 => part(wire, &site.archive, None, "\"v1\"", 200_000),
            _ => part(wire, &vec![7; 300_000], None, "\"v2\"", usize::MAX),
        },
        4,
        "was altered",
    ),
    (
        "fewer bytes than promised",
        ARCHIVE,
        |_, site, wire| {
            head(
                wire,
                "200 OK",
                &format!("Content-Length: {}\r\n", site.archive.len() + 1),
            );
            let _ = wire.write_all(&site.archive);
        },
        5,
        "was truncated after",
    ),
    (
        "more bytes than promised",
        ARCHIVE,
        |_, site, wire| {
            head(
                wire,
                "200 OK",
                &format!("Content-Length: {}\r\n", site.archive.len() - 1),
            );
            let _ = wire.write_all(&site.archive);
        },
        4,
        "was altered",
    ),
    (
        "two lengths",
        ARCHIVE,
        |_, site, wire| {
            head(wire, "200 OK", "Content-Length: 5\r\nContent-Length: 7\r\n");
            let _ = wire.write_all(&site.archive);
        },
        5,
        "could not fetch `https://example.com/app.aci`",
    ),
    (
        "a length beyond all bounds",
        ARCHIVE,
        |_, site, wire| {
            head(wire, "200 OK", "Content-Length: 9223372036854775807\r\n");
            let _ = wire.write_all(&site.archive);
        },
        5,
        "is larger than 68719476736 bytes",
    ),
    (
        "chunks without an end",
        ARCHIVE,
        |_, _, wire| {
            head(wire, "200 OK", "Transfer-Encoding: chunked\r\n");
            let _ = wire.write_all(b"5\r\nhello\r\n");
        },
        5,
        "was truncated after",
    ),
    (
        "a chunk of no length",
        ARCHIVE,
        |_, _, wire| {
            head(wire, "200 OK", "Transfer-Encoding: chunked\r\n");
            let _ = wire.write_all(b"zz\r\nhello\r\n");
        },
        5,
        "was truncated after",
    ),
    ("nothing", ARCHIVE, |_, _, wire| ok(wire, b""), 4, "was altered"),
    (
        "a part that nobody asked for",
        ARCHIVE,
        |_, site, wire| part(wire, &site.archive, Some(0), "\"v1\"", usize::MAX),
        5,
        "status 206",
    ),
    (
        "not modified, when nobody asked",
        ARCHIVE,
        |_, _, wire| head(wire, "304 Not Modified", ""),
        5,
        "status 304",
    ),
    (
        "a web page for an archive",
        ARCHIVE,
        |_, _, wire| ok(wire, b"<html>please log in</html>"),
        4,
        "was altered",
    ),
    (
        "no archive",
        ARCHIVE,
        |_, _, wire| head(wire, "404 Not Found", "Content-Length: 0\r\n"),
        3,
        "was not found",
    ),
    // Compressed on the way, though nobody can read that.
    (
        "a page in gzip",
        PAGE,
        |_, site, wire| {
            head(
                wire,
                "200 OK",
                &format!("Content-Encoding: gzip\r\nContent-Length: {}\r\n", site.page.len()),
            );
            let _ = wire.write_all(&site.page);
        },
        5,
        "compressed it, though it was asked not to",
    ),
    (
        "an archive that claims to be in gzip",
        ARCHIVE,
        |_, _, wire| {
            head(wire, "200 OK", "Content-Encoding: gzip\r\nContent-Length: 5\r\n");
            let _ = wire.write_all(b"\x1f\x8b\x08\x00\x00");
        },
        4,
        "was altered",
    ),
    // Storms.
    (
        "too many requests",
        ARCHIVE,
        |_, _, wire| head(wire, "429 Too Many Requests", "Retry-After: 0\r\nContent-Length: 0\r\n"),
        5,
        "status 429",
    ),
    (
        "too many requests for an hour",
        ARCHIVE,
        |_, _, wire| {
            head(
                wire,
                "429 Too Many Requests",
                "Retry-After: 3600\r\nContent-Length: 0\r\n",
            )
        },
        5,
        "left alone for 3600 seconds",
    ),
    (
        "too many requests for pages",
        PAGE,
        |_, _, wire| head(wire, "429 Too Many Requests", "Content-Length: 0\r\n"),
        3,
        "example.com/app",
    ),
    (
        "always busy",
        SIGNATURE,
        |_, _, wire| head(wire, "503 Service Unavailable", "Content-Length: 0\r\n"),
        5,
        "status 503",
    ),
    (
        "go on, go on",
        ARCHIVE,
        |_, _, wire| drip(wire, b"HTTP/1.1 100 Continue\r\n\r\n", Duration::from_millis(20)),
        5,
        "`https://example.com/app.aci`",
    ),
    // Slow, silent and endless.
    (
        "an archive of one byte a second",
        ARCHIVE,
        |_, _, wire| {
            head(wire, "200 OK", "Content-Length: 1000000\r\n");
            drip(wire, b"x", Duration::from_secs(1));
        },
        5,
        "comes too slowly: fewer than 1024 bytes a second",
    ),
    (
        "an archive that stops",
        ARCHIVE,
        |_, site, wire| {
            head(wire, "200 OK", "Content-Length: 1000000\r\n");
            let _ = wire.write_all(&site.archive[..50_000]).and_then(|()| wire.flush());
            thread::sleep(Duration::from_secs(8));
        },
        5,
        "`https://example.com/app.aci`",
    ),
    (
        "a page of one byte a second",
        PAGE,
        |_, _, wire| {
            head(wire, "200 OK", "Content-Length: 1000\r\n");
            drip(wire, b"<", Duration::from_millis(500));
        },
        5,
        "it took more than 2 seconds",
    ),
    (
        "a page of 1 GB",
        PAGE,
        |_, _, wire| {
            head(wire, "200 OK", "Content-Length: 1073741824\r\n");
            drip(wire, &[b' '; 1 << 16], Duration::ZERO);
        },
        5,
        "the page is larger than 1048576 bytes",
    ),
    (
        "a signature of 1 GB",
        SIGNATURE,
        |_, _, wire| {
            head(wire, "200 OK", "Content-Length: 1073741824\r\n");
            drip(wire, &[b'x'; 1 << 16], Duration::ZERO);
        },
        5,
        "larger than 1048576 bytes, which no signature is",
    ),
    (
        "headers without an end",
        PAGE,
        |_, _, wire| {
            let _ = wire.write_all(b"HTTP/1.1 200 OK\r\n");
            drip(wire, b"X-Header: and another\r\n", Duration::ZERO);
        },
        5,
        "could not fetch",
    ),
    (
        "silence",
        ARCHIVE,
        |_, _, _| thread::sleep(Duration::from_secs(4)),
        5,
        "could not fetch `https://example.com/app.aci`",
    ),
    (
        "a hung up connection",
        ARCHIVE,
        |_, _, _| (),
        5,
        "could not fetch `https://example.com/app.aci`",
    ),
    (
        "no HTTP at all",
        ARCHIVE,
        |_, _, wire| drip(wire, b"220 ftp.example.com ready\r\n", Duration::from_millis(100)),
        5,
        "could not fetch `https://example.com/app.aci`",
    ),
];

#[test]
fn each_misdeed_is_named() {
    let stage = Stage::new();
    let mut wrong = Vec::new();
    for (name, path, misdeed, code, words) in MISDEEDS {
        stage.answers(path, *misdeed);
        let outcome = stage.fetch(name);
        if outcome.code != *code || !outcome.stderr.contains(words) {
            let (ended, told) = (outcome.code, &outcome.stderr);
            wrong.push(format!("{name}: {ended} in place of {code} and `{words}`:\n{told}"));
        }
        let asked = stage.server.asked().iter().filter(|asked| asked.path == *path).count();
        assert!(asked <= 22, "{name}: it was asked {asked} times");
        assert!(!stage.world.images().contains("sha512-"), "{name}");
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    // None of it is in the way when the server comes to its senses.
    stage.server.answers({
        let site = stage.site.clone();
        move |asked, wire| site.honest(asked, wire)
    });
    assert_eq!(stage.fetch("honesty").success().trim(), stage.id);
}

#[test]
fn what_passes_by_itself_is_waited_for() {
    let weaknesses: &[(&str, Misdeed)] = &[
        ("busy once", |asked, site, wire| match asked.before {
            0 => head(
                wire,
                "503 Service Unavailable",
                "Retry-After: 1\r\nContent-Length: 0\r\n",
            ),
            _ => site.honest(asked, wire),
        }),
        ("broken once, whole for a range", |asked, site, wire| {
            match asked.before {
                0 => part(wire, &site.archive, None, "\"v1\"", 200_000),
                _ => part(wire, &site.archive, None, "\"v1\"", usize::MAX),
            }
        }),
        ("broken once", |asked, site, wire| match asked.before {
            0 => part(wire, &site.archive, None, "\"v1\"", 200_000),
            _ => site.honest(asked, wire),
        }),
        ("of another version in the middle", |asked, site, wire| {
            match asked.before {
                0 => part(wire, &vec![7; 300_000], None, "\"v0\"", 200_000),
                _ => part(wire, &site.archive, None, "\"v1\"", usize::MAX),
            }
        }),
        ("without versions", |asked, site, wire| match asked.before {
            0 => {
                head(wire, "200 OK", &format!("Content-Length: {}\r\n", site.archive.len()));
                let _ = wire.write_all(&site.archive[..200_000]);
            }
            _ => ok(wire, &site.archive),
        }),
        ("of a size that nobody tells", |_, site, wire| {
            head(wire, "200 OK", "");
            let _ = wire.write_all(&site.archive);
        }),
    ];
    let stage = Stage::new();
    for (name, weakness) in weaknesses {
        let _ = fs::remove_dir_all(stage.world.path("data"));
        stage.answers(ARCHIVE, *weakness);
        assert_eq!(stage.fetch(name).success().trim(), stage.id, "{name}");
    }
}

#[test]
fn credentials_go_to_their_own_origin_alone() {
    let stage = Stage::new();
    let site = stage.site.clone();
    stage.other.answers(move |asked, wire| site.honest(asked, wire));
    stage.answers(ARCHIVE, |_, _, wire| redirect(wire, "https://other.example/app.aci"));
    assert_eq!(stage.fetch("away").success().trim(), stage.id);
    // On a busy machine a request may come twice.
    let logins = |server: &Hostile| {
        let mut logins: Vec<_> = server
            .asked()
            .iter()
            .map(|asked| asked.header("authorization").unwrap_or("none").to_owned())
            .collect();
        logins.dedup();
        logins
    };
    assert_eq!(logins(&stage.other), ["none"]);
    assert_eq!(logins(&stage.server), ["Basic Y2FybHk6aHVudGVyMg=="]);

    // One that asks for a login gets it then, and no other does.
    let config = "[[credentials]]\nhost = 'other.example'\ntoken = 'hunter2'\n";
    fs::write(stage.world.path("config/config.toml"), config).unwrap();
    fs::remove_dir_all(stage.world.path("data")).unwrap();
    stage.answers(ARCHIVE, |_, _, wire| redirect(wire, "https://other.example/app.aci"));
    let site = stage.site.clone();
    stage
        .other
        .answers(move |asked, wire| match asked.header("authorization") {
            None => head(
                wire,
                "401 Unauthorized",
                "WWW-Authenticate: Bearer\r\nContent-Length: 0\r\n",
            ),
            Some(_) => site.honest(asked, wire),
        });
    assert_eq!(stage.fetch("asked").success().trim(), stage.id);
    assert_eq!(logins(&stage.other), ["none", "Bearer hunter2"]);
    assert_eq!(logins(&stage.server), ["none"]);

    // A wrong one is not tried again and again.
    fs::remove_dir_all(stage.world.path("data")).unwrap();
    stage
        .other
        .answers(|_, wire| head(wire, "401 Unauthorized", "Content-Length: 0\r\n"));
    stage.fetch("refused").exited(5).says("status 401");
    assert_eq!(logins(&stage.other), ["none", "Bearer hunter2"]);
}
