//! Writing a tar, always the same bytes for the same entries: ustar headers, with a PAX header before an entry that
//! does not fit one.

use std::{
    collections::BTreeMap,
    io::{self, Read, Write},
};

use tar::{EntryType, Header};

use super::{BLOCK, Entry, EntryKind, pax};

/// What fits an octal field of eight bytes, with its terminator.
const MAX_SMALL: u64 = 0o7_777_777;
/// What fits an octal field of twelve bytes, with its terminator.
const MAX_LARGE: u64 = 0o77_777_777_777;

/// Writes the entries of an image into a tar.
pub struct TarWriter<W> {
    tar: W,
    root: &'static [u8],
}

impl<W: Write> TarWriter<W> {
    /// Begins the tar of an image, whose files are beneath `rootfs`.
    pub fn new(tar: W) -> Self {
        Self { tar, root: b"rootfs" }
    }

    /// Begins a layer of OCI or Docker, in which nothing stands before the paths and the root is `./`.
    pub(crate) fn of_layer(tar: W) -> Self {
        Self { tar, root: b"" }
    }

    /// Writes an entry and its content, of which there must be exactly as much as the entry says.
    pub fn append(&mut self, entry: &Entry, content: impl Read) -> io::Result<()> {
        let (header, records) = encode(entry, self.root);
        if !records.is_empty() {
            self.write_extension(&records)?;
        }
        self.tar.write_all(header.as_bytes())?;
        self.write_content(content, entry.size())
    }

    /// Ends the tar and gives back what it was written to.
    pub fn finish(mut self) -> io::Result<W> {
        self.tar.write_all(&[0; 2 * BLOCK])?;
        Ok(self.tar)
    }

    fn write_extension(&mut self, records: &BTreeMap<Vec<u8>, Vec<u8>>) -> io::Result<()> {
        let mut body = Vec::new();
        for (key, value) in records {
            pax::push_record(&mut body, key, value);
        }
        let mut header = Header::new_ustar();
        header.as_old_mut().name[..15].copy_from_slice(b"PaxHeaders/next");
        header.set_entry_type(EntryType::XHeader);
        header.set_mode(0o644);
        header.set_size(body.len() as u64);
        header.set_cksum();
        self.tar.write_all(header.as_bytes())?;
        self.write_content(body.as_slice(), body.len() as u64)
    }

    fn write_content(&mut self, content: impl Read, size: u64) -> io::Result<()> {
        let written = io::copy(&mut content.take(size), &mut self.tar)?;
        if written != size {
            return Err(io::Error::new(
                io::ErrorKind::InvalidData,
                "a file became shorter while it was read",
            ));
        }
        let padding = (BLOCK - (size % BLOCK as u64) as usize) % BLOCK;
        self.tar.write_all(&[0; BLOCK][..padding])
    }
}

/// An entry as a header, and the PAX records for what the header cannot hold.
fn encode(entry: &Entry, root: &[u8]) -> (Header, BTreeMap<Vec<u8>, Vec<u8>>) {
    let mut header = Header::new_ustar();
    let mut records = BTreeMap::new();

    let (kind, device) = match &entry.kind {
        EntryKind::Manifest { .. } | EntryKind::File { .. } => (EntryType::Regular, None),
        EntryKind::Directory => (EntryType::Directory, None),
        EntryKind::Symlink { .. } => (EntryType::Symlink, None),
        EntryKind::HardLink { .. } => (EntryType::Link, None),
        EntryKind::CharDevice { major, minor } => (EntryType::Char, Some((*major, *minor))),
        EntryKind::BlockDevice { major, minor } => (EntryType::Block, Some((*major, *minor))),
        EntryKind::Fifo => (EntryType::Fifo, None),
    };
    header.set_entry_type(kind);
    header.set_mode(u32::from(entry.mode));
    if let Some((major, minor)) = device {
        let is_ustar = "a ustar header has device fields";
        let mut fitting = |key: &str, number: u32| match u64::from(number) {
            0..=MAX_SMALL => number,
            _ => {
                records.insert(key.into(), number.to_string().into_bytes());
                0
            }
        };
        let (major, minor) = (fitting("SCHILY.devmajor", major), fitting("SCHILY.devminor", minor));
        header.set_device_major(major).expect(is_ustar);
        header.set_device_minor(minor).expect(is_ustar);
    }

    let mut name = match entry.kind {
        EntryKind::Manifest { .. } => b"manifest".to_vec(),
        _ => beneath(root, entry.path.as_bytes()),
    };
    if entry.kind == EntryKind::Directory {
        name.push(b'/');
    }
    set_text(&mut header.as_old_mut().name, &mut records, "path", &name);
    match &entry.kind {
        EntryKind::Symlink { target } => {
            set_text(&mut header.as_old_mut().linkname, &mut records, "linkpath", target);
        }
        EntryKind::HardLink { target } => {
            let target = beneath(root, target.as_bytes());
            set_text(&mut header.as_old_mut().linkname, &mut records, "linkpath", &target);
        }
        _ => {}
    }

    let mut set_number = |key: &str, value: u64, max: u64| -> u64 {
        if value > max {
            records.insert(key.as_bytes().to_vec(), value.to_string().into_bytes());
        }
        if value > max { 0 } else { value }
    };
    header.set_size(set_number("size", entry.size(), MAX_LARGE));
    header.set_uid(set_number("uid", u64::from(entry.uid), MAX_SMALL));
    header.set_gid(set_number("gid", u64::from(entry.gid), MAX_SMALL));
    match u64::try_from(entry.mtime) {
        Ok(seconds @ 0..=MAX_LARGE) if entry.mtime_nanoseconds == 0 => header.set_mtime(seconds),
        _ => {
            header.set_mtime(u64::try_from(entry.mtime).unwrap_or(0).min(MAX_LARGE));
            records.insert(
                b"mtime".to_vec(),
                pax::time_text(entry.mtime, entry.mtime_nanoseconds).into_bytes(),
            );
        }
    }
    for (name, value) in &entry.xattrs {
        let name = pax::encode_xattr_name(name);
        records.insert([b"SCHILY.xattr.", name.as_slice()].concat(), value.clone());
    }
    header.set_cksum();
    (header, records)
}

