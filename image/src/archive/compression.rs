//! The compressions around a tar, told apart by content and never by name.

use std::{
    fmt,
    io::{self, BufRead, BufReader, Read, Write},
    str::FromStr,
};

use liblzma::{
    bufread::XzDecoder,
    stream::{CONCATENATED, Stream},
};
use serde::Serialize;

use super::ArchiveError;

/// What xz may take. An archive says itself how far back it refers, which its reader must hold, and may say 4 GiB:
/// this is 64 MiB, which `xz -9` writes and is the most of any usual setting, and a little for the decoder itself.
const MAX_XZ_MEMORY: u64 = 66 << 20;
/// The same for Zstandard: 32 MiB, where `zstd -19` writes 8.
const MAX_ZSTD_WINDOW_LOG: u32 = 25;

/// How an archive is compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Compression {
    /// Not at all.
    None,
    /// gzip, which every tool for App Container Images reads.
    Gzip,
    /// bzip2.
    Bzip2,
    /// xz.
    Xz,
    /// Zstandard, which the specification does not list: only dhow and its kin read it.
    Zstd,
}

impl Compression {
    /// Tells the compression of an archive by its first bytes, six of which are enough.
    pub fn detect(start: &[u8]) -> Result<Self, ArchiveError> {
        const MAGIC: [(&[u8], Compression); 4] = [
            (&[0x1f, 0x8b], Compression::Gzip),
            (b"BZh", Compression::Bzip2),
            (&[0xfd, b'7', b'z', b'X', b'Z', 0], Compression::Xz),
            (&[0x28, 0xb5, 0x2f, 0xfd], Compression::Zstd),
        ];
        if let Some((_, compression)) = MAGIC.iter().find(|(magic, _)| start.starts_with(magic)) {
            return Ok(*compression);
        }
        match start.first() {
            None => Err(ArchiveError::Truncated),
            // OpenPGP packets have the top bit set; the five that a message can begin with, in either packet format
            // (RFC 4880, 4.2), or the armor of one. No tar begins so: its first bytes are an entry's name.
            Some(0x84 | 0x85 | 0x8c | 0x8d | 0xc1 | 0xc3 | 0xa3 | 0xc8 | 0xd2) => Err(ArchiveError::Encrypted),
            Some(_) if start.starts_with(b"-----B") => Err(ArchiveError::Encrypted),
            Some(_) => Ok(Compression::None),
        }
    }
}

impl fmt::Display for Compression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::None => "none",
            Self::Gzip => "gzip",
            Self::Bzip2 => "bzip2",
            Self::Xz => "xz",
            Self::Zstd => "zstd",
        })
    }
}

impl FromStr for Compression {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let all = [Self::None, Self::Gzip, Self::Bzip2, Self::Xz, Self::Zstd];
        let found = all.into_iter().find(|compression| compression.to_string() == text);
        found.ok_or_else(|| "known are none, gzip, bzip2, xz and zstd".to_owned())
    }
}

/// Reads the tar inside of an archive, whatever its compression.
pub struct Decompressor<R: Read> {
    compression: Compression,
    stream: Decoding<R>,
}

enum Decoding<R: Read> {
    None(BufReader<R>),
    Gzip(Box<flate2::bufread::MultiGzDecoder<BufReader<R>>>),
    Bzip2(Box<bzip2::bufread::MultiBzDecoder<BufReader<R>>>),
    Xz(Box<XzDecoder<BufReader<R>>>),
    Zstd(Box<zstd::stream::read::Decoder<'static, BufReader<R>>>),
}

impl<R: Read> Decompressor<R> {
    /// Looks at the first bytes of an archive and begins to read it.
    pub fn new(archive: R) -> Result<Self, ArchiveError> {
        let mut archive = BufReader::with_capacity(128 << 10, archive);
        let compression = Compression::detect(archive.fill_buf()?)?;
        let stream = match compression {
            Compression::None => Decoding::None(archive),
            Compression::Gzip => Decoding::Gzip(Box::new(flate2::bufread::MultiGzDecoder::new(archive))),
            Compression::Bzip2 => Decoding::Bzip2(Box::new(bzip2::bufread::MultiBzDecoder::new(archive))),
            Compression::Xz => {
                let stream = Stream::new_stream_decoder(MAX_XZ_MEMORY, CONCATENATED).map_err(io::Error::from)?;
                Decoding::Xz(Box::new(XzDecoder::new_stream(archive, stream)))
            }
            Compression::Zstd => {
                let mut decoder = zstd::stream::read::Decoder::with_buffer(archive)?;
                decoder.window_log_max(MAX_ZSTD_WINDOW_LOG)?;
                Decoding::Zstd(Box::new(decoder))
            }
        };
        Ok(Self { compression, stream })
    }

