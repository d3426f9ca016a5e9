//! `dhow fetch`.

use std::sync::Arc;

use anyhow::Result;
use clap::{Args, ValueEnum};
use dhow_fetchers::{
    DeltaUse, DownloadOptions, FetchContext, Fetched, NoProgress, PullPolicy, RateLimit, RegistryLogins, Verified,
};
use dhow_image::{ImageId, Reference};
use futures::{StreamExt, stream};
use serde::Deserialize;

use crate::{
    arguments::Format,
    context::{Context, print},
    convert::Layers,
    failure,
    passphrase::UserSecrets,
    progress::{Display, ProgressFormat},
    swarm::{SeedArguments, SwarmArguments},
};

/// How many images are fetched side by side.
pub(crate) const JOBS: usize = 3;

/// Finds, verifies and fetches images, and keeps them in the store; prints their image IDs, in the order of the
/// references.
///
/// The signature is fetched first: nothing enters the store that no trusted key signed. A download that was
/// interrupted goes on where it ended.
#[derive(Args)]
#[command(after_help = "\
Examples:
  dhow fetch example.com/app:1.0.0
  dhow fetch --limit-rate 2M example.com/app example.com/db,os=linux,arch=aarch64
  dhow fetch --delta never example.com/app
  dhow fetch ./app.aci
  dhow fetch s3://bucket/app.aci
  dhow fetch --prefer-torrent --seed-time 1h example.com/app
  dhow --insecure-options=image fetch docker://registry.example.com/team/app:1.0")]
pub(crate) struct FetchArguments {
    /// Names with labels, as in example.com/app:1.0.0, URLs, magnet links, or files, .torrent files among them; images of OCI and Docker as
    /// docker://[HOST/]REPOSITORY[:TAG], oci:DIR[:TAG], oci-archive:FILE or docker-archive:FILE
    #[arg(value_name = "REF", required = true)]
    references: Vec<Reference>,
    /// When the network is asked [default: update]
    #[arg(long, value_enum)]
    pull: Option<Pull>,
    /// How many bytes a second may come in all, as curl has it: 500k, 2M
    #[arg(long, value_name = "RATE")]
    limit_rate: Option<RateLimit>,
    /// Whether what changed since another version is fetched in place of the archive, where the site has recipes
    #[arg(long, value_enum, default_value_t)]
    delta: Delta,
    /// How many images are fetched side by side [default: 3]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    jobs: Option<u16>,
    /// How progress is shown, on stderr
    #[arg(long, value_enum, default_value_t)]
    progress: ProgressFormat,
    /// Whether the layers of an image of OCI or Docker become one image, or one each, shared by all that have them
    #[arg(long, value_enum, default_value_t)]
    layers: Layers,
    /// How the result is printed
    #[arg(long, value_enum, default_value_t)]
    format: Format,
    /// Fetches from swarms where there are any, before it asks web servers
    #[arg(long, help_heading = "BitTorrent")]
    prefer_torrent: bool,
    /// Keeps the archives of what is fetched as a torrent, for `dhow seed`
    #[arg(long, help_heading = "BitTorrent")]
    keep_archive: bool,
    #[command(flatten)]
    seeding: SeedArguments,
    #[command(flatten)]
    swarm: SwarmArguments,
}

/// Whether an image is fetched by difference.
#[derive(Clone, Copy, Default, ValueEnum)]
pub(crate) enum Delta {
    /// Where that is less to fetch.
    #[default]
    Auto,
    /// Never.
    Never,
    /// Always; what has no recipe is not fetched.
    Always,
}

/// When the network is asked for an image that is given by its name or URL.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Pull {
    /// If the store does not have it.
    #[default]
    New,
    /// Always; what the store has already does not come again.
    Update,
    /// Never.
    Never,
}

