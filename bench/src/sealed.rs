//! What an update costs in packs that are sealed, and what of it: where a file is cut depends on the secret.

use std::{
    collections::HashSet,
    fmt::{self, Write as _},
    fs::{self, File},
    path::Path,
    sync::Arc,
    time::Instant,
};

use anyhow::{Context, Result};
use dhow_image::Name;
use dhow_store::{
    Standing, Store,
    delta::{Delta, HeadRecipe, SealedRecipe},
    pack::{Backend, ContentRef, Directory, Layers, PackIndex, PackStore, Secret},
};

use crate::delta::{Fetched, NAME, SIGNATURE, archive, byte_trees, follow, head, pack};

/// What the second version costs where packs are sealed.
pub(crate) struct Sealed {
    /// For a recipient who has the first.
    pub(crate) update: Fetched,
    /// How many bytes the new packs have.
    pub(crate) added: u64,
    pub(crate) parts: Parts,
}

/// What the bytes of head and new packs are. All are bytes.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Parts {
    head: u64,
    records: u64,
    keys: u64,
    contents: u64,
    lists: u64,
    index: u64,
}

impl fmt::Display for Parts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            head,
            records,
            keys,
            contents,
            lists,
            index,
        } = self;
        write!(
            f,
            "head and signature {head}, recipe {records}, keys {keys}, contents {contents}, lists {lists}, index {index} bytes"
        )
    }
}

/// Seals two archives, and fetches the second with the first at hand, as a recipient does.
pub(crate) fn sealed(archives: [&Path; 2], secret: &Secret, level: i32, scratch: &Path) -> Result<Sealed> {
    let [first, second] = archives;
    fs::create_dir_all(scratch)?;
    let backend: Arc<dyn Backend> = Arc::new(Directory::open(&scratch.join("packs"))?);
    let layers = Layers::plain().compressed(level).sealed(secret.clone());
    let old = pack(first, &backend, &[], &layers, scratch)?;
    let new = pack(second, &backend, &old.packs, &layers, scratch)?;
    let recipe = SealedRecipe {
        id: new.id,
        records: new.recipe.clone(),
        keys: new.keys.clone().context("what is sealed has keys")?,
        chunker_seed: secret.chunker_seed(),
    };
    // As long as a message for one key of Curve25519 is, nearly.
    let message = vec![0; recipe.to_bytes().len() + 200];
    let added = new.statistics.stored;
    let head = head(new, second, HeadRecipe::Sealed(message))?;
    let is_old = |pack: &&dhow_store::delta::DeltaPack| old.packs.iter().any(|old| old.id == pack.id);
    let new_packs = head.packs.iter().filter(|pack| !is_old(pack)).map(|pack| pack.id);
    let packs = PackStore::open(backend.clone(), new_packs)?;
    let parts = parts(&packs, &recipe, head.to_bytes().len() as u64 + SIGNATURE)?;

    let store = Arc::new(Store::open(&scratch.join("recipient"))?);
    let held = store.stage(File::open(first)?)?;
    held.commit(&serde_json::json!({}), Standing::Verified)?;
    let began = Instant::now();
    let delta = Delta::opened(store.clone(), head, recipe, &Name::new(NAME)?)?;
    Ok(Sealed {
        update: follow(&store, delta, &backend, began)?,
        added,
        parts,
    })
}

/// The same of one byte that changed in a file of 100 MB, with so many secrets.
pub fn secrets(count: usize, level: i32, scratch: &Path) -> Result<String> {
    let [old, new] = byte_trees(scratch)?;
    let archives = [archive(&old, scratch, "first")?, archive(&new, scratch, "second")?];
    let mut text = format!("one byte changed in 100 MB of noise, sealed, {count} secrets, level {level}\n");
    let mut all = Vec::new();
    for number in 0..count {
        let place = scratch.join("sealed");
        let sealed = sealed([&archives[0], &archives[1]], &Secret::generate()?, level, &place)?;
        fs::remove_dir_all(&place)?;
        let Fetched { bytes, requests, .. } = sealed.update;
        writeln!(
            text,
            "{number:>4} {bytes:>8} bytes, {requests} requests: {}",
            sealed.parts
        )?;
        all.push(bytes);
    }
    all.sort_unstable();
    let (Some(least), Some(most)) = (all.first(), all.last()) else {
        return Ok(text);
    };
    let mean = all.iter().sum::<u64>() / all.len() as u64;
    writeln!(
        text,
        "all  {mean:>8} bytes in the mean, from {least} to {most}; ratio of the most to 100 KB {:.2}",
        *most as f64 / 1e5
    )?;
    Ok(text)
}

/// What is in new packs.
fn parts(packs: &PackStore, recipe: &SealedRecipe, head: u64) -> Result<Parts> {
    let mut parts = Parts {
        head,
        records: frames(packs, &recipe.records)?,
        keys: frames(packs, &recipe.keys)?,
        ..Parts::default()
    };
    for index in packs.packs() {
        let length = |frame| {
            let range = index.range(frame);
            range.end - range.start
        };
        let bytes: u64 = index.frames().filter(|frame| !index.is_list(*frame)).map(length).sum();
        parts.contents += bytes;
        parts.lists += index.lists().end - index.lists().start;
        parts.index += index_length(index);
    }
    parts.contents -= parts.records + parts.keys;
    Ok(parts)
}

/// Index, tail and magic of a pack.
fn index_length(index: &PackIndex) -> u64 {
    12 + index.size() - index.lists().end
}

/// How many bytes the frames have in which these packs have a content.
fn frames(packs: &PackStore, content: &ContentRef) -> Result<u64> {
    let (mut sum, mut seen, mut left) = (0, HashSet::new(), vec![content.clone()]);
    while let Some(content) = left.pop() {
        let Some(located) = packs.locate(&content.name()).filter(|_| content.length > 0) else {
            continue;
        };
        if located.is_list {
            left.extend(packs.parts(&content)?);
        } else if seen.insert((located.pack, located.range.start)) {
            sum += located.range.end - located.range.start;
        }
    }
    Ok(sum)
}
