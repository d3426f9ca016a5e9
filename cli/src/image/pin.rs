//! `dhow image pin`, `unpin` and `pins`.

use anyhow::{Context as _, Result};
use clap::Args;
use dhow_image::{ImageId, Reference};
use dhow_store::{Store, StoreError};

use super::find;
use crate::{
    arguments::Format,
    context::{Context, print},
    table::table,
};

/// Keeps images, with those that they depend on, until they are unpinned; prints the name of the pin.
#[derive(Args)]
#[command(
    after_help = "Examples:\n  dhow image pin example.com/app:1.0.0\n  dhow image pin --name web example.com/app"
)]
pub(crate) struct PinArguments {
    /// Names with labels, as in example.com/app:1.0.0, or image IDs
    #[arg(value_name = "REF", required = true)]
    references: Vec<Reference>,
    /// What the pin is called; one of that name is replaced [default: the ID of each image]
    #[arg(long)]
    name: Option<String>,
}

/// Takes pins away.
#[derive(Args)]
#[command(after_help = "Examples:\n  dhow image unpin web\n  dhow image unpin example.com/app:1.0.0")]
pub(crate) struct UnpinArguments {
    /// Names of pins, or the images of pins that have no name of their own
    #[arg(value_name = "PIN", required = true)]
    pins: Vec<String>,
}

/// Lists the pins.
#[derive(Args)]
#[command(after_help = "Example:\n  dhow image pins --format json")]
pub(crate) struct PinsArguments {
    /// How the result is printed
    #[arg(long, value_enum, default_value_t)]
    format: Format,
}

pub(super) fn pin(context: &Context, store: &Store, options: &PinArguments) -> Result<()> {
    let found = options.references.iter().map(|reference| find(store, reference));
    let ids = found.collect::<Result<Vec<ImageId>>>()?;
    let pins = match &options.name {
        Some(name) => vec![(name.clone(), ids)],
        None => ids.into_iter().map(|id| (id.to_string(), vec![id])).collect(),
    };
    for (name, ids) in pins {
        store.pin(&name, &ids).context("Could not pin the images")?;
        print(&name);
        context.say(format_args!("`dhow image unpin {name}` takes the pin away"));
    }
    Ok(())
}

pub(super) fn unpin(store: &Store, options: &UnpinArguments) -> Result<()> {
    for pin in &options.pins {
        let is_gone = store.unpin(pin).or_else(|error| match error {
            // What is no name of a pin may be a reference.
            StoreError::PinName { .. } => Ok(false),
            other => Err(other),
        })?;
        if is_gone {
            continue;
        }
        let by_image = match pin.parse::<Reference>() {
            Ok(reference @ (Reference::Named { .. } | Reference::Id(_))) => find(store, &reference).ok(),
            _ => None,
        };
        let is_gone = match by_image {
            Some(id) => store.unpin(&id.to_string())?,
            None => false,
        };
        if !is_gone {
            return Err(crate::failure::NotFound(format!("There is no pin `{pin}`")).into());
        }
    }
    Ok(())
}

pub(super) fn pins(store: &Store, options: &PinsArguments) -> Result<()> {
    let pins = store.pins()?;
    match options.format {
        Format::Text => {
            let records = store.images()?;
            let shown = |id: &ImageId| match records.iter().find(|record| record.id == *id) {
                Some(record) => format!("{} {}", record.name, id.short()),
                None => id.short(),
            };
            let rows: Vec<_> = pins
                .iter()
                .map(|pin| {
                    let images: Vec<_> = pin.images.iter().map(shown).collect();
                    [pin.name.clone(), images.join(", ")]
                })
                .collect();
            print(table(["PIN", "IMAGES"], &rows));
        }
        Format::Json => print(serde_json::Value::from_iter(
            pins.iter()
                .map(|pin| serde_json::json!({ "name": pin.name, "images": pin.images })),
        )),
    }
    Ok(())
}