pub(crate) fn fetch(context: &Context, options: FetchArguments) -> Result<()> {
    let config = context.config()?;
    let pull = options.pull.or(config.fetch.pull).unwrap_or(Pull::Update);
    let mut fetch_context = fetch_context(context, pull)?;
    fetch_context.layers = match options.layers {
        Layers::Squash => dhow_fetchers::Layers::Squash,
        Layers::Keep => dhow_fetchers::Layers::Keep,
    };
    fetch_context.swarms = options
        .swarm
        .swarms(context, options.prefer_torrent, options.keep_archive)?;
    fetch_context.downloads.delta = match options.delta {
        Delta::Auto => DeltaUse::Auto,
        Delta::Never => DeltaUse::Never,
        Delta::Always => DeltaUse::Always,
    };
    if options.limit_rate.is_some() {
        fetch_context.downloads.limit = options.limit_rate;
    }
    let jobs = options
        .jobs
        .map(usize::from)
        .or(config.fetch.jobs)
        .unwrap_or(JOBS)
        .max(1);
    let display = Display::new(context.global.quiet, options.progress);
    let one = async |reference| {
        let fetched = fetch_one(&fetch_context, &display, reference).await?;
        // Made now, so that nobody waits for it when the image is run. What cannot be run may still be kept.
        let (store, id) = (fetch_context.store.clone(), fetched.id);
        let made = tokio::task::spawn_blocking(move || store.rootfs(&id).map(drop)).await?;
        if let Err(error) = made {
            let error = anyhow::Error::new(error);
            display.say(format_args!("warning: `{reference}` cannot be run as it is: {error:#}"));
        }
        anyhow::Ok(fetched)
    };
    let mut all = stream::iter(&options.references).map(one).buffered(jobs);
    let mut failed = None;
    let in_turn = async {
        while let Some(result) = all.next().await {
            match result {
                Ok(Fetched { id, provenance }) => match options.format {
                    Format::Text => print(id),
                    Format::Json => print(serde_json::json!({ "id": id, "provenance": provenance })),
                },
                // The others are fetched nevertheless.
                Err(error) if failed.is_none() => failed = Some(error),
                Err(error) => failure::report(&error),
            }
        }
    };
    context.block_on(async {
        in_turn.await;
        match options.seeding.goal() {
            Some(goal) => fetch_context.swarms.seed(&goal).await,
            None => Ok(()),
        }
    })??;
    failed.map_or(Ok(()), Err)
}

/// Brings an image into the store, if it is not there, and gives its ID.
pub(crate) fn ensure(context: &Context, reference: &Reference, pull: Pull) -> Result<ImageId> {
    let display = Display::new(context.global.quiet, ProgressFormat::Auto);
    let fetch_context = fetch_context(context, pull)?;
    let fetched = context.block_on(fetch_one(&fetch_context, &display, reference))??;
    Ok(fetched.id)
}

pub(crate) fn fetch_context(context: &Context, pull: Pull) -> Result<FetchContext> {
    let config = context.config()?;
    let defaults = DownloadOptions::default();
    Ok(FetchContext {
        swarms: Arc::default(),
        client: context.client()?,
        store: Arc::new(context.store()?),
        keyring: context.keyring()?,
        secrets: Arc::new(UserSecrets::new(context)?),
        insecure: context.insecure(),
        pull: match pull {
            _ if context.global.offline => PullPolicy::Never,
            Pull::New => PullPolicy::New,
            Pull::Update => PullPolicy::Update,
            Pull::Never => PullPolicy::Never,
        },
        downloads: DownloadOptions {
            retry: context.retry()?,
            limit: config.limit_rate()?,
            slow_after: config.timeout().unwrap_or(defaults.slow_after),
            streams: config.fetch.streams.unwrap_or(defaults.streams),
            ..defaults
        },
        mirrors: config.mirrors(),
        buckets: context.buckets()?,
        registry_logins: RegistryLogins::users_file(),
        layers: dhow_fetchers::Layers::Squash,
        cache: Some(context.discovery_cache()?),
        progress: Arc::new(NoProgress),
    })
}

async fn fetch_one(context: &FetchContext, display: &Display, reference: &Reference) -> Result<Fetched> {
    let context = FetchContext {
        progress: display.task(reference),
        ..context.clone()
    };
    let fetched = dhow_fetchers::fetch(reference, &context)
        .await
        .map_err(|error| anyhow::Error::new(error).context(format!("Could not fetch `{reference}`")))?;
    let Some(provenance) = &fetched.provenance else {
        return Ok(fetched);
    };
    let digest = provenance
        .converted_from
        .as_ref()
        .and_then(|from| from.manifest.as_ref());
    match (&provenance.verified, digest) {
        (Verified::By(verification), _) => display.say(format_args!("Fetched `{reference}`, {verification}")),
        (Verified::No(_), Some(digest)) => display.say(format_args!(
            "warning: fetched `{reference}` from `{}` by its digest {digest}, without any signature",
            provenance.source
        )),
        (Verified::No(_), None) => display.say(format_args!("warning: fetched `{reference}` without any verification")),
    }
    Ok(fetched)
}
