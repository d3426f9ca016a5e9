//! Building an image from a directory.
//!
//! ```text
//!   rootfs ──Selection──► entries, sorted ──OwnerMap, epoch──► TarWriter ──► Compressor ──► archive
//! ```

mod builder;
mod error;
mod owners;
mod selection;

use std::{
    io::Write,
    path::{Path, PathBuf},
};

use self::builder::Builder;
pub use self::{
    error::BuildError,
    owners::{OwnerMap, OwnerMapError},
    selection::{Selection, SelectionError},
};
use crate::{archive::Compression, image_id::ImageId, manifest::ImageManifest};

/// What a build does beside packing what is there.
#[derive(Clone, Debug)]
pub struct BuildOptions {
    /// How the archive is compressed.
    pub compression: Compression,
    /// The latest time an entry may have, in seconds since 1970: later ones become this one, and the manifest's own
    /// is this one (reproducible-builds.org, `SOURCE_DATE_EPOCH`).
    pub source_date_epoch: Option<i64>,
    /// Whose the files are.
    pub owners: OwnerMap,
    /// Which files are packed.
    pub selection: Selection,
}

impl Default for BuildOptions {
    /// gzip, and all files as they are.
    fn default() -> Self {
        Self {
            compression: Compression::Gzip,
            source_date_epoch: None,
            owners: OwnerMap::default(),
            selection: Selection::default(),
        }
    }
}

/// What was built.
#[derive(Clone, Debug)]
pub struct Built {
    /// The image ID.
    pub id: ImageId,
    /// How many bytes the uncompressed tar has.
    pub tar_size: u64,
    /// How many entries the root file system has, its own directory included.
    pub entries: u64,
    /// The sockets that were left out, since no tar can hold them.
    pub sockets: Vec<PathBuf>,
}

/// Packs `rootfs` and a manifest into an archive: manifest first, then the tree in the order of its names, so that
/// the same input gives the same image ID.
///
/// Names of users and groups are not recorded, hard links and extended attributes are.
pub fn build(
    manifest: &ImageManifest,
    rootfs: &Path,
    options: &BuildOptions,
    archive: impl Write,
) -> Result<Built, BuildError> {
    let json = manifest.to_json()?;
    let mut builder = Builder::new(options, archive)?;
    builder.append_manifest(&json)?;
    builder.append_rootfs(rootfs)?;
    builder.finish()
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::symlink};

    use super::*;
    use crate::{
        archive::{EntryKind, RootfsPath, TarReader},
        name::Name,
        read_summary,
    };

    fn packed(rootfs: &Path, epoch: Option<i64>) -> (Built, Vec<u8>) {
        let manifest = ImageManifest::new(Name::new("example.com/app").unwrap());
        let options = BuildOptions {
            source_date_epoch: epoch,
            owners: OwnerMap::all(0, 0),
            ..BuildOptions::default()
        };
        let mut archive = Vec::new();
        let built = build(&manifest, rootfs, &options, &mut archive).unwrap();
        (built, archive)
    }

    fn populate(rootfs: &Path) {
        fs::create_dir_all(rootfs.join("usr/bin")).unwrap();
        fs::write(rootfs.join("usr/bin/tool"), vec![1; 100_000]).unwrap();
        fs::hard_link(rootfs.join("usr/bin/tool"), rootfs.join("usr/bin/also")).unwrap();
        symlink("usr/bin", rootfs.join("bin")).unwrap();
        nix::unistd::mkfifo(&rootfs.join("pipe"), nix::sys::stat::Mode::S_IRUSR).unwrap();
    }

    #[test]
    fn the_same_input_gives_the_same_archive() {
        let (first, second) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        populate(first.path());
        std::thread::sleep(std::time::Duration::from_millis(20));
        populate(second.path());
        let (built, archive) = packed(first.path(), Some(1_500_000_000));
        assert_eq!(
            packed(second.path(), Some(1_500_000_000)).1,
            archive,
            "times are clamped to the epoch"
        );
        let summary = read_summary(archive.as_slice()).unwrap();
        assert_eq!(
            (summary.id, summary.tar_size, summary.entries),
            (built.id, built.tar_size, built.entries)
        );
    }

    fn paths(archive: &[u8]) -> Vec<String> {
        let mut tar = TarReader::new(crate::Decompressor::new(archive).unwrap());
        let mut paths = Vec::new();
        while let Some(entry) = tar.next_entry().unwrap() {
            if !matches!(entry.kind, EntryKind::Manifest { .. }) {
                paths.push(entry.path.to_string());
            }
        }
        paths
    }

    fn selected(rootfs: &Path, selection: Selection) -> Result<Vec<String>, BuildError> {
        let manifest = ImageManifest::new(Name::new("example.com/app").unwrap());
        let options = BuildOptions {
            selection,
            ..BuildOptions::default()
        };
        let mut archive = Vec::new();
        build(&manifest, rootfs, &options, &mut archive)?;
        Ok(paths(&archive))
    }

    #[test]
    fn what_is_excluded_is_left_out_with_all_in_it() {
        let rootfs = tempfile::tempdir().unwrap();
        populate(rootfs.path());
        let mut selection = Selection::default();
        selection.exclude(["/usr", "!/usr/bin/tool", "pipe"]).unwrap();
        assert_eq!(selected(rootfs.path(), selection).unwrap(), ["/", "/bin"]);
        let mut selection = Selection::default();
        selection.exclude(["also"]).unwrap();
        let paths = selected(rootfs.path(), selection).unwrap();
        assert_eq!(paths, ["/", "/bin", "/pipe", "/usr", "/usr/bin", "/usr/bin/tool"]);
    }

    #[test]
    fn a_list_takes_its_files_and_what_leads_to_them() {
        let rootfs = tempfile::tempdir().unwrap();
        populate(rootfs.path());
        fs::create_dir_all(rootfs.path().join("var/empty")).unwrap();
        let list = rootfs.path().join("list");
        fs::write(&list, "usr/bin/tool\n/bin\n").unwrap();
        let mut selection = Selection::default();
        selection.read_list(&list).unwrap();
        let paths = selected(rootfs.path(), selection.clone()).unwrap();
        assert_eq!(paths, ["/", "/bin", "/usr", "/usr/bin", "/usr/bin/tool"]);
        fs::remove_file(rootfs.path().join("usr/bin/tool")).unwrap();
        let error = selected(rootfs.path(), selection).unwrap_err().to_string();
        assert_eq!(error, "`/usr/bin/tool` was listed, and is not in the root file system");
    }

    #[test]
    fn links_are_kept_and_sockets_are_told() {
        let rootfs = tempfile::tempdir().unwrap();
        populate(rootfs.path());
        let socket = rootfs.path().join("socket");
        let _listener = std::os::unix::net::UnixListener::bind(&socket).unwrap();
        let (built, archive) = packed(rootfs.path(), None);
        assert_eq!(built.sockets, [socket]);
        let mut tar = TarReader::new(crate::Decompressor::new(archive.as_slice()).unwrap());
        let mut kinds = std::collections::BTreeMap::new();
        while let Some(entry) = tar.next_entry().unwrap() {
            kinds.insert(entry.path.to_string(), entry.kind);
        }
        let target = RootfsPath::new(b"usr/bin/also").unwrap();
        assert_eq!(kinds["/usr/bin/tool"], EntryKind::HardLink { target });
        assert_eq!(
            kinds["/bin"],
            EntryKind::Symlink {
                target: b"usr/bin".to_vec()
            }
        );
        assert_eq!(kinds["/pipe"], EntryKind::Fifo);
        assert!(!kinds.contains_key("/socket"));
    }
}
