//! A first fetch by recipe and packs, beside one of the gzip archive: from the disk, and from nginx over TLS.

use std::{
    cell::RefCell,
    fs::{self, File},
    future::poll_fn,
    path::Path,
    sync::Arc,
    thread,
};

use anyhow::{Context as _, Result, bail, ensure};
use dhow_image::{BuildOptions, ImageManifest, Name, build};
use dhow_store::{
    Standing, Store,
    delta::{Delta, DeltaHead, Need, Source, SparsePacks, Step},
    pack::{Backend, Directory},
};
use dhow_tests::World;

use crate::{
    contest::{Contest, Contestant},
    images::Images,
    machine::warm,
    program::{Program, text},
    served::pid,
};

const NAME: &str = "example.com/app";
/// No contestant writes more, in MiB.
const MOST_WRITTEN: usize = 512;

/// Publishes the root file system as a site with `--delta`, and fetches it into new stores.
pub fn first(images: &Images, rootfs: &Path, rounds: usize) -> Result<String> {
    let mut world = World::in_memory();
    let archive = world.path("app.aci");
    let mut manifest = ImageManifest::new(Name::new(NAME)?);
    manifest.labels.insert(Name::new("version")?, "1.0.0")?;
    build(&manifest, rootfs, &BuildOptions::default(), File::create(&archive)?)?;
    let (config, ca) = (world.path("config"), world.path("ca.pem"));
    let dhow = |arguments: &[&str]| -> Result<Program> {
        let store = images.path("store");
        let places = [
            "--dir",
            text(&store)?,
            "--config-dir",
            text(&config)?,
            "--ca",
            text(&ca)?,
        ];
        Ok(Program::dhow()?.args(places).args(arguments))
    };
    let (public, site) = (world.path("key.asc"), world.path("site"));
    dhow(&["key", "generate", "Bench <bench@example.com>", "--no-passphrase"])?.run()?;
    dhow(&["key", "export", "bench@example.com", "-o", text(&public)?])?.run()?;
    dhow(&["trust", "add", "--prefix", "example.com", "--yes", text(&public)?])?.run()?;
    let url = ["--site", text(&site)?, "--url", "https://example.com", "--delta"];
    dhow(&[&["publish", text(&archive)?][..], &url].concat())?.run()?;
    let packs = PackFiles::of(&site)?;
    let whole = fs::metadata(&archive)?.len();

    let make_way = || {
        images.set_aside("store")?;
        warm(MOST_WRITTEN);
        anyhow::Ok(())
    };
    let store = || Store::open(&images.path("store"));
    let disk = Contest::new("first: the image taken in from the disk", rounds).run(vec![
        Contestant::prepared("its gzip archive", make_way, || {
            let store = store()?;
            let staged = store.stage(File::open(&archive)?)?;
            staged.commit(&serde_json::json!({}), Standing::Verified)?;
            Ok(())
        }),
        Contestant::prepared("recipe and packs", make_way, || packs.take_in(&Arc::new(store()?))),
    ])?;

    let nginx = world.nginx("site");
    let connect = format!("example.com:443:127.0.0.1:{}", nginx.port());
    let memory = RefCell::new([0; 2]);
    let fetch = |at: usize, delta: &str| -> Result<()> {
        let used = dhow(&["--connect-to", &connect, "fetch", "--delta", delta, NAME])?.run()?;
        let most = &mut memory.borrow_mut()[at];
        *most = used.max(*most);
        Ok(())
    };
    let wire = Contest::new("first: `dhow fetch` from nginx over TLS", rounds)
        .served_by(vec![pid(&world)?])
        .run(vec![
            Contestant::prepared("its gzip archive", make_way, || fetch(0, "never")),
            Contestant::prepared("recipe and packs", make_way, || fetch(1, "always")),
        ])?;
    let mega = |bytes: u64| bytes as f64 / 1e6;
    let [of_archive, of_packs] = memory.into_inner();
    Ok(format!(
        "{disk}{wire}  archive {:.1} MB, packs {:.1} MB; peak memory {:.1} MB and {:.1} MB\n",
        mega(whole),
        mega(packs.bytes),
        mega(of_archive),
        mega(of_packs)
    ))
}

/// What a site has of its one image.
struct PackFiles {
    head: DeltaHead,
    backend: Arc<dyn Backend>,
    bytes: u64,
}

impl PackFiles {
    fn of(site: &Path) -> Result<Self> {
        let recipe = crate::packs::files(site)?
            .into_iter()
            .find(|path| path.extension().is_some_and(|extension| extension == "recipe"));
        let head = DeltaHead::parse(&fs::read(recipe.context("the site has no recipe")?)?)?;
        let backend: Arc<dyn Backend> = Arc::new(Directory::open(&site.join("PACKS"))?);
        let bytes = head.packs.iter().map(|pack| pack.size).sum();
        Ok(Self { head, backend, bytes })
    }

    /// Copies what is needed while the image is put together, as a fetch does.
    fn take_in(&self, store: &Arc<Store>) -> Result<()> {
        let mut delta = Delta::new(store.clone(), self.head.clone(), &Name::new(NAME)?)?;
        let need = loop {
            match delta.step()? {
                Step::Need(need) if need.source == Source::Contents => break need,
                Step::Need(need) => self.bring(&need, delta.sparse())?,
                Step::Ready(_) => bail!("the store is not a new one"),
            }
        };
        let rebuild = delta.early()?.context("what is asked for is known")?;
        let (sparse, coming) = (delta.sparse().clone(), delta.sparse().coming());
        let staged = thread::scope(|scope| {
            let bringing = scope.spawn(move || {
                let _coming = coming;
                self.bring(&need, &sparse)
            });
            let staged = store.stage(rebuild);
            bringing.join().expect("copying does not panic")?;
            anyhow::Ok(staged?)
        })?;
        ensure!(*staged.id() == self.head.id, "another image was rebuilt");
        staged.commit(&serde_json::json!({}), Standing::Verified)?;
        Ok(())
    }

    /// In pieces, as a network does, and no faster than they are wanted.
    fn bring(&self, need: &Need, sparse: &SparsePacks) -> Result<()> {
        const PIECE: u64 = 64 << 10;
        let runtime = tokio::runtime::Builder::new_current_thread().build()?;
        for (pack, range) in &need.ranges {
            for start in range.clone().step_by(PIECE as usize) {
                let piece = start..range.end.min(start + PIECE);
                runtime.block_on(poll_fn(|context| sparse.poll_room(context)));
                let bytes = self.backend.read(pack, piece.clone())?.context("a pack is missing")?;
                sparse.write(pack, start, &bytes)?;
                sparse.came(pack, piece)?;
            }
        }
        Ok(())
    }
}
