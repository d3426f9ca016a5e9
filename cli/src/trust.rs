//! `dhow trust`: whose signatures count for which names.

use std::io::{IsTerminal, Write};

use anyhow::{Context as _, Result, bail};
use clap::{Args, Subcommand};
use dhow_fetchers::{PubkeySource, Pubkeys, fetch_pubkeys};
use dhow_image::Name;
use dhow_trust::{Certificate, Fingerprint, Removal};
use url::Url;

use crate::{
    arguments::Format,
    context::{Context, print},
    table::table,
};

/// Says whose signatures count for which names.
#[derive(Subcommand)]
pub(crate) enum TrustCommand {
    Add(AddArguments),
    List(ListArguments),
    Remove(RemoveArguments),
}

/// Trusts keys for a name and all below it, after showing their fingerprints.
///
/// The keys come from a file, a URL, or the pages of the name itself. Compare the fingerprint with one that the
/// publisher gave you by another way: whoever controls the server controls what is shown here.
#[derive(Args)]
#[command(after_help = "\
Examples:
  dhow trust add --prefix example.com
  dhow trust add --prefix example.com/team carly.asc --fingerprint '8B86 DE38 890D DB72 9186 7B02 5210 BD88 8818 2190'
  dhow trust add --root company.asc")]
pub(crate) struct AddArguments {
    /// A file or URL of keys [default: those that the name's pages name]
    #[arg(value_name = "FILE|URL")]
    source: Option<String>,
    /// The name for which, with all below it, the keys are trusted
    #[arg(long, value_name = "NAME", required_unless_present = "root", conflicts_with = "root")]
    prefix: Option<Name>,
    /// Trusts the keys for every name
    #[arg(long, requires = "source")]
    root: bool,
    /// Trusts exactly the key with this fingerprint, without asking
    #[arg(long, value_name = "FINGERPRINT", conflicts_with = "yes")]
    fingerprint: Option<Fingerprint>,
    /// Trusts all the keys that are found, without asking
    #[arg(long)]
    yes: bool,
}

/// Lists the trusted keys.
#[derive(Args)]
#[command(after_help = "Example:\n  dhow trust list")]
pub(crate) struct ListArguments {
    /// How the result is printed
    #[arg(long, value_enum, default_value_t)]
    format: Format,
}

/// Ends the trust in a key.
#[derive(Args)]
#[command(after_help = "\
Example:
  dhow trust remove --prefix example.com 8B86DE38890DDB7291867B025210BD8888182190")]
pub(crate) struct RemoveArguments {
    /// The key's fingerprint
    fingerprint: Fingerprint,
    /// The name for which it is trusted
    #[arg(long, value_name = "NAME", required_unless_present = "root", conflicts_with = "root")]
    prefix: Option<Name>,
    /// It is trusted for every name
    #[arg(long)]
    root: bool,
}

pub(crate) fn trust(context: &Context, command: TrustCommand) -> Result<()> {
    match command {
        TrustCommand::Add(options) => add(context, &options),
        TrustCommand::List(options) => list(context, &options),
        TrustCommand::Remove(options) => remove(context, &options),
    }
}

