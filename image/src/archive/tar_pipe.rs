//! Decompressing an archive on a thread of its own, and taking the SHA-512 of its tar on another, while the caller
//! reads: the two slowest stages of reading an archive run beside the third.

use std::{
    collections::VecDeque,
    io::{self, BufRead, Read},
    sync::{
        Arc,
        mpsc::{Receiver, SyncSender, sync_channel},
    },
    thread,
};

use super::{ArchiveError, Decompressor};
use crate::{image_id::ImageId, sha512::Sha512};
use sha2::Digest;

/// What is handed from thread to thread. Whoever waits is woken for each, which takes as long as some 10 KB do.
const BUFFER: usize = 256 << 10;
/// Both queues hold the same buffers, six megabytes at most: small files take the reader's time and large ones the
/// others', and none should wait for another where these alternate.
const QUEUE: usize = 24;

/// Runs `consume` on the tar inside of `archive`, and gives its result with the tar's image ID and size.
///
/// What `consume` leaves unread is read to the end, so that the digest is of the whole tar.
pub fn with_tar<T, E>(
    archive: impl Read + Send,
    consume: impl FnOnce(&mut TarPipe) -> Result<T, E>,
) -> Result<(T, ImageId, u64), E>
where
    E: From<ArchiveError>,
{
    thread::scope(|scope| {
        let (to_reader, from_decompressor) = sync_channel(QUEUE);
        let (to_hasher, for_hasher) = sync_channel::<Buffer>(QUEUE);
        let decompressor = scope.spawn(move || decompress(archive, &to_reader, &to_hasher));
        let hasher = scope.spawn(move || {
            let mut hasher = Sha512::new();
            let mut size = 0;
            for buffer in for_hasher {
                hasher.update(buffer.as_slice());
                size += buffer.len() as u64;
            }
            (ImageId::from_sha512(hasher), size)
        });

        let mut pipe = TarPipe {
            buffers: from_decompressor,
            current: Arc::default(),
            position: 0,
        };
        let result = consume(&mut pipe);
        let drained = match &result {
            Ok(_) => io::copy(&mut pipe, &mut io::sink()).map(drop),
            Err(_) => Ok(()),
        };
        // Without a reader the decompressor ends at its next buffer, and with it the hasher.
        drop(pipe);
        let decompressed = decompressor.join().expect("decompression does not panic");
        let (id, size) = hasher.join().expect("hashing does not panic");
        // What went wrong below explains best what `consume` saw as an early end.
        decompressed.map_err(E::from)?;
        let value = result?;
        drained.map_err(ArchiveError::from)?;
        Ok((value, id, size))
    })
}

type Buffer = Arc<Vec<u8>>;

fn decompress(
    archive: impl Read,
    reader: &SyncSender<Buffer>,
    hasher: &SyncSender<Buffer>,
) -> Result<(), ArchiveError> {
    let mut tar = Decompressor::new(archive)?;
    let mut recent = VecDeque::new();
    loop {
        let mut buffer = unused(&mut recent);
        let bytes = Arc::get_mut(&mut buffer).expect("nobody else holds an unused buffer");
        bytes.resize(BUFFER, 0);
        let mut filled = 0;
        while filled < BUFFER {
            match tar.read(&mut bytes[filled..]) {
                Ok(0) => break,
                Ok(read) => filled += read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error.into()),
            }
        }
        if filled == 0 {
            return Ok(());
        }
        bytes.truncate(filled);
        recent.push_back(Arc::clone(&buffer));
        // Whoever no longer listens has failed, and says why itself.
        if hasher.send(Arc::clone(&buffer)).is_err() || reader.send(buffer).is_err() {
            return Ok(());
        }
    }
}

/// A buffer that reader and hasher are done with, or a new one: there are never more than both queues hold.
fn unused(recent: &mut VecDeque<Buffer>) -> Buffer {
    match recent.front() {
        Some(oldest) if Arc::strong_count(oldest) == 1 => recent.pop_front().unwrap_or_default(),
        _ => Buffer::default(),
    }
}

/// The reading end: the bytes of the tar.
pub struct TarPipe {
    buffers: Receiver<Buffer>,
    current: Buffer,
    position: usize,
}

impl Read for TarPipe {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let read = self.fill_buf()?.read(out)?;
        self.consume(read);
        Ok(read)
    }
}

impl BufRead for TarPipe {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        if self.position == self.current.len() {
            let Ok(buffer) = self.buffers.recv() else {
                return Ok(&[]);
            };
            self.current = buffer;
            self.position = 0;
        }
        Ok(&self.current[self.position..])
    }

    fn consume(&mut self, amount: usize) {
        self.position += amount;
    }
}
