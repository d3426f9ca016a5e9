//! What an update costs on the wire by patch and by packs, beside casync and a static delta of OSTree's; and what it costs
//! in packs that are sealed.

use std::{
    collections::HashSet,
    fmt::Write as _,
    fs::{self, File},
    path::{Path, PathBuf},
    process::Command,
    sync::Arc,
    time::Instant,
};

use anyhow::{Context, Result, ensure};
use dhow_image::{BuildOptions, ImageManifest, Limits, Name, build};
use dhow_store::{
    ObjectId, Standing, Store,
    delta::{
        Delta, DeltaHead, DeltaPack, DeltaPatch, HeadRecipe, PackOptions, PackedImage, Step, pack_image, write_patch,
    },
    pack::{Backend, Directory, Layers, Secret},
};

use crate::{
    images::copy_plain,
    packs::{casync, files},
    sealed::sealed,
};

pub(crate) const NAME: &str = "bench.example/delta";
/// What a signature has, and nearly always has had.
pub(crate) const SIGNATURE: u64 = 400;

/// Puts two trees into packs, one after the other, as `dhow publish --delta` does, and fetches the second with the
/// first at hand, and with nothing. All that travels is counted, but for headers of HTTP and the page.
pub fn delta(old: &Path, new: &Path, level: i32, scratch: &Path) -> Result<String> {
    let backend: Arc<dyn Backend> = Arc::new(Directory::open(&scratch.join("delta-packs"))?);
    let first_archive = archive(old, scratch, "first")?;
    let second_archive = archive(new, scratch, "second")?;
    let first = publish(&first_archive, &backend, &[], level, scratch)?;
    let mut second = publish(&second_archive, &backend, &first.packs, level, scratch)?;

    let gzip = store_archive(&first_archive, &scratch.join("delta-gzip"))?;
    let fresh = Arc::new(Store::open(&scratch.join("delta-fresh"))?);
    let whole = fetch(&fresh, &first, &backend)?;
    let store = Arc::new(Store::open(&scratch.join("delta-store"))?);
    let held = store.stage(File::open(&first_archive)?)?;
    held.commit(&serde_json::json!({}), Standing::Verified)?;
    let other = Arc::new(Store::open(&scratch.join("delta-other"))?);
    let held = other.stage(File::open(&first_archive)?)?;
    held.commit(&serde_json::json!({}), Standing::Verified)?;
    let update = fetch(&other, &second, &backend)?;
    let made = Instant::now();
    let patch = patch(&store, &first, &mut second, &second_archive, scratch)?;
    let made = made.elapsed().as_secs_f64();
    let patched = fetch_patch(&store, &second, &patch)?;

    let sealed = sealed(
        [&first_archive, &second_archive],
        &Secret::generate()?,
        level,
        &scratch.join("delta-sealed"),
    )?;
    let changed = changed(old, new)?;

    let before = casync(old, &scratch.join("delta-casync"), scratch)?;
    let after = casync(new, &scratch.join("delta-casync"), scratch)?;
    let caidx = fs::metadata(scratch.join("tree.caidx"))?.len();
    let casync = (after.0 - before.0 + caidx, after.1 - before.1 + 1);
    let ostree = ostree(old, new, scratch)?;

    let mut text = String::new();
    let mega = |bytes: u64| bytes as f64 / 1e6;
    let (first_size, second_size) = (
        fs::metadata(&first_archive)?.len(),
        fs::metadata(&second_archive)?.len(),
    );
    writeln!(
        text,
        "{} ({:.2} MB as .aci), then {} ({:.2} MB), level {level}",
        old.display(),
        mega(first_size),
        new.display(),
        mega(second_size)
    )?;
    writeln!(
        text,
        "all of the first       {:>8.3} MB   {} requests, ratio to its .aci {:.2}; {:.2} s, ratio to gzip's {:.2} s {:.2}",
        mega(whole.bytes),
        whole.requests,
        whole.bytes as f64 / first_size as f64,
        whole.seconds,
        gzip,
        whole.seconds / gzip
    )?;
    writeln!(
        text,
        "the second, by patch   {:>8.3} MB   {} requests, {:.2} s to apply, {made:.1} s to make",
        mega(patched.bytes),
        patched.requests,
        patched.seconds
    )?;
    writeln!(
        text,
        "  beside casync        {:>8.3} MB   ratio {:.2}",
        mega(casync.0),
        patched.bytes as f64 / casync.0 as f64
    )?;
    writeln!(
        text,
        "  beside ostree        {:>8.3} MB   a static delta, ratio {:.2}",
        mega(ostree),
        patched.bytes as f64 / ostree as f64
    )?;
    writeln!(
        text,
        "the second, by packs   {:>8.3} MB   {} requests, {:.0} KB each",
        mega(update.bytes),
        update.requests,
        update.bytes as f64 / 1e3 / update.requests as f64
    )?;
    writeln!(
        text,
        "  beside casync        {:>8.3} MB   {} requests, ratio {:.2}",
        mega(casync.0),
        casync.1,
        update.bytes as f64 / casync.0 as f64
    )?;
    writeln!(
        text,
        "  beside ostree        {:>8.3} MB   a static delta, ratio {:.2}",
        mega(ostree),
        update.bytes as f64 / ostree as f64
    )?;
    writeln!(
        text,
        "the second, sealed     {:>8.3} MB   {} requests, ratio to packs {:.2}",
        mega(sealed.update.bytes),
        sealed.update.requests,
        sealed.update.bytes as f64 / update.bytes as f64
    )?;
    writeln!(
        text,
        "  and adds to the site {:>8.3} MB   ratio to the {:.3} MB of files that changed {:.2}",
        mega(sealed.added),
        mega(changed),
        sealed.added as f64 / changed as f64
    )?;
    writeln!(text, "  of which             {}", sealed.parts)?;
    Ok(text)
}

