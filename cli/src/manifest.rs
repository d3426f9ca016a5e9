//! `dhow manifest`.

use std::path::PathBuf;

use anyhow::{Context as _, Result};
use clap::Args;

use crate::{
    context::{Context, print},
    decrypt::open_archive,
};

/// Prints the manifest of an archive.
#[derive(Args)]
#[command(after_help = "Example:\n  dhow manifest app.aci")]
pub(crate) struct ManifestArguments {
    /// The archive
    #[arg(value_name = "FILE.aci")]
    archive: PathBuf,
}

pub(crate) fn manifest(context: &Context, options: ManifestArguments) -> Result<()> {
    let path = options.archive.display();
    let file = open_archive(context, &options.archive)?;
    let manifest = dhow_image::read_manifest(file).with_context(|| format!("`{path}` is not a valid image"))?;
    print(serde_json::to_string_pretty(&manifest)?);
    Ok(())
}
