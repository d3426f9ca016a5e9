//! `dhow decrypt`, and looking into encrypted archives.

use std::{
    fs::File,
    io::{BufWriter, Read, Seek, Write},
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result};
use clap::Args;
use dhow_trust::{Decryption, SecretKey, is_encrypted};

use crate::{
    context::{Context, print},
    output::{Readers, check_free, write_whole},
    passphrase::UserSecrets,
};

/// Decrypts a file with your keys, or with a passphrase.
///
/// The result appears when the file was read to its end and found unaltered, and not at all if it was not. This says
/// nothing about who encrypted it: `dhow verify` does, and wants the encrypted file.
#[derive(Args)]
#[command(after_help = "\
Examples:
  dhow decrypt sealed.aci -o app.aci
  dhow decrypt sealed.aci --passphrase-file secret.txt -o app.aci")]
pub(crate) struct DecryptArguments {
    /// The encrypted file
    file: PathBuf,
    /// Also tries the secret key in this file; can be repeated
    #[arg(long, value_name = "FILE")]
    key: Vec<PathBuf>,
    /// The file to write, readable by you only
    #[arg(long, short, value_name = "FILE")]
    output: PathBuf,
    /// Overwrites the output file if it is there
    #[arg(long)]
    overwrite: bool,
}

pub(crate) fn decrypt(context: &Context, options: DecryptArguments) -> Result<()> {
    check_free(&options.output, options.overwrite)?;
    let path = options.file.display();
    let keys = options.key.iter().map(|path| SecretKey::open(path));
    let secrets = UserSecrets::new(context)?.with_keys(keys.collect::<Result<_, _>>()?);
    let file = File::open(&options.file).with_context(|| format!("Could not open `{path}`"))?;
    let decrypted = write_whole(&options.output, Readers::Owner, |out| {
        Ok(Decryption::open(file, &secrets)?.copy_to(out)?)
    })
    .with_context(|| format!("Could not decrypt `{path}`"))?;
    context.say(format_args!(
        "Decrypted `{path}` ({}) with {}",
        decrypted.cipher, decrypted.opened_by
    ));
    print(options.output.display());
    Ok(())
}

/// An archive as commands look into it: if it is encrypted, its content, decrypted into a file without a name.
pub(crate) fn open_archive(context: &Context, path: &Path) -> Result<File> {
    let shown = path.display();
    let mut file = File::open(path).with_context(|| format!("Could not open `{shown}`"))?;
    if !is_encrypted_file(&mut file)? {
        return Ok(file);
    }
    let secrets = UserSecrets::new(context)?;
    let decrypt = || -> Result<File> {
        let mut content = tempfile::tempfile()?;
        let mut out = BufWriter::with_capacity(128 << 10, &mut content);
        Decryption::open(file, &secrets)?.copy_to(&mut out)?;
        out.flush()?;
        drop(out);
        content.rewind()?;
        Ok(content)
    };
    decrypt().with_context(|| format!("Could not decrypt `{shown}`"))
}

/// Whether a file is encrypted. It is at its beginning afterwards.
pub(crate) fn is_encrypted_file(file: &mut File) -> Result<bool> {
    let mut start = Vec::new();
    (&mut *file).take(64).read_to_end(&mut start)?;
    file.rewind()?;
    Ok(is_encrypted(&start))
}
