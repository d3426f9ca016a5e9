//! A tree: the files of a rendered image without their contents.
//!
//! [`Tree`] holds what a file system knows of each file (kind, mode, owner, time, extended attributes, names) and,
//! in place of large contents, the object that holds them. [`write_erofs`] makes a mountable EROFS image of a tree;
//! [`mount_erofs`] and [`Overlay`] put that image over the store's objects, so that the kernel itself reads each file
//! from its object and nothing is copied.
//!
//! ```text
//!   Tree ── write_erofs ──▶ trees/<id>.erofs ── mount_erofs ──▶ metadata ┐
//!                                                                        ├─ Overlay::mount ─▶ attach
//!                                             objects/ab/… ──▶ contents ┘
//! ```
//!
//! The two layers meet in two extended attributes that overlayfs reads under the `userxattr` option: an empty
//! `user.overlay.metacopy` says that a file's content is elsewhere, and `user.overlay.redirect` says where. Whoever may
//! write them chooses what a file contains, so a [`Tree`] refuses every attribute in overlayfs's namespaces, and
//! overlayfs's marks of deletion with them: only the writer adds them.

mod blobs;
mod children;
mod erofs;
mod error;
mod lookup;
mod model;
mod mount;
mod node;
mod path;
#[cfg(test)]
mod tests;
mod walk;

pub use children::Children;
pub use erofs::write_erofs;
pub use error::TreeError;
pub use model::{NodeId, Tree};
pub use mount::{Overlay, Upper, attach, mount_erofs};
pub use node::{Content, Metadata, Node, NodeKind, is_supported_xattr};
pub use walk::{Visit, Walk};
