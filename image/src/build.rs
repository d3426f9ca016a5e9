//! Building an image from a directory.

use std::{
    collections::{BTreeMap, HashMap},
    fs::{self, File, Metadata},
    io::{self, Write},
    os::unix::{
        ffi::OsStrExt,
        fs::{FileTypeExt, MetadataExt},
    },
    path::{Path, PathBuf},
};

use sha2::{Digest, Sha512};
use thiserror::Error;

use crate::{
    archive::{Compression, Compressor, Entry, EntryKind, RootfsPath, TarWriter},
    image_id::ImageId,
    manifest::{ImageManifest, ManifestError},
};

/// What a build does beside packing what is there.
#[derive(Clone, Debug)]
pub struct BuildOptions {
    /// How the archive is compressed.
    pub compression: Compression,
    /// The latest time an entry may have, in seconds since 1970: later ones become this one, and the manifest's own
    /// is this one (reproducible-builds.org, `SOURCE_DATE_EPOCH`).
    pub source_date_epoch: Option<i64>,
    /// Makes every file belong to this user and group, whoever owns it here.
    pub owner: Option<(u32, u32)>,
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

/// Why an image could not be built.
#[derive(Debug, Error)]
pub enum BuildError {
    /// The manifest is not valid.
    #[error("the image's manifest would not be valid")]
    Manifest(#[from] ManifestError),
    /// A file of the root file system could not be read.
    #[error("could not read `{path}`")]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A file's name has a part that no image can hold.
    #[error("the name of `{path}` cannot be part of an image")]
    Name {
        /// The file.
        path: PathBuf,
    },
    /// The root file system is no directory.
    #[error("`{path}` is not a directory")]
    NotADirectory {
        /// What was given.
        path: PathBuf,
    },
    /// The archive could not be written.
    #[error("could not write the archive")]
    Write(#[source] io::Error),
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
    let metadata = lstat(rootfs)?;
    if !metadata.is_dir() {
        return Err(BuildError::NotADirectory {
            path: rootfs.to_owned(),
        });
    }
    let json = manifest.to_json()?;
    let compressor = Compressor::new(options.compression, archive).map_err(BuildError::Write)?;
    let mut builder = Builder {
        tar: TarWriter::new(DigestWriter {
            inner: compressor,
            hasher: Sha512::new(),
            size: 0,
        }),
        options,
        links: HashMap::new(),
        entries: 0,
        sockets: Vec::new(),
    };
    builder.append_manifest(&json)?;
    builder.append_tree(rootfs, &RootfsPath::root(), &metadata)?;

    let Builder {
        tar, entries, sockets, ..
    } = builder;
    let digest = tar.finish().map_err(BuildError::Write)?;
    let built = Built {
        id: ImageId::from_sha512(digest.hasher),
        tar_size: digest.size,
        entries,
        sockets,
    };
    digest
        .inner
        .finish()
        .and_then(|mut archive| archive.flush())
        .map_err(BuildError::Write)?;
    Ok(built)
}

struct Builder<'a, W: Write> {
    tar: TarWriter<DigestWriter<Compressor<W>>>,
    options: &'a BuildOptions,
    /// Files with several names: where the first of them went, by device and inode.
    links: HashMap<(u64, u64), RootfsPath>,
    entries: u64,
    sockets: Vec<PathBuf>,
}

impl<W: Write> Builder<'_, W> {
    fn append_manifest(&mut self, json: &[u8]) -> Result<(), BuildError> {
        let entry = Entry {
            kind: EntryKind::Manifest {
                size: json.len() as u64,
            },
            path: RootfsPath::root(),
            mode: 0o644,
            uid: 0,
            gid: 0,
            mtime: self.options.source_date_epoch.unwrap_or(0),
            mtime_nanoseconds: 0,
            xattrs: BTreeMap::new(),
        };
        self.tar.append(&entry, json).map_err(BuildError::Write)
    }

    fn append_tree(&mut self, file: &Path, path: &RootfsPath, metadata: &Metadata) -> Result<(), BuildError> {
        self.append(file, path, metadata)?;
        if !metadata.is_dir() {
            return Ok(());
        }
        let in_file = |source| BuildError::Read {
            path: file.to_owned(),
            source,
        };
        let mut names: Vec<_> = fs::read_dir(file)
            .and_then(|list| list.map(|entry| entry.map(|entry| entry.file_name())).collect())
            .map_err(in_file)?;
        names.sort();
        for name in names {
            let child = file.join(&name);
            let metadata = lstat(&child)?;
            self.append_tree(&child, &path.join(name.as_bytes()), &metadata)?;
        }
        Ok(())
    }

