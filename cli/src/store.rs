//! `dhow store`: what the store holds, and keeping it small and sound.

mod fsck;
mod gc;
mod status;

use std::process::ExitCode;

use anyhow::Result;
use clap::Subcommand;

use crate::context::Context;

/// Shows what the store holds, frees what no image needs, and checks every byte.
#[derive(Subcommand)]
pub(crate) enum StoreCommand {
    Status(status::StatusArguments),
    Gc(gc::GcArguments),
    Fsck(fsck::FsckArguments),
}

pub(crate) fn store(context: &Context, command: StoreCommand) -> Result<ExitCode> {
    match command {
        StoreCommand::Status(options) => status::status(context, &options)?,
        StoreCommand::Gc(options) => gc::gc(context, &options)?,
        StoreCommand::Fsck(options) => return fsck::fsck(context, &options),
    }
    Ok(ExitCode::SUCCESS)
}
