//! Files that several publishers change at once.
//!
//! In a directory whoever changes one holds a lock. In a bucket it is written only if it is still what was read
//! (`If-Match`, `If-None-Match`). Some servers pass over these headers without a word, and others look first and write
//! then: so whoever has written into a bucket must read again afterwards.

use std::{fs::File, io};

use bytes::Bytes;
use object_store::{Error as StoreError, GetOptions, PutMode, UpdateVersion, path::Path};

use crate::{Error, Files};

/// What keeps others from changing a file between our reading and our writing.
#[derive(Debug)]
pub(crate) enum Exclusion {
    /// A lock, until it is dropped.
    Lock(#[expect(dead_code, reason = "it is held, and not looked at")] File),
    /// The store writes only what nobody else has changed, or so it should.
    Conditions,
}

/// A file, and what its store calls this version of it, if that is known.
#[derive(Clone, Debug)]
pub(crate) struct Versioned {
    pub(crate) content: Bytes,
    version: UpdateVersion,
}

impl From<Bytes> for Versioned {
    fn from(content: Bytes) -> Self {
        let version = UpdateVersion {
            e_tag: None,
            version: None,
        };
        Self { content, version }
    }
}

impl Files {
    /// Keeps others from changing a file, as far as the store can. In a directory it waits for them, and locks the file
    /// `lock`.
    pub(crate) async fn exclude_others(&self, lock: &Path) -> Result<Exclusion, Error> {
        self.lock(lock, File::lock).await
    }

    /// Keeps away those who would exclude others, and nobody else.
    pub(crate) async fn share(&self, lock: &Path) -> Result<Exclusion, Error> {
        self.lock(lock, File::lock_shared).await
    }

    async fn lock(&self, lock: &Path, how: fn(&File) -> io::Result<()>) -> Result<Exclusion, Error> {
        let Some(directory) = self.directory() else {
            return Ok(Exclusion::Conditions);
        };
        let file = directory.join(lock.as_ref());
        let locked = tokio::task::spawn_blocking({
            let file = file.clone();
            move || {
                std::fs::create_dir_all(file.parent().unwrap_or(&file))?;
                let opened = File::create(&file)?;
                how(&opened)?;
                io::Result::Ok(opened)
            }
        });
        match locked.await.expect("locking a file does not panic") {
            Ok(file) => Ok(Exclusion::Lock(file)),
            Err(source) => Err(Error::Lock { path: file, source }),
        }
    }

    /// The whole of a file, to be changed; `None` if there is none. A directory is not asked again for what is known of
    /// it, as long as it has the same entity tag.
    pub(crate) async fn read_versioned(
        &self,
        path: &Path,
        known: Option<Versioned>,
    ) -> Result<Option<Versioned>, Error> {
        let known = known.filter(|known| self.directory().is_some() && known.version.e_tag.is_some());
        let e_tag = known.as_ref().and_then(|known| known.version.e_tag.clone());
        let file = match self.get(path, GetOptions::new().with_if_none_match(e_tag)).await {
            Ok(file) => file,
            Err(Error::Store { source, .. }) if matches!(*source, StoreError::NotModified { .. }) => return Ok(known),
            Err(Error::NotFound { .. }) => return Ok(None),
            Err(error) => return Err(error),
        };
        let version = UpdateVersion {
            e_tag: file.meta.e_tag.clone(),
            version: file.meta.version.clone(),
        };
        let content = file.bytes().await.map_err(|source| self.failed("read", path, source))?;
        Ok(Some(Versioned { content, version }))
    }

    /// Puts a file in the place of what was read. `false` where somebody else was faster: nothing is written then.
    pub(crate) async fn replace(
        &self,
        path: &Path,
        content: Bytes,
        was: Option<Versioned>,
        exclusion: &Exclusion,
    ) -> Result<bool, Error> {
        let mode = match (exclusion, was) {
            (Exclusion::Lock(_), _) => PutMode::Overwrite,
            (Exclusion::Conditions, Some(was)) => PutMode::Update(was.version),
            (Exclusion::Conditions, None) => PutMode::Create,
        };
        let put = match self.put(path, content.clone(), mode).await {
            Err(StoreError::NotImplemented { .. } | StoreError::NotSupported { .. }) => {
                self.put(path, content, PutMode::Overwrite).await
            }
            outcome => outcome,
        };
        match put {
            Ok(()) => Ok(true),
            Err(StoreError::AlreadyExists { .. } | StoreError::Precondition { .. }) => Ok(false),
            Err(source) => Err(self.failed("write", path, source)),
        }
    }
}
