//! [`SitePacks`]: packs among the files of a site.

use std::{
    io::{self, Read},
    ops::Range,
};

use dhow_store::pack::{Backend, PackId, Put, verified};
use futures::TryStreamExt;
use object_store::{
    Error as StoreError, GetOptions, GetRange, ObjectStoreExt, PutMode, PutOptions, PutPayload, WriteMultipart,
    path::Path,
};
use tokio::runtime::Handle;

use crate::{
    Error, Files,
    files::{PART, is_absence},
};

/// The packs of a site: `PACKS/ab/cdef….pack`, in a directory or any other `object_store`.
///
/// Not every bucket honours a conditional write, and none is needed: whoever writes a pack that is there writes the
/// same bytes. A bucket shows an upload when it is complete, and it is completed only if the digest is right.
///
/// Its methods wait for what the runtime does, so they must not be called from a task of it: see
/// [`tokio::task::spawn_blocking`].
#[derive(Clone, Debug)]
pub struct SitePacks {
    files: Files,
    runtime: Handle,
}

const FOLDER: &str = "PACKS";

impl SitePacks {
    /// The packs among these files.
    pub fn new(files: Files, runtime: Handle) -> Self {
        Self { files, runtime }
    }

    /// Where in a site a pack is.
    pub fn path(pack: &PackId) -> Path {
        Path::from(format!("{FOLDER}/{}", pack.relative_path()))
    }

    async fn put_small(&self, path: &Path, bytes: Vec<u8>) -> io::Result<Put> {
        let payload = PutPayload::from(bytes);
        let put = |mode| {
            let options = PutOptions {
                mode,
                ..PutOptions::default()
            };
            self.files.object_store().put_opts(path, payload.clone(), options)
        };
        match put(PutMode::Create).await {
            Ok(_) => Ok(Put::New),
            // What is there has another size, or it would not have come to this; or somebody was faster.
            Err(StoreError::AlreadyExists { .. } | StoreError::NotImplemented { .. }) => {
                put(PutMode::Overwrite).await.map(|_| Put::New).map_err(other)
            }
            Err(error) => Err(other(error)),
        }
    }

    async fn put_large(&self, path: &Path, content: &mut dyn Read) -> io::Result<Put> {
        let upload = self.files.object_store().put_multipart(path).await.map_err(other)?;
        let mut upload = WriteMultipart::new_with_chunk_size(upload, PART);
        let mut buffer = vec![0; 1 << 20];
        let sent = loop {
            match content.read(&mut buffer) {
                Ok(0) => break Ok(()),
                Ok(read) => {
                    if let Err(error) = upload.wait_for_capacity(2).await {
                        break Err(other(error));
                    }
                    upload.write(&buffer[..read]);
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => break Err(error),
            }
        };
        match sent {
            Ok(()) => upload.finish().await.map(|_| Put::New).map_err(other),
            Err(error) => {
                // The first error is the one to tell.
                upload.abort().await.ok();
                Err(error)
            }
        }
    }
}

impl Backend for SitePacks {
    fn location(&self) -> &str {
        self.files.location()
    }

    fn size(&self, pack: &PackId) -> io::Result<Option<u64>> {
        self.runtime
            .block_on(self.files.size(&Self::path(pack)))
            .map_err(io::Error::other)
    }

    fn read(&self, pack: &PackId, range: Range<u64>) -> io::Result<Option<Vec<u8>>> {
        if range.is_empty() {
            // No server gives a range of nothing.
            let size = self.size(pack)?;
            return match size {
                Some(size) if range.end > size => Err(io::ErrorKind::UnexpectedEof.into()),
                size => Ok(size.map(|_| Vec::new())),
            };
        }
        let options = GetOptions::new().with_range(Some(GetRange::Bounded(range.clone())));
        let bytes = self.runtime.block_on(async {
            match self.files.get(&Self::path(pack), options).await {
                Ok(part) => part.bytes().await.map(Some).map_err(other),
                Err(Error::NotFound { .. }) => Ok(None),
                Err(error) => Err(io::Error::other(error)),
            }
        })?;
        match bytes {
            Some(bytes) if bytes.len() as u64 != range.end - range.start => Err(io::ErrorKind::UnexpectedEof.into()),
            bytes => Ok(bytes.map(Vec::from)),
        }
    }

    fn put(&self, pack: &PackId, size: u64, content: &mut dyn Read) -> io::Result<Put> {
        if self.size(pack)? == Some(size) {
            return Ok(Put::Known);
        }
        let path = Self::path(pack);
        let mut content = verified(pack, size, content);
        if size > PART as u64 {
            return self.runtime.block_on(self.put_large(&path, &mut content));
        }
        let mut bytes = Vec::new();
        content.read_to_end(&mut bytes)?;
        self.runtime.block_on(self.put_small(&path, bytes))
    }

    fn list(&self) -> io::Result<Vec<PackId>> {
        let folder = Path::from(FOLDER);
        let files = self.files.object_store().list(Some(&folder));
        let pack = |path: &Path| PackId::from_relative_path(path.as_ref().strip_prefix(FOLDER)?.strip_prefix('/')?);
        self.runtime
            .block_on(
                files
                    .try_filter_map(|file| async move { Ok(pack(&file.location)) })
                    .try_collect(),
            )
            .map_err(other)
    }

    fn delete(&self, pack: &PackId) -> io::Result<bool> {
        if self.size(pack)?.is_none() {
            return Ok(false);
        }
        match self
            .runtime
            .block_on(self.files.object_store().delete(&Self::path(pack)))
        {
            Err(error) if !is_absence(&error) => Err(other(error)),
            deleted => Ok(deleted.is_ok()),
        }
    }
}

fn other(error: StoreError) -> io::Error {
    io::Error::other(error)
}
