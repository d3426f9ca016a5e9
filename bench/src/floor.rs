//! Floors: the least that has to be done to an archive, without any of what a store is for.

use std::{
    collections::HashSet,
    fs::{self, File},
    io::{Read, Write},
    path::Path,
};

use anyhow::Result;
use dhow_image::with_tar;
use sha2::{Digest, Sha256};

/// Decompresses an archive and takes the SHA-512 of its tar, on a thread each.
pub(crate) fn hash(archive: &Path) -> Result<()> {
    with_tar(File::open(archive)?, |_| anyhow::Ok(()))?;
    Ok(())
}

/// Decompresses, takes the SHA-512 of the tar, and, on a third thread, the SHA-256 of each content, which is written
/// once, to a file of that name. Nothing is synced, unless `sync` says so: once, at the end.
pub(crate) fn hash_and_write(archive: &Path, directory: &Path, sync: bool) -> Result<()> {
    for first in 0..=255 {
        fs::create_dir_all(directory.join(format!("{first:02x}")))?;
    }
    with_tar(File::open(archive)?, |tar| {
        let mut seen = HashSet::new();
        let mut content = Vec::new();
        let mut tar = tar::Archive::new(tar);
        for entry in tar.entries()? {
            let mut entry = entry?;
            if !entry.header().entry_type().is_file() || entry.size() == 0 {
                continue;
            }
            content.clear();
            entry.read_to_end(&mut content)?;
            let digest = Sha256::digest(&content);
            if seen.insert(digest) {
                let name = hex::encode(digest);
                File::create_new(directory.join(&name[..2]).join(&name[2..]))?.write_all(&content)?;
            }
        }
        anyhow::Ok(())
    })?;
    if sync {
        nix::unistd::syncfs(File::open(directory)?)?;
    }
    Ok(())
}
