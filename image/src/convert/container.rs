//! [`Container`]: the files of an OCI layout or of a Docker archive, be they in a directory or in a tar.

use std::{
    collections::HashMap,
    fs::File,
    io::{self, BufReader, Read, Seek, SeekFrom},
    os::unix::fs::{FileExt, OpenOptionsExt},
    path::{Path, PathBuf},
    sync::Arc,
};

use super::{ConvertError, MAX_DOCUMENT, layer::Budget, tar::TarEntries};
use crate::archive::{ArchiveError, Compression, Decompressor, EntryKind, RootfsPath};

/// More files than any archive of images has; their names are held in memory.
const MAX_MEMBERS: usize = 100_000;
/// Docker's archives have symbolic links to layers, one deep.
const MAX_LINKS: usize = 8;

/// Named files, read-only.
pub(super) struct Container {
    path: PathBuf,
    files: Files,
}

enum Files {
    Directory,
    Archive {
        file: Arc<File>,
        members: HashMap<RootfsPath, Member>,
    },
}

enum Member {
    File { offset: u64, size: u64 },
    Link(RootfsPath),
}

impl Container {
    /// The files in a directory.
    pub(super) fn directory(path: &Path) -> Result<Self, ConvertError> {
        let metadata = path.metadata().map_err(read_error(path))?;
        if !metadata.is_dir() {
            return Err(not_a(path, "OCI image layout", "it is no directory"));
        }
        Ok(Self {
            path: path.to_owned(),
            files: Files::Directory,
        })
    }

    /// The files in a tar. One that is compressed is decompressed into a temporary file first, for they are read in
    /// the order in which they are needed; it may have `most` bytes.
    pub(super) fn archive(path: &Path, expected: &'static str, most: u64) -> Result<Self, ConvertError> {
        let mut file = open(path)?;
        let in_tar = |error: ArchiveError| match error {
            ArchiveError::Io(source) => read_error(path)(source),
            other => not_a(path, expected, &other.to_string()),
        };
        let decompressor = Decompressor::new(&file).map_err(in_tar)?;
        if decompressor.compression() != Compression::None {
            let bounded = Budget::new(most).bounding(decompressor);
            file = decompressed(bounded).map_err(|error| in_tar(error.into()))?;
        } else {
            file.seek(SeekFrom::Start(0)).map_err(read_error(path))?;
        }
        let length = file.metadata().map_err(read_error(path))?.len();
        let members = members(&file, length).map_err(in_tar)?;
        Ok(Self {
            path: path.to_owned(),
            files: Files::Archive {
                file: Arc::new(file),
                members,
            },
        })
    }

    /// The directory or archive itself.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Whether there is a file of that name.
    pub(super) fn contains(&self, name: &str) -> bool {
        match &self.files {
            Files::Directory => {
                RootfsPath::new(name.as_bytes()).is_some_and(|name| self.path.join(name.as_path()).is_file())
            }
            Files::Archive { members, .. } => find(members, name).is_some(),
        }
    }

    /// Opens a file; gives its size too.
    pub(super) fn open(&self, name: &str) -> Result<(Box<dyn Read>, u64), ConvertError> {
        let missing = || ConvertError::invalid(name, format!("is not in `{}`", self.path.display()));
        match &self.files {
            Files::Directory => {
                let relative = RootfsPath::new(name.as_bytes()).ok_or_else(missing)?;
                let path = self.path.join(relative.as_path());
                if !path.exists() {
                    return Err(missing());
                }
                let file = open(&path)?;
                let size = file.metadata().map_err(read_error(&path))?.len();
                Ok((Box::new(file), size))
            }
            Files::Archive { file, members } => {
                let (offset, size) = find(members, name).ok_or_else(missing)?;
                let file = Arc::clone(file);
                let left = size;
                Ok((Box::new(Span { file, offset, left }), size))
            }
        }
    }

