//! [`SignedCatalog`]: a catalog as it travels.

use bytes::Bytes;
use dhow_image::Name;
use dhow_trust::{Certificate, Keyring, Verification, verify_detached, verify_with_certificates};

use super::{Catalog, CatalogError, CatalogHead, CatalogLines};

/// The size of the largest catalog that is read, in bytes: some hundred thousand images.
const MAX_SIZE: usize = 64 << 20;
/// The line with which the signature begins. JSON has no such line, for its texts have no raw line ends.
const SIGNATURE: &[u8] = b"-----BEGIN PGP SIGNATURE-----";

/// A catalog as it travels: its JSON, then the armored detached signature of exactly these bytes, in one file, so that
/// nobody ever sees the one without the other.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignedCatalog {
    json: Bytes,
    signature: Bytes,
}

impl SignedCatalog {
    /// The size of the largest file that is worth downloading, in bytes.
    pub const MAX_SIZE: usize = MAX_SIZE;

    /// Puts a catalog's JSON, which ends with a line end, and its armored signature together.
    pub fn new(json: Vec<u8>, signature: Vec<u8>) -> Self {
        Self {
            json: json.into(),
            signature: signature.into(),
        }
    }

    /// Takes a file apart. Nothing of it is to be believed yet.
    pub fn read(file: &[u8]) -> Result<Self, CatalogError> {
        check_size(file)?;
        Self::of(Bytes::copy_from_slice(file))
    }

    /// The same, of a file that stays where it is.
    pub fn of(mut file: Bytes) -> Result<Self, CatalogError> {
        check_size(&file)?;
        let starts_line = |at: &usize| *at == 0 || file[at - 1] == b'\n';
        let begins = memchr::memmem::find_iter(&file, SIGNATURE).find(starts_line);
        let signature = file.split_off(begins.ok_or(CatalogError::Unsigned)?);
        Ok(Self { json: file, signature })
    }

    /// The file.
    pub fn into_bytes(self) -> Vec<u8> {
        let mut file = Vec::from(self.json);
        file.extend_from_slice(&self.signature);
        file
    }

    /// The bytes that are signed.
    pub fn json(&self) -> &[u8] {
        &self.json
    }

    /// The armored signature.
    pub fn signature(&self) -> &[u8] {
        &self.signature
    }

    /// Verifies that the keys which are trusted for `prefix` signed it, as many as its policy asks for, and reads it.
    /// Whether it is fresh is for [`super::CatalogMemory`] to say.
    pub fn verify(&self, prefix: &Name, keyring: &Keyring) -> Result<(Catalog, Verification), CatalogError> {
        self.verify_for(prefix, prefix, keyring)
    }

    /// Verifies that the keys which are trusted for `name`, a name under `prefix`, signed it: it can then be believed in
    /// what it says of `name`.
    pub fn verify_for(
        &self,
        prefix: &Name,
        name: &Name,
        keyring: &Keyring,
    ) -> Result<(Catalog, Verification), CatalogError> {
        let verified = verify_detached(keyring, name, &self.signature, &*self.json);
        self.read_verified(prefix, verified)
    }

    /// Verifies that one of `certificates` signed it, and takes its lines: for whoever goes on with a catalog.
    pub fn verify_lines(&self, prefix: &Name, certificates: &[Certificate]) -> Result<CatalogLines, CatalogError> {
        let verified = verify_with_certificates(certificates, &self.signature, &*self.json);
        believe(prefix, verified)?;
        let lines = CatalogLines::from_json(&self.json)?;
        check_prefix(prefix, lines.prefix())?;
        Ok(lines)
    }

    /// What it says to be, whoever signed it. Nothing of it is to be believed.
    pub fn danger_read_unverified(&self) -> Result<Catalog, CatalogError> {
        Catalog::from_json(&self.json)
    }

    /// The same, without its images. Nothing of it is to be believed.
    pub fn danger_read_head(&self) -> Result<CatalogHead, CatalogError> {
        serde_json::from_slice(&self.json).map_err(CatalogError::Malformed)
    }

    fn read_verified(
        &self,
        prefix: &Name,
        verified: Result<Verification, dhow_trust::Error>,
    ) -> Result<(Catalog, Verification), CatalogError> {
        let verification = believe(prefix, verified)?;
        let catalog = Catalog::from_json(&self.json)?;
        check_prefix(prefix, &catalog.prefix)?;
        Ok((catalog, verification))
    }
}

fn check_size(file: &[u8]) -> Result<(), CatalogError> {
    match file.len() > MAX_SIZE {
        true => Err(CatalogError::TooLarge { max: MAX_SIZE }),
        false => Ok(()),
    }
}

fn believe(prefix: &Name, verified: Result<Verification, dhow_trust::Error>) -> Result<Verification, CatalogError> {
    verified.map_err(|source| CatalogError::Signature {
        prefix: prefix.clone(),
        source: Box::new(source),
    })
}

fn check_prefix(wanted: &Name, found: &Name) -> Result<(), CatalogError> {
    if wanted == found {
        return Ok(());
    }
    Err(CatalogError::OtherPrefix {
        wanted: wanted.clone(),
        found: found.clone(),
    })
}