fn add(context: &Context, options: &AddArguments) -> Result<()> {
    let source = match (&options.source, &options.prefix) {
        (Some(text), _) if text.contains("://") => {
            PubkeySource::Url(Url::parse(text).with_context(|| format!("`{text}` is not a URL"))?)
        }
        (Some(path), _) => PubkeySource::File(path.into()),
        (None, Some(prefix)) => PubkeySource::Discovered(prefix.clone()),
        (None, None) => bail!("A key for every name must come from a file or URL"),
    };
    let scope = scope(options.prefix.as_ref());
    let (found, _) = context
        .block_on(fetch_pubkeys(&source, &context.client()?, context.insecure()))?
        .with_context(|| format!("Could not get the keys for {scope}"))?;

    let mut candidates = Vec::new();
    for Pubkeys { place, bytes } in &found {
        let certificates =
            Certificate::parse_many(bytes).with_context(|| format!("Could not read keys from `{place}`"))?;
        candidates.extend(certificates.into_iter().map(|certificate| (place, certificate)));
    }
    if let Some(wanted) = &options.fingerprint {
        candidates.retain(|(_, certificate)| certificate.fingerprint() == *wanted);
        if candidates.is_empty() {
            bail!("No key there has the fingerprint {wanted}");
        }
    }
    let keyring = context.keyring()?;
    let mut trusted = 0;
    for (place, certificate) in &candidates {
        show(context, certificate, place);
        if let Err(error) = certificate.check() {
            context.say(format_args!("  left out: {error}"));
            continue;
        }
        if options.yes || options.fingerprint.is_some() || ask(&format!("Trust this key for {scope}?"))? {
            let path = keyring.trust(options.prefix.as_ref(), certificate)?;
            context.say(format_args!("Trusted for {scope}, in `{}`", path.display()));
            print(certificate.fingerprint().to_hex());
            trusted += 1;
        }
    }
    if trusted == 0 {
        bail!("No key was trusted for {scope}");
    }
    Ok(())
}

fn show(context: &Context, certificate: &Certificate, place: &str) {
    context.say(format_args!(
        "Key from `{place}`:\n  fingerprint  {}",
        certificate.fingerprint()
    ));
    for user_id in certificate.user_ids() {
        context.say(format_args!("  user ID      {user_id}"));
    }
    let expires = certificate
        .expires()
        .map_or_else(|| "never".to_owned(), |at| at.format("%Y-%m-%d").to_string());
    context.say(format_args!(
        "  created      {}, expires {expires}",
        certificate.created().format("%Y-%m-%d")
    ));
}

/// Asks a person. Where there is none, the answer is not yes.
#[expect(
    clippy::print_stderr,
    reason = "a question is for the person at the terminal, however quiet"
)]
fn ask(question: &str) -> Result<bool> {
    if !std::io::stdin().is_terminal() {
        bail!("{question} There is nobody to ask: give --fingerprint, or --yes to trust whatever was found");
    }
    eprint!("{question} [y/N] ");
    std::io::stderr().flush()?;
    let mut answer = String::new();
    std::io::stdin().read_line(&mut answer)?;
    Ok(matches!(answer.trim().to_lowercase().as_str(), "y" | "yes"))
}

fn list(context: &Context, options: &ListArguments) -> Result<()> {
    let keys = context.keyring()?.list()?;
    match options.format {
        Format::Text => {
            let rows: Vec<_> = keys
                .iter()
                .map(|key| {
                    let prefix = key.prefix.as_ref().map_or("(every name)", Name::as_str);
                    let state = key
                        .certificate
                        .check()
                        .map_or_else(|error| error.to_string(), |()| "good".to_owned());
                    let user_ids = key.certificate.user_ids().join(", ");
                    [
                        prefix.to_owned(),
                        key.certificate.fingerprint().to_hex(),
                        user_ids,
                        state,
                    ]
                })
                .collect();
            print(table(["PREFIX", "FINGERPRINT", "USER ID", "STATE"], &rows));
        }
        Format::Json => print(serde_json::Value::from_iter(keys.iter().map(|key| {
            serde_json::json!({
                "prefix": key.prefix,
                "fingerprint": key.certificate.fingerprint(),
                "userIds": key.certificate.user_ids(),
                "file": key.path,
            })
        }))),
    }
    Ok(())
}

fn remove(context: &Context, options: &RemoveArguments) -> Result<()> {
    let removal = context
        .keyring()?
        .remove(&options.fingerprint, options.prefix.as_ref())?;
    let scope = scope(options.prefix.as_ref());
    match removal {
        Removal::Deleted(path) => context.say(format_args!(
            "No longer trusted for {scope}: removed `{}`",
            path.display()
        )),
        Removal::Masked(path) => context.say(format_args!(
            "No longer trusted for {scope}: masked by `{}`",
            path.display()
        )),
    }
    Ok(())
}

fn scope(prefix: Option<&Name>) -> String {
    prefix.map_or_else(|| "every name".to_owned(), |prefix| format!("`{prefix}`"))
}
