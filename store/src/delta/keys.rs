use std::{
    fs::File,
    io::{self, BufReader},
    ops::Range,
    os::unix::fs::FileExt,
};

use super::{
    DeltaError,
    frames::Frames,
    gather::{MAX_CONTENTS, parts_of},
    sealed::KEY,
};
use crate::{
    pack::{ContentKey, ContentRef, PackStore, Piece},
    recipe::{RecipeReader, Record},
    store::Store,
};

/// The keys of those objects of a sealed image that are not in the store: the others need not come.
///
/// The keys that changed since another version are among those that are needed, so they are in the newest pack; to ask
/// for all would mean to look into all packs.
pub(super) struct Keys {
    /// With holes: the key of the *n*th object is at 32 × *n*.
    file: File,
}

/// Which keys are needed.
pub(super) struct WantedKeys {
    content: ContentRef,
    /// Ranges of it, in order.
    ranges: Vec<Range<u64>>,
}

/// Where the keys are, once that is known.
pub(super) struct FoundKeys {
    pub(super) frames: Frames,
    /// Contents that packs have as bytes, and where in the keys each begins.
    leaves: Vec<(ContentRef, u64)>,
}

impl WantedKeys {
    /// Those of the objects of a recipe that the store does not have.
    pub(super) fn of(
        content: ContentRef,
        mut recipe: RecipeReader<BufReader<File>>,
        store: &Store,
    ) -> Result<Self, DeltaError> {
        let mut ranges: Vec<Range<u64>> = Vec::new();
        let mut objects = 0;
        while let Some(record) = recipe.next().map_err(DeltaError::Recipe)? {
            let Record::Object(id, size) = record else { continue };
            let range = objects * KEY..(objects + 1) * KEY;
            objects += 1;
            if objects > MAX_CONTENTS as u64 {
                return Err(DeltaError::TooMany {
                    contents: MAX_CONTENTS + 1,
                });
            }
            if store.held_object(&id, size).is_some() {
                continue;
            }
            match ranges.last_mut() {
                Some(last) if last.end == range.start => last.end = range.end,
                _ => ranges.push(range),
            }
        }
        if content.length != objects * KEY {
            return Err(DeltaError::Head {
                problem: "it has not a key for each object",
            });
        }
        Ok(Self { content, ranges })
    }

    /// Where in the packs they are. The inner error is a content that no open pack has.
    pub(super) fn find(&self, packs: &PackStore) -> Result<Result<FoundKeys, ContentRef>, DeltaError> {
        let mut found = FoundKeys {
            frames: Frames::default(),
            leaves: Vec::new(),
        };
        let mut left = vec![(self.content.clone(), 0, 0)];
        while let Some((content, start, depth)) = left.pop() {
            if !self.is_wanted(start..start + content.length) {
                continue;
            }
            let Some(located) = packs.locate(&content.name()) else {
                return Ok(Err(content));
            };
            if !located.is_list {
                found.frames.add(&located, true);
                found.leaves.push((content, start));
                continue;
            }
            let mut start = start;
            for part in parts_of(packs, &content, located.pack, depth)? {
                let length = part.length;
                left.push((part, start, depth + 1));
                start += length;
            }
        }
        Ok(Ok(found))
    }

    fn is_wanted(&self, part: Range<u64>) -> bool {
        let first = self.ranges.partition_point(|range| range.end <= part.start);
        self.ranges.get(first).is_some_and(|range| range.start < part.end)
    }
}

impl FoundKeys {
    /// Opens what has come.
    pub(super) fn read(&self, packs: &PackStore, file: File) -> Result<Keys, DeltaError> {
        for (content, start) in &self.leaves {
            let Piece::Bytes(bytes) = packs.piece(content)? else {
                return Err(DeltaError::Head {
                    problem: "its keys are not where they were",
                });
            };
            file.write_all_at(&bytes, *start).map_err(DeltaError::Temporary)?;
        }
        Ok(Keys { file })
    }
}

impl Keys {
    /// The key of the *n*th object of the recipe. Of one that was in the store, it is any.
    pub(super) fn of(&self, object: u64) -> io::Result<ContentKey> {
        let mut key = [0; KEY as usize];
        let mut at = 0;
        while at < key.len() {
            match self.file.read_at(&mut key[at..], object * KEY + at as u64)? {
                // Behind the last key that came.
                0 => break,
                read => at += read,
            }
        }
        Ok(ContentKey::from_bytes(key))
    }
}
