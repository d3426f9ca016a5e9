//! Swarms on loopback: peers of our own, an origin of a test's own, and liars of both kinds.

#![allow(clippy::unwrap_used, missing_docs)]

#[allow(
    dead_code,
    unused_imports,
    reason = "nothing stands between peers that could be disturbed"
)]
#[path = "../conformance/mod.rs"]
mod conformance;
mod liar;
mod place;
mod web;

use std::{
    fs::{self, File},
    io::Write,
    net::SocketAddr,
    sync::Mutex,
    time::{Duration, Instant},
};

use aws_lc_rs::digest::{SHA1_FOR_LEGACY_USE_ONLY as SHA1, digest};
use dhow_fetchers::{
    Error, ErrorKind, HttpClient, HttpOptions, Magnet, Metainfo, Note, Origin, Phase, Progress, SeedGoal, Seeding,
    Swarm, SwarmDownload, SwarmOptions,
};
use tempfile::TempDir;
use url::Url;

use self::{
    liar::{Liar, Lie},
    web::Web,
};

const PIECE: usize = 64 << 10;
const LOOPBACK: ([u8; 4], u16) = ([127, 0, 0, 1], 0);

/// Bytes of which no two pieces are alike.
fn content(size: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()
    };
    std::iter::repeat_with(&mut next).flatten().take(size).collect()
}

fn torrent(content: &[u8], web_seed: &str) -> Vec<u8> {
    let digests: Vec<u8> = content
        .chunks(PIECE)
        .flat_map(|piece| digest(&SHA1, piece).as_ref().to_vec())
        .collect();
    let mut out = Vec::new();
    write!(
        out,
        "d4:infod6:lengthi{}e4:name5:a.aci12:piece lengthi{PIECE}e6:pieces{}:",
        content.len(),
        digests.len()
    )
    .unwrap();
    out.extend(digests);
    write!(out, "e8:url-list{}:{web_seed}e", web_seed.len()).unwrap();
    out
}

fn options() -> SwarmOptions {
    SwarmOptions {
        listen: SocketAddr::from(LOOPBACK),
        local_discovery: false,
        origin_grace: Duration::from_millis(200),
        stall_patience: Duration::from_secs(20),
        metadata_patience: Duration::from_secs(5),
        ..SwarmOptions::default()
    }
}

async fn with_peers(peers: &[SocketAddr]) -> Swarm {
    let peers = peers.to_vec();
    Swarm::start(SwarmOptions { peers, ..options() }).await.unwrap()
}

/// Notes how far it came.
#[derive(Default)]
struct Seen(Mutex<(Option<u64>, u64)>);

