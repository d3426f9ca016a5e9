//! What is in an archive: how much, of which kinds, and where.

use std::{collections::BTreeMap, io::Read};

use serde::Serialize;

use crate::{
    archive::{ArchiveError, Compression, Entry, EntryKind, Limits, RootfsPath, TarReader, with_tar},
    image_id::ImageId,
    manifest::ImageManifest,
};

/// What an archive holds.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Inspection {
    /// The image ID.
    pub id: ImageId,
    /// How it is compressed.
    pub compression: Compression,
    /// How many bytes the uncompressed tar has.
    pub tar_size: u64,
    /// How many bytes the contents of its files have together.
    pub content_size: u64,
    /// Its entries beside the manifest, by their kinds.
    pub entries: EntryCounts,
    /// Its directories down to the depth that was asked for, largest first, each with all that is beneath it.
    pub directories: Vec<DirectorySize>,
    /// The manifest.
    pub manifest: ImageManifest,
}

/// How many entries there are of each kind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct EntryCounts {
    /// Regular files, other names of the same not counted.
    pub files: u64,
    /// Directories.
    pub directories: u64,
    /// Symbolic links.
    pub symlinks: u64,
    /// Other names of files.
    pub hard_links: u64,
    /// Character and block devices.
    pub devices: u64,
    /// Named pipes.
    pub fifos: u64,
    /// How many of all these are set-user-ID or set-group-ID programs.
    pub set_id: u64,
    /// How many of all these have extended attributes.
    pub with_xattrs: u64,
}

/// How much is in a directory and all those beneath it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct DirectorySize {
    /// Its path in the root file system, beginning with a slash.
    pub path: String,
    /// How many bytes the contents of the files have.
    pub size: u64,
    /// How many files there are.
    pub files: u64,
}

impl EntryCounts {
    /// All entries together.
    pub fn total(&self) -> u64 {
        self.files + self.directories + self.symlinks + self.hard_links + self.devices + self.fifos
    }

    fn add(&mut self, entry: &Entry) {
        let counter = match entry.kind {
            EntryKind::Manifest { .. } => return,
            EntryKind::File { .. } => &mut self.files,
            EntryKind::Directory => &mut self.directories,
            EntryKind::Symlink { .. } => &mut self.symlinks,
            EntryKind::HardLink { .. } => &mut self.hard_links,
            EntryKind::CharDevice { .. } | EntryKind::BlockDevice { .. } => &mut self.devices,
            EntryKind::Fifo => &mut self.fifos,
        };
        *counter += 1;
        let is_program = matches!(entry.kind, EntryKind::File { .. });
        self.set_id += u64::from(is_program && entry.mode & 0o6000 != 0);
        self.with_xattrs += u64::from(!entry.xattrs.is_empty());
    }
}

/// Reads an archive to its end, checks it, and tells what is in it; directories down to `depth` below the root.
pub fn inspect(mut archive: impl Read + Send, depth: usize, limits: Limits) -> Result<Inspection, ArchiveError> {
    let mut start = Vec::new();
    archive.by_ref().take(6).read_to_end(&mut start)?;
    let compression = Compression::detect(&start)?;
    let mut entries = EntryCounts::default();
    let mut directories: BTreeMap<Vec<u8>, (u64, u64)> = BTreeMap::new();
    let (manifest, id, tar_size) = with_tar(start.as_slice().chain(archive), |tar| {
        let mut tar = TarReader::with_limits(tar, limits);
        let mut manifest = None;
        while let Some(entry) = tar.next_entry()? {
            tar.take_framing();
            entries.add(&entry);
            match entry.kind {
                EntryKind::Manifest { .. } => manifest = Some(tar.read_manifest()?.0),
                EntryKind::File { size } => {
                    for directory in directories_of(&entry.path, depth) {
                        let (total, files) = directories.entry(directory).or_default();
                        *total += size;
                        *files += 1;
                    }
                }
                EntryKind::Directory if entry.path.parts().count() <= depth => {
                    directories.entry(entry.path.as_bytes().to_vec()).or_default();
                }
                _ => {}
            }
        }
        manifest.ok_or(ArchiveError::NoManifest)
    })?;
    let content_size = directories.get(&b""[..]).map_or(0, |(size, _)| *size);
    let in_root = |(path, (size, files)): (Vec<u8>, (u64, u64))| DirectorySize {
        path: format!("/{}", String::from_utf8_lossy(&path)),
        size,
        files,
    };
    let mut directories: Vec<DirectorySize> = directories.into_iter().map(in_root).collect();
    directories.sort_by_key(|directory| std::cmp::Reverse(directory.size));
    Ok(Inspection {
        id,
        compression,
        tar_size,
        content_size,
        entries,
        directories,
        manifest,
    })
}

