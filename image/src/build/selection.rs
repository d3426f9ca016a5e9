//! [`Selection`]: which files of a root file system are packed.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

use ignore::gitignore::{Gitignore, GitignoreBuilder};
use thiserror::Error;

use crate::archive::RootfsPath;

/// The files that are packed: all, or those that are listed; and of these none that a pattern excludes.
#[derive(Clone, Debug, Default)]
pub struct Selection {
    excluded: Option<Gitignore>,
    listed: Option<BTreeSet<RootfsPath>>,
}

/// Why files could not be selected.
#[derive(Debug, Error)]
pub enum SelectionError {
    /// A pattern is none.
    #[error("`{pattern}` is not a pattern as `.gitignore` has them")]
    Pattern {
        /// The pattern.
        pattern: String,
        /// What is wrong with it.
        #[source]
        source: ignore::Error,
    },
    /// A list could not be read.
    #[error("could not read `{}`", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// A path cannot be in an image.
    #[error("`{path}` in `{}` cannot be in an image", list.display())]
    Path {
        /// The path.
        path: String,
        /// The list that has it.
        list: PathBuf,
    },
}

impl Selection {
    /// Excludes what these patterns match, as the lines of a `.gitignore` in the root directory would: later patterns
    /// win, `!` takes back, a leading slash means the root, a trailing one a directory.
    pub fn exclude(&mut self, patterns: impl IntoIterator<Item = impl AsRef<str>>) -> Result<(), SelectionError> {
        let mut builder = GitignoreBuilder::new("");
        let mut last = String::new();
        for pattern in patterns {
            last = pattern.as_ref().to_owned();
            let added = builder.add_line(None, &last);
            added.map_err(|source| SelectionError::Pattern {
                pattern: last.clone(),
                source,
            })?;
        }
        let excluded = builder
            .build()
            .map_err(|source| SelectionError::Pattern { pattern: last, source })?;
        self.excluded = (!excluded.is_empty()).then_some(excluded);
        Ok(())
    }

    /// Takes only the files that are listed, a path a line, and the directories that lead to them.
    pub fn read_list(&mut self, list: &Path) -> Result<(), SelectionError> {
        let text = fs::read(list).map_err(|source| SelectionError::Read {
            path: list.to_owned(),
            source,
        })?;
        let mut listed = BTreeSet::new();
        for line in text.split(|&byte| byte == b'\n').filter(|line| !line.is_empty()) {
            listed.insert(RootfsPath::new(line).ok_or_else(|| SelectionError::Path {
                path: String::from_utf8_lossy(line).into_owned(),
                list: list.to_owned(),
            })?);
        }
        self.listed = Some(listed);
        Ok(())
    }

    /// Whether a file is packed.
    pub(super) fn takes(&self, path: &RootfsPath, is_directory: bool) -> bool {
        let is_listed = self.listed.as_ref().is_none_or(|listed| listed.contains(path));
        is_listed && !self.excludes(path, is_directory)
    }

    /// Whether something in a directory may be packed that is not packed itself.
    pub(super) fn may_take_inside(&self, directory: &RootfsPath) -> bool {
        !self.excludes(directory, true)
    }

    /// A listed path that is not there.
    pub(super) fn first_missing(&self, rootfs: &Path) -> Option<String> {
        let mut listed = self.listed.iter().flatten();
        let missing = listed.find(|path| rootfs.join(path.as_path()).symlink_metadata().is_err());
        missing.map(ToString::to_string)
    }

    fn excludes(&self, path: &RootfsPath, is_directory: bool) -> bool {
        let excluded = self.excluded.as_ref();
        excluded.is_some_and(|excluded| excluded.matched(path.as_path(), is_directory).is_ignore())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn patterns_are_those_of_gitignore() {
        let mut selection = Selection::default();
        selection.exclude(["*.pyc", "/tmp/*", "!/tmp/keep", "cache/"]).unwrap();
        let takes =
            |path: &str, is_directory| selection.takes(&RootfsPath::new(path.as_bytes()).unwrap(), is_directory);
        assert!(!takes("usr/lib/a.pyc", false));
        assert!(!takes("tmp/x", false));
        assert!(takes("tmp", true) && takes("tmp/keep", false));
        assert!(takes("usr/tmp/x", false), "a slash in front means the root");
        assert!(!takes("var/cache", true));
        assert!(takes("var/cache", false), "a slash at the end means a directory");
    }
}
