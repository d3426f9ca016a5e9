//! Side-by-side measurements of dhow and its peers.
//!
//! ```text
//!   Contest ── runs each contestant in turn, again and again ──► medians and ratios to the first
//! ```
//!
//! Machines are noisy, so a figure alone says little: what counts is the ratio of two contestants that were measured
//! in turns, in one run. Nothing here asserts anything. It may use every crate of the workspace.

mod contest;
pub mod mount;
mod packs;

pub use contest::Contest;
pub use packs::{Packs, packs};
