//! Downloads over a path that is long and loses packets.
//!
//! ```text
//!   this namespace            this process                another namespace
//!   client ── near (TUN) ──► 25 ms, 1 % are lost ──► far (TUN) ── nginx
//!                       ◄── 25 ms, 1 % are lost ◄──
//! ```
//!
//! Not every kernel has netem, so the path is made here. What loses packets, and what comes to terms with it, is the
//! kernel's own TCP at both ends. How much losses slow it down depends on the server's congestion control. Most servers
//! have cubic, which takes itself for Reno where windows are as small as losses of 1 % keep them (RFC 9438, section 4.3);
//! and Reno every namespace may have. Beside it this machine's own is measured, if that is another.

use std::{fs, path::Path, process::Command, sync::mpsc, thread};

use anyhow::{Context, Result, anyhow, ensure};
use dhow_fetchers::{
    DownloadOptions, Downloader, HttpClient, HttpOptions, HttpsTransport, NoProgress, Origin, Partial, runtime,
};
use dhow_tests::World;
use nix::sched::{CloneFlags, unshare};
use url::Url;

use crate::{
    contest::{Contest, Contestant},
    path::{Device, LossyPath},
    served::noise,
};

const NEAR: &str = "10.214.0.1/24";
const FAR: &str = "10.214.0.2/24";
const PORT: u16 = 8443;
const CONTROL: &str = "/proc/sys/net/ipv4/tcp_congestion_control";

/// Downloads so many MiB by one stream and by several, over a path with a round trip of 50 ms that loses 1 % of the
/// packets in each direction. It needs root.
pub fn lossy(size: usize, scratch: &Path, rounds: usize) -> Result<String> {
    let own = fs::read_to_string(CONTROL).with_context(|| format!("Could not read {CONTROL}"))?;
    let mut controls = vec!["reno", own.trim()];
    controls.dedup();
    let mut text = String::new();
    for control in controls {
        // The namespaces are those of these threads, and go with them.
        text += &thread::scope(|scope| joined(scope.spawn(|| near(control, size, scratch, rounds))))?;
    }
    Ok(text)
}

fn near(control: &str, size: usize, scratch: &Path, rounds: usize) -> Result<String> {
    let device = leave(NEAR)?;
    let (give, take) = mpsc::channel();
    let (end, ended) = mpsc::channel::<()>();
    thread::scope(|scope| {
        let server = scope.spawn(move || {
            let started = far(control, size);
            let (server, result) = match started {
                Ok((server, device, ca)) => (Some(server), Ok((device, ca))),
                Err(error) => (None, Err(error)),
            };
            let _ = give.send(result);
            // It serves until the other end hangs up.
            let _ = ended.recv();
            drop(server);
            Ok(())
        });
        let measured = take
            .recv()
            .context("the server's thread is gone")
            .and_then(|started| started)
            .and_then(|(other, ca)| {
                let path = LossyPath::between(device, other);
                measure(control, size, &ca, scratch, rounds).map(|text| format!("{text}{path}"))
            });
        drop(end);
        joined(server)?;
        measured
    })
}

/// A web server in a namespace of its own, the wire to it, and whose certificates are to be believed.
fn far(control: &str, size: usize) -> Result<((World, dhow_tests::Nginx), Device, std::path::PathBuf)> {
    let device = leave(FAR)?;
    fs::write(CONTROL, control).with_context(|| format!("The kernel has no `{control}`"))?;
    let mut world = World::new();
    fs::create_dir_all(world.path("site"))?;
    fs::create_dir_all(world.path("nginx-0"))?;
    noise(&world.path("site/thing"), size)?;
    let address = FAR.split('/').next().unwrap_or(FAR);
    fs::write(
        world.path("nginx-0/extra.conf"),
        format!("listen {address}:{PORT} ssl http2;"),
    )?;
    let nginx = world.nginx("site");
    let ca = world.path("ca.pem");
    Ok(((world, nginx), device, ca))
}

fn measure(control: &str, size: usize, ca: &Path, scratch: &Path, rounds: usize) -> Result<String> {
    let address = FAR.split('/').next().unwrap_or(FAR);
    let client = HttpClient::new(HttpOptions {
        ca: vec![ca.to_owned()],
        connect_to: vec![format!("example.com:443:{address}:{PORT}").parse()?],
        ..HttpOptions::default()
    })?;
    let runtime = runtime()?;
    let url = Url::parse("https://example.com/thing")?;
    let by = |streams: u8| -> Result<()> {
        let options = DownloadOptions {
            streams,
            ..DownloadOptions::default()
        };
        let transport = HttpsTransport::new(client.clone(), url.clone(), std::sync::Arc::new(Origin::of_url(&url)));
        let mut partial = Partial::temporary(scratch)?;
        let downloader = Downloader::new(&options, &NoProgress);
        let came = runtime.block_on(downloader.download(&transport, &mut partial))?;
        ensure!(came == (size as u64) << 20, "{came} bytes came");
        Ok(())
    };
    let contest = Contest::new(
        format!("lossy: {size} MiB over TLS, 50 ms there and back, 1 % lost each way, the server has {control}"),
        rounds,
    )
    .of_bytes((size as u64) << 20)
    .run(vec![
        Contestant::new("one stream", || by(1)),
        Contestant::new("several, as by default", || by(DownloadOptions::default().streams)),
    ])?;
    Ok(contest.to_string())
}

/// Moves this thread, and what it starts from now on, into a network of its own, with one wire out of it.
fn leave(address: &str) -> Result<Device> {
    unshare(CloneFlags::CLONE_NEWNET).context("Could not make a network namespace")?;
    ip(&["link", "set", "lo", "up"])?;
    let device = Device::new("wire")?;
    ip(&["address", "add", address, "dev", "wire"])?;
    ip(&["link", "set", "wire", "up"])?;
    Ok(device)
}

fn ip(arguments: &[&str]) -> Result<()> {
    let status = Command::new("ip")
        .args(arguments)
        .status()
        .context("Could not run ip")?;
    ensure!(status.success(), "ip {} failed", arguments.join(" "));
    Ok(())
}

fn joined<T>(thread: thread::ScopedJoinHandle<'_, Result<T>>) -> Result<T> {
    thread.join().map_err(|_| anyhow!("a thread panicked"))?
}