/// The directories above a file, down to `depth` below the root.
fn directories_of(path: &RootfsPath, depth: usize) -> Vec<Vec<u8>> {
    let mut directories = vec![Vec::new()];
    let parts: Vec<&[u8]> = path.parts().collect();
    for length in 1..parts.len().min(depth + 1) {
        directories.push(parts[..length].join(&b'/'));
    }
    directories
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::{fs, os::unix::fs::PermissionsExt, process::Command};

    use super::*;

    #[test]
    fn sizes_and_kinds_are_counted() {
        let directory = tempfile::tempdir().unwrap();
        let path = |name: &str| directory.path().join(name);
        fs::create_dir_all(path("rootfs/usr/lib/deep")).unwrap();
        fs::create_dir_all(path("rootfs/etc")).unwrap();
        fs::write(
            path("manifest"),
            r#"{"acKind":"ImageManifest","acVersion":"0.8.11","name":"example.com/a"}"#,
        )
        .unwrap();
        fs::write(path("rootfs/usr/lib/deep/one"), [1; 3000]).unwrap();
        fs::write(path("rootfs/usr/lib/two"), [2; 500]).unwrap();
        fs::hard_link(path("rootfs/usr/lib/two"), path("rootfs/usr/lib/two-again")).unwrap();
        fs::write(path("rootfs/etc/three"), [3; 40]).unwrap();
        fs::set_permissions(path("rootfs/etc/three"), fs::Permissions::from_mode(0o4755)).unwrap();
        std::os::unix::fs::symlink("three", path("rootfs/etc/link")).unwrap();
        nix::unistd::mkfifo(&path("rootfs/pipe"), nix::sys::stat::Mode::S_IRUSR).unwrap();
        let tar = Command::new("tar")
            .current_dir(directory.path())
            .args(["-cj", "--sort=name", "manifest", "rootfs"])
            .output()
            .unwrap();
        assert!(tar.status.success(), "{tar:?}");

        let inspection = inspect(tar.stdout.as_slice(), 2, Limits::default()).unwrap();
        assert_eq!(inspection.compression, Compression::Bzip2);
        assert_eq!(inspection.content_size, 3540);
        let expected = EntryCounts {
            files: 3,
            directories: 5,
            symlinks: 1,
            hard_links: 1,
            fifos: 1,
            set_id: 1,
            ..EntryCounts::default()
        };
        assert_eq!(inspection.entries, expected);
        let sizes: Vec<_> = inspection
            .directories
            .iter()
            .map(|it| (it.path.as_str(), it.size, it.files))
            .collect();
        assert_eq!(
            sizes,
            [
                ("/", 3540, 3),
                ("/usr", 3500, 2),
                ("/usr/lib", 3500, 2),
                ("/etc", 40, 1)
            ]
        );
        let root_only = inspect(tar.stdout.as_slice(), 0, Limits::default()).unwrap();
        assert_eq!(root_only.directories.len(), 1);
        assert_eq!(root_only.id, inspection.id);
    }
}
