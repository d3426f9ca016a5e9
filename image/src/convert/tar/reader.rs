//! Reading entries, one after the other.

use std::{
    collections::BTreeMap,
    io::{self, Read, Seek, SeekFrom},
};

use tar::{EntryType, Header};

use super::{BLOCK, MAX_EXTENSION, MAX_PATH, XATTR_PREFIX};
use crate::archive::{ArchiveError, Entry, EntryKind, RootfsPath, pax};

/// The entries of a tar in their order.
pub(in crate::convert) struct TarEntries<R> {
    tar: R,
    skip: fn(&mut R, u64) -> io::Result<()>,
    offset: u64,
    content_left: u64,
    padding_left: u64,
    at_end: bool,
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

impl<R: Read + Seek> TarEntries<R> {
    /// Reads from a file, and passes over the contents of entries without reading them.
    pub(in crate::convert) fn seeking(tar: R) -> Self {
        let skip: fn(&mut R, u64) -> io::Result<()> = |tar, bytes| {
            let bytes = i64::try_from(bytes).map_err(|_| io::ErrorKind::UnexpectedEof)?;
            tar.seek(SeekFrom::Current(bytes)).map(drop)
        };
        Self::with_skip(tar, skip)
    }
}

impl<R: Read> TarEntries<R> {
    /// Reads from a stream.
    pub(in crate::convert) fn new(tar: R) -> Self {
        let skip: fn(&mut R, u64) -> io::Result<()> = |tar, bytes| {
            let passed = io::copy(&mut tar.take(bytes), &mut io::sink())?;
            if passed == bytes {
                Ok(())
            } else {
                Err(io::ErrorKind::UnexpectedEof.into())
            }
        };
        Self::with_skip(tar, skip)
    }

    fn with_skip(tar: R, skip: fn(&mut R, u64) -> io::Result<()>) -> Self {
        Self {
            tar,
            skip,
            offset: 0,
            content_left: 0,
            padding_left: 0,
            at_end: false,
        }
    }

    /// The next entry, or `None` after the last.
    ///
    /// A tar may end without the zeros that should end it, as Docker's empty layers do, and even without those that fill
    /// its last block, as what `umoci insert` writes: whether it is whole is told by its digest.
    pub(in crate::convert) fn next_entry(&mut self) -> Result<Option<Entry>, ArchiveError> {
        if self.content_left > 0 {
            (self.skip)(&mut self.tar, self.content_left)?;
            self.offset += self.content_left;
            self.content_left = 0;
        }
        if self.padding_left > 0 {
            let padding = io::copy(&mut self.tar.by_ref().take(self.padding_left), &mut io::sink())?;
            self.offset += padding;
            self.at_end = padding < self.padding_left;
            self.padding_left = 0;
        }
        let start = self.offset;
        let mut extensions = None;
        loop {
            let Some(header) = self.read_header()? else {
                return match extensions {
                    None => Ok(None),
                    Some(_) => Err(self.corrupt("an extension header is followed by no entry")),
                };
            };
            if self.offset - start > MAX_EXTENSION + 4 * BLOCK as u64 {
                return Err(self.corrupt("the extension headers of an entry are over 1 MiB"));
            }
            let extensions = extensions.get_or_insert_with(Extensions::default);
            match header.entry_type() {
                EntryType::XHeader => self.read_pax(&header, extensions)?,
                EntryType::XGlobalHeader => {
                    let body = self.read_extension(&header)?;
                    let records = records(&body).ok_or_else(|| self.corrupt("a PAX record is malformed"))?;
                    if records.iter().any(|(key, _)| *key != b"comment") {
                        return Err(self.corrupt("a global PAX header changes the entries after it"));
                    }
                }
                EntryType::GNULongName => extensions.path = Some(self.read_gnu_text(&header)?),
                EntryType::GNULongLink => extensions.link = Some(self.read_gnu_text(&header)?),
                _ => return self.entry(&header, std::mem::take(extensions)).map(Some),
            }
        }
    }

