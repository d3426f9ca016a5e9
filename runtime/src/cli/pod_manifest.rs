//! `dhow-pod pod-manifest`.

use clap::Args;

use super::{Context, print};
use crate::PodError;

/// Print the manifest of a pod
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  dhow-pod pod-manifest 66ceb509")]
pub(super) struct PodManifestArgs {
    /// The pod's UUID or its beginning
    #[arg(value_name = "UUID")]
    uuid: String,
}

/// Prints a pod's manifest as JSON.
pub(super) fn pod_manifest(args: &PodManifestArgs, context: &Context) -> Result<(), PodError> {
    let manifest = context.pods().find(&args.uuid)?.manifest()?;
    print(&format!(
        "{}\n",
        serde_json::to_string_pretty(&manifest).expect("a manifest is plain data")
    ))
}
