//! `dhow key`: the user's own keys.

use std::{fs, path::PathBuf, time::Duration};

use anyhow::{Context as _, Result};
use clap::{Args, Subcommand};
use dhow_trust::KeyOptions;

use crate::{
    arguments::Format,
    context::{Context, print},
    table::table,
};

/// Makes, lists and exports the keys that you sign with.
#[derive(Subcommand)]
pub(crate) enum KeyCommand {
    Generate(GenerateArguments),
    List(ListArguments),
    Export(ExportArguments),
}

/// Makes a key (Ed25519 to sign, X25519 to decrypt) and keeps it in the configuration directory.
#[derive(Args)]
#[command(after_help = "Example:\n  dhow key generate 'Carly <carly@example.com>' --days 730")]
pub(crate) struct GenerateArguments {
    /// Who you are, as in 'Carly <carly@example.com>'
    user_id: String,
    /// For how many days it is valid [default: for ever]
    #[arg(long)]
    days: Option<u32>,
}

/// Lists your keys.
#[derive(Args)]
#[command(after_help = "Example:\n  dhow key list")]
pub(crate) struct ListArguments {
    /// How the result is printed
    #[arg(long, value_enum, default_value_t)]
    format: Format,
}

/// Prints the public part of a key, armored, for others to trust.
#[derive(Args)]
#[command(after_help = "Example:\n  dhow key export carly@example.com -o pubkeys.gpg")]
pub(crate) struct ExportArguments {
    /// The end of its fingerprint, or a part of its user ID
    key: String,
    /// The file to write [default: stdout]
    #[arg(long, short, value_name = "FILE")]
    output: Option<PathBuf>,
}

pub(crate) fn key(context: &Context, command: KeyCommand) -> Result<()> {
    match command {
        KeyCommand::Generate(options) => generate(context, &options),
        KeyCommand::List(options) => list(context, &options),
        KeyCommand::Export(options) => export(context, &options),
    }
}

fn generate(context: &Context, options: &GenerateArguments) -> Result<()> {
    let mut key_options = KeyOptions::default();
    key_options.validity = options
        .days
        .map(|days| Duration::from_secs(u64::from(days) * 24 * 60 * 60));
    let (key, path) = context
        .keys()?
        .generate(&options.user_id, &key_options)
        .context("Could not make a key")?;
    context.say(format_args!(
        "Made a key for `{}` in `{}`",
        options.user_id,
        path.display()
    ));
    print(key.fingerprint());
    Ok(())
}

fn list(context: &Context, options: &ListArguments) -> Result<()> {
    let keys: Vec<_> = context
        .keys()?
        .list()?
        .iter()
        .map(dhow_trust::SecretKey::certificate)
        .collect();
    match options.format {
        Format::Text => {
            let rows: Vec<_> = keys
                .iter()
                .map(|key| {
                    let expires = key
                        .expires()
                        .map_or_else(|| "never".to_owned(), |at| at.format("%Y-%m-%d").to_string());
                    let created = key.created().format("%Y-%m-%d").to_string();
                    [key.fingerprint().to_hex(), key.user_ids().join(", "), created, expires]
                })
                .collect();
            print(table(["FINGERPRINT", "USER ID", "CREATED", "EXPIRES"], &rows));
        }
        Format::Json => {
            let keys = keys.iter().map(|key| {
                serde_json::json!({
                    "fingerprint": key.fingerprint(),
                    "userIds": key.user_ids(),
                    "created": key.created(),
                    "expires": key.expires(),
                })
            });
            print(serde_json::Value::from_iter(keys));
        }
    }
    Ok(())
}

fn export(context: &Context, options: &ExportArguments) -> Result<()> {
    let armored = context.keys()?.export(&options.key)?.to_armored();
    match &options.output {
        Some(path) => fs::write(path, armored).with_context(|| format!("Could not write `{}`", path.display())),
        None => {
            print(String::from_utf8_lossy(&armored).trim_end());
            Ok(())
        }
    }
}