fn beneath(root: &[u8], path: &[u8]) -> Vec<u8> {
    match (root, path) {
        (b"", b"") => b".".to_vec(),
        (b"", path) => path.to_vec(),
        (root, b"") => root.to_vec(),
        (root, path) => [root, b"/", path].concat(),
    }
}

/// Fills a field of a header, and adds a record where the text is longer.
fn set_text(field: &mut [u8], records: &mut BTreeMap<Vec<u8>, Vec<u8>>, key: &str, text: &[u8]) {
    let fits = text.len().min(field.len());
    field[..fits].copy_from_slice(&text[..fits]);
    // PAX texts are UTF-8; the header holds any bytes, so only a text that is too long needs the record.
    if fits < text.len() {
        records.insert(key.as_bytes().to_vec(), text.to_vec());
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::archive::{RootfsPath, TarReader};

    fn entry(path: &str, kind: EntryKind) -> Entry {
        Entry {
            kind,
            path: RootfsPath::new(path.as_bytes()).unwrap(),
            mode: 0o4755,
            uid: 3_000_000,
            gid: 7,
            mtime: -2,
            mtime_nanoseconds: 750_000_000,
            xattrs: [(b"user.note=%".to_vec(), b"\0\xff=\n".to_vec())].into(),
        }
    }

    #[test]
    fn what_is_written_is_read_back() {
        let long = "d/".repeat(100) + &"x".repeat(255);
        let entries = [
            entry("", EntryKind::Manifest { size: 3 }),
            entry("", EntryKind::Directory),
            entry("file", EntryKind::File { size: 3 }),
            entry(&long, EntryKind::File { size: 3 }),
            entry(
                "hard",
                EntryKind::HardLink {
                    target: RootfsPath::new(long.as_bytes()).unwrap(),
                },
            ),
            entry(
                "soft",
                EntryKind::Symlink {
                    target: vec![b'y'; 4000],
                },
            ),
            entry("char", EntryKind::CharDevice { major: 5, minor: 1 }),
            entry("block", EntryKind::BlockDevice { major: 8, minor: 300 }),
            entry(
                "far",
                EntryKind::BlockDevice {
                    major: 8,
                    minor: u32::MAX,
                },
            ),
            entry("pipe", EntryKind::Fifo),
        ];
        let mut writer = TarWriter::new(Vec::new());
        for entry in &entries {
            writer
                .append(entry, &b"abc"[..usize::try_from(entry.size()).unwrap()])
                .unwrap();
        }
        let tar = writer.finish().unwrap();

        let mut reader = TarReader::new(tar.as_slice());
        let mut rebuilt = Vec::new();
        for expected in &entries {
            let found = reader.next_entry().unwrap().unwrap();
            assert_eq!(&found, expected);
            rebuilt.extend(reader.take_framing());
            rebuilt.extend(reader.read_content_to_end().unwrap());
        }
        assert_eq!(reader.next_entry().unwrap(), None);
        rebuilt.extend(reader.take_framing());
        assert_eq!(rebuilt, tar, "framing and contents together are the tar");
    }

    #[test]
    fn a_layer_has_nothing_before_its_paths() {
        let target = RootfsPath::new(b"a").unwrap();
        let entries = [
            entry("", EntryKind::Directory),
            entry("a", EntryKind::File { size: 3 }),
            entry("d/h", EntryKind::HardLink { target }),
            entry("d", EntryKind::Directory),
        ];
        let mut writer = TarWriter::of_layer(Vec::new());
        for entry in &entries {
            let content = &b"abc"[..usize::try_from(entry.size()).unwrap()];
            writer.append(entry, content).unwrap();
        }
        let tar = writer.finish().unwrap();
        let mut archive = tar::Archive::new(tar.as_slice());
        let names = |entry: std::io::Result<tar::Entry<'_, _>>| {
            let entry = entry.unwrap();
            let link = entry.link_name_bytes().unwrap_or_default().into_owned();
            let both = [entry.path_bytes().into_owned(), link].join(&b' ');
            String::from_utf8(both).unwrap()
        };
        let names: Vec<String> = archive.entries().unwrap().map(names).collect();
        assert_eq!(names, ["./ ", "a ", "d/h a", "d/ "]);
    }

    #[test]
    fn a_file_that_shrinks_is_an_error() {
        let mut writer = TarWriter::new(Vec::new());
        let error = writer
            .append(&entry("file", EntryKind::File { size: 4 }), &b"abc"[..])
            .unwrap_err();
        assert!(error.to_string().contains("shorter"));
    }
}
