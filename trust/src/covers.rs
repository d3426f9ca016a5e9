//! Whether signatures are of certain bytes, whoever made them.

use std::io::{self, Read};

use openpgp::crypto::hash::Context;
use sequoia_openpgp as openpgp;

use crate::{Certificate, Error, Issuer, Signature};

impl Signature {
    /// Checks that each of these signatures is of `data`, before another is put beside them. This says nothing of whom
    /// to believe: expired keys count here too.
    ///
    /// A signature by a key among `certificates` is verified. Of another nobody can tell more than that the first two
    /// bytes of its digest fit, which other data would do once in 65,536 times. The error is [`Error::OtherData`].
    pub fn check_covers(&self, certificates: &[Certificate], mut data: impl Read) -> Result<(), Error> {
        let contexts = self.packets().iter().map(|signature| -> openpgp::Result<Context> {
            let mut context = signature.hash_algo().context()?.for_signature(signature.version());
            if let openpgp::packet::Signature::V6(signature) = signature {
                context.update(signature.salt());
            }
            Ok(context)
        });
        let contexts = contexts.collect::<openpgp::Result<Vec<_>>>();
        let mut contexts = contexts.map_err(|error| Error::MalformedSignature(error.into()))?;
        let mut buffer = vec![0; 64 << 10];
        loop {
            match data.read(&mut buffer) {
                Ok(0) => break,
                Ok(read) => contexts.iter_mut().for_each(|context| context.update(&buffer[..read])),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(Error::ReadData(error)),
            }
        }
        for (signature, context) in self.packets().iter().zip(contexts) {
            let issuer = Issuer::of(signature);
            let key = certificates
                .iter()
                .flat_map(|certificate| certificate.as_cert().keys())
                .find(|key| key.key().key_handle().aliases(issuer.handle()));
            let is_covering = match key {
                Some(key) => signature.verify_hash(key.key(), context).is_ok(),
                None => digest(signature, context).is_ok_and(|digest| digest.starts_with(signature.digest_prefix())),
            };
            if !is_covering {
                return Err(Error::OtherData { issuer });
            }
        }
        Ok(())
    }
}

fn digest(signature: &openpgp::packet::Signature, mut context: Context) -> openpgp::Result<Vec<u8>> {
    use openpgp::crypto::hash::Hash as _;
    signature.hash(&mut context)?;
    context.into_digest()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::{KeyOptions, SecretKey, sign};

    #[test]
    fn signatures_are_of_the_bytes_that_were_signed() {
        let key = |name: &str| SecretKey::generate(name, &KeyOptions::default()).unwrap();
        let (carly, bob) = (key("carly@example.com"), key("bob@example.com"));
        let by = |key: &SecretKey, data: &[u8]| Signature::parse(&sign(key, data).unwrap()).unwrap();
        let both = by(&carly, b"data").with(by(&bob, b"data"));
        let known = [carly.certificate()];
        for certificates in [&known[..], &[]] {
            both.check_covers(certificates, &b"data"[..]).unwrap();
            let error = both.check_covers(certificates, &b"date"[..]).unwrap_err();
            assert!(error.to_string().contains("is of other bytes"), "{error}");
        }
        // One that does not fit is enough, known or not.
        let mixed = by(&carly, b"data").with(by(&bob, b"date"));
        assert!(matches!(
            mixed.check_covers(&known, &b"data"[..]),
            Err(Error::OtherData { .. })
        ));
    }
}
