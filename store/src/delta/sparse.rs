use std::{
    collections::HashMap,
    fs::{File, OpenOptions},
    io::{self, Read},
    ops::Range,
    os::unix::fs::FileExt,
    path::PathBuf,
    sync::{Mutex, PoisonError},
};

use super::DeltaPack;
use crate::pack::{Backend, PackId, Put};

/// The parts of packs that have come, each where it is in its pack: files with holes in a directory.
pub struct SparsePacks {
    directory: PathBuf,
    location: String,
    packs: HashMap<PackId, Mutex<Sparse>>,
}

struct Sparse {
    size: u64,
    file: Option<File>,
    /// What has come: in order, and not touching.
    present: Vec<Range<u64>>,
}

impl SparsePacks {
    pub(super) fn new(directory: PathBuf, packs: &[DeltaPack]) -> Self {
        let sparse = |size| Sparse {
            size,
            file: None,
            present: Vec::new(),
        };
        Self {
            location: directory.display().to_string(),
            directory,
            packs: packs
                .iter()
                .map(|pack| (pack.id, Mutex::new(sparse(pack.size))))
                .collect(),
        }
    }

    /// Keeps bytes of a pack. They count as there once [`Self::came`] says so.
    pub fn write(&self, pack: &PackId, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let mut pack = self.sparse(pack)?;
        if offset
            .checked_add(bytes.len() as u64)
            .is_none_or(|end| end > pack.1.size)
        {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        let file = match &pack.1.file {
            Some(file) => file,
            None => {
                let path = self.directory.join(pack.0.to_string());
                let file = OpenOptions::new().read(true).write(true).create_new(true).open(path)?;
                pack.1.file.insert(file)
            }
        };
        file.write_all_at(bytes, offset)
    }

    /// Says that all bytes of a range have been written.
    pub fn came(&self, pack: &PackId, range: Range<u64>) -> io::Result<()> {
        let present = &mut self.sparse(pack)?.1.present;
        let first = present.partition_point(|other| other.end < range.start);
        let last = present.partition_point(|other| other.start <= range.end);
        let touching = &present[first..last];
        let start = touching
            .first()
            .map_or(range.start, |other| other.start.min(range.start));
        let end = touching.last().map_or(range.end, |other| other.end.max(range.end));
        present.splice(first..last, std::iter::once(start..end));
        Ok(())
    }

    /// Whether a range of a pack is here.
    pub(super) fn has(&self, pack: &PackId, range: &Range<u64>) -> bool {
        let pack = self.sparse(pack);
        pack.is_ok_and(|pack| pack.1.has(range))
    }

    fn sparse<'a>(&'a self, id: &PackId) -> io::Result<(PackId, std::sync::MutexGuard<'a, Sparse>)> {
        let pack = self.packs.get(id).ok_or(io::ErrorKind::NotFound)?;
        Ok((*id, pack.lock().unwrap_or_else(PoisonError::into_inner)))
    }
}

impl Sparse {
    fn has(&self, range: &Range<u64>) -> bool {
        let after = self.present.partition_point(|other| other.start <= range.start);
        after > 0 && self.present[after - 1].end >= range.end
    }
}

impl Backend for SparsePacks {
    fn location(&self) -> &str {
        &self.location
    }

    fn size(&self, pack: &PackId) -> io::Result<Option<u64>> {
        match self.packs.contains_key(pack) {
            true => Ok(Some(self.sparse(pack)?.1.size)),
            false => Ok(None),
        }
    }

    fn read(&self, pack: &PackId, range: Range<u64>) -> io::Result<Option<Vec<u8>>> {
        let (_, sparse) = self.sparse(pack)?;
        if !sparse.has(&range) {
            return Err(io::Error::new(
                io::ErrorKind::UnexpectedEof,
                "a part of it has not come",
            ));
        }
        let mut bytes = vec![0; (range.end - range.start) as usize];
        if let Some(file) = &sparse.file {
            file.read_exact_at(&mut bytes, range.start)?;
        }
        Ok(Some(bytes))
    }

    fn put(&self, _: &PackId, _: u64, _: &mut dyn Read) -> io::Result<Put> {
        Err(io::ErrorKind::Unsupported.into())
    }

    fn list(&self) -> io::Result<Vec<PackId>> {
        Ok(self.packs.keys().copied().collect())
    }

    fn delete(&self, _: &PackId) -> io::Result<bool> {
        Err(io::ErrorKind::Unsupported.into())
    }
}
