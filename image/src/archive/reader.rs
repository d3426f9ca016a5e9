//! Reading a tar as an image, entry by entry, in one pass.

use std::io::{BufRead, Read};

use tar::EntryType;

use super::{
    ArchiveError, BLOCK, Entry, EntryKind, Limits, MAX_EXTENSION, MAX_MANIFEST, MAX_TRAILER, RootfsPath,
    extensions::{Extensions, SPARSE},
    header::RawHeader,
    manifest_json,
    names::{Names, Seen},
};
use crate::manifest::ImageManifest;

/// Reads the entries of an image's tar in their order.
///
/// Every byte of the tar is seen by the caller: the contents of files through [`TarReader::read_content`], all others
/// (headers, padding, trailer) through [`TarReader::take_framing`], so that the tar can be put together again.
pub struct TarReader<R> {
    tar: R,
    limits: Limits,
    offset: u64,
    framing: Vec<u8>,
    /// Where content goes that nobody wants.
    sink: Vec<u8>,
    /// What is left of the current entry's content, and of its padding.
    content_left: u64,
    padding_left: usize,
    names: Names,
    has_manifest: bool,
    has_rootfs: bool,
    has_top: bool,
    is_lost: bool,
    is_known: bool,
}

impl<R: BufRead> TarReader<R> {
    /// A part of the current entry's content, where it lies; none at its end. What the caller is done with it says by
    /// [`Self::consume_content`].
    pub fn fill_content(&mut self) -> Result<&[u8], ArchiveError> {
        if self.content_left == 0 {
            return Ok(&[]);
        }
        let bytes = self.tar.fill_buf()?;
        if bytes.is_empty() {
            return Err(ArchiveError::Truncated);
        }
        let left = usize::try_from(self.content_left).unwrap_or(usize::MAX);
        Ok(&bytes[..left.min(bytes.len())])
    }

    /// Goes on behind so many bytes of what [`Self::fill_content`] gave.
    pub fn consume_content(&mut self, amount: usize) -> Result<(), ArchiveError> {
        self.tar.consume(amount);
        self.content_left -= amount as u64;
        self.advance(amount as u64)
    }
}

impl<R: Read> TarReader<R> {
    /// Reads from an uncompressed tar.
    pub fn new(tar: R) -> Self {
        Self::with_limits(tar, Limits::default())
    }

    /// Reads from an uncompressed tar as far as the limits permit.
    pub fn with_limits(tar: R, limits: Limits) -> Self {
        Self {
            tar,
            limits,
            offset: 0,
            framing: Vec::new(),
            sink: Vec::new(),
            content_left: 0,
            padding_left: 0,
            names: Names::new(),
            has_manifest: false,
            has_rootfs: false,
            has_top: false,
            is_lost: false,
            is_known: false,
        }
    }

    /// Reads a tar that was read whole before. Names and hard links are not checked again, so that memory does not grow
    /// with them.
    pub fn of_known(tar: R) -> Self {
        Self {
            is_known: true,
            ..Self::with_limits(tar, Limits::NONE)
        }
    }

    /// Tells the reader that the rest of the current entry's content is not in what it reads from.
    pub fn leave_out_content(&mut self) {
        self.offset += self.content_left;
        self.content_left = 0;
    }

