//! A store that tells what was read from it, and that somebody can be killed at.

use std::{
    fmt,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
};

use async_trait::async_trait;
use futures::{StreamExt, stream::BoxStream};
use object_store::{
    CopyOptions, Error as StoreError, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore,
    ObjectStoreExt, PutMultipartOptions, PutOptions, PutPayload, PutResult, Result as StoreResult, memory::InMemory,
    path::Path,
};

/// Whoever has made so many changes makes no more, as if killed.
#[derive(Debug)]
pub(crate) struct Watched {
    store: Arc<InMemory>,
    changes_left: Arc<AtomicUsize>,
    read: Mutex<Vec<Path>>,
}

impl Watched {
    pub(crate) fn new(store: InMemory, changes: usize) -> Self {
        Self {
            store: Arc::new(store),
            changes_left: Arc::new(AtomicUsize::new(changes)),
            read: Mutex::default(),
        }
    }

    /// From now on everything goes well.
    pub(crate) fn revive(&self) {
        self.changes_left.store(usize::MAX, Ordering::Relaxed);
    }

    /// What was read since this was asked last.
    pub(crate) fn read(&self) -> Vec<Path> {
        std::mem::take(&mut *self.read.lock().unwrap())
    }

    pub(crate) fn fork(&self) -> InMemory {
        self.store.fork()
    }
}

fn change(left: &AtomicUsize) -> StoreResult<()> {
    let less = left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1));
    less.map(drop).map_err(|_| StoreError::Generic {
        store: "watched",
        source: "killed".into(),
    })
}

impl fmt::Display for Watched {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Watched({})", self.store)
    }
}

#[async_trait]
impl ObjectStore for Watched {
    async fn put_opts(&self, location: &Path, payload: PutPayload, options: PutOptions) -> StoreResult<PutResult> {
        change(&self.changes_left)?;
        self.store.put_opts(location, payload, options).await
    }

    async fn put_multipart_opts(
        &self,
        location: &Path,
        options: PutMultipartOptions,
    ) -> StoreResult<Box<dyn MultipartUpload>> {
        change(&self.changes_left)?;
        self.store.put_multipart_opts(location, options).await
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> StoreResult<GetResult> {
        if !options.head {
            self.read.lock().unwrap().push(location.clone());
        }
        self.store.get_opts(location, options).await
    }

    fn delete_stream(&self, locations: BoxStream<'static, StoreResult<Path>>) -> BoxStream<'static, StoreResult<Path>> {
        let (store, left) = (self.store.clone(), self.changes_left.clone());
        let delete = move |location: StoreResult<Path>| {
            let (store, left) = (store.clone(), left.clone());
            async move {
                let location = location?;
                change(&left)?;
                store.delete(&location).await?;
                Ok(location)
            }
        };
        locations.then(delete).boxed()
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, StoreResult<ObjectMeta>> {
        self.store.list(prefix)
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> StoreResult<ListResult> {
        self.store.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> StoreResult<()> {
        change(&self.changes_left)?;
        self.store.copy_opts(from, to, options).await
    }
}