    /// A file that must be small.
    pub(super) fn read_document(&self, name: &str) -> Result<Vec<u8>, ConvertError> {
        let (file, size) = self.open(name)?;
        if size > MAX_DOCUMENT {
            return Err(ConvertError::invalid(
                name,
                "is over 4 MiB, which no honest document is",
            ));
        }
        let mut bytes = Vec::new();
        let read = file.take(MAX_DOCUMENT).read_to_end(&mut bytes);
        read.map_err(|source| ConvertError::Blob {
            name: name.to_owned(),
            source,
        })?;
        Ok(bytes)
    }
}

/// Opens a regular file, and waits for nobody where it is a pipe.
fn open(path: &Path) -> Result<File, ConvertError> {
    let mut options = File::options();
    let file = options
        .read(true)
        .custom_flags(libc::O_NONBLOCK)
        .open(path)
        .map_err(read_error(path))?;
    if file.metadata().map_err(read_error(path))?.is_file() {
        Ok(file)
    } else {
        Err(not_a(path, "file with an image", "it is no regular file"))
    }
}

/// An unnamed file with the tar that was compressed.
fn decompressed(mut archive: impl Read) -> io::Result<File> {
    let mut file = tempfile::tempfile()?;
    io::copy(&mut archive, &mut file)?;
    file.seek(SeekFrom::Start(0))?;
    Ok(file)
}

fn members(file: &File, length: u64) -> Result<HashMap<RootfsPath, Member>, ArchiveError> {
    let mut members = HashMap::new();
    let mut entries = TarEntries::seeking(BufReader::with_capacity(512, file));
    while let Some(entry) = entries.next_entry()? {
        let member = match entry.kind {
            EntryKind::File { size } => {
                let offset = entries.offset();
                if offset.checked_add(size).is_none_or(|end| end > length) {
                    return Err(ArchiveError::Truncated);
                }
                Member::File { offset, size }
            }
            EntryKind::HardLink { target } => Member::Link(target),
            EntryKind::Symlink { target } => match beside(&entry.path, &target) {
                Some(target) => Member::Link(target),
                None => continue,
            },
            _ => continue,
        };
        members.insert(entry.path, member);
        if members.len() > MAX_MEMBERS {
            return Err(ArchiveError::Corrupt {
                offset: entries.offset(),
                problem: "it has over 100,000 files".to_owned(),
            });
        }
    }
    Ok(members)
}

/// Where a symbolic link at `path` leads, if it stays within the archive.
fn beside(path: &RootfsPath, target: &[u8]) -> Option<RootfsPath> {
    let mut parts: Vec<&[u8]> = path.parts().collect();
    parts.pop();
    for part in target.split(|&byte| byte == b'/') {
        match part {
            b"" | b"." => {}
            b".." => drop(parts.pop()?),
            name => parts.push(name),
        }
    }
    RootfsPath::new(&parts.join(&b'/')).filter(|_| !target.starts_with(b"/"))
}

/// Where in the archive a file's content is.
fn find(members: &HashMap<RootfsPath, Member>, name: &str) -> Option<(u64, u64)> {
    let mut name = RootfsPath::new(name.as_bytes())?;
    for _ in 0..MAX_LINKS {
        match members.get(&name)? {
            Member::File { offset, size } => return Some((*offset, *size)),
            Member::Link(target) => name = target.clone(),
        }
    }
    None
}

/// A part of a file.
struct Span {
    file: Arc<File>,
    offset: u64,
    left: u64,
}

impl Read for Span {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let wanted = usize::try_from(self.left).unwrap_or(usize::MAX).min(buffer.len());
        let read = self.file.read_at(&mut buffer[..wanted], self.offset)?;
        self.offset += read as u64;
        self.left -= read as u64;
        Ok(read)
    }
}

pub(super) fn read_error(path: &Path) -> impl Fn(io::Error) -> ConvertError {
    move |source| ConvertError::Read {
        path: path.to_owned(),
        source,
    }
}

pub(super) fn not_a(path: &Path, expected: &'static str, problem: &str) -> ConvertError {
    ConvertError::NotA {
        path: path.to_owned(),
        expected,
        problem: problem.to_owned(),
    }
}
