//! The content-addressed store: every image whole or absent, every file once, and root file systems in milliseconds.
//!
//! ```text
//!   archive ──stage──► objects + recipe ──commit──► images/<id>/ ──rootfs──► trees/<id> ──mount──► a pod's root
//!                                                       │
//!                                                       └──export──► the same tar, bit for bit
//! ```
//!
//! [`Store`] tells the layout on disk, the locks and what a crash can do. It may use `dhow-image`; it never touches
//! the network, and verifies no signature: whoever commits an image has verified it.

mod checkout;
mod diff;
mod error;
mod export;
mod extract;
mod flatten;
mod image_dir;
mod index;
mod object;
pub mod pack;
mod recipe;
mod render;
mod rootfs;
mod stage;
mod store;
pub mod tree;
mod usage;
mod verify;
mod way;

pub use diff::{Aspect, Change, ChangeKind, Diff};
pub use error::StoreError;
pub use export::Export;
pub use index::{ImageRecord, Standing};
pub use object::ObjectId;
pub use rootfs::Rootfs;
pub use stage::StagedImage;
pub use store::Store;
pub use usage::{ImageUsage, Usage};
pub use verify::Verification;
pub use way::{Probe, Way};

#[cfg(test)]
mod tests;
