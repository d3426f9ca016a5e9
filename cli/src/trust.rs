//! `dhow trust`: whose signatures count for which names.

use std::{
    io::{IsTerminal, Write},
    num::NonZeroU32,
};

use anyhow::{Context as _, Result, bail};
use clap::{Args, Subcommand};
use dhow_fetchers::{PubkeySource, Pubkeys, fetch_pubkeys};
use dhow_image::Name;
use dhow_trust::{Certificate, Fingerprint, Outcome, Removal, TrustPolicy, Update};
use url::Url;

use crate::{
    arguments::Format,
    context::{Context, print},
    failure::NotFound,
    table::table,
};

/// Says whose signatures count for which names.
#[derive(Subcommand)]
pub(crate) enum TrustCommand {
    Add(AddArguments),
    List(ListArguments),
    Remove(RemoveArguments),
    Update(UpdateArguments),
    ForgetCatalog(ForgetCatalogArguments),
    #[command(subcommand)]
    Policy(PolicyCommand),
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

/// Brings the trusted keys of a prefix up to date with what the publisher offers, without asking.
///
/// Of keys that are trusted already, later expiry dates and revocations are taken. A new key is trusted only if a key
/// that is trusted for exactly this prefix, and neither expired nor revoked, certified it: on a user ID that both have,
/// and the new key is the newer. Every other key is left alone; `dhow trust add` asks about it.
#[derive(Args)]
#[command(after_help = "\
Examples:
  dhow trust update --prefix example.com
  dhow trust update --prefix example.com carly-new.asc --dry-run")]
pub(crate) struct UpdateArguments {
    /// A file or URL of keys [default: those that the name's pages name]
    #[arg(value_name = "FILE|URL")]
    source: Option<String>,
    /// The name whose keys are brought up to date
    #[arg(long, value_name = "NAME")]
    prefix: Name,
    /// Only tells what would be done
    #[arg(long)]
    dry_run: bool,
}

/// Forgets which catalog of a prefix was seen last.
///
/// For whom a publisher tells that there is no catalog any more, or that it begins anew. Until a new one is seen, nothing
/// tells an old catalog from the newest, nor that one is kept back: whoever controls the server or the network can then
/// show an old state of the site for as long as its catalog lasts.
#[derive(Args)]
#[command(after_help = "Example:\n  dhow trust forget-catalog --prefix example.com")]
pub(crate) struct ForgetCatalogArguments {
    /// The prefix of which the catalog speaks
    #[arg(long, value_name = "NAME")]
    prefix: Name,
}

/// Says what the signatures for a name must add up to, beyond one by a trusted key.
#[derive(Subcommand)]
pub(crate) enum PolicyCommand {
    Set(SetPolicyArguments),
    Show(ShowPolicyArguments),
    Remove(RemovePolicyArguments),
}

/// Sets the policy of a name and all below it, in place of the one that it had.
///
/// For a name counts the policy of the longest prefix alone. It is kept as a file that can be read and written by hand.
#[derive(Args)]
#[command(after_help = "\
Example:
  dhow trust policy set --prefix example.com --threshold 2 --require 8B86DE38890DDB7291867B025210BD8888182190")]
pub(crate) struct SetPolicyArguments {
    /// The name for which, with all below it, it holds
    #[arg(long, value_name = "NAME", required_unless_present = "root", conflicts_with = "root")]
    prefix: Option<Name>,
    /// It holds for every name that has none of its own
    #[arg(long)]
    root: bool,
    /// How many different trusted keys must have signed
    #[arg(long, value_name = "K", default_value_t = NonZeroU32::MIN)]
    threshold: NonZeroU32,
    /// A key that must be among them; can be repeated
    #[arg(long, value_name = "FINGERPRINT")]
    require: Vec<Fingerprint>,
    /// The image must also be listed in the publisher's signed catalog
    #[arg(long)]
    catalog_required: bool,
}

/// Shows the policies, or the one that counts for a name.
#[derive(Args)]
#[command(after_help = "Examples:\n  dhow trust policy show\n  dhow trust policy show --name example.com/app")]
pub(crate) struct ShowPolicyArguments {
    /// Shows the one that counts for this name
    #[arg(long)]
    name: Option<Name>,
    /// How the result is printed
    #[arg(long, value_enum, default_value_t)]
    format: Format,
}

/// Removes the policy of a name: then that of a shorter prefix counts, or none.
#[derive(Args)]
#[command(after_help = "Example:\n  dhow trust policy remove --prefix example.com")]
pub(crate) struct RemovePolicyArguments {
    /// The name whose policy it is
    #[arg(long, value_name = "NAME", required_unless_present = "root", conflicts_with = "root")]
    prefix: Option<Name>,
    /// It is the one for every name
    #[arg(long)]
    root: bool,
}

pub(crate) fn trust(context: &Context, command: TrustCommand) -> Result<()> {
    match command {
        TrustCommand::Add(options) => add(context, &options),
        TrustCommand::List(options) => list(context, &options),
        TrustCommand::Remove(options) => remove(context, &options),
        TrustCommand::Update(options) => update(context, &options),
        TrustCommand::ForgetCatalog(options) => forget_catalog(context, &options.prefix),
        TrustCommand::Policy(PolicyCommand::Set(options)) => set_policy(context, options),
        TrustCommand::Policy(PolicyCommand::Show(options)) => show_policy(context, &options),
        TrustCommand::Policy(PolicyCommand::Remove(options)) => remove_policy(context, &options),
    }
}

fn add(context: &Context, options: &AddArguments) -> Result<()> {
    let scope = scope(options.prefix.as_ref());
    let mut candidates = offered(context, options.source.as_deref(), options.prefix.as_ref())?;
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

/// The keys in a file, at a URL, or that a name's pages name, and where each is from.
fn offered(context: &Context, source: Option<&str>, prefix: Option<&Name>) -> Result<Vec<(String, Certificate)>> {
    let source = match (source, prefix) {
        (Some(text), _) if text.contains("://") => {
            PubkeySource::Url(Url::parse(text).with_context(|| format!("`{text}` is not a URL"))?)
        }
        (Some(path), _) => PubkeySource::File(path.into()),
        (None, Some(prefix)) => PubkeySource::Discovered(prefix.clone()),
        (None, None) => bail!("A key for every name must come from a file or URL"),
    };
    let (found, _) = context
        .block_on(fetch_pubkeys(&source, &context.client()?, context.insecure()))?
        .with_context(|| format!("Could not get the keys for {}", scope(prefix)))?;
    let mut offered = Vec::new();
    for Pubkeys { place, bytes } in &found {
        let certificates =
            Certificate::parse_many(bytes).with_context(|| format!("Could not read keys from `{place}`"))?;
        offered.extend(certificates.into_iter().map(|certificate| (place.clone(), certificate)));
    }
    Ok(offered)
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

fn update(context: &Context, options: &UpdateArguments) -> Result<()> {
    let offered = offered(context, options.source.as_deref(), Some(&options.prefix))?;
    let certificates: Vec<_> = offered.into_iter().map(|(_, certificate)| certificate).collect();
    let prefix = &options.prefix;
    let updates = context.keyring()?.update(prefix, &certificates, options.dry_run)?;
    let would = if options.dry_run { "would be " } else { "" };
    for Update { certificate, outcome } in &updates {
        let label = certificate.label();
        match outcome {
            Outcome::Known => context.say(format_args!("Nothing new: {label}")),
            Outcome::Refreshed => {
                context.say(format_args!("{would}brought up to date: {label}"));
                if let Err(error) = certificate.check() {
                    context.say(format_args!("warning: {error}"));
                }
            }
            Outcome::Succeeds(predecessor) => {
                context.say(format_args!(
                    "{would}trusted for `{prefix}`: {label}, which {predecessor} certified as its successor"
                ));
                print(certificate.fingerprint().to_hex());
            }
            Outcome::Refused(reason) => context.say(format_args!("Left alone: {label}: {reason}")),
            _ => {}
        }
    }
    Ok(())
}

fn forget_catalog(context: &Context, prefix: &Name) -> Result<()> {
    if !context.catalog_memory()?.forget(prefix)? {
        bail!(NotFound(format!("No catalog of `{prefix}` was ever seen")));
    }
    context.say(format_args!(
        "Forgot the catalog of `{prefix}`\nwarning: until a new one is seen, an old catalog of `{prefix}` is believed as long as \
         it has not expired, and so is that there is none"
    ));
    Ok(())
}

fn set_policy(context: &Context, options: SetPolicyArguments) -> Result<()> {
    let keyring = context.keyring()?;
    let policy = TrustPolicy {
        threshold: options.threshold,
        require: options.require,
        catalog_required: options.catalog_required,
    };
    let prefix = options.prefix.as_ref();
    let path = keyring.set_policy(prefix, &policy)?;
    context.say(format_args!("For {}: {policy}", scope(prefix)));
    if let Some(prefix) = prefix {
        let trusted: Vec<_> = keyring.candidates(prefix)?;
        let is_trusted = |wanted: &Fingerprint| trusted.iter().any(|key| key.certificate.fingerprint() == *wanted);
        if (trusted.len() as u64) < u64::from(policy.threshold.get()) {
            context.say(format_args!(
                "warning: only {} keys are trusted for `{prefix}` so far, so nothing can meet this",
                trusted.len()
            ));
        }
        for missing in policy.require.iter().filter(|required| !is_trusted(required)) {
            context.say(format_args!(
                "warning: {missing} is not trusted for `{prefix}` so far, so nothing can meet this"
            ));
        }
    }
    print(path.display());
    Ok(())
}

fn show_policy(context: &Context, options: &ShowPolicyArguments) -> Result<()> {
    let keyring = context.keyring()?;
    let policies = match &options.name {
        Some(name) => keyring.policy_for(name)?.into_iter().collect(),
        None => keyring.policies()?,
    };
    match options.format {
        Format::Text => {
            if policies.is_empty() {
                context.say("There is no policy: one signature by one trusted key is enough");
            }
            for placed in &policies {
                print(format_args!("{}: {}", scope(placed.prefix.as_ref()), placed.policy));
                print(format_args!("  {}", placed.path.display()));
            }
        }
        Format::Json => print(serde_json::Value::from_iter(policies.iter().map(|placed| {
            serde_json::json!({
                "prefix": placed.prefix,
                "threshold": placed.policy.threshold,
                "require": placed.policy.require,
                "catalogRequired": placed.policy.catalog_required,
                "file": placed.path,
            })
        }))),
    }
    Ok(())
}

fn remove_policy(context: &Context, options: &RemovePolicyArguments) -> Result<()> {
    let prefix = options.prefix.as_ref();
    match context.keyring()?.remove_policy(prefix)? {
        Removal::Deleted(path) => context.say(format_args!(
            "No policy for {} any more: removed `{}`",
            scope(prefix),
            path.display()
        )),
        Removal::Masked(path) => context.say(format_args!(
            "No policy for {} any more: masked by `{}`",
            scope(prefix),
            path.display()
        )),
    }
    Ok(())
}

fn scope(prefix: Option<&Name>) -> String {
    prefix.map_or_else(|| "every name".to_owned(), |prefix| format!("`{prefix}`"))
}
