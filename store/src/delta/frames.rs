use std::{collections::BTreeMap, ops::Range};

use crate::pack::{Located, PackId};

/// The frames that are needed, and which of them are read once.
///
/// An image is read in its order, and so are most frames: what of a frame is needed follows in one go. Such a frame need not
/// be kept when it was read. Others hold contents that the image has twice, or that lie elsewhere than their neighbours.
#[derive(Clone, Default)]
pub(super) struct Frames {
    /// Whether somebody comes back to a frame after another.
    all: BTreeMap<Key, bool>,
    last: Option<Key>,
}

type Key = (PackId, u64, u64);

impl Frames {
    /// Adds the frame of a content, in the order in which contents are read. A sealed frame is read anew for each
    /// reference to it, one that is not for as long as no other frame of bytes comes between.
    pub(super) fn add(&mut self, located: &Located, is_sealed: bool) {
        let key = (located.pack, located.range.start, located.range.end);
        if self.last == Some(key) && !is_sealed {
            return;
        }
        self.last = Some(key);
        self.all.entry(key).and_modify(|again| *again = true).or_insert(false);
    }

    /// All of them, in the order of the packs' names and bytes.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&PackId, Range<u64>)> {
        self.all.keys().map(|(pack, start, end)| (pack, *start..*end))
    }

    /// Those that are read once.
    pub(super) fn read_once(&self) -> impl Iterator<Item = (&PackId, Range<u64>)> {
        let once = self.all.iter().filter(|(_, again)| !**again);
        once.map(|((pack, start, end), _)| (pack, *start..*end))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_come_back_to_is_not_read_once() {
        let located = |number: u64| Located {
            pack: PackId::from_bytes([1; 32]),
            range: number..number + 1,
            is_list: false,
        };
        let mut frames = Frames::default();
        for number in [3, 3, 1, 2, 2, 1] {
            frames.add(&located(number), false);
        }
        let starts =
            |frames: Vec<(&PackId, Range<u64>)>| frames.iter().map(|(_, range)| range.start).collect::<Vec<_>>();
        assert_eq!(starts(frames.iter().collect()), [1, 2, 3]);
        assert_eq!(starts(frames.read_once().collect()), [2, 3]);
        frames.add(&located(4), true);
        assert_eq!(starts(frames.read_once().collect()), [2, 3, 4]);
        frames.add(&located(4), true);
        assert_eq!(starts(frames.read_once().collect()), [2, 3]);
    }
}
