//! [`Usage`]: what a directory takes of its file system, as `du` counts it.

use std::{collections::HashSet, fmt, fs, os::unix::fs::MetadataExt, path::Path};

use anyhow::Result;

/// Bytes and files.
#[derive(Clone, Copy, Default)]
pub(crate) struct Usage {
    /// What is allocated for it, in bytes.
    pub(crate) bytes: u64,
    /// How many inodes it has: files, links and directories.
    pub(crate) files: u64,
}

impl Usage {
    pub(crate) fn of(directory: &Path) -> Result<Self> {
        let mut usage = Self::default();
        usage.add(directory, &mut HashSet::new())?;
        Ok(usage)
    }

    fn add(&mut self, path: &Path, seen: &mut HashSet<u64>) -> Result<()> {
        let metadata = path.symlink_metadata()?;
        if !seen.insert(metadata.ino()) {
            return Ok(());
        }
        self.bytes += metadata.blocks() * 512;
        self.files += 1;
        if metadata.is_dir() {
            for entry in fs::read_dir(path)? {
                self.add(&entry?.path(), seen)?;
            }
        }
        Ok(())
    }
}

impl fmt::Display for Usage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:>8.2} MB in {:>6} files", self.bytes as f64 / 1e6, self.files)
    }
}
