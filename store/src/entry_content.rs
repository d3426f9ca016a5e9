use std::io::{self, BufRead, Read};

use dhow_image::{ArchiveError, TarReader};

/// The content of the current entry of a tar as a reader. It keeps the archive's error, so that it is not taken for the
/// disk's.
pub(crate) struct EntryContent<'a, R> {
    tar: &'a mut TarReader<R>,
    error: Option<ArchiveError>,
}

impl<'a, R: BufRead> EntryContent<'a, R> {
    pub(crate) fn of(tar: &'a mut TarReader<R>) -> Self {
        Self { tar, error: None }
    }

    /// What was wrong with the archive, whatever whoever has read made of it.
    pub(crate) fn check(self) -> Result<(), ArchiveError> {
        self.error.map_or(Ok(()), Err)
    }
}

impl<R: BufRead> Read for EntryContent<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.fill_buf()?.read(buffer)?;
        self.consume(read);
        Ok(read)
    }
}

impl<R: BufRead> BufRead for EntryContent<'_, R> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        match self.tar.fill_content() {
            Ok(bytes) => Ok(bytes),
            Err(error) => {
                self.error = Some(error);
                Err(io::ErrorKind::InvalidData.into())
            }
        }
    }

    fn consume(&mut self, amount: usize) {
        if let Err(error) = self.tar.consume_content(amount) {
            self.error = Some(error);
        }
    }
}
