use std::io::{self, BufWriter, Read, Seek, SeekFrom, Write};

use dhow_image::ImageId;

use super::{FRAMING, MAGIC, MAX_FRAMING, OBJECT, RecipeHead};
use crate::object::ObjectId;

/// Writes a recipe in the order of the tar. What the tar is as a whole stands in front of it and is known last.
pub(crate) struct RecipeWriter<W: Write + Seek> {
    frame: BufWriter<zstd::Encoder<'static, W>>,
    framing: Vec<u8>,
}

impl<W: Write + Seek> RecipeWriter<W> {
    pub(crate) fn new(mut out: W) -> io::Result<Self> {
        out.write_all(MAGIC)?;
        write_head(
            &mut out,
            &RecipeHead {
                id: ImageId::from_bytes([0; 64]),
                tar_size: 0,
            },
        )?;
        let mut encoder = zstd::Encoder::new(out, 1)?;
        encoder.include_checksum(true)?;
        Ok(Self {
            frame: BufWriter::with_capacity(MAX_FRAMING, encoder),
            framing: Vec::new(),
        })
    }

    /// Bytes of the tar itself, as many as come between two objects.
    pub(crate) fn framing(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.framing.extend_from_slice(bytes);
        if self.framing.len() >= MAX_FRAMING {
            self.write_framing()?;
        }
        Ok(())
    }

    /// The content of an object of at least one byte.
    pub(crate) fn object(&mut self, id: &ObjectId, size: u64) -> io::Result<()> {
        self.write_framing()?;
        self.frame.write_all(&[OBJECT])?;
        self.frame.write_all(id.as_bytes())?;
        self.frame.write_all(&size.to_le_bytes())
    }

    pub(crate) fn finish(mut self, head: &RecipeHead) -> io::Result<W> {
        self.write_framing()?;
        let encoder = self.frame.into_inner().map_err(|error| error.into_error())?;
        let mut out = encoder.finish()?;
        out.seek(SeekFrom::Start(MAGIC.len() as u64))?;
        write_head(&mut out, head)?;
        out.flush()?;
        Ok(out)
    }

    fn write_framing(&mut self) -> io::Result<()> {
        for bytes in self.framing.chunks(MAX_FRAMING) {
            let length = u32::try_from(bytes.len()).expect("a chunk is no longer than the limit");
            self.frame.write_all(&[FRAMING])?;
            self.frame.write_all(&length.to_le_bytes())?;
            self.frame.write_all(bytes)?;
        }
        self.framing.clear();
        Ok(())
    }
}

/// Makes a recipe of the records that [`records_of`](super::records_of) gives.
pub(crate) fn recipe_of(mut records: impl Read, head: &RecipeHead, mut out: impl Write) -> io::Result<()> {
    out.write_all(MAGIC)?;
    write_head(&mut out, head)?;
    let mut encoder = zstd::Encoder::new(out, 1)?;
    encoder.include_checksum(true)?;
    io::copy(&mut records, &mut encoder)?;
    encoder.finish()?.flush()
}

fn write_head(out: &mut impl Write, head: &RecipeHead) -> io::Result<()> {
    out.write_all(head.id.as_bytes())?;
    out.write_all(&head.tar_size.to_le_bytes())
}
