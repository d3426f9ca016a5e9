//! [`Directory`]: packs in a directory.
//!
//! ```text
//!   ab/cdef….pack      a pack; mode 0444, never changed
//!   tmp/               packs that are being written
//! ```
//!
//! A pack is written in `tmp/`, synced, and linked to its name, which fails if the name is taken; then the folder is
//! synced. Packs are few and large, so each is synced by itself. Whoever is killed leaves a file in `tmp/`, which
//! nobody reads; [`Directory::open`] removes those that are a day old.

use std::{
    fs::{self, File},
    io::{self, Read},
    ops::Range,
    os::unix::fs::{FileExt, PermissionsExt},
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

use tempfile::NamedTempFile;

use super::{
    backend::{Backend, Put, verified},
    name::PackId,
};

const TMP: &str = "tmp";
/// No pack takes longer to be written.
const STALE: Duration = Duration::from_secs(24 * 60 * 60);

/// Packs in a directory of the local file system.
#[derive(Debug)]
pub struct Directory {
    root: PathBuf,
    location: String,
}

impl Directory {
    /// Opens the directory, and makes it if there is none.
    pub fn open(root: &Path) -> io::Result<Self> {
        let tmp = root.join(TMP);
        fs::create_dir_all(&tmp)?;
        let stale = SystemTime::now() - STALE;
        for entry in fs::read_dir(&tmp)? {
            let entry = entry?;
            if entry
                .metadata()
                .and_then(|file| file.modified())
                .is_ok_and(|time| time < stale)
            {
                // Another process may have been faster.
                fs::remove_file(entry.path()).ok();
            }
        }
        Ok(Self {
            root: root.to_owned(),
            location: root.display().to_string(),
        })
    }

    fn path(&self, pack: &PackId) -> PathBuf {
        self.root.join(pack.relative_path())
    }
}

impl Backend for Directory {
    fn location(&self) -> &str {
        &self.location
    }

    fn size(&self, pack: &PackId) -> io::Result<Option<u64>> {
        Ok(found(self.path(pack).metadata())?.map(|file| file.len()))
    }

    fn read(&self, pack: &PackId, range: Range<u64>) -> io::Result<Option<Vec<u8>>> {
        let Some(file) = found(File::open(self.path(pack)))? else {
            return Ok(None);
        };
        // So that no claim of a length makes us ask for memory that the file cannot fill.
        if range.end > file.metadata()?.len() {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let mut bytes = vec![0; range.end.saturating_sub(range.start) as usize];
        file.read_exact_at(&mut bytes, range.start)?;
        Ok(Some(bytes))
    }

    fn put(&self, pack: &PackId, size: u64, content: &mut dyn Read) -> io::Result<Put> {
        if self.size(pack)? == Some(size) {
            return Ok(Put::Known);
        }
        let path = self.path(pack);
        let folder = path.parent().expect("a pack is in a folder");
        let mut file = NamedTempFile::new_in(self.root.join(TMP))?;
        io::copy(&mut verified(pack, size, content), &mut file)?;
        file.as_file().set_permissions(fs::Permissions::from_mode(0o444))?;
        file.as_file().sync_all()?;
        fs::create_dir_all(folder)?;
        let put = match file.persist_noclobber(&path) {
            Ok(_) => Put::New,
            Err(error) if error.error.kind() != io::ErrorKind::AlreadyExists => return Err(error.error),
            // Somebody was faster; or what is there is damaged, since its size is wrong, and is replaced.
            Err(_) if self.size(pack)? == Some(size) => Put::Known,
            Err(error) => error.file.persist(&path).map(|_| Put::New)?,
        };
        File::open(folder)?.sync_all()?;
        File::open(&self.root)?.sync_all()?;
        Ok(put)
    }

    fn list(&self) -> io::Result<Vec<PackId>> {
        let mut packs = Vec::new();
        for folder in fs::read_dir(&self.root)? {
            let folder = folder?;
            if folder.file_name() == TMP || !folder.file_type()?.is_dir() {
                continue;
            }
            for file in fs::read_dir(folder.path())? {
                let (folder, file) = (folder.file_name(), file?.file_name());
                let path = Path::new(&folder).join(file);
                packs.extend(path.to_str().and_then(PackId::from_relative_path));
            }
        }
        Ok(packs)
    }

    fn delete(&self, pack: &PackId) -> io::Result<bool> {
        Ok(found(fs::remove_file(self.path(pack)))?.is_some())
    }
}

/// `None` for what is not there.
fn found<T>(result: io::Result<T>) -> io::Result<Option<T>> {
    match result {
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => Ok(None),
        result => result.map(Some),
    }
}

#[cfg(test)]
mod tests {
    use sha2::{Digest, Sha256};
    use tempfile::TempDir;

    use super::*;

    #[test]
    fn a_pack_that_is_cut_short_is_replaced_and_what_is_left_of_a_killed_writer_goes() {
        let directory = TempDir::new().unwrap();
        let packs = Directory::open(directory.path()).unwrap();
        let id = PackId::from_bytes(Sha256::digest(b"content").into());
        let path = directory.path().join(id.relative_path());
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, b"cont").unwrap();
        assert_eq!(packs.put(&id, 7, &mut &b"content"[..]).unwrap(), Put::New);
        assert_eq!(fs::read(&path).unwrap(), b"content");
        assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o444);

        let (old, new) = (directory.path().join("tmp/old"), directory.path().join("tmp/new"));
        File::create(&old)
            .unwrap()
            .set_modified(SystemTime::now() - 2 * STALE)
            .unwrap();
        File::create(&new).unwrap();
        Directory::open(directory.path()).unwrap();
        assert!(!old.exists() && new.exists());
    }
}
