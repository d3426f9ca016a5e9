//! [`Layer`]: one layer of an image, and reading it with everything checked that can be.

use std::{
    cell::Cell,
    io::{self, BufRead, BufReader, Read},
    rc::Rc,
};

use super::{
    ConvertError,
    container::Container,
    digest::{Digest, VerifiedReader},
    tar::TarEntries,
};
use crate::archive::{ArchiveError, Decompressor, Entry};

/// Where a layer is, and what it must be.
#[derive(Clone, Debug)]
pub(super) struct Layer {
    /// Its name in the container.
    pub(super) file: String,
    /// The digest and the size of the blob as it stands there.
    pub(super) blob: Option<(Digest, u64)>,
    /// The digest of the uncompressed tar.
    pub(super) diff_id: Option<Digest>,
}

impl Layer {
    /// What a person knows it by.
    pub(super) fn name(&self) -> String {
        self.blob
            .as_ref()
            .map_or_else(|| self.file.clone(), |(digest, _)| digest.to_string())
    }

    /// Begins to read it, of which there may be as much as is left of the budget.
    pub(super) fn open(&self, container: &Container, budget: &Budget) -> Result<LayerEntries, ConvertError> {
        let (file, _) = container.open(&self.file)?;
        let (digest, size) = self
            .blob
            .as_ref()
            .map_or((None, None), |(digest, size)| (Some(digest), Some(*size)));
        let blob = VerifiedReader::new(file, digest, size);
        let blob_end = blob.end();
        let tar = decompress(blob).map_err(|source| ConvertError::Layer {
            layer: self.name(),
            source,
        })?;
        let tar: Box<dyn Read> = Box::new(budget.bounding(tar));
        let tar = VerifiedReader::new(tar, self.diff_id.as_ref(), None);
        Ok(LayerEntries {
            name: self.name(),
            blob_end,
            tar: TarEntries::new(tar),
        })
    }
}

/// How many bytes may still be unfolded. A layer can stand in an image a thousand times, so that its own size says
/// little.
#[derive(Clone)]
pub(super) struct Budget {
    limit: u64,
    left: Rc<Cell<u64>>,
}

impl Budget {
    pub(super) fn new(limit: u64) -> Self {
        Self {
            limit,
            left: Rc::new(Cell::new(limit)),
        }
    }

    /// How many bytes may still come.
    pub(super) fn left(&self) -> u64 {
        self.left.get()
    }

    /// What is told when more come.
    pub(super) fn spent(&self) -> ArchiveError {
        ArchiveError::TooLarge {
            what: "uncompressed bytes",
            limit: self.limit,
        }
    }

    /// A reader that fails where the budget is spent: with an [`ArchiveError`] in its error.
    pub(super) fn bounding<R: Read>(&self, inner: R) -> Bounded<R> {
        Bounded {
            inner,
            budget: self.clone(),
        }
    }
}

/// See [`Budget::bounding`].
pub(super) struct Bounded<R> {
    inner: R,
    budget: Budget,
}

impl<R: Read> Read for Bounded<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.inner.read(buffer)?;
        let left = &self.budget.left;
        let rest = left.get().checked_sub(read as u64);
        left.set(rest.ok_or_else(|| io::Error::other(self.budget.spent()))?);
        Ok(read)
    }
}

/// The entries of a layer, in their order.
pub(super) struct LayerEntries {
    name: String,
    blob_end: Rc<Cell<bool>>,
    tar: TarEntries<VerifiedReader<Box<dyn Read>>>,
}

impl LayerEntries {
    /// The next entry. After the last, the layer has been read to its end and was what it should be.
    pub(super) fn next_entry(&mut self) -> Result<Option<Entry>, ConvertError> {
        self.tar.next_entry().map_err(|source| self.error(source))
    }

    /// The content of the current entry.
    pub(super) fn content(&mut self) -> impl Read {
        self.tar.content()
    }

    /// Reads what follows the last entry, with which all has been read that has a digest.
    pub(super) fn finish(self) -> Result<(), ConvertError> {
        let Self { name, blob_end, tar } = self;
        let in_layer = |source: io::Error| ConvertError::Layer {
            layer: name.clone(),
            source: source.into(),
        };
        tar.drain().map_err(in_layer)?;
        if blob_end.get() {
            Ok(())
        } else {
            let problem = "something follows the end of the compressed layer";
            Err(in_layer(io::Error::new(io::ErrorKind::InvalidData, problem)))
        }
    }

    pub(super) fn refuse(&self, entry: &Entry, problem: &str) -> ConvertError {
        ConvertError::Entry {
            layer: self.name.clone(),
            path: entry.path.to_string(),
            problem: problem.to_owned(),
        }
    }

    fn error(&self, source: ArchiveError) -> ConvertError {
        match source {
            ArchiveError::Entry { path, problem } => ConvertError::Entry {
                layer: self.name.clone(),
                path,
                problem,
            },
            source => ConvertError::Layer {
                layer: self.name.clone(),
                source,
            },
        }
    }
}

/// The tar inside of a blob. Media types lie about compression more often than content does.
fn decompress(blob: impl Read + 'static) -> Result<Box<dyn Read>, ArchiveError> {
    const MAGIC: [&[u8]; 4] = [
        &[0x1f, 0x8b],
        b"BZh",
        &[0xfd, b'7', b'z', b'X', b'Z', 0],
        &[0x28, 0xb5, 0x2f, 0xfd],
    ];
    let mut blob = BufReader::with_capacity(64 << 10, blob);
    let start = blob.fill_buf()?;
    if MAGIC.iter().any(|magic| start.starts_with(magic)) {
        Ok(Box::new(Decompressor::new(blob)?))
    } else {
        Ok(Box::new(blob))
    }
}
