//! [`SecretKey`]: a key that can sign.

use std::{
    fmt,
    io::Read,
    path::Path,
    time::{Duration, SystemTime},
};

use openpgp::{
    Cert, Packet, Profile,
    cert::{CertBuilder, CipherSuite, amalgamation::key::PrimaryKey as _},
    crypto::{KeyPair, S2K},
    packet::{
        Key,
        key::{SecretKeyMaterial, SecretParts, UnspecifiedRole},
    },
    serialize::MarshalInto as _,
    types::{Features, KeyFlags},
};
use sequoia_openpgp as openpgp;

use crate::{
    Certificate, Error, Fingerprint, KeyLabel, Passphrase, PassphraseRequest, Secrets,
    certificate::{POLICY, parse_certs},
    passphrase::ATTEMPTS,
    secret_file,
};

/// An OpenPGP key with its secret part. `Debug` shows its name only.
#[derive(Clone)]
pub struct SecretKey(Cert);

/// How a key is made.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct KeyOptions {
    /// For how long the key is valid; for ever, if `None`. Its owner can extend it.
    pub validity: Option<Duration>,
    /// When it says it was made; now, if `None`.
    pub created: Option<SystemTime>,
    /// What locks its secret part; nothing, if `None`.
    pub passphrase: Option<Passphrase>,
    /// By what it signs and decrypts.
    pub algorithm: KeyAlgorithm,
}

/// The kind of a key.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum KeyAlgorithm {
    /// Ed25519 to sign, X25519 to decrypt.
    #[default]
    Ed25519,
    /// RSA of 3072 bits for both: rkt knows no elliptic curves.
    Rsa,
}

impl SecretKey {
    /// Makes a key for `user_id`, as in `Carly <carly@example.com>`, in the version 4 format that gpg 2.2 reads.
    pub fn generate(user_id: &str, options: &KeyOptions) -> Result<Self, Error> {
        if user_id.trim().is_empty() || user_id.chars().any(char::is_control) {
            return Err(Error::InvalidUserId {
                text: user_id.escape_default().to_string(),
            });
        }
        let generate = || {
            CertBuilder::new()
                .set_profile(Profile::RFC4880)?
                .set_cipher_suite(match options.algorithm {
                    KeyAlgorithm::Ed25519 => CipherSuite::Cv25519,
                    KeyAlgorithm::Rsa => CipherSuite::RSA3k,
                })
                // The default also claims SEIPDv2, and whoever believes it sends what gpg 2.2 cannot read.
                .set_features(Features::empty().set_seipdv1())?
                .set_creation_time(options.created)
                .set_validity_period(options.validity)
                .set_password(
                    options
                        .passphrase
                        .as_ref()
                        .map(|passphrase| passphrase.as_password().clone()),
                )
                .set_primary_key_flags(KeyFlags::empty().set_certification().set_signing())
                .add_userid(user_id)
                .add_subkey(
                    KeyFlags::empty().set_transport_encryption().set_storage_encryption(),
                    options.validity,
                    None,
                )
                .generate()
        };
        let (cert, _revocation) = generate().map_err(|error| Error::Backend {
            action: "generate a key",
            source: error.into(),
        })?;
        Ok(Self(cert))
    }

    /// Reads the one secret key in a file, armored or binary, as `gpg --export-secret-keys` writes it too.
    pub fn from_reader(mut reader: impl Read) -> Result<Self, Error> {
        let mut bytes = Vec::new();
        reader.read_to_end(&mut bytes).map_err(Error::ReadData)?;
        Self::parse(&bytes)
    }

    /// Reads the one secret key in `bytes`, armored or binary.
    pub fn parse(bytes: &[u8]) -> Result<Self, Error> {
        let mut certs = parse_certs(bytes)?;
        match (certs.pop(), certs.len()) {
            (Some(cert), 0) if cert.is_tsk() => Ok(Self(cert)),
            (Some(cert), 0) => Err(Error::NoSecret {
                key: Certificate::from_cert(cert).label(),
            }),
            (_, others) => Err(Error::NotAKey {
                found: format!("a file of {} keys, not one", others + 1),
            }),
        }
    }

    /// Reads the secret key in the file at `path`.
    pub fn open(path: &Path) -> Result<Self, Error> {
        let bytes = std::fs::read(path).map_err(|source| Error::Read {
            path: path.to_owned(),
            source,
        })?;
        Self::parse(&bytes).map_err(|error| Error::KeyFile {
            path: path.to_owned(),
            source: Box::new(error),
        })
    }

    /// Writes the key to a new file that only its owner can read. A file that exists is never replaced.
    pub fn write_new(&self, path: &Path) -> Result<(), Error> {
        secret_file::create(path, &self.to_armored())
    }

    /// The key **with its secret part** as a text file.
    pub fn to_armored(&self) -> Vec<u8> {
        self.0
            .as_tsk()
            .armored()
            .to_vec()
            .expect("writing to memory does not fail")
    }

