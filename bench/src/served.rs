//! [`Served`]: an image of one file that a real nginx serves over TLS.

use std::{
    fs::{self, File},
    io::Write,
    path::{Path, PathBuf},
    sync::Arc,
};

use anyhow::Result;
use dhow_discovery::Buckets;
use dhow_fetchers::{
    DownloadOptions, FetchContext, HttpClient, Insecure, Layers, Mirrors, NoProgress, PullPolicy, Swarms, runtime,
};
use dhow_image::{BuildOptions, Compression, ImageManifest, Name};
use dhow_site::{Metainfo, TorrentOptions};
use dhow_store::Store;
use dhow_tests::{Nginx, World};
use dhow_trust::{KeyOptions, Keyring, NoSecrets, SecretKey};
use tokio::runtime::Runtime;

use crate::{
    bittorrent::loopback,
    https::{noise, pid, serve},
    machine::warm,
    packs::files,
};

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
            client: self.client.clone(),
            store: Arc::new(Store::open(&root)?),
            keyring: self.keyring.clone(),
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
