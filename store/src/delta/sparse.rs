use std::{
    collections::HashMap,
    fs::{File, OpenOptions},
    io::{self, Read},
    ops::Range,
    os::unix::fs::FileExt,
    path::PathBuf,
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, Waker},
};

use super::{
    DeltaPack,
    passing::{Found, Passing},
};
use crate::pack::{Backend, PackId, Put};

/// Of what is read once, so many bytes are held in memory; what comes while there are more goes into a file.
const MOST_HELD: usize = 2 << 20;

/// So many buffers are kept for what is held next.
const MOST_SPARE: usize = 8;

/// The parts of packs that have come.
///
/// What is read once, while more is coming, goes through memory. All else is kept in files with holes in a directory, each
/// byte where it is in its pack.
pub struct SparsePacks {
    directory: PathBuf,
    location: String,
    state: Mutex<State>,
    /// Rung when something has come, and when nothing more is coming.
    bell: Condvar,
}

/// As long as this lives, more is coming: whoever reads what is not here waits for it. Once it is gone, that is an error.
pub struct Coming(Arc<SparsePacks>);

struct State {
    packs: HashMap<PackId, Sparse>,
    is_coming: bool,
    /// How many bytes are held in memory.
    held: usize,
    /// Whether so much was held that nothing more should come until half of it is read. Whoever brings and whoever reads
    /// would otherwise wake each other for each frame.
    is_full: bool,
    /// Memory of frames that were read.
    spare: Vec<Vec<u8>>,
    /// What somebody waits for.
    awaited: Vec<(PackId, Range<u64>)>,
    /// Those who wait until there is room.
    waiting: Vec<Waker>,
}

struct Sparse {
    size: u64,
    file: Option<Arc<File>>,
    passing: Passing,
    /// What has come: in order, and not touching.
    present: Vec<Range<u64>>,
}

impl SparsePacks {
    pub(super) fn new(directory: PathBuf, packs: &[DeltaPack]) -> Self {
        let sparse = |size| Sparse {
            size,
            file: None,
            passing: Passing::default(),
            present: Vec::new(),
        };
        Self {
            location: directory.display().to_string(),
            directory,
            state: Mutex::new(State {
                packs: packs.iter().map(|pack| (pack.id, sparse(pack.size))).collect(),
                is_coming: false,
                held: 0,
                is_full: false,
                spare: Vec::new(),
                awaited: Vec::new(),
                waiting: Vec::new(),
            }),
            bell: Condvar::new(),
        }
    }

    /// Says that more is coming, as long as what this gives lives.
    pub fn coming(self: &Arc<Self>) -> Coming {
        self.lock().is_coming = true;
        Coming(self.clone())
    }

