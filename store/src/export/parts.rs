use std::{
    fs::File,
    io::{self, BufReader, Read, Seek, SeekFrom},
    ops::Range,
    path::{Path, PathBuf},
};

use dhow_image::ImageId;

use crate::{
    error::StoreError,
    object::ObjectId,
    recipe::{RecipeHead, RecipeReader, Record},
};

/// What may be read for a few bytes of a larger object.
const MAX_VERIFIED: u64 = 8 << 20;

/// The bytes of a tar within a range, one part after the other.
pub(super) struct Parts {
    recipe: RecipeReader<BufReader<File>>,
    recipe_path: PathBuf,
    objects: PathBuf,
    /// How many bytes of the tar come before the range, and how many are left of it.
    skip: u64,
    left: u64,
    /// Up to this size an object is compared with its name before a part of it is given out.
    max_verified: u64,
    current: Part,
}

enum Part {
    Framing(io::Cursor<Vec<u8>>),
    Object { file: File, left: u64, path: PathBuf },
}

impl Parts {
    pub(super) fn open(
        recipe: File,
        recipe_path: PathBuf,
        objects: PathBuf,
        range: Range<u64>,
    ) -> Result<Self, StoreError> {
        let recipe = RecipeReader::new(recipe).map_err(|error| in_recipe(&recipe_path, error))?;
        Ok(Self {
            recipe,
            recipe_path,
            objects,
            skip: range.start,
            left: range.end.saturating_sub(range.start),
            max_verified: MAX_VERIFIED,
            current: Part::Framing(io::Cursor::default()),
        })
    }

    /// Compares no object with its name, for the caller takes the digest of the whole tar.
    pub(super) fn leave_objects_to_digest(&mut self) {
        self.max_verified = 0;
    }

    pub(super) fn head(&self) -> RecipeHead {
        self.recipe.head()
    }

    /// Reads a part of what is left; 0 at the end.
    pub(super) fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.left > 0 {
            let wanted = usize::try_from(self.left).unwrap_or(usize::MAX).min(buffer.len());
            let read = match &mut self.current {
                Part::Framing(bytes) => bytes.read(&mut buffer[..wanted])?,
                Part::Object { left: 0, .. } => 0,
                Part::Object { file, left, path } => {
                    let wanted = usize::try_from(*left).unwrap_or(usize::MAX).min(wanted);
                    let read = file.read(&mut buffer[..wanted]).map_err(StoreError::io(&*path))?;
                    if read == 0 {
                        return Err(damaged(path, "has become shorter while it was read").into());
                    }
                    *left -= read as u64;
                    read
                }
            };
            if read > 0 {
                self.left -= read as u64;
                return Ok(read);
            }
            if !self.advance()? {
                break;
            }
        }
        Ok(0)
    }

    /// Goes on to the next part of which something is in the range; says whether there is one.
    fn advance(&mut self) -> Result<bool, StoreError> {
        loop {
            let record = self
                .recipe
                .next()
                .map_err(|error| in_recipe(&self.recipe_path, error))?;
            let size = match &record {
                None => return Ok(false),
                Some(Record::Framing(bytes)) => bytes.len() as u64,
                Some(Record::Object(_, size)) => *size,
            };
            if size <= self.skip {
                self.skip -= size;
                continue;
            }
            let from = std::mem::take(&mut self.skip);
            self.current = match record {
                Some(Record::Object(id, size)) => self.open_object(&id, size, from)?,
                Some(Record::Framing(bytes)) => {
                    let mut bytes = io::Cursor::new(bytes);
                    bytes.set_position(from);
                    Part::Framing(bytes)
                }
                None => return Ok(false),
            };
            return Ok(true);
        }
    }

    fn open_object(&self, id: &ObjectId, size: u64, from: u64) -> Result<Part, StoreError> {
        let path = self.objects.join(id.relative_path());
        let mut file = open_whole(&path, size)?;
        let verified = size <= self.max_verified;
        if verified {
            verify(&file, &path, id)?;
        }
        if verified || from > 0 {
            file.seek(SeekFrom::Start(from)).map_err(StoreError::io(&path))?;
        }
        let left = size - from;
        Ok(Part::Object { file, left, path })
    }

    /// What is damaged, where the tar was rebuilt as another: the first object that is not what its name says, or the
    /// recipe.
    pub(super) fn find_damage(&self, rebuilt: &ImageId) -> StoreError {
        let search = || -> Result<(), StoreError> {
            let recipe = File::open(&self.recipe_path).map_err(StoreError::io(&self.recipe_path))?;
            let at_recipe = |error| in_recipe(&self.recipe_path, error);
            let mut recipe = RecipeReader::new(recipe).map_err(at_recipe)?;
            while let Some(record) = recipe.next().map_err(at_recipe)? {
                if let Record::Object(id, size) = record {
                    let path = self.objects.join(id.relative_path());
                    verify(&open_whole(&path, size)?, &path, &id)?;
                }
            }
            Ok(())
        };
        match search() {
            Err(error) => error,
            Ok(()) => damaged(&self.recipe_path, &format!("rebuilds `{rebuilt}`")),
        }
    }
}

/// Opens an object that must have so many bytes.
fn open_whole(path: &Path, size: u64) -> Result<File, StoreError> {
    let file = File::open(path).map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => damaged(path, "is missing"),
        _ => StoreError::io(path)(error),
    })?;
    let found = file.metadata().map_err(StoreError::io(path))?.len();
    match found == size {
        true => Ok(file),
        false => Err(damaged(path, &format!("has {found} bytes instead of {size}"))),
    }
}

fn verify(file: &File, path: &Path, id: &ObjectId) -> Result<(), StoreError> {
    match ObjectId::of(file).map_err(StoreError::io(path))? == *id {
        true => Ok(()),
        false => Err(damaged(path, "has another content than its name says")),
    }
}

fn in_recipe(path: &Path, error: io::Error) -> StoreError {
    match error.kind() {
        io::ErrorKind::InvalidData | io::ErrorKind::UnexpectedEof => damaged(path, &format!("cannot be read: {error}")),
        _ => StoreError::io(path)(error),
    }
}

fn damaged(path: &Path, problem: &str) -> StoreError {
    StoreError::Damaged {
        path: path.to_owned(),
        problem: problem.to_owned(),
    }
}

impl From<StoreError> for io::Error {
    fn from(error: StoreError) -> Self {
        Self::other(error)
    }
}
