//! Files of this machine.

use std::path::Path;

use tokio::{fs::File, io::AsyncReadExt};

use super::{Download, Partial, Transport};
use crate::{
    error::Error,
    progress::{Phase, Progress},
};

const PIECE: usize = 256 << 10;

/// Copies one file, so that nobody can change it while it is verified and stored. It always begins anew.
pub struct FileTransport<'a> {
    path: &'a Path,
}

impl<'a> FileTransport<'a> {
    /// Copies the file at `path`.
    pub fn new(path: &'a Path) -> Self {
        Self { path }
    }
}

impl Transport for FileTransport<'_> {
    async fn fetch(&self, partial: &mut Partial, progress: &dyn Progress) -> Result<Download, Error> {
        let unreadable = |source| Error::Read {
            path: self.path.to_owned(),
            source,
        };
        let mut source = File::open(self.path).await.map_err(unreadable)?;
        let total = source.metadata().await.map_err(unreadable)?.len();
        progress.begin(Phase::Archive, &self.place(), Some(total));
        partial.restart(None).await?;
        let mut piece = vec![0; PIECE];
        loop {
            let read = source.read(&mut piece).await.map_err(unreadable)?;
            if read == 0 {
                break;
            }
            partial.write(&piece[..read]).await?;
            progress.advance(read as u64);
        }
        partial.flush().await?;
        Ok(Download {
            size: partial.received(),
        })
    }

    fn place(&self) -> String {
        self.path.display().to_string()
    }
}
