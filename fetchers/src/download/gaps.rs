//! [`Gaps`]: which bytes are still missing, and who is fetching them.

use crate::client::LONG;

/// A row of bytes that did not come yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Gap {
    /// The first.
    pub(super) at: u64,
    /// The one after the last, if the size of the whole is known.
    pub(super) end: Option<u64>,
    /// Whether a stream is filling it.
    is_taken: bool,
}

/// The gaps of one file. A gap keeps its number as long as it is open.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Gaps(Vec<Gap>);

/// Never more than this are written down, which bounds the streams, too.
pub(super) const MOST: usize = 64;

impl Gaps {
    /// Everything is missing.
    pub(super) fn all(size: Option<u64>) -> Self {
        Self::new(&[(0, size)])
    }

    /// What was written down.
    pub(super) fn new(missing: &[(u64, Option<u64>)]) -> Self {
        let gap = |&(at, end)| Gap {
            at,
            end,
            is_taken: false,
        };
        Self(missing.iter().map(gap).collect())
    }

    /// What is to be written down: first byte and the one after the last, in their order. Gaps that were divided, and lie
    /// side by side, are one.
    pub(super) fn missing(&self) -> Vec<(u64, Option<u64>)> {
        let mut missing: Vec<_> = self.open().map(|gap| (gap.at, gap.end)).collect();
        missing.sort_unstable();
        missing.dedup_by(|gap, before| {
            let continues = before.1 == Some(gap.0);
            if continues {
                before.1 = gap.1;
            }
            continues
        });
        missing
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.iter().all(Gap::is_closed)
    }

    /// How many bytes are here, of so many.
    pub(super) fn received(&self, size: Option<u64>) -> u64 {
        match size {
            Some(size) => self.open().fold(size, |left, gap| {
                left.saturating_sub(gap.end.unwrap_or(size).saturating_sub(gap.at))
            }),
            None => self.0.first().map_or(0, |gap| gap.at),
        }
    }

    /// All bytes before this one are here.
    pub(super) fn front(&self, size: Option<u64>) -> u64 {
        let first = self.open().map(|gap| gap.at).min();
        first.or(size).unwrap_or(0)
    }

    fn open(&self) -> impl Iterator<Item = &Gap> {
        self.0.iter().filter(|gap| !gap.is_closed())
    }

    pub(super) fn get(&self, number: usize) -> Gap {
        self.0[number]
    }

    /// Takes the first gap that nobody fills.
    pub(super) fn take(&mut self) -> Option<usize> {
        let free = |gap: &Gap| !gap.is_taken && !gap.is_closed();
        let first = self.0.iter().enumerate().filter(|(_, gap)| free(gap));
        let (number, _) = first.min_by_key(|(_, gap)| gap.at)?;
        self.0[number].is_taken = true;
        Some(number)
    }

    /// Takes a gap that nobody fills, or up to `piece` bytes from the end of the largest, if it stays larger than that.
    pub(super) fn take_or_split(&mut self, piece: u64) -> Option<usize> {
        if let Some(number) = self.take() {
            return Some(number);
        }
        let left = |gap: &Gap| gap.end.map_or(0, |end| end.saturating_sub(gap.at));
        let (number, largest) = self.0.iter().enumerate().max_by_key(|(_, gap)| left(gap))?;
        let end = largest.end.filter(|_| left(largest) > piece.saturating_mul(2))?;
        self.divide(number, end - piece)
    }

    /// Leaves what is from `at` on to another stream, which takes it.
    pub(super) fn divide(&mut self, number: usize, at: u64) -> Option<usize> {
        let rest = Gap { at, ..self.0[number] };
        // The places of closed gaps are used again.
        let closed = self.0.iter().position(|gap| gap.is_closed() && !gap.is_taken);
        let place = closed.unwrap_or(self.0.len());
        match self.0.get_mut(place) {
            Some(closed) => *closed = rest,
            None if place == MOST => return None,
            None => self.0.push(rest),
        }
        self.0[number].end = Some(at);
        Some(place)
    }

