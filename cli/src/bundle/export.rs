//! `dhow bundle export`.

use std::path::PathBuf;

use anyhow::{Context as _, Result};
use clap::Args;
use dhow_image::Reference;
use dhow_site::Files;

use crate::{
    arguments::Format,
    context::{Context, print},
    failure::Usage,
    output::{Readers, check_free, write_whole},
};

/// Writes images of a site, all that they depend on, and what verifies them into one file; prints what is in it.
///
/// A name without a version means the highest, and without an os or arch every platform.
#[derive(Args)]
#[command(after_help = "\
Examples:
  dhow bundle export example.com/app --site /srv/site -o app.bundle.tar
  dhow bundle export example.com/app:1.2.0,os=linux,arch=amd64 example.com/db --site s3://bucket/site -o all.tar")]
pub(crate) struct ExportArguments {
    /// Names with labels, as in example.com/app:1.0.0
    #[arg(value_name = "REF", required = true)]
    references: Vec<Reference>,
    /// The site: a directory, or the URL of a bucket
    #[arg(long, value_name = "DIR")]
    site: String,
    /// The bundle
    #[arg(long, short, value_name = "FILE.tar")]
    output: PathBuf,
    /// Replaces the file, if there is one
    #[arg(long)]
    overwrite: bool,
    /// How the result is printed
    #[arg(long, value_enum, default_value_t)]
    format: Format,
}

pub(crate) fn export(context: &Context, options: &ExportArguments) -> Result<()> {
    check_free(&options.output, options.overwrite)?;
    let wanted = options.references.iter().map(|reference| match reference {
        Reference::Named { name, labels } => Ok((name.clone(), labels.clone())),
        other => Err(Usage(format!("`{other}` is not the name of an image"))),
    });
    let wanted = wanted.collect::<Result<Vec<_>, _>>()?;
    let files = Files::open_with(&options.site, &context.buckets()?)?;
    let images = write_whole(&options.output, Readers::Everyone, |out| {
        let exported = context.block_on(files.export_bundle(&wanted, out))?;
        exported.with_context(|| format!("Could not write `{}`", options.output.display()))
    })?;
    for image in images {
        match options.format {
            Format::Text => print(format_args!("{} with {}", image.name, image.labels)),
            Format::Json => {
                print(serde_json::json!({ "name": image.name, "labels": image.labels, "id": image.id }));
            }
        }
    }
    Ok(())
}
