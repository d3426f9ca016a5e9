//! `dhow bundle export`.

use std::path::PathBuf;

use anyhow::{Context as _, Result};
use clap::Args;
use dhow_image::{Labels, Name, Reference};
use dhow_site::{Files, Record};

use super::gather::gather;
use crate::{
    arguments::Format,
    context::{Context, print},
    failure::Usage,
    output::{Readers, check_free, write_whole},
    progress::{Display, ProgressFormat},
};

/// Writes images, all that they depend on, and what verifies them into one file; prints what is in it.
///
/// They come from a site, where a name without a version means the highest, and without an os or arch every platform.
/// Without --site they are found, fetched and verified as `dhow fetch` does it, for this machine's os and arch where none
/// is given; the store keeps none of them. What is encrypted stays so, but has to be opened on the way, by one of your keys
/// or a passphrase, to see what it depends on. The catalogs that list them, as their publishers signed them, come along.
#[derive(Args)]
#[command(after_help = "\
Examples:
  dhow bundle export example.com/app -o app.bundle.tar
  dhow bundle export example.com/app --site /srv/site -o app.bundle.tar
  dhow bundle export example.com/app:1.2.0,os=linux,arch=amd64 example.com/db --site s3://bucket/site -o all.tar")]
pub(crate) struct ExportArguments {
    /// Names with labels, as in example.com/app:1.0.0; without --site also URLs
    #[arg(value_name = "REF", required = true)]
    references: Vec<Reference>,
    /// The site from which they come: a directory, or the URL of a bucket [default: wherever the names are found]
    #[arg(long, value_name = "DIR")]
    site: Option<String>,
    /// The bundle
    #[arg(long, short, value_name = "FILE.tar")]
    output: PathBuf,
    /// Replaces the file, if there is one
    #[arg(long)]
    overwrite: bool,
    /// How the progress of each REF is shown, on stderr
    #[arg(long, value_enum, default_value_t)]
    progress: ProgressFormat,
    /// How the result is printed
    #[arg(long, value_enum, default_value_t)]
    format: Format,
}

pub(crate) fn export(context: &Context, options: &ExportArguments) -> Result<()> {
    check_free(&options.output, options.overwrite)?;
    let images = match &options.site {
        Some(site) => {
            let wanted = options.references.iter().map(|reference| match reference {
                Reference::Named { name, labels } => Ok((name.clone(), labels.clone())),
                other => Err(Usage(format!("`{other}` is not the name of an image"))),
            });
            let wanted = wanted.collect::<Result<Vec<_>, _>>()?;
            write(
                context,
                options,
                &Files::open_with(site, &context.buckets()?)?,
                &wanted,
                &[],
            )?
        }
        None => {
            let display = Display::new(context.global.quiet, options.progress);
            let gathered = gather(context, &options.references, &display)?;
            let files = Files::open_directory(gathered.directory.path())?;
            write(context, options, &files, &gathered.wanted, &gathered.catalogs)?
        }
    };
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

fn write(
    context: &Context,
    options: &ExportArguments,
    files: &Files,
    wanted: &[(Name, Labels)],
    catalogs: &[Vec<u8>],
) -> Result<Vec<Record>> {
    write_whole(&options.output, Readers::Everyone, |out| {
        let exported = context.block_on(files.export_bundle(wanted, catalogs, out))?;
        exported.with_context(|| format!("Could not write `{}`", options.output.display()))
    })
}
