//! Succession: a key of which an older key says that the same person has it.
//!
//! A certificate succeeds another if all of this holds:
//!
//! - the older one certified a user ID on the newer one (RFC 4880, section 5.2.1: signature types 0x10, 0x12 and
//!   0x13; 0x11 says that its maker has verified nothing), with a certification that holds today and that it has not
//!   revoked;
//! - that user ID, to the letter, is one of the older certificate's own, and valid on both. To certify somebody else's
//!   key is to say whose it is, and makes nobody a successor;
//! - the newer one was made later, so that a key which was replaced does not come back;
//! - both can sign today: neither is expired nor revoked.

use openpgp::{
    Packet,
    packet::{UserID, signature::SignatureBuilder},
    types::{HashAlgorithm, SignatureType},
};
use sequoia_openpgp as openpgp;

use crate::{Certificate, Error, SecretKey, certificate::POLICY};

impl Certificate {
    /// Whether this certificate succeeds `older`, as the module says.
    pub fn succeeds(&self, older: &Certificate) -> bool {
        let is_usable = self.check().is_ok() && older.check().is_ok() && self.created() > older.created();
        is_usable
            && self
                .common_user_ids(older)
                .iter()
                .any(|user_id| self.is_certified(user_id, older))
    }

    fn is_certified(&self, user_id: &UserID, by: &Certificate) -> bool {
        let issuer = by.as_cert().primary_key().key();
        let holders = self.as_cert().userids().filter(|own| own.userid() == user_id);
        let mut certified = false;
        for own in holders {
            if own
                .valid_third_party_revocations_by_key(&POLICY, None, issuer.role_as_unspecified())
                .next()
                .is_some()
            {
                return false;
            }
            let mut active = own.active_certifications_by_key(&POLICY, None, issuer.role_as_unspecified());
            certified |= active.any(|signature| {
                matches!(
                    signature.typ(),
                    SignatureType::GenericCertification
                        | SignatureType::CasualCertification
                        | SignatureType::PositiveCertification
                )
            });
        }
        certified
    }

    /// The user IDs that are valid on both.
    fn common_user_ids(&self, other: &Certificate) -> Vec<UserID> {
        let of = |certificate: &Certificate| -> Vec<UserID> {
            let Ok(valid) = certificate.as_cert().with_policy(&POLICY, None) else {
                return Vec::new();
            };
            let user_ids = valid.userids().revoked(false);
            user_ids.map(|user_id| user_id.userid().clone()).collect()
        };
        let others = of(other);
        let mut common = of(self);
        common.retain(|user_id| others.contains(user_id));
        common
    }
}

impl SecretKey {
    /// Certifies that `newer` is the same person's: makes it a successor of this key, whose primary secret must be
    /// there and unlocked. Returns `newer` with the certification in it.
    pub fn certify_successor(&self, newer: &Certificate) -> Result<Certificate, Error> {
        let older = self.certificate();
        older.check()?;
        newer.check()?;
        let refuse = |problem| Error::NoSuccessor {
            new: Box::new(newer.label()),
            old: Box::new(older.label()),
            problem,
        };
        if newer.created() <= older.created() {
            return Err(refuse("it is not the newer of the two"));
        }
        let user_ids = newer.common_user_ids(&older);
        if user_ids.is_empty() {
            return Err(refuse("they have no user ID in common"));
        }
        let failed = |error: openpgp::anyhow::Error| Error::Backend {
            action: "certify the key",
            source: error.into(),
        };
        let primary = self.as_cert().primary_key().key().clone().parts_into_secret();
        let primary = primary.map_err(|_| Error::NoSecret { key: self.label() })?;
        if !primary.has_unencrypted_secret() {
            return Err(Error::Locked { key: self.label() });
        }
        let mut signer = primary.into_keypair().map_err(failed)?;
        let mut packets: Vec<Packet> = Vec::new();
        for user_id in user_ids {
            let certification =
                SignatureBuilder::new(SignatureType::GenericCertification).set_hash_algo(HashAlgorithm::SHA512);
            let certification = user_id
                .bind(&mut signer, newer.as_cert(), certification)
                .map_err(failed)?;
            packets.push(user_id.into());
            packets.push(certification.into());
        }
        let (cert, _) = newer.as_cert().clone().insert_packets(packets).map_err(failed)?;
        Ok(Certificate::from_cert(cert))
    }

