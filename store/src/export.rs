//! Giving an image back: the same tar that came in, bit for bit.

use std::{
    fs::File,
    io::{self, BufReader, Read},
    path::{Path, PathBuf},
};

use dhow_image::ImageId;
use sha2::{Digest, Sha512};

use crate::{
    error::StoreError,
    recipe::{RecipeReader, Record},
    store::Store,
};

/// The uncompressed tar of an image, rebuilt as it is read.
///
/// What is read is believed only once the end was reached without an error: there the digest of all of it is compared
/// with the image ID.
pub struct Export {
    recipe: RecipeReader<BufReader<File>>,
    objects: PathBuf,
    expected: ImageId,
    hasher: Sha512,
    current: Part,
}

enum Part {
    Framing(io::Cursor<Vec<u8>>),
    Object { file: File, left: u64, path: PathBuf },
    End,
}

impl Store {
    /// The uncompressed tar of an image.
    pub fn export(&self, id: &ImageId) -> Result<Export, StoreError> {
        let image = self.image_dir(id)?;
        let recipe = RecipeReader::new(image.recipe()?).map_err(StoreError::io(image.recipe_path()))?;
        Ok(Export {
            recipe,
            objects: self.objects_dir(),
            expected: *id,
            hasher: Sha512::new(),
            current: Part::Framing(io::Cursor::default()),
        })
    }
}

impl Export {
    fn next_part(&mut self) -> io::Result<Part> {
        match self.recipe.next()? {
            Some(Record::Framing(bytes)) => Ok(Part::Framing(io::Cursor::new(bytes))),
            Some(Record::Object(id, size)) => {
                let path = self.objects.join(id.relative_path());
                let file = File::open(&path).map_err(|error| match error.kind() {
                    io::ErrorKind::NotFound => damage(&path, "is missing"),
                    _ => io::Error::other(StoreError::Io {
                        path: path.clone(),
                        source: error,
                    }),
                })?;
                Ok(Part::Object { file, left: size, path })
            }
            None => {
                let digest = ImageId::from_sha512(self.hasher.clone());
                if digest == self.expected {
                    return Ok(Part::End);
                }
                Err(damage(
                    Path::new(&self.expected.short()),
                    &format!("was rebuilt as `{digest}`"),
                ))
            }
        }
    }
}

/// An error of reading that tells of damage: it holds a [`StoreError::Damaged`].
fn damage(path: &Path, problem: &str) -> io::Error {
    io::Error::other(StoreError::Damaged {
        path: path.to_owned(),
        problem: problem.to_owned(),
    })
}

impl Read for Export {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if buffer.is_empty() {
            return Ok(0);
        }
        loop {
            let read = match &mut self.current {
                Part::End => return Ok(0),
                Part::Framing(bytes) => bytes.read(buffer)?,
                Part::Object { left: 0, .. } => 0,
                Part::Object { file, left, path } => {
                    let wanted = usize::try_from(*left).unwrap_or(usize::MAX).min(buffer.len());
                    let read = file.read(&mut buffer[..wanted])?;
                    if read == 0 {
                        return Err(damage(path, "is too short"));
                    }
                    *left -= read as u64;
                    read
                }
            };
            if read > 0 {
                self.hasher.update(&buffer[..read]);
                return Ok(read);
            }
            self.current = self.next_part()?;
        }
    }
}
