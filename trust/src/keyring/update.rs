//! Bringing the keys of a prefix up to date with what their owners publish, without asking anybody.

use dhow_image::Name;

use super::{Keyring, TrustedKey, layers};
use crate::{Certificate, Error, Fingerprint, KeyLabel};

/// An offered certificate, and what came of it.
#[derive(Clone, Debug)]
pub struct Update {
    /// The certificate, with all that is known of it.
    pub certificate: Certificate,
    /// What came of it.
    pub outcome: Outcome,
}

/// What an offered certificate was to the keyring.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Outcome {
    /// It is trusted already, and says nothing new.
    Known,
    /// It is trusted already, and said something new: a later expiry, a revocation, another subkey.
    Refreshed,
    /// It is trusted from now on, since this trusted key certified it as its successor.
    Succeeds(KeyLabel),
    /// It is left alone.
    Refused(Refusal),
}

/// Why an offered certificate was left alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Refusal {
    /// No key that is trusted for this prefix, and valid, certified it as its successor.
    NotCertified,
    /// An empty file withdraws it.
    Masked,
    /// It cannot sign: it is expired or revoked, or not made for it.
    Unusable,
}

impl Keyring {
    /// Brings the keys of exactly `prefix` up to date with certificates from anywhere, even from an attacker.
    ///
    /// Copies of trusted keys are merged first, so that a revocation counts before anything else. Then each other
    /// certificate that succeeds a trusted one ([`Certificate::succeeds`]) is trusted for the same prefix, and may
    /// itself have a successor. Nothing else ever comes to be trusted here: not by a key of another prefix, of root, or
    /// one that is expired or revoked, and not against a mask.
    ///
    /// `dry_run` tells what would be done, and writes nothing.
    pub fn update(&self, prefix: &Name, offered: &[Certificate], dry_run: bool) -> Result<Vec<Update>, Error> {
        let mut trusted: Vec<Certificate> = Vec::new();
        for TrustedKey {
            prefix: of,
            certificate,
            ..
        } in self.list()?
        {
            if of.as_ref() == Some(prefix) {
                trusted.push(certificate);
            }
        }
        let mut updates = Vec::new();
        let mut strangers = Vec::new();
        for offered in merge_copies(offered)? {
            let fingerprint = offered.fingerprint();
            let Some(known) = trusted.iter_mut().find(|known| known.fingerprint() == fingerprint) else {
                strangers.push(offered);
                continue;
            };
            let merged = known.clone().merge(offered)?;
            let outcome = if merged == *known {
                Outcome::Known
            } else {
                Outcome::Refreshed
            };
            if outcome == Outcome::Refreshed && !dry_run {
                self.trust(Some(prefix), &merged)?;
            }
            known.clone_from(&merged);
            updates.push(Update {
                certificate: merged,
                outcome,
            });
        }
        // A successor may vouch for the next: on until none is left that anybody vouches for.
        while let Some((at, predecessor)) = self.next_successor(prefix, &strangers, &trusted)? {
            let certificate = strangers.swap_remove(at);
            if !dry_run {
                self.trust(Some(prefix), &certificate)?;
            }
            trusted.push(certificate.clone());
            updates.push(Update {
                certificate,
                outcome: Outcome::Succeeds(predecessor),
            });
        }
        for certificate in strangers {
            let reason = if self.is_masked(prefix, &certificate.fingerprint())? {
                Refusal::Masked
            } else if certificate.check().is_err() {
                Refusal::Unusable
            } else {
                Refusal::NotCertified
            };
            updates.push(Update {
                certificate,
                outcome: Outcome::Refused(reason),
            });
        }
        Ok(updates)
    }

    fn next_successor(
        &self,
        prefix: &Name,
        strangers: &[Certificate],
        trusted: &[Certificate],
    ) -> Result<Option<(usize, KeyLabel)>, Error> {
        for (at, stranger) in strangers.iter().enumerate() {
            let predecessor = trusted.iter().find(|known| stranger.succeeds(known));
            if let Some(predecessor) = predecessor
                && !self.is_masked(prefix, &stranger.fingerprint())?
            {
                return Ok(Some((at, predecessor.label())));
            }
        }
        Ok(None)
    }

    fn is_masked(&self, prefix: &Name, fingerprint: &Fingerprint) -> Result<bool, Error> {
        layers::is_masked(self.directories(), Some(prefix), fingerprint)
    }
}

/// Each certificate once, with what all its copies say.
fn merge_copies(copies: &[Certificate]) -> Result<Vec<Certificate>, Error> {
    let mut merged: Vec<Certificate> = Vec::new();
    for copy in copies {
        match merged
            .iter_mut()
            .find(|known| known.fingerprint() == copy.fingerprint())
        {
            Some(known) => *known = known.clone().merge(copy.clone())?,
            None => merged.push(copy.clone()),
        }
    }
    Ok(merged)
}

