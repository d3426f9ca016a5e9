//! [`Metainfo`]: a torrent of one file (BEP 3), as `publish` writes it.
//!
//! The same archive, trackers and URL always make the same bytes: there is no date in it, and keys are in the one order
//! that bencoding allows.

use std::{fs::File, io::Read as _, path::Path};

use aws_lc_rs::digest::{SHA1_FOR_LEGACY_USE_ONLY as SHA1, digest};
use sha2::{Digest, Sha256};
use url::Url;

use crate::{Error, FileFacts};

/// Pieces are made larger until there are no more than these, so that metainfo stays about 40 kB.
const MOST_PIECES: u64 = 2048;
const SMALLEST_PIECE: u64 = 64 << 10;
/// What every client accepts.
const LARGEST_PIECE: u64 = 16 << 20;

/// How a torrent's peers find each other.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TorrentOptions {
    /// Trackers, each tried if those before it are silent.
    pub trackers: Vec<Url>,
    /// Whether peers may find each other by the trackers alone (BEP 27).
    pub private: bool,
}

/// A torrent of one file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Metainfo {
    name: String,
    length: u64,
    piece_length: u64,
    /// The SHA-1 of each piece, one after the other.
    pieces: Vec<u8>,
    options: TorrentOptions,
    /// Where on the web the file is (BEP 19).
    web_seed: String,
}

impl Metainfo {
    /// Reads the file at `path`, which peers will call `name`, and which is at `web_seed` on the web. Gives also what
    /// the file was. Blocks.
    pub fn of_file(
        path: &Path,
        name: String,
        web_seed: String,
        options: TorrentOptions,
    ) -> Result<(Self, FileFacts), Error> {
        let in_file = |source| Error::ReadArchive {
            path: path.to_owned(),
            source,
        };
        let mut file = File::open(path).map_err(in_file)?;
        let expected = file.metadata().map_err(in_file)?.len();
        let piece_length = piece_length(expected);
        let (mut pieces, mut length, mut whole) = (Vec::new(), 0, Sha256::new());
        let mut piece = Vec::new();
        loop {
            piece.clear();
            (&mut file)
                .take(piece_length)
                .read_to_end(&mut piece)
                .map_err(in_file)?;
            if piece.is_empty() {
                break;
            }
            length += piece.len() as u64;
            whole.update(&piece);
            pieces.extend_from_slice(digest(&SHA1, &piece).as_ref());
        }
        let facts = FileFacts {
            size: length,
            sha256: hex::encode(whole.finalize()),
        };
        let metainfo = Self {
            name,
            length,
            piece_length,
            pieces,
            options,
            web_seed,
        };
        Ok((metainfo, facts))
    }

    /// The torrent's name among peers, in hex digits.
    pub fn info_hash(&self) -> String {
        hex::encode(digest(&SHA1, &self.info()))
    }

    /// The content of a `.torrent` file.
    pub fn to_bytes(&self) -> Vec<u8> {
        let trackers = &self.options.trackers;
        let mut out = vec![b'd'];
        if let Some(first) = trackers.first() {
            string(&mut out, "announce");
            string(&mut out, first.as_str());
        }
        if trackers.len() > 1 {
            string(&mut out, "announce-list");
            out.push(b'l');
            for tracker in trackers {
                out.push(b'l');
                string(&mut out, tracker.as_str());
                out.push(b'e');
            }
            out.push(b'e');
        }
        string(&mut out, "info");
        out.extend(self.info());
        string(&mut out, "url-list");
        out.push(b'l');
        string(&mut out, &self.web_seed);
        out.extend(b"ee");
        out
    }

    fn info(&self) -> Vec<u8> {
        let mut out = vec![b'd'];
        string(&mut out, "length");
        integer(&mut out, self.length);
        string(&mut out, "name");
        string(&mut out, &self.name);
        string(&mut out, "piece length");
        integer(&mut out, self.piece_length);
        string(&mut out, "pieces");
        bytes(&mut out, &self.pieces);
        if self.options.private {
            string(&mut out, "private");
            integer(&mut out, 1);
        }
        out.push(b'e');
        out
    }
}

fn piece_length(length: u64) -> u64 {
    length
        .div_ceil(MOST_PIECES)
        .next_power_of_two()
        .clamp(SMALLEST_PIECE, LARGEST_PIECE)
}

fn string(out: &mut Vec<u8>, text: &str) {
    bytes(out, text.as_bytes());
}

fn bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    out.extend(format!("{}:", bytes.len()).into_bytes());
    out.extend_from_slice(bytes);
}

fn integer(out: &mut Vec<u8>, number: u64) {
    out.extend(format!("i{number}e").into_bytes());
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn metainfo(content: &[u8], options: TorrentOptions) -> Metainfo {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("a");
        std::fs::write(&path, content).unwrap();
        let url = "https://example.com/a".to_owned();
        Metainfo::of_file(&path, "a".to_owned(), url, options).unwrap().0
    }

    #[test]
    fn metainfo_is_the_same_to_the_byte() {
        let trackers = ["http://t.example/announce", "udp://u.example:6969/announce"];
        let options = TorrentOptions {
            trackers: trackers.iter().map(|url| url.parse().unwrap()).collect(),
            private: true,
        };
        let info = [
            &b"d6:lengthi3e4:name1:a12:piece lengthi65536e6:pieces20:"[..],
            // The SHA-1 of `abc`, from FIPS 180.
            &hex::decode("a9993e364706816aba3e25717850c26c9cd0d89d").unwrap(),
            b"7:privatei1ee",
        ]
        .concat();
        let expected = [
            &b"d8:announce25:http://t.example/announce13:announce-listll25:http://t.example/announceel29:"[..],
            b"udp://u.example:6969/announceee4:info",
            &info,
            b"8:url-listl21:https://example.com/aee",
        ]
        .concat();
        let metainfo = metainfo(b"abc", options);
        assert_eq!(metainfo.to_bytes(), expected);
        assert_eq!(metainfo.info_hash(), hex::encode(digest(&SHA1, &info)));
    }

    #[test]
    fn every_piece_has_its_digest() {
        let content = vec![7; SMALLEST_PIECE as usize + 1];
        let metainfo = metainfo(&content, TorrentOptions::default());
        let digests =
            [&content[..SMALLEST_PIECE as usize], &content[..1]].map(|piece| digest(&SHA1, piece).as_ref().to_vec());
        assert_eq!(metainfo.pieces, digests.concat());
    }

    #[test]
    fn pieces_grow_with_the_file() {
        let lengths = [0, 1, 128 << 20, (128 << 20) + 1, 1 << 30, 1 << 50].map(piece_length);
        assert_eq!(lengths, [64 << 10, 64 << 10, 64 << 10, 128 << 10, 512 << 10, 16 << 20]);
    }
}
