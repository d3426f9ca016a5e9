//! [`Passphrase`], and [`Secrets`]: where secrets come from when they are needed.

use std::{fmt, path::Path};

use openpgp::crypto::Password;
use sequoia_openpgp as openpgp;

use crate::{Error, KeyLabel, SecretKey};

/// More than any honest file of one passphrase has, in bytes.
const MAX_FILE: usize = 64 << 10;

/// How often somebody is asked for the same passphrase.
pub(crate) const ATTEMPTS: u32 = 3;

/// What unlocks a secret key or an encrypted file. It is kept encrypted in memory, and never shown.
#[derive(Clone, PartialEq, Eq)]
pub struct Passphrase(Password);

impl Passphrase {
    /// The passphrase in the first line of a file, without the line's end, as gpg's `--passphrase-file` has it.
    pub fn from_file(path: &Path) -> Result<Self, Error> {
        let bytes = std::fs::read(path).map_err(|source| Error::Read {
            path: path.to_owned(),
            source,
        })?;
        let line = bytes.split(|byte| *byte == b'\n').next().unwrap_or_default();
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        if line.is_empty() || bytes.len() > MAX_FILE {
            return Err(Error::NoPassphrase { path: path.to_owned() });
        }
        Ok(Self(line.to_owned().into()))
    }

    pub(crate) fn as_password(&self) -> &Password {
        &self.0
    }
}

impl From<String> for Passphrase {
    fn from(text: String) -> Self {
        Self(text.into())
    }
}

impl From<&str> for Passphrase {
    fn from(text: &str) -> Self {
        Self(text.into())
    }
}

impl fmt::Debug for Passphrase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Passphrase(not shown)")
    }
}

/// Where secrets come from when a locked key or an encrypted file needs them: a file, a terminal, a test.
///
/// It is asked only when something cannot go on without.
pub trait Secrets: Send + Sync {
    /// The user's own keys, locked or not.
    fn keys(&self) -> Result<Vec<SecretKey>, Error>;

    /// A passphrase. `attempt` counts from 0; one before it was wrong. `None` gives up.
    fn passphrase(&self, request: &PassphraseRequest, attempt: u32) -> Result<Option<Passphrase>, Error>;
}

/// What a passphrase is wanted for.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum PassphraseRequest {
    /// To unlock a secret key.
    Key(KeyLabel),
    /// To decrypt a file that was encrypted with a passphrase.
    File,
}

/// Has no keys and knows no passphrase.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoSecrets;

impl Secrets for NoSecrets {
    fn keys(&self) -> Result<Vec<SecretKey>, Error> {
        Ok(Vec::new())
    }

    fn passphrase(&self, _: &PassphraseRequest, _: u32) -> Result<Option<Passphrase>, Error> {
        Ok(None)
    }
}

/// These keys and this passphrase, without asking anybody.
#[derive(Clone, Debug, Default)]
pub struct GivenSecrets {
    /// The keys.
    pub keys: Vec<SecretKey>,
    /// The passphrase of whatever has one.
    pub passphrase: Option<Passphrase>,
}

impl Secrets for GivenSecrets {
    fn keys(&self) -> Result<Vec<SecretKey>, Error> {
        Ok(self.keys.clone())
    }

    fn passphrase(&self, _: &PassphraseRequest, attempt: u32) -> Result<Option<Passphrase>, Error> {
        Ok(self.passphrase.clone().filter(|_| attempt == 0))
    }
}

impl fmt::Display for PassphraseRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Key(label) => label.fmt(f),
            Self::File => f.write_str("the encrypted file"),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_passphrase_is_the_first_line_and_is_never_shown() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("passphrase");
        for text in ["sekr3t", "sekr3t\n", "sekr3t\r\nnotes\n"] {
            std::fs::write(&path, text).unwrap();
            let passphrase = Passphrase::from_file(&path).unwrap();
            assert_eq!(passphrase, Passphrase::from("sekr3t"), "{text:?}");
            assert!(!format!("{passphrase:?}").contains("sekr3t"));
        }
        for text in ["", "\nsekr3t\n"] {
            std::fs::write(&path, text).unwrap();
            let error = Passphrase::from_file(&path).unwrap_err();
            assert!(matches!(error, Error::NoPassphrase { .. }), "{text:?}");
        }
    }
}
