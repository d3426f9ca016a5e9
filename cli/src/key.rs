//! `dhow key`: the user's own keys.

use std::{io::Write, path::PathBuf, time::Duration};

use anyhow::{Context as _, Result, bail};
use clap::{Args, Subcommand, ValueEnum};
use dhow_trust::{KeyAlgorithm, KeyOptions, OwnKey, SecretKey};

use crate::{
    arguments::Format,
    context::{Context, print},
    output::{Readers, write_bytes},
    passphrase::{UserSecrets, new_passphrase},
    sign::open,
    table::table,
};

/// Makes, lists, imports and exports the keys that you sign and decrypt with.
#[derive(Subcommand)]
pub(crate) enum KeyCommand {
    Generate(GenerateArguments),
    List(ListArguments),
    Import(ImportArguments),
    Export(ExportArguments),
    Passphrase(PassphraseArguments),
    Certify(CertifyArguments),
}

/// Makes a key and keeps it in the configuration directory.
///
/// It is locked with a passphrase, which is asked for, or taken from --passphrase-file. Where nobody can be asked, it
/// is made without one, and says so.
#[derive(Args)]
#[command(after_help = "\
Examples:
  dhow key generate 'Carly <carly@example.com>' --days 730
  dhow key generate 'Build server <ci@example.com>' --no-passphrase
  dhow key generate 'Carly <carly@example.com>' --algorithm rsa")]
pub(crate) struct GenerateArguments {
    /// Who you are, as in 'Carly <carly@example.com>'
    user_id: String,
    /// For how many days it is valid [default: for ever]
    #[arg(long)]
    days: Option<u32>,
    /// Does not lock it: whoever reads its file can sign with it
    #[arg(long)]
    no_passphrase: bool,
    /// By what it signs and decrypts
    #[arg(long, value_enum, default_value_t)]
    algorithm: Algorithm,
}

#[derive(Clone, Copy, Default, ValueEnum)]
enum Algorithm {
    /// Ed25519 to sign, X25519 to decrypt
    #[default]
    Ed25519,
    /// RSA of 3072 bits, for images that rkt fetches: it knows no other
    Rsa,
}

/// Lists your keys.
#[derive(Args)]
#[command(after_help = "Example:\n  dhow key list")]
pub(crate) struct ListArguments {
    /// How the result is printed
    #[arg(long, value_enum, default_value_t)]
    format: Format,
}

/// Keeps a key from a file, as gpg exports it: locked if it is locked.
///
/// A public key is kept as one of yours whose secret part is in gpg-agent, which then signs for you.
#[derive(Args)]
#[command(after_help = "\
Examples:
  gpg --export-secret-keys --armor carly@example.com > carly.key.asc && dhow key import carly.key.asc
  gpg --export --armor carly@example.com > carly.asc && dhow key import carly.asc")]
pub(crate) struct ImportArguments {
    /// The file of one key
    file: PathBuf,
}

/// Prints the public part of a key, armored, for others to trust; with --secret, all of it.
#[derive(Args)]
#[command(after_help = "\
Examples:
  dhow key export carly@example.com -o pubkeys.gpg
  dhow key export carly@example.com --secret -o backup.key.asc")]
pub(crate) struct ExportArguments {
    /// The end of its fingerprint, or a part of its user ID
    key: String,
    /// Exports the secret part too, locked if it is locked: for you alone
    #[arg(long)]
    secret: bool,
    /// The file to write [default: stdout]
    #[arg(long, short, value_name = "FILE")]
    output: Option<PathBuf>,
}

/// Changes the passphrase of a key.
#[derive(Args)]
#[command(after_help = "\
Examples:
  dhow key passphrase carly@example.com
  dhow key passphrase ci@example.com --passphrase-file old.txt --new-passphrase-file new.txt")]
pub(crate) struct PassphraseArguments {
    /// The end of its fingerprint, or a part of its user ID
    key: String,
    /// Takes the new passphrase from the first line of this file; --passphrase-file has the old one
    #[arg(long, value_name = "FILE", conflicts_with = "no_passphrase")]
    new_passphrase_file: Option<PathBuf>,
    /// Does not lock it any more
    #[arg(long)]
    no_passphrase: bool,
}

/// Certifies a newer key of yours with an older one, so that who trusts the old one can accept the new one.
///
/// Both must have a user ID in common. Publish the certified key while the old one is valid: `dhow trust update` of
/// your users takes it by the old one's word. Revoke the old one, or let it expire, only later.
#[derive(Args)]
#[command(after_help = "Example:\n  dhow key certify 9D3A0F21 --by 8B86DE38 -o pubkeys.asc")]
pub(crate) struct CertifyArguments {
    /// The newer key: a part of its user ID, the end of its fingerprint, or a file of its public part
    key: String,
    /// The older key: a part of its user ID, the end of its fingerprint, or its file
    #[arg(long, value_name = "KEY")]
    by: String,
    /// Where to write the certified public key as well
    #[arg(long, short, value_name = "FILE")]
    output: Option<PathBuf>,
}

pub(crate) fn key(context: &Context, command: KeyCommand) -> Result<()> {
    match command {
        KeyCommand::Generate(options) => generate(context, &options),
        KeyCommand::List(options) => list(context, &options),
        KeyCommand::Import(options) => import(context, &options),
        KeyCommand::Export(options) => export(context, &options),
        KeyCommand::Passphrase(options) => passphrase(context, &options),
        KeyCommand::Certify(options) => certify(context, &options),
    }
}

