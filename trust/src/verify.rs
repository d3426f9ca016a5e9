//! Verifying a detached signature over a stream.

use std::io::Read;

use dhow_image::Name;
use openpgp::{
    Cert, KeyHandle,
    parse::{
        Parse as _,
        stream::{
            DetachedVerifierBuilder, GoodChecksum, MessageLayer, MessageStructure, VerificationError,
            VerificationHelper,
        },
    },
};
use sequoia_openpgp as openpgp;

use crate::{
    Certificate, Error, Issuer, Keyring, PlacedPolicy, Signature, Signer, TrustRule, TrustedKey, Verification,
    certificate::POLICY, watched::WatchedReader,
};

/// Verifies that a key which `keyring` trusts for `name` signed exactly `data`.
///
/// The signature and its signer are judged first; `data` is read only if they could count, once, to its end, in
/// small pieces. Without a policy for the name, one good signature by a trusted key suffices, whatever others stand
/// beside it; with one, the good signatures together must meet it, each key counted once. Keys that are expired or
/// revoked today count for nothing, also for signatures that say they are older.
///
/// Errors of the reader come back unchanged in [`Error::ReadData`]; every other error but those of the keyring's
/// files has the kind [`crate::ErrorKind::Untrusted`].
pub fn verify_detached(
    keyring: &Keyring,
    name: &Name,
    signature: &[u8],
    data: impl Read + Send,
) -> Result<Verification, Error> {
    let signature = Signature::parse(signature)?;
    let Eligible {
        candidates,
        policy,
        trusted,
    } = keyring.eligible(name, &signature)?;
    let (signers, problem) = check(&signature, candidates, data)?;
    let Some(policy) = policy else {
        return Ok(Verification { signers, policy: None });
    };
    let fingerprints: Vec<_> = signers.iter().map(|signer| signer.fingerprint.clone()).collect();
    match policy.policy.judge(&fingerprints) {
        Ok(()) => Ok(Verification {
            signers,
            policy: Some(policy.met(trusted)),
        }),
        Err(short) => Err(policy.refuse(name, short, problem)),
    }
}

/// Verifies that a key which `keyring` trusts for any name at all signed exactly `data`.
///
/// It is for an encrypted archive of which the name is not known yet, to be asked before it is decrypted. It says
/// that no stranger made the bytes, and no more: once the name is known, [`verify_detached`] must follow.
pub fn verify_for_any_name(keyring: &Keyring, signature: &[u8], data: impl Read + Send) -> Result<Verification, Error> {
    let signature = Signature::parse(signature)?;
    let candidates = keyring.list()?.into_iter().map(Candidate::from);
    let (candidates, _) = select(candidates, &signature)?;
    let (signers, _) = check(&signature, candidates, data)?;
    Ok(Verification { signers, policy: None })
}

/// Verifies that one of `certificates` signed exactly `data`: as [`verify_detached`], without a keyring.
pub fn verify_with_certificates(
    certificates: &[Certificate],
    signature: &[u8],
    data: impl Read + Send,
) -> Result<Verification, Error> {
    let signature = Signature::parse(signature)?;
    let given = certificates.iter().cloned();
    let candidates = given.map(|certificate| Candidate {
        certificate,
        rule: TrustRule::Given,
    });
    let (candidates, _) = select(candidates, &signature)?;
    let (signers, _) = check(&signature, candidates, data)?;
    Ok(Verification { signers, policy: None })
}

/// What could make a signature count for a name.
#[derive(Debug)]
pub(crate) struct Eligible {
    /// Who may have made it, of those who count.
    pub(crate) candidates: Vec<Candidate>,
    pub(crate) policy: Option<PlacedPolicy>,
    /// How many keys are trusted for the name.
    pub(crate) trusted: usize,
}

/// A certificate whose signature would count.
#[derive(Debug)]
pub(crate) struct Candidate {
    pub(crate) certificate: Certificate,
    pub(crate) rule: TrustRule,
}

impl From<TrustedKey> for Candidate {
    fn from(trusted: TrustedKey) -> Self {
        Self {
            certificate: trusted.certificate,
            rule: trusted.prefix.map_or(TrustRule::Root, TrustRule::Prefix),
        }
    }
}

