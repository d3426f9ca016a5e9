//! `dhow image render`: makes the root file system of an image ready.

use anyhow::Result;
use clap::Args;
use dhow_image::Reference;
use dhow_store::Store;

use super::find;
use crate::{arguments::Format, context::print};

/// Makes the root file system of an image ready to be mounted, with those that it depends on, and prints where its
/// tree is.
///
/// `dhow run` does this itself where it was not done. `dhow store status` tells which way works on this machine.
#[derive(Args)]
#[command(after_help = "Example:\n  dhow image render example.com/app:1.0.0")]
pub(crate) struct RenderArguments {
    /// A name with labels, as in example.com/app:1.0.0, or an image ID
    #[arg(value_name = "REF")]
    reference: Reference,
    /// How the result is printed
    #[arg(long, value_enum, default_value_t)]
    format: Format,
}

pub(crate) fn render(store: &Store, options: &RenderArguments) -> Result<()> {
    let id = find(store, &options.reference)?;
    let rootfs = store.rootfs(&id)?;
    match options.format {
        Format::Text => print(format_args!(
            "way   {}\ntree  {}",
            rootfs.way(),
            rootfs.path().display()
        )),
        Format::Json => print(serde_json::json!({
            "id": id,
            "way": rootfs.way().as_str(),
            "tree": rootfs.path(),
        })),
    }
    Ok(())
}
