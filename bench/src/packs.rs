//! What an update costs on the wire, beside casync.

use std::{
    collections::HashSet,
    fmt::{self, Write as _},
    fs::{self, File},
    ops::Range,
    path::{Path, PathBuf},
    process::Command,
    sync::Arc,
};

use anyhow::{Context, Result, ensure};
use dhow_store::pack::{ContentRef, Directory, Layers, PackId, PackIndex, PackStore, PlanLimits, plan};

/// What was measured: a text for people.
pub struct Packs(String);

impl fmt::Display for Packs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Packs two trees, one after the other, and fetches the second with the first at hand; and lets `casync` do the same.
/// Both count what is needed to find the chunks (index, lists; casync's `.caidx`), not recipe or signature.
pub fn packs(old: &Path, new: &Path, level: i32, scratch: &Path) -> Result<Packs> {
    let mut text = String::new();
    let backend = Arc::new(Directory::open(&scratch.join("packs"))?);
    let add = |tree: &Path, packs: &mut Vec<PackId>| -> Result<(Vec<ContentRef>, u64)> {
        let store = PackStore::open(backend.clone(), packs.clone())?;
        let mut writer = store.writer(Layers::plain().compressed(level), scratch);
        let mut contents = Vec::new();
        for file in files(tree)? {
            contents.push(
                writer
                    .put(File::open(&file)?)
                    .with_context(|| format!("`{}`", file.display()))?,
            );
        }
        let (new, statistics) = writer.finish()?;
        packs.extend(new);
        Ok((contents, statistics.stored))
    };
    let mut packs = Vec::new();
    let (old_contents, first) = add(old, &mut packs)?;
    let old_packs = packs.len();
    let (contents, second) = add(new, &mut packs)?;
    let store = PackStore::open(backend.clone(), packs)?;
    // A client has its files, and cuts them into the chunks that they have.
    let (mut has, mut left) = (HashSet::new(), old_contents);
    while let Some(content) = left.pop() {
        if content.length > 0 {
            left.extend(store.parts(&content)?);
        }
        has.insert(content.digest);
    }
    let mut wanted: Vec<_> = contents
        .into_iter()
        .filter(|content| !has.contains(&content.digest))
        .collect();
    wanted.retain(|content| content.length > 0);
    let (bytes, requests) = fetch(&store, old_packs, &wanted, &has)?;

    let casync_first = casync(old, &scratch.join("one"), scratch)?;
    let casync_both = casync(new, &scratch.join("one"), scratch)?;
    let caidx = fs::metadata(scratch.join("tree.caidx"))?.len();
    let casync_second = casync_both.0 - casync_first.0 + caidx;
    let mega = |bytes: u64| bytes as f64 / 1e6;
    writeln!(
        text,
        "packs of {} ({:.2} MB), then of {} ({:.2} MB), level {level}",
        old.display(),
        mega(first),
        new.display(),
        mega(second)
    )?;
    writeln!(
        text,
        "all of the first       {:>8.2} MB   casync {:>8.2} MB   ratio {:.2}",
        mega(first),
        mega(casync_first.0 + caidx),
        first as f64 / (casync_first.0 + caidx) as f64
    )?;
    writeln!(
        text,
        "the second, by update  {:>8.2} MB   casync {:>8.2} MB   ratio {:.2}",
        mega(bytes),
        mega(casync_second),
        bytes as f64 / casync_second as f64
    )?;
    writeln!(
        text,
        "requests               {requests:>8}      casync {:>8}      {:.0} KB a request",
        casync_both.1 - casync_first.1 + 1,
        bytes as f64 / 1e3 / requests as f64
    )?;
    Ok(Packs(text))
}

/// Bytes and requests of a client that has the contents `has`: of each pack, newest first, until nothing is missing,
/// lists and index in one request, and then the frames.
fn fetch(
    store: &PackStore,
    old_packs: usize,
    wanted: &[ContentRef],
    has: &HashSet<dhow_store::ObjectId>,
) -> Result<(u64, usize)> {
    let (mut bytes, mut requests) = (0, 0);
    let mut missing = wanted.to_vec();
    for index in store.packs().iter().rev() {
        if missing.is_empty() {
            break;
        }
        bytes += index.size() - index.lists().start;
        requests += 1;
        let (here, elsewhere) = chunks(store, index, missing, has)?;
        missing = elsewhere;
        let frames: HashSet<_> = here.iter().filter_map(|chunk| index.find(&chunk.name())).collect();
        let ranges: Vec<Range<u64>> = frames.into_iter().map(|frame| index.range(frame)).collect();
        let plan = plan(&ranges, &PlanLimits::default());
        requests += plan.len();
        bytes += plan
            .iter()
            .map(|request| request.range.end - request.range.start)
            .sum::<u64>();
    }
    ensure!(
        missing.is_empty(),
        "{} contents are in no pack ({old_packs} old ones)",
        missing.len()
    );
    Ok((bytes, requests))
}

/// The chunks of these contents that are in this pack, and the contents that are not.
fn chunks(
    store: &PackStore,
    index: &PackIndex,
    contents: Vec<ContentRef>,
    has: &HashSet<dhow_store::ObjectId>,
) -> Result<(Vec<ContentRef>, Vec<ContentRef>)> {
    let (mut here, mut elsewhere, mut left) = (Vec::new(), Vec::new(), contents);
    while let Some(content) = left.pop() {
        match index.find(&content.name()) {
            _ if has.contains(&content.digest) => {}
            None => elsewhere.push(content),
            Some(frame) if index.is_list(frame) => left.extend(store.parts(&content)?),
            Some(_) => here.push(content),
        }
    }
    Ok((here, elsewhere))
}

/// Bytes and number of the chunks in the store, once `tree` is in it too.
pub(crate) fn casync(tree: &Path, store: &Path, scratch: &Path) -> Result<(u64, usize)> {
    let made = Command::new("casync")
        .arg("make")
        .arg(format!("--store={}", store.display()))
        .arg(scratch.join("tree.caidx"))
        .arg(tree)
        .output()
        .context("could not run `casync` (Debian: casync)")?;
    ensure!(
        made.status.success(),
        "`casync make` failed: {}",
        String::from_utf8_lossy(&made.stderr)
    );
    let mut sum = (0, 0);
    for file in files(store)? {
        sum = (sum.0 + file.metadata()?.len(), sum.1 + 1);
    }
    Ok(sum)
}

/// All regular files beneath a directory, in the order of their paths.
pub(crate) fn files(root: &Path) -> Result<Vec<PathBuf>> {
    let mut entries = fs::read_dir(root)?
        .map(|entry| Ok(entry?.path()))
        .collect::<Result<Vec<_>>>()?;
    entries.sort();
    let mut found = Vec::new();
    for path in entries {
        let kind = path.symlink_metadata()?.file_type();
        if kind.is_dir() {
            found.extend(files(&path)?);
        } else if kind.is_file() {
            found.push(path);
        }
    }
    Ok(found)
}
