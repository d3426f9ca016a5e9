//! [`Growing`]: a partial file that is read while it comes.

use std::{
    fs::File,
    io::{self, Read},
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
};

use super::lease::Lease;

/// How far the front of one download has come, for whoever reads behind it.
#[derive(Debug, Default)]
struct Growth {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    /// All bytes before this one are here.
    front: u64,
    end: End,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum End {
    /// More may come.
    #[default]
    Open,
    /// The front is the end.
    Whole,
    /// What came was thrown away, or nobody goes on with it.
    GivenUp,
}

/// A download as whoever reads it meanwhile sees it. A reader waits for what has not come yet, and sees the end when
/// the downloader knows that there is no more.
///
/// It holds no lock: whoever has the [`Partial`](super::Partial) does, and when that goes, readers fail.
#[derive(Clone, Debug)]
pub(crate) struct Growing {
    path: PathBuf,
    growth: Arc<Growth>,
    lease: Option<Arc<Lease>>,
}

/// The other side: it tells readers what came. Dropped, it gives up.
#[derive(Debug, Default)]
pub(super) struct Grower(Arc<Growth>);

/// Reads from the front of the file on.
pub(crate) struct GrowingReader {
    file: File,
    at: u64,
    growth: Arc<Growth>,
}

impl Growth {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn change(&self, change: impl FnOnce(&mut State)) {
        change(&mut self.state());
        self.changed.notify_all();
    }
}

impl Grower {
    pub(super) fn growing(&self, path: &Path, lease: Option<Arc<Lease>>) -> Growing {
        Growing {
            path: path.to_owned(),
            growth: self.0.clone(),
            lease,
        }
    }

    /// Whether readers have seen anything.
    pub(super) fn has_begun(&self) -> bool {
        self.0.state().front > 0
    }

    /// All bytes before this one are in the file.
    pub(super) fn reached(&self, front: u64) {
        self.0.change(|state| state.front = front);
    }

    /// The same for who does not have the partial file at hand.
    pub(super) fn teller(&self) -> impl Fn(u64) + Send + Sync + use<> {
        let growth = self.0.clone();
        move |front| growth.change(|state| state.front = front)
    }

    /// There are so many, and all are in the file.
    pub(super) fn finish(&self, size: u64) {
        self.0.change(|state| {
            *state = State {
                front: size,
                end: End::Whole,
            }
        });
    }
}

impl Drop for Grower {
    fn drop(&mut self) {
        self.0.change(|state| {
            if state.end == End::Open {
                state.end = End::GivenUp;
            }
        });
    }
}

impl Growing {
    /// A reader from the first byte on.
    pub(crate) fn open(&self) -> io::Result<GrowingReader> {
        Ok(GrowingReader {
            file: File::open(&self.path)?,
            at: 0,
            growth: self.growth.clone(),
        })
    }

    /// How many bytes there are, if all are here.
    pub(crate) fn size(&self) -> Option<u64> {
        let state = self.growth.state();
        (state.end == End::Whole).then_some(state.front)
    }

    /// Whether the bytes are still those that were here: nobody but us writes to any file but one in its own place.
    pub(crate) fn is_unchanged(&self) -> bool {
        self.lease.as_ref().is_none_or(|lease| lease.holds())
    }

    /// Whether what came was thrown away, or nobody goes on with it.
    pub(crate) fn is_given_up(&self) -> bool {
        self.growth.state().end == End::GivenUp
    }

    /// Whether both read the same download, from its one beginning on.
    pub(crate) fn is_same(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.growth, &other.growth)
    }
}

impl Read for GrowingReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let state = self.growth.state();
        let waited = self.growth.changed.wait_while(state, |state| {
            state.end == End::Open && state.front <= self.at && !buffer.is_empty()
        });
        let State { front, end } = *waited.unwrap_or_else(PoisonError::into_inner);
        if end == End::GivenUp {
            return Err(io::Error::other("the download was given up"));
        }
        let left = usize::try_from(front.saturating_sub(self.at)).unwrap_or(usize::MAX);
        let wanted = left.min(buffer.len());
        let read = self.file.read_at(&mut buffer[..wanted], self.at)?;
        if read == 0 && wanted > 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        self.at += read as u64;
        Ok(read)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::{fs, thread};

    use super::*;

    #[test]
    fn a_reader_waits_for_what_comes_and_ends_where_it_ends() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("part");
        fs::write(&path, [7; 100]).unwrap();
        let grower = Grower::default();
        let growing = grower.growing(&path, None);
        let read = |growing: Growing| {
            thread::spawn(move || {
                let mut bytes = Vec::new();
                growing.open().unwrap().read_to_end(&mut bytes).map(|_| bytes)
            })
        };
        let (whole, given_up) = (read(growing.clone()), read(growing.clone()));
        grower.reached(40);
        let mut start = [0; 40];
        growing.open().unwrap().read_exact(&mut start).unwrap();
        assert_eq!((start, growing.size()), ([7; 40], None));
        assert!(!whole.is_finished());
        grower.finish(100);
        assert_eq!(whole.join().unwrap().unwrap(), [7; 100]);
        assert_eq!(given_up.join().unwrap().unwrap(), [7; 100]);
        drop(grower);
        assert_eq!(growing.size(), Some(100), "what is whole stays so");

        let grower = Grower::default();
        grower.reached(40);
        let given_up = read(grower.growing(&path, None));
        drop(grower);
        assert!(given_up.join().unwrap().is_err());
    }
}
