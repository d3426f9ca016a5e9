//! Rendering: the tree of an image with those it depends on (appc spec, ace.md, "Filesystem Setup").

use std::{
    collections::{HashMap, VecDeque},
    io::{self, BufRead, Read},
};

use dhow_image::{Entry, EntryKind, ImageId, ImageManifest, Name, RootfsPath, TarReader};

use crate::{
    error::StoreError,
    index::Standing,
    object::ObjectId,
    recipe::{RecipeReader, Record},
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
    let mut tar = TarReader::new(Skeleton {
        recipe,
        objects: VecDeque::new(),
        framing: io::Cursor::default(),
        zeros: 0,
    });
    // Files that the whitelists leave out, with the name under which a hard link has kept them, if one has.
    let mut left_out: HashMap<RootfsPath, LeftOut> = HashMap::new();
    while let Some(entry) = tar.next_entry()? {
        tar.take_framing();
        let content = match entry.kind {
            EntryKind::File { size: 0 } => Content::Inline(Vec::new()),
            EntryKind::File { size } => {
                // Reading one byte makes the skeleton reach the object's record.
                tar.read_content(&mut [0])?;
                let object = tar.get_mut().objects.pop_front();
                let id = object.ok_or_else(|| StoreError::Damaged {
                    path: image.recipe_path(),
                    problem: format!("names no object for `{}`", entry.path),
                })?;
                Content::Object { id, size }
            }
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

/// The tar of a recipe with zeros for the contents of files: all that a tree needs, without reading an object.
struct Skeleton<R: BufRead> {
    recipe: RecipeReader<R>,
    /// The objects whose place in the tar has been reached.
    objects: VecDeque<ObjectId>,
    framing: io::Cursor<Vec<u8>>,
    zeros: u64,
}

impl<R: BufRead> Read for Skeleton<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            if self.zeros > 0 {
                let read = usize::try_from(self.zeros).unwrap_or(usize::MAX).min(buffer.len());
                buffer[..read].fill(0);
                self.zeros -= read as u64;
                return Ok(read);
            }
            let read = self.framing.read(buffer)?;
            if read > 0 {
                return Ok(read);
            }
            match self.recipe.next()? {
                Some(Record::Framing(bytes)) => self.framing = io::Cursor::new(bytes),
                Some(Record::Object(id, size)) => {
                    self.objects.push_back(id);
                    self.zeros = size;
                }
                None => return Ok(0),
            }
        }
    }
}
