//! Recipes: how to rebuild an image's tar, bit for bit, from objects.
//!
//! ```text
//!   "dhow recipe 1\n"                                    14 bytes
//!   one Zstandard frame of records:
//!     01  length: u32  bytes                             bytes of the tar itself: headers, padding, the manifest
//!     02  SHA-256: 32 bytes  size: u64                   the content of an object
//!     00  SHA-512: 64 bytes  size: u64                   the end: what the whole tar must be
//! ```
//!
//! Numbers are little-endian. `docs/src/formats/recipe.md` says the same in prose.

use std::io::{self, BufRead, BufReader, BufWriter, Read, Write};

use dhow_image::ImageId;

use crate::object::ObjectId;

const MAGIC: &[u8; 14] = b"dhow recipe 1\n";
const END: u8 = 0;
const FRAMING: u8 = 1;
const OBJECT: u8 = 2;
/// No writer makes framing longer than this: a manifest of 4 MiB, the largest trailer and some headers.
const MAX_FRAMING: u32 = 16 << 20;

/// One step of rebuilding a tar.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Record {
    /// Bytes of the tar itself.
    Framing(Vec<u8>),
    /// The content of an object.
    Object(ObjectId, u64),
}

/// What stands at a recipe's end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct RecipeEnd {
    pub(crate) id: ImageId,
    pub(crate) tar_size: u64,
}

/// Writes a recipe.
pub(crate) struct RecipeWriter<W: Write> {
    frame: BufWriter<zstd::Encoder<'static, W>>,
}

impl<W: Write> RecipeWriter<W> {
    pub(crate) fn new(mut out: W) -> io::Result<Self> {
        out.write_all(MAGIC)?;
        Ok(Self {
            frame: BufWriter::with_capacity(64 << 10, zstd::Encoder::new(out, 3)?),
        })
    }

    pub(crate) fn framing(&mut self, bytes: &[u8]) -> io::Result<()> {
        if bytes.is_empty() {
            return Ok(());
        }
        let length = u32::try_from(bytes.len()).ok().filter(|&length| length <= MAX_FRAMING);
        let length = length.ok_or_else(|| invalid("the tar has too many bytes between two files"))?;
        self.frame.write_all(&[FRAMING])?;
        self.frame.write_all(&length.to_le_bytes())?;
        self.frame.write_all(bytes)
    }

    pub(crate) fn object(&mut self, id: &ObjectId, size: u64) -> io::Result<()> {
        self.frame.write_all(&[OBJECT])?;
        self.frame.write_all(&id.0)?;
        self.frame.write_all(&size.to_le_bytes())
    }

    pub(crate) fn finish(mut self, end: RecipeEnd) -> io::Result<W> {
        self.frame.write_all(&[END])?;
        self.frame.write_all(end.id.as_bytes())?;
        self.frame.write_all(&end.tar_size.to_le_bytes())?;
        self.frame.into_inner().map_err(|error| error.into_error())?.finish()
    }
}

/// Reads a recipe.
pub(crate) struct RecipeReader<R: BufRead> {
    frame: BufReader<zstd::Decoder<'static, R>>,
    end: Option<RecipeEnd>,
}

impl<R: Read> RecipeReader<BufReader<R>> {
    pub(crate) fn new(recipe: R) -> io::Result<Self> {
        let mut recipe = BufReader::new(recipe);
        let mut magic = [0; MAGIC.len()];
        recipe.read_exact(&mut magic)?;
        if magic != *MAGIC {
            return Err(invalid("it is no recipe of version 1"));
        }
        Ok(Self {
            frame: BufReader::with_capacity(64 << 10, zstd::Decoder::with_buffer(recipe)?),
            end: None,
        })
    }
}

impl<R: BufRead> RecipeReader<R> {
    /// The next record, or `None` after the last, when [`Self::end`] is known.
    pub(crate) fn next(&mut self) -> io::Result<Option<Record>> {
        match self.read_array::<1>()?[0] {
            FRAMING => {
                let length = u32::from_le_bytes(self.read_array()?);
                if length > MAX_FRAMING {
                    return Err(invalid("it has framing that is too long"));
                }
                let mut bytes = vec![0; length as usize];
                self.frame.read_exact(&mut bytes)?;
                Ok(Some(Record::Framing(bytes)))
            }
            OBJECT => {
                let id = ObjectId(self.read_array()?);
                Ok(Some(Record::Object(id, u64::from_le_bytes(self.read_array()?))))
            }
            END => {
                let id = ImageId::from_bytes(self.read_array()?);
                self.end = Some(RecipeEnd {
                    id,
                    tar_size: u64::from_le_bytes(self.read_array()?),
                });
                Ok(None)
            }
            _ => Err(invalid("it has a record of an unknown kind")),
        }
    }

    /// What the tar must be; known once there are no more records.
    pub(crate) fn end(&self) -> Option<RecipeEnd> {
        self.end
    }

    fn read_array<const N: usize>(&mut self) -> io::Result<[u8; N]> {
        let mut bytes = [0; N];
        self.frame.read_exact(&mut bytes)?;
        Ok(bytes)
    }
}

fn invalid(problem: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, problem)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_come_back_in_order() {
        let end = RecipeEnd {
            id: ImageId::from_bytes([7; 64]),
            tar_size: 1234,
        };
        let mut writer = RecipeWriter::new(Vec::new()).unwrap();
        writer.framing(b"header").unwrap();
        writer.object(&ObjectId([9; 32]), 1 << 40).unwrap();
        writer.framing(b"").unwrap();
        let bytes = writer.finish(end).unwrap();

        let mut reader = RecipeReader::new(bytes.as_slice()).unwrap();
        assert_eq!(reader.next().unwrap(), Some(Record::Framing(b"header".to_vec())));
        assert_eq!(reader.next().unwrap(), Some(Record::Object(ObjectId([9; 32]), 1 << 40)));
        assert_eq!(reader.next().unwrap(), None);
        assert_eq!(reader.end(), Some(end));
    }

    #[test]
    fn a_recipe_cut_anywhere_is_an_error() {
        let end = RecipeEnd {
            id: ImageId::from_bytes([7; 64]),
            tar_size: 3,
        };
        let mut writer = RecipeWriter::new(Vec::new()).unwrap();
        writer.framing(b"abc").unwrap();
        let bytes = writer.finish(end).unwrap();
        for length in 0..bytes.len() - 1 {
            let read_all = || -> io::Result<()> {
                let mut reader = RecipeReader::new(&bytes[..length])?;
                while reader.next()?.is_some() {}
                Ok(())
            };
            assert!(read_all().is_err() || length >= bytes.len() - 4, "cut at {length}");
        }
    }
}