    /// The same key with what `certificate`, its public part, says in addition: certifications, say.
    pub fn with_public(&self, certificate: &Certificate) -> Result<Self, Error> {
        let merged = self.as_cert().clone().merge_public(certificate.as_cert().clone());
        merged
            .map(Self::from_cert)
            .map_err(|error| Error::MalformedKey(error.into()))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::time::{Duration, SystemTime};

    use openpgp::{cert::amalgamation::ValidateAmalgamation as _, crypto::KeyPair};

    use super::*;
    use crate::KeyOptions;

    const DAY: Duration = Duration::from_secs(24 * 60 * 60);

    /// A key made so many days ago.
    fn key(user_id: &str, days: u32, validity: Option<Duration>) -> SecretKey {
        let options = KeyOptions {
            created: Some(SystemTime::now() - DAY * days),
            validity,
            ..KeyOptions::default()
        };
        SecretKey::generate(user_id, &options).unwrap()
    }

    #[test]
    fn a_certified_newer_key_of_the_same_person_succeeds() {
        let [old, new] = [key("Carly", 9, None), key("Carly", 1, None)];
        assert!(
            !new.certificate().succeeds(&old.certificate()),
            "it is not certified yet"
        );
        let certified = old.certify_successor(&new.certificate()).unwrap();
        assert!(certified.succeeds(&old.certificate()));
        assert!(!old.certificate().succeeds(&certified), "it goes one way");
        let read = Certificate::parse(&certified.to_armored()).unwrap();
        assert!(read.succeeds(&old.certificate()), "it survives armor");
        let kept = new.with_public(&certified).unwrap();
        assert!(kept.certificate().succeeds(&old.certificate()));
        assert!(crate::sign(&kept, &b"data"[..]).is_ok(), "its secret is still there");
    }

    #[test]
    fn nobody_else_succeeds() {
        let old = key("Carly", 9, None);
        let refused = |newer: &SecretKey| old.certify_successor(&newer.certificate()).unwrap_err().to_string();
        assert!(refused(&key("Bob", 1, None)).ends_with("they have no user ID in common"));
        assert!(refused(&key("Carly", 10, None)).ends_with("it is not the newer of the two"));

        // A certification of somebody else's user ID, as people make them for each other.
        let bob = key("Bob", 1, None).certificate();
        let mut signer = old
            .as_cert()
            .primary_key()
            .key()
            .clone()
            .parts_into_secret()
            .unwrap()
            .into_keypair()
            .unwrap();
        let user_id = bob.as_cert().userids().next().unwrap().userid().clone();
        let certify = |signer: &mut KeyPair, user_id: &UserID, cert: &openpgp::Cert, kind| {
            user_id.bind(signer, cert, SignatureBuilder::new(kind)).unwrap()
        };
        let signature = certify(
            &mut signer,
            &user_id,
            bob.as_cert(),
            SignatureType::PositiveCertification,
        );
        let (cert, _) = bob
            .as_cert()
            .clone()
            .insert_packets([Packet::from(user_id), signature.into()])
            .unwrap();
        assert!(!Certificate::from_cert(cert).succeeds(&old.certificate()));

        // Carly's user ID, claimed by a stranger, certified by a stranger, or as unverified.
        let claimed = key("Carly", 1, None);
        assert!(!claimed.certificate().succeeds(&old.certificate()));
        let stranger = key("Carly", 9, None);
        let certified = stranger.certify_successor(&claimed.certificate()).unwrap();
        assert!(!certified.succeeds(&old.certificate()));
        let user_id = UserID::from("Carly");
        let persona = certify(
            &mut signer,
            &user_id,
            claimed.as_cert(),
            SignatureType::PersonaCertification,
        );
        let packets = [Packet::from(user_id), persona.into()];
        let (cert, _) = claimed.certificate().as_cert().clone().insert_packets(packets).unwrap();
        assert!(!Certificate::from_cert(cert).succeeds(&old.certificate()));
    }

    #[test]
    fn a_key_that_counts_for_nothing_introduces_nobody() {
        let old = key("Carly", 9, Some(DAY * 10));
        let certified = old.certify_successor(&key("Carly", 1, None).certificate()).unwrap();
        assert!(certified.succeeds(&old.certificate()));
        // The same key, whose owner has since let it expire: the newest self-signature counts.
        let mut signer = old
            .as_cert()
            .primary_key()
            .key()
            .clone()
            .parts_into_secret()
            .unwrap()
            .into_keypair()
            .unwrap();
        let expiry = SystemTime::now() - Duration::from_secs(60);
        let primary = old.as_cert().primary_key();
        let shortened = primary
            .with_policy(&POLICY, None)
            .unwrap()
            .set_expiration_time(&mut signer, Some(expiry))
            .unwrap();
        let (expired, _) = old.as_cert().clone().insert_packets(shortened).unwrap();
        let expired = Certificate::from_cert(expired);
        assert!(matches!(expired.check(), Err(Error::KeyExpired { .. })));
        assert!(!certified.succeeds(&expired));
    }
}
