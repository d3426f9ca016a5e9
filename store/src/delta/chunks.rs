use std::{
    collections::HashMap,
    fs::File,
    io::{self, Seek},
};

use sha2::{Digest, Sha256};

use crate::{
    object::ObjectId,
    pack::{Chunker, ContentRef, ListBuilder},
};

/// Of a larger file, only the first chunks are known: some 6 GB of them, or 4 GB where packs are sealed.
const MOST: usize = 200_000;

/// Where in a file its chunks are, and the lists of chunks that a packer would make of it.
pub(super) struct Chunks {
    file: File,
    places: HashMap<ObjectId, (u64, u64)>,
}

impl Chunks {
    /// Cuts a file as the packer did.
    pub(super) fn of(mut file: File, chunker: &Chunker) -> io::Result<Self> {
        file.rewind()?;
        let mut places = HashMap::new();
        let (mut lists, mut end) = (ListBuilder::new(chunker), 0u64);
        let mut is_all = true;
        chunker.cut(&file, |chunk| {
            end += chunk.len() as u64;
            is_all &= places.len() < MOST;
            if !is_all {
                return io::Result::Ok(());
            }
            let content = ContentRef::plain(ObjectId(Sha256::digest(chunk).into()), chunk.len() as u64);
            places.insert(content.digest, (end - content.length, content.length));
            lists.add(chunk, content, |list| {
                places.insert(list.digest, (end - list.length, list.length));
                Ok(ContentRef::plain(list.digest, list.length))
            })
        })?;
        if is_all {
            lists.finish(|list| {
                places.insert(list.digest, (end - list.length, list.length));
                io::Result::Ok(ContentRef::plain(list.digest, list.length))
            })?;
        }
        Ok(Self { file, places })
    }

    /// Where a content begins, if it is in the file.
    pub(super) fn find(&self, content: &ContentRef) -> Option<u64> {
        let (start, length) = self.places.get(&content.digest)?;
        (*length == content.length).then_some(*start)
    }

    /// The file.
    pub(super) fn file(&self) -> io::Result<File> {
        self.file.try_clone()
    }
}
