use std::{collections::HashMap, fs::File, io::BufReader};

use dhow_image::{ArchiveError, EntryKind, ImageId, ImageManifest, TarReader};
use sha2::{Digest, Sha256};

use super::{DeltaError, Reused, chunks::Chunks, frames::Frames, gather::needs, keys::Keys, patch::Patched};
use crate::{
    object::ObjectId,
    pack::{Chunker, ContentRef, PackStore, WHOLE},
    recipe::{RecipeReader, RecipeTar},
    store::Store,
};

/// Of so many files of the base the paths are known; one takes 64 bytes of memory.
const MOST_PATHS: usize = 200_000;

/// What a recipe says of an image, and what of it is to be fetched.
pub(super) struct Survey {
    pub(super) manifest: ImageManifest,
    pub(super) frames: Frames,
    /// Objects of which another object in the store has chunks.
    pub(super) bases: HashMap<ObjectId, ObjectId>,
    pub(super) reused: Reused,
}

/// Where contents may be.
pub(super) struct Places<'a> {
    pub(super) store: &'a Store,
    pub(super) packs: &'a PackStore,
    pub(super) patched: Option<&'a Patched>,
    /// Of a sealed image.
    pub(super) keys: Option<&'a Keys>,
    /// As the packer has cut.
    pub(super) chunker: &'a Chunker,
}

/// A path, shortened to its digest: two paths with one would only cost time.
pub(super) type PathKey = [u8; 16];

impl Survey {
    /// Reads a recipe through. The inner error is a content that no open pack has.
    pub(super) fn of(
        recipe: RecipeReader<BufReader<File>>,
        places: &Places<'_>,
        base: Option<&ImageId>,
    ) -> Result<Result<Self, ContentRef>, DeltaError> {
        let Places {
            store,
            packs,
            patched,
            keys,
            chunker,
        } = *places;
        let base = match base {
            Some(id) => base_files(store, id)?,
            None => HashMap::new(),
        };
        // In a new store, nothing is looked for.
        let holds_some = store.has_objects();
        let mut manifest = None;
        let (mut frames, mut bases) = (Frames::default(), HashMap::new());
        let mut reused = Reused::default();
        let mut objects = 0;
        let mut tar = TarReader::of_known(RecipeTar::new(recipe));
        let outcome = for_each_object(&mut tar, &mut manifest, |path, id, size| {
            let number = objects;
            objects += 1;
            if holds_some && store.held_object(&id, size).is_some() {
                reused.files += size;
                return Ok(None);
            }
            if patched.is_some_and(|patched| patched.has(&id)) {
                reused.patch += size;
                return Ok(None);
            }
            let content = ContentRef {
                digest: id,
                length: size,
                key: keys
                    .map(|keys| keys.of(number))
                    .transpose()
                    .map_err(DeltaError::Temporary)?,
            };
            // Whoever packs cuts no shorter content.
            let known = bases.get(&id).or_else(|| base.get(&path)).copied();
            let old = known.filter(|_| size > WHOLE as u64);
            let chunks = old.and_then(|old| Chunks::of(store.open_object(&old).ok()?, chunker).ok());
            let mut local = 0;
            if let Err(missing) = needs(packs, &content, chunks.as_ref(), &mut frames, &mut local)? {
                return Ok(Some(missing));
            }
            if local > 0
                && let Some(old) = old
            {
                bases.insert(id, old);
            }
            reused.chunks += local;
            reused.packs += size - local.min(size);
            Ok(None)
        })?;
        if let Some(missing) = outcome {
            return Ok(Err(missing));
        }
        Ok(Ok(Self {
            manifest: manifest.ok_or(ArchiveError::NoManifest)?,
            frames,
            bases,
            reused,
        }))
    }
}

/// The larger files of an image in the store, by their paths.
fn base_files(store: &Store, id: &ImageId) -> Result<HashMap<PathKey, ObjectId>, DeltaError> {
    let mut files = HashMap::new();
    let recipe = store.image_dir(id)?.recipe()?;
    let Ok(recipe) = RecipeReader::new(recipe) else {
        return Ok(files);
    };
    let mut tar = TarReader::of_known(RecipeTar::new(recipe));
    // What is damaged in the store is somebody else's affair, and what was read until then is of use.
    let _ = for_each_object(&mut tar, &mut None, |path, id, size| {
        if size > WHOLE as u64 && files.len() < MOST_PATHS {
            files.insert(path, id);
        }
        Ok(None)
    });
    Ok(files)
}

/// Calls `each` with path, digest and size of every object, until it gives something.
pub(super) fn for_each_object(
    tar: &mut TarReader<RecipeTar<BufReader<File>>>,
    manifest: &mut Option<ImageManifest>,
    mut each: impl FnMut(PathKey, ObjectId, u64) -> Result<Option<ContentRef>, DeltaError>,
) -> Result<Option<ContentRef>, DeltaError> {
    while let Some(entry) = tar.next_entry()? {
        tar.take_framing();
        match entry.kind {
            EntryKind::Manifest { .. } => *manifest = Some(tar.read_manifest()?.0),
            EntryKind::File { size: size @ 1.. } => match tar.get_mut().object().map_err(DeltaError::Recipe)? {
                Some((id, of_object)) if of_object == size => {
                    tar.get_mut().leave_out_object();
                    tar.leave_out_content();
                    let digest = Sha256::digest(entry.path.as_bytes());
                    let key = *digest.first_chunk().expect("a SHA-256 has 32 bytes");
                    if let Some(end) = each(key, id, size)? {
                        return Ok(Some(end));
                    }
                }
                Some(_) => {
                    return Err(DeltaError::Head {
                        problem: "an object in it is not as long as its file",
                    });
                }
                None => {}
            },
            _ => {}
        }
    }
    Ok(None)
}
