//! [`Metainfo`]: what a `.torrent` file says, as far as we believe any of it.

use std::fmt;

use aws_lc_rs::digest::{Context, SHA1_FOR_LEGACY_USE_ONLY as SHA1, digest};
use bytes::Bytes;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use thiserror::Error;
use url::Url;

use super::bencode::{Cursor, Malformed};

/// A torrent of one file (BEP 3, version 1). Nothing in it is signed.
#[derive(Clone, PartialEq, Eq)]
pub struct Metainfo {
    info: Vec<u8>,
    info_hash: [u8; 20],
    name: String,
    length: u64,
    piece_length: u32,
    /// Where in `info` the digests of the pieces are.
    pieces: std::ops::Range<usize>,
    is_private: bool,
    trackers: Vec<Url>,
    web_seeds: Vec<Url>,
}

/// Why metainfo cannot be used.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum MetainfoError {
    /// It is not in bencoding, or lacks what it must have.
    #[error("it is malformed: {0}")]
    Malformed(&'static str),
    /// It is of several files, or of none.
    #[error("it is not a torrent of one file")]
    NotOneFile,
    /// The name would lead elsewhere, or cannot be shown.
    #[error("the name of its file cannot be one")]
    Name,
    /// The digests do not fit the length.
    #[error("it has digests for {found} pieces, and {expected} are needed")]
    Pieces {
        /// How many it has.
        found: u64,
        /// How many it should have.
        expected: u64,
    },
    /// It is only for clients of BitTorrent version 2.
    #[error("it is of BitTorrent version 2 alone")]
    VersionTwo,
}

/// A tracker or a web seed more says nothing.
const MOST_URLS: usize = 32;

impl Metainfo {
    /// No honest metainfo is larger, in bytes.
    pub const LARGEST: usize = 4 << 20;

    /// Reads a `.torrent` file. Memory and time are bounded by the input's length, whatever is in it.
    pub fn parse(bytes: &[u8]) -> Result<Self, MetainfoError> {
        let (mut info, mut announce, mut list, mut seeds) = (None, None, Vec::new(), Vec::new());
        if bytes.len() > Self::LARGEST {
            return Err(MetainfoError::Malformed("it is too large"));
        }
        let mut cursor = Cursor::new(bytes);
        cursor.dictionary(|key, value| {
            match key {
                b"info" => info = Some(value.raw()?),
                b"announce" => announce = url(value.bytes()?),
                // What is of another kind than it should be is of no use, as an empty string is.
                b"announce-list" if value.is_at(b'l') => value.list(|tier| {
                    if !tier.is_at(b'l') {
                        return tier.skip();
                    }
                    tier.list(|tracker| {
                        push(&mut list, url(tracker.bytes()?));
                        Ok(())
                    })
                })?,
                b"url-list" if value.is_at(b'l') => value.list(|seed| {
                    if seed.is_at(b'd') || seed.is_at(b'l') || seed.is_at(b'i') {
                        return seed.skip();
                    }
                    push(&mut seeds, url(seed.bytes()?));
                    Ok(())
                })?,
                b"url-list" => push(&mut seeds, url(value.bytes()?)),
                _ => {}
            }
            Ok::<_, Malformed>(())
        })?;
        if !cursor.is_at_end() {
            return Err(MetainfoError::Malformed("something follows its end"));
        }
        if list.is_empty() {
            list.extend(announce);
        }
        let info = info.ok_or(MetainfoError::Malformed("it has no `info`"))?;
        Self::of_info(info, list, seeds)
    }

    /// The torrent that this `info` dictionary describes, as peers send it.
    pub(super) fn of_info(info: &[u8], trackers: Vec<Url>, web_seeds: Vec<Url>) -> Result<Self, MetainfoError> {
        if info.len() > Self::LARGEST {
            return Err(MetainfoError::Malformed("it is too large"));
        }
        let (mut name, mut length, mut piece_length, mut pieces) = (None, None, None, None);
        let (mut is_private, mut has_files, mut is_two) = (false, false, false);
        let mut cursor = Cursor::new(info);
        cursor.dictionary(|key, value| {
            match key {
                b"name" => name = Some(value.bytes()?),
                b"length" => length = Some(value.number()?),
                b"piece length" => piece_length = Some(value.number()?),
                b"pieces" => {
                    let digests = value.bytes()?;
                    let start = digests.as_ptr() as usize - info.as_ptr() as usize;
                    pieces = Some(start..start + digests.len());
                }
                b"private" => is_private = value.number()? == 1,
                b"files" => has_files = true,
                b"meta version" => is_two = true,
                _ => {}
            }
            Ok::<_, Malformed>(())
        })?;
        let (name, length) = match (name, length) {
            _ if has_files => return Err(MetainfoError::NotOneFile),
            (Some(name), Some(length)) => (name, length),
            _ if is_two => return Err(MetainfoError::VersionTwo),
            (None, _) => return Err(MetainfoError::Malformed("its file has no name")),
            (_, None) => return Err(MetainfoError::NotOneFile),
        };
        let pieces = pieces.ok_or(MetainfoError::Malformed("it has no digests"))?;
        let piece_length = piece_length
            .and_then(|length| u32::try_from(length).ok())
            .filter(|length| (1 << 14..=1 << 25).contains(length))
            .ok_or(MetainfoError::Malformed("its pieces have no length that pieces have"))?;
        let (found, expected) = (pieces.len() as u64, length.div_ceil(u64::from(piece_length)));
        if found % 20 != 0 || found / 20 != expected || expected == 0 {
            let found = found / 20;
            return Err(MetainfoError::Pieces { found, expected });
        }
        let name = std::str::from_utf8(name).ok().filter(|name| is_file_name(name));
        let name = name.ok_or(MetainfoError::Name)?.to_owned();
        let web_seeds = web_seeds.into_iter().filter(is_web).map(|seed| file_of(seed, &name));
        Ok(Self {
            info: info.to_owned(),
            info_hash: sha1(info),
            length,
            piece_length,
            pieces,
            is_private,
            trackers,
            web_seeds: web_seeds.collect(),
            name,
        })
    }

