//! [`Decryption`]: reading an encrypted file, to its end or not at all.

use std::{
    fmt,
    io::{self, Read, Write},
};

use openpgp::{
    Cert, KeyHandle,
    crypto::{S2K, SessionKey},
    packet::{
        Key, PKESK, SKESK,
        key::{SecretParts, UnspecifiedRole},
    },
    parse::{
        Parse as _,
        stream::{DecryptionHelper, Decryptor, DecryptorBuilder, MessageLayer, MessageStructure, VerificationHelper},
    },
    types::SymmetricAlgorithm,
};
use sequoia_openpgp as openpgp;
use serde::{Deserialize, Serialize};

use crate::{
    Error, Fingerprint, PassphraseRequest, SecretKey, Secrets, armor,
    certificate::POLICY,
    passphrase::ATTEMPTS,
    watched::{Failure, WatchedReader},
};

/// How much is held back inside the library, in bytes. Its default is 25 MiB.
const BUFFER: usize = 1 << 20;

/// How much is looked at to tell what a file is, in bytes.
const START: usize = 64;

/// More recipients or passphrases than any honest file has. Each passphrase costs a third of a second to try.
const MAX_PASSPHRASE_SLOTS: usize = 16;

/// Of which a slot may demand at most 2 to this, in KiB: 1 GiB.
const MAX_ARGON2_MEMORY: u8 = 20;

/// Whether a file that begins with these bytes is an encrypted OpenPGP message, armored or not (RFC 4880, section
/// 4.2: it begins with a packet of tag 1, 3, 9, 18 or 20, or with a marker). Sixteen bytes are enough.
pub fn is_encrypted(start: &[u8]) -> bool {
    match start.first() {
        Some(0x84..=0x87 | 0x8c..=0x8f | 0xa4..=0xab | 0xc1 | 0xc3 | 0xc9 | 0xca | 0xd2 | 0xd4) => true,
        _ => start.starts_with(b"-----BEGIN PGP M") && !start.starts_with(b"-----BEGIN PGP MESSAGE, "),
    }
}

/// An encrypted file that was opened: its key is found, and nothing of its content is read yet.
///
/// It is no reader, on purpose. A file that was tampered with yields almost all of its content, altered at will,
/// before the alteration shows at its end: what is decrypted must not be used before that.
pub struct Decryption<'a> {
    decryptor: Decryptor<'a, Opener<'a>>,
    failure: Failure,
}

/// A file that was decrypted to its end, unaltered.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Decrypted {
    /// What opened it.
    pub opened_by: OpenedBy,
    /// The cipher, as in `AES-256`.
    pub cipher: String,
    /// How large the content is, in bytes.
    pub size: u64,
}

/// What opened an encrypted file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum OpenedBy {
    /// The secret part of the certificate with this fingerprint.
    Key(Fingerprint),
    /// A passphrase.
    Passphrase,
}

impl<'a> Decryption<'a> {
    /// Opens an encrypted file with one of the keys or a passphrase that `secrets` gives. Whoever is to be asked for
    /// a passphrase is asked here.
    pub fn open(mut data: impl Read + Send + 'a, secrets: &'a dyn Secrets) -> Result<Self, Error> {
        let mut start = Vec::with_capacity(START);
        (&mut data)
            .take(START as u64)
            .read_to_end(&mut start)
            .map_err(Error::ReadData)?;
        if !is_encrypted(&start) {
            return Err(Error::NotEncrypted {
                found: armor::describe(&start),
            });
        }
        let (data, failure) = WatchedReader::new(io::Cursor::new(start).chain(data));
        let opener = Opener { secrets, opened: None };
        let decryptor = DecryptorBuilder::from_reader(data)
            .and_then(|builder| builder.buffer_size(BUFFER).with_policy(&POLICY, None, opener))
            .map_err(|error| match failure.take() {
                Some(error) => Error::ReadData(error),
                None => refused(error),
            })?;
        Ok(Self { decryptor, failure })
    }

