//! Objects: the contents of regular files, each stored once under its SHA-256.

use std::{
    collections::{BTreeMap, HashSet},
    fmt,
    fs::{self, File, OpenOptions},
    io::{self, BufRead, ErrorKind, Read, Write},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};

use sha2::{Digest, Sha256};

/// Up to this size a content is held in memory until its digest is known, so that one which is there already is never
/// written.
const MAX_HELD: usize = 1 << 20;

/// The name of an object: the SHA-256 of its content.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ObjectId(pub(crate) [u8; 32]);

impl ObjectId {
    /// The object with this digest.
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// Reads a content to its end and gives the name that its object has.
    pub fn of(mut content: impl Read) -> io::Result<Self> {
        let mut hasher = Sha256::new();
        let mut buffer = vec![0; 128 << 10];
        loop {
            match content.read(&mut buffer) {
                Ok(0) => return Ok(Self(hasher.finalize().into())),
                Ok(read) => hasher.update(&buffer[..read]),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// The digest.
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// The object's path beneath `objects/`: two hex digits, a slash, and the other 62.
    pub fn relative_path(&self) -> String {
        let hex = hex::encode(self.0);
        format!("{}/{}", &hex[..2], &hex[2..])
    }
}

impl ObjectId {
    /// The object that lies at this path beneath `objects/`, given as its directory and its name in it.
    pub(crate) fn from_path(fan: &str, rest: &str) -> Option<Self> {
        let hex = format!("{fan}{rest}");
        if fan.len() != 2 || hex.bytes().any(|byte| byte.is_ascii_uppercase()) {
            return None;
        }
        let mut bytes = [0; 32];
        hex::decode_to_slice(hex, &mut bytes).ok()?;
        Some(Self(bytes))
    }
}

impl fmt::Display for ObjectId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

impl fmt::Debug for ObjectId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Gathers the objects that the store does not have yet in a directory of its own, from which
/// [`StagedObjects::put_in_place`] moves them once they are safely on disk.
///
/// That directory has the layout of `objects/`: small directories are the faster ones, and in a new store whole
/// directories can be moved.
pub(crate) struct StagedObjects {
    objects: PathBuf,
    staging: PathBuf,
    /// By the first byte of their names.
    new: BTreeMap<u8, HashSet<ObjectId>>,
    held: Vec<u8>,
    written: u64,
}

impl StagedObjects {
    pub(crate) fn new(objects: &Path, staging: &Path) -> Self {
        Self {
            objects: objects.to_owned(),
            staging: staging.to_owned(),
            new: BTreeMap::new(),
            held: Vec::new(),
            written: 0,
        }
    }

    /// Takes in what `content` gives, which must be exactly `size` bytes.
    pub(crate) fn add(&mut self, size: u64, content: impl BufRead) -> io::Result<ObjectId> {
        match usize::try_from(size) {
            Ok(size) if size <= MAX_HELD => self.add_small(size, content),
            _ => self.add_large(size, content),
        }
    }

    /// A content that lies in one piece is not copied.
    fn add_small(&mut self, size: usize, mut content: impl BufRead) -> io::Result<ObjectId> {
        let here = content.fill_buf()?;
        if here.len() >= size {
            let id = self.add_held(&here[..size])?;
            content.consume(size);
            return Ok(id);
        }
        let mut held = std::mem::take(&mut self.held);
        held.resize(MAX_HELD, 0);
        let added = content
            .read_exact(&mut held[..size])
            .and_then(|()| self.add_held(&held[..size]));
        self.held = held;
        added
    }

    fn add_held(&mut self, content: &[u8]) -> io::Result<ObjectId> {
        let id = ObjectId(Sha256::digest(content).into());
        let size = content.len() as u64;
        if !self.has(&id, size) {
            let path = self.stage(&id)?;
            create(&path)?.write_all(content)?;
            self.written += size;
        }
        Ok(id)
    }

    fn add_large(&mut self, size: u64, mut content: impl BufRead) -> io::Result<ObjectId> {
        let unnamed = self.staging.join("unnamed");
        let mut file = create(&unnamed)?;
        let mut hasher = Sha256::new();
        let mut left = size;
        while left > 0 {
            let here = content.fill_buf()?;
            let read = here.len().min(usize::try_from(left).unwrap_or(usize::MAX));
            if read == 0 {
                return Err(ErrorKind::UnexpectedEof.into());
            }
            hasher.update(&here[..read]);
            file.write_all(&here[..read])?;
            content.consume(read);
            left -= read as u64;
        }
        let id = ObjectId(hasher.finalize().into());
        if self.has(&id, size) {
            fs::remove_file(&unnamed)?;
        } else {
            fs::rename(&unnamed, self.stage(&id)?)?;
            self.written += size;
        }
        Ok(id)
    }

    /// An object that was taken in.
    pub(crate) fn open(&self, id: &ObjectId) -> io::Result<File> {
        let path = id.relative_path();
        match File::open(self.staging.join(&path)) {
            Err(error) if error.kind() == ErrorKind::NotFound => File::open(self.objects.join(path)),
            opened => opened,
        }
    }

    /// How many bytes of new objects there are.
    pub(crate) fn written(&self) -> u64 {
        self.written
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.new.is_empty()
    }

    /// Moves the objects to where the store looks for them. A process that died here leaves whole objects that no
    /// image names.
    pub(crate) fn put_in_place(&self) -> io::Result<()> {
        for (first, ids) in &self.new {
            let directory = format!("{first:02x}");
            // Where the store has no such directory, or an empty one, this is all.
            match fs::rename(self.staging.join(&directory), self.objects.join(&directory)) {
                Err(error) if matches!(error.kind(), ErrorKind::DirectoryNotEmpty | ErrorKind::AlreadyExists) => {}
                result => {
                    result?;
                    continue;
                }
            }
            for id in ids {
                let path = id.relative_path();
                fs::rename(self.staging.join(&path), self.objects.join(&path))?;
            }
        }
        Ok(())
    }

    /// Whether the object is there. One that a failing disk has cut short is not: the new one takes its place.
    fn has(&self, id: &ObjectId, size: u64) -> bool {
        let staged = self.new.get(&id.0[0]).is_some_and(|ids| ids.contains(id));
        let there = || fs::symlink_metadata(self.objects.join(id.relative_path()));
        staged || there().is_ok_and(|file| file.is_file() && file.len() == size)
    }

    /// Where a new object is written.
    fn stage(&mut self, id: &ObjectId) -> io::Result<PathBuf> {
        let ids = self.new.entry(id.0[0]).or_default();
        if ids.is_empty() {
            fs::create_dir(self.staging.join(format!("{:02x}", id.0[0])))?;
        }
        ids.insert(*id);
        Ok(self.staging.join(id.relative_path()))
    }
}

/// A new file that is never written again.
fn create(path: &Path) -> io::Result<File> {
    OpenOptions::new().write(true).create_new(true).mode(0o444).open(path)
}