    /// The torrent's name among peers.
    pub fn info_hash(&self) -> [u8; 20] {
        self.info_hash
    }

    /// The name of its file. It is one, and no path.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// How many bytes the file has: one at least.
    pub fn length(&self) -> u64 {
        self.length
    }

    /// Whether peers may find each other by the trackers alone (BEP 27).
    pub fn is_private(&self) -> bool {
        self.is_private
    }

    /// Where peers find each other.
    pub fn trackers(&self) -> &[Url] {
        &self.trackers
    }

    /// Where on the web the file is (BEP 19).
    pub fn web_seeds(&self) -> &[Url] {
        &self.web_seeds
    }

    /// How many pieces it has.
    pub(super) fn piece_count(&self) -> usize {
        self.pieces.len() / 20
    }

    /// Where in the file a piece is.
    pub(super) fn piece(&self, index: usize) -> std::ops::Range<u64> {
        let start = index as u64 * u64::from(self.piece_length);
        start..(start + u64::from(self.piece_length)).min(self.length)
    }

    /// The piece that has this byte.
    pub(super) fn piece_at(&self, offset: u64) -> usize {
        usize::try_from(offset / u64::from(self.piece_length)).expect("as many pieces as digests in memory")
    }

    /// Whether these bytes, one behind the other, are that piece.
    pub(super) fn is_piece(&self, index: usize, parts: &[Bytes]) -> bool {
        let digests = &self.info[self.pieces.clone()];
        let mut hasher = Context::new(&SHA1);
        parts.iter().for_each(|part| hasher.update(part));
        *hasher.finish().as_ref() == digests[index * 20..][..20]
    }

    /// The content of a `.torrent` file that says the same.
    pub(super) fn to_bytes(&self) -> Vec<u8> {
        let string = |text: &str| format!("{}:{text}", text.len()).into_bytes();
        let mut out = vec![b'd'];
        if !self.trackers.is_empty() {
            out.extend(string("announce-list"));
            out.push(b'l');
            for tracker in &self.trackers {
                out.push(b'l');
                out.extend(string(tracker.as_str()));
                out.push(b'e');
            }
            out.push(b'e');
        }
        out.extend(string("info"));
        out.extend(&self.info);
        out.extend(string("url-list"));
        out.push(b'l');
        for seed in &self.web_seeds {
            out.extend(string(seed.as_str()));
        }
        out.extend(b"ee");
        out
    }

    /// Metainfo for the session: this torrent, and nothing else of what the stranger's file had.
    pub(super) fn for_session(&self) -> Vec<u8> {
        [&b"d4:info"[..], &self.info, b"e"].concat()
    }
}

impl From<Malformed> for MetainfoError {
    fn from(Malformed(problem): Malformed) -> Self {
        Self::Malformed(problem)
    }
}

impl fmt::Debug for Metainfo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Metainfo")
            .field("info_hash", &hex::encode(self.info_hash))
            .field("name", &self.name)
            .field("length", &self.length)
            .finish_non_exhaustive()
    }
}

fn push(urls: &mut Vec<Url>, url: Option<Url>) {
    if let Some(url) = url
        && urls.len() < MOST_URLS
        && !urls.contains(&url)
    {
        urls.push(url);
    }
}

fn url(bytes: &[u8]) -> Option<Url> {
    if bytes.len() > 4096 {
        return None;
    }
    Url::parse(std::str::from_utf8(bytes).ok()?).ok()
}

fn is_web(url: &Url) -> bool {
    matches!(url.scheme(), "https" | "http")
}

/// A web seed that ends with a slash is the folder that the file is in.
fn file_of(mut seed: Url, name: &str) -> Url {
    if seed.path().ends_with('/') {
        let name = utf8_percent_encode(name, NON_ALPHANUMERIC);
        seed.set_path(&format!("{}{name}", seed.path()));
    }
    seed
}

