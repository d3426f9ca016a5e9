//! How two images differ, told from their recipes: no content is read.

use std::{cmp::Ordering, collections::HashSet};

use dhow_image::ImageId;

use crate::{
    error::StoreError,
    render::{layers, render},
    store::Store,
    tree::{Content, Node, NodeKind, Tree, TreeError, Visit},
};

/// How the root file systems of two images differ.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Diff {
    /// What differs, in the order of the paths.
    pub changes: Vec<Change>,
    /// How many bytes of contents only the second image has, each content counted once.
    pub bytes_added: u64,
    /// How many bytes of contents only the first has.
    pub bytes_removed: u64,
    /// How many bytes of contents both have.
    pub bytes_shared: u64,
}

/// One name that differs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// The path in the root file system, without a slash before it; empty for the root.
    pub path: Vec<u8>,
    /// How it differs.
    pub kind: ChangeKind,
    /// The file's size in the first image, for regular files.
    pub size_before: Option<u64>,
    /// Its size in the second.
    pub size_after: Option<u64>,
}

/// How a name differs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ChangeKind {
    /// Only the second image has it.
    Added,
    /// Only the first image has it.
    Removed,
    /// Both have it, and these things differ.
    Changed(Vec<Aspect>),
}

/// What can differ of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Aspect {
    /// It is a file of another kind.
    Kind,
    /// A regular file's content.
    Content,
    /// A symbolic link's target.
    Target,
    /// A device's number.
    Device,
    /// The permission bits.
    Mode,
    /// User or group.
    Owner,
    /// The extended attributes.
    Attributes,
    /// How many names the file has.
    Links,
    /// When it was last changed.
    Time,
}

impl Aspect {
    /// One word for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Kind => "kind",
            Self::Content => "content",
            Self::Target => "target",
            Self::Device => "device",
            Self::Mode => "mode",
            Self::Owner => "owner",
            Self::Attributes => "attributes",
            Self::Links => "links",
            Self::Time => "time",
        }
    }
}

impl Store {
    /// How the root file systems of two images differ, each with what it depends on.
    pub fn diff(&self, before: &ImageId, after: &ImageId) -> Result<Diff, StoreError> {
        let old = render(self, &layers(self, before)?)?;
        let new = render(self, &layers(self, after)?)?;
        compare(&old, &new).map_err(|error| StoreError::Tree {
            id: *after,
            source: Box::new(error),
        })
    }
}

fn compare(before: &Tree, after: &Tree) -> Result<Diff, TreeError> {
    let mut diff = Diff::default();
    let (mut old, mut new) = (before.iter().peekable(), after.iter().peekable());
    loop {
        let order = match (old.peek(), new.peek()) {
            (None, None) => break,
            (Some(_), None) => Ordering::Less,
            (None, Some(_)) => Ordering::Greater,
            (Some(old), Some(new)) => in_walk_order(&old.path, &new.path),
        };
        let old = old.next_if(|_| order.is_le()).map(|visit| (before, visit));
        let new = new.next_if(|_| order.is_ge()).map(|visit| (after, visit));
        diff.changes.extend(change(old, new)?);
    }
    let (old, new) = (contents(before)?, contents(after)?);
    let bytes = |contents: &mut dyn Iterator<Item = &(Vec<u8>, u64)>| contents.map(|(_, size)| size).sum();
    diff.bytes_added = bytes(&mut new.difference(&old));
    diff.bytes_removed = bytes(&mut old.difference(&new));
    diff.bytes_shared = bytes(&mut new.intersection(&old));
    Ok(diff)
}

/// The order in which a walk comes to two paths: a slash sorts before all other bytes.
fn in_walk_order(one: &[u8], other: &[u8]) -> Ordering {
    let key = |byte: &u8| if *byte == b'/' { 0 } else { *byte };
    one.iter().map(key).cmp(other.iter().map(key))
}

fn change(old: Option<(&Tree, Visit)>, new: Option<(&Tree, Visit)>) -> Result<Option<Change>, TreeError> {
    let read = |side: &Option<(&Tree, Visit)>| side.as_ref().map(|(tree, visit)| tree.node(visit.id)).transpose();
    let (a, b) = (read(&old)?, read(&new)?);
    let size = |node: &Option<Node>| match node.as_ref()?.kind() {
        NodeKind::File(content) => Some(content.size()),
        _ => None,
    };
    let (size_before, size_after) = (size(&a), size(&b));
    let (path, kind) = match (old.zip(a), new.zip(b)) {
        (Some(((_, visit), _)), None) => (visit.path, ChangeKind::Removed),
        (None, Some(((_, visit), _))) => (visit.path, ChangeKind::Added),
        (Some(((before, old), a)), Some(((after, new), b))) => {
            let links = (before.links(old.id), after.links(new.id));
            let aspects = aspects(&a, &b, links);
            if aspects.is_empty() {
                return Ok(None);
            }
            (new.path, ChangeKind::Changed(aspects))
        }
        (None, None) => return Ok(None),
    };
    Ok(Some(Change {
        path,
        kind,
        size_before,
        size_after,
    }))
}