    /// Frames that are read once, in the order of their packs' bytes. Of those that have come in part nothing changes.
    pub(super) fn expect<'a>(&self, frames: impl Iterator<Item = (&'a PackId, Range<u64>)>) {
        let mut state = self.lock();
        for (pack, range) in frames {
            if let Some(sparse) = state.packs.get_mut(pack)
                && !sparse.has_some(&range)
            {
                sparse.passing.expect(range);
            }
        }
    }

    /// Keeps bytes of a pack. They count as there once [`Self::came`] says so.
    pub fn write(&self, pack: &PackId, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let mut state = self.lock();
        let State {
            packs,
            held,
            is_full,
            spare,
            ..
        } = &mut *state;
        let sparse = packs.get_mut(pack).ok_or(io::ErrorKind::NotFound)?;
        let end = offset.checked_add(bytes.len() as u64);
        if end.is_none_or(|end| end > sparse.size) {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        let buffer = |length| {
            if *held >= MOST_HELD {
                return None;
            }
            *held += length;
            *is_full |= *held >= MOST_HELD;
            let mut buffer: Vec<u8> = spare.pop().unwrap_or_default();
            buffer.clear();
            buffer.reserve_exact(length);
            Some(buffer)
        };
        let mut others = Vec::new();
        sparse
            .passing
            .take(offset, bytes, buffer, |at, bytes| others.push((at, bytes)));
        if others.is_empty() {
            return Ok(());
        }
        let file = match &sparse.file {
            Some(file) => file.clone(),
            None => {
                let path = self.directory.join(pack.to_string());
                let file = OpenOptions::new().read(true).write(true).create_new(true).open(path)?;
                sparse.file.insert(Arc::new(file)).clone()
            }
        };
        drop(state);
        others
            .into_iter()
            .try_for_each(|(at, bytes)| file.write_all_at(bytes, at))
    }

    /// Says that all bytes of a range have been written.
    pub fn came(&self, pack: &PackId, range: Range<u64>) -> io::Result<()> {
        let mut state = self.lock();
        let sparse = state.packs.get_mut(pack).ok_or(io::ErrorKind::NotFound)?;
        let present = &mut sparse.present;
        let first = present.partition_point(|other| other.end < range.start);
        let last = present.partition_point(|other| other.start <= range.end);
        let touching = &present[first..last];
        let start = touching
            .first()
            .map_or(range.start, |other| other.start.min(range.start));
        let end = touching.last().map_or(range.end, |other| other.end.max(range.end));
        present.splice(first..last, std::iter::once(start..end));
        let has_awaited = state.has_awaited();
        // Whoever is woken wants the lock.
        drop(state);
        if has_awaited {
            self.bell.notify_all();
        }
        Ok(())
    }

    /// Ready when what comes next need not go into a file for want of room, or has to, because somebody waits for it. Nobody
    /// must wait for this: whatever is written is kept.
    pub fn poll_room(&self, context: &mut Context<'_>) -> Poll<()> {
        let mut state = self.lock();
        if !state.is_full || !state.awaited.is_empty() || !state.is_coming {
            return Poll::Ready(());
        }
        if !state.waiting.iter().any(|waker| waker.will_wake(context.waker())) {
            state.waiting.push(context.waker().clone());
        }
        Poll::Pending
    }

    /// Whether a range of a pack has come.
    pub(super) fn has(&self, pack: &PackId, range: &Range<u64>) -> bool {
        self.lock().packs.get(pack).is_some_and(|sparse| sparse.has(range))
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Coming {
    fn drop(&mut self) {
        let mut state = self.0.lock();
        state.is_coming = false;
        state.wake();
        self.0.bell.notify_all();
    }
}

impl State {
    /// Whether something has come that somebody waits for.
    fn has_awaited(&self) -> bool {
        let has = |(pack, range): &(PackId, Range<u64>)| self.packs.get(pack).is_some_and(|sparse| sparse.has(range));
        self.awaited.iter().any(has)
    }

    fn wake(&mut self) {
        self.waiting.drain(..).for_each(Waker::wake);
    }
}

impl Sparse {
    fn has(&self, range: &Range<u64>) -> bool {
        let after = self.present.partition_point(|other| other.start <= range.start);
        after > 0 && self.present[after - 1].end >= range.end
    }

    fn has_some(&self, range: &Range<u64>) -> bool {
        let next = self.present.partition_point(|other| other.end <= range.start);
        self.present.get(next).is_some_and(|other| other.start < range.end)
    }
}

impl Backend for SparsePacks {
    fn location(&self) -> &str {
        &self.location
    }

    fn size(&self, pack: &PackId) -> io::Result<Option<u64>> {
        Ok(self.lock().packs.get(pack).map(|sparse| sparse.size))
    }

    /// What is read once is gone after that.
    fn read(&self, pack: &PackId, range: Range<u64>) -> io::Result<Option<Vec<u8>>> {
        let mut state = self.lock();
        loop {
            let sparse = state.packs.get(pack).ok_or(io::ErrorKind::NotFound)?;
            if sparse.has(&range) {
                break;
            }
            if !state.is_coming {
                return Err(io::Error::new(
                    io::ErrorKind::UnexpectedEof,
                    "a part of it has not come",
                ));
            }
            state.awaited.push((*pack, range.clone()));
            state.wake();
            let must_wait = |state: &mut State| state.is_coming && !state.has_awaited();
            state = (self.bell.wait_while(state, must_wait)).unwrap_or_else(PoisonError::into_inner);
            state.awaited.retain(|(of, other)| of != pack || *other != range);
        }
        let sparse = state.packs.get_mut(pack).ok_or(io::ErrorKind::NotFound)?;
        let file = match sparse.passing.give(&range) {
            Found::Bytes(bytes) => {
                state.held -= (range.end - range.start) as usize;
                if state.is_full && state.held <= MOST_HELD / 2 {
                    state.is_full = false;
                    let waiting = std::mem::take(&mut state.waiting);
                    drop(state);
                    waiting.into_iter().for_each(Waker::wake);
                }
                return Ok(Some(bytes));
            }
            Found::Gone => return Err(io::Error::other("a part of it is not kept any longer")),
            Found::File => sparse.file.clone(),
        };
        drop(state);
        let mut bytes = vec![0; (range.end - range.start) as usize];
        if let Some(file) = file {
            file.read_exact_at(&mut bytes, range.start)?;
        }
        Ok(Some(bytes))
    }

    fn reuse(&self, bytes: Vec<u8>) {
        let mut state = self.lock();
        // Where nothing is coming, nothing will be held.
        if state.is_coming && state.spare.len() < MOST_SPARE {
            state.spare.push(bytes);
        }
    }

    fn put(&self, _: &PackId, _: u64, _: &mut dyn Read) -> io::Result<Put> {
        Err(io::ErrorKind::Unsupported.into())
    }

    fn list(&self) -> io::Result<Vec<PackId>> {
        Ok(self.lock().packs.keys().copied().collect())
    }

    fn delete(&self, _: &PackId) -> io::Result<bool> {
        Err(io::ErrorKind::Unsupported.into())
    }
}
