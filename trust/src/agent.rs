//! [`AgentKey`]: a key whose secret part a running gpg-agent holds, which signs for us.
//!
//! The agent speaks Assuan, lines of text over a socket, and of that we need five commands. The libraries that speak
//! it bring an asynchronous runtime with them, which this crate must not have, and running `gpg` would make its
//! keyring, its configuration and its version a part of how we sign. This way the secret stays in the agent or on its
//! card, its pinentry asks for the passphrase, and an agent that SSH has forwarded serves as well.

mod assuan;
mod keygrip;
mod sexp;

use std::{fmt, path::PathBuf};

use openpgp::{
    crypto::{Signer, mpi},
    packet::{
        Key,
        key::{PublicParts, UnspecifiedRole},
    },
    types::HashAlgorithm,
};
use sequoia_openpgp as openpgp;

use self::{assuan::Connection, keygrip::keygrip};
use crate::{Certificate, Error, Fingerprint, KeyLabel};

/// A certificate whose secret part is in gpg-agent: RSA or Ed25519.
#[derive(Clone)]
pub struct AgentKey {
    certificate: Certificate,
    socket: PathBuf,
}

impl AgentKey {
    /// The key of a certificate, in the agent that `gpgconf` names.
    pub fn new(certificate: Certificate) -> Result<Self, Error> {
        Ok(Self {
            certificate,
            socket: assuan::default_socket()?,
        })
    }

    /// The key of a certificate, in the agent that listens on this socket.
    pub fn with_socket(certificate: Certificate, socket: impl Into<PathBuf>) -> Self {
        Self {
            certificate,
            socket: socket.into(),
        }
    }

    /// The part for everyone.
    pub fn certificate(&self) -> Certificate {
        self.certificate.clone()
    }

    /// The fingerprint of the primary key, which names the whole key.
    pub fn fingerprint(&self) -> Fingerprint {
        self.certificate.fingerprint()
    }

    /// Fingerprint and primary user ID, for messages.
    pub fn label(&self) -> KeyLabel {
        self.certificate.label()
    }

    /// The newest valid signing key of which the agent has the secret part.
    pub(crate) fn signer(&self) -> Result<AgentSigner, Error> {
        self.certificate.check()?;
        let mut connection = Connection::open(&self.socket)?;
        let mut unsupported = None;
        for key in self.certificate.signing_keys() {
            let Some(grip) = keygrip(&key) else {
                unsupported = Some(key.pk_algo());
                continue;
            };
            if connection.has_key(&grip)? {
                return Ok(AgentSigner {
                    key,
                    grip,
                    description: format!("Please unlock {} to sign with dhow", self.label()),
                    connection,
                });
            }
        }
        Err(match unsupported {
            Some(algorithm) => Error::Agent {
                problem: format!(
                    "signing with {algorithm} through gpg-agent is not supported, only RSA and Ed25519 are"
                ),
                source: None,
            },
            None => Error::NotInAgent {
                key: self.label(),
                socket: self.socket.clone(),
            },
        })
    }
}

/// A connection to the agent that makes one signature.
pub(crate) struct AgentSigner {
    key: Key<PublicParts, UnspecifiedRole>,
    grip: String,
    description: String,
    connection: Connection,
}

impl Signer for AgentSigner {
    fn public(&self) -> &Key<PublicParts, UnspecifiedRole> {
        &self.key
    }

    fn sign(&mut self, hash: HashAlgorithm, digest: &[u8]) -> openpgp::Result<mpi::Signature> {
        let answer = self
            .connection
            .sign(&self.grip, &self.description, u8::from(hash), digest)?;
        let malformed = || Error::Agent {
            problem: "its answer is no signature of the kind that was asked for".to_owned(),
            source: None,
        };
        let number = |name: &str| sexp::value(&answer, name).map(|bytes| mpi::MPI::new(&bytes));
        let signature = match self.key.mpis() {
            mpi::PublicKey::RSA { .. } => number("s").map(|s| mpi::Signature::RSA { s }),
            _ => number("r")
                .zip(number("s"))
                .map(|(r, s)| mpi::Signature::EdDSA { r, s }),
        };
        Ok(signature.ok_or_else(malformed)?)
    }
}

impl fmt::Debug for AgentKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "AgentKey({:#}, at {})", self.fingerprint(), self.socket.display())
    }
}
