//! [`Plan`]: which entry of which layer each path of the result comes from.
//!
//! Layers are laid over each other as OCI says (image-spec, layer.md, "Applying Changesets"): an entry replaces what was
//! at its path, a directory keeps what is in it, `.wh.NAME` deletes what layers beneath have as `NAME`, `.wh..wh..opq`
//! deletes all that they have in its directory. A path that leads through symbolic links is followed within the image,
//! as a container would; one that leads out of it is an error.

use std::collections::{BTreeMap, HashMap};

use crate::archive::{Entry, EntryKind, RootfsPath};

const WHITEOUT: &[u8] = b".wh.";
const OPAQUE: &[u8] = b".wh..wh..opq";
/// AUFS's own files.
const AUFS: &[u8] = b".wh..wh.";
/// As the kernel allows.
const MAX_SYMLINKS: usize = 40;
/// Deeper than any path of 4096 bytes.
const MAX_DEPTH: u32 = 2048;

const ROOT: NodeId = 0;
const BENEATH_NO_DIRECTORY: &str = "lies beneath what is no directory";

type NodeId = u32;
type InodeId = u32;

/// An entry of a layer: the layer's number, then the entry's in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Position {
    pub(super) layer: u32,
    pub(super) entry: u32,
}

/// The tree that the layers so far make, without contents.
pub(super) struct Plan {
    nodes: Vec<Node>,
    inodes: Vec<Inode>,
    layer: u32,
    entry: u32,
    hides_lower: bool,
}

struct Node {
    parent: NodeId,
    depth: u32,
    name: Box<[u8]>,
    /// When its path came to be what it is.
    made: Position,
    /// The layer that last said something of it.
    layer: u32,
    is_gone: bool,
    what: What,
}

enum What {
    Directory {
        /// In the order of their names, which are not held a second time.
        children: Vec<NodeId>,
        /// What the last entry for it said; none where only paths beneath it speak of it.
        declared: Option<Box<Entry>>,
    },
    Leaf(InodeId),
}

/// What hard links share.
struct Inode {
    /// The entry with its content.
    at: Position,
    /// Where it leads, if it is a symbolic link.
    target: Option<Box<[u8]>>,
}

/// The entries of a result in the order in which they are written.
pub(super) struct Outputs<'a> {
    plan: &'a Plan,
    order: std::vec::IntoIter<(Position, NodeId)>,
    /// Of each inode, the name that takes its content.
    firsts: Vec<NodeId>,
}

/// One entry of the result.
#[derive(Debug)]
pub(super) struct Output {
    /// The entry of the layers when it is written.
    pub(super) at: Position,
    /// Its path in the result.
    pub(super) path: RootfsPath,
    /// What is written.
    pub(super) what: OutputKind,
}

#[derive(Debug)]
pub(super) enum OutputKind {
    /// A directory, whose properties are known.
    Directory(Box<Entry>),
    /// The entry that is read at that position, under the path of the result.
    Same,
    /// The same, as a hard link to a path that came before.
    LinkTo(RootfsPath),
}

impl Iterator for Outputs<'_> {
    type Item = Output;

    fn next(&mut self) -> Option<Output> {
        let (at, id) = self.order.next()?;
        let path = self.plan.path_of(id);
        let what = match &self.plan.nodes[id as usize].what {
            What::Directory { declared, .. } => {
                let mut entry = declared.as_deref().cloned().unwrap_or_else(implied_directory);
                entry.path = path.clone();
                OutputKind::Directory(Box::new(entry))
            }
            What::Leaf(inode) => match self.firsts[*inode as usize] {
                first if first == id => OutputKind::Same,
                first => OutputKind::LinkTo(self.plan.path_of(first)),
            },
        };
        Some(Output { at, path, what })
    }
}

impl Plan {
    pub(super) fn new() -> Self {
        let start = Position { layer: 0, entry: 0 };
        let root = Node {
            parent: ROOT,
            depth: 0,
            name: Box::default(),
            made: start,
            layer: 0,
            is_gone: false,
            what: What::Directory {
                children: Vec::new(),
                declared: None,
            },
        };
        Self {
            nodes: vec![root],
            inodes: Vec::new(),
            layer: 0,
            entry: 0,
            hides_lower: false,
        }
    }

    /// Begins the layer with this number.
    pub(super) fn begin_layer(&mut self, layer: u32) {
        (self.layer, self.entry, self.hides_lower) = (layer, 0, false);
    }

    /// Whether the current layer deletes or replaces something that a layer beneath has in another kind.
    pub(super) fn hides_lower(&self) -> bool {
        self.hides_lower
    }