    fn append(&mut self, file: &Path, path: &RootfsPath, metadata: &Metadata) -> Result<(), BuildError> {
        let in_file = |source| BuildError::Read {
            path: file.to_owned(),
            source,
        };
        let Some(kind) = self.kind(file, path, metadata)? else {
            self.sockets.push(file.to_owned());
            return Ok(());
        };
        let (mut mtime, mut mtime_nanoseconds) = (metadata.mtime(), metadata.mtime_nsec());
        if let Some(epoch) = self.options.source_date_epoch
            && (mtime, mtime_nanoseconds) > (epoch, 0)
        {
            (mtime, mtime_nanoseconds) = (epoch, 0);
        }
        let (uid, gid) = self.options.owner.unwrap_or((metadata.uid(), metadata.gid()));
        let entry = Entry {
            path: path.clone(),
            mode: u16::try_from(metadata.mode() & 0o7777).expect("twelve bits are left of it"),
            uid,
            gid,
            mtime,
            mtime_nanoseconds: u32::try_from(mtime_nanoseconds).expect("nanoseconds are below a thousand million"),
            xattrs: match kind {
                EntryKind::HardLink { .. } => BTreeMap::new(),
                _ => xattrs(file).map_err(in_file)?,
            },
            kind,
        };
        self.entries += 1;
        match entry.kind {
            EntryKind::File { .. } => {
                let content = File::open(file).map_err(in_file)?;
                self.tar.append(&entry, content).map_err(in_file)
            }
            _ => self.tar.append(&entry, io::empty()).map_err(BuildError::Write),
        }
    }

    /// What kind of entry a file becomes; `None` for a socket.
    fn kind(&mut self, file: &Path, path: &RootfsPath, metadata: &Metadata) -> Result<Option<EntryKind>, BuildError> {
        let kind = metadata.file_type();
        if kind.is_dir() {
            return Ok(Some(EntryKind::Directory));
        }
        if metadata.nlink() > 1 && !kind.is_socket() {
            match self.links.entry((metadata.dev(), metadata.ino())) {
                std::collections::hash_map::Entry::Occupied(first) => {
                    return Ok(Some(EntryKind::HardLink {
                        target: first.get().clone(),
                    }));
                }
                std::collections::hash_map::Entry::Vacant(vacant) => {
                    vacant.insert(path.clone());
                }
            }
        }
        let (major, minor) = (
            nix::sys::stat::major(metadata.rdev()),
            nix::sys::stat::minor(metadata.rdev()),
        );
        let device = |number: u64| u32::try_from(number).expect("Linux device numbers have at most 32 bits a part");
        Ok(Some(if kind.is_file() {
            EntryKind::File { size: metadata.len() }
        } else if kind.is_symlink() {
            let target = fs::read_link(file).map_err(|source| BuildError::Read {
                path: file.to_owned(),
                source,
            })?;
            EntryKind::Symlink {
                target: target.into_os_string().as_bytes().to_vec(),
            }
        } else if kind.is_char_device() {
            EntryKind::CharDevice {
                major: device(major),
                minor: device(minor),
            }
        } else if kind.is_block_device() {
            EntryKind::BlockDevice {
                major: device(major),
                minor: device(minor),
            }
        } else if kind.is_fifo() {
            EntryKind::Fifo
        } else {
            return Ok(None);
        }))
    }
}

fn lstat(file: &Path) -> Result<Metadata, BuildError> {
    fs::symlink_metadata(file).map_err(|source| BuildError::Read {
        path: file.to_owned(),
        source,
    })
}

/// The extended attributes that belong to the file, and not to this machine's policy or overlays.
fn xattrs(file: &Path) -> io::Result<BTreeMap<Vec<u8>, Vec<u8>>> {
    let names = match xattr::list(file) {
        Ok(names) => names,
        Err(error) if error.raw_os_error() == Some(libc::EOPNOTSUPP) => return Ok(BTreeMap::new()),
        Err(error) => return Err(error),
    };
    let mut xattrs = BTreeMap::new();
    for name in names {
        let bytes = name.as_bytes();
        if bytes.starts_with(b"trusted.") || bytes == b"security.selinux" || bytes.starts_with(b"user.overlay.") {
            continue;
        }
        if let Some(value) = xattr::get(file, &name)? {
            xattrs.insert(bytes.to_vec(), value);
        }
    }
    Ok(xattrs)
}

/// Counts and digests what passes through.
struct DigestWriter<W> {
    inner: W,
    hasher: Sha512,
    size: u64,
}

impl<W: Write> Write for DigestWriter<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.inner.write(bytes)?;
        self.hasher.update(&bytes[..written]);
        self.size += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;
    use crate::{archive::TarReader, name::Name, read_summary};

    fn packed(rootfs: &Path, epoch: Option<i64>) -> (Built, Vec<u8>) {
        let manifest = ImageManifest::new(Name::new("example.com/app").unwrap());
        let options = BuildOptions {
            compression: Compression::Gzip,
            source_date_epoch: epoch,
            owner: Some((0, 0)),
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