impl std::fmt::Display for Refusal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::NotCertified => "no valid key that is trusted for this prefix certified it as its successor",
            Self::Masked => "an empty file in the keyring withdraws it",
            Self::Unusable => "it is expired, revoked, or cannot sign",
        })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::time::{Duration, SystemTime};

    use super::*;
    use crate::{KeyOptions, SecretKey};

    fn key(user_id: &str, days: u64) -> SecretKey {
        let options = KeyOptions {
            created: Some(SystemTime::now() - Duration::from_secs(days * 24 * 60 * 60)),
            ..KeyOptions::default()
        };
        SecretKey::generate(user_id, &options).unwrap()
    }

    fn name(text: &str) -> Name {
        Name::new(text).unwrap()
    }

    fn outcomes(updates: &[Update]) -> Vec<Outcome> {
        updates.iter().map(|update| update.outcome.clone()).collect()
    }

    /// Carly's first, second and third key, each certified by the one before.
    fn generations() -> [Certificate; 3] {
        let [first, second, third] = [key("Carly", 30), key("Carly", 20), key("Carly", 10)];
        let certified_second = first.certify_successor(&second.certificate()).unwrap();
        let certified_third = second.certify_successor(&third.certificate()).unwrap();
        [first.certificate(), certified_second, certified_third]
    }

    #[test]
    fn successors_are_followed_from_key_to_key() {
        let dir = tempfile::tempdir().unwrap();
        let keyring = Keyring::open(None::<&str>, dir.path());
        let prefix = name("example.com");
        let [first, second, third] = generations();
        keyring.trust(Some(&prefix), &first).unwrap();
        let offered = [
            third.clone(),
            key("Mallory", 1).certificate(),
            second.clone(),
            first.clone(),
        ];
        let count = |updates: &[Update]| {
            let succeeds = |update: &&Update| matches!(update.outcome, Outcome::Succeeds(_));
            updates.iter().filter(succeeds).count()
        };
        assert_eq!(count(&keyring.update(&prefix, &offered, true).unwrap()), 2);
        assert_eq!(keyring.list().unwrap().len(), 1, "a dry run writes nothing");
        let updates = keyring.update(&prefix, &offered, false).unwrap();
        assert_eq!(count(&updates), 2);
        let last = updates.last().unwrap();
        assert_eq!(last.outcome, Outcome::Refused(Refusal::NotCertified));
        assert_eq!(last.certificate.user_ids(), ["Mallory"]);
        let trusted: Vec<_> = keyring
            .list()
            .unwrap()
            .iter()
            .map(|key| key.certificate.fingerprint())
            .collect();
        assert_eq!(trusted.len(), 3);
        assert!(trusted.contains(&third.fingerprint()));
        assert_eq!(count(&keyring.update(&prefix, &offered, false).unwrap()), 0, "once");
    }

    #[test]
    fn a_key_of_another_prefix_or_of_root_vouches_for_nobody() {
        let dir = tempfile::tempdir().unwrap();
        let keyring = Keyring::open(None::<&str>, dir.path());
        let [first, second, _] = generations();
        keyring.trust(None, &first).unwrap();
        keyring.trust(Some(&name("example.com")), &first).unwrap();
        for prefix in ["example.com/app", "example.org"] {
            let updates = keyring
                .update(&name(prefix), std::slice::from_ref(&second), false)
                .unwrap();
            assert_eq!(outcomes(&updates), [Outcome::Refused(Refusal::NotCertified)]);
        }
        assert_eq!(keyring.list().unwrap().len(), 2);
    }

    #[test]
    fn a_mask_holds_and_an_older_key_does_not_come_back() {
        let dir = tempfile::tempdir().unwrap();
        let keyring = Keyring::open(None::<&str>, dir.path());
        let prefix = name("example.com");
        let [first, second, _] = generations();
        keyring.trust(Some(&prefix), &first).unwrap();
        let mask = dir
            .path()
            .join("trustedkeys/prefix.d/example.com")
            .join(second.fingerprint().to_file_name());
        std::fs::write(&mask, "").unwrap();
        let updates = keyring.update(&prefix, std::slice::from_ref(&second), false).unwrap();
        assert_eq!(outcomes(&updates), [Outcome::Refused(Refusal::Masked)]);
        std::fs::remove_file(mask).unwrap();

        keyring.trust(Some(&prefix), &second).unwrap();
        keyring.remove(&first.fingerprint(), Some(&prefix)).unwrap();
        let updates = keyring.update(&prefix, std::slice::from_ref(&first), false).unwrap();
        assert_eq!(outcomes(&updates), [Outcome::Refused(Refusal::NotCertified)]);
    }
}
