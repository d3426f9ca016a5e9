//! Why another image was rebuilt than the head says.

use std::{
    fs::File,
    io::{self, BufReader, Read, Seek, SeekFrom},
};

use super::{Delta, DeltaError, gather::parts_of, patch::recipe_reader};
use crate::{
    object::ObjectId,
    pack::{ContentRef, NOT_ITS_NAME, PackError},
    recipe::{MAX_SMALL, RecipeReader, Record},
    stage::StagedImage,
};

impl Delta {
    /// Why another image was rebuilt than the head says. Its files are looked through now: as long as all is well, what
    /// comes in packs is not checked piece by piece, and most of it is not kept.
    pub fn wrong_image(&self, staged: &StagedImage<'_>) -> DeltaError {
        match self.check_contents(staged) {
            Err(error) => error,
            Ok(()) => DeltaError::WrongImage {
                expected: Box::new(self.head().id),
                found: Box::new(*staged.id()),
            },
        }
    }

    /// Compares the files with what the recipe says of them.
    fn check_contents(&self, staged: &StagedImage<'_>) -> Result<(), DeltaError> {
        let Some(recipe) = &self.recipe else { return Ok(()) };
        let mut said = recipe_reader(recipe)?;
        let mut found = RecipeReader::new(staged.recipe()?).map_err(DeltaError::Recipe)?;
        let mut objects = 0;
        while let Some((digest, length)) = next_object(&mut said)? {
            let number = objects;
            objects += 1;
            // What is short stands in the store's recipes.
            if length <= MAX_SMALL {
                continue;
            }
            match next_object(&mut found)? {
                Some((id, size)) if size == length => {
                    if id != digest && self.store.held_object(&digest, length).is_none() {
                        let key = self.keys.as_ref().map(|keys| keys.of(number)).transpose();
                        let key = key.map_err(DeltaError::Temporary)?;
                        let object = staged.open_object(&id).map_err(DeltaError::Temporary)?;
                        self.check_content(ContentRef { digest, length, key }, object)?;
                    }
                }
                _ => return Ok(()),
            }
        }
        Ok(())
    }

    /// Looks for the pack that has given something else than a content, or a part of it.
    fn check_content(&self, content: ContentRef, mut given: File) -> Result<(), DeltaError> {
        let mut left = vec![(content, 0, 0)];
        while let Some((content, start, depth)) = left.pop() {
            let Some(located) = self.packs.locate(&content.name()) else {
                continue;
            };
            // The rest was here already.
            if !self.sparse.has(&located.pack, &located.range) {
                continue;
            }
            if !located.is_list {
                if digest_of(&mut given, start, content.length).map_err(DeltaError::Temporary)? != content.digest {
                    return Err(DeltaError::Pack(PackError::Damaged {
                        pack: located.pack,
                        problem: NOT_ITS_NAME,
                    }));
                }
                continue;
            }
            let mut start = start;
            for part in parts_of(&self.packs, &content, located.pack, depth)? {
                let length = part.length;
                left.push((part, start, depth + 1));
                start += length;
            }
        }
        Ok(())
    }
}

fn next_object(recipe: &mut RecipeReader<BufReader<File>>) -> Result<Option<(ObjectId, u64)>, DeltaError> {
    while let Some(record) = recipe.next().map_err(DeltaError::Recipe)? {
        if let Record::Object(digest, length) = record {
            return Ok(Some((digest, length)));
        }
    }
    Ok(None)
}

fn digest_of(file: &mut File, start: u64, length: u64) -> io::Result<ObjectId> {
    file.seek(SeekFrom::Start(start))?;
    ObjectId::of(file.take(length))
}
