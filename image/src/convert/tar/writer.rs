//! Writing a layer: ustar headers, with a PAX header before an entry that does not fit one.

use std::{
    collections::BTreeMap,
    io::{self, Read, Write},
};

use tar::{EntryType, Header};

use super::{BLOCK, XATTR_PREFIX};
use crate::archive::{Entry, EntryKind, pax};

/// What fits an octal field of eight bytes, with its terminator.
const MAX_SMALL: u64 = 0o7_777_777;
/// What fits an octal field of twelve bytes, with its terminator.
const MAX_LARGE: u64 = 0o77_777_777_777;

/// Writes entries as a layer: their paths are those in the root file system, and the root is `./`.
pub(in crate::convert) struct LayerWriter<W> {
    tar: W,
}

impl<W: Write> LayerWriter<W> {
    pub(in crate::convert) fn new(tar: W) -> Self {
        Self { tar }
    }

    /// Writes an entry and its content, of which there must be exactly as much as the entry says.
    pub(in crate::convert) fn append(&mut self, entry: &Entry, content: impl Read) -> io::Result<()> {
        let (header, records) = encode(entry);
        if !records.is_empty() {
            let mut body = Vec::new();
            for (key, value) in &records {
                pax::push_record(&mut body, key, value);
            }
            let mut header = Header::new_ustar();
            header.as_old_mut().name[..15].copy_from_slice(b"PaxHeaders/next");
            header.set_entry_type(EntryType::XHeader);
            header.set_mode(0o644);
            header.set_size(body.len() as u64);
            header.set_cksum();
            self.tar.write_all(header.as_bytes())?;
            self.write_content(body.as_slice(), body.len() as u64)?;
        }
        self.tar.write_all(header.as_bytes())?;
        self.write_content(content, entry.size())
    }

    /// Ends the tar and gives back what it was written to.
    pub(in crate::convert) fn finish(mut self) -> io::Result<W> {
        self.tar.write_all(&[0; 2 * BLOCK])?;
        Ok(self.tar)
    }

    fn write_content(&mut self, content: impl Read, size: u64) -> io::Result<()> {
        if io::copy(&mut content.take(size), &mut self.tar)? != size {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let padding = (BLOCK - (size % BLOCK as u64) as usize) % BLOCK;
        self.tar.write_all(&[0; BLOCK][..padding])
    }
}

/// An entry as a header, and the PAX records for what the header cannot hold.
fn encode(entry: &Entry) -> (Header, BTreeMap<Vec<u8>, Vec<u8>>) {
    let mut header = Header::new_ustar();
    let mut records = BTreeMap::new();
    let (kind, device, link) = match &entry.kind {
        EntryKind::Manifest { .. } | EntryKind::File { .. } => (EntryType::Regular, None, None),
        EntryKind::Directory => (EntryType::Directory, None, None),
        EntryKind::Symlink { target } => (EntryType::Symlink, None, Some(target.as_slice())),
        EntryKind::HardLink { target } => (EntryType::Link, None, Some(target.as_bytes())),
        EntryKind::CharDevice { major, minor } => (EntryType::Char, Some((*major, *minor)), None),
        EntryKind::BlockDevice { major, minor } => (EntryType::Block, Some((*major, *minor)), None),
        EntryKind::Fifo => (EntryType::Fifo, None, None),
    };
    header.set_entry_type(kind);
    header.set_mode(u32::from(entry.mode));
    if let Some((major, minor)) = device {
        let is_ustar = "a ustar header has device fields";
        header.set_device_major(major).expect(is_ustar);
        header.set_device_minor(minor).expect(is_ustar);
    }
    let mut name = if entry.path.is_root() {
        b".".to_vec()
    } else {
        entry.path.as_bytes().to_vec()
    };
    if entry.kind == EntryKind::Directory {
        name.push(b'/');
    }
    let mut set_text = |field: &mut [u8], key: &str, text: &[u8]| {
        let fits = text.len().min(field.len());
        field[..fits].copy_from_slice(&text[..fits]);
        if fits < text.len() {
            records.insert(key.as_bytes().to_vec(), text.to_vec());
        }
    };
    set_text(&mut header.as_old_mut().name, "path", &name);
    if let Some(link) = link {
        set_text(&mut header.as_old_mut().linkname, "linkpath", link);
    }

    let mut fitting = |key: &str, value: u64, max: u64| {
        if value > max {
            records.insert(key.as_bytes().to_vec(), value.to_string().into_bytes());
            return 0;
        }
        value
    };
    header.set_size(fitting("size", entry.size(), MAX_LARGE));
    header.set_uid(fitting("uid", u64::from(entry.uid), MAX_SMALL));
    header.set_gid(fitting("gid", u64::from(entry.gid), MAX_SMALL));
    let whole = u64::try_from(entry.mtime).ok().filter(|&seconds| seconds <= MAX_LARGE);
    header.set_mtime(whole.unwrap_or(0));
    if whole.is_none() || entry.mtime_nanoseconds != 0 {
        let text = pax::time_text(entry.mtime, entry.mtime_nanoseconds);
        records.insert(b"mtime".to_vec(), text.into_bytes());
    }
    for (name, value) in &entry.xattrs {
        records.insert([XATTR_PREFIX, &pax::encode_xattr_name(name)].concat(), value.clone());
    }
    header.set_cksum();
    (header, records)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{archive::RootfsPath, convert::tar::TarEntries};

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
        let mut writer = LayerWriter::new(Vec::new());
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