/// The candidates that may have made the signature, and why another one does not count. If there are none: why not.
pub(crate) fn select(
    candidates: impl IntoIterator<Item = Candidate>,
    signature: &Signature,
) -> Result<(Vec<Candidate>, Option<Error>), Error> {
    let handles = signature.handles();
    let mut selected = Vec::new();
    let mut problem = None;
    for candidate in candidates
        .into_iter()
        .filter(|candidate| candidate.certificate.has_key(&handles))
    {
        match candidate.certificate.check_key(&handles) {
            Ok(()) => selected.push(candidate),
            Err(error) => problem = problem.or(Some(error)),
        }
    }
    if selected.is_empty() {
        Err(problem.unwrap_or_else(|| Error::UnknownSigner {
            issuers: signature.issuers(),
        }))
    } else {
        Ok((selected, problem))
    }
}

/// The good signatures, at least one, and why the most telling of the others does not count.
fn check(
    signature: &Signature,
    candidates: Vec<Candidate>,
    data: impl Read + Send,
) -> Result<(Vec<Signer>, Option<Error>), Error> {
    let (data, failure) = WatchedReader::new(data);
    let judge = Judge {
        candidates,
        verdicts: Vec::new(),
    };
    let packets = signature.to_bytes();
    let malformed = |error: openpgp::anyhow::Error| Error::MalformedSignature(error.into());
    let mut verifier = DetachedVerifierBuilder::from_bytes(&packets)
        .and_then(|v| v.with_policy(&POLICY, None, judge))
        .map_err(malformed)?;
    let outcome = verifier.verify_reader(data);
    if let Some(error) = failure.take() {
        return Err(Error::ReadData(error));
    }
    outcome.map_err(malformed)?;
    verifier.into_helper().sum_up()
}

/// Turns the library's results into verdicts of ours.
struct Judge {
    candidates: Vec<Candidate>,
    verdicts: Vec<Result<Signer, Error>>,
}

impl Judge {
    fn accept(&self, GoodChecksum { sig, ka, .. }: GoodChecksum<'_>) -> Result<Signer, Error> {
        let fingerprint = ka.cert().fingerprint().into();
        let signer = self
            .candidates
            .iter()
            .find(|candidate| candidate.certificate.fingerprint() == fingerprint);
        let Some(Candidate { certificate, rule }) = signer else {
            return Err(Error::UnknownSigner {
                issuers: vec![Issuer::of(sig)],
            });
        };
        // The candidate was selected for any of the file's signatures: this is the one key that made this one.
        certificate.check_key(&[ka.key().key_handle()])?;
        // The library ignores these two bytes, which are outside of what is signed. gpg does not.
        if sig
            .computed_digest()
            .is_none_or(|digest| !digest.starts_with(sig.digest_prefix()))
        {
            return Err(Error::BadSignature {
                key: certificate.label(),
            });
        }
        let Some(signed_at) = sig.signature_creation_time() else {
            return Err(Error::MalformedSignature("it does not say when it was made".into()));
        };
        Ok(Signer {
            fingerprint,
            signing_key: ka.key().fingerprint().into(),
            user_id: certificate.label().user_id,
            signed_at: signed_at.into(),
            trusted_by: rule.clone(),
        })
    }

    fn reject(error: VerificationError<'_>) -> Error {
        let label = |cert: &Cert| Certificate::from_cert(cert.clone()).label();
        match error {
            VerificationError::MissingKey { sig } => Error::UnknownSigner {
                issuers: vec![Issuer::of(sig)],
            },
            VerificationError::UnboundKey { cert, error, .. } => Error::KeyUnusable {
                key: label(cert),
                source: error.into(),
            },
            VerificationError::BadKey { ka, error, .. } => Error::KeyUnusable {
                key: label(ka.cert()),
                source: error.into(),
            },
            VerificationError::BadSignature { ka, error, .. } => {
                use openpgp::Error::{Expired, NotYetLive, PolicyViolation, UnsupportedHashAlgorithm};
                let key = label(ka.cert());
                match error.downcast_ref::<openpgp::Error>() {
                    Some(Expired(_) | NotYetLive(_) | PolicyViolation(..) | UnsupportedHashAlgorithm(_)) => {
                        Error::RefusedSignature {
                            key,
                            source: error.into(),
                        }
                    }
                    _ => Error::BadSignature { key },
                }
            }
            VerificationError::MalformedSignature { error, .. } => Error::MalformedSignature(error.into()),
            other => Error::MalformedSignature(other.to_string().into()),
        }
    }

