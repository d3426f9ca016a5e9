//! [`Certificate`]: the public part of a key.

use std::{fmt, path::Path, time::SystemTime};

use chrono::{DateTime, Utc};
use openpgp::{
    Cert, KeyHandle,
    cert::{
        CertParser, ValidCert,
        amalgamation::{ValidAmalgamation as _, ValidateAmalgamation as _},
    },
    packet::{
        Key,
        key::{PublicParts, UnspecifiedRole},
    },
    parse::Parse as _,
    policy::StandardPolicy,
    serialize::MarshalInto as _,
    types::RevocationStatus,
};
use sequoia_openpgp as openpgp;

use crate::{Error, Fingerprint, KeyLabel, armor, error::Cause, fingerprint::hex_digits};

/// Fewer hex digits than this are no fingerprint, but text to be found in a user ID.
const MIN_DIGITS: usize = 8;

/// Which algorithms are good enough, for everything that this crate believes: no SHA-1, no short RSA.
pub(crate) static POLICY: StandardPolicy<'static> = StandardPolicy::new();

/// An OpenPGP certificate: public keys, user IDs, and what their owner says about them. It never holds secrets.
///
/// That it exists says nothing about trust, nor that it is still valid: see [`Certificate::check`].
#[derive(Clone, PartialEq)]
pub struct Certificate(Cert);

impl Certificate {
    /// Reads the one certificate in `bytes`, armored or binary.
    pub fn parse(bytes: &[u8]) -> Result<Self, Error> {
        let mut all = Self::parse_many(bytes)?;
        match (all.pop(), all.len()) {
            (Some(certificate), 0) => Ok(certificate),
            (_, others) => Err(Error::NotAKey {
                found: format!("a file of {} keys, not one", others + 1),
            }),
        }
    }

    /// Reads every certificate in `bytes`, armored or binary, concatenated or exported together. At least one.
    pub fn parse_many(bytes: &[u8]) -> Result<Vec<Self>, Error> {
        let certs = parse_certs(bytes)?;
        Ok(certs.into_iter().map(Self::from_cert).collect())
    }

    /// Reads the one certificate in the file at `path`.
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

    /// The public part of `cert`.
    pub(crate) fn from_cert(cert: Cert) -> Self {
        Self(cert.strip_secret_key_material())
    }

    pub(crate) fn as_cert(&self) -> &Cert {
        &self.0
    }

    /// The fingerprint of the primary key, which names the whole certificate.
    pub fn fingerprint(&self) -> Fingerprint {
        self.0.fingerprint().into()
    }

    /// The user IDs that the owner has signed and not withdrawn, primary first, safe to print.
    pub fn user_ids(&self) -> Vec<String> {
        let Some(valid) = self.valid_now() else {
            return Vec::new();
        };
        let primary = valid.primary_userid().ok().map(|user_id| user_id.userid().clone());
        let mut user_ids: Vec<_> = valid
            .userids()
            .revoked(false)
            .map(|user_id| user_id.userid().clone())
            .collect();
        user_ids.sort_by_key(|user_id| Some(user_id) != primary.as_ref());
        user_ids.iter().map(|user_id| printable(user_id.value())).collect()
    }

    /// When the primary key was made.
    pub fn created(&self) -> DateTime<Utc> {
        self.0.primary_key().key().creation_time().into()
    }

    /// When it expires or has expired, if ever.
    pub fn expires(&self) -> Option<DateTime<Utc>> {
        self.valid_now()?
            .primary_key()
            .key_expiration_time()
            .map(DateTime::from)
    }

    /// Whether a signature by this certificate can be believed today: it must be able to sign, and be neither
    /// expired ([`Error::KeyExpired`]) nor revoked ([`Error::KeyRevoked`]).
    pub fn check(&self) -> Result<(), Error> {
        let valid = self.check_primary()?;
        let can_sign = valid
            .keys()
            .supported()
            .alive()
            .revoked(false)
            .for_signing()
            .next()
            .is_some();
        if can_sign {
            Ok(())
        } else {
            Err(self.unusable("it has no valid key for signing".into()))
        }
    }

