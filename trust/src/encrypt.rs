//! Encrypting a file.

use std::io::{self, Read, Write};

use openpgp::{
    serialize::stream::{Encryptor, LiteralWriter, Message, Recipient},
    types::{AEADAlgorithm, DataFormat, Features, SymmetricAlgorithm},
};
use sequoia_openpgp as openpgp;

use crate::{Certificate, Error, Passphrase, watched::WatchedReader};

/// For whom a file is encrypted, and how.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct EncryptOptions {
    /// Whoever has the secret part of one of these keys can read it.
    pub recipients: Vec<Certificate>,
    /// Whoever knows one of these passphrases can read it.
    pub passphrases: Vec<Passphrase>,
    /// Encrypts as RFC 9580 has it (SEIPD version 2, AES-256 with OCB), which GnuPG does not read, and not as RFC 4880
    /// (SEIPD version 1, AES-256), which everyone does.
    pub aead: bool,
}

/// Encrypts `data` into `out` (appc spec, aci.md, "Image Archives"): with AES-256, and without compressing, since
/// the size of what is compressed can tell what is in it.
///
/// `data` is read once, in small pieces. Errors of the reader come back unchanged in [`Error::ReadData`], those of
/// the writer in [`Error::WriteData`].
pub fn encrypt(options: &EncryptOptions, data: impl Read + Send, out: impl Write + Send + Sync) -> Result<(), Error> {
    if options.recipients.is_empty() && options.passphrases.is_empty() {
        return Err(Error::NoRecipient);
    }
    // A key may say that its owner's program reads the newer format. Which one is written is for the caller to say.
    let features = if options.aead {
        Features::empty().set_seipdv1().set_seipdv2()
    } else {
        Features::empty().set_seipdv1()
    };
    let mut recipients = Vec::new();
    for certificate in &options.recipients {
        let key = certificate.encryption_key()?;
        let handle: openpgp::KeyHandle = if options.aead {
            key.fingerprint().into()
        } else {
            key.keyid().into()
        };
        recipients.push(Recipient::new(features.clone(), handle, key));
    }
    let failed = |error: openpgp::anyhow::Error| match error.downcast::<io::Error>() {
        Ok(error) => Error::WriteData(error),
        Err(error) => Error::Backend {
            action: "encrypt the file",
            source: error.into(),
        },
    };
    let passwords = options.passphrases.iter().map(|known| known.as_password().clone());
    let mut encryptor = Encryptor::for_recipients(Message::new(out), recipients)
        .add_passwords(passwords)
        .symmetric_algo(SymmetricAlgorithm::AES256);
    if options.aead {
        encryptor = encryptor.aead_algo(AEADAlgorithm::OCB);
    }
    let message = encryptor.build().map_err(failed)?;
    let mut message = LiteralWriter::new(message)
        .format(DataFormat::Binary)
        .build()
        .map_err(failed)?;
    let (mut data, failure) = WatchedReader::new(data);
    io::copy(&mut data, &mut message).map_err(|error| match failure.take() {
        Some(error) => Error::ReadData(error),
        None => Error::WriteData(error),
    })?;
    message.finalize().map_err(failed)
}
