//! [`Ready`]: what is published of an archive, itself or its encryption, and the signature of that.

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result, bail};
use dhow_site::Site;
use dhow_trust::{Certificate, EncryptOptions};
use tempfile::TempDir;

use super::PublishArguments;
use crate::{
    context::Context,
    sign::{find_key, sign_file, signature_path},
};

/// An archive that can be published.
pub(super) struct Ready<'a> {
    /// The file that the user gave.
    pub(super) image: &'a Path,
    /// For whom it is encrypted. Nobody: it is not.
    pub(super) encrypt_to: &'a [Certificate],
    pub(super) signature: Vec<u8>,
    /// The keys of whoever signed.
    pub(super) certificates: Vec<Certificate>,
    encrypted: Option<Encrypted>,
}

/// An encrypted archive in a temporary directory.
struct Encrypted {
    archive: PathBuf,
    _directory: TempDir,
}

impl Ready<'_> {
    /// What travels.
    pub(super) fn archive(&self) -> &Path {
        match &self.encrypted {
            Some(encrypted) => &encrypted.archive,
            None => self.image,
        }
    }
}

/// Encrypts an archive if it is to be, and signs what has no signature yet.
pub(super) fn ready<'a>(
    context: &Context,
    site: &Site,
    options: &PublishArguments,
    archive: &'a Path,
    encrypt_to: &'a [Certificate],
) -> Result<Ready<'a>> {
    let (encrypted, (signature, certificates)) = match encrypt_to {
        [] => (None, signed(context, options, archive)?),
        _ => {
            let (encrypted, signed) = encrypted(context, site, options, archive, encrypt_to)?;
            (Some(encrypted), signed)
        }
    };
    Ok(Ready {
        image: archive,
        encrypt_to,
        signature,
        certificates,
        encrypted,
    })
}

/// A signature and the keys of whoever made it.
type Signed = (Vec<u8>, Vec<Certificate>);

/// What the site has of this image for just these, or else a new encryption, signed.
fn encrypted(
    context: &Context,
    site: &Site,
    options: &PublishArguments,
    image: &Path,
    encrypt_to: &[Certificate],
) -> Result<(Encrypted, Signed)> {
    let failed = || format!("Could not encrypt `{}`", image.display());
    let directory = tempfile::tempdir().context("Could not make a directory for temporary files")?;
    let archive = directory.path().join("image.aci");
    let recipients: Vec<_> = encrypt_to.iter().map(Certificate::fingerprint).collect();
    let there = site.encrypted_archive(image, &recipients, context.limits(), &archive);
    let signed = match context
        .block_on(there)?
        .with_context(|| format!("Could not publish `{}`", image.display()))?
    {
        Some(signature) => {
            let signers = signers(context, options, &archive, &signature)?;
            (signature, signers)
        }
        None => {
            let mut encryption = EncryptOptions::default();
            encryption.recipients = encrypt_to.to_vec();
            let from = File::open(image).with_context(failed)?;
            dhow_trust::encrypt(&encryption, from, File::create(&archive).with_context(failed)?)
                .with_context(failed)?;
            let key = find_key(context, options.key.as_deref())?;
            (sign_file(&key, &archive)?, vec![key.certificate()])
        }
    };
    let encrypted = Encrypted {
        archive,
        _directory: directory,
    };
    Ok((encrypted, signed))
}

/// The signature that is there, or a new one.
fn signed(context: &Context, options: &PublishArguments, archive: &Path) -> Result<Signed> {
    let path = signature_path(archive);
    if options.key.is_none() && path.exists() {
        let signature = fs::read(&path).with_context(|| format!("Could not read `{}`", path.display()))?;
        let certificates = signers(context, options, archive, &signature)?;
        return Ok((signature, certificates));
    }
    if options.pubkey.is_some() {
        bail!(
            "`{}` is not signed yet, so --pubkey has nothing to say",
            archive.display()
        );
    }
    let key = find_key(context, options.key.as_deref())?;
    Ok((sign_file(&key, archive)?, vec![key.certificate()]))
}

/// Those of the given or the user's own keys that made the signature. None where the site is to know them.
fn signers(
    context: &Context,
    options: &PublishArguments,
    archive: &Path,
    signature: &[u8],
) -> Result<Vec<Certificate>> {
    if let Some(path) = &options.pubkey {
        let bytes = fs::read(path).with_context(|| format!("Could not read `{}`", path.display()))?;
        return Certificate::parse_many(&bytes)
            .with_context(|| format!("Could not read keys from `{}`", path.display()));
    }
    let mut signers = Vec::new();
    for key in context.keys()?.list()? {
        let certificate = key.certificate();
        let data = File::open(archive).with_context(|| format!("Could not open `{}`", archive.display()))?;
        if dhow_trust::verify_with_certificates(std::slice::from_ref(&certificate), signature, data).is_ok() {
            signers.push(certificate);
        }
    }
    Ok(signers)
}