    /// Whether its fingerprint ends with `query` (at least eight digits), or a user ID has `query` in it, whatever the
    /// case.
    pub fn matches(&self, query: &str) -> bool {
        let is_fingerprint = hex_digits(query)
            .is_some_and(|digits| digits.len() >= MIN_DIGITS && self.fingerprint().to_hex().ends_with(&digits));
        let query = query.trim().to_lowercase();
        let mut user_ids = self.user_ids().into_iter();
        is_fingerprint || user_ids.any(|user_id| user_id.to_lowercase().contains(&query))
    }

    /// Fingerprint and primary user ID, for messages.
    pub fn label(&self) -> KeyLabel {
        KeyLabel {
            fingerprint: self.fingerprint(),
            user_id: self.user_ids().into_iter().next(),
        }
    }

    /// The certificate as a text file.
    pub fn to_armored(&self) -> Vec<u8> {
        self.0.armored().to_vec().expect("writing to memory does not fail")
    }

    /// The valid keys that are made for signing, newest first.
    pub(crate) fn signing_keys(&self) -> Vec<Key<PublicParts, UnspecifiedRole>> {
        let keys = self
            .0
            .keys()
            .with_policy(&POLICY, None)
            .supported()
            .alive()
            .revoked(false);
        let mut keys: Vec<_> = keys.for_signing().map(|key| key.key().clone()).collect();
        keys.sort_by_key(|key| std::cmp::Reverse(key.creation_time()));
        keys
    }

    /// The newest valid key that is made for encryption, as gpg chooses it.
    pub(crate) fn encryption_key(&self) -> Result<&Key<PublicParts, UnspecifiedRole>, Error> {
        self.check_primary()?;
        let keys = self
            .0
            .keys()
            .with_policy(&POLICY, None)
            .supported()
            .alive()
            .revoked(false);
        let keys = keys.for_storage_encryption().for_transport_encryption();
        let newest = keys.max_by_key(|key| key.key().creation_time());
        let newest = newest.ok_or_else(|| Error::CannotEncrypt { key: self.label() })?;
        Ok(newest.key())
    }

    /// Whether any of its keys is one of `issuers`.
    pub(crate) fn has_key(&self, issuers: &[KeyHandle]) -> bool {
        self.keys_named(issuers).next().is_some()
    }

    /// Whether a signature by those of its keys that are among `issuers` can be believed today.
    ///
    /// The library judges a key as of the time that a signature claims, which whoever stole the key chooses: a key
    /// that is expired or revoked now must not verify anything.
    pub(crate) fn check_key(&self, issuers: &[KeyHandle]) -> Result<(), Error> {
        self.check_primary()?;
        let mut problem = None;
        for key in self.keys_named(issuers) {
            let Ok(key) = key
                .with_policy(&POLICY, None)
                .map_err(|error| problem = Some(self.unusable(error.into())))
            else {
                continue;
            };
            if let RevocationStatus::Revoked(revocations) = key.revocation_status() {
                problem = Some(self.revoked(&revocations));
            } else if let Err(error) = key.alive() {
                problem = Some(self.not_alive(key.key_expiration_time(), error.into()));
            } else if !key.for_signing() {
                problem = Some(self.unusable("it is not a signing key".into()));
            } else {
                return Ok(());
            }
        }
        Err(problem.unwrap_or_else(|| self.unusable("it has no such key".into())))
    }

    /// Both copies of one certificate made one, so that a revocation in either counts.
    pub(crate) fn merge(self, other: Self) -> Result<Self, Error> {
        let merged = self
            .0
            .merge_public(other.0)
            .map_err(|error| Error::MalformedKey(error.into()))?;
        Ok(Self(merged))
    }

