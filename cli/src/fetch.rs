//! `dhow fetch`.

use std::sync::Arc;

use anyhow::Result;
use clap::{Args, ValueEnum};
use dhow_fetchers::{DownloadOptions, FetchContext, Fetched, Mirrors, PullPolicy, Verified};
use dhow_image::{ImageId, Reference};

use crate::{
    arguments::Format,
    context::{Context, print},
    passphrase::UserSecrets,
    progress::Terminal,
};

/// Finds, verifies and fetches images, and keeps them in the store; prints their image IDs.
///
/// The signature is fetched first: nothing enters the store that no trusted key signed.
#[derive(Args)]
#[command(after_help = "\
Examples:
  dhow fetch example.com/app:1.0.0
  dhow fetch example.com/app,os=linux,arch=aarch64
  dhow fetch ./app.aci")]
pub(crate) struct FetchArguments {
    /// Names with labels, as in example.com/app:1.0.0, URLs, or files
    #[arg(value_name = "REF", required = true)]
    references: Vec<Reference>,
    /// When the network is asked
    #[arg(long, value_enum, default_value_t)]
    pull: Pull,
    /// How the result is printed
    #[arg(long, value_enum, default_value_t)]
    format: Format,
}

/// When the network is asked for an image that is given by its name.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum Pull {
    /// If the store does not have it.
    #[default]
    New,
    /// Always.
    Update,
    /// Never.
    Never,
}

pub(crate) fn fetch(context: &Context, options: FetchArguments) -> Result<()> {
    let fetch_context = fetch_context(context, options.pull)?;
    for reference in &options.references {
        let Fetched { id, provenance } = fetch_one(context, &fetch_context, reference)?;
        // Made now, so that nobody waits for it when the image is run. What cannot be run may still be kept.
        if let Err(error) = fetch_context.store.rootfs(&id) {
            let error = anyhow::Error::new(error);
            context.say(format_args!("warning: `{reference}` cannot be run as it is: {error:#}"));
        }
        match options.format {
            Format::Text => print(id),
            Format::Json => print(serde_json::json!({ "id": id, "provenance": provenance })),
        }
    }
    Ok(())
}

/// Brings an image into the store, if it is not there, and gives its ID.
pub(crate) fn ensure(context: &Context, reference: &Reference, pull: Pull) -> Result<ImageId> {
    Ok(fetch_one(context, &fetch_context(context, pull)?, reference)?.id)
}

fn fetch_context(context: &Context, pull: Pull) -> Result<FetchContext> {
    Ok(FetchContext {
        client: context.client()?,
        store: Arc::new(context.store()?),
        keyring: context.keyring()?,
        secrets: Arc::new(UserSecrets::new(context)?),
        insecure: context.insecure(),
        pull: match pull {
            Pull::New => PullPolicy::New,
            Pull::Update => PullPolicy::Update,
            Pull::Never => PullPolicy::Never,
        },
        downloads: DownloadOptions::default(),
        mirrors: Mirrors::default(),
        cache: Some(context.data_dir()?.join("cache/discovery")),
        progress: Arc::new(Terminal::new(context.global.quiet)),
    })
}

fn fetch_one(context: &Context, fetch_context: &FetchContext, reference: &Reference) -> Result<Fetched> {
    let fetched = context
        .block_on(dhow_fetchers::fetch(reference, fetch_context))?
        .map_err(|error| anyhow::Error::new(error).context(format!("Could not fetch `{reference}`")))?;
    match fetched.provenance.as_ref().map(|provenance| &provenance.verified) {
        Some(Verified::By(verification)) => context.say(format_args!("Fetched `{reference}`, {verification}")),
        Some(Verified::No(_)) => context.say(format_args!("warning: fetched `{reference}` without any verification")),
        None => {}
    }
    Ok(fetched)
}
