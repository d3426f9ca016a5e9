//! A reader whose own errors stay what they are, however a library wraps them.

use std::{
    io::{self, Read},
    sync::{Arc, Mutex, PoisonError},
};

/// Keeps the reader's own error, which the library would mix with its own.
///
/// The lock around the reader is never waited for: it gives the library the `Sync` that it asks of a reader.
pub(crate) struct WatchedReader<R> {
    reader: Mutex<R>,
    failure: Failure,
}

/// The error that the reader met, if it did.
#[derive(Clone, Default)]
pub(crate) struct Failure(Arc<Mutex<Option<io::Error>>>);

impl Failure {
    pub(crate) fn take(&self) -> Option<io::Error> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

impl<R: Read> WatchedReader<R> {
    pub(crate) fn new(reader: R) -> (Self, Failure) {
        let failure = Failure::default();
        let reader = Self {
            reader: Mutex::new(reader),
            failure: failure.clone(),
        };
        (reader, failure)
    }
}

impl<R: Read> Read for WatchedReader<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let reader = self.reader.get_mut().unwrap_or_else(PoisonError::into_inner);
        loop {
            match reader.read(buffer) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => {
                    let kind = error.kind();
                    *self.failure.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(error);
                    return Err(kind.into());
                }
                Ok(count) => return Ok(count),
            }
        }
    }
}
