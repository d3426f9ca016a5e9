//! Rendering: the tree of an image with those it depends on (appc spec, ace.md, "Filesystem Setup").
//!
//! ```text
//!   image ── layers ──► the images in their order, each with its whitelists ── render ──► Tree
//! ```

mod lay;
mod layers;
#[cfg(test)]
mod tests;
mod whitelist;

pub(crate) use lay::render;
pub(crate) use layers::{Layer, layers};
