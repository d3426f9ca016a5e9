//! Runs the measurements: `cargo run --release -p dhow-bench -- --help`.

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result, ensure};
use clap::{Parser, Subcommand};
use dhow_bench::{
    Contest,
    mount::{self, Image},
};
use dhow_image::{BuildOptions, ImageId, ImageManifest, Name};
use dhow_store::{Standing, Store};

/// Measures dhow beside its peers, in turns, and prints medians and ratios.
#[derive(Parser)]
#[command(after_help = "Example:\n  cargo run --release -p dhow-bench -- ingest target/test-data/debian")]
struct Arguments {
    #[command(subcommand)]
    measurement: Measurement,
    /// How often each contestant does its work
    #[arg(long, default_value_t = 5, global = true)]
    rounds: usize,
    /// Where stores are made, on the file system to be measured
    #[arg(long, default_value = "target/bench", global = true)]
    scratch: PathBuf,
}

#[derive(Subcommand)]
enum Measurement {
    /// Reading an archive whole: beside `gzip -dc | sha512sum`, the image ID, and taking it into a new store.
    Ingest {
        /// The root file system to pack
        rootfs: PathBuf,
    },
    /// Giving an image back: beside copying its tar, exporting it.
    Export {
        /// The root file system to pack
        rootfs: PathBuf,
    },
    /// What the update from one tree to another costs in packs, beside `casync make`.
    Packs {
        /// The tree that is there
        old: PathBuf,
        /// The tree that is wanted
        new: PathBuf,
        /// The level of compression
        #[arg(long, default_value_t = 9)]
        level: i32,
    },
    /// Mounting and unmounting images of 11,000 and 50,000 files: beside an empty tmpfs. Takes root.
    Mount,
    /// Making the tree of an image: time and peak memory.
    Render {
        /// The root file system to pack
        #[arg(required_unless_present = "files")]
        rootfs: Option<PathBuf>,
        /// So many files in place of it
        #[arg(long, conflicts_with = "rootfs")]
        files: Option<usize>,
    },
    #[command(hide = true)]
    RenderOnce { id: ImageId },
}

#[expect(clippy::print_stdout, reason = "results go to stdout")]
fn main() -> Result<()> {
    let arguments = Arguments::parse();
    if let Measurement::RenderOnce { id } = &arguments.measurement {
        println!("{}", mount::render_once(&arguments.scratch, id)?);
        return Ok(());
    }
    fs::create_dir_all(&arguments.scratch)?;
    let scratch = tempfile::tempdir_in(&arguments.scratch)?;
    let contest = match &arguments.measurement {
        Measurement::Ingest { rootfs } => ingest(rootfs, scratch.path(), arguments.rounds)?,
        Measurement::Export { rootfs } => export(rootfs, scratch.path(), arguments.rounds)?,
        Measurement::Packs { old, new, level } => {
            print!("{}", dhow_bench::packs(old, new, *level, scratch.path())?);
            return Ok(());
        }
        Measurement::Mount => mount::mount(scratch.path(), arguments.rounds, [11_000, 50_000])?,
        Measurement::Render { rootfs, files } => {
            let archive = rootfs
                .as_deref()
                .map(|rootfs| pack(rootfs, scratch.path()))
                .transpose()?;
            let image = match (&archive, files) {
                (Some(archive), _) => Image::Packed(archive),
                (None, files) => Image::Synthetic(files.context("clap asks for one of both")?),
            };
            print!("{}", mount::render(scratch.path(), arguments.rounds, image)?);
            return Ok(());
        }
        Measurement::RenderOnce { .. } => return Ok(()),
    };
    print!("{contest}");
    Ok(())
}

/// Packs a root file system as a gzip archive.
fn pack(rootfs: &Path, scratch: &Path) -> Result<PathBuf> {
    let archive = scratch.join("image.aci");
    let options = BuildOptions::default();
    let manifest = ImageManifest::new(Name::new("bench.example/image")?);
    dhow_image::build(&manifest, rootfs, &options, File::create(&archive)?)?;
    Ok(archive)
}

fn shell(script: &str, argument: &Path) -> Result<()> {
    let status = Command::new("sh").args(["-c", script, "sh"]).arg(argument).status()?;
    ensure!(status.success(), "`{script}` failed");
    Ok(())
}

fn ingest(rootfs: &Path, scratch: &Path, rounds: usize) -> Result<Contest> {
    let archive = pack(rootfs, scratch)?;
    let mut number = 0;
    Contest::new(format!("reading an archive of {}", rootfs.display()), rounds).run(&mut [
        ("gzip -dc | sha512sum", &mut || {
            shell("gzip -dc < \"$1\" | sha512sum > /dev/null", &archive)
        }),
        ("dhow_image::read_summary", &mut || {
            dhow_image::read_summary(File::open(&archive)?)?;
            Ok(())
        }),
        ("Store::stage and commit, a new store", &mut || {
            number += 1;
            let store = Store::open(&scratch.join(format!("store-{number}")))?;
            store
                .stage(File::open(&archive)?)?
                .commit(&serde_json::Value::Null, Standing::Unverified)?;
            Ok(())
        }),
    ])
}

fn export(rootfs: &Path, scratch: &Path, rounds: usize) -> Result<Contest> {
    let archive = pack(rootfs, scratch)?;
    let tar = scratch.join("image.tar");
    shell("gzip -dc < \"$1\" > \"${1%.aci}.tar\"", &archive)?;
    let store = Store::open(&scratch.join("store"))?;
    let id = store
        .stage(File::open(&archive)?)?
        .commit(&serde_json::Value::Null, Standing::Unverified)
        .context("Could not fill the store")?;
    Contest::new(format!("giving back an image of {}", rootfs.display()), rounds).run(&mut [
        ("cat | sha512sum", &mut || {
            shell("cat < \"$1\" | sha512sum > /dev/null", &tar)
        }),
        ("Store::export, verified", &mut || {
            std::io::copy(&mut store.export(&id)?, &mut std::io::sink())?;
            Ok(())
        }),
    ])
}
