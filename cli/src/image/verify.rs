//! `dhow image verify`: whether an image in the store is what its ID says.

use std::process::ExitCode;

use anyhow::Result;
use clap::Args;
use dhow_image::Reference;
use dhow_store::Store;

use super::find;
use crate::{arguments::Format, context::print, failure::NOT_TRUSTED, table::size};

/// Reads an image in the store whole: its tar must have the digest that is its ID, and every object the content that
/// is its name. Exits with 4 where something is damaged.
#[derive(Args)]
#[command(after_help = "Example:\n  dhow image verify example.com/app:1.0.0")]
pub(crate) struct VerifyArguments {
    /// A name with labels, as in example.com/app:1.0.0, or an image ID
    #[arg(value_name = "REF")]
    reference: Reference,
    /// How the result is printed
    #[arg(long, value_enum, default_value_t)]
    format: Format,
}

pub(crate) fn verify(store: &Store, options: &VerifyArguments) -> Result<ExitCode> {
    let id = find(store, &options.reference)?;
    let verification = store.verify(&id)?;
    let is_well = verification.problems.is_empty();
    match options.format {
        Format::Text if is_well => print(format_args!(
            "`{}` is whole: a tar of {}, {} objects of {}",
            options.reference,
            size(verification.tar_size),
            verification.objects,
            size(verification.object_bytes),
        )),
        Format::Text => {
            print(format_args!("`{}` is damaged:", options.reference));
            verification
                .problems
                .iter()
                .for_each(|problem| print(format_args!("  {problem}")));
        }
        Format::Json => print(serde_json::json!({
            "id": id,
            "whole": is_well,
            "tarSize": verification.tar_size,
            "objects": verification.objects,
            "objectBytes": verification.object_bytes,
            "problems": verification.problems,
        })),
    }
    Ok(if is_well {
        ExitCode::SUCCESS
    } else {
        ExitCode::from(NOT_TRUSTED)
    })
}
