//! [`tree`] and [`differences`]: whole directory trees, compared with everything that a file system keeps of them.

use std::{
    collections::{BTreeMap, HashMap},
    fs,
    hash::{DefaultHasher, Hasher},
    os::unix::fs::{FileTypeExt, MetadataExt},
    path::{Path, PathBuf},
};

/// Every path beneath `root` (which is the empty one) with what it is: kind, mode, owner, device numbers, time to the
/// nanosecond, extended attributes, target or content, and with which other paths it shares its inode.
pub fn tree(root: &Path) -> BTreeMap<PathBuf, String> {
    let mut tree = BTreeMap::new();
    let mut links: HashMap<u64, PathBuf> = HashMap::new();
    let mut pending = vec![root.to_owned()];
    let mut paths = Vec::new();
    while let Some(path) = pending.pop() {
        let metadata = fs::symlink_metadata(&path).expect("the tree can be read");
        if metadata.is_dir() {
            let entries = fs::read_dir(&path).expect("the tree can be read");
            pending.extend(entries.map(|entry| entry.expect("the tree can be read").path()));
        }
        paths.push((path, metadata));
    }
    paths.sort_by(|one, other| one.0.cmp(&other.0));
    for (path, metadata) in paths {
        let relative = path.strip_prefix(root).expect("the walk began there").to_owned();
        let kind = metadata.file_type();
        let what = if kind.is_dir() {
            "directory".to_owned()
        } else if kind.is_symlink() {
            format!("link to {:?}", fs::read_link(&path).expect("the tree can be read"))
        } else if kind.is_file() {
            let mut hasher = DefaultHasher::new();
            hasher.write(&fs::read(&path).expect("the tree can be read"));
            format!("file of {} bytes, {:016x}", metadata.len(), hasher.finish())
        } else if kind.is_char_device() || kind.is_block_device() {
            format!("device {:x}", metadata.rdev())
        } else {
            format!("{kind:?}")
        };
        let mut shared = String::new();
        if !kind.is_dir() && metadata.nlink() > 1 {
            let first = links.entry(metadata.ino()).or_insert_with(|| relative.clone());
            shared = format!(", one with {first:?}");
        }
        let mut xattrs = BTreeMap::new();
        for name in xattr::list(&path).expect("the tree can be read") {
            let value = xattr::get(&path, &name).expect("the tree can be read");
            xattrs.insert(name, value);
        }
        let (mode, uid, gid) = (metadata.mode(), metadata.uid(), metadata.gid());
        let (seconds, nanoseconds) = (metadata.mtime(), metadata.mtime_nsec());
        let text = format!("{what}, {mode:o}, {uid}:{gid}, {seconds}.{nanoseconds:09}, {xattrs:?}{shared}");
        tree.insert(relative, text);
    }
    tree
}

/// What two trees differ in, a line for each path; empty where they are the same.
pub fn differences(one: &BTreeMap<PathBuf, String>, other: &BTreeMap<PathBuf, String>) -> Vec<String> {
    let paths: std::collections::BTreeSet<_> = one.keys().chain(other.keys()).collect();
    let line = |path: &&PathBuf| {
        let (one, other) = (one.get(*path), other.get(*path));
        (one != other).then(|| format!("{path:?}:\n  {one:?}\n  {other:?}"))
    };
    paths.iter().filter_map(line).collect()
}
