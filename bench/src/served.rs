//! What a real nginx serves on loopback, over TLS: whatever lies in a world's site, or [`Served`], an image of one file.

use std::{
    fs::{self, File},
    io::{Read, Write},
    net::Ipv4Addr,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use anyhow::Result;
use dhow_fetchers::{FetchContext, HttpClient, HttpOptions, SwarmOptions, Swarms, runtime};
use dhow_image::{BuildOptions, Compression, ImageManifest, Name};
use dhow_site::{Metainfo, TorrentOptions};
use dhow_store::Store;
use dhow_tests::{Nginx, World};
use dhow_trust::{KeyOptions, Keyring, SecretKey};
use tokio::runtime::Runtime;

use crate::{machine::warm, packs::files};

/// So often a system's files have to be there for a gzip archive of a GiB.
const COPIES: u8 = 8;
/// So many MiB of noise.
const NOISE: usize = 1024;

/// An image, its signature and its torrent, and who fetches it.
pub(crate) struct Served {
    kind: &'static str,
    pub(crate) nginx: Nginx,
    pub(crate) archive: PathBuf,
    /// How many bytes the archive has, and how many are in it.
    pub(crate) size: u64,
    stored: u64,
    client: HttpClient,
    keyring: Keyring,
    runtime: Runtime,
    world: World,
}

impl Served {
    pub(crate) const URL: &str = "https://example.com/app.aci";

    /// A plain tar that would not compress, of which each byte that comes is one that is stored.
    pub(crate) fn plain() -> Result<Self> {
        Self::new("a plain tar", Compression::None, |content| noise(content, NOISE))
    }

    /// What images are: a gzip archive of a system's files.
    pub(crate) fn gzip(rootfs: &Path) -> Result<Self> {
        Self::new("a gzip archive", Compression::Gzip, |content| {
            let mut content = File::create(content)?;
            for copy in 0..COPIES {
                content.write_all(&[copy])?;
                for path in files(rootfs)? {
                    std::io::copy(&mut File::open(path)?, &mut content)?;
                }
            }
            Ok(())
        })
    }

    fn new(kind: &'static str, compression: Compression, fill: impl FnOnce(&Path) -> Result<()>) -> Result<Self> {
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
        dhow_image::build(&manifest, &rootfs, &options, File::create(&archive)?)?;
        let stored = fs::metadata(&content)?.len();
        fs::remove_dir_all(&rootfs)?;
        let key = SecretKey::generate("Carly <carly@example.com>", &KeyOptions::default())?;
        fs::write(site.join("app.aci.asc"), dhow_trust::sign(&key, File::open(&archive)?)?)?;
        let (name_of_file, url) = ("app.aci".to_owned(), Self::URL.to_owned());
        let (torrent, facts) = Metainfo::of_file(&archive, name_of_file, url, TorrentOptions::default())?;
        fs::write(site.join("app.aci.torrent"), torrent.to_bytes())?;
        let keyring = Keyring::open(Vec::<String>::new(), world.path("config"));
        keyring.trust(Some(&name), &key.certificate())?;
        let (nginx, options) = serve(&mut world, "0")?;
        Ok(Self {
            kind,
            nginx,
            archive,
            size: facts.size,
            stored,
            client: HttpClient::new(options)?,
            keyring,
            runtime: runtime()?,
            world,
        })
    }

    /// Fetches it into a new store, verified.
    pub(crate) fn fetch(&self, reference: &str, scratch: &Path) -> Result<()> {
        let root = scratch.join("store");
        let context = FetchContext {
            swarms: Arc::new(Swarms::new(loopback(Vec::new()), None)),
            ..FetchContext::new(self.client.clone(), Store::open(&root)?, self.keyring.clone())
        };
        self.runtime
            .block_on(dhow_fetchers::fetch(&reference.parse()?, &context))?;
        drop(context);
        Ok(fs::remove_dir_all(root)?)
    }

    /// Before each turn: the archive comes into a file, and from there into an object.
    pub(crate) fn warm(&self) -> Result<()> {
        let written = usize::try_from((self.size + self.stored) >> 20)?;
        warm(written + written / 8);
        Ok(())
    }

    /// The process that serves it.
    pub(crate) fn pid(&self) -> Result<u32> {
        pid(&self.world)
    }

    /// What it is, for a title.
    pub(crate) fn describe(&self) -> String {
        format!(
            "{} of {} MB with {} MB in it, verified and stored",
            self.kind,
            self.size / 1_000_000,
            self.stored / 1_000_000
        )
    }
}

/// Makes a file that does not compress.
pub(crate) fn noise(path: &Path, mebibytes: usize) -> Result<()> {
    let mut random = fs::File::open("/dev/urandom")?.take((mebibytes as u64) << 20);
    std::io::copy(&mut random, &mut fs::File::create(path)?)?;
    Ok(())
}

/// Serves the world's `site` at this rate, and says where.
pub(crate) fn serve(world: &mut World, rate: &str) -> Result<(Nginx, HttpOptions)> {
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

/// A swarm of this machine alone.
pub(crate) fn loopback(peers: Vec<std::net::SocketAddr>) -> SwarmOptions {
    SwarmOptions {
        listen: (Ipv4Addr::LOCALHOST, 0).into(),
        local_discovery: false,
        peers,
        stall_patience: Duration::from_secs(20),
        ..SwarmOptions::default()
    }
}
