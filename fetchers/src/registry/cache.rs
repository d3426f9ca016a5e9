//! [`BlobCache`]: blobs that came from registries, so that images which share them fetch them once.
//!
//! ```text
//!   blobs/sha256/<hex>    a blob, verified; its time is when it was last used
//! ```
//!
//! It lies in the store's directory and can be removed at any time: no image needs it.

use std::{
    fs::{self, File},
    io::{self, Read},
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

use dhow_image::{Blob, BlobDigest, DigestCheck};
use tempfile::TempDir;

/// A blob that no image was made of for so long goes.
const KEPT: Duration = Duration::from_secs(7 * 24 * 60 * 60);
const BUFFER: usize = 256 << 10;

/// A directory of blobs, which processes share.
#[derive(Clone, Debug)]
pub(crate) struct BlobCache {
    /// Where `blobs/` is.
    root: PathBuf,
}

impl BlobCache {
    /// The blobs beneath this directory.
    pub(crate) fn new(root: &Path) -> Self {
        Self { root: root.to_owned() }
    }

    /// Whether a blob is here; if so, it stays for a while yet.
    pub(crate) fn has(&self, blob: &Blob) -> bool {
        let open = File::options().write(true).open(self.path(&blob.digest));
        open.is_ok_and(|file| {
            file.metadata().is_ok_and(|metadata| metadata.len() == blob.size)
                && file.set_modified(SystemTime::now()).is_ok()
        })
    }

    /// Takes in a small blob that has been verified.
    pub(crate) fn write(&self, digest: &BlobDigest, content: &[u8]) -> io::Result<()> {
        let path = self.path(digest);
        let directory = path.parent().expect("blobs have a directory");
        fs::create_dir_all(directory)?;
        let mut file = tempfile::Builder::new().prefix(".new-").tempfile_in(directory)?;
        io::Write::write_all(&mut file, content)?;
        file.persist(path).map_err(|error| error.error)?;
        Ok(())
    }

    /// Verifies a file, and takes it in if it is the blob: else its digest is given back.
    pub(crate) fn adopt(&self, blob: &Blob, file: &Path) -> io::Result<Result<(), BlobDigest>> {
        let mut content = File::open(file)?;
        let mut check = DigestCheck::new(&blob.digest);
        let mut buffer = vec![0; BUFFER];
        loop {
            match content.read(&mut buffer)? {
                0 => break,
                read => check.update(&buffer[..read]),
            }
        }
        if let Err(found) = check.finish() {
            return Ok(Err(found));
        }
        let path = self.path(&blob.digest);
        fs::create_dir_all(path.parent().expect("blobs have a directory"))?;
        fs::rename(file, path)?;
        Ok(Ok(()))
    }

    /// Removes these.
    pub(crate) fn forget(&self, blobs: &[Blob]) {
        for blob in blobs {
            // One that cannot be removed is verified again, whoever uses it.
            let _: io::Result<()> = fs::remove_file(self.path(&blob.digest));
        }
    }

    /// An OCI layout with this index, in a temporary directory, whose blobs are these.
    pub(crate) fn layout(&self, tmp: &Path, index: &[u8]) -> io::Result<TempDir> {
        let layout = tempfile::Builder::new().prefix("layout-").tempdir_in(tmp)?;
        fs::write(layout.path().join("oci-layout"), r#"{"imageLayoutVersion":"1.0.0"}"#)?;
        fs::write(layout.path().join("index.json"), index)?;
        symlink(self.root.join("blobs"), layout.path().join("blobs"))?;
        Ok(layout)
    }

    /// Removes what was not used for a week. What another process removes meanwhile is gone as well.
    pub(crate) fn tidy(&self) {
        let directories = ["sha256", "sha512"].map(|name| fs::read_dir(self.root.join("blobs").join(name)));
        for entry in directories.into_iter().flatten().flatten().flatten() {
            let modified = entry.metadata().and_then(|metadata| metadata.modified());
            let age = modified.map(|modified| SystemTime::now().duration_since(modified).unwrap_or_default());
            if age.is_ok_and(|age| age > KEPT) {
                // Nobody needs it, whether it can be removed or not.
                let _: io::Result<()> = fs::remove_file(entry.path());
            }
        }
    }

    fn path(&self, digest: &BlobDigest) -> PathBuf {
        self.root.join(digest.blob_path())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn only_what_is_right_is_taken_in_and_old_blobs_go() {
        let directory = tempfile::tempdir().unwrap();
        let cache = BlobCache::new(directory.path());
        let blob = Blob {
            digest: BlobDigest::of(b"content"),
            size: 7,
        };
        let file = directory.path().join("part");
        fs::write(&file, "altered").unwrap();
        let found = cache.adopt(&blob, &file).unwrap().unwrap_err();
        assert_eq!(found, BlobDigest::of(b"altered"));
        assert!(!cache.has(&blob));
        fs::write(&file, "content").unwrap();
        cache.adopt(&blob, &file).unwrap().unwrap();
        assert!(cache.has(&blob) && !file.exists());
        cache.write(&BlobDigest::of(b"{}"), b"{}").unwrap();
        let old = SystemTime::now() - KEPT - Duration::from_secs(1);
        let opened = File::options().write(true).open(cache.path(&blob.digest)).unwrap();
        opened.set_modified(old).unwrap();
        cache.tidy();
        assert!(!cache.path(&blob.digest).exists());
        assert!(cache.path(&BlobDigest::of(b"{}")).exists());
        cache.write(&blob.digest, b"short").unwrap();
        assert!(!cache.has(&blob), "what has another size is fetched again");
    }
}