    /// Decrypts the whole content into `out`.
    ///
    /// **Only if this succeeds may anything of what was written be used.** If it fails, throw it away.
    pub fn copy_to(self, out: &mut impl Write) -> Result<Decrypted, Error> {
        let Self { mut decryptor, failure } = self;
        let mut buffer = vec![0; 128 << 10];
        let mut size = 0;
        loop {
            let count = match decryptor.read(&mut buffer) {
                Ok(0) => break,
                Ok(count) => count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => {
                    return Err(match failure.take() {
                        Some(error) => Error::ReadData(error),
                        None => Error::DamagedEncryption(error.into()),
                    });
                }
            };
            out.write_all(&buffer[..count]).map_err(Error::WriteData)?;
            size += count as u64;
        }
        if !decryptor.message_processed() {
            return Err(Error::DamagedEncryption("its end is missing".into()));
        }
        match decryptor.into_helper().opened {
            Some((opened_by, cipher)) => Ok(Decrypted {
                opened_by,
                cipher: cipher.to_string(),
                size,
            }),
            None => Err(Error::NotEncrypted {
                found: "an OpenPGP message that is not encrypted".to_owned(),
            }),
        }
    }
}

/// Why a file was not opened.
fn refused(error: openpgp::anyhow::Error) -> Error {
    let error = match error.downcast::<Error>() {
        Ok(own) => return own,
        Err(other) => other,
    };
    match error.downcast_ref::<openpgp::Error>() {
        Some(openpgp::Error::PolicyViolation(..)) => Error::RefusedEncryption(error.into()),
        _ => Error::DamagedEncryption(error.into()),
    }
}

/// Finds the session key.
struct Opener<'a> {
    secrets: &'a dyn Secrets,
    opened: Option<(OpenedBy, SymmetricAlgorithm)>,
}

/// Tries a session key, and gives the cipher if it fits.
type Try<'t> = &'t mut dyn FnMut(Option<SymmetricAlgorithm>, &SessionKey) -> bool;

impl Opener<'_> {
    /// With the user's keys: those that need no passphrase first.
    fn with_keys(
        &self,
        slots: &[PKESK],
        algorithm: Option<SymmetricAlgorithm>,
        fits: Try<'_>,
    ) -> Result<Option<(OpenedBy, SymmetricAlgorithm)>, Error> {
        let mut keys = self.secrets.keys()?;
        keys.retain(|key| slots.iter().any(|slot| is_for(slot, key)));
        keys.sort_by_key(SecretKey::is_locked);
        let mut refused = None;
        for key in keys {
            let unlocked = match key.unlocked(self.secrets) {
                Ok(unlocked) => unlocked,
                // Another key may open it, or a passphrase.
                Err(error @ (Error::Locked { .. } | Error::WrongPassphrase { .. })) => {
                    refused = refused.or(Some(error));
                    continue;
                }
                Err(error) => return Err(error),
            };
            for slot in slots {
                if let Some(cipher) = try_slot(slot, &unlocked, algorithm, fits) {
                    return Ok(Some((OpenedBy::Key(key.fingerprint()), cipher)));
                }
            }
        }
        refused.map_or(Ok(None), Err)
    }

    fn with_passphrase(&self, slots: &[SKESK], fits: Try<'_>) -> Result<Option<(OpenedBy, SymmetricAlgorithm)>, Error> {
        let slots: Vec<&SKESK> = slots
            .iter()
            .filter(|slot| is_modest(slot))
            .take(MAX_PASSPHRASE_SLOTS)
            .collect();
        if slots.is_empty() {
            return Ok(None);
        }
        for attempt in 0..ATTEMPTS {
            let Some(passphrase) = self.secrets.passphrase(&PassphraseRequest::File, attempt)? else {
                return if attempt == 0 {
                    Ok(None)
                } else {
                    Err(Error::WrongFilePassphrase)
                };
            };
            for slot in &slots {
                let Ok((algorithm, session_key)) = slot.decrypt(passphrase.as_password()) else {
                    continue;
                };
                if fits(algorithm, &session_key) {
                    let cipher = algorithm.unwrap_or_else(|| cipher_of(slot));
                    return Ok(Some((OpenedBy::Passphrase, cipher)));
                }
            }
        }
        Err(Error::WrongFilePassphrase)
    }
}

