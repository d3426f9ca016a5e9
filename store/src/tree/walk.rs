use super::children::Children;
use super::model::{NodeId, Tree};

/// One name of a tree.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Visit {
    /// The full path, slash-separated and relative; empty for the root.
    pub path: Vec<u8>,
    /// The file of that name. Hard links show it again under each of its names.
    pub id: NodeId,
    /// The directory that holds the name; the root is its own parent.
    pub parent: NodeId,
}

/// Every name of a tree, depth first: a directory before its entries, entries in the order of their bytes.
pub struct Walk<'tree> {
    tree: &'tree Tree,
    root_pending: bool,
    open: Vec<OpenDirectory<'tree>>,
    path: Vec<u8>,
}

struct OpenDirectory<'tree> {
    id: NodeId,
    entries: Children<'tree>,
    path_length: usize,
}

impl<'tree> Walk<'tree> {
    pub(super) fn new(tree: &'tree Tree) -> Self {
        Self {
            tree,
            root_pending: true,
            open: Vec::new(),
            path: Vec::new(),
        }
    }

    fn enter(&mut self, id: NodeId) {
        if self.tree.is_directory(id) {
            self.open.push(OpenDirectory {
                id,
                entries: self.tree.children(id),
                path_length: self.path.len(),
            });
        }
    }
}

impl Iterator for Walk<'_> {
    type Item = Visit;

    fn next(&mut self) -> Option<Visit> {
        if std::mem::take(&mut self.root_pending) {
            self.enter(Tree::ROOT);
            return Some(Visit {
                path: Vec::new(),
                id: Tree::ROOT,
                parent: Tree::ROOT,
            });
        }
        loop {
            let directory = self.open.last_mut()?;
            let parent = directory.id;
            self.path.truncate(directory.path_length);
            let Some((name, id)) = directory.entries.next() else {
                self.open.pop();
                continue;
            };
            if !self.path.is_empty() {
                self.path.push(b'/');
            }
            self.path.extend_from_slice(name);
            self.enter(id);
            return Some(Visit {
                path: self.path.clone(),
                id,
                parent,
            });
        }
    }
}
