//! The lock that ties a pod's state to living processes.

use std::{
    fs::{File, TryLockError},
    io,
    path::Path,
    thread,
    time::{Duration, Instant},
};

/// How long a command waits for another that only looks at the pod.
const PATIENCE: Duration = Duration::from_millis(500);

/// An exclusive lock on a pod. Processes forked while it is held hold it too; it is free when the last of them ends.
///
/// It is never unlocked explicitly, since that would free it for all of them.
#[derive(Debug)]
pub(crate) struct PodLock {
    _file: File,
}

impl PodLock {
    /// Takes the lock, or tells (`None`) that another process holds it.
    pub(super) fn try_take(path: &Path) -> io::Result<Option<Self>> {
        let file = File::options()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(path)?;
        let begin = Instant::now();
        loop {
            match file.try_lock() {
                Ok(()) => return Ok(Some(Self { _file: file })),
                Err(TryLockError::Error(error)) => return Err(error),
                // `list` and its like hold a shared lock for an instant: that must not fail a `run-prepared`.
                Err(TryLockError::WouldBlock) if begin.elapsed() > PATIENCE => return Ok(None),
                Err(TryLockError::WouldBlock) => thread::sleep(Duration::from_millis(5)),
            }
        }
    }

    /// Whether some process holds the lock. A pod without the file has no process.
    pub(super) fn is_held(path: &Path) -> io::Result<bool> {
        let file = match File::open(path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
            Err(error) => return Err(error),
        };
        match file.try_lock_shared() {
            Ok(()) => Ok(false),
            Err(TryLockError::WouldBlock) => Ok(true),
            Err(TryLockError::Error(error)) => Err(error),
        }
    }
}
