//! Delta: an image that comes as what it has and one has not.
//!
//! ```text
//!   publisher:  archive ──pack_image──► contents and recipe in packs ──► DeltaHead ──signed──► X.aci.recipe
//!
//!               the image before ──write_patch──► X.aci.patch, which the head names
//!
//!   client:     DeltaHead ──► Delta ──step──► Need: ranges of packs ──fetched by others──► SparsePacks
//!                              ▲  │                                                            │
//!                              └──┘ until Ready ──► Rebuild, a reader ◄── objects, chunks ─────┘
//!                                                       │
//!                                                 Store::stage, which takes the image ID of every byte
//! ```
//!
//! A [`DeltaHead`] is what travels signed: the image ID, and the recipe as a content in packs. [`Delta`] finds out what is
//! missing: first a file that the store has, by its SHA-256; then chunks of the file at the same path in an image that
//! the store has; then ranges of packs. Where the store has the image from which the head's patch starts, that brings
//! everything ([`Delta::apply`]). It fetches nothing itself. [`Rebuild`] gives the image's tar.
//!
//! Of a **sealed** image, the head tells everybody which packs there are, and the rest ([`SealedRecipe`]) only those for
//! whom it is encrypted: where the recipe is, and its objects' keys, of which those come that are needed.
//!
//! Nothing that comes is believed but by the image ID of the whole, which the signature covers. What comes is bounded
//! by what the head says, which is signed too, and memory by neither: one index of a pack, a few frames, and a table of
//! the chunks of one file. What is read while it is still coming is waited for ([`Delta::early`], [`Coming`]), and goes
//! through memory where it is read once.
//! `docs/src/formats/delta.md` tells every byte of the head.

mod blame;
mod chunks;
mod error;
mod frames;
mod gather;
mod head;
mod keys;
mod pack_image;
mod passing;
mod patch;
mod rebuild;
mod sealed;
mod sparse;
mod survey;
#[cfg(test)]
mod tests;

pub use error::DeltaError;
pub use gather::{Delta, Need, Source, Step};
pub use head::{DeltaHead, DeltaPack, DeltaPatch, HeadRecipe, MAX_HEAD};
pub use pack_image::{PackOptions, PackedImage, pack_image};
pub use patch::write_patch;
pub use rebuild::{Rebuild, Reused};
pub use sealed::{SEALED_RECIPE, SealedRecipe};
pub use sparse::{Coming, SparsePacks};
