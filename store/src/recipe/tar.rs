use std::io::{self, BufRead, Read};

use super::{RecipeReader, Record, invalid};
use crate::object::ObjectId;

/// The tar of a recipe with zeros in place of objects: all that a tree needs, without opening one.
pub(crate) struct RecipeTar<R: BufRead> {
    recipe: RecipeReader<R>,
    framing: io::Cursor<Vec<u8>>,
    zeros: u64,
}

impl<R: BufRead> RecipeTar<R> {
    pub(crate) fn new(recipe: RecipeReader<R>) -> Self {
        Self {
            recipe,
            framing: io::Cursor::default(),
            zeros: 0,
        }
    }

    /// Leaves out the zeros of the object that was asked for last.
    pub(crate) fn leave_out_object(&mut self) {
        self.zeros = 0;
    }

    /// The object that begins here and its size, or `None` where the next bytes stand in the recipe itself. An object
    /// can be read over only after it was asked for: none may stand where no content begins.
    pub(crate) fn object(&mut self) -> io::Result<Option<(ObjectId, u64)>> {
        if self.zeros > 0 || self.framing.position() < self.framing.get_ref().len() as u64 {
            return Ok(None);
        }
        match self.recipe.next()? {
            Some(Record::Framing(bytes)) => self.framing = io::Cursor::new(bytes),
            Some(Record::Object(id, size)) => {
                self.zeros = size;
                return Ok(Some((id, size)));
            }
            None => {}
        }
        Ok(None)
    }
}

impl<R: BufRead> Read for RecipeTar<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.zeros > 0 {
            let read = usize::try_from(self.zeros).unwrap_or(usize::MAX).min(buffer.len());
            buffer[..read].fill(0);
            self.zeros -= read as u64;
            return Ok(read);
        }
        if !buffer.is_empty() && self.object()?.is_some() {
            return Err(invalid("it has an object where no content begins"));
        }
        self.framing.read(buffer)
    }
}