impl Progress for Seen {
    fn begin(&self, _: Phase, _: &str, total: Option<u64>) {
        *self.0.lock().unwrap() = (total, 0);
    }
    fn advance(&self, bytes: u64) {
        self.0.lock().unwrap().1 += bytes;
    }
    fn end(&self) {}
    fn note(&self, _: &Note<'_>) {}
}

/// Downloads into `path`, and gives what is in it then.
async fn download(swarm: &Swarm, torrent: &[u8], path: &std::path::Path) -> Result<(Vec<u8>, Seeding), Error> {
    let metainfo = Metainfo::parse(torrent).unwrap();
    let file = File::options()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .open(path);
    let client = HttpClient::new(HttpOptions {
        insecure_http: true,
        ..HttpOptions::default()
    });
    let download = SwarmDownload {
        swarm,
        metainfo: &metainfo,
        trackers: metainfo.trackers(),
        place: "a.torrent",
        client: &client.unwrap(),
        origin: &Origin::of_url(&Url::parse("http://127.0.0.1/").unwrap()),
        web_seeds: metainfo.web_seeds().to_vec(),
        arrived: &|_| (),
    };
    let seen = Seen::default();
    let run = download.run(file.unwrap(), &seen);
    let seeding = tokio::time::timeout(Duration::from_secs(60), run)
        .await
        .expect("it ends")?;
    assert_eq!(*seen.0.lock().unwrap(), (Some(metainfo.length()), metainfo.length()));
    Ok((fs::read(path).unwrap(), seeding))
}

async fn seed(swarm: &Swarm, directory: &TempDir, torrent: &[u8], content: &[u8]) -> Seeding {
    let path = directory.path().join("seed");
    fs::write(&path, content).unwrap();
    let metainfo = Metainfo::parse(torrent).unwrap();
    let seeding = Seeding::begin(swarm, &metainfo, File::open(&path).unwrap(), "seed");
    seeding.await.unwrap()
}

async fn seeder(directory: &TempDir, torrent: &[u8], content: &[u8]) -> (Swarm, Seeding) {
    let swarm = with_peers(&[]).await;
    let seeding = seed(&swarm, directory, torrent, content).await;
    (swarm, seeding)
}

const NOWHERE: &str = "http://127.0.0.1:1/a.aci";

#[tokio::test(flavor = "multi_thread")]
async fn an_archive_comes_from_a_peer_and_the_origin_is_left_alone() {
    let directory = TempDir::new().unwrap();
    let content = content(3 << 20 | 17);
    let web = Web::serve(content.clone()).await;
    let torrent = torrent(&content, &web.url());
    let (seeder, seeding) = seeder(&directory, &torrent, &content).await;
    let swarm = with_peers(&[seeder.address()]).await;
    let (came, _seeding) = download(&swarm, &torrent, &directory.path().join("a")).await.unwrap();
    assert!(came == content);
    assert!(web.sent() <= PIECE as u64, "but for one piece to begin with");
    assert!(seeding.uploaded() >= (content.len() - PIECE) as u64);
    seeding
        .until(&SeedGoal {
            ratio: Some(0.9),
            time: None,
        })
        .await
        .unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn without_peers_everything_comes_from_the_origin_once() {
    let directory = TempDir::new().unwrap();
    let content = content(5 << 20 | 1);
    for ranges in [true, false] {
        let web = Web::serve(content.clone()).await;
        web.ranges(ranges);
        let path = directory.path().join(format!("{ranges}"));
        // The first pieces are here, and a later one; one is damaged.
        let mut there = content.clone();
        there.truncate(20 * PIECE);
        there[3 * PIECE + 5] ^= 1;
        there[8 * PIECE..15 * PIECE].fill(0);
        fs::write(&path, &there).unwrap();
        let swarm = with_peers(&[]).await;
        let torrent = torrent(&content, &web.url());
        let (came, _) = download(&swarm, &torrent, &path).await.unwrap();
        assert!(came == content, "{ranges}");
        let missing = content.len() - 12 * PIECE;
        if ranges {
            assert_eq!(web.sent(), missing as u64);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_came_from_the_origin_is_given_to_peers() {
    let directory = TempDir::new().unwrap();
    let content = content(2 << 20);
    let web = Web::serve(content.clone()).await;
    let (with_web, without) = (torrent(&content, &web.url()), torrent(&content, NOWHERE));
    let first = with_peers(&[]).await;
    let (_, seeding) = download(&first, &with_web, &directory.path().join("a")).await.unwrap();
    let goal = SeedGoal {
        ratio: Some(1.0),
        time: Some(Duration::from_secs(30)),
    };
    let path = directory.path().join("b");
    let later = async {
        tokio::time::sleep(Duration::from_millis(500)).await;
        let second = with_peers(&[first.address()]).await;
        download(&second, &without, &path).await
    };
    let (came, _) = tokio::join!(later, seeding.until(&goal));
    assert!(came.unwrap().0 == content);
    assert_eq!(web.sent(), content.len() as u64);
}

#[tokio::test(flavor = "multi_thread")]
async fn hosts_that_begin_at_once_share_what_the_origin_sends() {
    let directory = TempDir::new().unwrap();
    let content = content(4 << 20);
    let web = Web::serve(content.clone()).await;
    web.rate(2 << 20);
    let torrent = torrent(&content, &web.url());
    let first = with_peers(&[]).await;
    let second = with_peers(&[first.address()]).await;
    let third = with_peers(&[first.address(), second.address()]).await;
    let paths = [1, 2, 3].map(|number| directory.path().join(number.to_string()));
    let (a, b, c) = tokio::join!(
        download(&first, &torrent, &paths[0]),
        download(&second, &torrent, &paths[1]),
        download(&third, &torrent, &paths[2]),
    );
    for came in [a, b, c] {
        assert!(came.unwrap().0 == content);
    }
    let sent = web.sent() as f64 / content.len() as f64;
    // Whom the others called before it had begun is alone for a while: then it comes once for that one, once for the others.
    println!("the origin sent it {sent} times");
    assert!(sent < 2.5, "three hosts had the origin send it {sent} times");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_peer_that_gives_little_keeps_nobody_from_the_origin() {
    let directory = TempDir::new().unwrap();
    let content = content(4 << 20);
    let web = Web::serve(content.clone()).await;
    let torrent = torrent(&content, &web.url());
    let slow = Swarm::start(SwarmOptions {
        upload_limit: Some((256 << 10).try_into().unwrap()),
        ..options()
    });
    let slow = slow.await.unwrap();
    let _seeding = seed(&slow, &directory, &torrent, &content).await;
    let swarm = with_peers(&[slow.address()]).await;
    let (came, _) = download(&swarm, &torrent, &directory.path().join("a")).await.unwrap();
    assert!(came == content);
    let sent = web.sent() as f64 / content.len() as f64;
    assert!(sent > 0.5, "the origin sent {sent} of it");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_magnet_link_is_resolved_by_peers_in_time_or_not_at_all() {
    let directory = TempDir::new().unwrap();
    let content = content(100_000);
    let torrent = torrent(&content, NOWHERE);
    let metainfo = Metainfo::parse(&torrent).unwrap();
    let (seeder, _seeding) = seeder(&directory, &torrent, &content).await;
    let link = format!("magnet:?xt=urn:btih:{}&ws={NOWHERE}", hex::encode(metainfo.info_hash()));
    let peer = format!("{link}&x.pe={}", seeder.address());
    let swarm = with_peers(&[]).await;
    let resolved = swarm.resolve(&peer.parse::<Magnet>().unwrap()).await.unwrap();
    assert_eq!(resolved, metainfo);

    let began = Instant::now();
    let error = swarm.resolve(&link.parse::<Magnet>().unwrap()).await.unwrap_err();
    assert!(matches!(error, Error::NoMetadata { .. }), "{error}");
    assert!(began.elapsed() < Duration::from_secs(8));
}

#[tokio::test(flavor = "multi_thread")]
async fn peers_that_lie_or_say_nothing_do_no_harm() {
    let directory = TempDir::new().unwrap();
    let content = content(2 << 20);
    for lie in [Lie::WrongBytes, Lie::Silence, Lie::Choke, Lie::Nonsense] {
        let web = Web::serve(content.clone()).await;
        let torrent = torrent(&content, &web.url());
        let liar = Liar::begin(&torrent, lie).await;
        let swarm = with_peers(&[liar.address()]).await;
        let path = directory.path().join(format!("{lie:?}"));
        let (came, _) = download(&swarm, &torrent, &path).await.unwrap();
        assert!(came == content, "{lie:?}");
        assert!(liar.was_asked(), "{lie:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_swarm_of_liars_alone_ends_with_an_error_and_no_wrong_byte_is_taken_for_right() {
    let directory = TempDir::new().unwrap();
    let content = content(1 << 20);
    let torrent = torrent(&content, NOWHERE);
    let liar = Liar::begin(&torrent, Lie::WrongBytes).await;
    let swarm = Swarm::start(SwarmOptions {
        peers: vec![liar.address()],
        stall_patience: Duration::from_secs(4),
        ..options()
    });
    let swarm = swarm.await.unwrap();
    let path = directory.path().join("a");
    let error = download(&swarm, &torrent, &path).await.map(|_| ()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Network, "{error}");
    let metainfo = Metainfo::parse(&torrent).unwrap();
    let swarm = with_peers(&[]).await;
    let seeding = Seeding::begin(&swarm, &metainfo, File::open(&path).unwrap(), "a").await;
    assert!(matches!(seeding.map(|_| ()), Err(Error::NotTheTorrent { .. })));
}

#[tokio::test(flavor = "multi_thread")]
async fn metainfo_that_lies_about_its_file_ends_with_an_error() {
    let directory = TempDir::new().unwrap();
    let content = content(1 << 20);
    let web = Web::serve(content.clone()).await;
    for other in [vec![7; 1 << 20], vec![7; 2 << 20], content[..PIECE].to_vec()] {
        let lying = torrent(&other, &web.url());
        let swarm = with_peers(&[]).await;
        let error = download(&swarm, &lying, &directory.path().join("a")).await;
        let error = error.map(|_| ()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Network, "{error}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_limit_is_kept() {
    let directory = TempDir::new().unwrap();
    let content = content(1 << 20);
    let torrent = torrent(&content, NOWHERE);
    let (seeder, _seeding) = seeder(&directory, &torrent, &content).await;
    let swarm = Swarm::start(SwarmOptions {
        peers: vec![seeder.address()],
        download_limit: Some((256 << 10).try_into().unwrap()),
        ..options()
    });
    let swarm = swarm.await.unwrap();
    let began = Instant::now();
    download(&swarm, &torrent, &directory.path().join("a")).await.unwrap();
    // The first second's worth comes at once.
    assert!(began.elapsed() > Duration::from_secs(2), "{:?}", began.elapsed());
}
