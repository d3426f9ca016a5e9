use super::model::{NodeId, Tree};

/// The names in a directory with their files, sorted.
pub struct Children<'tree> {
    tree: &'tree Tree,
    slots: Slots,
}

enum Slots {
    /// A list that is in order.
    Linked(Option<u32>),
    Sorted(std::vec::IntoIter<u32>),
}

impl<'tree> Children<'tree> {
    /// Of a directory whose first slot this is (or none), and whether the slots are in order.
    pub(super) fn new(tree: &'tree Tree, first: u32, is_sorted: bool) -> Self {
        let first = (first != u32::MAX).then_some(first);
        let linked = Self {
            tree,
            slots: Slots::Linked(first),
        };
        if is_sorted {
            return linked;
        }
        let mut sorted: Vec<u32> = linked.slots().collect();
        sorted.sort_unstable_by(|one, other| tree.name_of(*one).cmp(&tree.name_of(*other)));
        Self {
            tree,
            slots: Slots::Sorted(sorted.into_iter()),
        }
    }

    /// The slots of the names.
    pub(super) fn slots(mut self) -> impl Iterator<Item = u32> + use<'tree> {
        std::iter::from_fn(move || self.next_slot())
    }

    fn next_slot(&mut self) -> Option<u32> {
        match &mut self.slots {
            Slots::Sorted(slots) => slots.next(),
            Slots::Linked(next) => loop {
                let slot = (*next)?;
                *next = self.tree.slot_after(slot);
                if self.tree.name_of(slot).is_some() {
                    return Some(slot);
                }
            },
        }
    }
}

impl<'tree> Iterator for Children<'tree> {
    type Item = (&'tree [u8], NodeId);

    fn next(&mut self) -> Option<Self::Item> {
        let slot = self.next_slot()?;
        Some((self.tree.name_of(slot)?, self.tree.file_of(slot)))
    }
}
