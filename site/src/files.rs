//! [`Files`]: the store beneath a site.

use std::{
    error::Error as _,
    fmt,
    io::{self, Write as _},
    path::{Path as FilePath, PathBuf},
    sync::Arc,
};

use bytes::Bytes;
use dhow_discovery::{BucketSettings, Buckets, FileFacts, Scheme};
use futures::{StreamExt, TryStreamExt};
use object_store::{
    Attribute, Attributes, Error as StoreError, GetOptions, GetResult, ObjectMeta, ObjectStore, ObjectStoreExt,
    PutMode, PutMultipartOptions, PutOptions, PutPayload, WriteMultipart, local::LocalFileSystem, path::Path,
};
use sha2::{Digest, Sha256};
use tokio::io::AsyncReadExt;
use url::Url;

use crate::Error;

/// What is uploaded at once: S3 wants at least 5 MiB a part, and allows 10,000 parts.
pub(crate) const PART: usize = 8 << 20;

/// The files of a site, wherever they are: a directory or any `object_store`.
///
/// A directory gives out what lies in it and nothing else, also where a symbolic link leads out of it.
#[derive(Clone)]
pub struct Files {
    store: Arc<dyn ObjectStore>,
    location: String,
    /// The directory, without symbolic links, if it is one.
    directory: Option<PathBuf>,
}

impl Files {
    /// Opens the files at `location`: a directory, which must exist, or a URL such as `file:///srv/site` or
    /// `s3://bucket/prefix`. Where buckets are and who asks is found in the user's surroundings, as
    /// [`Buckets::settings`] says; plain HTTP is spoken only where the variable `AWS_ALLOW_HTTP` is `true`.
    pub fn open(location: &str) -> Result<Self, Error> {
        Self::open_with(location, &Buckets::default())
    }

    /// The same, with buckets reached as these say.
    pub fn open_with(location: &str, buckets: &Buckets) -> Result<Self, Error> {
        if !location.contains("://") {
            return Self::open_directory(FilePath::new(location));
        }
        let in_url = |source| Error::OpenUrl {
            location: location.to_owned(),
            source,
        };
        let url = Url::parse(location).map_err(|error| {
            in_url(StoreError::Generic {
                store: "URL",
                source: Box::new(error),
            })
        })?;
        if let ("file", Ok(path)) = (url.scheme(), url.to_file_path()) {
            return Self::open_directory(&path);
        }
        let settings = match Scheme::from_name(url.scheme()) {
            Some(scheme @ (Scheme::S3 | Scheme::Gs | Scheme::Az)) => {
                let bucket = url.host_str().unwrap_or_default();
                buckets.settings(scheme, bucket).map_err(|error| {
                    in_url(StoreError::Generic {
                        store: "bucket",
                        source: Box::new(error),
                    })
                })?
            }
            _ => BucketSettings::default(),
        };
        let (store, prefix) = object_store::parse_url_opts(&url, settings.options()).map_err(in_url)?;
        let store = object_store::prefix::PrefixStore::new(store, prefix);
        Ok(Self {
            store: Arc::new(store),
            location: location.to_owned(),
            directory: None,
        })
    }

    /// Opens the files of a directory, which must exist.
    pub fn open_directory(path: &FilePath) -> Result<Self, Error> {
        let location = path.display().to_string();
        let in_directory = |source| Error::Open {
            location: location.clone(),
            source,
        };
        let directory = path.canonicalize().map_err(in_directory)?;
        if !directory.is_dir() {
            return Err(in_directory(io::Error::from(io::ErrorKind::NotADirectory)));
        }
        let store = LocalFileSystem::new_with_prefix(&directory)
            .map_err(|source| Error::OpenUrl {
                location: location.clone(),
                source,
            })?
            // A page must not outlive, in a power cut, the archive that it names.
            .with_fsync(true);
        Ok(Self {
            store: Arc::new(store),
            location,
            directory: Some(directory),
        })
    }

    /// The files of a store of the caller's.
    pub fn new(store: Arc<dyn ObjectStore>) -> Self {
        Self {
            location: store.to_string(),
            store,
            directory: None,
        }
    }

    /// The store beneath.
    pub(crate) fn object_store(&self) -> &dyn ObjectStore {
        &*self.store
    }

    /// Where the files are, for messages.
    pub fn location(&self) -> &str {
        &self.location
    }

