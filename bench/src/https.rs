//! Downloads from a real nginx on loopback, over TLS.

use std::{fs, path::Path, process::Command, sync::Arc};

use anyhow::{Result, ensure};
use dhow_fetchers::{DownloadOptions, Downloader, HttpClient, HttpsTransport, NoProgress, Origin, Partial, runtime};
use dhow_tests::{Nginx, World};
use url::Url;

use crate::{
    contest::{Contest, Contestant},
    served::{Served, noise, serve},
};

fn curl(nginx: &Nginx, version: &str, file: &str) -> Command {
    let mut curl = Command::new("curl");
    // The test authority has the name of the certificate, which OpenSSL takes for a self-signed one.
    curl.args(["-sS", "--fail", "--insecure", version, "--connect-to"])
        .arg(format!("example.com:443:127.0.0.1:{}", nginx.port()))
        .arg(format!("https://example.com/{file}"));
    curl
}

/// Downloads so many MiB from an nginx that sends at this rate on each connection (`4m`; `0` is as fast as it can).
pub fn download(size: usize, rate: &str, scratch: &Path, rounds: usize) -> Result<String> {
    let mut world = World::new();
    fs::create_dir_all(world.path("site"))?;
    noise(&world.path("site/thing"), size)?;
    let (nginx, options) = serve(&mut world, rate)?;
    let (client, runtime) = (HttpClient::new(options)?, runtime()?);
    let url = Url::parse("https://example.com/thing")?;
    let by = |streams: u8| -> Result<()> {
        let options = DownloadOptions {
            streams,
            ..DownloadOptions::default()
        };
        let transport = HttpsTransport::new(client.clone(), url.clone(), Arc::new(Origin::of_url(&url)));
        let mut partial = Partial::temporary(scratch)?;
        let downloader = Downloader::new(&options, &NoProgress);
        let came = runtime.block_on(downloader.download(&transport, &mut partial))?;
        ensure!(came == (size as u64) << 20, "{came} bytes came");
        Ok(())
    };
    let by_curl = |version: &str| -> Result<()> {
        let mut curl = curl(&nginx, version, "thing");
        let status = curl.arg("-o").arg(scratch.join("curl")).status()?;
        ensure!(status.success(), "curl failed");
        Ok(())
    };
    let contest = Contest::new(
        format!("download: {size} MiB over TLS, each connection at rate {rate}"),
        rounds,
    )
    .of_bytes((size as u64) << 20)
    .run(vec![
        Contestant::new("curl, HTTP/2", || by_curl("--http2")),
        Contestant::new("curl, HTTP/1.1", || by_curl("--http1.1")),
        Contestant::new("dhow_fetchers, one stream", || by(1)),
        Contestant::new("dhow_fetchers, as by default", || by(4)),
    ])?;
    Ok(contest.to_string())
}

/// Fetches images of about a GiB, verified and stored.
pub fn fetch(rootfs: &Path, scratch: &Path, rounds: usize) -> Result<String> {
    let plain = fetch_one(&Served::plain()?, scratch, rounds)?;
    let gzip = fetch_one(&Served::gzip(rootfs)?, scratch, rounds)?;
    Ok(format!("{plain}{gzip}"))
}

fn fetch_one(served: &Served, scratch: &Path, rounds: usize) -> Result<String> {
    let from_disk = served.archive.display().to_string();
    let curl = || -> Result<()> {
        let mut curl = curl(&served.nginx, "--http1.1", "app.aci");
        ensure!(curl.arg("-o").arg("/dev/null").status()?.success(), "curl failed");
        Ok(())
    };
    let warm = || served.warm();
    let contest = Contest::new(format!("https: {}", served.describe()), rounds)
        .of_bytes(served.size)
        .served_by(vec![served.pid()?])
        .run(vec![
            Contestant::prepared("from the disk", warm, || served.fetch(&from_disk, scratch)),
            Contestant::prepared("from nginx over TLS", warm, || served.fetch(Served::URL, scratch)),
            Contestant::prepared("curl to /dev/null", warm, curl),
        ])?;
    let (Some(floor), Some(disk)) = (contest.floor_of(&[0, 2]), contest.time_of(0)) else {
        return Ok(contest.to_string());
    };
    Ok(format!(
        "{contest}  the work of the first and the third, on all processors {:>13.2} ms {:>6.2} x\n",
        floor * 1000.0,
        floor / disk
    ))
}