fn generate(context: &Context, options: &GenerateArguments) -> Result<()> {
    let mut key_options = KeyOptions::default();
    key_options.validity = options
        .days
        .map(|days| Duration::from_secs(u64::from(days) * 24 * 60 * 60));
    key_options.algorithm = match options.algorithm {
        Algorithm::Ed25519 => KeyAlgorithm::Ed25519,
        Algorithm::Rsa => KeyAlgorithm::Rsa,
    };
    if options.no_passphrase && context.global.passphrase_file.is_some() {
        bail!("--no-passphrase and --passphrase-file cannot both be meant");
    }
    if !options.no_passphrase {
        key_options.passphrase = new_passphrase(context, &format!("`{}`", options.user_id))?;
    }
    let (key, path) = context
        .keys()?
        .generate(&options.user_id, &key_options)
        .context("Could not make a key")?;
    context.say(format_args!(
        "Made a key for `{}` in `{}`",
        options.user_id,
        path.display()
    ));
    if !key.is_locked() {
        context.say("It has no passphrase: whoever reads the file can sign with it");
    }
    print(key.fingerprint());
    Ok(())
}

fn list(context: &Context, options: &ListArguments) -> Result<()> {
    let keys = context.keys()?.list_all()?;
    match options.format {
        Format::Text => {
            let rows: Vec<_> = keys
                .iter()
                .map(|own| {
                    let key = own.certificate();
                    let expires = key
                        .expires()
                        .map_or_else(|| "never".to_owned(), |at| at.format("%Y-%m-%d").to_string());
                    [
                        key.fingerprint().to_hex(),
                        key.user_ids().join(", "),
                        key.created().format("%Y-%m-%d").to_string(),
                        expires,
                        secret(own).to_owned(),
                    ]
                })
                .collect();
            print(table(["FINGERPRINT", "USER ID", "CREATED", "EXPIRES", "SECRET"], &rows));
        }
        Format::Json => {
            let keys = keys.iter().map(|own| {
                let key = own.certificate();
                serde_json::json!({
                    "fingerprint": key.fingerprint(),
                    "userIds": key.user_ids(),
                    "created": key.created(),
                    "expires": key.expires(),
                    "secret": secret(own),
                })
            });
            print(serde_json::Value::from_iter(keys));
        }
    }
    Ok(())
}

/// Where its secret part is.
fn secret(key: &OwnKey) -> &'static str {
    match key {
        OwnKey::Secret(key) if key.is_locked() => "locked",
        OwnKey::Secret(_) => "not locked",
        OwnKey::InAgent(_) => "in gpg-agent",
    }
}

fn import(context: &Context, options: &ImportArguments) -> Result<()> {
    let key = open(&options.file)?;
    let path = match &key {
        OwnKey::Secret(key) => context.keys()?.add(key),
        OwnKey::InAgent(certificate) => context.keys()?.add_agent_key(certificate),
    };
    let path = path.with_context(|| format!("Could not import `{}`", options.file.display()))?;
    let certificate = key.certificate();
    let state = secret(&key);
    context.say(format_args!(
        "Keeps {} in `{}`: its secret part is {state}",
        certificate.label(),
        path.display()
    ));
    print(certificate.fingerprint());
    Ok(())
}

fn export(context: &Context, options: &ExportArguments) -> Result<()> {
    let keys = context.keys()?;
    let (armored, readers) = match options.secret {
        true => (keys.find(&options.key)?.to_armored(), Readers::Owner),
        false => (keys.export(&options.key)?.to_armored(), Readers::Everyone),
    };
    match &options.output {
        Some(path) => write_bytes(path, readers, &armored),
        None => Ok(std::io::stdout().write_all(&armored)?),
    }
}

fn passphrase(context: &Context, options: &PassphraseArguments) -> Result<()> {
    let keys = context.keys()?;
    let unlocked = keys.find(&options.key)?.unlocked(&UserSecrets::new(context)?)?;
    let changed = match (&options.new_passphrase_file, options.no_passphrase) {
        (_, true) => unlocked,
        (Some(path), _) => unlocked.lock(&dhow_trust::Passphrase::from_file(path)?)?,
        (None, false) if context.global.passphrase_file.is_some() => {
            bail!("--passphrase-file is the old passphrase: give --new-passphrase-file, or --no-passphrase")
        }
        (None, false) => match new_passphrase(context, &unlocked.label().to_string())? {
            Some(passphrase) => unlocked.lock(&passphrase)?,
            None => bail!("There is nobody to ask: give --new-passphrase-file, or --no-passphrase"),
        },
    };
    let path = keys.replace(&changed)?;
    context.say(format_args!("Changed `{}`", path.display()));
    Ok(())
}

fn certify(context: &Context, options: &CertifyArguments) -> Result<()> {
    let keys = context.keys()?;
    let find = |query: &str| match std::path::Path::new(query) {
        path if path.is_file() => open(path),
        _ => Ok(keys.find_any(query)?),
    };
    let older: SecretKey = match find(&options.by)? {
        OwnKey::Secret(key) => key.unlocked(&UserSecrets::new(context)?)?,
        OwnKey::InAgent(_) => bail!("gpg-agent holds that key: `gpg --quick-sign-key` certifies with it"),
    };
    let newer = find(&options.key)?;
    let certified = older.certify_successor(&newer.certificate())?;
    let own = keys
        .list()?
        .into_iter()
        .find(|key| key.fingerprint() == certified.fingerprint());
    if let Some(own) = &own {
        keys.replace(&own.with_public(&certified)?)?;
    }
    match &options.output {
        Some(path) => write_bytes(path, Readers::Everyone, &certified.to_armored())?,
        None if own.is_none() => std::io::stdout().write_all(&certified.to_armored())?,
        None => {}
    }
    context.say(format_args!("{} certified {}", older.label(), certified.label()));
    Ok(())
}
