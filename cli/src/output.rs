//! Files that commands write: whole or not at all.

use std::{
    fs::{File, Permissions},
    io::{BufWriter, ErrorKind, Write},
    os::unix::fs::PermissionsExt,
    path::Path,
};

use anyhow::{Context as _, Result, bail};

/// Who may read what is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Readers {
    Everyone,
    /// It holds secrets.
    Owner,
    /// Whoever may read the file that it replaces, and everyone where there is none.
    AsBefore,
}

/// Fails where a file is there that is not to be replaced.
pub(crate) fn check_free(path: &Path, overwrite: bool) -> Result<()> {
    if path.exists() && !overwrite {
        bail!("`{}` exists: --overwrite replaces it", path.display());
    }
    Ok(())
}

/// Writes a file under another name beside its place, and renames it when all is well. If not, nothing is left.
pub(crate) fn write_whole<T>(
    path: &Path,
    readers: Readers,
    write: impl FnOnce(&mut BufWriter<File>) -> Result<T>,
) -> Result<T> {
    let directory = path
        .parent()
        .filter(|parent| !parent.as_os_str().is_empty())
        .unwrap_or(Path::new("."));
    let mode = match readers {
        Readers::Everyone => 0o644,
        Readers::Owner => 0o600,
        Readers::AsBefore => match path.metadata() {
            Ok(metadata) => metadata.permissions().mode() & 0o777,
            Err(error) if error.kind() == ErrorKind::NotFound => 0o644,
            Err(error) => return Err(error).with_context(|| format!("Could not look at `{}`", path.display())),
        },
    };
    let temporary = tempfile::Builder::new()
        .prefix(".dhow-")
        .permissions(Permissions::from_mode(mode))
        .tempfile_in(directory)
        .with_context(|| format!("Could not write in `{}`", directory.display()))?;
    let mut file = BufWriter::with_capacity(128 << 10, temporary.as_file().try_clone()?);
    let value = write(&mut file)?;
    file.flush()?;
    let persisted = temporary.persist(path).map_err(|error| error.error);
    persisted.with_context(|| format!("Could not write `{}`", path.display()))?;
    Ok(value)
}

/// Writes a file of which all is known.
pub(crate) fn write_bytes(path: &Path, readers: Readers, bytes: &[u8]) -> Result<()> {
    write_whole(path, readers, |file| Ok(file.write_all(bytes)?))
}
