use std::ops::Range;

/// Frames of a pack that are read once, in their order: they go from whoever brings them to whoever reads them, and only
/// where too many are under way into a file.
#[derive(Default)]
pub(super) struct Passing(Vec<Frame>);

struct Frame {
    range: Range<u64>,
    place: Place,
}

enum Place {
    /// Nothing of it has come.
    Nowhere,
    /// As much as has come.
    Memory(Vec<u8>),
    File,
    /// It was read.
    Gone,
}

/// Where a frame is that somebody wants to read.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Found {
    /// Here it is, and is kept no longer.
    Bytes(Vec<u8>),
    /// In the file.
    File,
    /// It was read before.
    Gone,
}

impl Passing {
    /// One more frame, which begins behind the last.
    pub(super) fn expect(&mut self, range: Range<u64>) {
        debug_assert!(self.0.last().is_none_or(|last| last.range.end <= range.start));
        let place = Place::Nowhere;
        self.0.push(Frame { range, place });
    }

    /// Keeps what of these bytes belongs to frames that are in memory, and calls `to_file` with all others. A frame that begins
    /// here is in memory if `buffer` gives an empty one for its length.
    pub(super) fn take<'a>(
        &mut self,
        mut offset: u64,
        mut bytes: &'a [u8],
        mut buffer: impl FnMut(usize) -> Option<Vec<u8>>,
        mut to_file: impl FnMut(u64, &'a [u8]),
    ) {
        let mut next = self.first_behind(offset);
        while !bytes.is_empty() {
            let frame = self.0.get_mut(next);
            // Up to the next frame, bytes are none's.
            let before = frame.as_ref().map_or(u64::MAX, |frame| frame.range.start);
            if offset < before {
                let (other, rest) = bytes.split_at(up_to(before - offset, bytes));
                to_file(offset, other);
                offset += other.len() as u64;
                bytes = rest;
                continue;
            }
            let Some(frame) = frame else { return };
            let (of_frame, rest) = bytes.split_at(up_to(frame.range.end - offset, bytes));
            let length = (frame.range.end - frame.range.start) as usize;
            if matches!(frame.place, Place::Nowhere) {
                frame.place = buffer(length).map_or(Place::File, Place::Memory);
            }
            match &mut frame.place {
                Place::Memory(held) => put(held, (offset - frame.range.start) as usize, of_frame),
                Place::File => to_file(offset, of_frame),
                Place::Nowhere | Place::Gone => {}
            }
            offset += of_frame.len() as u64;
            bytes = rest;
            next += 1;
        }
    }

    /// A range all of which has come, so that it can be read.
    pub(super) fn give(&mut self, range: &Range<u64>) -> Found {
        let first = self.first_behind(range.start);
        for frame in &mut self.0[first..] {
            if frame.range.start >= range.end {
                break;
            }
            match &mut frame.place {
                Place::Memory(held) if frame.range == *range => {
                    let bytes = std::mem::take(held);
                    frame.place = Place::Gone;
                    return Found::Bytes(bytes);
                }
                Place::File => {}
                _ => return Found::Gone,
            }
        }
        Found::File
    }

    /// The first frame that ends behind this place.
    fn first_behind(&self, offset: u64) -> usize {
        self.0.partition_point(|frame| frame.range.end <= offset)
    }
}

fn up_to(length: u64, bytes: &[u8]) -> usize {
    usize::try_from(length).unwrap_or(usize::MAX).min(bytes.len())
}

/// Puts bytes where they belong. They come in their order, but nobody has to.
fn put(held: &mut Vec<u8>, at: usize, bytes: &[u8]) {
    if held.len() < at {
        held.resize(at, 0);
    }
    let (over, behind) = bytes.split_at((held.len() - at).min(bytes.len()));
    held[at..at + over.len()].copy_from_slice(over);
    held.extend_from_slice(behind);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_pass_and_the_rest_goes_into_the_file() {
        let content: Vec<u8> = (0..100).collect();
        for step in [1, 3, 7, 10, 55, 100] {
            let (mut passing, mut file) = (Passing::default(), vec![0xff; 100]);
            for range in [10..20, 20..40, 60..70, 70..71] {
                passing.expect(range);
            }
            let mut held = 0;
            for start in (0..100).step_by(step) {
                let piece = &content[start..100.min(start + step)];
                let buffer = |length| {
                    let may = held + length <= 31;
                    held += if may { length } else { 0 };
                    may.then(Vec::new)
                };
                passing.take(start as u64, piece, buffer, |at, bytes| {
                    file[at as usize..at as usize + bytes.len()].copy_from_slice(bytes);
                });
            }
            // 60..70 was one too many.
            let in_file: Vec<_> = (0..100).filter(|&at| file[at] != 0xff).collect();
            let expected: Vec<_> = (0..10).chain(40..70).chain(71..100).collect();
            assert_eq!(in_file, expected, "{step}");
            assert_eq!(passing.give(&(60..70)), Found::File);
            assert_eq!(passing.give(&(40..60)), Found::File);
            assert_eq!(passing.give(&(20..40)), Found::Bytes(content[20..40].to_vec()));
            assert_eq!(passing.give(&(20..40)), Found::Gone);
            assert_eq!(passing.give(&(12..15)), Found::Gone, "none asks for a part");
            assert_eq!(passing.give(&(10..20)), Found::Bytes(content[10..20].to_vec()));
            assert_eq!(passing.give(&(70..71)), Found::Bytes(vec![70]));
        }
    }

    #[test]
    fn bytes_may_come_in_any_order_and_twice() {
        let mut passing = Passing::default();
        passing.expect(0..10);
        for (at, bytes) in [(5, &b"fgh"[..]), (8, b"ij"), (0, b"abcdef"), (2, b"cd")] {
            passing.take(at, bytes, |_| Some(Vec::new()), |_, _| panic!("there is room"));
        }
        assert_eq!(passing.give(&(0..10)), Found::Bytes(b"abcdefghij".to_vec()));
    }
}
