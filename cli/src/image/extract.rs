//! `dhow image extract`: the files of an image in a directory.

use std::path::PathBuf;

use anyhow::{Context as _, Result};
use clap::Args;
use dhow_image::Reference;
use dhow_store::{Store, StoreError};

use super::find;

/// Copies the root file system of an image into a directory, with those that it depends on: owners, modes, times and
/// attributes as in the image.
///
/// For an ordinary user all files are that user's, devices are left out, and so are attributes that only root may set.
#[derive(Args)]
#[command(after_help = "Example:\n  dhow image extract example.com/app:1.0.0 ./root")]
pub(crate) struct ExtractArguments {
    /// A name with labels, as in example.com/app:1.0.0, or an image ID
    #[arg(value_name = "REF")]
    reference: Reference,
    /// The directory, which is made if it is not there and must be empty if it is
    #[arg(value_name = "DIR")]
    directory: PathBuf,
    /// Puts the files over those in the directory: files of the same name are replaced, others stay
    #[arg(long)]
    overwrite: bool,
}

pub(crate) fn extract(store: &Store, options: &ExtractArguments) -> Result<()> {
    let id = find(store, &options.reference)?;
    let directory = &options.directory;
    let extracted = match options.overwrite {
        true => store.extract_over(&id, directory),
        false => store.extract(&id, directory),
    };
    match extracted {
        Err(error @ StoreError::NotEmpty { .. }) => {
            Err(error).context("Could not extract the image (--overwrite puts it over what is there)")
        }
        result => {
            result.with_context(|| format!("Could not extract `{}` to `{}`", options.reference, directory.display()))
        }
    }
}