    /// How many bytes have been read or passed over: where the current entry's content begins, before it is read.
    pub(in crate::convert) fn offset(&self) -> u64 {
        self.offset
    }

    /// The rest of the current entry's content, as a reader.
    pub(in crate::convert) fn content(&mut self) -> Content<'_, R> {
        Content(self)
    }

    /// Reads what is left, to the end of the stream.
    pub(in crate::convert) fn drain(mut self) -> io::Result<R> {
        io::copy(&mut self.tar, &mut io::sink())?;
        Ok(self.tar)
    }

    fn read_header(&mut self) -> Result<Option<Header>, ArchiveError> {
        if self.at_end {
            return Ok(None);
        }
        let mut header = Header::new_old();
        let mut filled = 0;
        while filled < BLOCK {
            match self.tar.read(&mut header.as_mut_bytes()[filled..]) {
                Ok(0) if filled == 0 => {
                    self.at_end = true;
                    return Ok(None);
                }
                Ok(0) => return Err(ArchiveError::Truncated),
                Ok(read) => filled += read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error.into()),
            }
        }
        self.offset += BLOCK as u64;
        if header.as_bytes().iter().all(|&byte| byte == 0) {
            self.at_end = true;
            return Ok(None);
        }
        let sum = |block: &[u8; BLOCK]| -> u32 {
            let field = 148..156;
            let byte = |(at, &byte): (usize, &u8)| if field.contains(&at) { b' ' } else { byte };
            block.iter().enumerate().map(byte).map(u32::from).sum()
        };
        match header.cksum() {
            Ok(stored) if stored == sum(header.as_bytes()) => Ok(Some(header)),
            _ if self.offset == BLOCK as u64 => Err(ArchiveError::NotAnArchive),
            _ => Err(self.corrupt("a header's checksum is wrong")),
        }
    }

    fn read_extension(&mut self, header: &Header) -> Result<Vec<u8>, ArchiveError> {
        let size = header.size().ok().filter(|&size| size <= MAX_EXTENSION);
        let size = size.ok_or_else(|| self.corrupt("an extension header is over 1 MiB or has no valid size"))?;
        let size = usize::try_from(size).expect("it is at most 1 MiB");
        let mut body = vec![0; size.next_multiple_of(BLOCK)];
        self.tar.read_exact(&mut body)?;
        self.offset += body.len() as u64;
        body.truncate(size);
        Ok(body)
    }

    fn read_gnu_text(&mut self, header: &Header) -> Result<Vec<u8>, ArchiveError> {
        let mut text = self.read_extension(header)?;
        while text.last() == Some(&0) {
            text.pop();
        }
        Ok(text)
    }

    fn read_pax(&mut self, header: &Header, extensions: &mut Extensions) -> Result<(), ArchiveError> {
        let body = self.read_extension(header)?;
        let malformed = || self.corrupt("a PAX record is malformed");
        for (key, value) in records(&body).ok_or_else(malformed)? {
            let number = || {
                std::str::from_utf8(value)
                    .ok()
                    .and_then(|text| text.parse().ok())
                    .ok_or_else(malformed)
            };
            match key {
                b"path" => extensions.path = Some(value.to_vec()),
                b"linkpath" => extensions.link = Some(value.to_vec()),
                b"size" => extensions.size = Some(number()?),
                b"uid" => extensions.uid = Some(number()?),
                b"gid" => extensions.gid = Some(number()?),
                b"mtime" => extensions.mtime = Some(time(value).ok_or_else(malformed)?),
                _ if key.starts_with(b"GNU.sparse.") => {
                    return Err(self.corrupt("it holds a PAX sparse file, which is not supported in a layer"));
                }
                _ => {
                    if let Some(name) = key.strip_prefix(XATTR_PREFIX) {
                        extensions.xattrs.insert(pax::decode_xattr_name(name), value.to_vec());
                    }
                }
            }
        }
        Ok(())
    }

    fn entry(&mut self, header: &Header, extensions: Extensions) -> Result<Entry, ArchiveError> {
        let bad_number = || self.corrupt("a header has a number that is malformed or too large");
        let small = |pax: Option<u64>, field: io::Result<u64>| {
            let number = pax.or_else(|| field.ok());
            number.and_then(|n| u32::try_from(n).ok()).ok_or_else(bad_number)
        };
        let name = extensions.path.unwrap_or_else(|| header.path_bytes().into_owned());
        let size = extensions.size.or_else(|| header.size().ok()).ok_or_else(bad_number)?;
        let uid = small(extensions.uid, header.uid())?;
        let gid = small(extensions.gid, header.gid())?;
        let (mtime, mtime_nanoseconds) = extensions.mtime.or_else(|| mtime(header)).ok_or_else(bad_number)?;
        let mode = header.mode().map_err(|_| bad_number())? & 0o7777;
        let link = extensions
            .link
            .unwrap_or_else(|| header.link_name_bytes().unwrap_or_default().into_owned());

        let refuse = |problem: &str| ArchiveError::Entry {
            path: shown(&name),
            problem: problem.to_owned(),
        };
        if name.starts_with(b"/") {
            return Err(refuse("is absolute"));
        }
        if name.len() > MAX_PATH {
            return Err(refuse("is longer than 4096 bytes"));
        }
        let path = RootfsPath::new(&name).ok_or_else(|| refuse("has a `..`, or a part over 255 bytes"))?;
        let kind = match header.entry_type() {
            EntryType::Directory => EntryKind::Directory,
            EntryType::Regular if name.ends_with(b"/") => EntryKind::Directory,
            _ if path.is_root() => return Err(refuse("stands for the root and is no directory")),
            EntryType::Regular | EntryType::Continuous => EntryKind::File { size },
            EntryType::Symlink if link.is_empty() || link.contains(&0) || link.len() >= MAX_PATH => {
                return Err(refuse("is a symbolic link to nothing, or to more than 4095 bytes"));
            }
            EntryType::Symlink => EntryKind::Symlink { target: link },
            EntryType::Link => match RootfsPath::new(&link).filter(|target| !target.is_root()) {
                Some(target) => EntryKind::HardLink { target },
                None => return Err(refuse("is a hard link to outside of the image")),
            },
            kind @ (EntryType::Char | EntryType::Block) => {
                let device = (header.device_major(), header.device_minor());
                let (Ok(Some(major)), Ok(Some(minor))) = device else {
                    return Err(bad_number());
                };
                match kind {
                    EntryType::Char => EntryKind::CharDevice { major, minor },
                    _ => EntryKind::BlockDevice { major, minor },
                }
            }
            EntryType::Fifo => EntryKind::Fifo,
            EntryType::GNUSparse => return Err(refuse("is a GNU sparse file, which is not supported in a layer")),
            other => {
                let kind = char::from(other.as_byte()).escape_debug().to_string();
                return Err(refuse(&format!("is of the unknown type `{kind}`")));
            }
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
        // Only files have content; what a directory's or a link's size says is not followed by any.
        self.content_left = entry.size();
        self.padding_left = (BLOCK as u64 - entry.size() % BLOCK as u64) % BLOCK as u64;
        if self
            .offset
            .checked_add(self.content_left)
            .and_then(|end| end.checked_add(BLOCK as u64))
            .is_none()
        {
            return Err(self.corrupt("a file is larger than any can be"));
        }
        Ok(entry)
    }

    fn corrupt(&self, problem: &str) -> ArchiveError {
        ArchiveError::Corrupt {
            offset: self.offset,
            problem: problem.to_owned(),
        }
    }
}

