//! `dhow bundle`: images in one file, to be carried to where no network is.

mod export;
mod gather;
mod import;

use anyhow::Result;
use clap::Subcommand;

use crate::context::Context;

/// Carries images in one file to where no network is.
#[derive(Subcommand)]
pub(crate) enum BundleCommand {
    Export(export::ExportArguments),
    Import(import::ImportArguments),
}

pub(crate) fn bundle(context: &Context, command: BundleCommand) -> Result<()> {
    match command {
        BundleCommand::Export(options) => export::export(context, &options),
        BundleCommand::Import(options) => import::import(context, &options),
    }
}
