use super::blobs::Blobs;
use super::children::Children;
use super::error::TreeError;
use super::lookup::Lookup;
use super::node::{self, Metadata, Node, NodeKind};
use super::path::{segments, shown};
use super::walk::Walk;

/// A file of one [`Tree`]; it means nothing to another tree.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeId(pub(super) u32);

impl NodeId {
    /// The node's place in a table with one slot for every node its tree ever had ([`Tree::capacity`]).
    pub(super) fn index(self) -> usize {
        self.0 as usize
    }
}

/// The files of an image, in little memory: about 40 bytes a file and its name, whatever it contains. What else is
/// known of the files is in a temporary file once it is much.
///
/// Paths are relative and slash-separated (`usr/bin/env`); the empty path is the root. No path is ever resolved through
/// a symbolic link: where one stands in the way of a new file, a directory takes its place (appc spec, ace.md, "Filesystem
/// Setup").
#[derive(Debug)]
pub struct Tree {
    /// Names, and files that have lost theirs and are named by hard links only.
    slots: Vec<Slot>,
    tags: Vec<Tag>,
    /// Each name with its length before it.
    names: Vec<u8>,
    lookup: Lookup,
    blobs: Blobs,
    is_sorted: bool,
}

/// No slot, or no name.
const NONE: u32 = u32::MAX;

#[derive(Clone, Copy, Debug)]
struct Slot {
    /// Where the name is in `names`.
    name: u32,
    /// The directory that holds the name.
    parent: u32,
    /// The next name in that directory.
    next: u32,
    /// Where the node's blob is; for a hard link, the slot of its file.
    data: u32,
    /// A directory's first name; how many names another file has.
    more: u32,
}

/// What is in a slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Tag {
    Directory,
    File(FileTag),
    Link,
    Gone,
}

/// The kinds of files that are no directories, as directory entries tell them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum FileTag {
    Regular = 1,
    Char = 3,
    Block = 4,
    Fifo = 5,
    Socket = 6,
    Symlink = 7,
}

