//! [`Signature`]: the content of an `.asc` file, before anything is believed.

use std::{fmt, io::Write as _};

use openpgp::{
    KeyHandle, Packet,
    packet::{
        self, Tag,
        signature::subpacket::{Subpacket, SubpacketTag},
    },
    parse::{PacketParser, PacketParserResult, Parse as _},
    serialize::MarshalInto as _,
    types::SignatureType,
};
use sequoia_openpgp as openpgp;

use crate::{Error, armor, error::Cause, fingerprint::write_grouped};

/// More than any honest signature file has. Every signature costs time to check.
const MAX_SIGNATURES: usize = 64;
const MAX_BYTES: usize = 1 << 20;

/// One or more detached signatures of the same data, read but not verified.
#[derive(Clone, Debug)]
pub struct Signature(Vec<packet::Signature>);

/// Who a signature says made it: a key, by its fingerprint or by its shorter key ID.
#[derive(Clone, Debug, PartialEq)]
pub struct Issuer(KeyHandle);

impl Signature {
    /// Reads the signatures in `bytes`, armored or binary. That they exist says nothing about who made them.
    pub fn parse(bytes: &[u8]) -> Result<Self, Error> {
        let not_a_signature = |found| Err(Error::NotASignature { found });
        if bytes.len() > MAX_BYTES {
            return not_a_signature(format!("a file of {} bytes", bytes.len()));
        }
        let mut signatures = Vec::new();
        let mut problem = None;
        for block in armor::blocks(bytes) {
            if !armor::may_be_signature(block) {
                return not_a_signature(armor::describe(block));
            }
            for packet in read_packets(block)? {
                match check_form(packet) {
                    Ok(signature) => signatures.push(signature),
                    Err(cause) => problem = problem.or(Some(cause)),
                }
            }
        }
        match (signatures.len(), problem) {
            (0, Some(cause)) => Err(Error::MalformedSignature(cause)),
            (0, None) => not_a_signature(armor::describe(bytes)),
            (count, _) if count > MAX_SIGNATURES => not_a_signature(format!("a file of {count} signatures")),
            _ => Ok(Self(signatures)),
        }
    }

    /// Who the signatures say made them, without repeats. It is for [`crate::verify_detached`] to prove.
    pub fn issuers(&self) -> Vec<Issuer> {
        let mut issuers: Vec<Issuer> = Vec::new();
        for issuer in self.0.iter().map(Issuer::of) {
            if !issuers.contains(&issuer) {
                issuers.push(issuer);
            }
        }
        issuers
    }

    /// Those of the signatures that are by none of the keys which made `other`. There may be none left.
    pub fn without_signers_of(mut self, other: &Self) -> Self {
        let signers = other.issuers();
        self.0.retain(|known| {
            let known = Issuer::of(known);
            signers.iter().all(|issuer| !issuer.0.aliases(&known.0))
        });
        self
    }

    /// These signatures and those of `other`, which is newer: it replaces what the same keys signed before.
    ///
    /// They are signatures of the same data, which [`Self::check_covers`] tells.
    pub fn with(self, other: Self) -> Self {
        let mut all = self.without_signers_of(&other);
        all.0.extend(other.0);
        all
    }

    /// All the signatures as one text file, in one block: of several blocks gpg reads the first alone.
    pub fn to_armored(&self) -> Vec<u8> {
        let mut armored = Vec::new();
        let mut write = || -> std::io::Result<()> {
            let mut writer = openpgp::armor::Writer::new(&mut armored, openpgp::armor::Kind::Signature)?;
            writer.write_all(&self.to_bytes())?;
            writer.finalize().map(drop)
        };
        write().expect("writing to memory does not fail");
        armored
    }

    pub(crate) fn packets(&self) -> &[packet::Signature] {
        &self.0
    }

    pub(crate) fn handles(&self) -> Vec<KeyHandle> {
        self.issuers().into_iter().map(|issuer| issuer.0).collect()
    }

    /// The signatures alone, in binary: what is handed to the verifier is what was checked here.
    pub(crate) fn to_bytes(&self) -> Vec<u8> {
        let packets = self.0.iter().cloned().map(Packet::from);
        packets
            .flat_map(|packet| packet.to_vec().expect("writing to memory does not fail"))
            .collect()
    }
}

impl Issuer {
    /// The most exact name of its maker that a signature gives. It gives one: see `check_form`.
    pub(crate) fn of(signature: &packet::Signature) -> Self {
        let mut handles = signature.get_issuers();
        let exact = handles
            .iter()
            .position(|handle| matches!(handle, KeyHandle::Fingerprint(_)))
            .unwrap_or(0);
        Self(handles.swap_remove(exact))
    }

    pub(crate) fn handle(&self) -> &KeyHandle {
        &self.0
    }
}

impl fmt::Display for Issuer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the key ")?;
        write_grouped(f, &format!("{:X}", self.0))
    }
}

