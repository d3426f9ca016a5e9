//! `dhow store gc`.

use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use clap::Args;
use dhow_store::{Amount, Effect, GcOptions, GcReport};
use serde_json::json;

use crate::{
    arguments::Format,
    context::{Context, print},
    quantity,
    table::size,
};

/// Frees what no image needs: objects, rendered root file systems, and what programs that were killed have left.
///
/// Fetches and pods can go on meanwhile. With --max-size, images go too, the least recently used first, until the
/// store fits; images of pods and pinned images stay.
#[derive(Args)]
#[command(after_help = "\
Examples:
  dhow store gc --dry-run
  dhow store gc --max-size 10GiB")]
pub(crate) struct GcArguments {
    /// Leaves what came in this time
    #[arg(long, value_name = "TIME", default_value = "24h", value_parser = quantity::duration)]
    grace: Duration,
    /// Removes images until the store takes no more than this, as 500M or 10GiB [default: `max-size` in `[store]` of
    /// config.toml, else no limit]
    #[arg(long, value_name = "SIZE", value_parser = quantity::size)]
    max_size: Option<u64>,
    /// Waits for programs that take images in for this long
    #[arg(long, value_name = "TIME", default_value = "60s", value_parser = quantity::duration)]
    wait: Duration,
    /// Removes nothing, and tells what would go
    #[arg(long)]
    dry_run: bool,
    /// How the result is printed
    #[arg(long, value_enum, default_value_t)]
    format: Format,
}

pub(super) fn gc(context: &Context, options: &GcArguments) -> Result<()> {
    let store = context.store()?;
    let max_size = options.max_size.or(context.config()?.store.max_size);
    let report = store
        .collect(&GcOptions {
            grace: options.grace,
            max_size,
            effect: match options.dry_run {
                true => Effect::Report,
                false => Effect::Remove,
            },
            patience: options.wait,
        })
        .context("Could not free what no image needs")?;
    match options.format {
        Format::Text => print_text(&report, options.dry_run),
        Format::Json => print_json(&report),
    }
    if let (Some(limit), 1..) = (max_size, report.excess) {
        bail!(
            "the store takes {} more than {}: pods, pins and what is younger than the grace period hold the rest",
            size(report.excess),
            size(limit)
        );
    }
    Ok(())
}

fn print_text(report: &GcReport, dry_run: bool) {
    let verb = if dry_run { "would free" } else { "freed" };
    for image in &report.images {
        print(format_args!("image      {} {}", image.name, image.id.short()));
    }
    let line = |name: &str, amount: Amount| {
        print(format_args!("{name:<11}{} ({})", amount.number, size(amount.bytes)));
    };
    line("objects", report.objects);
    line("trees", report.trees);
    line("blobs", report.blobs);
    line("leftovers", report.leftovers);
    print(format_args!("{verb:<11}{}", size(report.freed().bytes)));
}

fn print_json(report: &GcReport) {
    let amount = |amount: Amount| json!({ "number": amount.number, "bytes": amount.bytes });
    let images = report
        .images
        .iter()
        .map(|image| json!({ "id": image.id, "name": image.name, "labels": image.labels }));
    print(json!({
        "images": images.collect::<Vec<_>>(),
        "objects": amount(report.objects),
        "trees": amount(report.trees),
        "blobs": amount(report.blobs),
        "leftovers": amount(report.leftovers),
        "freedBytes": report.freed().bytes,
        "excessBytes": report.excess,
    }));
}
