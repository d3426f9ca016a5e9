//! Packs: contents of files, cut into chunks, compressed, perhaps sealed, and kept many to a file.
//!
//! A **content** is a run of bytes, named by its SHA-256. A pack holds it as it is, if it is small, or as a *list* of
//! shorter contents that make it up one after the other; those are its chunks, or lists again. So the SHA-256 of a
//! file, which a recipe tells, is all that one needs to find its chunks, and two files that share a middle share it in
//! the pack.
//!
//! ```text
//!   content ──Chunker──► chunks, lists ──► frames ──compress──► ──seal──► Pack ──► Backend
//!                                                                          │         │ Directory, a bucket (dhow-site)
//!   content ◄── verify ◄─────────────────── frames ◄─expand◄── ◄─unseal── PackIndex ◄┘
//!
//!   one pack:   magic │ frames of bytes │ frames of lists │ index │ tail         immutable, named by its SHA-256
//! ```
//!
//! - [`PackStore`] puts contents in and gives them back: whole or a range, from any [`Backend`].
//! - [`PackIndex`] tells where in a pack a content is, from the pack's end alone, and [`plan`] makes requests of it, so
//!   that a client needs nothing of a server but ranges.
//! - [`Layers`] is the stack that every frame goes through: its order is that of its application and cannot be
//!   another. What is sealed has names that only whoever has the [`Secret`] can make.
//!
//! **Immutable.** A pack is never changed, and its name says what it holds: to write it twice does no harm, so nothing
//! depends on a backend that honours conditional writes.
//!
//! **Bounds.** A reader holds the index of a pack (at most [`MAX_CONTENTS`] contents) and one frame (at most
//! [`MAX_FRAME`] bytes), whatever a pack claims. `docs/src/formats/pack.md` tells every byte.

mod backend;
mod chunker;
#[doc(hidden)]
pub mod conformance;
mod content;
mod directory;
mod error;
mod frame;
mod index;
mod layers;
mod list;
mod name;
mod pack_store;
mod plan;
mod secret;
#[cfg(test)]
mod tests;
mod writer;

pub use backend::{Backend, Put, verified};
pub use chunker::{Chunker, WHOLE};
pub use content::{ContentRef, content_of};
pub use directory::Directory;
pub use error::PackError;
pub(crate) use frame::NOT_ITS_NAME;
pub use frame::{Frame, MAX_FRAME, MAX_STORED};
pub use index::{FrameId, MAX_CONTENTS, PackIndex, TAIL, Tail};
pub use layers::Layers;
pub(crate) use list::ListBuilder;
pub use name::{ContentName, PackId};
pub use pack_store::{Located, PackStore, PackWriter, Piece, Statistics};
pub(crate) use pack_store::{Slice, Unproven};
pub use plan::{PlanLimits, Request, plan};
pub use secret::{ContentKey, Secret};
