//! [`Chunker`]: where a content is cut.

use std::io::{self, Read};

use fastcdc::v2020::{FastCDC, Normalization};

use super::secret::Secret;

/// A file of at most so many bytes is not cut.
pub const WHOLE: usize = 64 << 10;
/// How much is read at once.
const BUFFER: usize = 1 << 20;

/// Cuts contents into chunks at places that their bytes choose (FastCDC), so that a change moves only the cuts next to it.
///
/// FastCDC of 2020, with normalization level 1 and the gear table of the `fastcdc` crate; with a [`Secret`], each entry
/// of that table is combined with 64 bits that follow from it, and chunks and lists are shorter. Whoever reads packs need
/// not know any of this: lists tell where the cuts are. Only who looks for chunks in a file that is at hand must cut as the
/// packer did.
///
/// One byte changed in a large file costs one chunk and one list of each depth, and that must stay well below 100 KB.
/// `docs/src/formats/pack.md` has the figures.
#[derive(Clone, Debug)]
pub struct Chunker {
    seed: u64,
    sizes: &'static Sizes,
}

/// How long chunks and lists become. All but the last number are bytes.
#[derive(Debug)]
struct Sizes {
    /// A content of at most so many is not cut.
    whole: usize,
    least: usize,
    average: usize,
    most: usize,
    /// A list ends after an entry whose digest has so many zero bits last.
    list_bits: u32,
}

/// Frames join chunks, so that short ones would not be compressed better, and make more of an index.
const OPEN: Sizes = Sizes {
    whole: WHOLE,
    least: 8 << 10,
    average: 32 << 10,
    most: 128 << 10,
    list_bits: 7,
};
/// Entries of lists are nearly twice as long, no compression makes them shorter, and chunks are padded.
const SEALED: Sizes = Sizes {
    whole: WHOLE,
    least: 4 << 10,
    average: 16 << 10,
    most: 48 << 10,
    list_bits: 5,
};
/// Keys look random, and nobody has them to compare.
const KEYS: Sizes = Sizes {
    whole: 8 << 10,
    least: 4 << 10,
    average: 8 << 10,
    most: 32 << 10,
    list_bits: 5,
};

impl Default for Chunker {
    fn default() -> Self {
        Self::new()
    }
}

impl Chunker {
    /// A chunker that cuts as everyone's does.
    pub const fn new() -> Self {
        Self { seed: 0, sizes: &OPEN }
    }

    /// A chunker that cuts where only those who have the secret know, or its seed.
    pub fn keyed(secret: &Secret) -> Self {
        Self::seeded(secret.chunker_seed())
    }

    /// A chunker that cuts as a [`Secret`] does of which only the seed is known: see [`Secret::chunker_seed`].
    pub const fn seeded(seed: u64) -> Self {
        Self { seed, sizes: &SEALED }
    }

    /// One for the keys of an image's objects, which nobody needs to cut again.
    pub(super) fn for_keys(secret: &Secret) -> Self {
        Self {
            sizes: &KEYS,
            ..Self::keyed(secret)
        }
    }

    /// A list of chunks ends after an entry whose digest has so many zero bits last.
    pub(super) const fn list_bits(&self) -> u32 {
        self.sizes.list_bits
    }

    /// Gives `chunk` every chunk of `content` in order, and holds at most a MiB of it. A file of up to [`WHOLE`] bytes is
    /// one chunk, an empty one none.
    pub fn cut<E: From<io::Error>>(
        &self,
        mut content: impl Read,
        mut chunk: impl FnMut(&[u8]) -> Result<(), E>,
    ) -> Result<(), E> {
        let Sizes {
            whole,
            least,
            average,
            most,
            ..
        } = *self.sizes;
        let mut buffer = Vec::with_capacity(whole + 1);
        let mut is_all = fill(&mut content, &mut buffer, whole + 1)?;
        if is_all {
            return if buffer.is_empty() { Ok(()) } else { chunk(&buffer) };
        }
        loop {
            if !is_all {
                is_all = fill(&mut content, &mut buffer, BUFFER)?;
            }
            let cutter = FastCDC::with_level_and_seed(&buffer, least, average, most, Normalization::Level1, self.seed);
            let mut start = 0;
            // A cut is final only if the bytes that could have moved it were there.
            while start < buffer.len() && (is_all || buffer.len() - start >= most) {
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
        let secret = Secret::from_bytes([1; 32]);
        for chunker in [Chunker::new(), Chunker::keyed(&secret), Chunker::for_keys(&secret)] {
            let Sizes { whole, least, most, .. } = *chunker.sizes;
            for length in [
                0,
                1,
                least,
                whole,
                whole + 1,
                WHOLE,
                WHOLE + 1,
                BUFFER,
                BUFFER + 1,
                3 * BUFFER + 17,
            ] {
                let content = noise(7, length);
                let chunks = chunks(&chunker, &content);
                assert_eq!(chunks.concat(), content);
                assert!(length > whole || chunks.len() <= 1, "{length}");
                assert!(length <= whole.max(most) || chunks.len() > 1, "{length}");
                let most = if length <= whole { whole } else { most };
                assert!(chunks.iter().all(|chunk| chunk.len() <= most && !chunk.is_empty()));
                let all_but_last = chunks.split_last().map_or(&[][..], |(_, others)| others);
                assert!(all_but_last.iter().all(|chunk| chunk.len() >= least));
            }
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
        let whole: Vec<_> = FastCDC::new(&content, OPEN.least, OPEN.average, OPEN.most)
            .map(|c| c.length)
            .collect();
        assert_eq!(cuts, whole);
    }

    #[test]
    fn one_changed_byte_changes_one_or_two_chunks() {
        let content = noise(11, 8 << 20);
        for chunker in [Chunker::new(), Chunker::seeded(3)] {
            let before = chunks(&chunker, &content);
            for place in [0, 1 << 20, (8 << 20) - 1] {
                let mut changed = content.clone();
                changed[place] ^= 1;
                let after = chunks(&chunker, &changed);
                let new = after.iter().filter(|chunk| !before.contains(chunk)).count();
                assert!((1..=2).contains(&new), "{new} new chunks");
            }
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
