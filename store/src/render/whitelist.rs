use std::{
    collections::{BTreeMap, HashSet},
    sync::Arc,
};

use dhow_image::{EntryKind, ImageId, ImageManifest, RootfsPath};

/// The paths that an image keeps of itself and of what it depends on: they and the directories that lead to them
/// (appc spec, aci.md, `pathWhitelist`).
pub(super) struct Whitelist {
    /// Whose it is.
    pub(super) image: ImageId,
    paths: HashSet<Vec<u8>>,
    /// The directories above the paths.
    above: HashSet<Vec<u8>>,
}

impl Whitelist {
    pub(super) fn of(image: &ImageId, manifest: &ImageManifest) -> Option<Self> {
        if manifest.path_whitelist.is_empty() {
            return None;
        }
        let paths = manifest.path_whitelist.iter();
        let paths: HashSet<_> = paths
            .filter_map(|path| RootfsPath::new(path.as_bytes()))
            .map(|path| path.as_bytes().to_vec())
            .collect();
        let above = paths
            .iter()
            .flat_map(|path| parents(path))
            .map(<[u8]>::to_vec)
            .collect();
        Some(Self {
            image: *image,
            paths,
            above,
        })
    }

    fn could_keep(&self, path: &[u8]) -> bool {
        path.is_empty() || self.paths.contains(path) || self.above.contains(path)
    }
}

/// What whitelists leave of one image. Found in a pass of its own over the image's entries, because a directory that
/// leads to a path is kept only if that path is there.
#[derive(Default)]
pub(super) struct Kept {
    /// The paths that are kept, the root apart.
    paths: HashSet<Vec<u8>>,
    /// Files that are left out, but of which a hard link is kept: for each the first such link, once it has been laid.
    pub(super) left_out: BTreeMap<Vec<u8>, Option<Vec<u8>>>,
}

impl Kept {
    pub(super) fn keeps(&self, path: &[u8]) -> bool {
        path.is_empty() || self.paths.contains(path)
    }

    /// The innermost directory above a path that is kept, if it is not the root.
    pub(super) fn directory_above<'path>(&self, path: &'path [u8]) -> Option<&'path [u8]> {
        parents(path).find(|parent| self.paths.contains(*parent))
    }
}

/// Gathers, of an image's entries, what its whitelists can keep.
pub(super) struct Survey<'layer> {
    whitelists: &'layer [Arc<Whitelist>],
    paths: HashSet<Vec<u8>>,
    links: Vec<(Vec<u8>, Vec<u8>)>,
}

impl<'layer> Survey<'layer> {
    pub(super) fn new(whitelists: &'layer [Arc<Whitelist>]) -> Self {
        Self {
            whitelists,
            paths: HashSet::new(),
            links: Vec::new(),
        }
    }

    /// Notes an entry, and the directories above it.
    pub(super) fn add(&mut self, path: &[u8], kind: &EntryKind) {
        for parent in parents(path) {
            if self.could_keep(parent) && !self.paths.insert(parent.to_vec()) {
                break;
            }
        }
        if self.could_keep(path) {
            self.paths.insert(path.to_vec());
            if let EntryKind::HardLink { target } = kind {
                self.links.push((path.to_vec(), target.as_bytes().to_vec()));
            }
        }
    }

    /// Applies the whitelists one after the other, an image's own before those of the images that depend on it.
    pub(super) fn kept(self) -> Kept {
        let mut paths = self.paths;
        for whitelist in self.whitelists.iter().rev() {
            let mut left = HashSet::new();
            for path in paths.iter().filter(|path| whitelist.paths.contains(*path)) {
                left.extend(parents(path).map(<[u8]>::to_vec));
                left.insert(path.clone());
            }
            paths = left;
        }
        let links = self.links.into_iter();
        let left_out = links
            .filter(|(path, target)| paths.contains(path) && !paths.contains(target))
            .map(|(_, target)| (target, None))
            .collect();
        Kept { paths, left_out }
    }

    /// Whether the first whitelist that is applied can keep a path. What it leaves out, none brings back.
    fn could_keep(&self, path: &[u8]) -> bool {
        self.whitelists
            .last()
            .is_none_or(|whitelist| whitelist.could_keep(path))
    }
}

/// The directories above a path, the innermost first, without the root.
fn parents(path: &[u8]) -> impl Iterator<Item = &[u8]> {
    let slashes = path.iter().enumerate().rev().filter(|(_, byte)| **byte == b'/');
    slashes.map(|(at, _)| &path[..at])
}