    /// How many names it holds in memory, the root's included and those that are gone.
    pub(super) fn len(&self) -> usize {
        self.nodes.len()
    }

    /// Lays the next entry of the current layer over what is there. The error is a problem of that entry.
    pub(super) fn apply(&mut self, entry: &Entry) -> Result<(), &'static str> {
        let here = Position {
            layer: self.layer,
            entry: self.entry,
        };
        self.entry = self
            .entry
            .checked_add(1)
            .ok_or("is the four thousand millionth of its layer")?;
        let parts: Vec<&[u8]> = entry.path.parts().collect();
        let Some((name, parents)) = parts.split_last() else {
            self.declare(ROOT, here, entry);
            return Ok(());
        };
        if parents.iter().any(|part| part.starts_with(AUFS)) || (name.starts_with(AUFS) && *name != OPAQUE) {
            return Ok(());
        }
        if parents.iter().any(|part| part.starts_with(WHITEOUT)) {
            return Err("lies beneath a whiteout");
        }
        if let Some(victim) = name.strip_prefix(WHITEOUT) {
            return self.white_out(parents, name, victim);
        }
        let parent = self.descend(parents, Some(here))?.expect("what was missing was made");
        self.insert(parent, name, here, entry)
    }

    /// The paths that there are, without the root.
    pub(super) fn paths(&self) -> impl Iterator<Item = RootfsPath> {
        let visible = |&(id, node): &(usize, &Node)| !node.is_gone && id != ROOT as usize;
        self.nodes
            .iter()
            .enumerate()
            .filter(visible)
            .map(|(id, _)| self.path_of(id as NodeId))
    }

    /// The entries of the result, in the order in which they are written: that of the layers, so that contents are
    /// read as they come, with each directory where it is first needed.
    pub(super) fn all(&self) -> Outputs<'_> {
        self.outputs(|_| true)
    }

    /// Those that the current layer brought, by itself. Contents that it took from beneath, by hard links, are
    /// among them.
    pub(super) fn of_layer(&self) -> Outputs<'_> {
        self.outputs(|node| node.layer == self.layer)
    }

    fn outputs(&self, is_wanted: impl Fn(&Node) -> bool) -> Outputs<'_> {
        let made = |id: NodeId| self.nodes[id as usize].made;
        let mut firsts = vec![NodeId::MAX; self.inodes.len()];
        let mut order = Vec::new();
        for (node, id) in self.nodes.iter().zip(0..) {
            // An image has a root, whatever else is in it.
            if node.is_gone || !(is_wanted(node) || id == ROOT) {
                continue;
            }
            order.push((node.made, id));
            if let What::Leaf(inode) = node.what {
                let first = &mut firsts[inode as usize];
                if *first == NodeId::MAX || node.made < made(*first) {
                    *first = id;
                }
            }
        }
        // The first of the names that are left takes the content, when that is read, and its directories come before.
        let mut moved: HashMap<NodeId, Position> = HashMap::new();
        for (inode, &first) in self.inodes.iter().zip(&firsts) {
            let mut id = first;
            while id != NodeId::MAX && inode.at < *moved.get(&id).unwrap_or(&made(id)) {
                moved.insert(id, inode.at);
                id = self.nodes[id as usize].parent;
            }
        }
        for (at, id) in &mut order {
            *at = *moved.get(id).unwrap_or(at);
        }
        // The root is first, whenever it was spoken of.
        order.sort_unstable_by_key(|&(at, id)| (id != ROOT, at, self.nodes[id as usize].depth, id));
        Outputs {
            plan: self,
            order: order.into_iter(),
            firsts,
        }
    }

    fn declare(&mut self, id: NodeId, here: Position, entry: &Entry) {
        let node = &mut self.nodes[id as usize];
        node.layer = here.layer;
        if let What::Directory { declared, .. } = &mut node.what {
            *declared = Some(Box::new(entry.clone()));
        }
    }

    fn insert(&mut self, parent: NodeId, name: &[u8], here: Position, entry: &Entry) -> Result<(), &'static str> {
        let old = self.child(parent, name);
        let what = match &entry.kind {
            EntryKind::Directory => {
                if let Some(old) = old
                    && let What::Directory { .. } = self.nodes[old as usize].what
                {
                    self.declare(old, here, entry);
                    return Ok(());
                }
                What::Directory {
                    children: Vec::new(),
                    declared: Some(Box::new(entry.clone())),
                }
            }
            EntryKind::HardLink { target } => {
                let inode = self.hard_link_target(target)?;
                if let Some(old) = old
                    && matches!(self.nodes[old as usize].what, What::Leaf(same) if same == inode)
                {
                    // A link to itself changes nothing.
                    return Ok(());
                }
                What::Leaf(inode)
            }
            kind => {
                let target = match kind {
                    EntryKind::Symlink { target } => Some(target.clone().into_boxed_slice()),
                    _ => None,
                };
                self.inodes.push(Inode { at: here, target });
                What::Leaf(self.inodes.len() as InodeId - 1)
            }
        };
        if let Some(old) = old {
            let is_directory = |what: &What| matches!(what, What::Directory { .. });
            let was_directory = is_directory(&self.nodes[old as usize].what);
            if was_directory {
                self.remove_below(old, self.layer);
                self.prune(old, u32::MAX);
            }
            self.forget(old);
        }
        self.add(parent, name, here, what).map(drop)
    }

    fn white_out(&mut self, parents: &[&[u8]], name: &[u8], victim: &[u8]) -> Result<(), &'static str> {
        let is_opaque = name == OPAQUE;
        if !is_opaque && matches!(victim, b"" | b"." | b"..") {
            return Err("is a whiteout of no name");
        }
        let parent = match self.descend(parents, None) {
            Ok(Some(parent)) => parent,
            // umoci also deletes, one by one, the files of a directory that has become a file.
            Ok(None) | Err(BENEATH_NO_DIRECTORY) => return Ok(()),
            Err(problem) => return Err(problem),
        };
        let layer = self.layer;
        if is_opaque {
            self.remove_below(parent, layer);
        } else if let Some(victim) = self.child(parent, victim) {
            self.remove_below(victim, layer);
            let node = &self.nodes[victim as usize];
            let is_kept = matches!(&node.what, What::Directory { children, .. } if !children.is_empty());
            if node.layer < layer && !is_kept {
                self.hides_lower = true;
                self.forget(victim);
            }
        }
        Ok(())
    }

    /// Removes what layers beneath `layer` have under a directory, and notes that something of theirs is hidden.
    fn remove_below(&mut self, id: NodeId, layer: u32) {
        if self.prune(id, layer) {
            self.hides_lower = true;
        }
    }

    /// Removes all under a directory that no layer from `layer` on speaks of; says whether there was any. What is
    /// kept keeps its parents. No path is deep enough to exhaust the stack.
    fn prune(&mut self, id: NodeId, layer: u32) -> bool {
        let What::Directory { children, .. } = &self.nodes[id as usize].what else {
            return false;
        };
        let children = children.clone();
        let mut removed = false;
        for child in children {
            removed |= self.prune(child, layer);
            let node = &self.nodes[child as usize];
            let is_kept = matches!(&node.what, What::Directory { children, .. } if !children.is_empty());
            if node.layer < layer && !is_kept {
                self.forget(child);
                removed = true;
            }
        }
        removed
    }

    fn forget(&mut self, id: NodeId) {
        let parent = self.nodes[id as usize].parent;
        let place = self.place(parent, &self.nodes[id as usize].name);
        if let (What::Directory { children, .. }, Ok(place)) = (&mut self.nodes[parent as usize].what, place) {
            children.remove(place);
        }
        self.nodes[id as usize].is_gone = true;
    }

    fn add(&mut self, parent: NodeId, name: &[u8], made: Position, what: What) -> Result<NodeId, &'static str> {
        let depth = self.nodes[parent as usize].depth + 1;
        if depth > MAX_DEPTH {
            return Err("lies more than 2048 directories deep");
        }
        let id = NodeId::try_from(self.nodes.len()).map_err(|_| "is one of four thousand millions")?;
        let place = self.place(parent, name).unwrap_or_else(|place| place);
        match &mut self.nodes[parent as usize].what {
            What::Directory { children, .. } => children.insert(place, id),
            What::Leaf(_) => return Err(BENEATH_NO_DIRECTORY),
        }
        self.nodes.push(Node {
            parent,
            depth,
            name: name.into(),
            made,
            layer: made.layer,
            is_gone: false,
            what,
        });
        Ok(id)
    }

    fn child(&self, parent: NodeId, name: &[u8]) -> Option<NodeId> {
        match (&self.nodes[parent as usize].what, self.place(parent, name)) {
            (What::Directory { children, .. }, Ok(place)) => Some(children[place]),
            _ => None,
        }
    }

    /// Where among a directory's children a name is, or would be.
    fn place(&self, parent: NodeId, name: &[u8]) -> Result<usize, usize> {
        match &self.nodes[parent as usize].what {
            What::Directory { children, .. } => {
                children.binary_search_by(|&child| (*self.nodes[child as usize].name).cmp(name))
            }
            What::Leaf(_) => Err(0),
        }
    }

    /// The directory that a path leads to, through symbolic links, as it is within the image. What is missing is made
    /// where `make` says when, or gives `None`.
    fn descend(&mut self, parts: &[&[u8]], make: Option<Position>) -> Result<Option<NodeId>, &'static str> {
        let mut pending: Vec<Box<[u8]>> = parts.iter().rev().map(|&part| part.into()).collect();
        let mut at = ROOT;
        let mut symlinks = 0;
        while let Some(part) = pending.pop() {
            if *part == *b".." {
                if at == ROOT {
                    return Err("leads out of the image through a symbolic link");
                }
                at = self.nodes[at as usize].parent;
                continue;
            }
            let Some(child) = self.child(at, &part) else {
                let Some(here) = make else {
                    return Ok(None);
                };
                let implied = What::Directory {
                    children: Vec::new(),
                    declared: None,
                };
                at = self.add(at, &part, here, implied)?;
                continue;
            };
            let inode = match self.nodes[child as usize].what {
                What::Directory { .. } => {
                    at = child;
                    continue;
                }
                What::Leaf(inode) => inode,
            };
            let Some(target) = &self.inodes[inode as usize].target else {
                return Err(BENEATH_NO_DIRECTORY);
            };
            symlinks += 1;
            if symlinks > MAX_SYMLINKS {
                return Err("leads through over 40 symbolic links, perhaps in a circle");
            }
            if target.starts_with(b"/") {
                at = ROOT;
            }
            let parts = target.split(|&byte| byte == b'/').rev();
            pending.extend(parts.filter(|part| !part.is_empty() && *part != b".").map(Box::from));
        }
        Ok(Some(at))
    }

    fn hard_link_target(&mut self, target: &RootfsPath) -> Result<InodeId, &'static str> {
        let parts: Vec<&[u8]> = target.parts().collect();
        let (name, parents) = parts.split_last().ok_or("is a hard link to the root")?;
        let parent = self.descend(parents, None)?;
        match parent
            .and_then(|parent| self.child(parent, name))
            .map(|id| &self.nodes[id as usize].what)
        {
            Some(What::Leaf(inode)) => Ok(*inode),
            Some(What::Directory { .. }) => Err("is a hard link to a directory"),
            None => Err("is a hard link to what no entry before it has made"),
        }
    }

    fn path_of(&self, mut id: NodeId) -> RootfsPath {
        let mut parts = Vec::new();
        while id != ROOT {
            let node = &self.nodes[id as usize];
            parts.push(&*node.name);
            id = node.parent;
        }
        parts.reverse();
        RootfsPath::new(&parts.join(&b'/')).expect("a plan's names were parts of paths")
    }
}

