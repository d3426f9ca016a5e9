//! [`IdWriter`]: the image ID of a tar while it is written.

use std::io::{self, Write};

use sha2::{Digest, Sha512};

use crate::image_id::ImageId;

/// Counts and digests the bytes of a tar that pass through it.
pub(crate) struct IdWriter<W> {
    inner: W,
    hasher: Sha512,
    size: u64,
}

impl<W: Write> IdWriter<W> {
    pub(crate) fn new(inner: W) -> Self {
        Self {
            inner,
            hasher: Sha512::new(),
            size: 0,
        }
    }

    /// The image ID and the size of what was written, and what it was written to.
    pub(crate) fn finish(self) -> (ImageId, u64, W) {
        (ImageId::from_sha512(self.hasher), self.size, self.inner)
    }
}

impl<W: Write> Write for IdWriter<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.inner.write(bytes)?;
        self.hasher.update(&bytes[..written]);
        self.size += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}
