use std::io;

/// Why a tree could not be built, written or mounted.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TreeError {
    /// A path that no file of an image can have.
    #[error("`{path}` is not a path inside an image: {reason}")]
    Path {
        /// The path as it was given.
        path: String,
        /// What is wrong with it.
        reason: &'static str,
    },

    /// The root is a directory and stays one.
    #[error("the root of an image cannot be replaced or removed: it is a directory")]
    Root,

    /// A hard link to a name that the tree does not hold.
    #[error("`{path}` is a hard link to `{target}`, which does not exist")]
    LinkTargetMissing {
        /// The new name.
        path: String,
        /// The name it was to share a file with.
        target: String,
    },

    /// Directories have one name.
    #[error("`{path}` is a hard link to the directory `{target}`")]
    LinkToDirectory {
        /// The new name.
        path: String,
        /// The directory.
        target: String,
    },

    /// A mode, owner, time, target, size or device number that no Linux file system can hold.
    #[error("`{path}` cannot be stored: {reason}")]
    Unrepresentable {
        /// The file.
        path: String,
        /// What cannot be stored.
        reason: String,
    },

    /// An attribute with which an image would command overlayfs: to show another file's content, or none.
    #[error("`{path}` has the extended attribute `{name}`, which is reserved for overlayfs")]
    OverlayXattr {
        /// The file.
        path: String,
        /// The attribute.
        name: String,
    },

    /// Character device 0:0 is how overlayfs marks a deleted file.
    #[error("`{path}` is character device 0:0, which overlayfs takes for a deleted file")]
    Whiteout {
        /// The file.
        path: String,
    },

    /// An attribute that Linux does not know, or that is too large for an inode.
    #[error("`{path}` has the extended attribute `{name}`, which cannot be stored: {reason}")]
    Xattr {
        /// The file.
        path: String,
        /// The attribute.
        name: String,
        /// What is wrong with it.
        reason: &'static str,
    },

    /// A tree that is too large for memory is kept in a temporary file, and could not be.
    #[error("could not keep the tree in a temporary file")]
    Temporary {
        /// What the file system said.
        #[source]
        source: io::Error,
    },

    /// The image could not be written out.
    #[error("could not write the EROFS image")]
    Write {
        /// What the output said.
        #[source]
        source: io::Error,
    },

    /// The kernel refused a mount.
    #[error("could not {action}{detail}")]
    Mount {
        /// What was tried, and on which path.
        action: String,
        /// The kernel's own explanation in parentheses, or nothing.
        detail: String,
        /// The error of the system call.
        #[source]
        source: io::Error,
    },
}
