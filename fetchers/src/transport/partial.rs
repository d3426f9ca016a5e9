//! [`Partial`]: a file that is on its way here.

use tokio::{
    fs::File,
    io::{AsyncSeekExt, AsyncWriteExt},
};

use crate::error::Error;

/// The bytes that came so far, and what tells whether those that are missing belong to the same thing.
#[derive(Debug)]
pub struct Partial {
    file: File,
    received: u64,
    validator: Option<String>,
}

impl Partial {
    /// Nothing came yet. The file is empty, and only for this.
    pub fn new(file: File) -> Self {
        Self {
            file,
            received: 0,
            validator: None,
        }
    }

    /// How many bytes are here, from the first on.
    pub fn received(&self) -> u64 {
        self.received
    }

    /// What the source calls this version of the thing, if it calls it anything.
    pub fn validator(&self) -> Option<&str> {
        self.validator.as_deref()
    }

    /// Throws away what came, and begins with a version that the source calls so.
    pub async fn restart(&mut self, validator: Option<String>) -> Result<(), Error> {
        self.file.flush().await.map_err(Error::Temporary)?;
        self.file.set_len(0).await.map_err(Error::Temporary)?;
        self.file.rewind().await.map_err(Error::Temporary)?;
        self.received = 0;
        self.validator = validator;
        Ok(())
    }

    /// Adds the next bytes.
    pub async fn write(&mut self, bytes: &[u8]) -> Result<(), Error> {
        self.file.write_all(bytes).await.map_err(Error::Temporary)?;
        self.received += bytes.len() as u64;
        Ok(())
    }

    /// Sees to it that all that was written can be read.
    pub async fn flush(&mut self) -> Result<(), Error> {
        self.file.flush().await.map_err(Error::Temporary)
    }
}
