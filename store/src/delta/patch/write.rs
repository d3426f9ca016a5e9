use std::{
    collections::{HashMap, HashSet},
    fs::File,
    io::{self, Read, Write},
    path::Path,
};

use dhow_image::{ImageId, TarReader};

use super::{
    MAGIC, MAX_FRAME, MAX_PREFIX, MAX_RANGES, RANGE_ALLOWANCE, Range, WINDOW_LOG,
    base::{Base, records},
};
use crate::{
    delta::{DeltaError, survey::for_each_object},
    recipe::{RecipeReader, RecipeTar},
    store::Store,
};

/// How far around its own place a piece of a large file looks at the old one.
const MARGIN: u64 = 4 << 20;

/// Writes what makes `image` of `base`, both of which are in the store: what is new, compressed at this level of
/// Zstandard with what was at the same path before as prefix.
///
/// It takes some 150 MB of memory at level 19, whatever the images have.
pub fn write_patch(
    store: &Store,
    base: &ImageId,
    image: &ImageId,
    level: i32,
    scratch: &Path,
    mut out: impl Write,
) -> Result<(), DeltaError> {
    let old = Base::open(store, base, scratch)?;
    for part in [&MAGIC[..], base.as_bytes(), image.as_bytes()] {
        out.write_all(part).map_err(DeltaError::Temporary)?;
    }
    let tar_of = |id| -> Result<_, DeltaError> {
        let recipe = RecipeReader::new(store.image_dir(id)?.recipe()?).map_err(DeltaError::Recipe)?;
        Ok(TarReader::of_known(RecipeTar::new(recipe)))
    };
    let mut at_path = HashMap::new();
    let mut source = 0;
    for_each_object(&mut tar_of(base)?, &mut None, |path, _, size| {
        source += 1;
        at_path.insert(path, (source, size));
        Ok(None)
    })?;

    let mut frames = Frames {
        out,
        base: &old,
        level,
        bytes: Vec::new(),
        ranges: Vec::new(),
        prefix: 0,
    };
    let (new_records, size) = records(store, image, scratch)?;
    frames.put(new_records, size, old.size(0).map(|size| (0, size)))?;
    let mut seen: HashSet<_> = old.objects().collect();
    for_each_object(&mut tar_of(image)?, &mut None, |path, id, size| {
        if seen.insert(id) {
            let content = store.open_object(&id).map_err(DeltaError::Temporary)?;
            frames.put(content, size, at_path.get(&path).copied())?;
        }
        Ok(None)
    })?;
    frames.flush()?;
    frames.out.flush().map_err(DeltaError::Temporary)
}

/// Gathers a frame at a time.
struct Frames<'a, W> {
    out: W,
    base: &'a Base<'a>,
    level: i32,
    bytes: Vec<u8>,
    ranges: Vec<Range>,
    /// How many bytes the ranges have.
    prefix: u64,
}

impl<W: Write> Frames<'_, W> {
    /// Adds a content, for which there may be an old one: its source and size.
    fn put(&mut self, content: File, size: u64, old: Option<(u32, u64)>) -> Result<(), DeltaError> {
        let mut at = 0;
        while at < size {
            let piece = MAX_FRAME.min(size - at);
            let range = old.and_then(|(source, old)| around(source, at, piece, old));
            let length = range.map_or(0, |range| u64::from(range.length));
            if self.bytes.len() as u64 + piece > MAX_FRAME
                || self.prefix + length > MAX_PREFIX
                || self.ranges.len() == MAX_RANGES
            {
                self.flush()?;
            }
            let read = (&content).take(piece).read_to_end(&mut self.bytes);
            match read.map_err(DeltaError::Temporary)? as u64 == piece {
                true => at += piece,
                false => return Err(DeltaError::Temporary(io::ErrorKind::UnexpectedEof.into())),
            }
            self.prefix += length;
            self.ranges.extend(range);
        }
        Ok(())
    }

    fn flush(&mut self) -> Result<(), DeltaError> {
        if self.bytes.is_empty() {
            return Ok(());
        }
        let mut prefix = Vec::with_capacity(self.prefix as usize);
        for range in &self.ranges {
            self.base.append(range, &mut prefix)?;
        }
        let stored = compress(&self.bytes, &prefix, self.level).map_err(DeltaError::Temporary)?;
        let mut head = Vec::with_capacity(12 + 16 * self.ranges.len());
        for number in [self.bytes.len(), stored.len(), self.ranges.len()] {
            head.extend_from_slice(&u32::try_from(number).expect("a frame is short").to_le_bytes());
        }
        for range in self.ranges.drain(..) {
            head.extend_from_slice(&range.source.to_le_bytes());
            head.extend_from_slice(&range.start.to_le_bytes());
            head.extend_from_slice(&range.length.to_le_bytes());
        }
        self.bytes.clear();
        self.prefix = 0;
        let written = self.out.write_all(&head).and_then(|()| self.out.write_all(&stored));
        written.map_err(DeltaError::Temporary)
    }
}

/// What of an old content is worth looking at for a piece of the new one.
fn around(source: u32, at: u64, piece: u64, old: u64) -> Option<Range> {
    let margin = piece.clamp(RANGE_ALLOWANCE / 2, MARGIN);
    let (start, end) = (at.saturating_sub(margin).min(old), (at + piece + margin).min(old));
    let length = u32::try_from(end - start).expect("a range is no longer than a prefix");
    (length > 0).then_some(Range { source, start, length })
}

fn compress(bytes: &[u8], prefix: &[u8], level: i32) -> io::Result<Vec<u8>> {
    let mut encoder = zstd::Encoder::with_ref_prefix(Vec::new(), level, prefix)?;
    encoder.set_pledged_src_size(Some(bytes.len() as u64))?;
    encoder.window_log(WINDOW_LOG)?;
    encoder.write_all(bytes)?;
    encoder.finish()
}