impl DecryptionHelper for Opener<'_> {
    fn decrypt(
        &mut self,
        public: &[PKESK],
        symmetric: &[SKESK],
        algorithm: Option<SymmetricAlgorithm>,
        fits: Try<'_>,
    ) -> openpgp::Result<Option<Cert>> {
        let by_key = self.with_keys(public, algorithm, fits);
        let opened = match by_key {
            Ok(Some(opened)) => Some(opened),
            Ok(None) => self.with_passphrase(symmetric, fits)?,
            // A key that stays locked is no reason not to ask for the passphrase of the file.
            Err(locked @ (Error::Locked { .. } | Error::WrongPassphrase { .. })) => {
                match self.with_passphrase(symmetric, fits)? {
                    Some(opened) => Some(opened),
                    None => return Err(locked.into()),
                }
            }
            Err(error) => return Err(error.into()),
        };
        if opened.is_none() {
            let keys = public.iter().map(|slot| match slot.recipient() {
                Some(handle) => format!("the key {handle:X}"),
                None => "somebody who is not named".to_owned(),
            });
            let passphrase = (!symmetric.is_empty()).then(|| "whoever has a passphrase".to_owned());
            return Err(Error::CannotDecrypt {
                recipients: keys.chain(passphrase).collect(),
            }
            .into());
        }
        self.opened = opened;
        Ok(None)
    }
}

impl VerificationHelper for Opener<'_> {
    /// Signatures inside are nobody's business here: an image's signature is outside, over the encrypted bytes.
    fn get_certs(&mut self, _: &[KeyHandle]) -> openpgp::Result<Vec<Cert>> {
        Ok(Vec::new())
    }

    fn check(&mut self, structure: MessageStructure<'_>) -> openpgp::Result<()> {
        match structure.iter().next() {
            Some(MessageLayer::Encryption { sym_algo, .. }) => {
                if let Some((_, cipher)) = &mut self.opened {
                    *cipher = *sym_algo;
                }
                Ok(())
            }
            _ => Err(Error::NotEncrypted {
                found: "an OpenPGP message that is not encrypted".to_owned(),
            }
            .into()),
        }
    }
}

fn try_slot(
    slot: &PKESK,
    key: &SecretKey,
    algorithm: Option<SymmetricAlgorithm>,
    fits: Try<'_>,
) -> Option<SymmetricAlgorithm> {
    for subkey in key.as_cert().keys().unencrypted_secret() {
        let subkey: Key<SecretParts, UnspecifiedRole> = subkey.key().clone().role_into_unspecified();
        if !is_for_subkey(slot, &subkey) {
            continue;
        }
        let Ok(mut pair) = subkey.into_keypair() else { continue };
        if let Some((found, session_key)) = slot.decrypt(&mut pair, algorithm)
            && fits(found, &session_key)
        {
            return found.or(algorithm).or(Some(SymmetricAlgorithm::AES256));
        }
    }
    None
}

/// Whether the slot names one of the key's subkeys, or hides for whom it is.
fn is_for(slot: &PKESK, key: &SecretKey) -> bool {
    let mut subkeys = key.as_cert().keys().secret();
    subkeys.any(|subkey| is_for_subkey(slot, &subkey.key().clone().role_into_unspecified()))
}

fn is_for_subkey(slot: &PKESK, subkey: &Key<SecretParts, UnspecifiedRole>) -> bool {
    subkey.pk_algo().for_encryption()
        && slot
            .recipient()
            .is_none_or(|recipient| recipient.aliases(subkey.key_handle()))
}

/// Whether the slot asks for no more memory than a file of a stranger may.
fn is_modest(slot: &SKESK) -> bool {
    let s2k = match slot {
        SKESK::V4(slot) => slot.s2k(),
        SKESK::V6(slot) => slot.s2k(),
        _ => return false,
    };
    !matches!(s2k, S2K::Argon2 { m, .. } if *m > MAX_ARGON2_MEMORY)
}

