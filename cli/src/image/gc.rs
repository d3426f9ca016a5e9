//! `dhow image gc`.

use std::time::Duration;

use anyhow::{Context as _, Result};
use clap::Args;
use dhow_store::{Effect, ImageGcOptions, Store};

use crate::{
    arguments::Format,
    context::{Context, print},
    quantity,
};

/// Removes images that nobody has used for some time; prints their IDs.
///
/// Images of pods, pinned images, and all that these depend on stay. An image is used when it is fetched, run,
/// rendered or exported. `dhow store gc` then frees what no image needs.
#[derive(Args)]
#[command(after_help = "\
Examples:
  dhow image gc --grace-period 30d
  dhow image gc --superseded --dry-run")]
pub(crate) struct GcArguments {
    /// Keeps what was used in this time
    #[arg(long, value_name = "TIME", default_value = "24h", value_parser = quantity::duration)]
    grace_period: Duration,
    /// Removes only what the store has a newer version of
    #[arg(long)]
    superseded: bool,
    /// Removes nothing, and prints what would go
    #[arg(long)]
    dry_run: bool,
    /// How the result is printed
    #[arg(long, value_enum, default_value_t)]
    format: Format,
}

pub(super) fn gc(context: &Context, store: &Store, options: &GcArguments) -> Result<()> {
    let gone = store
        .collect_images(&ImageGcOptions {
            unused_for: options.grace_period,
            only_superseded: options.superseded,
            effect: match options.dry_run {
                true => Effect::Report,
                false => Effect::Remove,
            },
        })
        .context("Could not remove the images that nobody uses")?;
    match options.format {
        Format::Text => gone.iter().for_each(|image| print(image.id)),
        Format::Json => print(serde_json::Value::from_iter(gone.iter().map(
            |image| serde_json::json!({ "id": image.id, "name": image.name, "labels": image.labels }),
        ))),
    }
    if !options.dry_run && !gone.is_empty() {
        context.say("`dhow store gc` frees what no image needs any more");
    }
    Ok(())
}
