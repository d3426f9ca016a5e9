//! Rendering: the tree of an image with those it depends on (appc spec, ace.md, "Filesystem Setup").

use std::{collections::HashMap, io::BufRead};

use dhow_image::{ArchiveError, Entry, EntryKind, ImageId, ImageManifest, Limits, Name, RootfsPath, TarReader};

use crate::{
    error::StoreError,
    index::Standing,
    recipe::{MAX_FRAMING, RecipeReader, RecipeTar},
    store::Store,
    tree::{Content, Metadata, NodeKind, Tree, TreeError, is_supported_xattr},
};

/// One image in the order of rendering, with the whitelists that its files must pass: its own, and those of the
/// images that brought it in.
pub(crate) struct Layer {
    pub(crate) id: ImageId,
    whitelists: Vec<Whitelist>,
}

/// Lists the images that make up the root file system of `id`, those beneath first. An image that is reached by two
/// ways is listed twice, since each way has whitelists of its own.
pub(crate) fn layers(store: &Store, id: &ImageId) -> Result<Vec<Layer>, StoreError> {
    let mut layers = Vec::new();
    Descent {
        store,
        standing: store.standing(id)?,
        chain: Vec::new(),
        layers: &mut layers,
    }
    .descend(id, &[])?;
    Ok(layers)
}

/// The way down from an image to those it depends on.
struct Descent<'a> {
    store: &'a Store,
    /// What is found by its name must stand as high as the image that asks for it: no verified image ever gets files
    /// that nobody vouches for. What is named by its ID is vouched for by who names it.
    standing: Standing,
    chain: Vec<(ImageId, Name)>,
    layers: &'a mut Vec<Layer>,
}

impl Descent<'_> {
    fn descend(&mut self, id: &ImageId, outer: &[Whitelist]) -> Result<(), StoreError> {
        let manifest = self.store.manifest(id)?;
        let circle = self.chain.iter().any(|(above, _)| above == id);
        self.chain.push((*id, manifest.name.clone()));
        if circle {
            return Err(StoreError::DependencyCycle {
                chain: self.chain.iter().map(|(_, name)| name.clone()).collect(),
            });
        }
        let mut whitelists = outer.to_vec();
        whitelists.extend(Whitelist::of(&manifest));
        for dependency in &manifest.dependencies {
            let found = match &dependency.image_id {
                Some(id) => self.store.contains(id).then_some(*id),
                None => self
                    .store
                    .find(&dependency.image_name, &dependency.labels, self.standing)?,
            };
            let found = found.ok_or_else(|| StoreError::MissingDependency {
                image: manifest.name.clone(),
                name: dependency.image_name.clone(),
            })?;
            self.descend(&found, &whitelists)?;
        }
        self.layers.push(Layer { id: *id, whitelists });
        self.chain.pop();
        Ok(())
    }
}

/// The tree that the layers make, laid over each other in their order.
pub(crate) fn render(store: &Store, layers: &[Layer]) -> Result<Tree, StoreError> {
    let mut tree = Tree::new();
    for layer in layers {
        lay(store, layer, &mut tree)?;
    }
    Ok(tree)
}

fn lay(store: &Store, layer: &Layer, tree: &mut Tree) -> Result<(), StoreError> {
    let image = store.image_dir(&layer.id)?;
    let in_recipe = |source| StoreError::Io {
        path: image.recipe_path(),
        source,
    };
    let in_tree = |error: TreeError| StoreError::Tree {
        id: layer.id,
        source: Box::new(error),
    };
    let recipe = RecipeReader::new(image.recipe()?).map_err(in_recipe)?;
    // What is in the store was within limits when it came.
    let mut tar = TarReader::with_limits(RecipeTar::new(recipe), Limits::NONE);
    // Files that the whitelists leave out, with the name under which a hard link has kept them, if one has.
    let mut left_out: HashMap<RootfsPath, LeftOut> = HashMap::new();
    while let Some(entry) = tar.next_entry()? {
        tar.take_framing();
        let content = match entry.kind {
            EntryKind::File { size: size @ 1.. } => content(&mut tar, size)?.ok_or_else(|| StoreError::Damaged {
                path: image.recipe_path(),
                problem: format!("does not have the content of `{}`", entry.path),
            })?,
            _ => Content::Inline(Vec::new()),
        };
        let path = entry.path.clone();
        let is_kept = layer.whitelists.iter().all(|whitelist| whitelist.keeps(&path));
        if let EntryKind::HardLink { target } = &entry.kind {
            match left_out.get_mut(target) {
                _ if !is_kept => {}
                None => drop(tree.link(path.as_bytes(), target.as_bytes()).map_err(in_tree)?),
                Some(LeftOut {
                    kept_as: Some(kept), ..
                }) => {
                    tree.link(path.as_bytes(), kept.as_bytes()).map_err(in_tree)?;
                }
                Some(LeftOut {
                    metadata,
                    kind,
                    kept_as,
                }) => {
                    tree.insert(path.as_bytes(), metadata.clone(), kind.clone())
                        .map_err(in_tree)?;
                    *kept_as = Some(path);
                }
            }
            continue;
        }
        let Some((metadata, kind)) = node(entry, content) else {
            continue;
        };
        if is_kept {
            tree.insert(path.as_bytes(), metadata, kind).map_err(in_tree)?;
        } else if !matches!(kind, NodeKind::Directory(_)) {
            left_out.insert(
                path,
                LeftOut {
                    metadata,
                    kind,
                    kept_as: None,
                },
            );
        }
    }
    Ok(())
}

/// The content of the current entry: an object, or bytes that stand in the recipe. `None` if it is neither, or partly
/// the one and partly the other.
fn content(tar: &mut TarReader<RecipeTar<impl BufRead>>, size: u64) -> Result<Option<Content>, ArchiveError> {
    Ok(match tar.get_mut().object()? {
        Some((id, of_object)) => (of_object == size).then_some(Content::Object { id, size }),
        None if size > MAX_FRAMING as u64 => None,
        None => Some(Content::Inline(tar.read_content_to_end()?)),
    })
}

struct LeftOut {
    metadata: Metadata,
    kind: NodeKind,
    kept_as: Option<RootfsPath>,
}

/// An entry as a file of a tree; `None` for what is none.
fn node(entry: Entry, content: Content) -> Option<(Metadata, NodeKind)> {
    let kind = match entry.kind {
        EntryKind::Manifest { .. } | EntryKind::HardLink { .. } => return None,
        EntryKind::File { .. } => NodeKind::File(content),
        EntryKind::Directory => NodeKind::directory(),
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

/// The only paths that are kept, with the directories that lead to them.
#[derive(Clone)]
struct Whitelist(Vec<RootfsPath>);

impl Whitelist {
    fn of(manifest: &ImageManifest) -> Option<Self> {
        let paths: Vec<_> = manifest
            .path_whitelist
            .iter()
            .filter_map(|path| RootfsPath::new(path.as_bytes()))
            .collect();
        (!manifest.path_whitelist.is_empty()).then_some(Self(paths))
    }

    fn keeps(&self, path: &RootfsPath) -> bool {
        self.0.iter().any(|kept| {
            kept == path
                || path.is_root()
                || kept
                    .as_bytes()
                    .strip_prefix(path.as_bytes())
                    .is_some_and(|rest| rest.starts_with(b"/"))
        })
    }
}
