//! [`Builder`]: the walk over a root file system.

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

use super::{BuildError, BuildOptions, Built};
use crate::{
    ImageId, Sha512,
    archive::{Compressor, DigestWriter, Entry, EntryKind, RootfsPath, TarWriter},
};

/// Writes one archive.
pub(super) struct Builder<'a, W: Write> {
    tar: TarWriter<DigestWriter<Compressor<W>, Sha512>>,
    options: &'a BuildOptions,
    /// Files with several names: where the first of them went, by device and inode.
    links: HashMap<(u64, u64), RootfsPath>,
    entries: u64,
    sockets: Vec<PathBuf>,
    /// Directories that are entries only if something in them is.
    pending: Vec<(PathBuf, RootfsPath, Metadata)>,
}

impl<'a, W: Write> Builder<'a, W> {
    pub(super) fn new(options: &'a BuildOptions, archive: W) -> Result<Self, BuildError> {
        let compressor = Compressor::new(options.compression, archive).map_err(BuildError::Write)?;
        Ok(Self {
            tar: TarWriter::new(DigestWriter::new(compressor)),
            options,
            links: HashMap::new(),
            entries: 0,
            sockets: Vec::new(),
            pending: Vec::new(),
        })
    }

    pub(super) fn append_rootfs(&mut self, rootfs: &Path) -> Result<(), BuildError> {
        // What is given may be a link to a directory; what is in it is never followed.
        let in_rootfs = |source| BuildError::Read {
            path: rootfs.to_owned(),
            source,
        };
        let metadata = fs::metadata(rootfs).map_err(in_rootfs)?;
        if !metadata.is_dir() {
            return Err(BuildError::NotADirectory {
                path: rootfs.to_owned(),
            });
        }
        if let Some(path) = self.options.selection.first_missing(rootfs) {
            return Err(BuildError::Missing { path });
        }
        self.append(rootfs, &RootfsPath::root(), &metadata)?;
        self.append_children(rootfs, &RootfsPath::root())
    }

    pub(super) fn finish(self) -> Result<Built, BuildError> {
        let (hasher, tar_size, compressor) = self.tar.finish().map_err(BuildError::Write)?.finish();
        compressor
            .finish()
            .and_then(|mut archive| archive.flush())
            .map_err(BuildError::Write)?;
        Ok(Built {
            id: ImageId::from_sha512(hasher),
            tar_size,
            entries: self.entries,
            sockets: self.sockets,
        })
    }

    pub(super) fn append_manifest(&mut self, json: &[u8]) -> Result<(), BuildError> {
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

    fn append_children(&mut self, directory: &Path, path: &RootfsPath) -> Result<(), BuildError> {
        let mut names: Vec<_> = fs::read_dir(directory)
            .and_then(|list| list.map(|entry| entry.map(|entry| entry.file_name())).collect())
            .map_err(|source| BuildError::Read {
                path: directory.to_owned(),
                source,
            })?;
        names.sort();
        for name in names {
            let file = directory.join(&name);
            let metadata = lstat(&file)?;
            self.append_selected(&file, &path.join(name.as_bytes()), metadata)?;
        }
        Ok(())
    }

    /// Appends a file and what is in it, as far as it is selected.
    fn append_selected(&mut self, file: &Path, path: &RootfsPath, metadata: Metadata) -> Result<(), BuildError> {
        let is_directory = metadata.is_dir();
        let selection = &self.options.selection;
        if selection.takes(path, is_directory) {
            for (file, path, metadata) in std::mem::take(&mut self.pending) {
                self.append(&file, &path, &metadata)?;
            }
            self.append(file, path, &metadata)?;
            if is_directory {
                self.append_children(file, path)?;
            }
        } else if is_directory && selection.may_take_inside(path) {
            self.pending.push((file.to_owned(), path.clone(), metadata));
            self.append_children(file, path)?;
            // Still there, if nothing in it was taken.
            self.pending.retain(|(_, pending, _)| pending != path);
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
        let (uid, gid) = self.options.owners.map(metadata.uid(), metadata.gid());
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
