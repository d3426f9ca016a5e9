//! Trust: who may sign for which name, and whether a signature is theirs.
//!
//! An archive `.aci` travels with a detached OpenPGP signature `.aci.asc` over exactly its bytes, and may be encrypted
//! (appc spec, aci.md, "Image Archives"). This crate makes such signatures, keeps the user's own keys and the keys that
//! the user trusts for names, and turns a signature into a [`Verification`] or an [`Error`] that says why not. It
//! encrypts and decrypts. It touches files, readers and the socket of gpg-agent, never the network. What it writes,
//! gpg 2.2 reads.
//!
//! ```text
//!   KeyStore ── the user's own ──► SigningKey ──sign──► .aci.asc
//!                                      │                  │
//!                                 Certificate          Signature ── who says to have made it
//!                                      │                  │
//!        TrustPolicy ──────────────► Keyring ── candidates for a Name ──► verify_detached ──► Verification
//!
//!   encrypt ──► an OpenPGP message ──► Decryption ── keys and passphrases of Secrets ──► its content, whole or not at all
//! ```
//!
//! It may use `dhow-image`, for names, and nothing else of the workspace.

mod agent;
mod armor;
mod certificate;
mod covers;
mod decrypt;
mod encrypt;
mod error;
mod fingerprint;
mod key_store;
mod keyring;
mod passphrase;
mod policy;
mod secret_file;
mod secret_key;
mod sign;
mod signature;
mod signing_key;
mod succession;
mod verification;
mod verify;
mod watched;

pub use agent::AgentKey;
pub use certificate::Certificate;
pub use decrypt::{Decrypted, Decryption, OpenedBy, is_encrypted};
pub use encrypt::{EncryptOptions, encrypt};
pub use error::{Error, ErrorKind, KeyLabel};
pub use fingerprint::{Fingerprint, FingerprintError};
pub use key_store::{KeyStore, OwnKey};
pub use keyring::{Keyring, Outcome, Refusal, Removal, TrustedKey, Update};
pub use passphrase::{GivenSecrets, NoSecrets, Passphrase, PassphraseRequest, Secrets};
pub use policy::{PlacedPolicy, PolicyMet, PolicyProblem, TrustPolicy};
pub use secret_key::{KeyAlgorithm, KeyOptions, SecretKey};
pub use sign::sign;
pub use signature::{Issuer, Signature};
pub use signing_key::SigningKey;
pub use verification::{Signer, TrustRule, Verification};
pub use verify::{verify_detached, verify_for_any_name, verify_with_certificates};
