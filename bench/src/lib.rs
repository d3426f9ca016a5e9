//! Side-by-side measurements of dhow and its peers.
//!
//! ```text
//!   Images ── archives of a root file system and its variants, signed ──┐
//!   Program ── a peer as it is installed, with time and peak memory ────┼─► one module a measurement ─► Report
//!   Contest ── each contestant in turn, again and again ────────────────┘
//! ```
//!
//! Machines are noisy, so a figure alone says little: what counts is the ratio of two contestants that were measured
//! in turns, in one run. Nothing here asserts anything. It may use every crate of the workspace.

pub mod bittorrent;
pub mod catalog;
mod contest;
mod delta;
pub mod export;
pub mod fetch;
mod first;
mod floor;
pub mod https;
mod images;
pub mod lossy;
mod machine;
pub mod mount;
mod packs;
mod path;
mod program;
pub mod read;
pub mod sealed;
pub mod second;
mod served;
pub mod ten;
mod usage;

pub use contest::Contest;
pub use delta::{byte, delta};
pub use first::first;
pub use images::{Change, Images};
pub use packs::{Packs, packs};
