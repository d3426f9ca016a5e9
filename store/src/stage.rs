//! Taking an archive in: one pass over the stream, and nothing to be seen before [`StagedImage::commit`].

use std::{
    fs::{self, File},
    io::{self, BufRead, BufWriter, Read, Seek, Write},
    path::{Path, PathBuf},
    time::SystemTime,
};

use dhow_image::{ArchiveError, EntryKind, ImageId, ImageManifest, TarReader, with_tar};
use tempfile::TempDir;

use crate::{
    entry_content::EntryContent,
    error::StoreError,
    image_dir::{MANIFEST, PROVENANCE, RECIPE, UNVERIFIED},
    index::{ImageRecord, Standing},
    locks::{self, Held},
    object::{ObjectId, StagedObjects},
    recipe::{MAX_SMALL, RecipeHead, RecipeWriter},
    store::{Store, SyncPoint},
};

/// Of so many bytes the disk is told while more come.
const SYNC_AFTER: u64 = 32 << 20;

/// An image that has been read whole and checked, and that nobody sees yet. Dropped, it leaves nothing.
pub struct StagedImage<'store> {
    store: &'store Store,
    /// Keeps the objects that are there already from being collected before the image names them.
    _lock: Held,
    on_disk: SyncPoint,
    directory: TempDir,
    objects: StagedObjects,
    id: ImageId,
    manifest: ImageManifest,
    tar_size: u64,
}

impl Store {
    /// Reads an archive, compressed or not, into a staging directory: its objects that are not in the store yet, its
    /// recipe and its manifest.
    pub fn stage(&self, archive: impl Read + Send) -> Result<StagedImage<'_>, StoreError> {
        self.check_writable()?;
        let lock = locks::ingest(self.root())?;
        let mut on_disk = self.sync_point()?;
        let tmp = self.tmp_dir();
        let directory = tempfile::Builder::new()
            .prefix("stage-")
            .tempdir_in(&tmp)
            .map_err(StoreError::io(&tmp))?;
        let objects_dir = directory.path().join("objects");
        fs::create_dir_all(directory.path().join("image")).map_err(StoreError::io(directory.path()))?;
        fs::create_dir_all(&objects_dir).map_err(StoreError::io(directory.path()))?;
        let mut objects = StagedObjects::new(&self.objects_dir(), &objects_dir);

        let path = image_file(&directory, RECIPE);
        let file = File::create_new(&path).map_err(StoreError::io(&path))?;
        let mut recipe = RecipeWriter::new(BufWriter::new(file)).map_err(StoreError::io(&path))?;
        let ((manifest, json), id, tar_size) = with_tar(archive, |tar| {
            read_entries(
                &mut TarReader::with_limits(tar, self.limits()),
                &mut objects,
                &mut on_disk,
                &mut recipe,
                &path,
            )
        })?;
        recipe
            .finish(&RecipeHead { id, tar_size })
            .map_err(StoreError::io(&path))?;

        let path = image_file(&directory, MANIFEST);
        fs::write(&path, &json).map_err(StoreError::io(&path))?;
        Ok(StagedImage {
            store: self,
            _lock: lock,
            on_disk,
            directory,
            objects,
            id,
            manifest,
            tar_size,
        })
    }
}

/// Reads every entry: contents into objects, but for small ones, all else into the recipe. Gives back the manifest, and its JSON.
fn read_entries(
    tar: &mut TarReader<impl BufRead>,
    objects: &mut StagedObjects,
    on_disk: &mut SyncPoint,
    recipe: &mut RecipeWriter<impl Write + Seek>,
    recipe_path: &Path,
) -> Result<(ImageManifest, Vec<u8>), StoreError> {
    let mut manifest = None;
    let mut synced = 0;
    loop {
        let entry = tar.next_entry()?;
        let mut framing = tar.take_framing();
        let Some(entry) = entry else {
            recipe.framing(&framing).map_err(StoreError::io(recipe_path))?;
            return Ok(manifest.ok_or(ArchiveError::NoManifest)?);
        };
        if let EntryKind::Manifest { .. } = entry.kind {
            let read = tar.read_manifest()?;
            framing.extend_from_slice(&read.1);
            manifest = Some(read);
        }
        if matches!(entry.kind, EntryKind::File { size: ..=MAX_SMALL }) {
            framing.extend(tar.read_content_to_end()?);
        }
        recipe.framing(&framing).map_err(StoreError::io(recipe_path))?;
        if let EntryKind::File { size } = entry.kind
            && size > MAX_SMALL
        {
            let mut content = EntryContent::of(tar);
            let added = objects.add(size, &mut content);
            content.check()?;
            let id = added.map_err(StoreError::io("tmp"))?;
            if objects.written() >= synced + SYNC_AFTER {
                synced = objects.written();
                on_disk.begin()?;
            }
            recipe.object(&id, size).map_err(StoreError::io(recipe_path))?;
        }
    }
}

