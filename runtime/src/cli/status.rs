//! `dhow-pod status`.

use clap::Args;

use super::{Context, Format, list::PodSummary, print};
use crate::PodError;

/// Show a pod's state, and how its apps ended
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  dhow-pod status 66ceb509")]
pub(super) struct StatusArgs {
    /// The pod's UUID or its beginning
    #[arg(value_name = "UUID")]
    uuid: String,
    /// How to print
    #[arg(long, value_enum, default_value = "text")]
    format: Format,
}

/// Prints what is known of one pod.
pub(super) fn status(args: &StatusArgs, context: &Context) -> Result<(), PodError> {
    let summary = PodSummary::of(&context.pods().find(&args.uuid)?)?;
    match args.format {
        Format::Text => print(&summary.lines()),
        Format::Json => print(&format!(
            "{}\n",
            serde_json::to_string_pretty(&summary).expect("a summary is plain data")
        )),
    }
}