fn cipher_of(slot: &SKESK) -> SymmetricAlgorithm {
    match slot {
        SKESK::V4(slot) => slot.symmetric_algo(),
        SKESK::V6(slot) => slot.symmetric_algo(),
        _ => SymmetricAlgorithm::AES256,
    }
}

impl fmt::Debug for Decryption<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Decryption(content not shown)")
    }
}

impl fmt::Display for OpenedBy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Key(fingerprint) => write!(f, "the key {fingerprint}"),
            Self::Passphrase => f.write_str("a passphrase"),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::{EncryptOptions, GivenSecrets, KeyOptions, NoSecrets, encrypt};

    fn key(user_id: &str) -> SecretKey {
        SecretKey::generate(user_id, &KeyOptions::default()).unwrap()
    }

    fn encrypted(options: &EncryptOptions, data: &[u8]) -> Vec<u8> {
        let mut sealed = Vec::new();
        encrypt(options, data, &mut sealed).unwrap();
        sealed
    }

    fn for_keys(keys: &[&SecretKey]) -> EncryptOptions {
        EncryptOptions {
            recipients: keys.iter().map(|key| key.certificate()).collect(),
            ..EncryptOptions::default()
        }
    }

    fn with_passphrase(passphrase: &str) -> EncryptOptions {
        EncryptOptions {
            passphrases: vec![passphrase.into()],
            ..EncryptOptions::default()
        }
    }

    fn decrypted(sealed: &[u8], secrets: &dyn Secrets) -> Result<(Vec<u8>, Decrypted), Error> {
        let mut content = Vec::new();
        let how = Decryption::open(sealed, secrets)?.copy_to(&mut content)?;
        Ok((content, how))
    }

    fn given(keys: &[&SecretKey], passphrase: Option<&str>) -> GivenSecrets {
        GivenSecrets {
            keys: keys.iter().map(|key| (*key).clone()).collect(),
            passphrase: passphrase.map(Into::into),
        }
    }

    #[test]
    fn every_recipient_and_passphrase_opens_it() {
        let [carly, bob, zoe] = ["Carly", "Bob", "Zoe"].map(key);
        for aead in [false, true] {
            let mut options = for_keys(&[&carly, &bob]);
            options.passphrases = vec!["sekr3t".into(), "other".into()];
            options.aead = aead;
            let sealed = encrypted(&options, b"content");
            assert!(is_encrypted(&sealed) && !is_encrypted(b"content"));
            for key in [&carly, &bob] {
                let (content, how) = decrypted(&sealed, &given(&[&zoe, key], None)).unwrap();
                assert_eq!(content, b"content");
                assert_eq!(how.opened_by, OpenedBy::Key(key.fingerprint()));
                assert_eq!((&how.cipher[..], how.size), ("AES-256", 7));
            }
            for passphrase in ["sekr3t", "other"] {
                let (content, how) = decrypted(&sealed, &given(&[&zoe], Some(passphrase))).unwrap();
                assert_eq!((&content[..], how.opened_by), (&b"content"[..], OpenedBy::Passphrase));
            }
            let wrong = decrypted(&sealed, &given(&[], Some("secret"))).unwrap_err();
            assert!(matches!(wrong, Error::WrongFilePassphrase), "{wrong:?}");
            let nobody = decrypted(&sealed, &given(&[&zoe], None)).unwrap_err();
            assert!(
                matches!(&nobody, Error::CannotDecrypt { recipients } if recipients.len() == 3),
                "{nobody:?}"
            );
        }
        assert!(matches!(
            encrypt(&EncryptOptions::default(), &b""[..], io::sink()),
            Err(Error::NoRecipient)
        ));
    }

    #[test]
    fn a_locked_key_is_unlocked_on_use() {
        let carly = key("Carly").lock(&"sekr3t".into()).unwrap();
        let sealed = encrypted(&for_keys(&[&carly]), b"content");
        assert_eq!(
            decrypted(&sealed, &given(&[&carly], Some("sekr3t"))).unwrap().0,
            b"content"
        );
        let wrong = decrypted(&sealed, &given(&[&carly], Some("secret"))).unwrap_err();
        assert!(matches!(wrong, Error::WrongPassphrase { .. }), "{wrong:?}");
        let locked = decrypted(&sealed, &given(&[&carly], None)).unwrap_err();
        assert!(matches!(locked, Error::Locked { .. }), "{locked:?}");
    }

    #[test]
    fn content_is_not_compressed() {
        let content = vec![b'x'; 1 << 20];
        for aead in [false, true] {
            let mut options = with_passphrase("sekr3t");
            options.aead = aead;
            assert!(encrypted(&options, &content).len() > content.len());
        }
    }

    #[test]
    fn an_alteration_anywhere_and_a_cut_anywhere_fail() {
        let carly = key("Carly");
        let content: Vec<u8> = (0..40_000_u32).flat_map(u32::to_le_bytes).collect();
        let secrets = given(&[&carly], None);
        for aead in [false, true] {
            let mut options = for_keys(&[&carly]);
            options.aead = aead;
            let sealed = encrypted(&options, &content);
            assert_eq!(decrypted(&sealed, &secrets).unwrap().0, content);
            for at in (0..sealed.len()).step_by(977).chain(sealed.len() - 30..sealed.len()) {
                let mut altered = sealed.clone();
                altered[at] ^= 1;
                assert!(
                    decrypted(&altered, &secrets).is_err(),
                    "aead {aead}: a bit of byte {at}"
                );
                let cut = decrypted(&sealed[..at], &secrets);
                assert!(cut.is_err(), "aead {aead}: cut at {at}");
            }
            let longer = [&sealed[..], b"more"].concat();
            assert!(decrypted(&longer, &secrets).is_err(), "aead {aead}: more at the end");
        }
    }

    #[test]
    fn what_is_not_encrypted_is_refused_by_name() {
        let found = |bytes: &[u8]| match decrypted(bytes, &NoSecrets) {
            Err(Error::NotEncrypted { found }) => found,
            other => panic!("{other:?}"),
        };
        assert_eq!(found(b"\x1f\x8b\x08\x00"), "other data");
        assert_eq!(found(b""), "empty");
        assert_eq!(found(&key("Carly").certificate().to_armored()), "an OpenPGP public key");
        for noise in [
            &b"\xc3\x0d\x04"[..],
            b"\x8c",
            b"-----BEGIN PGP MESSAGE-----\n\nnothing\n",
        ] {
            let error = decrypted(noise, &NoSecrets).unwrap_err();
            assert!(matches!(error, Error::DamagedEncryption(_)), "{error:?}");
        }
    }

    #[test]
    fn errors_of_reader_and_writer_stay_what_they_are() {
        struct Broken;
        impl Read for Broken {
            fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
                Err(io::Error::new(io::ErrorKind::ConnectionReset, "the peer went away"))
            }
        }
        impl Write for Broken {
            fn write(&mut self, _: &[u8]) -> io::Result<usize> {
                Err(io::Error::new(io::ErrorKind::StorageFull, "no room"))
            }
            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }
        let options = with_passphrase("sekr3t");
        let secrets = given(&[], Some("sekr3t"));
        let content = vec![0; 1 << 20];
        let sealed = encrypted(&options, &content);
        let half = &sealed[..sealed.len() / 2];
        for error in [
            encrypt(&options, content.chain(Broken), io::sink()).unwrap_err(),
            Decryption::open(half.chain(Broken), &secrets)
                .and_then(|opened| opened.copy_to(&mut io::sink()))
                .unwrap_err(),
        ] {
            assert!(
                matches!(&error, Error::ReadData(error) if error.to_string() == "the peer went away"),
                "{error:?}"
            );
        }
        for error in [
            encrypt(&options, &content[..], Broken).unwrap_err(),
            Decryption::open(&sealed[..], &secrets)
                .and_then(|opened| opened.copy_to(&mut Broken))
                .unwrap_err(),
        ] {
            assert!(
                matches!(&error, Error::WriteData(error) if error.kind() == io::ErrorKind::StorageFull),
                "{error:?}"
            );
        }
    }
}
