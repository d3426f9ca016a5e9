//! The keys of sealed contents.
//!
//! ```text
//!   content key = HMAC(secret,      "dhow content key 1" ‖ SHA-256 of the content)
//!   name        = HMAC(content key, "dhow name 1")
//!   cipher key  = HMAC(content key, "dhow cipher key 1")
//!   nonce key   = HMAC(content key, "dhow nonce key 1")          HMAC: HMAC-SHA-256
//! ```
//!
//! HMAC-SHA-256 is a pseudorandom function under a secret key, which is all that is asked of it here; keys of full
//! entropy need no extraction first, so HKDF would add a step and no strength.

use std::fmt;

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use zeroize::Zeroize;

use super::name::ContentName;
use crate::object::ObjectId;

/// A publisher's secret, from which the keys of all contents follow. Whoever has it can read all that was ever sealed
/// with it, and tell whether a content that they know is among it.
///
/// It is wiped from memory when it is dropped, and cannot be printed.
#[derive(Clone)]
pub struct Secret([u8; 32]);

/// The key of one content. Whoever has it can find and read that content, and no other.
///
/// It is wiped from memory when it is dropped, and cannot be printed.
#[derive(Clone, PartialEq, Eq)]
pub struct ContentKey([u8; 32]);

impl Secret {
    /// The secret with these bytes, which must come from a random number generator: not from a passphrase.
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// A new one, of the system's random number generator.
    pub fn generate() -> std::io::Result<Self> {
        let mut bytes = [0; 32];
        getrandom::fill(&mut bytes).map_err(std::io::Error::other)?;
        Ok(Self(bytes))
    }

    /// The bytes, to be kept where nobody else can read them.
    pub const fn expose(&self) -> &[u8; 32] {
        &self.0
    }

    /// The key of a content.
    pub fn key(&self, content: &ObjectId) -> ContentKey {
        ContentKey(hmac(&self.0, &[b"dhow content key 1", content.as_bytes()]))
    }

    /// What the chunker is seeded with, so that where a known file is cut does not give it away. Never zero, which
    /// stands for no seed. It tells nothing else of the secret.
    pub fn chunker_seed(&self) -> u64 {
        let [a, b, c, d, e, f, g, h, ..] = hmac(&self.0, &[b"dhow chunker seed 1"]);
        u64::from_le_bytes([a, b, c, d, e, f, g, h]).max(1)
    }
}

impl ContentKey {
    /// The key with these bytes, as a sealed list or recipe tells it.
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The bytes, to go where only those who may read the content can read them.
    pub const fn expose(&self) -> &[u8; 32] {
        &self.0
    }

    /// What packs call the content.
    pub fn name(&self) -> ContentName {
        ContentName::from_bytes(hmac(&self.0, &[b"dhow name 1"]))
    }

    pub(super) fn cipher_key(&self) -> [u8; 32] {
        hmac(&self.0, &[b"dhow cipher key 1"])
    }

    /// The nonce for these bytes and no others: so two forms of one content (compressed at two levels) never meet
    /// under one key and nonce.
    pub(super) fn nonce(&self, associated: &[u8], bytes: &[u8]) -> [u8; 24] {
        let mut key = hmac(&self.0, &[b"dhow nonce key 1"]);
        let digest = hmac(&key, &[associated, bytes]);
        key.zeroize();
        *digest.first_chunk().expect("32 bytes have 24 first ones")
    }
}

fn hmac(key: &[u8; 32], parts: &[&[u8]]) -> [u8; 32] {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("HMAC takes keys of any length");
    for part in parts {
        mac.update(part);
    }
    mac.finalize().into_bytes().into()
}

impl Drop for Secret {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

impl Drop for ContentKey {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

impl fmt::Debug for ContentKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ContentKey(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_not_printed() {
        let secret = Secret::from_bytes([0x5e; 32]);
        let key = secret.key(&ObjectId([1; 32]));
        for printed in [format!("{secret:?}"), format!("{key:?}")] {
            assert!(
                !printed.contains("94") && !printed.to_lowercase().contains("5e"),
                "{printed}"
            );
        }
    }

    #[test]
    fn names_and_keys_depend_on_the_secret_and_the_content_and_on_nothing_else() {
        let (one, other) = (Secret::from_bytes([1; 32]), Secret::from_bytes([2; 32]));
        let (a, b) = (ObjectId([3; 32]), ObjectId([4; 32]));
        assert_eq!(one.key(&a).name(), Secret::from_bytes([1; 32]).key(&a).name());
        assert_ne!(one.key(&a).name(), one.key(&b).name());
        assert_ne!(one.key(&a).name(), other.key(&a).name());
        assert_ne!(one.key(&a).name().as_bytes(), a.as_bytes());
        assert_ne!(one.key(&a).nonce(b"", b"x"), one.key(&a).nonce(b"", b"y"));
        assert_ne!(one.chunker_seed(), other.chunker_seed());
    }
}
