use std::{
    io::{self, Read},
    sync::atomic::{AtomicBool, Ordering},
    thread,
};

use dhow_image::Sha512;
use sha2::Digest;

use super::BUFFER;
use crate::{error::Error, provenance::ArchiveRecord};

/// Does `work` with an archive and takes the archive's digest beside it, on a thread that reads it for itself: the
/// digest takes as long as most of what is done with an archive.
pub(super) fn with_record<T>(
    archive: impl Read + Send,
    work: impl FnOnce() -> Result<T, Error>,
) -> Result<(T, ArchiveRecord), Error> {
    let is_over = AtomicBool::new(false);
    thread::scope(|scope| {
        let record = scope.spawn(|| record(archive, &is_over));
        let done = work();
        // Nobody waits for the digest of what is not believed.
        is_over.store(done.is_err(), Ordering::Relaxed);
        let record = record.join().expect("taking a digest does not panic");
        Ok((done?, record.map_err(Error::Temporary)?))
    })
}

fn record(mut archive: impl Read, is_over: &AtomicBool) -> io::Result<ArchiveRecord> {
    let mut hasher = Sha512::new();
    let mut size = 0;
    let mut buffer = vec![0; BUFFER];
    while !is_over.load(Ordering::Relaxed) {
        match archive.read(&mut buffer) {
            Ok(0) => break,
            Ok(read) => {
                hasher.update(&buffer[..read]);
                size += read as u64;
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(ArchiveRecord {
        sha512: Some(hex::encode(hasher.finalize())),
        size,
    })
}
