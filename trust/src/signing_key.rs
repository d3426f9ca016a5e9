//! [`SigningKey`]: whatever can sign.

use std::io::Read;

use crate::{AgentKey, Certificate, Error, Fingerprint, KeyLabel, SecretKey, sign::sign_with};

/// A key with which the user signs: one whose secret part is here, or one that gpg-agent holds.
#[derive(Clone, Debug)]
pub enum SigningKey {
    /// Its secret part is here.
    Secret(SecretKey),
    /// gpg-agent signs with it.
    Agent(AgentKey),
}

impl SigningKey {
    /// Makes the armored detached signature of `data`, as [`crate::sign`].
    pub fn sign(&self, data: impl Read) -> Result<Vec<u8>, Error> {
        match self {
            Self::Secret(key) => sign_with(key.signer()?, data),
            Self::Agent(key) => sign_with(key.signer()?, data),
        }
    }

    /// The part for everyone.
    pub fn certificate(&self) -> Certificate {
        match self {
            Self::Secret(key) => key.certificate(),
            Self::Agent(key) => key.certificate(),
        }
    }

    /// The fingerprint of the primary key, which names the whole key.
    pub fn fingerprint(&self) -> Fingerprint {
        self.certificate().fingerprint()
    }

    /// Fingerprint and primary user ID, for messages.
    pub fn label(&self) -> KeyLabel {
        self.certificate().label()
    }
}