    fn keys_named<'a>(
        &'a self,
        issuers: &'a [KeyHandle],
    ) -> impl Iterator<Item = openpgp::cert::amalgamation::key::ErasedKeyAmalgamation<'a, openpgp::packet::key::PublicParts>>
    {
        self.0
            .keys()
            .filter(move |key| issuers.iter().any(|issuer| issuer.aliases(key.key().key_handle())))
    }

    fn valid_now(&self) -> Option<ValidCert<'_>> {
        self.0.with_policy(&POLICY, None).ok()
    }

    fn check_primary(&self) -> Result<ValidCert<'_>, Error> {
        let valid = self
            .0
            .with_policy(&POLICY, None)
            .map_err(|error| self.unusable(error.into()))?;
        if let RevocationStatus::Revoked(revocations) = valid.revocation_status() {
            return Err(self.revoked(&revocations));
        }
        valid
            .alive()
            .map_err(|error| self.not_alive(valid.primary_key().key_expiration_time(), error.into()))?;
        Ok(valid)
    }

    fn revoked(&self, revocations: &[&openpgp::packet::Signature]) -> Error {
        let reason = revocations
            .iter()
            .find_map(|revocation| revocation.reason_for_revocation());
        let reason = match reason {
            Some((code, [])) => code.to_string(),
            Some((code, text)) => format!("{code} ({})", printable(text)),
            None => "no reason given".to_owned(),
        };
        Error::KeyRevoked {
            key: self.label(),
            reason,
        }
    }

    /// The error for a key outside its life, of which only one end is expiry.
    fn not_alive(&self, expires: Option<SystemTime>, cause: Cause) -> Error {
        match expires {
            Some(at) if at <= SystemTime::now() => Error::KeyExpired {
                key: self.label(),
                at: at.into(),
            },
            _ => self.unusable(cause),
        }
    }

    fn unusable(&self, source: Cause) -> Error {
        Error::KeyUnusable {
            key: self.label(),
            source,
        }
    }
}

impl fmt::Debug for Certificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Certificate").field(&self.label()).finish()
    }
}

/// Every certificate in a file, with secrets if it has them.
pub(crate) fn parse_certs(bytes: &[u8]) -> Result<Vec<Cert>, Error> {
    let mut certs = Vec::new();
    for block in armor::blocks(bytes) {
        let parser = CertParser::from_bytes(block).map_err(|_| Error::NotAKey {
            found: armor::describe(bytes),
        })?;
        for cert in parser {
            certs.push(cert.map_err(|error| match block {
                block if armor::is_key(block) => Error::MalformedKey(error.into()),
                _ => Error::NotAKey {
                    found: armor::describe(bytes),
                },
            })?);
        }
    }
    if certs.is_empty() {
        Err(Error::NotAKey {
            found: armor::describe(bytes),
        })
    } else {
        Ok(certs)
    }
}

/// Text from a stranger's key, made harmless to a terminal: no control characters, no reversed text.
fn printable(bytes: &[u8]) -> String {
    let is_harmful = |c: char| {
        c.is_control() || matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
    };
    String::from_utf8_lossy(bytes).replace(is_harmful, "\u{fffd}")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::{KeyOptions, SecretKey};

    fn key(user_id: &str) -> SecretKey {
        SecretKey::generate(user_id, &KeyOptions::default()).unwrap()
    }

    #[test]
    fn certificates_survive_armor_and_concatenation() {
        let carly = key("Carly <carly@example.com>").certificate();
        let bob = key("Bob").certificate();
        assert_eq!(carly.user_ids(), ["Carly <carly@example.com>"]);
        assert_eq!(Certificate::parse(&carly.to_armored()).unwrap(), carly);
        assert_eq!(Certificate::parse(&carly.0.to_vec().unwrap()).unwrap(), carly);
        let both = [carly.to_armored(), bob.to_armored()].concat();
        assert_eq!(Certificate::parse_many(&both).unwrap(), [carly, bob]);
        let error = Certificate::parse(&both).unwrap_err();
        assert_eq!(
            error.to_string(),
            "this is no OpenPGP key: it is a file of 2 keys, not one"
        );
    }

    #[test]
    fn other_files_are_named() {
        let signature = crate::sign(&key("Carly"), &b"data"[..]).unwrap();
        for (bytes, found) in [
            (&b"<html>404</html>"[..], "a web page"),
            (b"", "empty"),
            (&signature, "an OpenPGP signature"),
            (b"\x1f\x8b\x08\x00\x00", "other data"),
        ] {
            let error = Certificate::parse(bytes).unwrap_err();
            assert!(
                matches!(&error, Error::NotAKey { found: said } if said == found),
                "{found}: {error:?}"
            );
        }
        let mut cut = key("Carly").certificate().to_armored();
        cut.truncate(cut.len() / 2);
        assert!(matches!(Certificate::parse(&cut), Err(Error::MalformedKey(_))));
    }

    #[test]
    fn user_ids_cannot_drive_the_terminal() {
        assert_eq!(printable(b"Carly\x1b[2J\xff"), "Carly\u{fffd}[2J\u{fffd}");
        assert_eq!(printable("a\u{202e}b".as_bytes()), "a\u{fffd}b");
    }
}
