//! Trust: who may sign for which name, and whether a signature is theirs.
//!
//! An archive `.aci` travels with a detached OpenPGP signature `.aci.asc` over exactly its bytes (appc spec, aci.md,
//! "Image Archives"). This crate makes such signatures, keeps the user's own keys and the keys that the user trusts
//! for names, and turns a signature into a [`Verification`] or an [`Error`] that says why not. It touches files and
//! readers only, never the network. What it writes, gpg 2.2 reads.
//!
//! ```text
//!   KeyStore ── the user's own ──► SecretKey ──sign──► .aci.asc
//!                                      │                  │
//!                                 Certificate          Signature ── who says to have made it
//!                                      │                  │
//!                                   Keyring ── candidates for a Name ──► verify_detached ──► Verification
//! ```
//!
//! It may use `dhow-image`, for names, and nothing else of the workspace.

mod armor;
mod certificate;
mod error;
mod fingerprint;
mod key_store;
mod keyring;
mod secret_file;
mod secret_key;
mod sign;
mod signature;
mod verification;
mod verify;

pub use certificate::Certificate;
pub use error::{Error, ErrorKind, KeyLabel};
pub use fingerprint::{Fingerprint, FingerprintError};
pub use key_store::KeyStore;
pub use keyring::{Keyring, Removal, TrustedKey};
pub use secret_key::{KeyOptions, SecretKey};
pub use sign::sign;
pub use signature::{Issuer, Signature};
pub use verification::{Signer, TrustRule, Verification};
pub use verify::{verify_detached, verify_with_certificates};