/// What is left of an entry's content.
pub(in crate::convert) struct Content<'a, R>(&'a mut TarEntries<R>);

impl<R: Read> Read for Content<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let entries = &mut *self.0;
        let wanted = usize::try_from(entries.content_left)
            .unwrap_or(usize::MAX)
            .min(buffer.len());
        if wanted == 0 {
            return Ok(0);
        }
        let read = entries.tar.read(&mut buffer[..wanted])?;
        if read == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        entries.content_left -= read as u64;
        entries.offset += read as u64;
        Ok(read)
    }
}

/// A name as a person may see it.
fn shown(name: &[u8]) -> String {
    let short = &name[..name.len().min(200)];
    String::from_utf8_lossy(short).escape_debug().to_string()
}

/// PAX records: `LENGTH KEY=VALUE\n`, the length counting itself (POSIX.1-2017, pax, "Extended Header"); `None` where
/// one is malformed.
fn records(mut bytes: &[u8]) -> Option<Vec<(&[u8], &[u8])>> {
    let mut records = Vec::new();
    // Some writers fill up with NULs.
    while !bytes.is_empty() && bytes[0] != 0 {
        let space = bytes.iter().take(20).position(|&byte| byte == b' ')?;
        let length: usize = std::str::from_utf8(&bytes[..space]).ok()?.parse().ok()?;
        let record = bytes.get(space + 1..length)?.strip_suffix(b"\n")?;
        let equals = record.iter().position(|&byte| byte == b'=')?;
        records.push((&record[..equals], &record[equals + 1..]));
        bytes = &bytes[length..];
    }
    Some(records)
}

