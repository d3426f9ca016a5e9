//! Reading a tar as an image, entry by entry, in one pass.

use std::{
    collections::{BTreeMap, HashMap},
    io::Read,
};

use tar::EntryType;

use super::{
    ArchiveError, BLOCK, Entry, EntryKind, MAX_EXTENSION, MAX_MANIFEST, MAX_TRAILER, RootfsPath, header::RawHeader, pax,
};

const XATTR_PREFIX: &[u8] = b"SCHILY.xattr.";

/// Reads the entries of an image's tar in their order.
///
/// Every byte of the tar is seen by the caller: the contents of files through [`TarReader::read_content`], all others
/// (headers, padding, trailer) through [`TarReader::take_framing`], so that the tar can be put together again.
pub struct TarReader<R> {
    tar: R,
    offset: u64,
    framing: Vec<u8>,
    /// What is left of the current entry's content, and of its padding.
    content_left: u64,
    padding_left: usize,
    seen: HashMap<RootfsPath, Seen>,
    has_manifest: bool,
    has_rootfs: bool,
}

/// What an earlier entry was, as far as later ones depend on it.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Seen {
    /// A directory that only the paths beneath it speak of, so far.
    ImpliedDirectory,
    Directory,
    NoDirectory,
}

/// What extension headers say of the entry that they come before.
#[derive(Default)]
struct Extensions {
    path: Option<Vec<u8>>,
    link: Option<Vec<u8>>,
    size: Option<u64>,
    uid: Option<u64>,
    gid: Option<u64>,
    mtime: Option<(i64, u32)>,
    xattrs: BTreeMap<Vec<u8>, Vec<u8>>,
}

impl<R: Read> TarReader<R> {
    /// Reads from an uncompressed tar.
    pub fn new(tar: R) -> Self {
        Self {
            tar,
            offset: 0,
            framing: Vec::new(),
            content_left: 0,
            padding_left: 0,
            seen: HashMap::new(),
            has_manifest: false,
            has_rootfs: false,
        }
    }

    /// The next entry, or `None` after the last, when the tar has been read to its end and was whole.
    ///
    /// Content of the entry before that was not read is passed over.
    pub fn next_entry(&mut self) -> Result<Option<Entry>, ArchiveError> {
        self.pass_over_content()?;
        let mut extensions = Extensions::default();
        loop {
            let Some(header) = self.read_header()? else {
                self.read_trailer()?;
                return match (self.has_manifest, self.has_rootfs) {
                    (false, _) => Err(ArchiveError::NoManifest),
                    (_, false) => Err(ArchiveError::NoRootfs),
                    _ => Ok(None),
                };
            };
            match header.kind() {
                EntryType::XHeader => {
                    let body = self.read_extension(&header)?;
                    self.apply_pax(&body, &mut extensions)?;
                }
                EntryType::XGlobalHeader => {
                    // git-archive writes its commit here; anything that changes entries is not believed.
                    let body = self.read_extension(&header)?;
                    let records = pax::records(&body).ok_or_else(|| self.corrupt("a PAX record is malformed"))?;
                    if records.iter().any(|(key, _)| *key != b"comment") {
                        return Err(self.corrupt("a global PAX header changes the entries after it"));
                    }
                }
                EntryType::GNULongName => extensions.path = Some(self.read_gnu_text(&header)?),
                EntryType::GNULongLink => extensions.link = Some(self.read_gnu_text(&header)?),
                _ => return self.entry(&header, extensions).map(Some),
            }
        }
    }

    /// Reads a part of the current entry's content; 0 at its end.
    pub fn read_content(&mut self, buffer: &mut [u8]) -> Result<usize, ArchiveError> {
        let wanted = usize::try_from(self.content_left)
            .unwrap_or(usize::MAX)
            .min(buffer.len());
        if wanted == 0 {
            return Ok(0);
        }
        let read = self.tar.read(&mut buffer[..wanted])?;
        if read == 0 {
            return Err(ArchiveError::Truncated);
        }
        self.offset += read as u64;
        self.content_left -= read as u64;
        Ok(read)
    }

    /// The rest of the current entry's content, which the caller has checked to be small.
    pub fn read_content_to_end(&mut self) -> Result<Vec<u8>, ArchiveError> {
        let mut content = vec![0; usize::try_from(self.content_left).map_err(|_| ArchiveError::Truncated)?];
        let mut filled = 0;
        while filled < content.len() {
            filled += self.read_content(&mut content[filled..])?;
        }
        Ok(content)
    }

