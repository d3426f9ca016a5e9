use std::{
    collections::{HashMap, HashSet},
    fs::File,
    io::{self, BufReader, BufWriter, Read, Seek, SeekFrom, Write},
    path::Path,
};

use sha2::{Digest, Sha256};

use super::{
    base::Base,
    read::{PatchReader, wrong},
};
use crate::{
    delta::{DeltaError, DeltaHead},
    object::ObjectId,
    pack::ContentRef,
    recipe::{RecipeHead, RecipeReader, Record, recipe_of},
    store::Store,
};

/// What a patch gave: a recipe, and contents.
pub(in crate::delta) struct Patched {
    contents: File,
    /// Where each content begins.
    places: HashMap<ObjectId, u64>,
}

impl Patched {
    /// Unfolds the head's patch into files in `scratch`: its recipe, and those contents that the store does not have.
    /// All of it is what the digests say that the head and the recipe have.
    pub(in crate::delta) fn read(
        mut patch: File,
        head: &DeltaHead,
        records: &ContentRef,
        store: &Store,
        scratch: &Path,
    ) -> Result<(File, Self), DeltaError> {
        let facts = head.patch.ok_or(wrong("there should be none"))?;
        patch.rewind().map_err(DeltaError::Temporary)?;
        let digest = ObjectId::of(&patch).map_err(DeltaError::Temporary)?;
        if *digest.as_bytes() != facts.digest {
            return Err(wrong("it is not what the recipe says"));
        }
        patch.rewind().map_err(DeltaError::Temporary)?;
        let open = || Base::open(store, &facts.base, scratch);
        let mut stream = PatchReader::new(BufReader::new(patch), &facts.base, &head.id, open)?;
        let recipe = read_recipe(&mut stream, head, records, scratch)?;

        let temporary = || tempfile::tempfile_in(scratch).map_err(DeltaError::Temporary);
        let mut contents = BufWriter::new(temporary()?);
        let (mut places, mut end) = (HashMap::new(), 0);
        let mut seen: HashSet<_> = stream.base().objects().collect();
        let mut records = recipe_reader(&recipe)?;
        while let Some(record) = records.next().map_err(DeltaError::Recipe)? {
            let Record::Object(id, size) = record else { continue };
            if !seen.insert(id) {
                continue;
            }
            if store.held_object(&id, size).is_some() {
                copy(&mut stream, size, &id, io::sink())?;
            } else {
                copy(&mut stream, size, &id, &mut contents)?;
                places.insert(id, end);
                end += size;
            }
        }
        stream.finish()?;
        let contents = contents.into_inner().map_err(|error| error.into_error());
        let contents = contents.map_err(DeltaError::Temporary)?;
        Ok((recipe, Self { contents, places }))
    }

    pub(in crate::delta) fn has(&self, id: &ObjectId) -> bool {
        self.places.contains_key(id)
    }

    /// A content, if it is one of these. It is to be read before another is asked for: they share a position.
    pub(in crate::delta) fn content(&self, id: &ObjectId, size: u64) -> io::Result<Option<io::Take<File>>> {
        let Some(place) = self.places.get(id) else {
            return Ok(None);
        };
        let mut file = self.contents.try_clone()?;
        file.seek(SeekFrom::Start(*place))?;
        Ok(Some(file.take(size)))
    }
}

/// Takes the records, and makes a recipe of them.
fn read_recipe(
    stream: &mut PatchReader<'_, impl Read>,
    head: &DeltaHead,
    content: &ContentRef,
    scratch: &Path,
) -> Result<File, DeltaError> {
    let temporary = || tempfile::tempfile_in(scratch).map_err(DeltaError::Temporary);
    let (mut records, recipe) = (temporary()?, temporary()?);
    copy(stream, content.length, &content.digest, &mut records)?;
    records.rewind().map_err(DeltaError::Temporary)?;
    let of = RecipeHead {
        id: head.id,
        tar_size: head.tar_size,
    };
    recipe_of(BufReader::new(records), &of, BufWriter::new(&recipe)).map_err(DeltaError::Recipe)?;
    Ok(recipe)
}

pub(in crate::delta) fn recipe_reader(recipe: &File) -> Result<RecipeReader<BufReader<File>>, DeltaError> {
    let open = || -> io::Result<_> {
        // Readers of one file share its position, and one ends before the next begins.
        let mut file = recipe.try_clone()?;
        file.seek(SeekFrom::Start(0))?;
        RecipeReader::new(file)
    };
    open().map_err(DeltaError::Recipe)
}

/// Copies a content out of the stream. It is verified when it is written.
fn copy(
    stream: &mut PatchReader<'_, impl Read>,
    size: u64,
    id: &ObjectId,
    mut out: impl Write,
) -> Result<(), DeltaError> {
    let (mut hasher, mut left) = (Sha256::new(), size);
    while left > 0 {
        let bytes = stream.next(left)?;
        hasher.update(bytes);
        out.write_all(bytes).map_err(DeltaError::Temporary)?;
        left -= bytes.len() as u64;
    }
    match hasher.finalize()[..] == id.as_bytes()[..] {
        true => Ok(()),
        false => Err(wrong("a content in it is not what its digest says")),
    }
}
