//! Secrets in files of their own.

use std::{fs, path::Path};

use anyhow::{Context as _, Result};
use dhow_fetchers::Secret;

/// The first line of a file, for logins.
pub(super) fn read(path: &Path) -> Result<Secret> {
    first_line(path).map(Secret::new)
}

/// The first line of a file.
pub(super) fn first_line(path: &Path) -> Result<String> {
    let text = fs::read_to_string(path).with_context(|| format!("Could not read `{}`", path.display()))?;
    Ok(text.lines().next().unwrap_or_default().to_owned())
}
