//! Swarms on loopback: beside aria2, and beside HTTPS.

use std::{
    fs::{self, File},
    net::Ipv4Addr,
    path::Path,
    process::{Child, Command, Stdio},
};

use anyhow::{Context, Result, ensure};
use dhow_fetchers::{HttpClient, HttpOptions, Metainfo, NoProgress, Origin, Seeding, Swarm, SwarmDownload, runtime};
use dhow_site::{Metainfo as Torrent, TorrentOptions};
use dhow_tests::Tracker;
use url::Url;

use crate::{
    contest::{Contest, Contestant},
    machine::warm,
    served::{Served, loopback, noise},
};

const NOWHERE: &str = "http://127.0.0.1:9/";

/// One seeder, one downloader.
pub fn swarm(size: usize, scratch: &Path, rounds: usize) -> Result<String> {
    let tracker = Tracker::start(Ipv4Addr::LOCALHOST);
    let archive = scratch.join("seed/thing");
    fs::create_dir(scratch.join("seed"))?;
    noise(&archive, size)?;
    let options = TorrentOptions {
        trackers: vec![tracker.url().parse()?],
        private: false,
    };
    let (torrent, _) = Torrent::of_file(&archive, "thing".to_owned(), NOWHERE.to_owned(), options)?;
    let (bytes, file) = (torrent.to_bytes(), scratch.join("thing.torrent"));
    fs::write(&file, &bytes)?;
    let metainfo = Metainfo::parse(&bytes)?;
    let runtime = runtime()?;

    let aria2 = Aria2::start(&file, &scratch.join("seed"), 6871, &[])?;
    tracker.wait_for(Ipv4Addr::LOCALHOST);
    let seeder = runtime.block_on(Swarm::start(loopback(Vec::new())))?;
    let _seeding = runtime.block_on(Seeding::begin(&seeder, &metainfo, File::open(&archive)?, "thing"))?;
    let (client, origin) = (
        HttpClient::new(HttpOptions::default())?,
        Origin::of_url(&Url::parse(NOWHERE)?),
    );

    let ours = || -> Result<()> {
        let came = scratch.join("ours");
        let file = File::options()
            .read(true)
            .write(true)
            .create(true)
            .truncate(true)
            .open(&came)?;
        let download = async {
            let swarm = Swarm::start(loopback(vec![seeder.address()])).await?;
            let download = SwarmDownload {
                swarm: &swarm,
                metainfo: &metainfo,
                trackers: &[],
                place: "thing",
                client: &client,
                origin: &origin,
                web_seeds: Vec::new(),
                arrived: &|_| (),
            };
            download.run(file, &NoProgress).await.map(drop)
        };
        runtime.block_on(download)?;
        Ok(fs::remove_file(came)?)
    };
    let theirs = || -> Result<()> {
        let directory = scratch.join("theirs");
        fs::create_dir(&directory)?;
        let mut aria2 = Aria2::start(&file, &directory, 6872, &["--seed-time=0"])?;
        ensure!(aria2.0.wait()?.success(), "aria2c failed");
        Ok(fs::remove_dir_all(directory)?)
    };
    let warm = || {
        warm(size + size / 4);
        Ok(())
    };
    // Our own seeder is this process.
    let contest = Contest::new(format!("swarm: {size} MiB from one seeder on loopback"), rounds)
        .of_bytes((size as u64) << 20)
        .served_by(vec![aria2.0.id()])
        .run(vec![
            Contestant::prepared("aria2 from aria2", warm, theirs),
            Contestant::prepared("dhow_fetchers from dhow_fetchers", warm, ours),
        ])?;
    Ok(contest.to_string())
}

/// A torrent without peers, and the same archive over HTTPS, both fetched into a new store from nginx.
pub fn origin(rootfs: &Path, scratch: &Path, rounds: usize) -> Result<String> {
    let plain = origin_of(&Served::plain()?, scratch, rounds)?;
    let gzip = origin_of(&Served::gzip(rootfs)?, scratch, rounds)?;
    Ok(format!("{plain}{gzip}"))
}

fn origin_of(served: &Served, scratch: &Path, rounds: usize) -> Result<String> {
    let torrent = format!("{}.torrent", Served::URL);
    let warm = || served.warm();
    let contest = Contest::new(format!("torrent without peers: {}", served.describe()), rounds)
        .of_bytes(served.size)
        .served_by(vec![served.pid()?])
        .run(vec![
            Contestant::prepared("https", warm, || served.fetch(Served::URL, scratch)),
            Contestant::prepared("a torrent without peers", warm, || served.fetch(&torrent, scratch)),
        ])?;
    Ok(contest.to_string())
}

/// An aria2 that ends with this.
struct Aria2(Child);

impl Aria2 {
    fn start(torrent: &Path, directory: &Path, port: u16, more: &[&str]) -> Result<Self> {
        let mut aria2 = Command::new("aria2c");
        aria2.args([
            "--no-conf",
            "--quiet",
            "--enable-dht=false",
            "--bt-enable-lpd=false",
            "--file-allocation=none",
        ]);
        aria2.args(["--check-integrity", "--seed-ratio=0"]);
        aria2
            .arg(format!("--listen-port={port}"))
            .arg(format!("--dir={}", directory.display()));
        let started = aria2
            .args(more)
            .arg(torrent)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .spawn();
        Ok(Self(started.context("could not start aria2c")?))
    }
}

impl Drop for Aria2 {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
