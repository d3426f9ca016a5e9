//! An image with those it depends on as one image that depends on none.

use std::{
    collections::{BTreeMap, HashMap},
    fs::File,
    io::{self, Read, Write},
};

use dhow_image::{Entry, EntryKind, ImageId, ImageManifest, RootfsPath, TarWriter};

use crate::{
    error::StoreError,
    render::{layers, render},
    store::Store,
    tree::{Content, NodeId, NodeKind, Tree},
};

impl Store {
    /// Writes the tar of an image whose root file system is the rendered one of `id` (appc spec, ace.md, "Filesystem
    /// Setup"), and whose manifest is that of `id` without dependencies and without a whitelist, which have been
    /// obeyed. Gives that manifest.
    pub fn flatten(&self, id: &ImageId, out: impl Write) -> Result<ImageManifest, StoreError> {
        let mut manifest = self.manifest(id)?;
        manifest.dependencies.clear();
        manifest.path_whitelist.clear();
        let tree = render(self, &layers(self, id)?)?;
        let json = manifest.to_json().expect("a manifest that was read can be written");
        self.write(&tree, &json, out).map_err(StoreError::io("tmp"))?;
        Ok(manifest)
    }

    fn write(&self, tree: &Tree, manifest: &[u8], out: impl Write) -> io::Result<()> {
        let mut tar = TarWriter::new(out);
        let size = manifest.len() as u64;
        tar.append(&manifest_entry(size), manifest)?;
        let mut first_names: HashMap<NodeId, RootfsPath> = HashMap::new();
        for visit in tree.iter() {
            let node = tree.node(visit.id).map_err(io::Error::other)?;
            let path = RootfsPath::new(&visit.path).expect("a tree's paths are those of an image");
            let mut content: Box<dyn Read> = Box::new(io::empty());
            let kind = match (first_names.get(&visit.id), node.kind()) {
                (_, NodeKind::Directory) => EntryKind::Directory,
                (Some(first), _) => EntryKind::HardLink { target: first.clone() },
                (None, NodeKind::File(file)) => {
                    content = match file {
                        Content::Inline(bytes) => Box::new(bytes.as_slice()),
                        Content::Object { id, .. } => {
                            Box::new(File::open(self.objects_dir().join(id.relative_path()))?)
                        }
                    };
                    EntryKind::File { size: file.size() }
                }
                (None, NodeKind::Symlink(target)) => EntryKind::Symlink { target: target.clone() },
                (None, &NodeKind::CharDevice { major, minor }) => EntryKind::CharDevice { major, minor },
                (None, &NodeKind::BlockDevice { major, minor }) => EntryKind::BlockDevice { major, minor },
                (None, NodeKind::Fifo) => EntryKind::Fifo,
                // No archive has one, so that no rendered image does.
                (None, NodeKind::Socket) => continue,
            };
            let metadata = node.metadata();
            let is_link = matches!(kind, EntryKind::HardLink { .. });
            let entry = Entry {
                kind,
                path: path.clone(),
                mode: metadata.mode,
                uid: metadata.uid,
                gid: metadata.gid,
                mtime: metadata.mtime_seconds,
                mtime_nanoseconds: metadata.mtime_nanoseconds,
                xattrs: if is_link {
                    BTreeMap::new()
                } else {
                    metadata.xattrs.clone()
                },
            };
            tar.append(&entry, content)?;
            if tree.links(visit.id) > 1 && !tree.is_directory(visit.id) {
                first_names.entry(visit.id).or_insert(path);
            }
        }
        tar.finish()?.flush()
    }
}

fn manifest_entry(size: u64) -> Entry {
    Entry {
        kind: EntryKind::Manifest { size },
        path: RootfsPath::root(),
        mode: 0o644,
        uid: 0,
        gid: 0,
        mtime: 0,
        mtime_nanoseconds: 0,
        xattrs: BTreeMap::new(),
    }
}
