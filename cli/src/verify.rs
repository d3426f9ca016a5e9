//! `dhow verify`.

use std::{
    fs::{self, File},
    path::PathBuf,
};

use anyhow::{Context as _, Result};
use clap::Args;
use dhow_image::Name;
use dhow_trust::Certificate;

use crate::{
    arguments::Format,
    context::{Context, print},
    decrypt::{is_encrypted_file, open_archive},
    sign::signature_path,
};

/// Verifies the signature of an image's archive by the keys that are trusted for its name, and by the policy for it;
/// or by a key given.
///
/// The signature of an encrypted archive is over the encrypted bytes. Its name is inside, so it is decrypted to know
/// it, once a key that is trusted for any name has proved to have signed it; --name spares that.
#[derive(Args)]
#[command(after_help = "\
Examples:
  dhow verify app.aci
  dhow verify sealed.aci --name example.com/app
  dhow verify app.aci --pubkey carly.asc")]
pub(crate) struct VerifyArguments {
    /// The archive
    file: PathBuf,
    /// Its signature [default: FILE.asc]
    #[arg(long, value_name = "FILE")]
    signature: Option<PathBuf>,
    /// Believes only the keys in this file
    #[arg(long, value_name = "FILE", conflicts_with = "name")]
    pubkey: Option<PathBuf>,
    /// The name for which the signer must be trusted [default: the one in the image's manifest]
    #[arg(long)]
    name: Option<Name>,
    /// How the result is printed
    #[arg(long, value_enum, default_value_t)]
    format: Format,
}

pub(crate) fn verify(context: &Context, options: VerifyArguments) -> Result<()> {
    let path = options.file.display();
    let open = || File::open(&options.file).with_context(|| format!("Could not open `{path}`"));
    let signature_path = options.signature.unwrap_or_else(|| signature_path(&options.file));
    let signature = fs::read(&signature_path)
        .with_context(|| format!("Could not read the signature `{}`", signature_path.display()))?;
    let failed = || format!("Could not verify `{path}`");
    let verification = if let Some(pubkey) = &options.pubkey {
        let bytes = fs::read(pubkey).with_context(|| format!("Could not read `{}`", pubkey.display()))?;
        let certificates = Certificate::parse_many(&bytes)
            .with_context(|| format!("Could not read keys from `{}`", pubkey.display()))?;
        dhow_trust::verify_with_certificates(&certificates, &signature, open()?).with_context(failed)?
    } else {
        let keyring = context.keyring()?;
        let name = match options.name {
            Some(name) => name,
            None => {
                if is_encrypted_file(&mut open()?)? {
                    dhow_trust::verify_for_any_name(&keyring, &signature, open()?).with_context(failed)?;
                }
                let content = open_archive(context, &options.file)?;
                dhow_image::read_manifest(content).with_context(failed)?.name
            }
        };
        dhow_trust::verify_detached(&keyring, &name, &signature, open()?).with_context(failed)?
    };
    match options.format {
        Format::Text => print(format_args!("`{path}` is {verification}")),
        Format::Json => print(serde_json::to_string(&verification)?),
    }
    Ok(())
}
