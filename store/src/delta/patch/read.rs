use std::io::{self, Read};

use dhow_image::ImageId;

use super::{MAGIC, MAX_FRAME, MAX_PREFIX, MAX_RANGES, MAX_STORED, RANGE_ALLOWANCE, Range, WINDOW_LOG, base::Base};
use crate::delta::DeltaError;

/// Reads the stream of a patch that anybody may have made.
pub(super) struct PatchReader<'a, R> {
    patch: R,
    base: Base<'a>,
    bytes: io::Cursor<Vec<u8>>,
}

impl<'a, R: Read> PatchReader<'a, R> {
    /// A patch that makes `image` of `base`.
    pub(super) fn new(
        mut patch: R,
        base: &ImageId,
        image: &ImageId,
        open: impl FnOnce() -> Result<Base<'a>, DeltaError>,
    ) -> Result<Self, DeltaError> {
        if array::<13>(&mut patch)? != *MAGIC {
            return Err(wrong("it is none of version 1"));
        }
        if array::<64>(&mut patch)? != *base.as_bytes() {
            return Err(wrong("it starts from another image"));
        }
        if array::<64>(&mut patch)? != *image.as_bytes() {
            return Err(wrong("it makes another image"));
        }
        Ok(Self {
            patch,
            base: open()?,
            bytes: io::Cursor::default(),
        })
    }

    pub(super) fn base(&self) -> &Base<'a> {
        &self.base
    }

    /// The next bytes of the stream, at most so many; an error where there are none.
    pub(super) fn next(&mut self, most: u64) -> Result<&[u8], DeltaError> {
        let mut start = self.bytes.position() as usize;
        if start == self.bytes.get_ref().len() {
            self.read_frame()?;
            start = 0;
        }
        let left = self.bytes.get_ref().len() - start;
        let end = start + usize::try_from(most).unwrap_or(usize::MAX).min(left);
        self.bytes.set_position(end as u64);
        Ok(&self.bytes.get_ref()[start..end])
    }

    /// Refuses whatever is left.
    pub(super) fn finish(mut self) -> Result<(), DeltaError> {
        let is_read = self.bytes.position() == self.bytes.get_ref().len() as u64;
        match is_read && self.patch.read(&mut [0]).map_err(DeltaError::Temporary)? == 0 {
            true => Ok(()),
            false => Err(wrong("it goes on after its end")),
        }
    }

    fn read_frame(&mut self) -> Result<(), DeltaError> {
        let [length, stored, ranges] = [self.number()?, self.number()?, self.number()?].map(u64::from);
        if length == 0 || length > MAX_FRAME || stored == 0 || stored > MAX_STORED || ranges > MAX_RANGES as u64 {
            return Err(wrong("a frame has an impossible length"));
        }
        let ranges = (0..ranges).map(|_| self.range()).collect::<Result<Vec<_>, _>>()?;
        let sum = ranges.iter().map(|range| u64::from(range.length)).sum::<u64>();
        if sum > MAX_PREFIX.min(3 * length + RANGE_ALLOWANCE * ranges.len() as u64) {
            return Err(wrong("a frame has too long a prefix"));
        }
        // What was read before goes before as much comes again.
        self.bytes = io::Cursor::default();
        let mut prefix = Vec::with_capacity(sum as usize);
        for range in &ranges {
            self.base.append(range, &mut prefix)?;
        }
        let mut frame = Vec::with_capacity(stored as usize);
        let read = self.patch.by_ref().take(stored).read_to_end(&mut frame);
        if read.map_err(DeltaError::Temporary)? as u64 != stored {
            return Err(cut_short());
        }
        let expanded = expand(&frame, &prefix, length as usize);
        self.bytes = io::Cursor::new(expanded.map_err(|_| wrong("a frame does not decompress to its length"))?);
        Ok(())
    }

    fn range(&mut self) -> Result<Range, DeltaError> {
        let range = Range {
            source: self.number()?,
            start: u64::from_le_bytes(array(&mut self.patch)?),
            length: self.number()?,
        };
        let end = range.start.checked_add(u64::from(range.length));
        let size = self.base.size(range.source);
        match end.zip(size).is_some_and(|(end, size)| end <= size) {
            true => Ok(range),
            false => Err(wrong("a prefix is not in the image that it starts from")),
        }
    }

    fn number(&mut self) -> Result<u32, DeltaError> {
        array(&mut self.patch).map(u32::from_le_bytes)
    }
}

/// Expands a frame to exactly `length` bytes, within the memory for a window, whatever the frame claims of itself.
fn expand(frame: &[u8], prefix: &[u8], length: usize) -> io::Result<Vec<u8>> {
    let mut decoder = zstd::Decoder::with_ref_prefix(frame, prefix)?.single_frame();
    decoder.window_log_max(WINDOW_LOG)?;
    let mut bytes = vec![0; length];
    decoder.read_exact(&mut bytes)?;
    match decoder.read(&mut [0])? == 0 && decoder.finish().is_empty() {
        true => Ok(bytes),
        false => Err(io::ErrorKind::InvalidData.into()),
    }
}

fn array<const N: usize>(patch: &mut impl Read) -> Result<[u8; N], DeltaError> {
    let mut bytes = [0; N];
    match patch.read_exact(&mut bytes) {
        Ok(()) => Ok(bytes),
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Err(cut_short()),
        Err(error) => Err(DeltaError::Temporary(error)),
    }
}

fn cut_short() -> DeltaError {
    wrong("it was cut short")
}

pub(super) fn wrong(problem: &'static str) -> DeltaError {
    DeltaError::Patch { problem }
}