    /// The part for everyone.
    pub fn certificate(&self) -> Certificate {
        Certificate::from_cert(self.0.clone())
    }

    /// The fingerprint of the primary key, which names the whole key.
    pub fn fingerprint(&self) -> Fingerprint {
        self.0.fingerprint().into()
    }

    /// Fingerprint and primary user ID, for messages.
    pub fn label(&self) -> KeyLabel {
        self.certificate().label()
    }

    /// Whether a passphrase is needed before it can be used.
    pub fn is_locked(&self) -> bool {
        let mut secrets = self.0.keys().secret();
        secrets.any(|key| is_encrypted(key.key().secret()))
    }

    /// The same key with its secret parts readable, as far as they are here and not on a card.
    /// [`Error::WrongPassphrase`] if the passphrase does not fit.
    pub fn unlock(&self, passphrase: &Passphrase) -> Result<Self, Error> {
        self.map_secrets(|key| {
            if !is_encrypted(key.secret()) {
                return Ok(key);
            }
            let unlocked = key.decrypt_secret(passphrase.as_password());
            unlocked.map_err(|_| Error::WrongPassphrase { key: self.label() })
        })
    }

    /// The same key, locked with a passphrase. One that is locked must be unlocked first.
    pub fn lock(&self, passphrase: &Passphrase) -> Result<Self, Error> {
        if self.is_locked() {
            return Err(Error::Locked { key: self.label() });
        }
        self.map_secrets(|key| {
            if !key.has_unencrypted_secret() {
                return Ok(key);
            }
            key.encrypt_secret(passphrase.as_password())
                .map_err(|error| Error::Backend {
                    action: "lock the key",
                    source: error.into(),
                })
        })
    }

    /// The key ready to use: as it is if it is not locked, else unlocked with a passphrase that is asked for.
    pub fn unlocked(&self, secrets: &dyn Secrets) -> Result<Self, Error> {
        if !self.is_locked() {
            return Ok(self.clone());
        }
        let request = PassphraseRequest::Key(self.label());
        let mut refused = Error::Locked { key: self.label() };
        for attempt in 0..ATTEMPTS {
            let Some(passphrase) = secrets.passphrase(&request, attempt)? else {
                break;
            };
            match self.unlock(&passphrase) {
                Err(wrong @ Error::WrongPassphrase { .. }) => refused = wrong,
                result => return result,
            }
        }
        Err(refused)
    }

    fn map_secrets(
        &self,
        mut change: impl FnMut(Key<SecretParts, UnspecifiedRole>) -> Result<Key<SecretParts, UnspecifiedRole>, Error>,
    ) -> Result<Self, Error> {
        let mut changed: Vec<Packet> = Vec::new();
        for key in self.0.keys().secret() {
            let is_primary = key.primary();
            let key = change(key.key().clone().role_into_unspecified())?;
            changed.push(if is_primary {
                key.role_into_primary().into()
            } else {
                key.role_into_subordinate().into()
            });
        }
        let (cert, _) = self.0.clone().insert_packets(changed).map_err(|error| Error::Backend {
            action: "change the lock of the key",
            source: error.into(),
        })?;
        Ok(Self(cert))
    }

    pub(crate) fn as_cert(&self) -> &Cert {
        &self.0
    }

    pub(crate) fn from_cert(cert: Cert) -> Self {
        Self(cert)
    }

    /// The newest valid key that can sign: as gpg does, a subkey before the primary key.
    pub(crate) fn signer(&self) -> Result<KeyPair, Error> {
        self.certificate().check()?;
        let signing = || {
            self.0
                .keys()
                .with_policy(&POLICY, None)
                .supported()
                .alive()
                .revoked(false)
                .for_signing()
        };
        let newest = signing()
            .unencrypted_secret()
            .max_by_key(|key| key.key().creation_time());
        let Some(key) = newest else {
            let key = self.label();
            return Err(match signing().secret().next() {
                Some(_) => Error::Locked { key },
                None => Error::NoSecret { key },
            });
        };
        let failed = |error: openpgp::anyhow::Error| Error::Backend {
            action: "use the secret key",
            source: error.into(),
        };
        key.key()
            .clone()
            .parts_into_secret()
            .and_then(|key| key.into_keypair())
            .map_err(failed)
    }
}

/// Whether a passphrase opens it. What gpg writes for a secret on a card, or kept elsewhere, is in no cipher.
fn is_encrypted(secret: &SecretKeyMaterial) -> bool {
    match secret {
        SecretKeyMaterial::Unencrypted(_) => false,
        SecretKeyMaterial::Encrypted(secret) => !matches!(secret.s2k(), S2K::Private { .. } | S2K::Unknown { .. }),
    }
}

