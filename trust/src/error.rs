//! What can go wrong with keys and signatures.

use std::{fmt, io, path::PathBuf};

use chrono::{DateTime, Utc};
use dhow_image::Name;
use thiserror::Error;

use crate::{Fingerprint, Issuer, PolicyProblem};

/// A cause from the OpenPGP library.
pub(crate) type Cause = Box<dyn std::error::Error + Send + Sync>;

/// Why a key or a signature could not be used. [`Error::kind`] sorts the variants.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum Error {
    /// The bytes given as a signature are something else, such as an error page.
    #[error("this is no detached OpenPGP signature: it is {found}")]
    NotASignature {
        /// What the bytes look like.
        found: String,
    },
    /// The bytes begin as a signature but cannot be read as one.
    #[error("the signature is malformed or damaged")]
    MalformedSignature(#[source] Cause),
    /// No key that counts here made the signature.
    #[error("no trusted key made the signature, which says it was made by {}", list(issuers))]
    UnknownSigner {
        /// Who the signature says made it.
        issuers: Vec<Issuer>,
    },
    /// The key is trusted, but not for this name.
    #[error(
        "the signature is by {key}, which is not trusted for `{name}`, only for {}",
        list(trusted_for)
    )]
    NotTrustedForName {
        /// The name of the image.
        name: Name,
        /// Who the signature says made it.
        key: KeyLabel,
        /// `root`, or the prefixes for which the key is trusted.
        trusted_for: Vec<String>,
    },
    /// The signature does not fit the data.
    #[error("the data or its signature was altered: the signature says it is by {key}, but it does not match")]
    BadSignature {
        /// Who the signature says made it.
        key: KeyLabel,
    },
    /// A signature to which another should be added is of something else.
    #[error("the signature by {issuer} is of other bytes")]
    OtherData {
        /// Who the signature says made it.
        issuer: Issuer,
    },
    /// The signature fits, but must not be believed: it has expired, say, or its digest is too weak.
    #[error("the signature by {key} is not acceptable")]
    RefusedSignature {
        /// Who made it.
        key: KeyLabel,
        /// Why it is refused.
        source: Cause,
    },
    /// The key is past its own expiry date.
    #[error("{key} expired on {}", at.format("%Y-%m-%d"))]
    KeyExpired {
        /// The key.
        key: KeyLabel,
        /// When it expired.
        at: DateTime<Utc>,
    },
    /// The key's owner has revoked it.
    #[error("{key} was revoked: {reason}")]
    KeyRevoked {
        /// The key.
        key: KeyLabel,
        /// The reason that the owner gave.
        reason: String,
    },
    /// The key cannot sign: it is not made for it, or relies on broken algorithms.
    #[error("{key} cannot be used for signatures")]
    KeyUnusable {
        /// The key.
        key: KeyLabel,
        /// Why not.
        source: Cause,
    },
    /// The good signatures are not those that the policy asks for.
    #[error("the policy of {policy_of} is not met for `{name}`: {problem}")]
    PolicyNotMet {
        /// The name of the image.
        name: Name,
        /// `every name`, or the prefix whose policy it is.
        policy_of: String,
        /// How they fall short.
        problem: PolicyProblem,
        /// Why another signature that is there does not count.
        source: Option<Box<Error>>,
    },
    /// The reader of the signed data failed: the source is its own error, unchanged.
    #[error("could not read the data of the signature")]
    ReadData(#[source] io::Error),

    /// The bytes given as a key are something else, or hold another number of keys than one.
    #[error("this is no OpenPGP key: it is {found}")]
    NotAKey {
        /// What the bytes look like.
        found: String,
    },
    /// The bytes begin as a key but cannot be read as one.
    #[error("the key is malformed or damaged")]
    MalformedKey(#[source] Cause),
    /// Only the public part of a key is there.
    #[error("{key} has no secret part with which to sign")]
    NoSecret {
        /// The key.
        key: KeyLabel,
    },
    /// The secret part is encrypted.
    #[error("{key} is locked with a passphrase or on another device")]
    Locked {
        /// The key.
        key: KeyLabel,
    },
    /// The passphrase does not unlock the key.
    #[error("the passphrase does not unlock {key}")]
    WrongPassphrase {
        /// The key.
        key: KeyLabel,
    },
    /// A file that should hold a passphrase does not.
    #[error("`{}` has no passphrase in its first line", path.display())]
    NoPassphrase {
        /// The file.
        path: PathBuf,
    },
    /// gpg-agent could not be asked.
    #[error("could not sign with gpg-agent: {problem}")]
    Agent {
        /// What went wrong.
        problem: String,
        /// Why, if the system said so.
        source: Option<io::Error>,
    },
    /// gpg-agent did not do what was asked of it.
    #[error("gpg-agent refused {command}: {answer}")]
    AgentRefused {
        /// What was asked.
        command: String,
        /// What it said.
        answer: String,
    },
    /// gpg-agent does not hold the key.
    #[error("the gpg-agent at `{}` does not hold the secret part of {key}", socket.display())]
    NotInAgent {
        /// The key.
        key: KeyLabel,
        /// Where the agent listens.
        socket: PathBuf,
    },
    /// The keys say that they are two people's, or the new one is not the newer.
    #[error("{new} cannot succeed {old}: {problem}")]
    NoSuccessor {
        /// The newer key.
        new: Box<KeyLabel>,
        /// The older key.
        old: Box<KeyLabel>,
        /// Why not.
        problem: &'static str,
    },
    /// A text that cannot be a user ID.
    #[error("`{text}` cannot be a user ID: it must be one line of text")]
    InvalidUserId {
        /// The text.
        text: String,
    },
    /// A key could not be made or a signature not written.
    #[error("could not {action}")]
    Backend {
        /// What was tried.
        action: &'static str,
        /// Why it failed.
        source: Cause,
    },

    /// The bytes given as an encrypted file are something else.
    #[error("this is no encrypted file: it is {found}")]
    NotEncrypted {
        /// What the bytes look like.
        found: String,
    },
    /// Nothing at hand opens the file.
    #[error(
        "none of your keys and no passphrase opens the file, which is encrypted for {}",
        list(recipients)
    )]
    CannotDecrypt {
        /// For whom it says to be encrypted.
        recipients: Vec<String>,
    },
    /// The passphrase does not open the file.
    #[error("the passphrase does not open the file")]
    WrongFilePassphrase,
    /// The file's encryption is not to be relied on.
    #[error("the file's encryption is not acceptable: alterations would not be noticed, or its cipher is too weak")]
    RefusedEncryption(#[source] Cause),
    /// What was decrypted is not what was encrypted, or not all of it.
    #[error("the encrypted file was altered or cut short, so nothing of it is to be used")]
    DamagedEncryption(#[source] Cause),
    /// A file would be encrypted so that nobody could read it.
    #[error("a file is encrypted for somebody: give a key or a passphrase")]
    NoRecipient,
    /// Nothing can be encrypted to the key.
    #[error("{key} cannot be encrypted to: it has no valid key for that")]
    CannotEncrypt {
        /// The key.
        key: KeyLabel,
    },
    /// Where the result goes failed: the source is its own error, unchanged.
    #[error("could not write the result")]
    WriteData(#[source] io::Error),

    /// No key of one's own fits the query.
    #[error("no key in `{}` matches `{query}`; it holds {}", directory.display(), list(known))]
    KeyNotFound {
        /// What was asked for.
        query: String,
        /// Where the keys are.
        directory: PathBuf,
        /// The keys there are.
        known: Vec<KeyLabel>,
    },
    /// Several keys of one's own fit the query.
    #[error("`{query}` could be any of {}", list(matches))]
    AmbiguousKey {
        /// What was asked for.
        query: String,
        /// The keys that fit.
        matches: Vec<KeyLabel>,
    },
    /// No such key is trusted there, so it cannot be removed.
    #[error("{fingerprint} is not trusted for {scope}")]
    TrustNotFound {
        /// The key.
        fingerprint: Fingerprint,
        /// `root` or the prefix.
        scope: String,
    },
    /// There is no such policy, so it cannot be removed.
    #[error("there is no policy of {scope}")]
    PolicyNotFound {
        /// `every name` or the prefix.
        scope: String,
    },
    /// A file of a keyring could not be used as a policy.
    #[error("could not use the policy file `{}`", path.display())]
    PolicyFile {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: Cause,
    },
    /// A file of a keyring or key store could not be used as a key.
    #[error("could not use the key file `{}`", path.display())]
    KeyFile {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: Box<Error>,
    },
    /// A file in a keyring is not called after the fingerprint of its key.
    #[error("the file `{}` must be called after the fingerprint of its key, as in `{expected}`", path.display())]
    KeyFileName {
        /// The file.
        path: PathBuf,
        /// The name it should have.
        expected: String,
    },
    /// The file is there and is not replaced.
    #[error("`{}` exists and is not overwritten", path.display())]
    Exists {
        /// The file.
        path: PathBuf,
    },
    /// A file or directory could not be read.
    #[error("could not read `{}`", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// A file or directory could not be written.
    #[error("could not write `{}`", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
}

/// What an [`enum@Error`] means for the caller.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ErrorKind {
    /// The data must not be believed: unsigned, altered, or signed by the wrong key.
    Untrusted,
    /// A key that was asked for is not there.
    NotFound,
    /// A file or the data could not be read or written.
    Io,
    /// Anything else.
    Failed,
}

impl Error {
    /// What the error means for the caller, as an exit code does.
    pub fn kind(&self) -> ErrorKind {
        use Error::*;
        match self {
            NotASignature { .. }
            | MalformedSignature(_)
            | UnknownSigner { .. }
            | NotTrustedForName { .. }
            | BadSignature { .. }
            | OtherData { .. }
            | RefusedSignature { .. }
            | KeyExpired { .. }
            | KeyRevoked { .. }
            | KeyUnusable { .. }
            | PolicyNotMet { .. }
            | NotAKey { .. }
            | MalformedKey(_)
            | NotEncrypted { .. }
            | RefusedEncryption(_)
            | DamagedEncryption(_) => ErrorKind::Untrusted,
            KeyNotFound { .. } | TrustNotFound { .. } | PolicyNotFound { .. } => ErrorKind::NotFound,
            ReadData(_) | WriteData(_) | Read { .. } | Write { .. } => ErrorKind::Io,
            KeyFile { source, .. } => source.kind(),
            NoSecret { .. }
            | Locked { .. }
            | WrongPassphrase { .. }
            | NoSuccessor { .. }
            | Agent { .. }
            | AgentRefused { .. }
            | NotInAgent { .. }
            | NoPassphrase { .. }
            | CannotDecrypt { .. }
            | WrongFilePassphrase
            | NoRecipient
            | CannotEncrypt { .. }
            | InvalidUserId { .. }
            | Backend { .. }
            | AmbiguousKey { .. }
            | KeyFileName { .. }
            | PolicyFile { .. }
            | Exists { .. } => ErrorKind::Failed,
        }
    }
}

/// How a message names a key: fingerprint and first user ID.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyLabel {
    /// The fingerprint of the certificate.
    pub fingerprint: Fingerprint,
    /// Its primary user ID, if it has a valid one.
    pub user_id: Option<String>,
}

impl fmt::Display for KeyLabel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the key {}", self.fingerprint)?;
        match &self.user_id {
            Some(user_id) => write!(f, " (`{user_id}`)"),
            None => Ok(()),
        }
    }
}

fn list<T: fmt::Display>(items: &[T]) -> String {
    match items {
        [] => "none".to_owned(),
        _ => items.iter().map(T::to_string).collect::<Vec<_>>().join(", "),
    }
}
