//! Signing an archive.

use std::io::{ErrorKind, Read, Write as _};

use openpgp::{
    armor, crypto,
    serialize::stream::{Armorer, Message, Signer},
    types::HashAlgorithm,
};
use sequoia_openpgp as openpgp;

use crate::{Error, SecretKey};

/// As strong as the keys are, and the fastest where processors have instructions for it: whoever verifies reads all of
/// an archive before anything else can be done with it.
const HASH: HashAlgorithm = HashAlgorithm::SHA256;

/// Makes the armored detached signature of `data`: what belongs into its `.asc` file (appc spec, aci.md, "Image
/// Archives").
///
/// `data` is read once, in small pieces. Errors of the reader come back unchanged in [`Error::ReadData`].
pub fn sign(key: &SecretKey, data: impl Read) -> Result<Vec<u8>, Error> {
    sign_with(key.signer()?, data)
}

pub(crate) fn sign_with(signer: impl crypto::Signer + Send + Sync, mut data: impl Read) -> Result<Vec<u8>, Error> {
    // An agent's errors are ours already.
    let failed = |error: openpgp::anyhow::Error| match error.downcast::<Error>() {
        Ok(own) => own,
        Err(error) => Error::Backend {
            action: "write the signature",
            source: error.into(),
        },
    };
    let mut signature = Vec::new();
    let message = Message::new(&mut signature);
    let message = Armorer::new(message)
        .kind(armor::Kind::Signature)
        .build()
        .map_err(failed)?;
    let mut message = Signer::new(message, signer)
        .and_then(|signer| signer.detached().hash_algo(HASH))
        .and_then(|signer| signer.build())
        .map_err(failed)?;

    let mut buffer = vec![0; 128 * 1024];
    loop {
        match data.read(&mut buffer) {
            Ok(0) => break,
            Ok(count) => message
                .write_all(&buffer[..count])
                .map_err(|error| failed(error.into()))?,
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(Error::ReadData(error)),
        }
    }
    message.finalize().map_err(failed)?;
    Ok(signature)
}
