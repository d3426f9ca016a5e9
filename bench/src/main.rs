//! Runs the measurements: `cargo run --release -p dhow-bench -- --help`.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};
use clap::{Parser, ValueEnum};
use dhow_bench::{
    Images, bittorrent, byte, catalog, delta, export, fetch, first, https, lossy, mount, packs, read, sealed, second,
    ten,
};

/// Measures dhow beside its peers, in turns, and prints medians and ratios.
///
/// Peers are programs as Debian has them: skopeo, umoci, ostree, casync. `dhow` is the one that was built beside this program.
#[derive(Parser)]
#[command(after_help = "\
Examples:
  just bench
  just bench fetch second --rounds 9 --on target/bench")]
struct Arguments {
    /// What is measured; everything if nothing is named
    #[arg(value_enum)]
    measurements: Vec<Measurement>,
    /// The root file system that images are made of; `tests/run` leaves this one
    #[arg(long, default_value = "target/test-data/debian")]
    rootfs: PathBuf,
    /// How often each contestant does its work
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// A directory on the file system to be measured; can be repeated
    #[arg(long, default_values = ["target/bench", "/dev/shm"])]
    on: Vec<PathBuf>,
    /// Lets whole directories differ between related images, where single files do otherwise
    #[arg(long)]
    clustered: bool,
    /// The tree that `packs` and `delta` update to, instead of one in which 5 % of the files differ
    #[arg(long, value_name = "DIR")]
    new: Option<PathBuf>,
    /// The level at which `packs` and `delta` compress
    #[arg(long, default_value_t = 9)]
    level: i32,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Measurement {
    /// The image ID of an archive, beside `gzip -dc | sha512sum`
    Read,
    /// `dhow fetch` of a signed archive, beside floors, skopeo with umoci, and rkt
    Fetch,
    /// A first fetch by recipe and packs, beside one of the archive
    First,
    /// A second image that shares 95 % of its files
    Second,
    /// Ten related images on disk, beside ostree
    Ten,
    /// Giving an image's tar back
    Export,
    /// Rendering images anew
    Render,
    /// Mounting rendered images
    Mount,
    /// What an update costs in packs, beside `casync make`
    Packs,
    /// What an update costs by patch and by packs, beside casync and a static delta of OSTree's
    Delta,
    /// The same of one changed byte in a file of 100 MB
    Byte,
    /// What one such byte costs in sealed packs, with twenty secrets
    Sealed,
    /// One more image, published into a site of one and into a site of a thousand
    Publish,
    /// A catalog of ten thousand images, read and verified
    Catalog,
    /// A download from nginx over TLS, beside curl
    Download,
    /// A download from an nginx that sends 8 MiB a second on each connection
    Slow,
    /// A download over a path of 50 ms that loses 1 % of the packets, by one stream and by several; needs root
    Lossy,
    /// `fetch` of images of a GiB from nginx over TLS, beside the same files on the disk
    Https,
    /// A file from one seeder, beside aria2
    Swarm,
    /// `fetch` of a torrent that has no peers, beside the same archive over HTTPS
    SwarmOrigin,
}

#[expect(clippy::print_stdout, reason = "results go to stdout")]
fn main() -> Result<()> {
    let arguments = Arguments::parse();
    let measurements = match arguments.measurements.as_slice() {
        [] => Measurement::value_variants(),
        named => named,
    };
    for place in &arguments.on {
        for measurement in measurements {
            println!("on {}", place.display());
            println!("{}", measure(*measurement, place, &arguments)?);
        }
    }
    Ok(())
}

/// Runs one measurement in a directory that goes when it is done.
fn measure(measurement: Measurement, place: &Path, arguments: &Arguments) -> Result<String> {
    fs::create_dir_all(place)?;
    let scratch = tempfile::Builder::new()
        .prefix("dhow-bench-")
        .tempdir_in(place)
        .with_context(|| format!("Could not use `{}`", place.display()))?;
    let images = Images::new(&arguments.rootfs, scratch.path())?;
    let change = match arguments.clustered {
        true => dhow_bench::Change::Clustered,
        false => dhow_bench::Change::Scattered,
    };
    match measurement {
        Measurement::Fetch => fetch::fetch(&images, arguments.rounds),
        Measurement::First => first(&images, &arguments.rootfs, arguments.rounds),
        Measurement::Second => second::second(&images, change, arguments.rounds),
        Measurement::Ten => ten::ten(&images, change),
        Measurement::Export => export::export(&images, arguments.rounds),
        Measurement::Packs => {
            let new = match &arguments.new {
                Some(new) => new.clone(),
                None => images.variant(1, change)?.0,
            };
            Ok(packs(&arguments.rootfs, &new, arguments.level, scratch.path())?.to_string())
        }
        Measurement::Delta => {
            let new = match &arguments.new {
                Some(new) => new.clone(),
                None => images.variant(1, change)?.0,
            };
            delta(&arguments.rootfs, &new, arguments.level, scratch.path())
        }
        Measurement::Byte => byte(arguments.level, scratch.path()),
        Measurement::Sealed => sealed::secrets(20, arguments.level, scratch.path()),
        Measurement::Mount => mount::mount(&images, arguments.rounds),
        Measurement::Render => mount::render(&images, arguments.rounds),
        Measurement::Read => read::read(&images, arguments.rounds),
        Measurement::Publish => catalog::publish(&images, arguments.rounds),
        Measurement::Catalog => catalog::catalog(&images, arguments.rounds),
        Measurement::Download => https::download(1024, "0", scratch.path(), arguments.rounds),
        Measurement::Slow => https::download(256, "8m", scratch.path(), arguments.rounds),
        Measurement::Swarm => bittorrent::swarm(1024, scratch.path(), arguments.rounds),
        Measurement::SwarmOrigin => bittorrent::origin(&arguments.rootfs, scratch.path(), arguments.rounds),
        Measurement::Lossy => lossy::lossy(8, scratch.path(), arguments.rounds),
        Measurement::Https => https::fetch(&arguments.rootfs, scratch.path(), arguments.rounds),
    }
}