impl StagedImage<'_> {
    /// The image ID, taken of every byte of the tar.
    pub fn id(&self) -> &ImageId {
        &self.id
    }

    /// How many bytes the uncompressed tar has.
    pub fn tar_size(&self) -> u64 {
        self.tar_size
    }

    /// The manifest.
    pub fn manifest(&self) -> &ImageManifest {
        &self.manifest
    }

    /// The recipe, as it is when nobody sees it yet.
    pub(crate) fn recipe(&self) -> Result<File, StoreError> {
        let path = image_file(&self.directory, RECIPE);
        File::open(&path).map_err(StoreError::io(path))
    }

    /// One of its objects, wherever it is.
    pub(crate) fn open_object(&self, id: &ObjectId) -> io::Result<File> {
        self.objects.open(id)
    }

    /// Makes the image visible, whole, with the record of where it came from and why it was believed.
    ///
    /// An image that is in the store already stays as it is, its provenance too: but one that nobody vouched for is
    /// vouched for from now on, if this one is, and objects that it had lost are there again.
    ///
    /// When this returns, a power cut loses nothing of it.
    pub fn commit(mut self, provenance: &serde_json::Value, standing: Standing) -> Result<ImageId, StoreError> {
        self.write(
            PROVENANCE,
            &serde_json::to_vec_pretty(provenance).expect("a JSON value can be written as JSON"),
        )?;
        if standing == Standing::Unverified {
            self.write(UNVERIFIED, b"")?;
        }
        // All of it is on disk before any of it has its name, or a power cut would leave objects that are none. This
        // also covers the objects of others that this image shares.
        self.on_disk.sync()?;
        if !self.objects.is_empty() {
            let objects = self.store.objects_dir();
            self.objects.put_in_place().map_err(StoreError::io(objects))?;
            // Not every file system keeps renames in their order, and the image's must be the last.
            self.on_disk.sync()?;
        }
        let place = self.store.images_dir().join(self.id.to_string());
        match fs::rename(self.directory.path().join("image"), &place) {
            Ok(()) => {}
            // POSIX leaves it to the file system by which of the two it says so; XFS takes the second.
            Err(error)
                if matches!(
                    error.kind(),
                    io::ErrorKind::DirectoryNotEmpty | io::ErrorKind::AlreadyExists
                ) =>
            {
                self.vouch(standing)?;
            }
            Err(source) => return Err(StoreError::Io { path: place, source }),
        }
        sync_directory(&self.store.images_dir())?;
        let record = ImageRecord {
            id: self.id,
            name: self.manifest.name.clone(),
            labels: self.manifest.labels.clone(),
            tar_size: self.tar_size,
            imported_at: SystemTime::now(),
            standing: self.store.image_dir(&self.id)?.standing(),
        };
        // The image is there, whatever becomes of its row, which whoever opens the store next will add.
        match self.store.index()?.insert(&record) {
            Err(error) if error.is_lack_of_room() => {
                tracing::warn!("`{}` is not in the index yet: {error}", self.id.short())
            }
            inserted => inserted?,
        }
        Ok(self.id)
    }

    /// Gives an image that is there the new provenance, if that is the better one. The mark goes last: an image that
    /// has lost it is verified.
    fn vouch(&self, standing: Standing) -> Result<(), StoreError> {
        let there = self.store.image_dir(&self.id)?;
        if there.standing() < standing {
            let path = there.path().join(PROVENANCE);
            fs::rename(image_file(&self.directory, PROVENANCE), &path).map_err(StoreError::io(path))?;
            sync_directory(there.path())?;
            let path = there.path().join(UNVERIFIED);
            fs::remove_file(&path).map_err(StoreError::io(path))?;
        }
        Ok(())
    }

    fn write(&self, name: &str, content: &[u8]) -> Result<(), StoreError> {
        let path = image_file(&self.directory, name);
        fs::write(&path, content).map_err(StoreError::io(path))
    }
}

/// Puts the names in a directory on the disk.
fn sync_directory(path: &Path) -> Result<(), StoreError> {
    let synced = File::open(path).and_then(|directory| directory.sync_all());
    synced.map_err(StoreError::io(path))
}

fn image_file(directory: &TempDir, name: &str) -> PathBuf {
    directory.path().join("image").join(name)
}
