//! Giving an image back: the same tar that came in, bit for bit, or any part of it.

mod digest;
mod parts;

use std::{
    io::{self, Read},
    ops::Range,
    sync::Arc,
};

use dhow_image::ImageId;

use self::{digest::DigestThread, parts::Parts};
use crate::{error::StoreError, store::Store};

/// How many bytes are read, and handed to the thread that takes the digest, at a time.
const BUFFER: usize = 128 << 10;

/// The uncompressed tar of an image, or a part of it, rebuilt as it is read.
///
/// What is read is believed only once the end was reached without an error: there the digest of a whole tar is compared
/// with the image ID. An error that tells of damage holds a [`StoreError::Damaged`] with the damaged file.
pub struct Export {
    parts: Parts,
    tar_size: u64,
    /// Of a whole tar.
    digest: Option<DigestThread>,
    expected: ImageId,
    current: Arc<Vec<u8>>,
    position: usize,
    spare: Vec<Arc<Vec<u8>>>,
}

impl Store {
    /// The uncompressed tar of an image.
    pub fn export(&self, id: &ImageId) -> Result<Export, StoreError> {
        self.mark_used([*id]);
        self.rebuild(id)
    }

    /// The bytes of an image's uncompressed tar from `range.start` up to `range.end` or the end of the tar, whichever
    /// comes first. No object is opened but those in that range.
    ///
    /// A part has no digest of its own: each object is compared with its name, if it has 8 MiB or less, and with its
    /// size in any case.
    pub fn export_range(&self, id: &ImageId, range: Range<u64>) -> Result<Export, StoreError> {
        self.mark_used([*id]);
        self.rebuild_range(id, range)
    }

    /// As [`Self::export`], where nobody uses the image.
    pub(crate) fn rebuild(&self, id: &ImageId) -> Result<Export, StoreError> {
        let mut export = self.rebuild_range(id, 0..u64::MAX)?;
        export.parts.leave_objects_to_digest();
        export.digest = Some(DigestThread::start());
        Ok(export)
    }

    fn rebuild_range(&self, id: &ImageId, range: Range<u64>) -> Result<Export, StoreError> {
        let image = self.image_dir(id)?;
        let parts = Parts::open(image.recipe()?, image.recipe_path(), self.objects_dir(), range)?;
        let head = parts.head();
        if head.id != *id {
            return Err(StoreError::Damaged {
                path: image.recipe_path(),
                problem: format!("is that of `{}`", head.id),
            });
        }
        Ok(Export {
            parts,
            tar_size: head.tar_size,
            digest: None,
            expected: *id,
            current: Arc::default(),
            position: 0,
            spare: Vec::new(),
        })
    }
}

impl Export {
    /// How many bytes the whole tar has.
    pub fn tar_size(&self) -> u64 {
        self.tar_size
    }

    /// Reads the next buffer; an empty one at the end, where the digest was right.
    fn fill(&mut self) -> io::Result<()> {
        let mut buffer = self.unused();
        let bytes = Arc::get_mut(&mut buffer).expect("nobody else holds an unused buffer");
        bytes.resize(BUFFER, 0);
        let mut filled = 0;
        while filled < BUFFER {
            match self.parts.read(&mut bytes[filled..])? {
                0 => break,
                read => filled += read,
            }
        }
        bytes.truncate(filled);
        if filled > 0 {
            if let Some(digest) = &self.digest {
                digest.update(Arc::clone(&buffer));
            }
        } else if let Some(digest) = self.digest.take() {
            let found = digest.finish();
            if found != self.expected {
                return Err(io::Error::other(self.parts.find_damage(&found)));
            }
        }
        self.position = 0;
        self.spare.push(std::mem::replace(&mut self.current, buffer));
        Ok(())
    }

    /// A buffer that the digest is done with, or a new one: there are never more than its queue holds.
    fn unused(&mut self) -> Arc<Vec<u8>> {
        let done = self.spare.iter().position(|buffer| Arc::strong_count(buffer) == 1);
        done.map_or_else(Arc::default, |index| self.spare.swap_remove(index))
    }
}

impl Read for Export {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if buffer.is_empty() {
            return Ok(0);
        }
        if self.position == self.current.len() {
            self.fill()?;
        }
        let read = buffer.len().min(self.current.len() - self.position);
        buffer[..read].copy_from_slice(&self.current[self.position..self.position + read]);
        self.position += read;
        Ok(read)
    }
}
