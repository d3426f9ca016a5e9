//! `dhow store`: the store as a whole.

use anyhow::Result;
use clap::{Args, Subcommand};
use dhow_store::Probe;
use serde_json::{Value, json};

use crate::{
    arguments::Format,
    context::{Context, print},
    table::size,
};

/// Tells how the store is.
#[derive(Subcommand)]
pub(crate) enum StoreCommand {
    Status(StatusArguments),
}

/// Tells where the store is, what is in it, how much its images share, and in which way root file systems are made on
/// this machine, with the reasons.
#[derive(Args)]
#[command(after_help = "Example:\n  dhow store status --format json")]
pub(crate) struct StatusArguments {
    /// How the result is printed
    #[arg(long, value_enum, default_value_t)]
    format: Format,
}

pub(crate) fn store(context: &Context, command: StoreCommand) -> Result<()> {
    match command {
        StoreCommand::Status(options) => status(context, &options),
    }
}

fn status(context: &Context, options: &StatusArguments) -> Result<()> {
    let store = context.store()?;
    let (usage, probe) = (store.usage()?, store.probe());
    if options.format == Format::Json {
        print(json!({
            "directory": store.root(),
            "images": usage.images,
            "objects": usage.objects,
            "logicalBytes": usage.logical,
            "realBytes": usage.real,
            "sharedBytes": usage.shared,
            "treeBytes": usage.trees,
            "rootFileSystems": Value::from(probe),
        }));
        return Ok(());
    }
    print(format_args!("directory  {}", store.root().display()));
    print(format_args!(
        "images     {}, of {} objects",
        usage.images, usage.objects
    ));
    print(format_args!(
        "logical    {}, the tars of all images",
        size(usage.logical)
    ));
    print(format_args!(
        "on disk    {}, of which trees {}",
        size(usage.real),
        size(usage.trees)
    ));
    print(format_args!(
        "shared     {} that images have in common",
        size(usage.shared)
    ));
    way(probe);
    Ok(())
}

/// In which way root file systems are made, and why in no faster one.
fn way(probe: &Probe) {
    print(format_args!("roots      {}", probe.way));
    for (way, reason) in &probe.refused {
        print(format_args!("           no {way}: {reason}"));
    }
}