impl Tag {
    fn of(kind: &NodeKind) -> Self {
        match kind {
            NodeKind::Directory => Self::Directory,
            NodeKind::File(_) => Self::File(FileTag::Regular),
            NodeKind::Symlink(_) => Self::File(FileTag::Symlink),
            NodeKind::CharDevice { .. } => Self::File(FileTag::Char),
            NodeKind::BlockDevice { .. } => Self::File(FileTag::Block),
            NodeKind::Fifo => Self::File(FileTag::Fifo),
            NodeKind::Socket => Self::File(FileTag::Socket),
        }
    }
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
        let mut tree = Self {
            slots: Vec::new(),
            tags: Vec::new(),
            names: Vec::new(),
            lookup: Lookup::new(),
            blobs: Blobs::new(),
            is_sorted: true,
        };
        let root = tree.blobs.append(&Metadata::root_owned(0o755), &NodeKind::Directory);
        tree.slots.push(Slot {
            name: NONE,
            parent: 0,
            next: NONE,
            data: root.expect("the first bytes are kept in memory"),
            more: NONE,
        });
        tree.tags.push(Tag::Directory);
        tree
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
        let tag = Tag::of(&kind);
        if names.is_empty() && tag != Tag::Directory {
            return Err(TreeError::Root);
        }
        let data = self.blobs.append(&metadata, &kind)?;
        let Some((name, parents)) = names.split_last() else {
            self.slots[Self::ROOT.index()].data = data;
            return Ok(Self::ROOT);
        };
        let parent = self.make_directories(parents)?;
        let existing = self.child(parent, name);
        if let Some(existing) = existing
            && (tag, self.tags[existing as usize]) == (Tag::Directory, Tag::Directory)
        {
            self.slots[existing as usize].data = data;
            return Ok(NodeId(existing));
        }
        let slot = self.claim(parent, name);
        self.tags[slot as usize] = tag;
        self.slots[slot as usize].data = data;
        self.slots[slot as usize].more = if tag == Tag::Directory { NONE } else { 1 };
        Ok(NodeId(slot))
    }

    /// Makes sure that there is a directory at `path`, and directories above it, as [`Self::insert`] does for parents.
    pub fn make_directory(&mut self, path: &[u8]) -> Result<NodeId, TreeError> {
        Ok(NodeId(self.make_directories(&segments(path)?)?))
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
        self.slots[id.index()].more += 1;
        let parent = self.make_directories(parents)?;
        if self.child(parent, name).is_some_and(|there| self.file_of(there) == id) {
            self.slots[id.index()].more -= 1;
            return Ok(id);
        }
        let slot = self.claim(parent, name) as usize;
        self.tags[slot] = Tag::Link;
        self.slots[slot].data = id.0;
        Ok(id)
    }

    /// The file at `path`, if there is one. Symbolic links are not followed.
    pub fn lookup(&self, path: &[u8]) -> Option<NodeId> {
        let names = segments(path).ok()?;
        let found = names.iter().try_fold(0, |slot, name| match self.tags[slot as usize] {
            Tag::Directory => self.child(slot, name),
            _ => None,
        });
        found.map(|slot| self.file_of(slot))
    }

    /// The file with this ID, read from where it is kept.
    pub fn node(&self, id: NodeId) -> Result<Node, TreeError> {
        self.blobs.read(self.slots[id.index()].data)
    }

    /// The names in a directory with their files, sorted by the bytes of the names. There are none in another file.
    pub fn children(&self, id: NodeId) -> Children<'_> {
        let first = match self.tags[id.index()] {
            Tag::Directory => self.slots[id.index()].more,
            _ => NONE,
        };
        Children::new(self, first, self.is_sorted)
    }

    /// Whether this is a directory.
    pub fn is_directory(&self, id: NodeId) -> bool {
        self.tags[id.index()] == Tag::Directory
    }

    /// The link count that `stat` shows: the number of names, or for a directory two and one for each directory in it.
    pub fn links(&self, id: NodeId) -> u32 {
        if !self.is_directory(id) {
            return self.slots[id.index()].more;
        }
        let mut links = 2;
        let mut next = self.slots[id.index()].more;
        while next != NONE {
            if self.tags[next as usize] == Tag::Directory {
                links += 1;
            }
            next = self.slots[next as usize].next;
        }
        links
    }

    /// Every name of the tree, depth first and sorted, the root first.
    pub fn iter(&self) -> Walk<'_> {
        Walk::new(self)
    }

    /// Sorts the names of every directory once, so that walks need not. A new name undoes it.
    pub fn sort(&mut self) {
        if self.is_sorted {
            return;
        }
        for slot in 0..self.slots.len() {
            if self.tags[slot] != Tag::Directory {
                continue;
            }
            let sorted: Vec<u32> = self.children(NodeId(slot as u32)).slots().collect();
            let mut next = NONE;
            for child in sorted.into_iter().rev() {
                self.slots[child as usize].next = next;
                next = child;
            }
            self.slots[slot].more = next;
        }
        self.is_sorted = true;
    }

    /// How many slots a table needs that is indexed by [`NodeId::index`].
    pub(super) fn capacity(&self) -> usize {
        self.slots.len()
    }

    /// How directory entries tell the kind of a file.
    pub(super) fn file_type(&self, id: NodeId) -> u8 {
        match self.tags[id.index()] {
            Tag::Directory => 2,
            Tag::File(kind) => kind as u8,
            Tag::Link | Tag::Gone => unreachable!("a node is a file"),
        }
    }

    /// The name in a slot, if it has one.
    pub(super) fn name_of(&self, slot: u32) -> Option<&[u8]> {
        let at = self.slots[slot as usize].name;
        (at != NONE).then(|| {
            let at = at as usize;
            &self.names[at + 1..][..usize::from(self.names[at])]
        })
    }

    /// The slot after this one in its directory.
    pub(super) fn slot_after(&self, slot: u32) -> Option<u32> {
        Some(self.slots[slot as usize].next).filter(|next| *next != NONE)
    }

    /// The file that a name is of.
    pub(super) fn file_of(&self, slot: u32) -> NodeId {
        match self.tags[slot as usize] {
            Tag::Link => NodeId(self.slots[slot as usize].data),
            _ => NodeId(slot),
        }
    }

    fn child(&self, parent: u32, name: &[u8]) -> Option<u32> {
        self.lookup.get(parent, name, |slot| self.is_named(slot, parent, name))
    }

    fn is_named(&self, slot: u32, parent: u32, name: &[u8]) -> bool {
        self.slots[slot as usize].parent == parent && self.name_of(slot) == Some(name)
    }

    fn make_directories(&mut self, names: &[&[u8]]) -> Result<u32, TreeError> {
        let mut parent = 0;
        for name in names {
            parent = match self.child(parent, name) {
                Some(slot) if self.tags[slot as usize] == Tag::Directory => slot,
                _ => {
                    let data = self.blobs.append(&Metadata::root_owned(0o755), &NodeKind::Directory)?;
                    let slot = self.claim(parent, name);
                    self.tags[slot as usize] = Tag::Directory;
                    self.slots[slot as usize].data = data;
                    self.slots[slot as usize].more = NONE;
                    slot
                }
            };
        }
        Ok(parent)
    }

    /// A slot for a name, in which what had the name before is no more. The caller says what is in it.
    fn claim(&mut self, parent: u32, name: &[u8]) -> u32 {
        if let Some(slot) = self.child(parent, name) {
            let at = slot as usize;
            match self.tags[at] {
                Tag::Directory => self.release_children(slot),
                Tag::Link => self.release_link(slot),
                // Other names keep the file, so it keeps its slot, and the name gets another.
                Tag::File(_) if self.slots[at].more > 1 => {
                    self.unname(slot);
                    return self.add(parent, name);
                }
                Tag::File(_) | Tag::Gone => {}
            }
            return slot;
        }
        self.add(parent, name)
    }

    fn add(&mut self, parent: u32, name: &[u8]) -> u32 {
        let slot = u32::try_from(self.slots.len()).expect("2^32 names do not fit in memory");
        let at = u32::try_from(self.names.len()).expect("4 GiB of names do not fit in memory");
        self.names
            .push(u8::try_from(name.len()).expect("segments are at most 255 bytes"));
        self.names.extend_from_slice(name);
        self.slots.push(Slot {
            name: at,
            parent,
            next: self.slots[parent as usize].more,
            data: NONE,
            more: NONE,
        });
        self.tags.push(Tag::Gone);
        self.slots[parent as usize].more = slot;
        self.is_sorted = false;
        let (slots, names) = (&self.slots, &self.names);
        self.lookup.insert(parent, name, slot, |slot| {
            let Slot { name, parent, .. } = slots[slot as usize];
            let at = name as usize;
            (parent, &names[at + 1..][..usize::from(names[at])])
        });
        slot
    }

    /// Takes the name from a file that has others.
    fn unname(&mut self, slot: u32) {
        let parent = self.slots[slot as usize].parent;
        let name = self.name_of(slot).expect("it was found by its name").to_vec();
        self.lookup.remove(parent, &name, |other| other == slot);
        self.slots[slot as usize].name = NONE;
        self.slots[slot as usize].more -= 1;
    }

    /// A hard link ends; its file ends with its last name.
    fn release_link(&mut self, slot: u32) {
        let file = self.slots[slot as usize].data as usize;
        self.slots[file].more -= 1;
        if self.slots[file].more == 0 {
            self.tags[file] = Tag::Gone;
        }
    }

    /// All names beneath a directory end.
    fn release_children(&mut self, directory: u32) {
        let mut pending = vec![directory];
        while let Some(directory) = pending.pop() {
            let mut next = std::mem::replace(&mut self.slots[directory as usize].more, NONE);
            while next != NONE {
                let slot = next;
                next = self.slots[slot as usize].next;
                if self.slots[slot as usize].name == NONE {
                    continue;
                }
                match self.tags[slot as usize] {
                    Tag::Directory => pending.push(slot),
                    Tag::Link => self.release_link(slot),
                    Tag::File(_) if self.slots[slot as usize].more > 1 => {
                        self.unname(slot);
                        continue;
                    }
                    Tag::File(_) | Tag::Gone => {}
                }
                let parent = self.slots[slot as usize].parent;
                let name = self.name_of(slot).expect("names without one were passed over").to_vec();
                self.lookup.remove(parent, &name, |other| other == slot);
                self.slots[slot as usize].name = NONE;
                self.tags[slot as usize] = match self.tags[slot as usize] {
                    // Its names beneath are still to be released.
                    Tag::Directory => Tag::Directory,
                    _ => Tag::Gone,
                };
            }
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::{ObjectId, tree::Content};

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

    fn kind(tree: &Tree, path: &str) -> NodeKind {
        tree.node(tree.lookup(path.as_bytes()).unwrap()).unwrap().kind().clone()
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
        let parent = tree.node(tree.lookup(b"a/b").unwrap()).unwrap();
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
            .insert(b"d", Metadata::root_owned(0o41700), NodeKind::Directory)
            .unwrap();
        assert_eq!(Some(id), before);
        assert_eq!(tree.node(id).unwrap().metadata().mode, 0o1700);
        assert_eq!(kind(&tree, "d/f"), file("x"));
    }

    #[test]
    fn a_file_over_a_directory_removes_what_is_beneath() {
        let mut tree = Tree::new();
        tree.insert(b"d/sub/f", plain(), file("x")).unwrap();
        tree.link(b"kept", b"d/sub/f").unwrap();
        tree.insert(b"d", plain(), file("now a file")).unwrap();
        assert_eq!(paths(&tree), ["", "d", "kept"]);
        assert_eq!(tree.links(tree.lookup(b"kept").unwrap()), 1);
        tree.insert(b"d", plain(), NodeKind::Directory).unwrap();
        assert!(tree.lookup(b"d/sub").is_none());
    }

    #[test]
    fn a_symlink_is_replaced_and_never_followed() {
        let mut tree = Tree::new();
        tree.insert(b"etc/passwd", plain(), file("root")).unwrap();
        tree.insert(b"link", plain(), NodeKind::Symlink(b"etc".to_vec()))
            .unwrap();
        assert!(tree.lookup(b"link/passwd").is_none());
        tree.insert(b"link/passwd", plain(), file("other")).unwrap();
        assert_eq!(kind(&tree, "etc/passwd"), file("root"));
        assert_eq!(kind(&tree, "link/passwd"), file("other"));
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
        assert_eq!(kind(&tree, "dir/b"), file("x"));
    }

    #[test]
    fn a_link_survives_the_loss_of_its_target() {
        let mut tree = Tree::new();
        tree.insert(b"a", plain(), file("x")).unwrap();
        tree.link(b"a/b", b"a").unwrap();
        assert_eq!(kind(&tree, "a/b"), file("x"));
        tree.link(b"a", b"a/b").unwrap();
        assert_eq!(kind(&tree, "a"), file("x"));
        assert_eq!(tree.links(tree.lookup(b"a").unwrap()), 1);
    }

    #[test]
    fn links_to_nothing_and_to_directories_are_errors() {
        let mut tree = Tree::new();
        tree.insert(b"d", plain(), NodeKind::Directory).unwrap();
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
    fn names_come_and_go_and_the_rest_stay() {
        let mut tree = Tree::new();
        let mut expected = std::collections::BTreeMap::new();
        // Drawn, but the same each time: files, hard links and directories over one another.
        let mut state = 42_u64;
        let mut draw = |below: u64| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            (state >> 33) % below
        };
        for number in 0..3000 {
            let path = match draw(3) {
                0 => format!("{}", draw(9)),
                1 => format!("{}/{}", draw(9), draw(9)),
                _ => format!("{}/{}/{}", draw(9), draw(9), draw(20)),
            };
            let beneath = format!("{path}/");
            let parents: Vec<_> = path.match_indices('/').map(|(at, _)| path[..at].to_owned()).collect();
            let target = expected.iter().nth(draw(expected.len() as u64 + 1) as usize);
            let target: Option<(String, Option<u64>)> = target.map(|(path, what)| (String::clone(path), *what));
            let what = match (draw(4), &target) {
                (0, _) => None,
                (1, Some((target, Some(what)))) => {
                    tree.link(path.as_bytes(), target.as_bytes()).unwrap();
                    Some(*what)
                }
                _ => Some(number),
            };
            let inserted = match what {
                None => tree.insert(path.as_bytes(), plain(), NodeKind::Directory),
                Some(what) if what == number => tree.insert(path.as_bytes(), plain(), file(&number.to_string())),
                Some(_) => Ok(Tree::ROOT),
            };
            inserted.unwrap();
            for parent in parents {
                if expected
                    .insert(parent.clone(), None)
                    .is_some_and(|there| there.is_some())
                {
                    expected.retain(|path, _| !path.starts_with(&format!("{parent}/")));
                }
            }
            if what.is_some() {
                expected.retain(|path, _| !path.starts_with(&beneath));
            }
            expected.insert(path, what);
            if number % 100 == 0 {
                tree.sort();
            }
        }
        let mut links = std::collections::BTreeMap::new();
        expected
            .values()
            .flatten()
            .for_each(|what| *links.entry(*what).or_insert(0) += 1);
        let mut seen = std::collections::BTreeMap::new();
        for visit in tree.iter().skip(1) {
            let path = String::from_utf8(visit.path).unwrap();
            let what = match tree.node(visit.id).unwrap().kind() {
                NodeKind::File(Content::Inline(text)) => Some(String::from_utf8_lossy(text).parse().unwrap()),
                _ => None,
            };
            if let Some(what) = &what {
                assert_eq!(tree.links(visit.id), links[what], "{path}");
            }
            assert_eq!(tree.lookup(path.as_bytes()), Some(visit.id));
            seen.insert(path, what);
        }
        assert_eq!(seen, expected);
    }

    #[test]
    fn the_root_keeps_being_a_directory() {
        let mut tree = Tree::new();
        tree.insert(b"f", plain(), file("x")).unwrap();
        tree.insert(b"", Metadata::root_owned(0o700), NodeKind::Directory)
            .unwrap();
        assert_eq!(tree.node(Tree::ROOT).unwrap().metadata().mode, 0o700);
        assert!(matches!(tree.insert(b"", plain(), file("x")), Err(TreeError::Root)));
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