    /// Nobody fills this one any more.
    pub(super) fn release(&mut self, number: usize) {
        self.0[number].is_taken = false;
    }

    /// Nobody fills any, and those that were divided are one again.
    pub(super) fn release_all(&mut self) {
        *self = Self::new(&self.missing());
    }

    /// So many bytes came into this one.
    pub(super) fn advance(&mut self, number: usize, bytes: u64) {
        self.0[number].at += bytes;
    }

    /// The end that nobody knew is there.
    pub(super) fn end_at(&mut self, size: u64) {
        for gap in self.0.iter_mut().filter(|gap| gap.end.is_none()) {
            gap.end = Some(size);
        }
    }

    /// Its end is here: nobody had known where that is.
    pub(super) fn close(&mut self, number: usize) {
        let gap = &mut self.0[number];
        gap.end = Some(gap.at);
    }
}

impl Gap {
    fn is_closed(&self) -> bool {
        self.end.is_some_and(|end| end <= self.at)
    }

    /// Whether it is known to be worth a connection of its own.
    pub(super) fn is_long(&self) -> bool {
        self.end.is_some() && self.left() >= LONG
    }

    /// How many bytes still fit.
    pub(super) fn left(&self) -> u64 {
        self.end.map_or(u64::MAX, |end| end.saturating_sub(self.at))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn pieces_are_taken_from_the_end_and_given_back() {
        let mut gaps = Gaps::all(Some(100));
        let main = gaps.take().unwrap();
        assert_eq!(gaps.take(), None);
        let piece = gaps.take_or_split(10).unwrap();
        assert_eq!((gaps.get(main).end, gaps.get(piece).at), (Some(90), 90));
        gaps.advance(piece, 4);
        gaps.advance(main, 20);
        assert_eq!(gaps.missing(), [(20, Some(90)), (94, Some(100))]);
        assert_eq!(gaps.received(Some(100)), 24);
        assert_eq!(gaps.front(Some(100)), 20);
        gaps.release(piece);
        assert_eq!(gaps.take_or_split(10), Some(piece), "what was given up comes first");
        gaps.advance(piece, 6);
        gaps.release(piece);
        assert_eq!(
            gaps.take_or_split(10),
            Some(piece),
            "a closed gap's place is used again"
        );
        assert_eq!(gaps.get(piece).at, 80);
        assert_eq!(gaps.take_or_split(40), None, "what is left is too small");
    }

    #[test]
    fn what_was_divided_is_one_gap_again_for_the_next_attempt() {
        let mut gaps = Gaps::all(Some(100));
        let main = gaps.take().unwrap();
        let rest = gaps.divide(main, 30).unwrap();
        assert_eq!((gaps.get(main).end, gaps.get(rest).at), (Some(30), 30));
        assert_eq!(gaps.take(), None, "both are taken");
        gaps.take_or_split(10).unwrap();
        gaps.advance(main, 5);
        gaps.release_all();
        assert_eq!(gaps.missing(), [(5, Some(100))]);
        let main = gaps.take().unwrap();
        let rest = gaps.divide(main, 30).unwrap();
        gaps.advance(rest, 1);
        gaps.release_all();
        assert_eq!(gaps.missing(), [(5, Some(30)), (31, Some(100))]);
    }

    #[test]
    fn there_are_never_more_gaps_than_are_written_down() {
        let mut gaps = Gaps::all(Some(1 << 20));
        while gaps.take_or_split(1000).is_some() {}
        assert_eq!(gaps.0.len(), MOST);
        let before = gaps.clone();
        assert_eq!(gaps.divide(0, 10), None);
        assert_eq!(gaps, before);
    }

    #[test]
    fn a_size_nobody_knew_is_known_at_the_end() {
        let mut gaps = Gaps::all(None);
        let main = gaps.take().unwrap();
        assert_eq!(gaps.take_or_split(1), None);
        gaps.advance(main, 7);
        assert!(!gaps.is_empty());
        assert_eq!(gaps.received(None), 7);
        gaps.close(main);
        assert!(gaps.is_empty());
    }
}