    /// Reads a file, or a part of it, or only its facts, as the options say.
    ///
    /// Errors: [`Error::NotFound`], also for directories and for links that lead out of the site. Preconditions and
    /// ranges that do not hold are [`Error::Store`].
    pub async fn get(&self, path: &Path, options: GetOptions) -> Result<GetResult, Error> {
        if !self.is_within(path).await {
            return Err(self.not_found(path));
        }
        self.store.get_opts(path, options).await.map_err(|source| {
            if is_absence(&source) {
                self.not_found(path)
            } else {
                self.failed("read", path, source)
            }
        })
    }

    /// The whole of a small file; `None` if there is none.
    pub(crate) async fn read(&self, path: &Path) -> Result<Option<Bytes>, Error> {
        match self.get(path, GetOptions::default()).await {
            Ok(file) => Ok(Some(
                file.bytes().await.map_err(|source| self.failed("read", path, source))?,
            )),
            Err(Error::NotFound { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// The size of a file; `None` if there is none.
    pub(crate) async fn size(&self, path: &Path) -> Result<Option<u64>, Error> {
        match self.get(path, GetOptions::new().with_head(true)).await {
            Ok(file) => Ok(Some(file.meta.size)),
            Err(Error::NotFound { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Every file in a folder and in those below it.
    pub(crate) async fn list_below(&self, folder: &Path) -> Result<Vec<ObjectMeta>, Error> {
        match self.store.list(Some(folder)).try_collect().await {
            Err(source) if is_absence(&source) => Ok(Vec::new()),
            listed => listed.map_err(|source| self.failed("list", folder, source)),
        }
    }

    /// Puts a small file in place, unless it is there and the same. Whether it was written.
    pub(crate) async fn write(&self, path: &Path, content: impl Into<Bytes>) -> Result<bool, Error> {
        let content = content.into();
        if self.read(path).await?.is_some_and(|there| there == content) {
            return Ok(false);
        }
        self.put(path, content, PutMode::Overwrite)
            .await
            .map_err(|source| self.failed("write", path, source))?;
        Ok(true)
    }

    /// Puts a small file in place, unless there is one.
    pub(crate) async fn write_missing(&self, path: &Path, content: impl FnOnce() -> String) -> Result<(), Error> {
        if self.size(path).await?.is_some() {
            return Ok(());
        }
        match self.put(path, content().into(), PutMode::Create).await {
            Ok(()) | Err(StoreError::AlreadyExists { .. }) => Ok(()),
            Err(source) => Err(self.failed("write", path, source)),
        }
    }

    pub(crate) async fn put(&self, path: &Path, content: Bytes, mode: PutMode) -> Result<(), StoreError> {
        let put = |attributes: Attributes| {
            let options = PutOptions {
                mode: mode.clone(),
                attributes,
                ..PutOptions::default()
            };
            self.store.put_opts(path, PutPayload::from(content.clone()), options)
        };
        match put(attributes(path)).await {
            // A directory keeps no content types.
            Err(StoreError::NotImplemented { .. }) => put(Attributes::default()).await,
            outcome => outcome,
        }
        .map(drop)
    }

    /// Puts a large file in place, if it is what `facts` says; else nothing is written and the answer is `false`.
    pub(crate) async fn upload(&self, path: &Path, file: &FilePath, facts: &FileFacts) -> Result<bool, Error> {
        let begin = |attributes: Attributes| {
            let options = PutMultipartOptions {
                attributes,
                ..PutMultipartOptions::default()
            };
            self.store.put_multipart_opts(path, options)
        };
        let upload = match begin(attributes(path)).await {
            Err(StoreError::NotImplemented { .. }) => begin(Attributes::default()).await,
            outcome => outcome,
        };
        let in_store = |source| self.failed("write", path, source);
        let mut upload = WriteMultipart::new_with_chunk_size(upload.map_err(in_store)?, PART);
        match self.send(&mut upload, path, file).await {
            Ok(sent) if sent == *facts => {
                upload.finish().await.map_err(in_store)?;
                Ok(true)
            }
            other => {
                // What matters is reported: that the file changed, or why it could not be sent.
                let _ = upload.abort().await;
                other.map(|_| false)
            }
        }
    }

    /// Copies a file out of the store. Whether there is one.
    pub(crate) async fn download(&self, path: &Path, to: &mut std::fs::File) -> Result<bool, Error> {
        let file = match self.get(path, GetOptions::default()).await {
            Ok(file) => file,
            Err(Error::NotFound { .. }) => return Ok(false),
            Err(error) => return Err(error),
        };
        let mut chunks = file.into_stream();
        while let Some(chunk) = chunks.next().await {
            let chunk = chunk.map_err(|source| self.failed("read", path, source))?;
            to.write_all(&chunk).map_err(Error::Temporary)?;
        }
        Ok(true)
    }

    /// Copies a file within the store.
    pub(crate) async fn copy(&self, from: &Path, to: &Path) -> Result<(), Error> {
        self.store
            .copy(from, to)
            .await
            .map_err(|source| self.failed("write", to, source))
    }

    /// Takes a file away, if it is there.
    pub(crate) async fn remove(&self, path: &Path) -> Result<(), Error> {
        match self.store.delete(path).await {
            Err(source) if !is_absence(&source) => Err(self.failed("delete", path, source)),
            _ => Ok(()),
        }
    }

    async fn send(&self, upload: &mut WriteMultipart, path: &Path, file: &FilePath) -> Result<FileFacts, Error> {
        let in_file = |source| Error::ReadArchive {
            path: file.to_owned(),
            source,
        };
        let mut source = tokio::fs::File::open(file).await.map_err(in_file)?;
        let (mut hasher, mut size) = (Sha256::new(), 0);
        let mut buffer = vec![0; 1 << 20];
        loop {
            let count = source.read(&mut buffer).await.map_err(in_file)?;
            if count == 0 {
                return Ok(FileFacts {
                    size,
                    sha256: hex::encode(hasher.finalize()),
                });
            }
            hasher.update(&buffer[..count]);
            size += count as u64;
            upload
                .wait_for_capacity(2)
                .await
                .map_err(|source| self.failed("write", path, source))?;
            upload.write(&buffer[..count]);
        }
    }

    /// Whether a path of a directory, with its symbolic links followed, is a file in that directory, and no pipe or device. Paths that are not
    /// there at all pass: that is for the store to say.
    async fn is_within(&self, path: &Path) -> bool {
        let Some(directory) = &self.directory else { return true };
        let mut file = directory.clone();
        file.extend(path.parts().map(|part| part.as_ref().to_owned()));
        let Ok(file) = tokio::fs::canonicalize(file).await else {
            return true;
        };
        // To open a pipe or a device may take for ever.
        let is_plain = tokio::fs::metadata(&file)
            .await
            .is_ok_and(|file| file.is_file() || file.is_dir());
        is_plain && file.starts_with(directory)
    }

    /// The directory, if it is one.
    pub(crate) fn directory(&self) -> Option<&FilePath> {
        self.directory.as_deref()
    }

    fn not_found(&self, path: &Path) -> Error {
        Error::NotFound {
            location: self.location.clone(),
            path: path.to_string(),
        }
    }

    pub(crate) fn failed(&self, action: &'static str, path: &Path, source: StoreError) -> Error {
        Error::Store {
            action,
            location: self.location.clone(),
            path: path.to_string(),
            source: Box::new(source),
        }
    }
}

/// Whether a store has no such file. A directory says so in other words too, where a part of the path is a file or
/// longer than names can be.
pub(crate) fn is_absence(error: &StoreError) -> bool {
    if matches!(error, StoreError::NotFound { .. } | StoreError::InvalidPath { .. }) {
        return true;
    }
    let causes = std::iter::successors(error.source(), |&error| error.source());
    causes
        .filter_map(|cause| cause.downcast_ref::<io::Error>())
        .any(|cause| {
            matches!(
                cause.kind(),
                io::ErrorKind::NotADirectory | io::ErrorKind::InvalidFilename
            )
        })
}

impl fmt::Debug for Files {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Files")
            .field("location", &self.location)
            .finish_non_exhaustive()
    }
}

/// The media type of a file of a site, by its name.
pub fn content_type(path: &Path) -> &'static str {
    match path
        .filename()
        .and_then(|name| name.rsplit_once('.'))
        .map(|(_, extension)| extension)
    {
        Some("html") => "text/html; charset=utf-8",
        Some("asc") => "application/pgp-signature",
        Some("gpg") => "application/pgp-keys",
        Some("json") => "application/json",
        Some("torrent") => "application/x-bittorrent",
        Some("txt") => "text/plain; charset=utf-8",
        // There is no registered type for `.aci`.
        _ => "application/octet-stream",
    }
}

fn attributes(path: &Path) -> Attributes {
    [(Attribute::ContentType, content_type(path))].into_iter().collect()
}