fn aspects(a: &Node, b: &Node, (links_before, links_after): (u32, u32)) -> Vec<Aspect> {
    let mut aspects = Vec::new();
    match (a.kind(), b.kind()) {
        (NodeKind::Directory, NodeKind::Directory) => {}
        (a, b) if std::mem::discriminant(a) != std::mem::discriminant(b) => aspects.push(Aspect::Kind),
        (a, b) if a == b => {}
        (NodeKind::File(a), NodeKind::File(b)) if identity(a) == identity(b) => {}
        (NodeKind::File(_), _) => aspects.push(Aspect::Content),
        (NodeKind::Symlink(_), _) => aspects.push(Aspect::Target),
        _ => aspects.push(Aspect::Device),
    }
    let (of, to) = (a.metadata(), b.metadata());
    let is_directory = matches!(b.kind(), NodeKind::Directory);
    let others = [
        (of.mode != to.mode, Aspect::Mode),
        ((of.uid, of.gid) != (to.uid, to.gid), Aspect::Owner),
        (of.xattrs != to.xattrs, Aspect::Attributes),
        (
            !is_directory && aspects != [Aspect::Kind] && links_before != links_after,
            Aspect::Links,
        ),
        (
            (of.mtime_seconds, of.mtime_nanoseconds) != (to.mtime_seconds, to.mtime_nanoseconds),
            Aspect::Time,
        ),
    ];
    aspects.extend(
        others
            .into_iter()
            .filter(|(differs, _)| *differs)
            .map(|(_, aspect)| aspect),
    );
    aspects
}

/// The contents of a tree, each once.
fn contents(tree: &Tree) -> Result<HashSet<(Vec<u8>, u64)>, TreeError> {
    let mut contents = HashSet::new();
    for visit in tree.iter() {
        if let NodeKind::File(content) = tree.node(visit.id)?.kind()
            && content.size() > 0
        {
            contents.insert((identity(content), content.size()));
        }
    }
    Ok(contents)
}

/// The SHA-256 of a content, whether it is in an object or inline.
fn identity(content: &Content) -> Vec<u8> {
    use sha2::{Digest, Sha256};
    match content {
        Content::Object { id, size: 1.. } => id.as_bytes().to_vec(),
        Content::Object { .. } => Sha256::digest([]).to_vec(),
        Content::Inline(bytes) => Sha256::digest(bytes).to_vec(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{ObjectId, tree::Metadata};

    fn object(number: u8, size: u64) -> NodeKind {
        let id = ObjectId([number; 32]);
        NodeKind::File(Content::Object { id, size })
    }

    fn tree(files: &[(&str, u16, NodeKind)]) -> Tree {
        let mut tree = Tree::new();
        for (path, mode, kind) in files {
            tree.insert(path.as_bytes(), Metadata::root_owned(*mode), kind.clone())
                .unwrap();
        }
        tree
    }

    #[test]
    fn what_was_added_removed_and_changed_is_told_in_order() {
        let link = |target: &str| NodeKind::Symlink(target.into());
        let before = tree(&[
            ("a/x", 0o644, object(1, 10)),
            ("a-b", 0o644, object(2, 20)),
            ("gone/deep", 0o644, object(3, 30)),
            ("kind", 0o644, object(4, 40)),
            ("link", 0o777, link("one")),
            ("same", 0o644, object(9, 90)),
        ]);
        let after = tree(&[
            ("a/x", 0o755, object(5, 50)),
            ("a-b", 0o600, object(2, 20)),
            ("kind", 0o755, NodeKind::Directory),
            ("kind/new", 0o644, object(6, 60)),
            ("link", 0o777, link("two")),
            ("same", 0o644, object(9, 90)),
            ("twice", 0o644, object(6, 60)),
        ]);
        let diff = compare(&before, &after).unwrap();
        let told: Vec<_> = diff
            .changes
            .iter()
            .map(|change| {
                let words = match &change.kind {
                    ChangeKind::Added => "added".to_owned(),
                    ChangeKind::Removed => "removed".to_owned(),
                    ChangeKind::Changed(aspects) => aspects.iter().map(|it| it.as_str()).collect::<Vec<_>>().join(","),
                };
                format!("{} {words}", String::from_utf8_lossy(&change.path))
            })
            .collect();
        let expected = [
            "a/x content,mode",
            "a-b mode",
            "gone removed",
            "gone/deep removed",
            "kind kind,mode",
            "kind/new added",
            "link target",
            "twice added",
        ];
        assert_eq!(told, expected);
        assert_eq!(
            (diff.bytes_added, diff.bytes_removed, diff.bytes_shared),
            (110, 80, 110)
        );
        assert_eq!(
            (diff.changes[0].size_before, diff.changes[0].size_after),
            (Some(10), Some(50))
        );
        assert_eq!(compare(&after, &after).unwrap().changes, []);
    }

    #[test]
    fn owners_attributes_times_and_links_are_compared() {
        let before = tree(&[("f", 0o644, object(1, 10)), ("g", 0o644, object(2, 10))]);
        let mut after = Tree::new();
        let changed = Metadata {
            gid: 5,
            mtime_seconds: 1,
            xattrs: [(b"user.note".to_vec(), b"x".to_vec())].into(),
            ..Metadata::root_owned(0o644)
        };
        after.insert(b"f", changed, object(1, 10)).unwrap();
        after.link(b"g", b"f").unwrap();
        let diff = compare(&before, &after).unwrap();
        let all = [Aspect::Owner, Aspect::Attributes, Aspect::Links, Aspect::Time];
        assert_eq!(diff.changes[0].kind, ChangeKind::Changed(all.to_vec()));
        let with_content = [&[Aspect::Content], &all[..]].concat();
        assert_eq!(diff.changes[1].kind, ChangeKind::Changed(with_content));
    }
}
