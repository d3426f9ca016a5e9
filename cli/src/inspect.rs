//! `dhow validate` and `dhow manifest`: looking at an archive.

use std::{fs::File, path::PathBuf};

use anyhow::{Context as _, Result};
use clap::Args;

use crate::{
    arguments::Format,
    context::{Context, print},
    table::size,
};

/// Reads an archive to its end and says whether it is a valid image.
#[derive(Args)]
#[command(after_help = "Example:\n  dhow validate app.aci")]
pub(crate) struct ValidateArguments {
    /// The archive
    #[arg(value_name = "FILE.aci")]
    archive: PathBuf,
    /// How the result is printed
    #[arg(long, value_enum, default_value_t)]
    format: Format,
}

/// Prints the manifest of an archive.
#[derive(Args)]
#[command(after_help = "Example:\n  dhow manifest app.aci")]
pub(crate) struct ManifestArguments {
    /// The archive
    #[arg(value_name = "FILE.aci")]
    archive: PathBuf,
}

pub(crate) fn validate(_: &Context, options: ValidateArguments) -> Result<()> {
    let path = options.archive.display();
    let file = File::open(&options.archive).with_context(|| format!("Could not open `{path}`"))?;
    let summary = dhow_image::read_summary(file).with_context(|| format!("`{path}` is not a valid image"))?;
    match options.format {
        Format::Text => print(format_args!(
            "`{path}` is the valid image `{}`: {} entries, {} as a tar\n{}",
            summary.manifest.name,
            summary.entries,
            size(summary.tar_size),
            summary.id
        )),
        Format::Json => print(serde_json::json!({
            "id": summary.id,
            "name": summary.manifest.name,
            "labels": summary.manifest.labels,
            "entries": summary.entries,
            "tarSize": summary.tar_size,
        })),
    }
    Ok(())
}

pub(crate) fn manifest(_: &Context, options: ManifestArguments) -> Result<()> {
    let path = options.archive.display();
    let file = File::open(&options.archive).with_context(|| format!("Could not open `{path}`"))?;
    let manifest = dhow_image::read_manifest(file).with_context(|| format!("`{path}` is not a valid image"))?;
    print(serde_json::to_string_pretty(&manifest)?);
    Ok(())
}