    /// The tar's own bytes since the last call: all that is not content of an entry.
    pub fn take_framing(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.framing)
    }

    /// How many bytes of the tar have been read.
    pub fn offset(&self) -> u64 {
        self.offset
    }

    /// What the tar is read from.
    pub fn get_mut(&mut self) -> &mut R {
        &mut self.tar
    }

    /// What the tar was read from.
    pub fn into_inner(self) -> R {
        self.tar
    }

    fn pass_over_content(&mut self) -> Result<(), ArchiveError> {
        let mut sink = vec![0; if self.content_left == 0 { 0 } else { 64 << 10 }];
        while self.content_left > 0 {
            self.read_content(&mut sink)?;
        }
        self.read_framing(self.padding_left)?;
        self.padding_left = 0;
        Ok(())
    }

    /// Reads `length` bytes that are no content, and returns where they begin in the framing.
    fn read_framing(&mut self, length: usize) -> Result<usize, ArchiveError> {
        let start = self.framing.len();
        self.framing.resize(start + length, 0);
        self.tar.read_exact(&mut self.framing[start..])?;
        self.offset += length as u64;
        Ok(start)
    }

    /// The next header, or `None` at the first of the two zero blocks that end a tar.
    fn read_header(&mut self) -> Result<Option<RawHeader>, ArchiveError> {
        let start = self.read_framing(BLOCK)?;
        let block: &[u8; BLOCK] = self.framing[start..].try_into().expect("one block was read");
        if block.iter().all(|&byte| byte == 0) {
            return Ok(None);
        }
        let first = self.offset == BLOCK as u64;
        RawHeader::parse(block).map(Some).map_err(|problem| match first {
            true => ArchiveError::NotAnArchive,
            false => self.corrupt(problem),
        })
    }

    /// Reads what follows the last entry: zeros, to the end.
    fn read_trailer(&mut self) -> Result<(), ArchiveError> {
        let mut trailer = Vec::new();
        self.tar
            .by_ref()
            .take(MAX_TRAILER as u64 + 1)
            .read_to_end(&mut trailer)?;
        self.offset += trailer.len() as u64;
        if trailer.len() < BLOCK {
            return Err(ArchiveError::Truncated);
        }
        if trailer.len() > MAX_TRAILER || trailer.iter().any(|&byte| byte != 0) {
            return Err(self.corrupt("something other than zeros follows the last entry"));
        }
        self.framing.extend_from_slice(&trailer);
        Ok(())
    }

    /// The body of a header that extends the next one.
    fn read_extension(&mut self, header: &RawHeader) -> Result<Vec<u8>, ArchiveError> {
        let size = header.size().filter(|&size| size <= MAX_EXTENSION);
        let size = size.ok_or_else(|| self.corrupt("an extension header is over 1 MiB or has no valid size"))?;
        let size = usize::try_from(size).expect("it is below 1 MiB");
        let start = self.read_framing(size.next_multiple_of(BLOCK))?;
        Ok(self.framing[start..start + size].to_vec())
    }

    fn read_gnu_text(&mut self, header: &RawHeader) -> Result<Vec<u8>, ArchiveError> {
        let mut text = self.read_extension(header)?;
        while text.last() == Some(&0) {
            text.pop();
        }
        Ok(text)
    }

    fn apply_pax(&self, body: &[u8], extensions: &mut Extensions) -> Result<(), ArchiveError> {
        let malformed = || self.corrupt("a PAX record is malformed");
        let number = |value: &[u8]| {
            std::str::from_utf8(value)
                .ok()
                .and_then(|text| text.parse::<u64>().ok())
        };
        for (key, value) in pax::records(body).ok_or_else(malformed)? {
            match key {
                b"path" => extensions.path = Some(value.to_vec()),
                b"linkpath" => extensions.link = Some(value.to_vec()),
                b"size" => extensions.size = Some(number(value).ok_or_else(malformed)?),
                b"uid" => extensions.uid = Some(number(value).ok_or_else(malformed)?),
                b"gid" => extensions.gid = Some(number(value).ok_or_else(malformed)?),
                b"mtime" => extensions.mtime = Some(pax::time(value).ok_or_else(malformed)?),
                _ if key.starts_with(b"GNU.sparse.") => {
                    return Err(self.corrupt("it holds a PAX sparse file, which is not supported"));
                }
                _ => {
                    if let Some(name) = key.strip_prefix(XATTR_PREFIX) {
                        extensions.xattrs.insert(name.to_vec(), value.to_vec());
                    }
                }
            }
        }
        Ok(())
    }

    /// Makes an entry of its header, and checks that an image may hold it.
    fn entry(&mut self, header: &RawHeader, extensions: Extensions) -> Result<Entry, ArchiveError> {
        let bad_number = || self.corrupt("a header has a number that is malformed or too large");
        let name = extensions.path.unwrap_or_else(|| header.path());
        let size = extensions.size.or(header.size()).ok_or_else(bad_number)?;
        let small = |number: Option<u64>| number.and_then(|n| u32::try_from(n).ok()).ok_or_else(bad_number);
        let uid = small(extensions.uid.or_else(|| header.uid()))?;
        let gid = small(extensions.gid.or_else(|| header.gid()))?;
        let (mtime, mtime_nanoseconds) = extensions
            .mtime
            .or_else(|| header.mtime().map(|time| (time, 0)))
            .ok_or_else(bad_number)?;
        let mode = header.mode().ok_or_else(bad_number)? & 0o7777;
        let link = extensions.link.unwrap_or_else(|| header.link());

        let refuse = |problem: &str| ArchiveError::Entry {
            path: String::from_utf8_lossy(&name).escape_debug().to_string(),
            problem: problem.to_owned(),
        };
        let path = RootfsPath::new(&name)
            .filter(|_| !name.starts_with(b"/"))
            .ok_or_else(|| refuse("leaves the image: it is absolute, has a `..`, or a part over 255 bytes"))?;
        let place = Place::of(&path);
        let kind = match (header.kind(), place) {
            (EntryType::Regular | EntryType::Continuous, Place::Manifest) => EntryKind::Manifest { size },
            (_, Place::Manifest) => return Err(refuse("must be a regular file")),
            (_, Place::Outside) => return Err(refuse("is outside of `rootfs`")),
            (EntryType::Directory, _) => EntryKind::Directory,
            (_, Place::Rootfs(path)) if path.is_root() => return Err(refuse("must be a directory")),
            // Before POSIX, a directory was a regular file whose name ends in a slash.
            (EntryType::Regular, _) if name.ends_with(b"/") => EntryKind::Directory,
            (EntryType::Regular | EntryType::Continuous, _) => EntryKind::File { size },
            (EntryType::Symlink, _) if link.is_empty() || link.contains(&0) || link.len() > 4095 => {
                return Err(refuse("is a symbolic link to nothing, or to more than 4095 bytes"));
            }
            (EntryType::Symlink, _) => EntryKind::Symlink { target: link },
            (EntryType::Link, _) => match RootfsPath::new(&link).map(|path| Place::of(&path)) {
                Some(Place::Rootfs(target)) => EntryKind::HardLink { target },
                _ => return Err(refuse("is a hard link to outside of `rootfs`")),
            },
            (device @ (EntryType::Char | EntryType::Block), _) => {
                let (major, minor) = header.device().ok_or_else(bad_number)?;
                match device {
                    EntryType::Char => EntryKind::CharDevice { major, minor },
                    _ => EntryKind::BlockDevice { major, minor },
                }
            }
            (EntryType::Fifo, _) => EntryKind::Fifo,
            (EntryType::GNUSparse, _) => return Err(refuse("is a GNU sparse file, which is not supported")),
            (other, _) => {
                return Err(refuse(&format!(
                    "is of the unknown type `{}`",
                    char::from(other.as_byte()).escape_debug()
                )));
            }
        };
        let path = match Place::of(&path) {
            Place::Rootfs(path) => path,
            Place::Manifest | Place::Outside => RootfsPath::root(),
        };
        self.note(&kind, &path).map_err(refuse)?;
        let entry = Entry {
            kind,
            path,
            mode: u16::try_from(mode).expect("twelve bits are left of it"),
            uid,
            gid,
            mtime,
            mtime_nanoseconds,
            xattrs: extensions.xattrs,
        };
        // Only files have content; what a directory's or a link's size says is not followed by any.
        self.content_left = entry.size();
        self.padding_left = (BLOCK - (entry.size() % BLOCK as u64) as usize) % BLOCK;
        Ok(entry)
    }

    /// Checks an entry against those before it, and remembers it.
    fn note(&mut self, kind: &EntryKind, path: &RootfsPath) -> Result<(), &'static str> {
        match kind {
            EntryKind::Manifest { size } => {
                if std::mem::replace(&mut self.has_manifest, true) {
                    return Err("stands twice");
                }
                return if *size > MAX_MANIFEST {
                    Err("is over 4 MiB")
                } else {
                    Ok(())
                };
            }
            EntryKind::HardLink { target } if self.seen.get(target) != Some(&Seen::NoDirectory) => {
                return Err("is a hard link to what is no file before it");
            }
            _ => self.has_rootfs = true,
        }
        let mut parent = RootfsPath::root();
        for part in path.parts() {
            if *self.seen.entry(parent.clone()).or_insert(Seen::ImpliedDirectory) == Seen::NoDirectory {
                return Err("lies beneath what is no directory");
            }
            parent = parent.join(part);
        }
        let seen = if *kind == EntryKind::Directory {
            Seen::Directory
        } else {
            Seen::NoDirectory
        };
        match (self.seen.insert(path.clone(), seen), seen) {
            (None, _) | (Some(Seen::ImpliedDirectory), Seen::Directory) => Ok(()),
            _ => Err("stands twice"),
        }
    }

    fn corrupt(&self, problem: &str) -> ArchiveError {
        ArchiveError::Corrupt {
            offset: self.offset,
            problem: problem.to_owned(),
        }
    }
}

/// Where in an image a name is.
enum Place {
    Manifest,
    Rootfs(RootfsPath),
    Outside,
}

impl Place {
    fn of(path: &RootfsPath) -> Self {
        let bytes = path.as_bytes();
        if bytes == b"manifest" {
            return Self::Manifest;
        }
        match bytes.strip_prefix(b"rootfs") {
            Some(b"") => Self::Rootfs(RootfsPath::root()),
            Some(rest) if rest.starts_with(b"/") => match RootfsPath::new(rest) {
                Some(path) => Self::Rootfs(path),
                None => Self::Outside,
            },
            _ => Self::Outside,
        }
    }
}
