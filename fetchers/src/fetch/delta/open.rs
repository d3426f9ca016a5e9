//! Opening what a head has sealed.

use std::io::{self, Write};

use dhow_store::delta::{DeltaError, DeltaHead, SEALED_RECIPE, SealedRecipe};
use dhow_trust::{Decrypted, Decryption};
use zeroize::Zeroizing;

use super::{Fetcher, blocking, in_recipe};
use crate::{error::Error, progress::Phase};

impl Fetcher<'_> {
    /// Opens the sealed part of a head with the user's keys, as archives are decrypted. Its signature was verified.
    ///
    /// Errors: [`Error::Decrypt`] where no key fits, which says whose would.
    pub(super) async fn open_head(
        &self,
        recipe: &str,
        head: &DeltaHead,
        message: &[u8],
    ) -> Result<(SealedRecipe, Decrypted), Error> {
        // Somebody may be asked for a passphrase.
        self.context.progress.end();
        let (secrets, head) = (self.context.secrets.clone(), head.clone());
        let (message, of) = (message.to_vec(), recipe.to_owned());
        let opened = blocking(move || {
            let failed = |source| Error::Decrypt {
                archive: of.clone(),
                source: Box::new(source),
            };
            let mut part = Part::default();
            let decryption = Decryption::open(message.as_slice(), &*secrets).map_err(failed)?;
            let outcome = decryption.copy_to(&mut part);
            if part.is_too_long {
                let problem = "its sealed part is longer than any can be";
                return Err(in_recipe(&of, DeltaError::Head { problem }));
            }
            let how = outcome.map_err(failed)?;
            let sealed = SealedRecipe::parse(&part.bytes, &head).map_err(|source| in_recipe(&of, source))?;
            Ok((sealed, how))
        })
        .await?;
        self.context.progress.begin(Phase::Recipe, recipe, None);
        Ok(opened)
    }
}

/// Takes as many bytes as a sealed part has, and no more: what is compressed in an OpenPGP message could be of any length.
#[derive(Default)]
struct Part {
    bytes: Zeroizing<Vec<u8>>,
    is_too_long: bool,
}

impl Write for Part {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.bytes.len() + bytes.len() > SEALED_RECIPE {
            self.is_too_long = true;
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        self.bytes.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
