//! `dhow encrypt`.

use std::{
    ffi::OsString,
    fs::{self, File},
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result, bail};
use clap::Args;
use dhow_image::Decompressor;
use dhow_trust::{Certificate, EncryptOptions};

use crate::{
    context::{Context, print},
    output::{Readers, check_free, write_whole},
    passphrase::new_passphrase,
};

/// Encrypts a file for keys, with a passphrase, or both: any one of them opens it.
///
/// What it writes is an OpenPGP message (AES-256, integrity protected) that GnuPG reads. Nothing is compressed on the
/// way. An archive that is compressed already has a size that depends on what is in it, which encryption does not
/// hide: where that could tell too much, --no-compression takes the archive's own compression away first.
///
/// Sign after encrypting: the signature of an image is over the bytes that travel.
#[derive(Args)]
#[command(after_help = "\
Examples:
  dhow encrypt app.aci --to carly@example.com --to bob.asc -o sealed.aci
  dhow encrypt app.aci --passphrase-file secret.txt --no-compression -o sealed.aci
  dhow sign sealed.aci")]
pub(crate) struct EncryptArguments {
    /// The file to encrypt
    file: PathBuf,
    /// Who can read it: a file of public keys, or a part of the user ID or the end of the fingerprint of one of your own
    /// or of the trusted keys; can be repeated
    #[arg(long, value_name = "KEY")]
    to: Vec<String>,
    /// Whoever knows a passphrase can read it: the one in --passphrase-file, or one that is asked for [default where
    /// --to is not given]
    #[arg(long)]
    passphrase: bool,
    /// Writes the newer format of RFC 9580 (AES-256 with OCB), which GnuPG cannot read
    #[arg(long)]
    aead: bool,
    /// Takes the compression of the archive away before encrypting it; its image ID stays the same
    #[arg(long)]
    no_compression: bool,
    /// The file to write [default: FILE with `.encrypted` before its suffix]
    #[arg(long, short, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Overwrites the output file if it is there
    #[arg(long)]
    overwrite: bool,
}

pub(crate) fn encrypt(context: &Context, options: EncryptArguments) -> Result<()> {
    let output = options.output.unwrap_or_else(|| encrypted_path(&options.file));
    check_free(&output, options.overwrite)?;
    let mut encryption = EncryptOptions::default();
    encryption.aead = options.aead;
    for to in &options.to {
        encryption.recipients.extend(recipients(context, to)?);
    }
    if options.passphrase || options.to.is_empty() {
        let Some(passphrase) = new_passphrase(context, &format!("`{}`", options.file.display()))? else {
            bail!(
                "Say who can read it: --to KEY, or --passphrase-file FILE where nobody can be asked for a passphrase"
            );
        };
        encryption.passphrases.push(passphrase);
    }
    let path = options.file.display();
    let failed = || format!("Could not encrypt `{path}`");
    let file = File::open(&options.file).with_context(|| format!("Could not open `{path}`"))?;
    write_whole(&output, Readers::Everyone, |out| {
        // The library wants a writer of its own to keep, and this one shares the file's position.
        let out = std::io::BufWriter::with_capacity(128 << 10, out.get_ref().try_clone()?);
        if options.no_compression {
            let tar = Decompressor::new(file)?;
            dhow_trust::encrypt(&encryption, tar, out)?;
        } else {
            dhow_trust::encrypt(&encryption, file, out)?;
        }
        Ok(())
    })
    .with_context(failed)?;
    for recipient in &encryption.recipients {
        context.say(format_args!("Encrypted for {}", recipient.label()));
    }
    if !encryption.passphrases.is_empty() {
        context.say("Encrypted with a passphrase");
    }
    print(output.display());
    Ok(())
}

/// The certificates that the user means.
pub(crate) fn recipients(context: &Context, query: &str) -> Result<Vec<Certificate>> {
    let path = Path::new(query);
    if path.is_file() {
        let bytes = fs::read(path).with_context(|| format!("Could not read `{query}`"))?;
        return Certificate::parse_many(&bytes).with_context(|| format!("Could not read keys from `{query}`"));
    }
    let not_own = match context.keys()?.export(query) {
        Ok(own) => return Ok(vec![own]),
        Err(error @ dhow_trust::Error::KeyNotFound { .. }) => error,
        Err(error) => return Err(error.into()),
    };
    let mut found: Vec<Certificate> = Vec::new();
    for trusted in context.keyring()?.list()? {
        let certificate = trusted.certificate;
        let is_new = found
            .iter()
            .all(|known| known.fingerprint() != certificate.fingerprint());
        if is_new && certificate.matches(query) {
            found.push(certificate);
        }
    }
    match found.len() {
        0 => Err(anyhow::Error::new(not_own).context(format!("No key of yours and no trusted key matches `{query}`"))),
        1 => Ok(found),
        count => bail!("`{query}` could be any of {count} trusted keys: give the end of a fingerprint"),
    }
}

fn encrypted_path(file: &Path) -> PathBuf {
    let mut name = OsString::from(file.file_stem().unwrap_or_default());
    name.push(".encrypted");
    if let Some(suffix) = file.extension() {
        name.push(".");
        name.push(suffix);
    }
    file.with_file_name(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_encrypted_archive_keeps_its_suffix() {
        assert_eq!(encrypted_path(Path::new("a/app.aci")), Path::new("a/app.encrypted.aci"));
        assert_eq!(encrypted_path(Path::new("file")), Path::new("file.encrypted"));
    }
}