/// How many bytes the files have that are in the new tree and not in the old one.
fn changed(old: &Path, new: &Path) -> Result<u64> {
    let mut known = HashSet::new();
    for file in files(old)? {
        known.insert(ObjectId::of(File::open(file)?)?);
    }
    let mut changed = 0;
    for file in files(new)? {
        if known.insert(ObjectId::of(File::open(&file)?)?) {
            changed += file.metadata()?.len();
        }
    }
    Ok(changed)
}

/// A file of 100 MB that no compression makes smaller, and the same with one byte changed.
pub fn byte(level: i32, scratch: &Path) -> Result<String> {
    let [old, new] = byte_trees(scratch)?;
    delta(&old, &new, level, scratch)
}

/// A tree with such a file, and one with the other.
pub(crate) fn byte_trees(scratch: &Path) -> Result<[PathBuf; 2]> {
    let (old, new) = (scratch.join("byte-old"), scratch.join("byte-new"));
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut noise = Vec::with_capacity(100_000_000);
    while noise.len() < 100_000_000 {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        noise.extend_from_slice(&state.to_le_bytes());
    }
    for tree in [&old, &new] {
        fs::create_dir_all(tree)?;
        fs::write(tree.join("data"), &noise)?;
        noise[50_000_000] ^= 1;
    }
    Ok([old, new])
}

pub(crate) struct Fetched {
    pub(crate) bytes: u64,
    pub(crate) requests: usize,
    seconds: f64,
}

pub(crate) fn archive(tree: &Path, scratch: &Path, name: &str) -> Result<PathBuf> {
    let path = scratch.join(format!("delta-{name}.aci"));
    let manifest = ImageManifest::new(Name::new(NAME)?);
    build(&manifest, tree, &BuildOptions::default(), File::create(&path)?)?;
    Ok(path)
}

fn publish(
    archive: &Path,
    backend: &Arc<dyn Backend>,
    known: &[DeltaPack],
    level: i32,
    scratch: &Path,
) -> Result<DeltaHead> {
    let packed = pack(archive, backend, known, &Layers::plain().compressed(level), scratch)?;
    let recipe = HeadRecipe::Plain(packed.recipe.clone());
    head(packed, archive, recipe)
}

pub(crate) fn pack(
    archive: &Path,
    backend: &Arc<dyn Backend>,
    known: &[DeltaPack],
    layers: &Layers,
    scratch: &Path,
) -> Result<PackedImage> {
    let options = PackOptions {
        limits: Limits::default(),
        layers: layers.clone(),
        scratch,
    };
    Ok(pack_image(File::open(archive)?, backend, known, &options)?)
}

pub(crate) fn head(packed: PackedImage, archive: &Path, recipe: HeadRecipe) -> Result<DeltaHead> {
    Ok(DeltaHead {
        id: packed.id,
        tar_size: packed.tar_size,
        archive_sha512: [0; 64],
        archive_size: fs::metadata(archive)?.len(),
        recipe,
        up: 3,
        packs: packed.packs,
        patch: None,
    })
}

/// How many seconds it takes to take in an archive from the disk.
fn store_archive(archive: &Path, at: &Path) -> Result<f64> {
    let store = Store::open(at)?;
    let began = Instant::now();
    let staged = store.stage(File::open(archive)?)?;
    staged.commit(&serde_json::json!({}), Standing::Verified)?;
    Ok(began.elapsed().as_secs_f64())
}

/// Makes the patch as `dhow publish` does, in a store of the publisher's that has both images.
fn patch(
    held: &Store,
    first: &DeltaHead,
    second: &mut DeltaHead,
    second_archive: &Path,
    scratch: &Path,
) -> Result<PathBuf> {
    ensure!(held.contains(&first.id), "the first image is not in the store");
    let publisher = Store::open(&scratch.join("delta-publisher"))?;
    for archive in [&scratch.join("delta-first.aci"), second_archive] {
        let staged = publisher.stage(File::open(archive)?)?;
        staged.commit(&serde_json::json!({}), Standing::Verified)?;
    }
    let path = scratch.join("delta.patch");
    write_patch(&publisher, &first.id, &second.id, 19, scratch, File::create(&path)?)?;
    second.patch = Some(DeltaPatch {
        base: first.id,
        size: fs::metadata(&path)?.len(),
        digest: *dhow_store::ObjectId::of(File::open(&path)?)?.as_bytes(),
    });
    Ok(path)
}

