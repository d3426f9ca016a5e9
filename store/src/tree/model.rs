use super::error::TreeError;
use super::node::{self, Content, Entries, Metadata, Node, NodeKind};
use super::path::{segments, shown};
use super::walk::Walk;

/// A file of one [`Tree`]; it means nothing to another tree.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeId(u32);

impl NodeId {
    /// The node's place in a table with one slot for every node its tree ever had ([`Tree::capacity`]).
    pub(super) fn index(self) -> usize {
        self.0 as usize
    }
}

/// The files of an image, in memory.
///
/// Paths are relative and slash-separated (`usr/bin/env`); the empty path is the root. No path is ever resolved through
/// a symbolic link: where one stands in the way of a new file, a directory takes its place (appc spec, ace.md, "Filesystem
/// Setup").
#[derive(Clone, Debug)]
pub struct Tree {
    /// Nodes refer to each other by index, so that a tree of any depth is dropped without recursion. A node without
    /// names stays as an emptied slot.
    nodes: Vec<Node>,
}

impl Default for Tree {
    fn default() -> Self {
        Self::new()
    }
}

impl Tree {
    /// The root directory of every tree.
    pub const ROOT: NodeId = NodeId(0);

    /// A tree with only a root, which root owns, with mode 0755.
    pub fn new() -> Self {
        let root = Node {
            metadata: Metadata::root_owned(0o755),
            kind: NodeKind::directory(),
            names: 1,
        };
        Self { nodes: vec![root] }
    }

    /// Puts a file at `path`, making the directories above it (mode 0755, owned by root) that do not exist.
    ///
    /// A directory over a directory sets its metadata and keeps its entries; anything else replaces what is there, with
    /// all that is beneath it. On an error the tree is as it was.
    pub fn insert(&mut self, path: &[u8], metadata: Metadata, kind: NodeKind) -> Result<NodeId, TreeError> {
        let names = segments(path)?;
        node::check(path, &metadata, &kind)?;
        let metadata = Metadata {
            mode: metadata.mode & 0o7777,
            ..metadata
        };
        let is_directory = matches!(kind, NodeKind::Directory(_));
        let Some((name, parents)) = names.split_last() else {
            if !is_directory {
                return Err(TreeError::Root);
            }
            self.nodes[Self::ROOT.index()].metadata = metadata;
            return Ok(Self::ROOT);
        };
        let parent = self.make_directories(parents);
        let existing = self.child(parent, name);
        if let Some(existing) = existing.filter(|id| is_directory && self.is_directory(*id)) {
            self.nodes[existing.index()].metadata = metadata;
            return Ok(existing);
        }
        // Entries that came from elsewhere would be node IDs of another tree.
        let kind = if is_directory { NodeKind::directory() } else { kind };
        let id = self.add(metadata, kind);
        self.place(parent, name, id);
        Ok(id)
    }

    /// Gives the file at `target` another name, `path`: a hard link. What was at `path` is replaced, as [`Self::insert`]
    /// does it. The target must exist and must not be a directory.
    pub fn link(&mut self, path: &[u8], target: &[u8]) -> Result<NodeId, TreeError> {
        let names = segments(path)?;
        segments(target)?;
        let Some(id) = self.lookup(target) else {
            return Err(TreeError::LinkTargetMissing {
                path: shown(path),
                target: shown(target),
            });
        };
        if self.is_directory(id) {
            return Err(TreeError::LinkToDirectory {
                path: shown(path),
                target: shown(target),
            });
        }
        let (name, parents) = names.split_last().ok_or(TreeError::Root)?;
        // Counted first: making way for the new name may remove the old one.
        self.nodes[id.index()].names += 1;
        let parent = self.make_directories(parents);
        self.place(parent, name, id);
        Ok(id)
    }

    /// Removes the name `path` and all that is beneath it; says whether it existed. The root cannot be removed.
    pub fn remove(&mut self, path: &[u8]) -> Result<bool, TreeError> {
        let names = segments(path)?;
        let (name, parents) = names.split_last().ok_or(TreeError::Root)?;
        let Some(parent) = self.descend(parents) else {
            return Ok(false);
        };
        let removed = self.entries_mut(parent).and_then(|entries| entries.0.remove(*name));
        if let Some(removed) = removed {
            self.release(removed);
        }
        Ok(removed.is_some())
    }