/// A PAX time, `SECONDS[.FRACTION]`, as seconds and the nanoseconds to add.
fn time(text: &[u8]) -> Option<(i64, u32)> {
    let text = std::str::from_utf8(text).ok()?;
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let seconds: i64 = whole.parse().ok()?;
    if !fraction.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let digits: String = fraction.chars().chain("000000000".chars()).take(9).collect();
    match (whole.starts_with('-'), digits.parse().ok()?) {
        (true, nanoseconds @ 1..) => Some((seconds.checked_sub(1)?, 1_000_000_000 - nanoseconds)),
        (_, nanoseconds) => Some((seconds, nanoseconds)),
    }
}

/// The header's own time; GNU writes those before 1970 in base 256.
fn mtime(header: &Header) -> Option<(i64, u32)> {
    let seconds = match &header.as_old().mtime {
        [0xff, rest @ ..] => i64::from_be_bytes(rest[3..].try_into().expect("the field has 12 bytes")),
        _ => i64::try_from(header.mtime().ok()?).ok()?,
    };
    Some((seconds, 0))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::archive::TarWriter;

    #[test]
    fn what_is_written_is_read_back() {
        let entry = |path: &str, kind| Entry {
            kind,
            path: RootfsPath::new(path.as_bytes()).unwrap(),
            mode: 0o4755,
            uid: 3_000_000,
            gid: 7,
            mtime: -2,
            mtime_nanoseconds: 750_000_000,
            xattrs: [
                (b"security.capability".to_vec(), b"\x01\n=\0\xff".to_vec()),
                (b"user.a=b%3D".to_vec(), b"c".to_vec()),
            ]
            .into(),
        };
        let long = "d/".repeat(100) + &"x".repeat(255);
        let target = RootfsPath::new(long.as_bytes()).unwrap();
        let entries = [
            entry("", EntryKind::Directory),
            entry(&long, EntryKind::File { size: 3 }),
            entry("hard", EntryKind::HardLink { target }),
            entry(
                "soft",
                EntryKind::Symlink {
                    target: vec![b'y'; 4000],
                },
            ),
            entry("null", EntryKind::CharDevice { major: 1, minor: 3 }),
            entry("pipe", EntryKind::Fifo),
        ];
        let mut writer = TarWriter::of_layer(Vec::new());
        for entry in &entries {
            writer
                .append(entry, &b"abc"[..usize::try_from(entry.size()).unwrap()])
                .unwrap();
        }
        let tar = writer.finish().unwrap();
        let mut reader = TarEntries::new(tar.as_slice());
        for expected in &entries {
            assert_eq!(&reader.next_entry().unwrap().unwrap(), expected);
        }
        assert_eq!(reader.next_entry().unwrap(), None);
        let mut seeking = TarEntries::seeking(io::Cursor::new(&tar));
        assert_eq!(
            std::iter::from_fn(|| seeking.next_entry().unwrap()).count(),
            entries.len()
        );
    }
}