/// A directory that no entry describes: root's, as every extractor makes it.
fn implied_directory() -> Entry {
    Entry {
        kind: EntryKind::Directory,
        path: RootfsPath::root(),
        mode: 0o755,
        uid: 0,
        gid: 0,
        mtime: 0,
        mtime_nanoseconds: 0,
        xattrs: BTreeMap::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(text: &str) -> Entry {
        let (path, kind) = match (text.strip_suffix('/'), text.split_once("->"), text.split_once('=')) {
            (Some(path), _, _) => (path, EntryKind::Directory),
            (_, Some((path, target)), _) => (path, EntryKind::Symlink { target: target.into() }),
            (_, _, Some((path, target))) => {
                let target = RootfsPath::new(target.as_bytes()).unwrap();
                (path, EntryKind::HardLink { target })
            }
            _ => (text, EntryKind::File { size: 1 }),
        };
        Entry {
            kind,
            path: RootfsPath::new(path.as_bytes()).unwrap(),
            ..implied_directory()
        }
    }

    fn applied(plan: &mut Plan, layers: &[&str]) -> Result<(), &'static str> {
        for (number, layer) in layers.iter().enumerate() {
            plan.begin_layer(number as u32);
            layer.split_whitespace().try_for_each(|text| plan.apply(&entry(text)))?;
        }
        Ok(())
    }

    fn shown(outputs: Outputs<'_>) -> String {
        let text = |output: Output| {
            let path = output.path.to_string();
            let Position { layer, entry } = output.at;
            match &output.what {
                OutputKind::Directory(_) => format!("{path}{}", if path == "/" { "" } else { "/" }),
                OutputKind::Same => format!("{path}@{layer}.{entry}"),
                OutputKind::LinkTo(target) => format!("{path}={target}"),
            }
        };
        outputs.map(text).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn layers_are_laid_over_each_other() {
        let cases: &[(&[&str], &str)] = &[
            (&["a b", "b"], "/ /a@0.0 /b@1.0"),
            (&["a a"], "/ /a@0.1"),
            (&["d/ d/a d/b", "d/.wh.a"], "/ /d/ /d/b@0.2"),
            (&["d/ d/a", ".wh.d"], "/"),
            // A whiteout is for what lies beneath, wherever in its layer it stands.
            (&["d/ d/a", "d/ d/b .wh.d"], "/ /d/ /d/b@1.1"),
            (&["d/ d/a", "d/ d/b d/.wh..wh..opq"], "/ /d/ /d/b@1.1"),
            (
                &["d/ d/a d/e/f", "d/ d/.wh..wh..opq d/b", "d/c"],
                "/ /d/ /d/b@1.2 /d/c@2.0",
            ),
            (&["a/ a/b", "a"], "/ /a@1.0"),
            (&["a", "a/ a/b"], "/ /a/ /a/b@1.1"),
            (&["x/y/z"], "/ /x/ /x/y/ /x/y/z@0.0"),
            (
                &["usr/bin/ bin->usr/bin", "bin/tool"],
                "/ /usr/ /usr/bin/ /bin@0.1 /usr/bin/tool@1.0",
            ),
            (&["usr/bin/x bin->/usr/bin", "bin/.wh.x"], "/ /usr/ /usr/bin/ /bin@0.1"),
            (&[".wh..wh.aufs .wh..wh.plnk/ .wh..wh.plnk/1 a"], "/ /a@0.3"),
            (&["a", ".wh..wh..opq b"], "/ /b@1.1"),
            (&["a", ".wh.nothing d/.wh.nothing"], "/ /a@0.0"),
            (&["d/ d/a", "d d/.wh.a"], "/ /d@1.0"),
        ];
        for (layers, expected) in cases {
            let mut plan = Plan::new();
            applied(&mut plan, layers).unwrap();
            assert_eq!(shown(plan.all()), *expected, "{layers:?}");
        }
    }

    #[test]
    fn hard_links_keep_their_content_when_its_name_goes() {
        let cases: &[(&[&str], &str)] = &[
            (&["a b=a c"], "/ /a@0.0 /b=/a /c@0.2"),
            (&["a", "b=a"], "/ /a@0.0 /b=/a"),
            (&["a", "b=a .wh.a"], "/ /b@0.0"),
            (&["a x", "d/ d/b=a c=a .wh.a"], "/ /d/ /d/b@0.0 /x@0.1 /c=/d/b"),
            (&["a b=a", "a"], "/ /b@0.0 /a@1.0"),
            (&["a", "a=a"], "/ /a@0.0"),
            (&["s->t h=s"], "/ /s@0.0 /h=/s"),
        ];
        for (layers, expected) in cases {
            let mut plan = Plan::new();
            applied(&mut plan, layers).unwrap();
            assert_eq!(shown(plan.all()), *expected, "{layers:?}");
        }
    }

    #[test]
    fn a_layer_alone_is_what_it_brought() {
        let mut plan = Plan::new();
        applied(&mut plan, &["d/ d/a b", "d/ d/c=b .wh.b e"]).unwrap();
        assert_eq!(shown(plan.of_layer()), "/ /d/ /d/c@0.2 /e@1.3");
        assert!(plan.hides_lower());
        let paths: Vec<_> = plan.paths().map(|path| path.to_string()).collect();
        assert_eq!(paths, ["/d", "/d/a", "/d/c", "/e"]);
        let mut plan = Plan::new();
        applied(&mut plan, &["a", "a b"]).unwrap();
        assert!(!plan.hides_lower());
    }

    #[test]
    fn what_leads_out_is_refused() {
        let cases: &[(&[&str], &str)] = &[
            (&["evil->../../etc evil/passwd"], "leads out of the image"),
            (&["evil->/../etc", "evil/passwd"], "leads out of the image"),
            (&["a->b b->a a/c"], "in a circle"),
            (&["a a/b"], "beneath what is no directory"),
            (&["a=b"], "no entry before it"),
            (&["d/ a=d"], "hard link to a directory"),
            (&["evil->../../etc a=evil/passwd"], "leads out of the image"),
            (&[".wh."], "whiteout of no name"),
            (&[".wh..."], "whiteout of no name"),
            (&["d/.wh.."], "whiteout of no name"),
            (&[".wh.d/a"], "beneath a whiteout"),
        ];
        for (layers, expected) in cases {
            let problem = applied(&mut Plan::new(), layers).unwrap_err();
            assert!(problem.contains(expected), "{layers:?}: {problem}");
        }
    }
}
