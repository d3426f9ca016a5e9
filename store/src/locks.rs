//! The locks between processes.
//!
//! ```text
//!   locks/store       shared: has the store open          exclusive: nobody else has; `tmp/` can be emptied
//!   locks/gc          shared: looks at all of it (fsck)   exclusive: removes objects and trees (gc, fsck --repair)
//!   locks/turnstile   for an instant, by whoever wants `locks/ingest`
//!   locks/ingest      shared: adds or removes images      exclusive: a batch of removing what no image names
//!   locks/index       exclusive: replaces a damaged index
//! ```
//!
//! Taking an image in skips objects that are there; until the image is visible nothing but `locks/ingest` says that
//! it needs them. Whoever removes objects therefore holds that lock alone, in short batches, and looks anew at the
//! images that have come since. It would wait for ever where fetches overlap without end, so it stays in the turnstile
//! while it waits: those who are inside come out, and nobody enters. A fetch that takes long must not shut out all
//! others, so it leaves the turnstile again after [`HOLD_UP`].
//!
//! All are `flock` locks: they end with the process that holds them, however it ends. No wait is without a bound.

use std::{
    fs::{File, OpenOptions},
    os::unix::fs::OpenOptionsExt,
    path::Path,
    thread::sleep,
    time::{Duration, Instant},
};

use nix::{
    errno::Errno,
    fcntl::{Flock, FlockArg},
};

use crate::error::StoreError;

/// How long taking in an image waits for a collection, whose batches take milliseconds.
const PATIENCE: Duration = Duration::from_secs(120);
/// For how long a collection that waits for an ingest holds up all others.
const HOLD_UP: Duration = Duration::from_secs(2);
/// Between two looks at a lock that is held.
const LOOK: Duration = Duration::from_millis(2);

/// Every lock has its file from the beginning, so that whoever may only read the store can take it.
pub(crate) const ALL: [&str; 5] = ["store", "gc", "turnstile", "ingest", "index"];

/// A lock that is held.
pub(crate) struct Held {
    _files: Vec<Flock<File>>,
}

/// Taken by whoever adds or removes images.
pub(crate) fn ingest(root: &Path) -> Result<Held, StoreError> {
    let until = Instant::now() + PATIENCE;
    let turnstile = take(root, "turnstile", FlockArg::LockExclusiveNonblock, until)?;
    let ingest = take(root, "ingest", FlockArg::LockSharedNonblock, until)?;
    drop(turnstile);
    Ok(Held { _files: vec![ingest] })
}

/// Taken for a batch of removing: nobody adds or removes images meanwhile.
pub(crate) fn quiet(root: &Path, patience: Duration) -> Result<Held, StoreError> {
    let until = Instant::now() + patience;
    loop {
        let turnstile = take(root, "turnstile", FlockArg::LockExclusiveNonblock, until)?;
        let hold_up = until.min(Instant::now() + HOLD_UP);
        match take(root, "ingest", FlockArg::LockExclusiveNonblock, hold_up) {
            Ok(ingest) => {
                return Ok(Held {
                    _files: vec![turnstile, ingest],
                });
            }
            Err(StoreError::Busy { .. }) if Instant::now() < until => {
                drop(turnstile);
                sleep(HOLD_UP / 4);
            }
            Err(error) => return Err(error),
        }
    }
}

/// Taken by whoever removes objects and trees.
pub(crate) fn collector(root: &Path, patience: Duration) -> Result<Held, StoreError> {
    held(root, "gc", FlockArg::LockExclusiveNonblock, patience)
}

/// Taken by whoever looks at all of the store, and wants nothing to go meanwhile.
pub(crate) fn inspector(root: &Path, patience: Duration) -> Result<Held, StoreError> {
    held(root, "gc", FlockArg::LockSharedNonblock, patience)
}

/// Taken by whoever replaces a damaged index.
pub(crate) fn index(root: &Path) -> Result<Held, StoreError> {
    held(root, "index", FlockArg::LockExclusiveNonblock, PATIENCE)
}

fn held(root: &Path, name: &str, how: FlockArg, patience: Duration) -> Result<Held, StoreError> {
    let file = take(root, name, how, Instant::now() + patience)?;
    Ok(Held { _files: vec![file] })
}

fn take(root: &Path, name: &str, how: FlockArg, until: Instant) -> Result<Flock<File>, StoreError> {
    let path = root.join("locks").join(name);
    let mut file = open(&path).map_err(StoreError::io(&path))?;
    loop {
        match Flock::lock(file, how) {
            Ok(lock) => return Ok(lock),
            Err((back, Errno::EWOULDBLOCK | Errno::EINTR)) if Instant::now() < until => file = back,
            Err((_, Errno::EWOULDBLOCK | Errno::EINTR)) => return Err(StoreError::Busy { path }),
            Err((_, errno)) => {
                return Err(StoreError::Io {
                    path,
                    source: errno.into(),
                });
            }
        }
        sleep(LOOK);
    }
}

/// Opens a lock's file, and makes it where it is not there and can be made.
pub(crate) fn open(path: &Path) -> std::io::Result<File> {
    let made = OpenOptions::new()
        .create(true)
        .truncate(false)
        .write(true)
        .mode(0o600)
        .open(path);
    // A lock needs no more than an open file.
    made.or_else(|error| File::open(path).map_err(|_| error))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_collection_comes_in_however_many_fetches_overlap() {
        let root = tempfile::tempdir().unwrap();
        std::fs::create_dir(root.path().join("locks")).unwrap();
        let end = Instant::now() + Duration::from_millis(600);
        std::thread::scope(|scope| {
            // At every moment at least one of four holds the lock.
            for start in 0..4 {
                let root = root.path();
                scope.spawn(move || {
                    sleep(Duration::from_millis(start * 5));
                    while Instant::now() < end {
                        let held = ingest(root).unwrap();
                        sleep(Duration::from_millis(20));
                        drop(held);
                    }
                });
            }
            sleep(Duration::from_millis(50));
            let begin = Instant::now();
            let held = quiet(root.path(), Duration::from_secs(10)).unwrap();
            assert!(begin.elapsed() < Duration::from_millis(300), "{:?}", begin.elapsed());
            drop(held);
        });
    }

    #[test]
    fn a_wait_ends() {
        let root = tempfile::tempdir().unwrap();
        std::fs::create_dir(root.path().join("locks")).unwrap();
        let fetch = ingest(root.path()).unwrap();
        let Err(error) = quiet(root.path(), Duration::from_millis(20)) else {
            panic!("the lock was given twice");
        };
        assert!(matches!(error, StoreError::Busy { .. }));
        drop(fetch);
        drop(quiet(root.path(), Duration::from_millis(20)).unwrap());
    }
}