impl fmt::Debug for SecretKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SecretKey({:#}, secret part not shown)", self.fingerprint())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::os::unix::fs::PermissionsExt as _;

    use openpgp::cert::Preferences as _;

    use super::*;

    #[test]
    fn a_key_is_written_once_and_for_its_owner_only() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("carly.key.asc");
        let key = SecretKey::generate("Carly", &KeyOptions::default()).unwrap();
        key.write_new(&path).unwrap();
        assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(SecretKey::open(&path).unwrap().to_armored(), key.to_armored());

        let before = std::fs::read(&path).unwrap();
        let other = SecretKey::generate("Bob", &KeyOptions::default()).unwrap();
        assert!(matches!(other.write_new(&path), Err(Error::Exists { path: said }) if said == path));
        assert_eq!(std::fs::read(&path).unwrap(), before);
        assert_eq!(
            std::fs::read_dir(dir.path()).unwrap().count(),
            1,
            "no temporary file is left"
        );
    }

    #[test]
    fn secrets_do_not_leak() {
        let key = SecretKey::generate("Carly", &KeyOptions::default()).unwrap();
        let shown = format!("{key:?}");
        assert_eq!(
            shown,
            format!("SecretKey({:#}, secret part not shown)", key.fingerprint())
        );
        assert!(key.to_armored().starts_with(b"-----BEGIN PGP PRIVATE KEY BLOCK-----"));
        assert!(
            key.certificate()
                .to_armored()
                .starts_with(b"-----BEGIN PGP PUBLIC KEY BLOCK-----")
        );
        let public = key.certificate().to_armored();
        assert!(matches!(SecretKey::parse(&public), Err(Error::NoSecret { .. })));
        let stripped = Certificate::parse(&key.to_armored()).unwrap();
        assert_eq!(stripped, key.certificate());
        assert!(!stripped.as_cert().is_tsk());
    }

    #[test]
    fn a_locked_key_needs_its_passphrase() {
        let options = KeyOptions {
            passphrase: Some("sekr3t".into()),
            ..KeyOptions::default()
        };
        let locked = SecretKey::generate("Carly", &options).unwrap();
        assert!(locked.is_locked());
        assert!(matches!(crate::sign(&locked, &b"data"[..]), Err(Error::Locked { .. })));
        let read = SecretKey::parse(&locked.to_armored()).unwrap();
        assert!(read.is_locked(), "it is written locked");
        assert!(matches!(
            read.unlock(&"secret".into()),
            Err(Error::WrongPassphrase { .. })
        ));
        let unlocked = read.unlock(&"sekr3t".into()).unwrap();
        assert!(!unlocked.is_locked());
        crate::sign(&unlocked, &b"data"[..]).unwrap();
        assert_eq!(unlocked.certificate(), locked.certificate());

        let again = unlocked.lock(&"other".into()).unwrap();
        assert!(again.unlock(&"sekr3t".into()).is_err());
        assert!(again.unlock(&"other".into()).is_ok());
    }

    #[test]
    fn a_passphrase_is_asked_for_at_most_three_times() {
        struct Slow(std::sync::Mutex<Vec<String>>, u32);
        impl Secrets for Slow {
            fn keys(&self) -> Result<Vec<SecretKey>, Error> {
                Ok(Vec::new())
            }
            fn passphrase(&self, request: &PassphraseRequest, attempt: u32) -> Result<Option<Passphrase>, Error> {
                self.0.lock().unwrap().push(request.to_string());
                Ok(Some(if attempt == self.1 { "sekr3t" } else { "wrong" }.into()))
            }
        }
        let options = KeyOptions {
            passphrase: Some("sekr3t".into()),
            ..KeyOptions::default()
        };
        let locked = SecretKey::generate("Carly", &options).unwrap();
        let third = Slow(Default::default(), 2);
        assert!(!locked.unlocked(&third).unwrap().is_locked());
        assert_eq!(third.0.into_inner().unwrap(), vec![locked.label().to_string(); 3]);
        let never = Slow(Default::default(), 9);
        assert!(matches!(locked.unlocked(&never), Err(Error::WrongPassphrase { .. })));
        assert_eq!(never.0.into_inner().unwrap().len(), 3);
        assert!(matches!(locked.unlocked(&crate::NoSecrets), Err(Error::Locked { .. })));
    }

    #[test]
    fn the_key_claims_only_what_gpg_reads() {
        let key = SecretKey::generate("Carly", &KeyOptions::default()).unwrap();
        let certificate = key.certificate();
        let valid = certificate.as_cert().with_policy(&POLICY, None).unwrap();
        let features = valid.features().unwrap();
        assert!(features.supports_seipdv1() && !features.supports_seipdv2());
        assert_eq!(certificate.as_cert().primary_key().key().version(), 4);
        assert_eq!(
            valid.keys().for_storage_encryption().for_transport_encryption().count(),
            1
        );
    }

    #[test]
    fn a_user_id_is_one_line() {
        for text in ["", "  ", "Carly\nBob"] {
            let made = SecretKey::generate(text, &KeyOptions::default());
            assert!(matches!(made, Err(Error::InvalidUserId { .. })), "{text:?}");
        }
    }
}
