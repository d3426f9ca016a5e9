use std::{
    collections::HashMap,
    fs::{File, OpenOptions},
    io::{self, Read},
    ops::Range,
    os::unix::fs::FileExt,
    path::PathBuf,
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
};

use super::DeltaPack;
use crate::pack::{Backend, PackId, Put};

/// The parts of packs that have come, each where it is in its pack: files with holes in a directory.
pub struct SparsePacks {
    directory: PathBuf,
    location: String,
    packs: HashMap<PackId, SparsePack>,
}

/// As long as this lives, more is coming: whoever reads what is not here waits for it. Once it is gone, that is an error.
pub struct Coming(Arc<SparsePacks>);

struct SparsePack {
    sparse: Mutex<Sparse>,
    /// Rung when something has come, and when nothing more is coming.
    bell: Condvar,
}

struct Sparse {
    size: u64,
    file: Option<Arc<File>>,
    /// What has come: in order, and not touching.
    present: Vec<Range<u64>>,
    is_coming: bool,
}

impl SparsePacks {
    pub(super) fn new(directory: PathBuf, packs: &[DeltaPack]) -> Self {
        let sparse = |size| SparsePack {
            sparse: Mutex::new(Sparse {
                size,
                file: None,
                present: Vec::new(),
                is_coming: false,
            }),
            bell: Condvar::new(),
        };
        Self {
            location: directory.display().to_string(),
            directory,
            packs: packs.iter().map(|pack| (pack.id, sparse(pack.size))).collect(),
        }
    }

    /// Says that more is coming, as long as what this gives lives.
    pub fn coming(self: &Arc<Self>) -> Coming {
        for pack in self.packs.values() {
            pack.lock().is_coming = true;
        }
        Coming(self.clone())
    }

    /// Keeps bytes of a pack. They count as there once [`Self::came`] says so.
    pub fn write(&self, pack: &PackId, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let file = {
            let mut sparse = self.sparse(pack)?.lock();
            let end = offset.checked_add(bytes.len() as u64);
            if end.is_none_or(|end| end > sparse.size) {
                return Err(io::ErrorKind::InvalidInput.into());
            }
            match &sparse.file {
                Some(file) => file.clone(),
                None => {
                    let path = self.directory.join(pack.to_string());
                    let file = OpenOptions::new().read(true).write(true).create_new(true).open(path)?;
                    sparse.file.insert(Arc::new(file)).clone()
                }
            }
        };
        file.write_all_at(bytes, offset)
    }

    /// Says that all bytes of a range have been written.
    pub fn came(&self, pack: &PackId, range: Range<u64>) -> io::Result<()> {
        let pack = self.sparse(pack)?;
        let present = &mut pack.lock().present;
        let first = present.partition_point(|other| other.end < range.start);
        let last = present.partition_point(|other| other.start <= range.end);
        let touching = &present[first..last];
        let start = touching
            .first()
            .map_or(range.start, |other| other.start.min(range.start));
        let end = touching.last().map_or(range.end, |other| other.end.max(range.end));
        present.splice(first..last, std::iter::once(start..end));
        pack.bell.notify_all();
        Ok(())
    }

    /// Whether a range of a pack is here.
    pub(super) fn has(&self, pack: &PackId, range: &Range<u64>) -> bool {
        let pack = self.sparse(pack);
        pack.is_ok_and(|pack| pack.lock().has(range))
    }

    fn sparse(&self, id: &PackId) -> io::Result<&SparsePack> {
        self.packs.get(id).ok_or(io::ErrorKind::NotFound.into())
    }
}

impl Drop for Coming {
    fn drop(&mut self) {
        for pack in self.0.packs.values() {
            pack.lock().is_coming = false;
            pack.bell.notify_all();
        }
    }
}

impl SparsePack {
    fn lock(&self) -> MutexGuard<'_, Sparse> {
        self.sparse.lock().unwrap_or_else(PoisonError::into_inner)
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
            true => Ok(Some(self.sparse(pack)?.lock().size)),
            false => Ok(None),
        }
    }

    fn read(&self, pack: &PackId, range: Range<u64>) -> io::Result<Option<Vec<u8>>> {
        let pack = self.sparse(pack)?;
        let mut sparse = pack.lock();
        while !sparse.has(&range) {
            if !sparse.is_coming {
                return Err(io::Error::new(
                    io::ErrorKind::UnexpectedEof,
                    "a part of it has not come",
                ));
            }
            sparse = pack.bell.wait(sparse).unwrap_or_else(PoisonError::into_inner);
        }
        let file = sparse.file.clone();
        drop(sparse);
        let mut bytes = vec![0; (range.end - range.start) as usize];
        if let Some(file) = file {
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
