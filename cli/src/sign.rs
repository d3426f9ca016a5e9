//! `dhow sign`.

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result, bail};
use clap::Args;
use dhow_trust::{AgentKey, Certificate, OwnKey, SecretKey, Signature, SigningKey};

use crate::{
    context::{Context, print},
    output::{Readers, check_free, write_bytes},
    passphrase::UserSecrets,
};

/// Signs a file: writes an armored detached signature beside it, as FILE.asc.
///
/// The key is one of yours, one in a file, or one that gpg-agent holds: give the file of its public key, or import that
/// once with `dhow key import`.
#[derive(Args)]
#[command(after_help = "\
Examples:
  dhow sign app.aci --key carly@example.com
  dhow sign app.aci --key bob@example.com --add
  gpg --export --armor greta@example.com > greta.asc && dhow sign app.aci --key greta.asc")]
pub(crate) struct SignArguments {
    /// The file to sign
    file: PathBuf,
    /// A key: a part of its user ID, the end of its fingerprint, or its file [default: your only one]
    #[arg(long)]
    key: Option<String>,
    /// The signature to write [default: FILE.asc]
    #[arg(long, short, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Adds to the signatures by others that are there, which must be of the same bytes
    #[arg(long, conflicts_with = "overwrite")]
    add: bool,
    /// Overwrites the signature if it is there
    #[arg(long)]
    overwrite: bool,
}

pub(crate) fn sign(context: &Context, options: SignArguments) -> Result<()> {
    let output = options.output.unwrap_or_else(|| signature_path(&options.file));
    let others = match options.add && output.exists() {
        true => Some(read_signature(&output)?),
        false => None,
    };
    if others.is_none() {
        check_free(&output, options.overwrite)?;
    }
    let key = find_key(context, options.key.as_deref())?;
    let mut signature = sign_file(&key, &options.file)?;
    if let Some(others) = others {
        let new = Signature::parse(&signature)?;
        let others = others.without_signers_of(&new);
        let data = open_file(&options.file)?;
        others
            .check_covers(&known_certificates(context)?, data)
            .with_context(|| format!("Could not add to `{}`", output.display()))?;
        signature = others.with(new).to_armored();
    }
    write_bytes(&output, Readers::Everyone, &signature)?;
    context.say(format_args!("Signed `{}` with {}", options.file.display(), key.label()));
    print(output.display());
    Ok(())
}

fn read_signature(path: &Path) -> Result<Signature> {
    let bytes = fs::read(path).with_context(|| format!("Could not read `{}`", path.display()))?;
    Signature::parse(&bytes).with_context(|| format!("Could not add to `{}`", path.display()))
}

/// Every key that could show a signature to be of the same bytes: the user's own, and those that are trusted.
fn known_certificates(context: &Context) -> Result<Vec<Certificate>> {
    let own = context.keys()?.list_all()?;
    let trusted = context.keyring()?.list()?;
    let own = own.iter().map(OwnKey::certificate);
    Ok(own.chain(trusted.into_iter().map(|key| key.certificate)).collect())
}

fn open_file(file: &Path) -> Result<File> {
    File::open(file).with_context(|| format!("Could not open `{}`", file.display()))
}

/// The signature of a file, armored.
pub(crate) fn sign_file(key: &SigningKey, file: &Path) -> Result<Vec<u8>> {
    key.sign(open_file(file)?)
        .with_context(|| format!("Could not sign `{}`", file.display()))
}

/// Where the signature of a file is: beside it, with `.asc` at the end (appc spec, aci.md, "Image Archives").
pub(crate) fn signature_path(file: &Path) -> PathBuf {
    let mut path = file.as_os_str().to_owned();
    path.push(".asc");
    path.into()
}

/// The key that the user means, unlocked: the only one where none is named.
pub(crate) fn find_key(context: &Context, query: Option<&str>) -> Result<SigningKey> {
    let key = match query {
        Some(path) if Path::new(path).is_file() => open(Path::new(path))?,
        Some(query) => context.keys()?.find_any(query)?,
        None => {
            let mut keys = context.keys()?.list_all()?;
            match (keys.pop(), keys.is_empty()) {
                (Some(only), true) => only,
                (Some(_), false) => bail!("You have several keys: choose one with --key (`dhow key list` shows them)"),
                (None, _) => bail!("You have no key to sign with: `dhow key generate` makes one"),
            }
        }
    };
    Ok(match key {
        OwnKey::Secret(key) => SigningKey::Secret(key.unlocked(&UserSecrets::new(context)?)?),
        OwnKey::InAgent(certificate) => SigningKey::Agent(AgentKey::new(certificate)?),
    })
}

/// The key in a file. One without its secret part means the key in gpg-agent.
pub(crate) fn open(path: &Path) -> Result<OwnKey> {
    match SecretKey::open(path) {
        Ok(key) => Ok(OwnKey::Secret(key)),
        Err(dhow_trust::Error::KeyFile { source, .. }) if matches!(*source, dhow_trust::Error::NoSecret { .. }) => {
            Ok(OwnKey::InAgent(Certificate::open(path)?))
        }
        Err(error) => Err(error.into()),
    }
}