/// What a client fetches that has the first image.
fn fetch_patch(store: &Arc<Store>, head: &DeltaHead, patch: &Path) -> Result<Fetched> {
    let began = Instant::now();
    let mut delta = Delta::new(store.clone(), head.clone(), &Name::new(NAME)?)?;
    let size = delta.patch().context("the patch does not fit")?.size;
    delta.apply(File::open(patch)?)?;
    let Step::Ready(rebuild) = delta.step()? else {
        anyhow::bail!("the patch does not bring everything");
    };
    let staged = store.stage(rebuild)?;
    ensure!(*staged.id() == head.id, "another image was made");
    staged.commit(&serde_json::json!({}), Standing::Verified)?;
    Ok(Fetched {
        bytes: head.to_bytes().len() as u64 + SIGNATURE + size,
        requests: 3,
        seconds: began.elapsed().as_secs_f64(),
    })
}

/// What a client fetches, head and signature included, and how long it takes to put it together.
fn fetch(store: &Arc<Store>, head: &DeltaHead, backend: &Arc<dyn Backend>) -> Result<Fetched> {
    let began = Instant::now();
    let delta = Delta::new(store.clone(), head.clone(), &Name::new(NAME)?)?;
    follow(store, delta, backend, began)
}

pub(crate) fn follow(
    store: &Arc<Store>,
    mut delta: Delta,
    backend: &Arc<dyn Backend>,
    began: Instant,
) -> Result<Fetched> {
    let (mut bytes, mut requests) = (delta.head().to_bytes().len() as u64 + SIGNATURE, 2);
    loop {
        match delta.step()? {
            Step::Need(need) => {
                for (pack, range) in need.ranges {
                    requests += 1;
                    bytes += range.end - range.start;
                    let content = backend.read(&pack, range.clone())?.context("a pack is missing")?;
                    delta.sparse().write(&pack, range.start, &content)?;
                    delta.sparse().came(&pack, range)?;
                }
            }
            Step::Ready(rebuild) => {
                let staged = store.stage(rebuild)?;
                ensure!(*staged.id() == delta.head().id, "another image was rebuilt");
                staged.commit(&serde_json::json!({}), Standing::Verified)?;
                break;
            }
        }
    }
    Ok(Fetched {
        bytes,
        requests,
        seconds: began.elapsed().as_secs_f64(),
    })
}

/// The size of a static delta between two trees.
fn ostree(old: &Path, new: &Path, scratch: &Path) -> Result<u64> {
    let repository = format!("--repo={}", scratch.join("delta-ostree").display());
    let run = |arguments: &[&str]| -> Result<()> {
        let done = Command::new("ostree").arg(&repository).args(arguments).output();
        let done = done.context("could not run `ostree` (Debian: ostree)")?;
        let error = String::from_utf8_lossy(&done.stderr);
        ensure!(
            done.status.success(),
            "`ostree {}` failed: {error}",
            arguments.join(" ")
        );
        Ok(())
    };
    run(&["init", "--mode=archive"])?;
    for (branch, tree) in [("old", old), ("new", new)] {
        let copy = scratch.join(format!("delta-ostree-{branch}"));
        // A commit of devices, pipes or sockets fails, whatever it is to skip.
        copy_plain(tree, &copy)?;
        let tree = format!("--tree=dir={}", copy.display());
        run(&["commit", "-b", branch, &tree, "--owner-uid=0", "--owner-gid=0"])?;
    }
    run(&[
        "static-delta",
        "generate",
        "--from=old",
        "--to=new",
        "--min-fallback-size=0",
    ])?;
    let deltas = files(&scratch.join("delta-ostree/deltas"))?;
    let mut sum = 0;
    for file in deltas {
        sum += file.metadata()?.len();
    }
    Ok(sum)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use nix::{sys::stat::Mode, unistd::mkfifo};

    use super::*;

    /// A root file system has devices, which take root to make; a pipe is as little to OSTree's liking.
    #[test]
    fn a_static_delta_is_made_of_trees_with_special_files() {
        let scratch = tempfile::tempdir().unwrap();
        let [old, new] = ["old", "new"].map(|name| scratch.path().join(name));
        for (tree, content) in [(&old, "one"), (&new, "another")] {
            fs::create_dir_all(tree.join("dev")).unwrap();
            mkfifo(&tree.join("dev/pipe"), Mode::S_IRUSR).unwrap();
            fs::write(tree.join("file"), content).unwrap();
        }
        assert!(ostree(&old, &new, scratch.path()).unwrap() > 0);
    }
}