    /// Each signer once, and the most telling of the errors, which is the result where nobody counts.
    fn sum_up(self) -> Result<(Vec<Signer>, Option<Error>), Error> {
        let mut signers: Vec<Signer> = Vec::new();
        let mut problem = None;
        for verdict in self.verdicts {
            match (verdict, &problem) {
                (Ok(signer), _) => {
                    if signers.iter().all(|known| known.fingerprint != signer.fingerprint) {
                        signers.push(signer);
                    }
                }
                (Err(error), None | Some(Error::UnknownSigner { .. })) => problem = Some(error),
                (Err(_), Some(_)) => {}
            }
        }
        match problem {
            problem if !signers.is_empty() => Ok((signers, problem)),
            Some(error) => Err(error),
            None => Err(Error::MalformedSignature("it holds no signature".into())),
        }
    }
}

impl VerificationHelper for Judge {
    fn get_certs(&mut self, _: &[KeyHandle]) -> openpgp::Result<Vec<Cert>> {
        Ok(self
            .candidates
            .iter()
            .map(|candidate| candidate.certificate.as_cert().clone())
            .collect())
    }

    fn check(&mut self, structure: MessageStructure<'_>) -> openpgp::Result<()> {
        for layer in structure {
            if let MessageLayer::SignatureGroup { results } = layer {
                for result in results {
                    let verdict = result.map_err(Self::reject).and_then(|good| self.accept(good));
                    self.verdicts.push(verdict);
                }
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::{
        io,
        time::{Duration, SystemTime},
    };

    use super::*;
    use crate::{ErrorKind, KeyOptions, SecretKey, sign};

    const DATA: &[u8] = b"an archive, as far as a signature is concerned";

    fn key(user_id: &str) -> SecretKey {
        SecretKey::generate(user_id, &KeyOptions::default()).unwrap()
    }

    fn name(text: &str) -> Name {
        Name::new(text).unwrap()
    }

    fn verify(key: &SecretKey, signature: &[u8], data: &[u8]) -> Result<Verification, Error> {
        verify_with_certificates(&[key.certificate()], signature, data)
    }

    /// Data that must not be read.
    struct Untouched;

    impl Read for Untouched {
        fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
            panic!("the data was read although the signer could not count");
        }
    }

    #[test]
    fn a_prefix_trusts_whole_segments_only() {
        let dir = tempfile::tempdir().unwrap();
        let keyring = Keyring::open(None::<&str>, dir.path());
        let carly = key("Carly");
        keyring
            .trust(Some(&name("example.com/foo")), &carly.certificate())
            .unwrap();
        let signature = sign(&carly, DATA).unwrap();
        for good in ["example.com/foo", "example.com/foo/bar"] {
            let verification = verify_detached(&keyring, &name(good), &signature, DATA).unwrap();
            let [signer] = &verification.signers[..] else {
                panic!("{verification:?}")
            };
            assert_eq!(signer.trusted_by, TrustRule::Prefix(name("example.com/foo")));
            assert_eq!(signer.fingerprint, carly.fingerprint());
            assert_eq!(signer.user_id.as_deref(), Some("Carly"));
            assert!(chrono::Utc::now() - signer.signed_at < chrono::TimeDelta::seconds(30));
        }
        for bad in ["example.com/foobar", "example.com", "example.org/foo"] {
            let error = verify_detached(&keyring, &name(bad), &signature, Untouched).unwrap_err();
            assert_eq!(
                error.to_string(),
                format!(
                    "the signature is by {}, which is not trusted for `{bad}`, only for `example.com/foo`",
                    carly.label()
                )
            );
            assert_eq!(error.kind(), ErrorKind::Untrusted);
        }
    }

    #[test]
    fn a_stranger_is_refused_before_the_data_is_read() {
        let dir = tempfile::tempdir().unwrap();
        let keyring = Keyring::open(None::<&str>, dir.path());
        keyring.trust(None, &key("Carly").certificate()).unwrap();
        let stranger = key("Stranger");
        let bytes = sign(&stranger, DATA).unwrap();
        let early = keyring
            .may_verify(&name("example.com"), &Signature::parse(&bytes).unwrap())
            .unwrap_err();
        let late = verify_detached(&keyring, &name("example.com"), &bytes, Untouched).unwrap_err();
        assert_eq!(
            early.to_string(),
            format!(
                "no trusted key made the signature, which says it was made by the key {}",
                stranger.fingerprint()
            )
        );
        assert_eq!(early.to_string(), late.to_string());
        assert!(matches!(late, Error::UnknownSigner { .. }));
    }

    #[test]
    fn altered_data_is_refused() {
        let carly = key("Carly");
        let signature = sign(&carly, DATA).unwrap();
        verify(&carly, &signature, DATA).unwrap();
        let mut altered = DATA.to_vec();
        altered[20] ^= 1;
        let longer = [DATA, b"\n"].concat();
        for data in [&altered[..], &longer, &DATA[..DATA.len() - 1], b""] {
            let error = verify(&carly, &signature, data).unwrap_err();
            assert!(
                matches!(&error, Error::BadSignature { key } if *key == carly.label()),
                "{error:?}"
            );
            assert_eq!(error.kind(), ErrorKind::Untrusted);
        }
    }

    #[test]
    fn a_flip_of_any_bit_of_a_signature_is_refused() {
        let carly = key("Carly");
        let binary = Signature::parse(&sign(&carly, DATA).unwrap()).unwrap().to_bytes();
        let mut accepted: Vec<usize> = Vec::new();
        for bit in 0..binary.len() * 8 {
            let mut flipped = binary.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            if verify(&carly, &flipped, DATA).is_ok() {
                accepted.push(bit);
            }
        }
        assert!(accepted.is_empty(), "{accepted:?} of {} bits", binary.len() * 8);
    }

    #[test]
    fn one_good_signature_among_others_suffices() {
        let [carly, bob] = [key("Carly"), key("Bob")];
        let of_carly = sign(&carly, DATA).unwrap();
        let of_bob = sign(&bob, DATA).unwrap();
        let bad_of_carly = sign(&carly, &b"other data"[..]).unwrap();
        let all = [bad_of_carly.clone(), of_bob.clone(), of_carly.clone(), of_carly].concat();
        let verification = verify(&carly, &all, DATA).unwrap();
        let signers: Vec<_> = verification
            .signers
            .iter()
            .map(|signer| signer.fingerprint.clone())
            .collect();
        assert_eq!(signers, [carly.fingerprint()], "each signer counts once");
        let both = verify_with_certificates(&[carly.certificate(), bob.certificate()], &all, DATA).unwrap();
        assert_eq!(both.signers.len(), 2);

        let error = verify(&carly, &[of_bob, bad_of_carly].concat(), DATA).unwrap_err();
        assert!(
            matches!(error, Error::BadSignature { .. }),
            "the trusted key's failure is told: {error:?}"
        );
    }

    #[test]
    fn an_expired_key_verifies_nothing() {
        let hour = Duration::from_secs(3600);
        let mut options = KeyOptions {
            created: Some(SystemTime::now() - 2 * hour),
            ..KeyOptions::default()
        };
        options.validity = Some(hour);
        let expired = SecretKey::generate("Carly", &options).unwrap();
        let refused = sign(&expired, DATA).unwrap_err();
        assert!(matches!(&refused, Error::KeyExpired { .. }), "{refused:?}");
        options.validity = Some(3 * hour);
        let alive = SecretKey::generate("Carly", &options).unwrap();
        verify(&alive, &sign(&alive, DATA).unwrap(), DATA).unwrap();
    }

    #[test]
    fn errors_of_the_reader_stay_what_they_are() {
        struct Broken;
        impl Read for Broken {
            fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
                Err(io::Error::new(io::ErrorKind::ConnectionReset, "the peer went away"))
            }
        }
        let carly = key("Carly");
        let signature = sign(&carly, DATA).unwrap();
        let certificates = [carly.certificate()];
        for error in [
            verify_with_certificates(&certificates, &signature, DATA.chain(Broken)).unwrap_err(),
            sign(&carly, DATA.chain(Broken)).unwrap_err(),
        ] {
            assert_eq!(error.kind(), ErrorKind::Io);
            let Error::ReadData(error) = error else {
                panic!("{error:?}")
            };
            assert_eq!(error.kind(), io::ErrorKind::ConnectionReset);
            assert_eq!(error.to_string(), "the peer went away");
        }
    }

    #[test]
    fn memory_does_not_grow_with_the_data() {
        fn peak_kib() -> u64 {
            let status = std::fs::read_to_string("/proc/self/status").unwrap();
            let line = status.lines().find(|line| line.starts_with("VmHWM:")).unwrap();
            line.split_whitespace().nth(1).unwrap().parse().unwrap()
        }
        let data = || io::repeat(b'x').take(300 << 20);
        let carly = key("Carly");
        verify(&carly, &sign(&carly, DATA).unwrap(), DATA).unwrap();
        let before = peak_kib();
        let signature = sign(&carly, data()).unwrap();
        verify_with_certificates(&[carly.certificate()], &signature, data()).unwrap();
        let grown = peak_kib() - before;
        assert!(grown < 16 * 1024, "{grown} KiB for 300 MiB of data");
    }
}