    /// How the archive is compressed.
    pub fn compression(&self) -> Compression {
        self.compression
    }
}

impl<R: Read> Read for Decompressor<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match &mut self.stream {
            Decoding::None(stream) => stream.read(buffer),
            Decoding::Gzip(stream) => stream.read(buffer),
            Decoding::Bzip2(stream) => stream.read(buffer),
            Decoding::Xz(stream) => stream.read(buffer),
            Decoding::Zstd(stream) => stream.read(buffer),
        }
    }
}

/// Compresses a tar into an archive, the same bytes for the same tar.
pub enum Compressor<W: Write> {
    /// Nothing is done.
    None(W),
    /// gzip without a name or a time in its header.
    Gzip(Box<flate2::write::GzEncoder<W>>),
    /// bzip2.
    Bzip2(Box<bzip2::write::BzEncoder<W>>),
    /// xz.
    Xz(Box<liblzma::write::XzEncoder<W>>),
    /// Zstandard.
    Zstd(Box<zstd::stream::write::Encoder<'static, W>>),
}

impl<W: Write> Compressor<W> {
    /// Begins an archive.
    pub fn new(compression: Compression, archive: W) -> io::Result<Self> {
        Ok(match compression {
            Compression::None => Self::None(archive),
            Compression::Gzip => Self::Gzip(Box::new(flate2::write::GzEncoder::new(
                archive,
                flate2::Compression::default(),
            ))),
            Compression::Bzip2 => Self::Bzip2(Box::new(bzip2::write::BzEncoder::new(
                archive,
                bzip2::Compression::default(),
            ))),
            Compression::Xz => Self::Xz(Box::new(liblzma::write::XzEncoder::new(archive, 6))),
            Compression::Zstd => {
                let mut encoder = zstd::stream::write::Encoder::new(archive, 9)?;
                // As the others have one: damage is named for what it is.
                encoder.include_checksum(true)?;
                Self::Zstd(Box::new(encoder))
            }
        })
    }

    /// Ends the archive and gives back what it was written to.
    pub fn finish(self) -> io::Result<W> {
        match self {
            Self::None(archive) => Ok(archive),
            Self::Gzip(encoder) => encoder.finish(),
            Self::Bzip2(encoder) => encoder.finish(),
            Self::Xz(encoder) => encoder.finish(),
            Self::Zstd(encoder) => encoder.finish(),
        }
    }
}

impl<W: Write> Write for Compressor<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::None(archive) => archive.write(bytes),
            Self::Gzip(encoder) => encoder.write(bytes),
            Self::Bzip2(encoder) => encoder.write(bytes),
            Self::Xz(encoder) => encoder.write(bytes),
            Self::Zstd(encoder) => encoder.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::None(archive) => archive.flush(),
            Self::Gzip(encoder) => encoder.flush(),
            Self::Bzip2(encoder) => encoder.flush(),
            Self::Xz(encoder) => encoder.flush(),
            Self::Zstd(encoder) => encoder.flush(),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn every_compression_is_recognised_by_its_content() {
        use Compression::{Bzip2, Gzip, None, Xz, Zstd};
        let tar = vec![b'm'; 10_000];
        for compression in [None, Gzip, Bzip2, Xz, Zstd] {
            let mut compressor = Compressor::new(compression, Vec::new()).unwrap();
            compressor.write_all(&tar).unwrap();
            let archive = compressor.finish().unwrap();
            let mut reader = Decompressor::new(archive.as_slice()).unwrap();
            assert_eq!(reader.compression(), compression);
            let mut back = Vec::new();
            reader.read_to_end(&mut back).unwrap();
            assert_eq!(back, tar);
        }
    }

    #[test]
    fn encrypted_and_empty_files_are_named_for_what_they_are() {
        assert!(matches!(
            Decompressor::new(&b"\x8c\x0d\x04\x09"[..]),
            Err(ArchiveError::Encrypted)
        ));
        assert!(matches!(
            Decompressor::new(&b"-----BEGIN PGP MESSAGE"[..]),
            Err(ArchiveError::Encrypted)
        ));
        assert!(matches!(Decompressor::new(&b""[..]), Err(ArchiveError::Truncated)));
    }
}
