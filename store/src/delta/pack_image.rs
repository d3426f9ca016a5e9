use std::{
    collections::HashSet,
    io::{BufRead, BufReader, BufWriter, Read, Seek, SeekFrom, Write},
    ops::Range,
    path::Path,
    sync::Arc,
};

use dhow_image::{ArchiveError, EntryKind, ImageId, Limits, TarReader, with_tar};
use sha2::{Digest, Sha256};

use super::{DeltaError, DeltaPack};
use crate::{
    entry_content::EntryContent,
    object::ObjectId,
    pack::{Backend, ContentRef, Layers, PackId, PackStore, PackWriter, Piece, Statistics},
    recipe::{MAX_SMALL, RecipeHead, RecipeReader, RecipeWriter, Record, records_of},
};

/// A smaller pack comes whole with one request.
const SMALL_PACK: u64 = 200_000;

/// How an image is put into packs.
#[derive(Clone, Debug)]
pub struct PackOptions<'a> {
    /// How large the image may be.
    pub limits: Limits,
    /// What every frame goes through.
    pub layers: Layers,
    /// A directory for temporary files: the new packs are written there first.
    pub scratch: &'a Path,
}

/// An image that is in packs.
#[derive(Clone, Debug)]
pub struct PackedImage {
    /// Its ID.
    pub id: ImageId,
    /// How many bytes its tar has.
    pub tar_size: u64,
    /// The records of its recipe.
    pub recipe: ContentRef,
    /// The keys of its objects, where packs are sealed.
    pub keys: Option<ContentRef>,
    /// The packs that have something of it, the oldest first.
    pub packs: Vec<DeltaPack>,
    /// What was new.
    pub statistics: Statistics,
}

/// Puts an image's contents and its recipe into a backend: what `known` packs do not have, into new ones.
pub fn pack_image(
    archive: impl Read + Send,
    backend: &Arc<dyn Backend>,
    known: &[DeltaPack],
    options: &PackOptions<'_>,
) -> Result<PackedImage, DeltaError> {
    let old = PackStore::open(backend.clone(), known.iter().map(|pack| pack.id))?;
    let mut writer = old.writer(options.layers.clone(), options.scratch);
    let recipe_file = tempfile::tempfile_in(options.scratch).map_err(DeltaError::Temporary)?;
    let mut recipe = RecipeWriter::new(BufWriter::new(recipe_file)).map_err(DeltaError::Temporary)?;
    let keys_file = tempfile::tempfile_in(options.scratch).map_err(DeltaError::Temporary)?;
    let mut keys = BufWriter::new(&keys_file);
    let ((), id, tar_size) = with_tar(archive, |tar| {
        let mut tar = TarReader::with_limits(tar, options.limits);
        read_entries(&mut tar, &mut writer, &mut recipe, &mut keys)
    })?;
    keys.into_inner()
        .map_err(|error| DeltaError::Temporary(error.into_error()))?;
    let recipe = recipe.finish(&RecipeHead { id, tar_size });
    let recipe = recipe.and_then(|recipe| recipe.into_inner().map_err(|error| error.into_error()));
    let mut file = recipe.map_err(DeltaError::Temporary)?;

    // The recipe is what a client wants first: it stands directly before lists and index.
    writer.end_frame()?;
    file.seek(SeekFrom::Start(0)).map_err(DeltaError::Temporary)?;
    let records = records_of(&file).map_err(DeltaError::Recipe)?;
    let recipe = writer.put(records)?;
    (&keys_file).seek(SeekFrom::Start(0)).map_err(DeltaError::Temporary)?;
    let keys = match recipe.key {
        Some(_) => Some(writer.put_keys(&keys_file)?),
        None => None,
    };
    let (new, statistics) = writer.finish()?;

    let all = PackStore::open(
        backend.clone(),
        known.iter().map(|pack| pack.id).chain(new.iter().copied()),
    )?;
    let mut used = Used::new(&all);
    used.add(&recipe, true)?;
    if let Some(keys) = keys.as_ref().filter(|keys| keys.length > 0) {
        used.add(keys, true)?;
    }
    file.seek(SeekFrom::Start(0)).map_err(DeltaError::Temporary)?;
    let mut records = RecipeReader::new(BufReader::new(file)).map_err(DeltaError::Recipe)?;
    while let Some(record) = records.next().map_err(DeltaError::Recipe)? {
        if let Record::Object(id, size) = record {
            used.add(&options.layers.content(id, size), false)?;
        }
    }
    let mut packs: Vec<_> = known
        .iter()
        .filter(|pack| used.packs.contains(&pack.id))
        .copied()
        .collect();
    for pack in new {
        packs.push(end_of(&all, pack, &used.recipe_frames)?);
    }
    Ok(PackedImage {
        id,
        tar_size,
        recipe,
        keys,
        packs,
        statistics,
    })
}

