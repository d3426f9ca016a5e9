//! Every tree against what its image is rendered to.

use std::{
    collections::HashSet,
    ffi::OsStr,
    fs::{self, File, Metadata},
    io::{self, Read, Write},
    os::unix::{ffi::OsStrExt, fs::MetadataExt},
    path::Path,
};

use dhow_image::ImageId;
use nix::{sys::stat::SFlag, unistd::geteuid};

use super::{Checked, Finding, Remedy};
use crate::{
    error::StoreError,
    object::ObjectId,
    render::{layers, render},
    roots::Images,
    store::Store,
    tree::{Content, Node, NodeKind, Tree, write_erofs},
    trees::Trees,
    way::Way,
};

pub(super) fn check(
    store: &Store,
    incomplete: &HashSet<ImageId>,
    checked: &mut Checked,
    findings: &mut Vec<Finding>,
) -> Result<(), StoreError> {
    let trees = Trees::of(store, &Images::of(store)?)?;
    for present in trees.present() {
        let name = present.path.file_name().unwrap_or_default().to_string_lossy();
        if !Way::ALL.iter().any(|way| name.ends_with(way.as_str())) {
            findings.push(Finding {
                path: present.path.clone(),
                problem: "is no tree".to_owned(),
                remedy: Remedy::QuarantineFile,
            });
        }
        let Some(origin) = present.of.filter(|origin| !incomplete.contains(&origin.image)) else {
            continue;
        };
        // Of what is removed meanwhile there is nothing to be said.
        let rendered = layers(store, &origin.image).and_then(|layers| {
            // What it is made of may be incomplete itself.
            let is_whole = layers.iter().all(|layer| !incomplete.contains(&layer.id));
            is_whole.then(|| render(store, &layers)).transpose()
        });
        let Ok(Some(tree)) = rendered else { continue };
        checked.trees += 1;
        let problem = match origin.way {
            Way::Composefs => erofs_problem(&tree, &present.path),
            way => directory_problem(&tree, &present.path, way),
        };
        if let Some(problem) = problem
            && present.path.exists()
            && store.contains(&origin.image)
        {
            findings.push(Finding {
                path: present.path.clone(),
                problem,
                remedy: Remedy::RemoveTree,
            });
        }
    }
    Ok(())
}

fn erofs_problem(tree: &Tree, path: &Path) -> Option<String> {
    let mut file = match File::open(path) {
        Ok(file) => Comparison {
            file: io::BufReader::new(file),
        },
        Err(error) => return Some(format!("cannot be read: {error}")),
    };
    let differs = || Some("is not what its image is rendered to".to_owned());
    match write_erofs(tree, &mut file) {
        Err(_) => differs(),
        Ok(_) => match file.file.read(&mut [0]) {
            Ok(0) => None,
            _ => differs(),
        },
    }
}

/// A writer that fails where what is written is not what the file holds.
struct Comparison {
    file: io::BufReader<File>,
}

impl Write for Comparison {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut there = vec![0; bytes.len()];
        self.file.read_exact(&mut there)?;
        match there == bytes {
            true => Ok(bytes.len()),
            false => Err(io::ErrorKind::InvalidData.into()),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn directory_problem(tree: &Tree, directory: &Path, way: Way) -> Option<String> {
    let is_root = geteuid().is_root();
    let mut expected = HashSet::new();
    for visit in tree.iter() {
        let path = directory.join(OsStr::from_bytes(&visit.path));
        let Ok(node) = tree.node(visit.id) else {
            return Some("cannot be compared".to_owned());
        };
        let at = |problem: &str| Some(format!("is damaged: `{}` {problem}", visit.path.escape_ascii()));
        let is_device = matches!(node.kind(), NodeKind::CharDevice { .. } | NodeKind::BlockDevice { .. });
        let file = match fs::symlink_metadata(&path) {
            Ok(file) => file,
            // An ordinary user makes no devices.
            Err(error) if error.kind() == io::ErrorKind::NotFound && is_device && !is_root => continue,
            Err(error) => return at(&format!("cannot be read: {error}")),
        };
        match differs(&node, &file, &path, way) {
            Ok(None) => {}
            Ok(Some(what)) => return at(&format!("has another {what}")),
            Err(error) => return at(&format!("cannot be read: {error}")),
        }
        expected.insert(path);
    }
    match stranger(directory, &expected) {
        Ok(None) => None,
        Ok(Some(path)) => Some(format!("is damaged: `{path}` is not in its image")),
        Err(error) => Some(format!("cannot be read: {error}")),
    }
}

/// In what a file differs from the node that it was made of.
fn differs(node: &Node, file: &Metadata, path: &Path, way: Way) -> io::Result<Option<&'static str>> {
    let metadata = node.metadata();
    let kind = match node.kind() {
        NodeKind::Directory => SFlag::S_IFDIR,
        NodeKind::File(_) => SFlag::S_IFREG,
        NodeKind::Symlink(_) => SFlag::S_IFLNK,
        NodeKind::Fifo => SFlag::S_IFIFO,
        NodeKind::Socket => SFlag::S_IFSOCK,
        NodeKind::CharDevice { .. } => SFlag::S_IFCHR,
        NodeKind::BlockDevice { .. } => SFlag::S_IFBLK,
    };
    if file.mode() & SFlag::S_IFMT.bits() != kind.bits() {
        return Ok(Some("kind"));
    }
    if kind != SFlag::S_IFLNK && file.mode() & 0o7777 != u32::from(metadata.mode) {
        return Ok(Some("mode"));
    }
    if geteuid().is_root() && (file.uid(), file.gid()) != (metadata.uid, metadata.gid) {
        return Ok(Some("owner"));
    }
    if file.mtime() != metadata.mtime_seconds {
        return Ok(Some("time"));
    }
    let same = match node.kind() {
        NodeKind::Symlink(target) => fs::read_link(path)?.as_os_str().as_bytes() == target.as_slice(),
        NodeKind::File(Content::Inline(bytes)) => file.len() == bytes.len() as u64 && fs::read(path)? == *bytes,
        NodeKind::File(Content::Object { id, size }) if way == Way::Stubs => {
            let redirect = xattr::get(path, "user.overlay.redirect")?;
            file.len() == *size && redirect == Some(format!("/{}", id.relative_path()).into_bytes())
        }
        NodeKind::File(Content::Object { id, size }) => file.len() == *size && ObjectId::of(File::open(path)?)? == *id,
        _ => true,
    };
    Ok((!same).then_some("content"))
}

/// A file beneath `directory` that is not expected.
fn stranger(directory: &Path, expected: &HashSet<std::path::PathBuf>) -> io::Result<Option<String>> {
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        let path = entry.path();
        if !expected.contains(&path) {
            return Ok(Some(path.display().to_string()));
        }
        if entry.file_type()?.is_dir()
            && let Some(found) = stranger(&path, expected)?
        {
            return Ok(Some(found));
        }
    }
    Ok(None)
}
