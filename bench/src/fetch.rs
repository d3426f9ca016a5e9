//! Taking in a signed archive: beside the floors, and beside what users of OCI images run.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::Result;

use crate::{
    contest::{Contest, Contestant},
    floor,
    images::Images,
    machine::warm,
    program::{Program, text},
};

/// No contestant writes more, in MiB.
const MOST_WRITTEN: usize = 1024;

/// `dhow fetch FILE` verifies the signature, takes the image in and makes its tree. So does rkt, which takes part where
/// it is installed; skopeo and umoci do less.
pub fn fetch(images: &Images, rounds: usize) -> Result<String> {
    // rkt reads whatever is in a tree, devices too, and waits for ever for what a terminal says.
    let archive = images.pack(&images.copy("plain")?, "image")?;
    images.sign(&archive)?;
    let oci = images.path("image.oci.tar");
    let destination = format!("oci-archive:{}:latest", text(&oci)?);
    images
        .dhow("store", &["convert", text(&archive)?, &destination])?
        .run()?;
    let tar_size = images.unpack(&archive)?.metadata()?.len();

    let mut memory = 0;
    let floor = images.path("floor");
    let make_way = |name| {
        images.set_aside(name)?;
        warm(MOST_WRITTEN);
        anyhow::Ok(())
    };
    let prepare = || make_way("floor");
    let rkt = Rkt::installed(images)?;
    let mut contestants = vec![
        Contestant::prepared("floor: gunzip, SHA-512, SHA-256 and write", prepare, || {
            floor::hash_and_write(&archive, &floor, false)
        }),
        Contestant::prepared("the same and one sync", prepare, || {
            floor::hash_and_write(&archive, &floor, true)
        }),
        Contestant::new("floor: gunzip, SHA-512", || floor::hash(&archive)),
        Contestant::prepared(
            "dhow fetch",
            || make_way("fetched"),
            || {
                let used = images.dhow("fetched", &["fetch", text(&archive)?])?.run()?;
                memory = memory.max(used);
                Ok(())
            },
        ),
        Contestant::prepared(
            "skopeo copy, umoci unpack",
            || images.set_aside("layout").and_then(|()| make_way("bundle")),
            || {
                let layout = format!("{}:latest", text(&images.path("layout"))?);
                let (from, to) = (format!("oci-archive:{}:latest", text(&oci)?), format!("oci:{layout}"));
                Program::new("skopeo")
                    .args(["--insecure-policy", "copy", &from, &to])
                    .run()?;
                let bundle = images.path("bundle");
                Program::new("umoci")
                    .args(["unpack", "--image", &layout, text(&bundle)?])
                    .run()?;
                Ok(())
            },
        ),
    ];
    if let Some(rkt) = &rkt {
        let prepare = || make_way("rkt");
        contestants.push(Contestant::prepared("rkt fetch", prepare, || rkt.fetch(&archive)));
    }
    let contest = Contest::new("fetch: a signed gzip archive into a new store", rounds)
        .of_bytes(tar_size)
        .run(contestants)?;
    Ok(format!(
        "{contest}  dhow's peak memory: {:.1} MB\n",
        memory as f64 / 1e6
    ))
}

/// rkt, and where it keeps what it trusts and fetches.
struct Rkt {
    config: PathBuf,
    store: PathBuf,
}

impl Rkt {
    /// The one on the path, if there is one, with the key of the images trusted.
    fn installed(images: &Images) -> Result<Option<Self>> {
        let path = std::env::var_os("PATH").unwrap_or_default();
        if !std::env::split_paths(&path).any(|directory| directory.join("rkt").is_file()) {
            return Ok(None);
        }
        let (config, store) = (images.path("rkt-config"), images.path("rkt"));
        fs::create_dir_all(&config)?;
        let rkt = Self { config, store };
        let trust = ["trust", "--prefix=bench.example", "--skip-fingerprint-review"];
        rkt.program()?.args(trust).args([images.public_key()]).run()?;
        Ok(Some(rkt))
    }

    fn fetch(&self, archive: &Path) -> Result<()> {
        fs::create_dir_all(&self.store)?;
        self.program()?.args([Path::new("fetch"), archive]).run()?;
        Ok(())
    }

    fn program(&self) -> Result<Program> {
        let local = format!("--local-config={}", text(&self.config)?);
        Ok(Program::new("rkt").args([format!("--dir={}", text(&self.store)?), local]))
    }
}
