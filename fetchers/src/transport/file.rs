//! Files of this machine.

use std::{fs::Metadata, io::SeekFrom, os::unix::fs::MetadataExt, path::PathBuf};

use bytes::Bytes;
use futures::{StreamExt, future::BoxFuture, stream};
use tokio::{
    fs::File,
    io::{AsyncReadExt, AsyncSeekExt},
};

use super::{Ask, Opened, Transport, Version};
use crate::{download::Partial, error::Error};

const PIECE: usize = 256 << 10;

/// Reads one file.
#[derive(Clone, Debug)]
pub struct FileTransport {
    path: PathBuf,
}

impl FileTransport {
    /// Reads the file at `path`.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into() }
    }

    async fn read(&self, ask: &Ask) -> Result<Opened, Error> {
        let unreadable = |source| Error::Read {
            path: self.path.clone(),
            source,
        };
        let mut file = File::open(&self.path).await.map_err(unreadable)?;
        let metadata = file.metadata().await.map_err(unreadable)?;
        // A device or a pipe has no end, and a directory no bytes.
        if !metadata.is_file() {
            return Err(unreadable(std::io::ErrorKind::InvalidInput.into()));
        }
        let size = metadata.len();
        let version = version(&metadata);
        let is_same = ask.version.as_ref().is_none_or(|wanted| *wanted == version);
        let (from, to) = match (is_same, ask.to) {
            (true, to) if ask.from <= size => (ask.from, to.unwrap_or(size).min(size)),
            _ => (0, size),
        };
        file.seek(SeekFrom::Start(from)).await.map_err(unreadable)?;
        let path = self.path.clone();
        let body = stream::try_unfold((file, to.saturating_sub(from)), move |(mut file, left)| {
            let path = path.clone();
            async move {
                if left == 0 {
                    return Ok(None);
                }
                let mut piece = vec![0; PIECE.min(usize::try_from(left).unwrap_or(PIECE))];
                let read = file.read(&mut piece).await.map_err(|source| Error::Read {
                    path: path.clone(),
                    source,
                })?;
                if read == 0 {
                    return Err(Error::Truncated {
                        url: path.display().to_string(),
                        received: to - left,
                        source: std::io::ErrorKind::UnexpectedEof.into(),
                    });
                }
                piece.truncate(read);
                Ok(Some((Bytes::from(piece), (file, left - read as u64))))
            }
        });
        Ok(Opened {
            from,
            size: Some(size),
            version: Some(version),
            ranges: true,
            shared: false,
            body: body.boxed(),
        })
    }
}

impl Transport for FileTransport {
    fn open<'a>(&'a self, ask: &'a Ask) -> BoxFuture<'a, Result<Opened, Error>> {
        Box::pin(self.read(ask))
    }

    fn place(&self) -> String {
        self.path.display().to_string()
    }

    fn in_place(&self) -> Option<Partial> {
        Partial::in_place(&self.path, version)
    }
}

/// A file that is written to in place changes its time, and one that is replaced its number.
fn version(metadata: &Metadata) -> Version {
    Version::new(format!(
        "{}-{}-{}.{:09}-{}.{:09}",
        metadata.dev(),
        metadata.ino(),
        metadata.mtime(),
        metadata.mtime_nsec(),
        metadata.ctime(),
        metadata.ctime_nsec(),
    ))
}
