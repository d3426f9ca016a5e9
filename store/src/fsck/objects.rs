//! Every object against its name.

use std::{
    collections::HashSet,
    fs::File,
    io,
    path::PathBuf,
    sync::{Mutex, PoisonError},
    thread,
};

use super::{Checked, Finding, Remedy, Thoroughness};
use crate::{error::StoreError, object::ObjectId, store::Store};

/// No more threads than this read at once.
const MAX_THREADS: usize = 8;

/// Gives the objects that are not what their names say.
pub(super) fn check(
    store: &Store,
    thoroughness: Thoroughness,
    checked: &mut Checked,
    findings: &mut Vec<Finding>,
) -> Result<HashSet<ObjectId>, StoreError> {
    let mut objects = Vec::new();
    store.walk_objects(|path, id| {
        match id {
            Some(id) => objects.push((path.to_owned(), id)),
            None => findings.push(Finding {
                path: path.to_owned(),
                problem: "is no object".to_owned(),
                remedy: Remedy::QuarantineFile,
            }),
        }
        Ok(())
    })?;
    checked.objects = objects.len() as u64;
    if thoroughness == Thoroughness::Quick {
        return Ok(HashSet::new());
    }
    let bytes = Mutex::new(0);
    let found = on_threads(objects, |(path, id): (PathBuf, ObjectId)| {
        let read = || -> io::Result<(ObjectId, u64)> {
            let file = File::open(&path)?;
            let size = file.metadata()?.len();
            Ok((ObjectId::of(file)?, size))
        };
        let problem = match read() {
            Ok((digest, size)) => {
                *bytes.lock().unwrap_or_else(PoisonError::into_inner) += size;
                (digest != id).then(|| format!("holds something else: its SHA-256 is {digest}"))
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => Some(format!("cannot be read: {error}")),
        };
        problem.map(|problem| (path, id, problem))
    });
    checked.bytes = bytes.into_inner().unwrap_or_else(PoisonError::into_inner);
    let mut damaged = HashSet::new();
    for (path, id, problem) in found {
        damaged.insert(id);
        findings.push(Finding {
            path,
            problem,
            remedy: Remedy::QuarantineObject(id),
        });
    }
    Ok(damaged)
}

/// Does some work on each of many things, on as many threads as there are processors, and gathers what it gives.
pub(super) fn on_threads<T: Send, R: Send>(things: Vec<T>, work: impl Fn(T) -> Option<R> + Sync) -> Vec<R> {
    let threads = thread::available_parallelism().map_or(1, usize::from).min(MAX_THREADS);
    let things = Mutex::new(things.into_iter());
    let results = Mutex::new(Vec::new());
    let next = || things.lock().unwrap_or_else(PoisonError::into_inner).next();
    thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                while let Some(thing) = next() {
                    if let Some(result) = work(thing) {
                        results.lock().unwrap_or_else(PoisonError::into_inner).push(result);
                    }
                }
            });
        }
    });
    results.into_inner().unwrap_or_else(PoisonError::into_inner)
}
