//! `pubkeys.gpg`: the certificates of those who publish here (appc spec, discovery.md, `ac-discovery-pubkeys`).

use dhow_trust::Certificate;
use object_store::path::Path;

use crate::{Error, Files};

/// The certificates in a file of keys; none if there is no file.
pub(crate) async fn read(files: &Files, path: &Path) -> Result<Vec<Certificate>, Error> {
    match files.read(path).await? {
        Some(bytes) => Certificate::parse_many(&bytes).map_err(|source| Error::DamagedKeys {
            location: files.location().to_owned(),
            path: path.to_string(),
            source: Box::new(source),
        }),
        None => Ok(Vec::new()),
    }
}

/// Adds what is missing of `certificates` to a file of keys. Whether it was written.
///
/// Two copies of one certificate that differ both stay: one of them may hold a revocation that the other lacks, and
/// whoever imports them merges them.
pub(crate) async fn add(files: &Files, path: &Path, certificates: &[Certificate]) -> Result<bool, Error> {
    let mut written = false;
    loop {
        let mut all = read(files, path).await?;
        let known = all.len();
        for certificate in certificates {
            if !all.contains(certificate) {
                all.push(certificate.clone());
            }
        }
        if all.len() == known {
            return Ok(written);
        }
        // In the order of fingerprints, so that the file does not tell who came first, and is the same for the same
        // keys. Read again afterwards: another publisher may have written between.
        all.sort_by_key(Certificate::fingerprint);
        let content: Vec<u8> = all.iter().flat_map(Certificate::to_armored).collect();
        written |= files.write(path, content).await?;
    }
}
