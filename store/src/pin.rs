//! Pins: images that stay, with those that they depend on, until somebody takes the pin away.
//!
//! ```text
//!   pins/<name>     image IDs, one a line
//! ```

use std::{fs, io, io::Write, path::PathBuf};

use dhow_image::ImageId;

use crate::{error::StoreError, store::Store};

/// A reason for images to stay.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pin {
    /// What it is called.
    pub name: String,
    /// The images that it holds.
    pub images: Vec<ImageId>,
}

impl Store {
    /// Holds images, until [`Self::unpin`]. A pin that is there already is replaced.
    pub fn pin(&self, name: &str, images: &[ImageId]) -> Result<(), StoreError> {
        self.check_writable()?;
        let path = self.pin_path(name)?;
        let tmp = self.tmp_dir();
        let write = || -> io::Result<()> {
            let mut file = tempfile::NamedTempFile::new_in(&tmp)?;
            for id in images {
                writeln!(file, "{id}")?;
            }
            file.as_file().sync_all()?;
            file.persist(&path)?;
            Ok(())
        };
        write().map_err(StoreError::io(&path))?;
        // Whoever removes an image looks for pins when it is out of its place: one of the two sees the other.
        if let Some(gone) = images.iter().find(|id| !self.contains(id)) {
            self.unpin(name)?;
            return Err(StoreError::NotFound { id: gone.to_string() });
        }
        Ok(())
    }

    /// Takes a pin away; whether there was one.
    pub fn unpin(&self, name: &str) -> Result<bool, StoreError> {
        self.check_writable()?;
        let path = self.pin_path(name)?;
        match fs::remove_file(&path) {
            Ok(()) => Ok(true),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(StoreError::io(path)(error)),
        }
    }

    /// All pins, in the order of their names.
    pub fn pins(&self) -> Result<Vec<Pin>, StoreError> {
        let directory = self.root().join("pins");
        let entries = match fs::read_dir(&directory) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(StoreError::io(directory)(error)),
        };
        let mut pins = Vec::new();
        for entry in entries {
            let entry = entry.map_err(StoreError::io(&directory))?;
            let text = match fs::read_to_string(entry.path()) {
                Ok(text) => text,
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                Err(error) => return Err(StoreError::io(entry.path())(error)),
            };
            let images = text.lines().map(str::parse).collect::<Result<_, _>>();
            pins.push(Pin {
                name: entry.file_name().to_string_lossy().into_owned(),
                images: images.map_err(|error| StoreError::Damaged {
                    path: entry.path(),
                    problem: format!("is no list of image IDs: {error}"),
                })?,
            });
        }
        pins.sort_by(|one, other| one.name.cmp(&other.name));
        Ok(pins)
    }

    fn pin_path(&self, name: &str) -> Result<PathBuf, StoreError> {
        let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
        let starts_well = name.bytes().next().is_some_and(|byte| byte.is_ascii_alphanumeric());
        if starts_well && name.len() <= 200 && name.bytes().all(is_plain) {
            Ok(self.root().join("pins").join(name))
        } else {
            Err(StoreError::PinName { name: name.to_owned() })
        }
    }
}
