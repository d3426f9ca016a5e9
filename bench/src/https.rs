//! Downloads from a real nginx on loopback, over TLS.

use std::{
    fs,
    io::{Read, Write},
    path::Path,
    process::Command,
    sync::Arc,
};

use anyhow::{Result, ensure};
use dhow_discovery::Buckets;
use dhow_fetchers::{
    DownloadOptions, Downloader, FetchContext, HttpClient, HttpOptions, HttpsTransport, Insecure, Layers, Mirrors,
    NoProgress, Origin, Partial, PullPolicy, runtime,
};
use dhow_image::{BuildOptions, Compression, ImageManifest, Name};
use dhow_store::Store;
use dhow_tests::{Nginx, World};
use dhow_trust::{KeyOptions, Keyring, NoSecrets, SecretKey};
use url::Url;

use crate::{
    contest::{Contest, Contestant},
    machine::warm,
    packs::files,
};

/// So often a system's files have to be there for a gzip archive of a GiB.
const COPIES: u8 = 8;

/// Makes a file that does not compress.
pub(crate) fn noise(path: &Path, mebibytes: usize) -> Result<()> {
    let mut random = fs::File::open("/dev/urandom")?.take((mebibytes as u64) << 20);
    std::io::copy(&mut random, &mut fs::File::create(path)?)?;
    Ok(())
}

/// Serves the world's `site` at this rate, and says where.
fn serve(world: &mut World, rate: &str) -> Result<(Nginx, HttpOptions)> {
    fs::create_dir_all(world.path("nginx-0"))?;
    fs::write(world.path("nginx-0/extra.conf"), format!("limit_rate {rate};"))?;
    let nginx = world.nginx("site");
    let options = HttpOptions {
        ca: vec![world.path("ca.pem")],
        connect_to: vec![format!("example.com:443:127.0.0.1:{}", nginx.port()).parse()?],
        ..HttpOptions::default()
    };
    Ok((nginx, options))
}

/// The process of the world's one nginx.
pub(crate) fn pid(world: &World) -> Result<u32> {
    let pid = fs::read_to_string(world.path("nginx-0/pid"))?;
    Ok(pid.trim().parse()?)
}

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

/// Fetches images of about a GiB, verified and stored: one as a plain tar that would not compress, of which each byte that
/// comes is one that is stored, and one as images are, a gzip archive of a system's files.
pub fn fetch(rootfs: &Path, scratch: &Path, rounds: usize) -> Result<String> {
    let plain = fetch_one("a plain tar", Compression::None, scratch, rounds, |content| {
        noise(content, 1024)
    })?;
    let gzip = fetch_one("a gzip archive", Compression::Gzip, scratch, rounds, |content| {
        let mut content = fs::File::create(content)?;
        for copy in 0..COPIES {
            content.write_all(&[copy])?;
            for path in files(rootfs)? {
                std::io::copy(&mut fs::File::open(path)?, &mut content)?;
            }
        }
        Ok(())
    })?;
    Ok(format!("{plain}{gzip}"))
}

/// Fetches an image of one file.
fn fetch_one(
    kind: &str,
    compression: Compression,
    scratch: &Path,
    rounds: usize,
    fill: impl FnOnce(&Path) -> Result<()>,
) -> Result<String> {
    let mut world = World::new();
    let (rootfs, site) = (world.path("rootfs"), world.path("site"));
    fs::create_dir_all(&rootfs)?;
    fs::create_dir_all(&site)?;
    let content = rootfs.join("content");
    fill(&content)?;
    let options = BuildOptions {
        compression,
        ..BuildOptions::default()
    };
    let (name, archive) = (Name::new("example.com/app")?, site.join("app.aci"));
    let manifest = ImageManifest::new(name.clone());
    dhow_image::build(&manifest, &rootfs, &options, fs::File::create(&archive)?)?;
    let key = SecretKey::generate("Carly <carly@example.com>", &KeyOptions::default())?;
    let signature = dhow_trust::sign(&key, fs::File::open(&archive)?)?;
    fs::File::create(site.join("app.aci.asc"))?.write_all(&signature)?;
    let keyring = Keyring::open(Vec::<String>::new(), world.path("config"));
    keyring.trust(Some(&name), &key.certificate())?;
    let (nginx, options) = serve(&mut world, "0")?;
    let (client, runtime) = (HttpClient::new(options)?, runtime()?);
    let by = |reference: &str| -> Result<()> {
        let root = scratch.join("store");
        let context = FetchContext {
            swarms: Arc::default(),
            client: client.clone(),
            store: Arc::new(Store::open(&root)?),
            keyring: keyring.clone(),
            secrets: Arc::new(NoSecrets),
            insecure: Insecure::default(),
            pull: PullPolicy::New,
            downloads: DownloadOptions::default(),
            mirrors: Mirrors::default(),
            cache: None,
            buckets: Buckets::default(),
            registry_logins: None,
            layers: Layers::Squash,
            progress: Arc::new(NoProgress),
        };
        runtime.block_on(dhow_fetchers::fetch(&reference.parse()?, &context))?;
        drop(context);
        fs::remove_dir_all(root)?;
        Ok(())
    };
    let from_disk = archive.display().to_string();
    let curl = || -> Result<()> {
        let mut curl = curl(&nginx, "--http1.1", "app.aci");
        ensure!(curl.arg("-o").arg("/dev/null").status()?.success(), "curl failed");
        Ok(())
    };
    // The archive comes into a file, and from there into an object.
    let (size, stored) = (fs::metadata(&archive)?.len(), fs::metadata(&content)?.len());
    fs::remove_dir_all(&rootfs)?;
    let written = usize::try_from((size + stored) >> 20)?;
    let warm = || {
        warm(written + written / 8);
        Ok(())
    };
    let title = format!(
        "https: {kind} of {} MB with {} MB in it, verified and stored",
        size / 1_000_000,
        stored / 1_000_000
    );
    let contest = Contest::new(title, rounds)
        .of_bytes(size)
        .served_by(vec![pid(&world)?])
        .run(vec![
            Contestant::prepared("from the disk", warm, || by(&from_disk)),
            Contestant::prepared("from nginx over TLS", warm, || by("https://example.com/app.aci")),
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
