use std::{
    fs::File,
    io::{self, BufReader, Seek},
    os::unix::fs::FileExt,
    path::Path,
};

use dhow_image::ImageId;

use super::Range;
use crate::{
    delta::DeltaError,
    object::ObjectId,
    recipe::{RecipeReader, Record, records_of},
    store::Store,
};

/// Of an image with more objects no patch is made or taken; one takes 40 bytes of memory.
const MOST_OBJECTS: usize = 400_000;

/// The image that a patch starts from, as sources of prefixes.
pub(super) struct Base<'a> {
    store: &'a Store,
    records: File,
    records_size: u64,
    objects: Vec<(ObjectId, u64)>,
}

impl<'a> Base<'a> {
    pub(super) fn open(store: &'a Store, id: &ImageId, scratch: &Path) -> Result<Self, DeltaError> {
        let (records, records_size) = records(store, id, scratch)?;
        let mut objects = Vec::new();
        let mut recipe = RecipeReader::new(store.image_dir(id)?.recipe()?).map_err(DeltaError::Base)?;
        while let Some(record) = recipe.next().map_err(DeltaError::Base)? {
            if let Record::Object(id, size) = record {
                objects.push((id, size));
            }
            if objects.len() > MOST_OBJECTS {
                return Err(DeltaError::TooMany {
                    contents: objects.len(),
                });
            }
        }
        Ok(Self {
            store,
            records,
            records_size,
            objects,
        })
    }

    /// The contents that need not travel.
    pub(super) fn objects(&self) -> impl Iterator<Item = ObjectId> {
        self.objects.iter().map(|(id, _)| *id)
    }

    /// How many bytes a source has, if there is such a one.
    pub(super) fn size(&self, source: u32) -> Option<u64> {
        match (source as usize).checked_sub(1) {
            None => Some(self.records_size),
            Some(place) => self.objects.get(place).map(|(_, size)| *size),
        }
    }

    /// Adds a range, which is within its source, to a prefix.
    pub(super) fn append(&self, range: &Range, prefix: &mut Vec<u8>) -> Result<(), DeltaError> {
        let start = prefix.len();
        prefix.resize(start + range.length as usize, 0);
        let read = |file: &File, prefix: &mut [u8]| file.read_exact_at(prefix, range.start);
        let read = match (range.source as usize).checked_sub(1) {
            None => read(&self.records, &mut prefix[start..]),
            Some(place) => {
                let file = self.store.open_object(&self.objects[place].0);
                file.and_then(|file| read(&file, &mut prefix[start..]))
            }
        };
        read.map_err(DeltaError::Base)
    }
}

/// The records of an image's recipe as a file without a name, and how many bytes they have.
pub(super) fn records(store: &Store, id: &ImageId, scratch: &Path) -> Result<(File, u64), DeltaError> {
    let recipe = BufReader::new(store.image_dir(id)?.recipe()?);
    let mut file = tempfile::tempfile_in(scratch).map_err(DeltaError::Temporary)?;
    let mut records = records_of(recipe).map_err(DeltaError::Base)?;
    let size = io::copy(&mut records, &mut file).map_err(DeltaError::Base)?;
    file.rewind().map_err(DeltaError::Temporary)?;
    Ok((file, size))
}
