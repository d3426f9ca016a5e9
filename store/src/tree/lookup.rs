use std::hash::{BuildHasher, Hasher, RandomState};

/// Where names are, by directory and name: a hash table of slot numbers alone, four bytes each, which asks its owner
/// for the names. Its key is random, so that no image can aim at collisions.
#[derive(Debug)]
pub(super) struct Lookup {
    key: RandomState,
    /// A power of two of them.
    cells: Vec<u32>,
    /// Cells that are not empty, removed ones included.
    used: usize,
}

const EMPTY: u32 = u32::MAX;
const REMOVED: u32 = u32::MAX - 1;

impl Lookup {
    pub(super) fn new() -> Self {
        Self {
            key: RandomState::new(),
            cells: vec![EMPTY; 64],
            used: 0,
        }
    }

    /// The slot of a name, among those of which `is_it` says so.
    pub(super) fn get(&self, parent: u32, name: &[u8], is_it: impl Fn(u32) -> bool) -> Option<u32> {
        self.find(parent, name, is_it).map(|cell| self.cells[cell])
    }

    /// Adds a name that is not there. `name_of` tells the names of the others, should they have to move.
    pub(super) fn insert<'names>(
        &mut self,
        parent: u32,
        name: &[u8],
        slot: u32,
        name_of: impl Fn(u32) -> (u32, &'names [u8]),
    ) {
        if (self.used + 1) * 4 > self.cells.len() * 3 {
            let old = std::mem::take(&mut self.cells);
            let live = old.iter().filter(|cell| **cell < REMOVED).count();
            self.cells = vec![EMPTY; ((live + 1) * 2).next_power_of_two().max(64)];
            self.used = 0;
            for slot in old.into_iter().filter(|cell| *cell < REMOVED) {
                let (parent, name) = name_of(slot);
                self.put(parent, name, slot);
            }
        }
        self.put(parent, name, slot);
    }

    /// Removes a name, the one of which `is_it` says so.
    pub(super) fn remove(&mut self, parent: u32, name: &[u8], is_it: impl Fn(u32) -> bool) {
        if let Some(cell) = self.find(parent, name, is_it) {
            self.cells[cell] = REMOVED;
        }
    }

    fn put(&mut self, parent: u32, name: &[u8], slot: u32) {
        let empty = self.cells_for(parent, name).find(|cell| self.cells[*cell] == EMPTY);
        let empty = empty.expect("a quarter of the cells is empty");
        self.cells[empty] = slot;
        self.used += 1;
    }

    fn find(&self, parent: u32, name: &[u8], is_it: impl Fn(u32) -> bool) -> Option<usize> {
        self.cells_for(parent, name)
            .take_while(|cell| self.cells[*cell] != EMPTY)
            .find(|cell| self.cells[*cell] != REMOVED && is_it(self.cells[*cell]))
    }

    /// All cells, beginning with that of the hash.
    fn cells_for(&self, parent: u32, name: &[u8]) -> impl Iterator<Item = usize> + use<> {
        let mut hasher = self.key.build_hasher();
        hasher.write_u32(parent);
        hasher.write(name);
        let (first, mask) = (hasher.finish() as usize, self.cells.len() - 1);
        (0..=mask).map(move |step| first.wrapping_add(step) & mask)
    }
}
