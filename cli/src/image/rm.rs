//! `dhow image rm`.

use anyhow::{Context as _, Result};
use clap::Args;
use dhow_image::{ImageId, Reference};
use dhow_store::{Dependents, Store};

use super::find;
use crate::context::{Context, print};

/// Removes images from the store; prints their IDs.
///
/// All of them or, where a pod, a pin or another image needs one, none. What they share with others stays; `dhow
/// store gc` frees the rest.
#[derive(Args)]
#[command(after_help = "Examples:\n  dhow image rm example.com/app:1.0.0\n  dhow image rm sha512-0123456789ab")]
pub(crate) struct RmArguments {
    /// Names with labels, as in example.com/app:1.0.0, or image IDs
    #[arg(value_name = "REF", required = true)]
    references: Vec<Reference>,
    /// Also removes what other images depend on, which cannot be run then until it is fetched again
    #[arg(long)]
    leave_dependents: bool,
}

pub(super) fn rm(context: &Context, store: &Store, options: &RmArguments) -> Result<()> {
    let mut ids: Vec<ImageId> = Vec::new();
    for reference in &options.references {
        let id = find(store, reference)?;
        if !ids.contains(&id) {
            ids.push(id);
        }
    }
    let dependents = match options.leave_dependents {
        true => Dependents::LeftBehind,
        false => Dependents::Protected,
    };
    store
        .remove(&ids, dependents)
        .context(match options.references.as_slice() {
            [one] => format!("Could not remove `{one}`"),
            _ => "Could not remove the images".to_owned(),
        })?;
    for id in ids {
        print(id);
    }
    context.say("`dhow store gc` frees what no image needs any more");
    Ok(())
}
