use std::io::{self, BufRead, BufReader, Read};

use dhow_image::ImageId;

use super::{FRAMING, MAGIC, MAX_FRAMING, MAX_WINDOW_LOG, NOTES, OBJECT, RecipeHead, Record, invalid};
use crate::object::ObjectId;

/// Reads a recipe that anybody may have made, within memory that does not depend on it.
pub(crate) struct RecipeReader<R: BufRead> {
    frame: BufReader<zstd::Decoder<'static, R>>,
    head: RecipeHead,
    /// How many bytes of the tar are still to come.
    left: u64,
    /// How many bytes notes may still have.
    notes_left: u64,
}

impl<R: Read> RecipeReader<BufReader<R>> {
    pub(crate) fn new(recipe: R) -> io::Result<Self> {
        let mut recipe = BufReader::new(recipe);
        let mut magic = [0; MAGIC.len()];
        recipe.read_exact(&mut magic)?;
        if magic != *MAGIC {
            return Err(invalid("it is no recipe of version 2"));
        }
        let id = ImageId::from_bytes(read_array(&mut recipe)?);
        let tar_size = u64::from_le_bytes(read_array(&mut recipe)?);
        let mut decoder = zstd::Decoder::with_buffer(recipe)?.single_frame();
        decoder.window_log_max(MAX_WINDOW_LOG)?;
        Ok(Self {
            frame: BufReader::with_capacity(MAX_FRAMING, decoder),
            head: RecipeHead { id, tar_size },
            left: tar_size,
            notes_left: tar_size,
        })
    }
}

/// The records of a recipe, as their frame has them: what recipes that travel are made of.
pub(crate) fn records_of<R: Read>(mut recipe: R) -> io::Result<impl Read + use<R>> {
    let mut head = [0; MAGIC.len() + 64 + 8];
    recipe.read_exact(&mut head)?;
    if !head.starts_with(MAGIC) {
        return Err(invalid("it is no recipe of version 2"));
    }
    let mut decoder = zstd::Decoder::new(recipe)?.single_frame();
    decoder.window_log_max(MAX_WINDOW_LOG)?;
    Ok(decoder)
}

impl<R: BufRead> RecipeReader<R> {
    /// What the whole tar must be.
    pub(crate) fn head(&self) -> RecipeHead {
        self.head
    }

    /// The next record, or `None` when the recipe has been read to its end and its records have as many bytes as it
    /// says.
    pub(crate) fn next(&mut self) -> io::Result<Option<Record>> {
        while !self.frame.fill_buf()?.is_empty() {
            match read_array::<1>(&mut self.frame)?[0] {
                FRAMING => {
                    let length = u32::from_le_bytes(read_array(&mut self.frame)?);
                    if length as usize > MAX_FRAMING {
                        return Err(invalid("it has framing that is too long"));
                    }
                    self.take(u64::from(length))?;
                    let mut bytes = vec![0; length as usize];
                    self.frame.read_exact(&mut bytes)?;
                    return Ok(Some(Record::Framing(bytes)));
                }
                OBJECT => {
                    let id = ObjectId(read_array(&mut self.frame)?);
                    let size = u64::from_le_bytes(read_array(&mut self.frame)?);
                    self.take(size)?;
                    return Ok(Some(Record::Object(id, size)));
                }
                NOTES.. => self.pass_over_note()?,
                _ => return Err(invalid("it has a record of an unknown kind")),
            }
        }
        if self.left > 0 {
            return Err(invalid("its records have fewer bytes than it says the tar has"));
        }
        if !self.frame.get_mut().get_mut().fill_buf()?.is_empty() {
            return Err(invalid("it goes on after its end"));
        }
        Ok(None)
    }

    /// Counts bytes of the tar. A record without any is refused, so that there are never more records than bytes.
    fn take(&mut self, size: u64) -> io::Result<()> {
        if size == 0 {
            return Err(invalid("it has an empty record"));
        }
        let left = self.left.checked_sub(size);
        self.left = left.ok_or_else(|| invalid("its records have more bytes than it says the tar has"))?;
        Ok(())
    }

    fn pass_over_note(&mut self) -> io::Result<()> {
        let length = u64::from(u32::from_le_bytes(read_array(&mut self.frame)?));
        let left = self.notes_left.checked_sub(length.max(1));
        self.notes_left = left.ok_or_else(|| invalid("its notes are longer than the tar"))?;
        match io::copy(&mut self.frame.by_ref().take(length), &mut io::sink())? == length {
            true => Ok(()),
            false => Err(io::ErrorKind::UnexpectedEof.into()),
        }
    }
}

fn read_array<const N: usize>(reader: &mut impl Read) -> io::Result<[u8; N]> {
    let mut bytes = [0; N];
    reader.read_exact(&mut bytes)?;
    Ok(bytes)
}
