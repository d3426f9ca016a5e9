use std::{
    io::{self, Read},
    sync::mpsc::{Receiver, Sender, channel, sync_channel},
    thread,
};

use super::BUFFER;

/// How many buffers are read ahead.
const AHEAD: usize = 4;

/// Reads on a thread of its own, from the first read on: to have the kernel copy a file takes a third as long as the
/// digest of what it copies.
pub(super) struct ReadAhead<R> {
    reader: Option<R>,
    thread: Option<Thread>,
    current: Filled,
    position: usize,
}

/// A buffer, and how many bytes were read into it. It keeps its length, so that it is zeroed once.
#[derive(Default)]
struct Filled {
    buffer: Vec<u8>,
    length: usize,
}

/// What the reading thread is spoken to by. It ends when nobody listens any more.
struct Thread {
    filled: Receiver<io::Result<Filled>>,
    emptied: Sender<Vec<u8>>,
}

impl<R: Read + Send + 'static> ReadAhead<R> {
    pub(super) fn new(reader: R) -> Self {
        Self {
            reader: Some(reader),
            thread: None,
            current: Filled::default(),
            position: 0,
        }
    }
}

impl Thread {
    fn start(mut reader: impl Read + Send + 'static) -> Self {
        let (filler, filled) = sync_channel(AHEAD);
        let (emptied, buffers) = channel::<Vec<u8>>();
        thread::spawn(move || {
            loop {
                let mut buffer = buffers.try_recv().unwrap_or_default();
                buffer.resize(BUFFER, 0);
                let read = reader.read(&mut buffer).map(|length| Filled { buffer, length });
                let is_over = read.as_ref().map_or(true, |read| read.length == 0);
                if filler.send(read).is_err() || is_over {
                    return;
                }
            }
        });
        Self { filled, emptied }
    }
}

impl<R: Read + Send + 'static> Read for ReadAhead<R> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        if self.position == self.current.length {
            if let Some(reader) = self.reader.take() {
                self.thread = Some(Thread::start(reader));
            }
            let Some(Ok(next)) = self.thread.as_ref().map(|thread| thread.filled.recv()) else {
                return Ok(0);
            };
            let emptied = std::mem::replace(&mut self.current, next?);
            self.position = 0;
            // The thread may have come to the end.
            let _ = self.thread.as_ref().map(|thread| thread.emptied.send(emptied.buffer));
        }
        let read = out.len().min(self.current.length - self.position);
        out[..read].copy_from_slice(&self.current.buffer[self.position..self.position + read]);
        self.position += read;
        Ok(read)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    /// Gives what is left, in small pieces, and then fails.
    struct Failing(u64);

    impl Read for Failing {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            let piece = buffer.len().min(70_001).min(usize::try_from(self.0).unwrap());
            if piece == 0 {
                return Err(io::ErrorKind::TimedOut.into());
            }
            buffer[..piece].fill(u8::try_from(self.0 % 251).unwrap());
            self.0 -= piece as u64;
            Ok(piece)
        }
    }

    #[test]
    fn all_bytes_come_in_their_order_and_an_error_after_those_before_it() {
        let data: Vec<u8> = (0..3_000_000_u32).map(|number| (number % 251) as u8).collect();
        let mut read = Vec::new();
        let mut ahead = ReadAhead::new(io::Cursor::new(data.clone()));
        ahead.read_to_end(&mut read).unwrap();
        assert_eq!(read, data);
        assert_eq!(ahead.read(&mut [0; 10]).unwrap(), 0, "the end stays the end");

        let mut read = Vec::new();
        let error = ReadAhead::new(Failing(1_000_000)).read_to_end(&mut read).unwrap_err();
        assert_eq!((read.len(), error.kind()), (1_000_000, io::ErrorKind::TimedOut));
    }

    #[test]
    fn nothing_is_read_before_somebody_reads_and_no_more_than_a_few_buffers_ahead() {
        use std::sync::{
            Arc,
            atomic::{AtomicUsize, Ordering},
        };
        struct Counting(Arc<AtomicUsize>);
        impl Read for Counting {
            fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
                self.0.fetch_add(1, Ordering::SeqCst);
                Ok(buffer.len())
            }
        }
        let reads = Arc::new(AtomicUsize::new(0));
        let mut ahead = ReadAhead::new(Counting(reads.clone()));
        assert_eq!(reads.load(Ordering::SeqCst), 0);
        ahead.read_exact(&mut [0; 10]).unwrap();
        // As many as wait, the one that is read, and the one that finds no room.
        while reads.load(Ordering::SeqCst) < AHEAD + 2 {
            thread::yield_now();
        }
        assert_eq!(reads.load(Ordering::SeqCst), AHEAD + 2);
        drop(ahead);
    }
}