    /// The file at `path`, if there is one. Symbolic links are not followed.
    pub fn lookup(&self, path: &[u8]) -> Option<NodeId> {
        self.descend(&segments(path).ok()?)
    }

    /// The file with this ID.
    pub fn node(&self, id: NodeId) -> &Node {
        &self.nodes[id.index()]
    }

    /// The link count that `stat` shows: the number of names, or for a directory two and one for each directory in it.
    pub fn links(&self, id: NodeId) -> u32 {
        match &self.node(id).kind {
            NodeKind::Directory(entries) => {
                let directories = entries.iter().filter(|(_, child)| self.is_directory(**child));
                2 + u32::try_from(directories.count()).expect("a tree has fewer than 2^32 nodes")
            }
            _ => self.node(id).names,
        }
    }

    /// Every name of the tree, depth first and sorted, the root first.
    pub fn iter(&self) -> Walk<'_> {
        Walk::new(self)
    }

    /// How many slots a table needs that is indexed by [`NodeId::index`].
    pub(super) fn capacity(&self) -> usize {
        self.nodes.len()
    }

    fn is_directory(&self, id: NodeId) -> bool {
        matches!(self.node(id).kind, NodeKind::Directory(_))
    }

    fn child(&self, parent: NodeId, name: &[u8]) -> Option<NodeId> {
        match &self.node(parent).kind {
            NodeKind::Directory(entries) => entries.get(name),
            _ => None,
        }
    }

    fn descend(&self, names: &[&[u8]]) -> Option<NodeId> {
        names.iter().try_fold(Self::ROOT, |id, name| self.child(id, name))
    }

    fn entries_mut(&mut self, id: NodeId) -> Option<&mut Entries> {
        match &mut self.nodes[id.index()].kind {
            NodeKind::Directory(entries) => Some(entries),
            _ => None,
        }
    }

    fn make_directories(&mut self, names: &[&[u8]]) -> NodeId {
        names
            .iter()
            .fold(Self::ROOT, |parent, name| match self.child(parent, name) {
                Some(id) if self.is_directory(id) => id,
                _ => {
                    let id = self.add(Metadata::root_owned(0o755), NodeKind::directory());
                    self.place(parent, name, id);
                    id
                }
            })
    }

    /// A node that counts one name, which the caller gives it.
    fn add(&mut self, metadata: Metadata, kind: NodeKind) -> NodeId {
        let id = NodeId(u32::try_from(self.nodes.len()).expect("2^32 nodes do not fit in memory"));
        self.nodes.push(Node {
            metadata,
            kind,
            names: 1,
        });
        id
    }

    /// Names a node whose count already includes this name, and lets go of what had the name before.
    fn place(&mut self, parent: NodeId, name: &[u8], id: NodeId) {
        let entries = self.entries_mut(parent).expect("a parent is a directory");
        let replaced = entries.0.insert(name.to_vec(), id);
        if let Some(replaced) = replaced {
            self.release(replaced);
        }
    }

    /// Takes one name from a node, and everything beneath it with the last.
    fn release(&mut self, id: NodeId) {
        let mut released = vec![id];
        while let Some(id) = released.pop() {
            let node = &mut self.nodes[id.index()];
            node.names -= 1;
            if node.names > 0 {
                continue;
            }
            node.metadata.xattrs.clear();
            let empty = NodeKind::File(Content::Inline(Vec::new()));
            if let NodeKind::Directory(entries) = std::mem::replace(&mut node.kind, empty) {
                released.extend(entries.0.into_values());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::ObjectId;

    fn file(text: &str) -> NodeKind {
        NodeKind::File(Content::Inline(text.into()))
    }

    fn plain() -> Metadata {
        Metadata::root_owned(0o644)
    }

    fn paths(tree: &Tree) -> Vec<String> {
        tree.iter()
            .map(|visit| String::from_utf8(visit.path).unwrap())
            .collect()
    }

    fn kind<'tree>(tree: &'tree Tree, path: &str) -> &'tree NodeKind {
        tree.node(tree.lookup(path.as_bytes()).unwrap()).kind()
    }

    #[test]
    fn a_walk_is_sorted_and_depth_first() {
        let mut tree = Tree::new();
        for path in ["b", "a/z", "a/b/c", "a-", "a/b-"] {
            tree.insert(path.as_bytes(), plain(), file("")).unwrap();
        }
        assert_eq!(paths(&tree), ["", "a", "a/b", "a/b/c", "a/b-", "a/z", "a-", "b"]);
        let c = tree.iter().find(|visit| visit.path == b"a/b/c").unwrap();
        assert_eq!(Some(c.parent), tree.lookup(b"a/b"));
    }

    #[test]
    fn missing_parents_belong_to_root() {
        let mut tree = Tree::new();
        tree.insert(b"a/b/c", plain(), file("x")).unwrap();
        let parent = tree.node(tree.lookup(b"a/b").unwrap());
        assert_eq!(parent.metadata(), &Metadata::root_owned(0o755));
        assert_eq!(tree.links(Tree::ROOT), 3);
        assert_eq!(tree.links(tree.lookup(b"a/b").unwrap()), 2);
    }

    #[test]
    fn a_directory_over_a_directory_keeps_its_entries() {
        let mut tree = Tree::new();
        tree.insert(b"d/f", plain(), file("x")).unwrap();
        let before = tree.lookup(b"d");
        let id = tree
            .insert(b"d", Metadata::root_owned(0o41700), NodeKind::directory())
            .unwrap();
        assert_eq!(Some(id), before);
        assert_eq!(tree.node(id).metadata().mode, 0o1700);
        assert_eq!(kind(&tree, "d/f"), &file("x"));
    }

    #[test]
    fn a_file_over_a_directory_removes_what_is_beneath() {
        let mut tree = Tree::new();
        tree.insert(b"d/sub/f", plain(), file("x")).unwrap();
        tree.link(b"kept", b"d/sub/f").unwrap();
        tree.insert(b"d", plain(), file("now a file")).unwrap();
        assert_eq!(paths(&tree), ["", "d", "kept"]);
        assert_eq!(tree.links(tree.lookup(b"kept").unwrap()), 1);
        tree.insert(b"d", plain(), NodeKind::directory()).unwrap();
        assert!(tree.lookup(b"d/sub").is_none());
    }

    #[test]
    fn a_symlink_is_replaced_and_never_followed() {
        let mut tree = Tree::new();
        tree.insert(b"etc/passwd", plain(), file("root")).unwrap();
        tree.insert(b"link", plain(), NodeKind::Symlink(b"etc".to_vec()))
            .unwrap();
        assert!(tree.lookup(b"link/passwd").is_none());
        assert!(!tree.remove(b"link/passwd").unwrap());
        tree.insert(b"link/passwd", plain(), file("other")).unwrap();
        assert_eq!(kind(&tree, "etc/passwd"), &file("root"));
        assert_eq!(kind(&tree, "link/passwd"), &file("other"));
    }

    #[test]
    fn hard_links_share_a_node_until_one_is_replaced() {
        let mut tree = Tree::new();
        let id = tree.insert(b"a", plain(), file("x")).unwrap();
        assert_eq!(tree.link(b"dir/b", b"a").unwrap(), id);
        assert_eq!(tree.link(b"a", b"a").unwrap(), id);
        assert_eq!(tree.links(id), 2);
        tree.insert(b"a", plain(), file("y")).unwrap();
        assert_eq!(tree.links(id), 1);
        assert_eq!(kind(&tree, "dir/b"), &file("x"));
    }

    #[test]
    fn a_link_survives_the_loss_of_its_target() {
        let mut tree = Tree::new();
        tree.insert(b"a", plain(), file("x")).unwrap();
        tree.link(b"a/b", b"a").unwrap();
        assert_eq!(kind(&tree, "a/b"), &file("x"));
        tree.link(b"a", b"a/b").unwrap();
        assert_eq!(kind(&tree, "a"), &file("x"));
        assert_eq!(tree.links(tree.lookup(b"a").unwrap()), 1);
    }

    #[test]
    fn links_to_nothing_and_to_directories_are_errors() {
        let mut tree = Tree::new();
        tree.insert(b"d", plain(), NodeKind::directory()).unwrap();
        assert!(matches!(
            tree.link(b"x/y", b"gone"),
            Err(TreeError::LinkTargetMissing { .. })
        ));
        assert!(matches!(
            tree.link(b"x/y", b"d"),
            Err(TreeError::LinkToDirectory { .. })
        ));
        assert!(matches!(tree.link(b"x/y", b"../d"), Err(TreeError::Path { .. })));
        assert_eq!(paths(&tree), ["", "d"]);
    }

    #[test]
    fn removal_takes_the_subtree() {
        let mut tree = Tree::new();
        tree.insert(b"d/sub/f", plain(), file("x")).unwrap();
        assert!(tree.remove(b"d/sub").unwrap());
        assert!(!tree.remove(b"d/sub").unwrap());
        assert_eq!(paths(&tree), ["", "d"]);
    }

    #[test]
    fn the_root_keeps_being_a_directory() {
        let mut tree = Tree::new();
        tree.insert(b"f", plain(), file("x")).unwrap();
        tree.insert(b"", Metadata::root_owned(0o700), NodeKind::directory())
            .unwrap();
        assert_eq!(tree.node(Tree::ROOT).metadata().mode, 0o700);
        assert!(matches!(tree.insert(b"", plain(), file("x")), Err(TreeError::Root)));
        assert!(matches!(tree.remove(b""), Err(TreeError::Root)));
        assert!(matches!(tree.link(b"", b"f"), Err(TreeError::Root)));
        assert_eq!(paths(&tree), ["", "f"]);
    }

    #[test]
    fn an_image_cannot_command_overlayfs() {
        let mut tree = Tree::new();
        for name in [
            "user.overlay.redirect",
            "user.overlay.opaque",
            "trusted.overlay.metacopy",
        ] {
            let mut metadata = plain();
            metadata.xattrs.insert(name.into(), b"/00/11".to_vec());
            let error = tree.insert(b"bin/sh", metadata, file("")).unwrap_err();
            let expected = format!("`bin/sh` has the extended attribute `{name}`, which is reserved for overlayfs");
            assert_eq!(error.to_string(), expected);
        }
        let whiteout = NodeKind::CharDevice { major: 0, minor: 0 };
        let error = tree.insert(b"bin/sh", plain(), whiteout).unwrap_err();
        assert_eq!(
            error.to_string(),
            "`bin/sh` is character device 0:0, which overlayfs takes for a deleted file"
        );
        assert_eq!(paths(&tree), [""]);
    }

    #[test]
    fn what_no_file_system_can_hold_is_refused() {
        let mut tree = Tree::new();
        let kinds = [
            NodeKind::Symlink(Vec::new()),
            NodeKind::Symlink(b"a\0b".to_vec()),
            NodeKind::Symlink(vec![b'x'; 4096]),
            NodeKind::CharDevice { major: 4096, minor: 0 },
            NodeKind::BlockDevice {
                major: 8,
                minor: 1 << 20,
            },
            NodeKind::File(Content::Object {
                id: ObjectId([0; 32]),
                size: 1 << 63,
            }),
        ];
        for kind in kinds {
            let error = tree.insert(b"f", plain(), kind.clone()).unwrap_err();
            assert!(matches!(error, TreeError::Unrepresentable { .. }), "{kind:?}");
        }
        let bad_owner = Metadata {
            uid: u32::MAX,
            ..plain()
        };
        let bad_time = Metadata {
            mtime_nanoseconds: 1_000_000_000,
            ..plain()
        };
        for metadata in [bad_owner, bad_time] {
            let error = tree.insert(b"f", metadata, file("")).unwrap_err();
            assert!(matches!(error, TreeError::Unrepresentable { .. }));
        }
        for name in ["com.apple.quarantine", "user.", "system.nfs4_acl", "user.a\0b"] {
            let mut metadata = plain();
            metadata.xattrs.insert(name.into(), Vec::new());
            let error = tree.insert(b"f", metadata, file("")).unwrap_err();
            assert!(matches!(error, TreeError::Xattr { .. }), "{name}");
        }
        let mut metadata = plain();
        metadata.xattrs.insert(b"user.big".to_vec(), vec![0; 65536]);
        assert!(matches!(
            tree.insert(b"f", metadata, file("")),
            Err(TreeError::Xattr { .. })
        ));
        assert_eq!(paths(&tree), [""]);
    }
}
