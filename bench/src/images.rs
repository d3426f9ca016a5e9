//! [`Images`]: archives of a root file system and of others that are much like it.

use std::{
    collections::BTreeMap,
    fs::{self, File},
    io::{BufWriter, Read, Write as _},
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};
use dhow_image::{BuildOptions, Entry, EntryKind, ImageManifest, Name, RootfsPath, TarWriter, build};
use nix::unistd::syncfs;
use sha2::{Digest, Sha256};

use crate::{
    packs::files,
    program::{Program, text},
};

/// One in so many files differs between two related images.
const SHARE: u8 = 20;

/// Images of one root file system, beside the stores that are measured.
pub struct Images {
    rootfs: PathBuf,
    scratch: PathBuf,
}

/// How the files that differ lie in an image.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// Anywhere.
    Scattered,
    /// All of a directory's, as where a package is upgraded.
    Clustered,
}

impl Images {
    /// Those of `rootfs`, with everything else beneath `scratch`.
    pub fn new(rootfs: &Path, scratch: &Path) -> Result<Self> {
        Ok(Self {
            rootfs: rootfs
                .canonicalize()
                .with_context(|| format!("no `{}`", rootfs.display()))?,
            scratch: scratch.canonicalize()?,
        })
    }

    /// A path beneath the scratch directory.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.scratch.join(name)
    }

    /// Makes way for a path beneath the scratch directory. What was there is put on the disk, or whoever syncs next
    /// would have to, and goes with the scratch directory: for minutes after files were removed, ext4 looks through
    /// their inodes for each new file.
    pub(crate) fn set_aside(&self, name: &str) -> Result<()> {
        let path = self.path(name);
        if path.exists() {
            let mut aside = (0..).map(|number| self.path(&format!("{name}.{number}")));
            let free = aside.find(|aside| !aside.exists()).expect("numbers do not end");
            fs::rename(path, free)?;
        }
        Ok(syncfs(File::open(&self.scratch)?)?)
    }

    /// The root file system as a gzip archive.
    pub(crate) fn archive(&self) -> Result<PathBuf> {
        self.pack(&self.rootfs, "image")
    }

    /// Packs a root file system as a gzip archive.
    pub(crate) fn pack(&self, rootfs: &Path, name: &str) -> Result<PathBuf> {
        let archive = self.path(&format!("{name}.aci"));
        let manifest = ImageManifest::new(Name::new(format!("bench.example/{name}"))?);
        build(&manifest, rootfs, &BuildOptions::default(), File::create(&archive)?)?;
        Ok(archive)
    }

    /// An archive of so many files, a hundred to a directory, each with a content of its own of 1,600 bytes or more.
    pub(crate) fn synthetic(&self, files: usize) -> Result<PathBuf> {
        let archive = self.path("synthetic.aci");
        let manifest = serde_json::to_vec(&ImageManifest::new(Name::new("bench.example/synthetic")?))?;
        let mut tar = TarWriter::new(BufWriter::new(File::create(&archive)?));
        let mut entry = Entry {
            kind: EntryKind::Manifest {
                size: manifest.len() as u64,
            },
            path: RootfsPath::root(),
            mode: 0o644,
            uid: 0,
            gid: 0,
            mtime: 1_400_000_000,
            mtime_nanoseconds: 0,
            xattrs: BTreeMap::new(),
        };
        tar.append(&entry, manifest.as_slice())?;
        for number in 0..files {
            let content = format!("{number:04x}").repeat(400);
            let path = format!("usr/share/{}/file-{number}", number / 100);
            entry.kind = EntryKind::File {
                size: content.len() as u64,
            };
            entry.path = RootfsPath::new(path.as_bytes()).context("a path of plain digits")?;
            entry.mtime = 1_400_000_000 + i64::try_from(number % 5000)?;
            tar.append(&entry, content.as_bytes())?;
        }
        tar.finish()?.flush()?;
        Ok(archive)
    }

    /// The archive's tar as a file.
    pub(crate) fn unpack(&self, archive: &Path) -> Result<PathBuf> {
        let tar = archive.with_extension("tar");
        let mut content = dhow_image::Decompressor::new(File::open(archive)?)?;
        std::io::copy(&mut content, &mut File::create(&tar)?)?;
        Ok(tar)
    }

    /// A copy of the root file system without its devices and pipes, which not every peer holds.
    pub(crate) fn copy(&self, name: &str) -> Result<PathBuf> {
        let copy = self.path(name);
        copy_plain(&self.rootfs, &copy)?;
        Ok(copy)
    }

    /// Such a copy in which one of 20 files has another content of the same size, other ones for each number; and how
    /// many bytes these have.
    pub fn variant(&self, number: u8, change: Change) -> Result<(PathBuf, u64)> {
        let copy = self.copy(&format!("variant-{number}"))?;
        let mut changed = 0;
        for path in files(&copy)? {
            let lies = path.strip_prefix(&copy)?;
            let key = match change {
                Change::Scattered => lies,
                Change::Clustered => lies.parent().unwrap_or(lies),
            };
            let chosen = Sha256::digest(key.as_os_str().as_encoded_bytes())[0] % SHARE == number % SHARE;
            let metadata = path.symlink_metadata()?;
            if metadata.size() > 0 && metadata.nlink() == 1 && chosen {
                change_content(&path, number)?;
                changed += metadata.size();
            }
        }
        Ok((copy, changed))
    }

    /// A store with a trusted key of its own, and the arguments by which `dhow` finds them.
    pub(crate) fn trust(&self) -> Result<()> {
        let config = self.path("config");
        if config.exists() {
            return Ok(());
        }
        let run = |arguments: &[&str]| -> Result<u64> { self.dhow("store", arguments)?.run() };
        let user = "Bench <bench@bench.example>";
        // rkt verifies nothing newer than RSA.
        run(&["key", "generate", user, "--no-passphrase", "--algorithm", "rsa"])?;
        let public = self.public_key();
        run(&["key", "export", "bench@bench.example", "-o", text(&public)?])?;
        run(&["trust", "add", "--prefix", "bench.example", "--yes", text(&public)?])?;
        Ok(())
    }

    /// The key that [`Self::trust`] makes, for other programs to trust.
    pub(crate) fn public_key(&self) -> PathBuf {
        self.path("bench.asc")
    }

    /// Signs an archive.
    pub(crate) fn sign(&self, archive: &Path) -> Result<()> {
        self.trust()?;
        self.dhow("store", &["sign", text(archive)?])?.run()?;
        Ok(())
    }

    /// `dhow` with a store of this name.
    pub(crate) fn dhow(&self, store: &str, arguments: &[&str]) -> Result<Program> {
        let (store, config) = (self.path(store), self.path("config"));
        let places = ["--dir", text(&store)?, "--config-dir", text(&config)?];
        Ok(Program::dhow()?.args(places).args(arguments))
    }
}

/// Copies a tree without its devices, pipes and sockets.
pub(crate) fn copy_plain(tree: &Path, copy: &Path) -> Result<()> {
    Program::new("cp").args(["-a", text(tree)?, text(copy)?]).run()?;
    let mut directories = vec![copy.to_owned()];
    while let Some(directory) = directories.pop() {
        for entry in fs::read_dir(&directory)? {
            let (path, kind) = entry.and_then(|entry| Ok((entry.path(), entry.file_type()?)))?;
            if kind.is_dir() {
                directories.push(path);
            } else if !kind.is_file() && !kind.is_symlink() {
                fs::remove_file(&path)?;
            }
        }
    }
    Ok(())
}

/// Flips bits all over a file: its size stays, and none of its blocks.
fn change_content(path: &Path, number: u8) -> Result<()> {
    let mut content = Vec::new();
    File::open(path)?.read_to_end(&mut content)?;
    for byte in content.iter_mut().step_by(64) {
        *byte ^= number | 0x80;
    }
    fs::write(path, content)?;
    Ok(())
}
