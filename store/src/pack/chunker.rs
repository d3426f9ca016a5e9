//! [`Chunker`]: where a content is cut.

use std::io::{self, Read};

use fastcdc::v2020::{FastCDC, Normalization};

use super::secret::Secret;

/// A content of at most so many bytes is not cut.
pub const WHOLE: usize = 64 << 10;
const MIN: usize = 8 << 10;
const AVERAGE: usize = 32 << 10;
const MAX: usize = 128 << 10;
/// How much is read at once.
const BUFFER: usize = 1 << 20;

/// Cuts contents into chunks of some 32 KiB at places that their bytes choose (FastCDC), so that a change moves only
/// the cuts next to it.
///
/// FastCDC of 2020, with chunks of 8, 32 and 128 KiB (least, average, most), normalization level 1, and the gear table
/// of the `fastcdc` crate; with a [`Secret`], each entry of that table is combined with 64 bits that follow from it.
/// Whoever reads packs need not know any of this: lists tell where the cuts are. Only who looks for chunks in a file that
/// is at hand must cut as the packer did.
///
/// Why 32 KiB: one byte changed in a large file costs one chunk and one list, and must stay well below 100 KB.
/// Compression does not suffer, since frames join chunks; `docs/src/formats/pack.md` has the figures.
#[derive(Clone, Debug, Default)]
pub struct Chunker {
    seed: u64,
}

impl Chunker {
    /// A chunker that cuts as everyone's does.
    pub fn new() -> Self {
        Self::default()
    }

    /// A chunker that cuts where only those who have the secret know, or its seed.
    pub fn keyed(secret: &Secret) -> Self {
        Self::seeded(secret.chunker_seed())
    }

    /// A chunker that cuts as a [`Secret`] does of which only the seed is known: see [`Secret::chunker_seed`].
    pub fn seeded(seed: u64) -> Self {
        Self { seed }
    }

    /// Gives `chunk` every chunk of `content` in order, and holds at most a MiB of it. A content of up to [`WHOLE`]
    /// bytes is one chunk, an empty one none.
    pub fn cut<E: From<io::Error>>(
        &self,
        mut content: impl Read,
        mut chunk: impl FnMut(&[u8]) -> Result<(), E>,
    ) -> Result<(), E> {
        let mut buffer = Vec::with_capacity(WHOLE + 1);
        let mut is_all = fill(&mut content, &mut buffer, WHOLE + 1)?;
        if is_all {
            return if buffer.is_empty() { Ok(()) } else { chunk(&buffer) };
        }
        loop {
            if !is_all {
                is_all = fill(&mut content, &mut buffer, BUFFER)?;
            }
            let cutter = FastCDC::with_level_and_seed(&buffer, MIN, AVERAGE, MAX, Normalization::Level1, self.seed);
            let mut start = 0;
            // A cut is final only if the bytes that could have moved it were there.
            while start < buffer.len() && (is_all || buffer.len() - start >= MAX) {
                let (_, end) = cutter.cut(start, buffer.len() - start);
                chunk(&buffer[start..end])?;
                start = end;
            }
            buffer.drain(..start);
            if is_all {
                return Ok(());
            }
        }
    }
}

/// Reads until the buffer holds `length` bytes. Whether the content ended before.
fn fill(content: &mut impl Read, buffer: &mut Vec<u8>, length: usize) -> io::Result<bool> {
    let missing = length.saturating_sub(buffer.len()) as u64;
    Ok((content.take(missing).read_to_end(buffer)? as u64) < missing)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pack::tests::noise;

    fn chunks(chunker: &Chunker, content: &[u8]) -> Vec<Vec<u8>> {
        let mut chunks = Vec::new();
        let keep = |chunk: &[u8]| {
            chunks.push(chunk.to_vec());
            io::Result::Ok(())
        };
        chunker.cut(content, keep).unwrap();
        chunks
    }

    #[test]
    fn chunks_are_the_content_within_their_bounds() {
        for length in [0, 1, MIN, WHOLE, WHOLE + 1, BUFFER, BUFFER + 1, 3 * BUFFER + 17] {
            let content = noise(7, length);
            let chunks = chunks(&Chunker::new(), &content);
            assert_eq!(chunks.concat(), content);
            assert_eq!(chunks.len() <= 1, length <= WHOLE, "{length}");
            assert!(chunks.iter().all(|chunk| chunk.len() <= MAX && !chunk.is_empty()));
            let all_but_last = chunks.split_last().map_or(&[][..], |(_, others)| others);
            assert!(all_but_last.iter().all(|chunk| chunk.len() >= MIN));
        }
    }

    /// Whatever sizes the reads have, and wherever the buffer ends, the cuts are the same.
    #[test]
    fn cuts_do_not_depend_on_reads() {
        struct Trickle<'a>(&'a [u8]);
        impl Read for Trickle<'_> {
            fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
                let length = buffer.len().min(4099);
                self.0.read(&mut buffer[..length])
            }
        }
        let content = noise(3, 3 * BUFFER);
        let mut cuts = Vec::new();
        let keep = |chunk: &[u8]| {
            cuts.push(chunk.len());
            io::Result::Ok(())
        };
        Chunker::new().cut(Trickle(&content), keep).unwrap();
        let whole: Vec<_> = FastCDC::new(&content, MIN, AVERAGE, MAX).map(|c| c.length).collect();
        assert_eq!(cuts, whole);
    }

    #[test]
    fn one_changed_byte_changes_one_or_two_chunks() {
        let content = noise(11, 8 << 20);
        let before = chunks(&Chunker::new(), &content);
        for place in [0, 1 << 20, (8 << 20) - 1] {
            let mut changed = content.clone();
            changed[place] ^= 1;
            let after = chunks(&Chunker::new(), &changed);
            let new = after.iter().filter(|chunk| !before.contains(chunk)).count();
            assert!((1..=2).contains(&new), "{new} new chunks");
        }
    }

    #[test]
    fn a_secret_moves_the_cuts() {
        let content = noise(5, 2 << 20);
        let keyed = |byte| chunks(&Chunker::keyed(&Secret::from_bytes([byte; 32])), &content);
        assert_eq!(keyed(1), keyed(1));
        assert_ne!(keyed(1), keyed(2));
        assert_ne!(keyed(1), chunks(&Chunker::new(), &content));
    }
}