/// Reads signature packets and refuses at the first packet of another kind, before reading what is in it.
fn read_packets(block: &[u8]) -> Result<Vec<Packet>, Error> {
    let is_signature = armor::is_signature(block);
    let failed = |error: openpgp::anyhow::Error| match is_signature {
        true => Error::MalformedSignature(error.into()),
        false => Error::NotASignature {
            found: armor::describe(block),
        },
    };
    let mut packets = Vec::new();
    let mut parser = PacketParser::from_bytes(block).map_err(failed)?;
    while let PacketParserResult::Some(found) = parser {
        match found.packet.tag() {
            Tag::Signature | Tag::Marker => {}
            other if is_signature => {
                return Err(Error::MalformedSignature(
                    format!("it holds a packet of the kind {other}").into(),
                ));
            }
            _ => {
                return Err(Error::NotASignature {
                    found: armor::describe(block),
                });
            }
        }
        let (packet, next) = found.next().map_err(failed)?;
        packets.extend((packet.tag() == Tag::Signature).then_some(packet));
        parser = next;
    }
    Ok(packets)
}

/// Refuses signatures that could never be believed, whoever made them.
fn check_form(packet: Packet) -> Result<packet::Signature, Cause> {
    let signature = match packet {
        Packet::Signature(signature) => signature,
        Packet::Unknown(unknown) => return Err(unknown.error().to_string().into()),
        _ => return Err("it is no signature".into()),
    };
    match signature.typ() {
        SignatureType::Binary => {}
        // It would still fit after line ends in the archive have changed.
        SignatureType::Text => return Err("it was made for text, not for the exact bytes of a file".into()),
        other => return Err(format!("it is a {other}, not one of a file").into()),
    }
    let issuers = signature.get_issuers();
    let Some(first) = issuers.first() else {
        return Err("it does not say which key made it".into());
    };
    if issuers.iter().any(|other| !other.aliases(first)) {
        return Err("it says that several keys made it".into());
    }
    // Nobody signs what is in the unhashed area, so anybody may have put it there. Signers put the issuer.
    let is_issuer = |part: &Subpacket| {
        !part.critical() && matches!(part.tag(), SubpacketTag::Issuer | SubpacketTag::IssuerFingerprint)
    };
    if !signature.unhashed_area().iter().all(is_issuer) {
        return Err("parts of it that its maker did not sign say more than who made it".into());
    }
    Ok(signature)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::{KeyOptions, SecretKey, sign};

    fn not_a_signature(bytes: &[u8]) -> String {
        match Signature::parse(bytes) {
            Err(Error::NotASignature { found }) => found,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn other_files_are_refused_by_name() {
        let key = SecretKey::generate("Carly", &KeyOptions::default()).unwrap();
        assert_eq!(not_a_signature(b""), "empty");
        assert_eq!(
            not_a_signature(b"<!DOCTYPE html>\n<html><title>404 Not Found"),
            "a web page"
        );
        assert_eq!(not_a_signature(b"Not Found"), "other text");
        assert_eq!(not_a_signature(b"\x1f\x8b\x08\x00\x00\x00\x00\x00"), "other data");
        assert_eq!(
            not_a_signature(&key.certificate().to_armored()),
            "an OpenPGP public key"
        );
        assert_eq!(not_a_signature(&vec![b'a'; MAX_BYTES + 1]), "a file of 1048577 bytes");
    }

    #[test]
    fn the_issuer_is_known_before_the_data() {
        let key = SecretKey::generate("Carly", &KeyOptions::default()).unwrap();
        let other = SecretKey::generate("Bob", &KeyOptions::default()).unwrap();
        let armored = sign(&key, &b"data"[..]).unwrap();
        let signature = Signature::parse(&armored).unwrap();
        assert_eq!(
            signature.issuers()[0].to_string(),
            format!("the key {}", key.fingerprint())
        );
        assert_eq!(signature.issuers().len(), 1);
        assert_eq!(
            Signature::parse(&signature.to_bytes()).unwrap().issuers(),
            signature.issuers(),
            "binary is read"
        );

        let two = [armored.clone(), armored, sign(&other, &b"data"[..]).unwrap()].concat();
        assert_eq!(
            Signature::parse(&two).unwrap().issuers().len(),
            2,
            "concatenated files are read"
        );
        let many = two.repeat(MAX_SIGNATURES / 3 + 1);
        assert_eq!(not_a_signature(&many), "a file of 66 signatures");
    }

    #[test]
    fn a_signature_is_added_to_those_of_others() {
        let [carly, bob] = ["Carly", "Bob"].map(|name| SecretKey::generate(name, &KeyOptions::default()).unwrap());
        let of = |key: &SecretKey| Signature::parse(&sign(key, &b"data"[..]).unwrap()).unwrap();
        let both = of(&carly).with(of(&bob));
        let armored = both.to_armored();
        assert_eq!(armored.windows(10).filter(|part| part == b"-----BEGIN").count(), 1);
        assert_eq!(Signature::parse(&armored).unwrap().issuers().len(), 2);
        let again = both.with(of(&carly));
        assert_eq!(again.0.len(), 2, "an older signature by the same key is replaced");
        let certificates = [carly.certificate(), bob.certificate()];
        let verified = crate::verify_with_certificates(&certificates, &again.to_armored(), &b"data"[..]).unwrap();
        assert_eq!(verified.signers.len(), 2);
    }

    #[test]
    fn a_signature_cut_short_is_malformed() {
        let key = SecretKey::generate("Carly", &KeyOptions::default()).unwrap();
        let armored = sign(&key, &b"data"[..]).unwrap();
        let binary = Signature::parse(&armored).unwrap().to_bytes();
        for cut in [&armored[..armored.len() / 2], &binary[..binary.len() / 2], &binary[..3]] {
            assert!(
                matches!(Signature::parse(cut), Err(Error::MalformedSignature(_))),
                "{cut:?}"
            );
        }
    }
}
