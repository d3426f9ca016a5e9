//! [`DigestWriter`]: the digest and the size of what is written, while it is written.

use std::io::{self, Write};

use sha2::Digest;

/// Counts and digests the bytes that pass through it.
pub(crate) struct DigestWriter<W, D> {
    inner: W,
    hasher: D,
    size: u64,
}

impl<W: Write, D: Digest> DigestWriter<W, D> {
    pub(crate) fn new(inner: W) -> Self {
        Self {
            inner,
            hasher: D::new(),
            size: 0,
        }
    }

    /// The hasher and the size of all that was written, and where it went.
    pub(crate) fn finish(self) -> (D, u64, W) {
        (self.hasher, self.size, self.inner)
    }
}

impl<W: Write, D: Digest> Write for DigestWriter<W, D> {
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