    /// The next entry, or `None` after the last, when the tar has been read to its end and was whole.
    ///
    /// Content of the entry before that was not read is passed over.
    pub fn next_entry(&mut self) -> Result<Option<Entry>, ArchiveError> {
        self.pass_over_content()?;
        let mut extensions = Extensions::default();
        // Where the headers of the next entry begin; what comes before its own must stay small.
        let mut start = self.offset;
        loop {
            let Some(header) = self.read_header()? else {
                if self.offset - start > BLOCK as u64 {
                    return Err(self.corrupt("an extension header has no entry after it"));
                }
                self.read_trailer()?;
                return match (self.has_manifest, self.has_rootfs) {
                    (false, _) => Err(ArchiveError::NoManifest),
                    (_, false) => Err(ArchiveError::NoRootfs),
                    _ => Ok(None),
                };
            };
            if self.offset - start > MAX_EXTENSION {
                return Err(self.corrupt("the extension headers of an entry are over 1 MiB"));
            }
            let applied = match header.kind() {
                EntryType::XHeader => extensions.apply_pax(&self.read_extension(&header)?),
                EntryType::XGlobalHeader => match Extensions::is_harmless_globally(&self.read_extension(&header)?) {
                    Ok(false) => Err("a global PAX header changes the entries after it"),
                    result => result.map(drop),
                },
                EntryType::GNULongName => extensions.set_path(&self.read_gnu_text(&header)?),
                EntryType::GNULongLink => extensions.set_link(&self.read_gnu_text(&header)?),
                _ => {
                    let extent = extent(&header, &extensions);
                    match self.entry(&header, std::mem::take(&mut extensions)) {
                        Ok(Some(entry)) => return Ok(Some(entry)),
                        Ok(None) => {
                            start = self.offset;
                            Ok(())
                        }
                        Err(error) => {
                            self.pass_over_refused(extent);
                            return Err(error);
                        }
                    }
                }
            };
            applied.map_err(|problem| self.corrupt(problem))?;
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
        self.advance(read as u64)?;
        self.content_left -= read as u64;
        Ok(read)
    }

    /// Reads and checks the manifest, which is the current entry, and gives its bytes as well.
    pub fn read_manifest(&mut self) -> Result<(ImageManifest, Vec<u8>), ArchiveError> {
        let json = self.read_content_to_end()?;
        Ok((manifest_json::parse(&json)?, json))
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

    /// Whether entries can be read after the last error. So it is after [`ArchiveError::Entry`] where it is certain
    /// how long the refused entry is: [`TarReader::next_entry`] then passes over it, so that all that is wrong with
    /// an archive can be told. What comes of that is no image.
    pub fn can_go_on(&self) -> bool {
        !self.is_lost
    }

    fn pass_over_refused(&mut self, extent: Option<u64>) {
        let size = extent.unwrap_or(0);
        self.is_lost = extent.is_none();
        self.content_left = size;
        self.padding_left = (BLOCK - (size % BLOCK as u64) as usize) % BLOCK;
    }

    fn pass_over_content(&mut self) -> Result<(), ArchiveError> {
        if self.content_left > 0 {
            // One buffer for all that is passed over: making one for each entry would take longer than reading it.
            let mut sink = std::mem::take(&mut self.sink);
            sink.resize(SINK, 0);
            while self.content_left > 0 {
                self.read_content(&mut sink)?;
            }
            self.sink = sink;
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
        self.advance(length as u64)?;
        Ok(start)
    }

    fn advance(&mut self, read: u64) -> Result<(), ArchiveError> {
        self.offset += read;
        self.check_size(0)
    }

    /// Checks that the tar can go on for so many bytes.
    fn check_size(&self, coming: u64) -> Result<(), ArchiveError> {
        let limit = self.limits.tar_size;
        match self.offset.saturating_add(coming) > limit {
            true => Err(ArchiveError::TooLarge {
                what: "bytes of tar",
                limit,
            }),
            false => Ok(()),
        }
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
        self.advance(trailer.len() as u64)?;
        if trailer.len() < BLOCK {
            return Err(ArchiveError::Truncated);
        }
        if trailer.iter().any(|&byte| byte != 0) {
            return Err(self.corrupt("something other than zeros follows the last entry"));
        }
        if trailer.len() > MAX_TRAILER {
            return Err(self.corrupt("over 1 MiB of zeros follow the last entry"));
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

    /// Makes an entry of its header, and checks that an image may hold it. `None` for the directory above `manifest`
    /// and `rootfs`, of which `tar -c .` writes an entry and which is no part of the image.
    fn entry(&mut self, header: &RawHeader, mut extensions: Extensions) -> Result<Option<Entry>, ArchiveError> {
        let bad_number = || self.corrupt("a header has a number that is malformed or too large");
        extensions.resolve_acls();
        let name = extensions.path.unwrap_or_else(|| header.path());
        let shown_name = extensions.sparse_name.as_ref().unwrap_or(&name);
        let refuse = |problem: &str| ArchiveError::Entry {
            path: shown(shown_name),
            problem: problem.to_owned(),
        };
        if let Some(problem) = extensions.refusal {
            return Err(refuse(&problem));
        }
        if let Some(problem) = unreadable(header.kind()) {
            return Err(refuse(problem));
        }
        let path = checked_path(&name).map_err(refuse)?;

        let size = header.size().ok_or_else(bad_number)?;
        let size = match extensions.size {
            // A PAX size is for what the header has no room for. Programs differ in which of the two they believe,
            // and would go on at different places of the tar.
            Some(pax_size) if pax_size != size && pax_size < MAX_OCTAL_SIZE => {
                return Err(refuse("has two sizes, one in its header and one in a PAX record"));
            }
            Some(pax_size) => pax_size,
            None => size,
        };
        let small = |number: Option<u64>| number.and_then(|n| u32::try_from(n).ok()).ok_or_else(bad_number);
        let uid = small(extensions.uid.or_else(|| header.uid()))?;
        let gid = small(extensions.gid.or_else(|| header.gid()))?;
        if uid == u32::MAX || gid == u32::MAX {
            return Err(refuse(
                "belongs to the user or group 4294967295, which Linux takes for none",
            ));
        }
        let (mtime, mtime_nanoseconds) = extensions
            .mtime
            .or_else(|| header.mtime().map(|time| (time, 0)))
            .ok_or_else(bad_number)?;
        let mode = header.mode().ok_or_else(bad_number)? & 0o7777;
        let link = extensions.link.unwrap_or_else(|| header.link());

        let kind = match (header.kind(), Place::of(&path)) {
            (EntryType::Directory, Place::Top) => {
                if std::mem::replace(&mut self.has_top, true) {
                    return Err(refuse("stands twice"));
                }
                return match size {
                    0 => Ok(None),
                    _ => Err(refuse(SIZE_WITHOUT_CONTENT)),
                };
            }
            (EntryType::Regular | EntryType::Continuous, Place::Manifest) => EntryKind::Manifest { size },
            (_, Place::Manifest) => return Err(refuse("must be a regular file")),
            (_, Place::Top | Place::Outside) => return Err(refuse("is outside of `rootfs`")),
            (EntryType::Directory, _) => EntryKind::Directory,
            (_, Place::Rootfs(path)) if path.is_root() => return Err(refuse("must be a directory")),
            // Before POSIX, a directory was a regular file whose name ends in a slash.
            (EntryType::Regular, _) if name.ends_with(b"/") => EntryKind::Directory,
            (EntryType::Regular | EntryType::Continuous, _) => EntryKind::File { size },
            (EntryType::Symlink, _) if link.is_empty() || link.contains(&0) || link.len() > MAX_PATH => {
                return Err(refuse("is a symbolic link to nothing, or to more than 4095 bytes"));
            }
            (EntryType::Symlink, _) => EntryKind::Symlink { target: link },
            (EntryType::Link, _) => match checked_path(&link).map(|path| Place::of(&path)) {
                Ok(Place::Rootfs(target)) => EntryKind::HardLink { target },
                _ => return Err(refuse("is a hard link to outside of `rootfs`")),
            },
            (device @ (EntryType::Char | EntryType::Block), _) => {
                let (major, minor) = match (extensions.device_major, extensions.device_minor) {
                    (Some(major), Some(minor)) => (major, minor),
                    (major, minor) => {
                        let device = header.device().ok_or_else(bad_number)?;
                        (major.unwrap_or(device.0), minor.unwrap_or(device.1))
                    }
                };
                match device {
                    EntryType::Char => EntryKind::CharDevice { major, minor },
                    _ => EntryKind::BlockDevice { major, minor },
                }
            }
            (EntryType::Fifo, _) => EntryKind::Fifo,
            (other, _) => {
                return Err(refuse(&format!(
                    "is of the unknown type `{}`",
                    char::from(other.as_byte()).escape_debug()
                )));
            }
        };
        let path = match Place::of(&path) {
            Place::Rootfs(path) => path,
            Place::Manifest | Place::Top | Place::Outside => RootfsPath::root(),
        };
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
        if entry.size() != size {
            return Err(refuse(SIZE_WITHOUT_CONTENT));
        }
        self.check_size(size)?;
        self.note(&entry.kind, &entry.path).map_err(refuse)?;
        if self.names.count() > self.limits.names {
            return Err(ArchiveError::TooLarge {
                what: "names",
                limit: self.limits.names as u64,
            });
        }
        self.content_left = size;
        self.padding_left = (BLOCK - (size % BLOCK as u64) as usize) % BLOCK;
        Ok(Some(entry))
    }

    /// Checks an entry against those before it, and remembers it.
    fn note(&mut self, kind: &EntryKind, path: &RootfsPath) -> Result<(), &'static str> {
        match kind {
            EntryKind::Manifest { size } => {
                if std::mem::replace(&mut self.has_manifest, true) {
                    return Err("stands twice");
                }
                return match *size > MAX_MANIFEST {
                    true => Err("is over 4 MiB"),
                    false => Ok(()),
                };
            }
            _ if self.is_known => {
                self.has_rootfs = true;
                return Ok(());
            }
            EntryKind::HardLink { target } if self.names.get(target) != Some(Seen::NoDirectory) => {
                return Err("is a hard link to what is no file before it");
            }
            _ => self.has_rootfs = true,
        }
        let seen = match kind {
            EntryKind::Directory => Seen::Directory,
            _ => Seen::NoDirectory,
        };
        self.names.add(path, seen)
    }

    fn corrupt(&self, problem: &str) -> ArchiveError {
        ArchiveError::Corrupt {
            offset: self.offset,
            problem: problem.to_owned(),
        }
    }
}

/// So much stays in the processor's nearest caches.
const SINK: usize = 16 << 10;
/// What no longer fits the size field of a header, in octal digits.
const MAX_OCTAL_SIZE: u64 = 1 << 33;
/// The longest path that Linux takes.
const MAX_PATH: usize = 4095;
/// Some programs pass over so many bytes, others do not.
const SIZE_WITHOUT_CONTENT: &str = "has a size, though it is nothing that has a content";

/// How many bytes of content follow a header, where every program would agree on it.
fn extent(header: &RawHeader, extensions: &Extensions) -> Option<u64> {
    let size = header.size()?;
    match header.kind() {
        EntryType::Regular | EntryType::Continuous => extensions.size.is_none_or(|pax| pax == size).then_some(size),
        EntryType::Directory
        | EntryType::Symlink
        | EntryType::Link
        | EntryType::Char
        | EntryType::Block
        | EntryType::Fifo => (size == 0).then_some(0),
        _ => None,
    }
}

/// Why an entry of this type cannot be read, whatever its name.
fn unreadable(kind: EntryType) -> Option<&'static str> {
    match kind.as_byte() {
        b'S' => Some(SPARSE),
        b'V' => Some("is the label of a volume, which no image has"),
        b'M' => Some("is a part of an archive in several volumes"),
        b'D' => Some("is from an incremental backup, which is no image"),
        b'N' => Some("is a list of long names in a form older than GNU tar 1.12"),
        _ => None,
    }
}

fn checked_path(name: &[u8]) -> Result<RootfsPath, &'static str> {
    if name.is_empty() {
        return Err("has no name");
    }
    if name.starts_with(b"/") {
        return Err("leaves the image: its name is absolute");
    }
    if name.len() > MAX_PATH {
        return Err("has a name of more than 4095 bytes");
    }
    RootfsPath::new(name).ok_or("has a name with a `..`, a NUL or a part over 255 bytes")
}

/// A name for a person at a terminal, however long it is.
fn shown(name: &[u8]) -> String {
    let text = String::from_utf8_lossy(&name[..name.len().min(300)]);
    let dots = if name.len() > 300 { "…" } else { "" };
    format!("{}{dots}", text.escape_debug())
}

/// Where in an image a name is.
enum Place {
    /// The directory that holds the manifest and `rootfs`.
    Top,
    Manifest,
    Rootfs(RootfsPath),
    Outside,
}

impl Place {
    fn of(path: &RootfsPath) -> Self {
        let bytes = path.as_bytes();
        match bytes {
            b"" => return Self::Top,
            b"manifest" => return Self::Manifest,
            _ => {}
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
