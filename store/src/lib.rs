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
pub mod delta;
mod diff;
mod discard;
mod entry_content;
mod error;
mod export;
mod extract;
mod flatten;
mod fsck;
mod gc;
mod image_dir;
mod image_gc;
mod index;
mod inventory;
mod locks;
mod mounted;
mod object;
pub mod pack;
mod pin;
mod quota;
mod recipe;
mod remove;
mod render;
mod rootfs;
mod roots;
mod stage;
mod store;
pub mod tree;
mod trees;
mod usage;
mod used;
mod verify;
mod way;

pub use diff::{Aspect, Change, ChangeKind, Diff};
pub use error::StoreError;
pub use export::Export;
pub use fsck::{Checked, FsckOptions, FsckReport, Lost, Outcome, Problem, Repair, Thoroughness};
pub use gc::{Effect, GcOptions, GcReport};
pub use image_gc::ImageGcOptions;
pub use index::{ImageRecord, Standing};
pub use object::ObjectId;
pub use pin::Pin;
pub use remove::Dependents;
pub use rootfs::Rootfs;
pub use roots::User;
pub use stage::StagedImage;
pub use store::Store;
pub use usage::{Amount, Usage};
pub use verify::Verification;
pub use way::{Probe, Way};

#[cfg(test)]
mod tests;
