//! A second image that shares most of its files with one that is there.

use anyhow::Result;

use crate::{
    contest::{Contest, Contestant},
    floor,
    images::{Change, Images},
    program::{Program, text},
    usage::Usage,
};

/// What the second image adds, and how long taking it in lasts, beside only decompressing and hashing it.
pub fn second(images: &Images, change: Change, rounds: usize) -> Result<String> {
    let first = images.archive()?;
    let (rootfs, changed) = images.variant(1, change)?;
    let second = images.pack(&rootfs, "second")?;
    images.sign(&first)?;
    images.sign(&second)?;
    images.dhow("first", &["fetch", text(&first)?])?.run()?;

    let copy = || -> Result<()> {
        images.set_aside("both")?;
        let (from, to) = (images.path("first"), images.path("both"));
        Program::new("cp").args(["-a", text(&from)?, text(&to)?]).run()?;
        // What is not written yet would be written while others are measured.
        nix::unistd::syncfs(std::fs::File::open(&to)?)?;
        Ok(())
    };
    let contest = Contest::new(
        "second: an image that shares 95 % of its files with the store's",
        rounds,
    )
    .run(vec![
        Contestant::new("floor: gunzip, SHA-512", || floor::hash(&second)),
        Contestant::prepared("dhow fetch", copy, || {
            images.dhow("both", &["fetch", text(&second)?])?.run()?;
            Ok(())
        }),
    ])?;

    let added = |part: &str| -> Result<(u64, u64)> {
        let of = |store: &str| Usage::of(&images.path(store).join(part));
        let (before, after) = (of("first")?, of("both")?);
        Ok((
            after.bytes.saturating_sub(before.bytes),
            after.files.saturating_sub(before.files),
        ))
    };
    let mut report = format!("{contest}  {:.2} MB differ\n", changed as f64 / 1e6);
    for part in ["objects", "images", "trees", ""] {
        let (bytes, files) = added(part)?;
        let name = if part.is_empty() { "all of it" } else { part };
        let ratio = bytes as f64 / changed as f64;
        report += &format!(
            "  added to {name:<10} {:>8.2} MB, {files:>5} files {ratio:>6.2} x\n",
            bytes as f64 / 1e6
        );
    }
    Ok(report)
}