/// Reads every entry: contents into packs, but for small ones, all else into the recipe. The keys of what goes into sealed
/// packs go where `keys` says.
fn read_entries(
    tar: &mut TarReader<impl BufRead>,
    writer: &mut PackWriter<'_>,
    recipe: &mut RecipeWriter<impl Write + Seek>,
    keys: &mut impl Write,
) -> Result<(), DeltaError> {
    let mut has_manifest = false;
    loop {
        let entry = tar.next_entry()?;
        let mut framing = tar.take_framing();
        let Some(entry) = entry else {
            recipe.framing(&framing).map_err(DeltaError::Temporary)?;
            return match has_manifest {
                true => Ok(()),
                false => Err(ArchiveError::NoManifest.into()),
            };
        };
        match entry.kind {
            EntryKind::Manifest { .. } => {
                framing.extend(tar.read_manifest()?.1);
                has_manifest = true;
            }
            EntryKind::File { size: ..=MAX_SMALL } => {
                framing.extend(tar.read_content_to_end()?);
            }
            _ => {}
        }
        recipe.framing(&framing).map_err(DeltaError::Temporary)?;
        if let EntryKind::File { size } = entry.kind
            && size > MAX_SMALL
        {
            let mut content = EntryContent::of(tar);
            let put = writer.put(&mut content);
            content.check()?;
            let content = put?;
            recipe.object(&content.digest, size).map_err(DeltaError::Temporary)?;
            if let Some(key) = &content.key {
                keys.write_all(key.expose()).map_err(DeltaError::Temporary)?;
            }
        }
    }
}

/// Which packs have what an image is made of.
struct Used<'a> {
    store: &'a PackStore,
    packs: HashSet<PackId>,
    recipe_frames: HashSet<(PackId, Range<u64>)>,
    lists: HashSet<ObjectId>,
}

impl<'a> Used<'a> {
    fn new(store: &'a PackStore) -> Self {
        Self {
            store,
            packs: HashSet::new(),
            recipe_frames: HashSet::new(),
            lists: HashSet::new(),
        }
    }

    fn add(&mut self, content: &ContentRef, is_recipe: bool) -> Result<(), DeltaError> {
        let mut left = vec![content.clone()];
        while let Some(content) = left.pop() {
            let Some(located) = self.store.locate(&content.name()) else {
                // What is missing is told as such.
                self.store.piece(&content)?;
                continue;
            };
            self.packs.insert(located.pack);
            if located.is_list {
                if (is_recipe || self.lists.insert(content.digest))
                    && let Piece::Parts(parts) = self.store.piece(&content)?
                {
                    left.extend(parts);
                }
            } else if is_recipe {
                self.recipe_frames.insert((located.pack, located.range));
            }
        }
        Ok(())
    }
}

/// Where the end of a pack begins: with the frames of the recipe and its keys that stand last, or the lists.
fn end_of(store: &PackStore, pack: PackId, recipe: &HashSet<(PackId, Range<u64>)>) -> Result<DeltaPack, DeltaError> {
    let index = store.packs().iter().find(|index| *index.pack() == pack);
    let index = index.expect("a pack that was written just now is open");
    let mut end = index.lists().start;
    let frames: Vec<_> = index.frames().filter(|frame| !index.is_list(*frame)).collect();
    for frame in frames.into_iter().rev() {
        let range = index.range(frame);
        if !recipe.contains(&(pack, range.clone())) {
            break;
        }
        end = range.start;
    }
    let size = index.size();
    if size <= SMALL_PACK {
        end = 0;
    }
    let mut hasher = Sha256::new();
    for range in pieces(end..size) {
        hasher.update(store.read(&pack, range)?);
    }
    Ok(DeltaPack {
        id: pack,
        size,
        end,
        end_digest: hasher.finalize().into(),
    })
}

/// A range in pieces of a MiB.
pub(super) fn pieces(range: Range<u64>) -> impl Iterator<Item = Range<u64>> {
    const PIECE: u64 = 1 << 20;
    let end = range.end;
    (range.start..end)
        .step_by(PIECE as usize)
        .map(move |start| start..end.min(start + PIECE))
}

impl From<ArchiveError> for DeltaError {
    fn from(error: ArchiveError) -> Self {
        Self::Image(error)
    }
}
