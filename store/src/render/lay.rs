use std::{collections::HashMap, io::BufRead};

use dhow_image::{ArchiveError, Entry, EntryKind, TarReader};

use super::{
    layers::Layer,
    whitelist::{Kept, Survey},
};
use crate::{
    error::StoreError,
    recipe::{MAX_FRAMING, RecipeReader, RecipeTar},
    store::Store,
    tree::{Content, Metadata, NodeKind, Tree, TreeError, is_supported_xattr},
};

/// The tree that the layers make, laid over each other in their order.
pub(crate) fn render(store: &Store, layers: &[Layer]) -> Result<Tree, StoreError> {
    let mut tree = Tree::new();
    for layer in layers {
        let kept = kept(store, layer)?;
        Laying {
            tree: &mut tree,
            kept,
            left_out: HashMap::new(),
        }
        .lay(store, layer)?;
    }
    tree.sort();
    Ok(tree)
}

/// What the whitelists leave of a layer; `None` for all of it.
fn kept(store: &Store, layer: &Layer) -> Result<Option<Kept>, StoreError> {
    if layer.whitelists.is_empty() {
        return Ok(None);
    }
    let mut survey = Survey::new(&layer.whitelists);
    for_each_entry(store, layer, |entry, _| {
        if !matches!(entry.kind, EntryKind::Manifest { .. }) {
            survey.add(entry.path.as_bytes(), &entry.kind);
        }
        Ok(())
    })?;
    Ok(Some(survey.kept()))
}

/// One layer on its way into the tree.
struct Laying<'tree> {
    tree: &'tree mut Tree,
    kept: Option<Kept>,
    /// Files that are left out, but of which a hard link is kept.
    left_out: HashMap<Vec<u8>, (Metadata, NodeKind)>,
}

impl Laying<'_> {
    fn lay(mut self, store: &Store, layer: &Layer) -> Result<(), StoreError> {
        for_each_entry(store, layer, |entry, content| {
            self.lay_entry(entry, content).map_err(|error| StoreError::Tree {
                id: layer.id,
                source: Box::new(error),
            })
        })
    }

    fn lay_entry(&mut self, entry: Entry, content: Content) -> Result<(), TreeError> {
        let path = entry.path.clone();
        let path = path.as_bytes();
        if matches!(entry.kind, EntryKind::Manifest { .. }) {
            return Ok(());
        }
        if let Some(kept) = &self.kept
            && !kept.keeps(path)
        {
            if let Some(directory) = kept.directory_above(path) {
                self.tree.make_directory(directory)?;
            }
            if kept.left_out.contains_key(path)
                && let Some(file) = node(entry, content)
            {
                self.left_out.insert(path.to_vec(), file);
            }
            return Ok(());
        }
        match &entry.kind {
            EntryKind::HardLink { target } => self.lay_link(path, target.as_bytes()),
            _ => match node(entry, content) {
                Some((metadata, kind)) => self.tree.insert(path, metadata, kind).map(drop),
                None => Ok(()),
            },
        }
    }

    /// A hard link; where its target was left out, the first link to it takes its place.
    fn lay_link(&mut self, path: &[u8], target: &[u8]) -> Result<(), TreeError> {
        let first = self.kept.as_mut().and_then(|kept| kept.left_out.get_mut(target));
        match first {
            None => self.tree.link(path, target).map(drop),
            Some(Some(first)) => self.tree.link(path, first).map(drop),
            Some(first) => {
                *first = Some(path.to_vec());
                match self.left_out.remove(target) {
                    Some((metadata, kind)) => self.tree.insert(path, metadata, kind).map(drop),
                    None => self.tree.link(path, target).map(drop),
                }
            }
        }
    }
}

/// Reads the entries of a layer, the manifest's too, from its recipe alone.
fn for_each_entry(
    store: &Store,
    layer: &Layer,
    mut each: impl FnMut(Entry, Content) -> Result<(), StoreError>,
) -> Result<(), StoreError> {
    let image = store.image_dir(&layer.id)?;
    let recipe = RecipeReader::new(image.recipe()?).map_err(StoreError::io(image.recipe_path()))?;
    let mut tar = TarReader::of_known(RecipeTar::new(recipe));
    while let Some(entry) = tar.next_entry()? {
        tar.take_framing();
        let content = match entry.kind {
            EntryKind::File { size: size @ 1.. } => content(&mut tar, size)?.ok_or_else(|| StoreError::Damaged {
                path: image.recipe_path(),
                problem: format!("does not have the content of `{}`", entry.path),
            })?,
            _ => Content::Inline(Vec::new()),
        };
        each(entry, content)?;
    }
    Ok(())
}

/// The content of the current entry: an object, or bytes that stand in the recipe. `None` if it is neither, or partly
/// the one and partly the other.
fn content(tar: &mut TarReader<RecipeTar<impl BufRead>>, size: u64) -> Result<Option<Content>, ArchiveError> {
    Ok(match tar.get_mut().object()? {
        Some((id, of_object)) if of_object == size => {
            tar.get_mut().leave_out_object();
            tar.leave_out_content();
            Some(Content::Object { id, size })
        }
        Some(_) => None,
        None if size > MAX_FRAMING as u64 => None,
        None => Some(Content::Inline(tar.read_content_to_end()?)),
    })
}

/// An entry as a file of a tree; `None` for what is none.
fn node(entry: Entry, content: Content) -> Option<(Metadata, NodeKind)> {
    let kind = match entry.kind {
        EntryKind::Manifest { .. } | EntryKind::HardLink { .. } => return None,
        EntryKind::File { .. } => NodeKind::File(content),
        EntryKind::Directory => NodeKind::Directory,
        EntryKind::Symlink { target } => NodeKind::Symlink(target),
        EntryKind::CharDevice { major, minor } => NodeKind::CharDevice { major, minor },
        EntryKind::BlockDevice { major, minor } => NodeKind::BlockDevice { major, minor },
        EntryKind::Fifo => NodeKind::Fifo,
    };
    let mut xattrs = entry.xattrs;
    // Attributes of other systems (`com.apple.…`), which Linux has no place for.
    xattrs.retain(|name, _| is_supported_xattr(name));
    let metadata = Metadata {
        mode: entry.mode,
        uid: entry.uid,
        gid: entry.gid,
        mtime_seconds: entry.mtime,
        mtime_nanoseconds: entry.mtime_nanoseconds,
        xattrs,
    };
    Some((metadata, kind))
}