fn is_file_name(name: &str) -> bool {
    !matches!(name, "" | "." | "..")
        && name.len() <= 255
        && !name.contains(['/', '\\'])
        && !name.contains(char::is_control)
}

fn sha1(bytes: &[u8]) -> [u8; 20] {
    let digest = digest(&SHA1, bytes);
    digest.as_ref().try_into().expect("SHA-1 has 20 bytes")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    const DIGEST: &str = "01234567890123456789";

    fn info(rest: &str) -> String {
        format!("d6:lengthi3e4:name1:a12:piece lengthi65536e6:pieces20:{DIGEST}{rest}e")
    }

    #[test]
    fn metainfo_is_read() {
        let info = info("7:privatei1e");
        let text = format!(
            "d8:announce8:http://x13:announce-listll10:http://y/aee4:info{info}8:url-listl9:https://a\
             12:https://b/c/5:ftp:/ee"
        );
        let metainfo = Metainfo::parse(text.as_bytes()).unwrap();
        assert_eq!(metainfo.name(), "a");
        assert_eq!(metainfo.length(), 3);
        assert!(metainfo.is_private());
        assert_eq!(metainfo.info_hash(), sha1(info.as_bytes()));
        let urls = |urls: &[Url]| urls.iter().map(Url::to_string).collect::<Vec<_>>();
        assert_eq!(urls(metainfo.trackers()), ["http://y/a"]);
        assert_eq!(urls(metainfo.web_seeds()), ["https://a/a", "https://b/c/a"]);
        assert_eq!(Metainfo::parse(&metainfo.to_bytes()).unwrap(), metainfo);
        assert_eq!(metainfo.for_session(), format!("d4:info{info}e").as_bytes());
    }

    #[test]
    fn hostile_metainfo_is_refused() {
        use MetainfoError::{Malformed, Name, NotOneFile, Pieces, VersionTwo};
        let of = |info: &str| Metainfo::parse(format!("d4:info{info}e").as_bytes()).unwrap_err();
        let named = |name: &str| {
            let name = format!("{}:{name}", name.len());
            of(&format!(
                "d6:lengthi3e4:name{name}12:piece lengthi65536e6:pieces20:{DIGEST}e"
            ))
        };
        for name in ["..", ".", "", "../x", "/etc/passwd", "a/b", "a\\b", "a\0b", "\u{1b}[2J"] {
            assert_eq!(named(name), Name, "{name:?}");
        }
        let files = "d5:filesld6:lengthi3e4:pathl2:..1:aeee4:name1:a12:piece lengthi65536e6:pieces0:e";
        assert_eq!(of(files), NotOneFile);
        assert_eq!(of("d12:meta versioni2e4:name1:ae"), VersionTwo);
        let sized = |length: u64, piece: u64, pieces: &str| {
            let pieces = format!("{}:{pieces}", pieces.len());
            of(&format!(
                "d6:lengthi{length}e4:name1:a12:piece lengthi{piece}e6:pieces{pieces}e"
            ))
        };
        assert_eq!(
            sized(u64::MAX, 65536, DIGEST),
            Pieces {
                found: 1,
                expected: 1 << 48
            }
        );
        assert_eq!(sized(65537, 65536, DIGEST), Pieces { found: 1, expected: 2 });
        assert_eq!(sized(3, 65536, &format!("{DIGEST}x")), Pieces { found: 1, expected: 1 });
        assert_eq!(sized(0, 65536, ""), Pieces { found: 0, expected: 0 });
        for piece in [0, 1, 1 << 13, (1 << 25) + 1, u64::MAX] {
            assert!(matches!(sized(3, piece, DIGEST), Malformed(_)), "{piece}");
        }
        let bombs = [
            "d4:infoi1ee".to_owned(),
            "i1e".to_owned(),
            format!("d4:info{}", "d1:a".repeat(1 << 20)),
            format!("d13:announce-list{}", "l".repeat(3 << 20)),
            format!("d1:x{}e", " ".repeat(Metainfo::LARGEST)),
            format!("d4:info{}e4:junk", info("")),
            "d4:info4000000000:ae".to_owned(),
        ];
        for bomb in bombs {
            assert!(
                matches!(Metainfo::parse(bomb.as_bytes()).unwrap_err(), Malformed(_)),
                "{bomb:.30}"
            );
        }
    }

    #[test]
    fn of_very_many_urls_some_are_kept() {
        let trackers: String = (0..10_000).map(|i| format!("l14:http://t/{i:05}e")).collect();
        let text = format!("d13:announce-listl{trackers}e4:info{}e", info(""));
        assert_eq!(Metainfo::parse(text.as_bytes()).unwrap().trackers().len(), MOST_URLS);
        let seeds = "0:".repeat(1_000_000);
        let text = format!("d4:info{}8:url-listl{seeds}ee", info(""));
        assert!(Metainfo::parse(text.as_bytes()).unwrap().web_seeds().is_empty());
    }
}
