//! `dhow store status`.

use anyhow::{Context as _, Result};
use clap::Args;
use serde_json::{Value, json};

use crate::{
    arguments::Format,
    context::{Context, print},
    table::size,
};

/// Shows what the store holds, what its images share, what `dhow store gc` would free, and in which way root file
/// systems are made on this machine, with the reasons.
#[derive(Args)]
#[command(after_help = "Example:\n  dhow store status --format json")]
pub(crate) struct StatusArguments {
    /// How the result is printed
    #[arg(long, value_enum, default_value_t)]
    format: Format,
}

pub(super) fn status(context: &Context, options: &StatusArguments) -> Result<()> {
    let store = context.store()?;
    let usage = store.usage().context("Could not count what the store holds")?;
    if options.format == Format::Json {
        print(json!({
            "directory": store.root(),
            "readOnly": store.is_read_only(),
            "images": { "number": usage.images.number, "bytes": usage.images.bytes },
            "logicalBytes": usage.logical,
            "totalBytes": usage.total(),
            "objects": { "number": usage.objects.number, "bytes": usage.objects.bytes },
            "sharedBytes": usage.shared,
            "trees": { "number": usage.trees.number, "bytes": usage.trees.bytes },
            "temporaryBytes": usage.temporary,
            "quarantineBytes": usage.quarantine,
            "collectable": usage.collectable.map(|amount| json!({ "number": amount.number, "bytes": amount.bytes })),
            "rootFileSystems": Value::from(store.probe()),
        }));
        return Ok(());
    }
    let counted = |number: u64, bytes: u64| format!("{number} ({})", size(bytes));
    let mut lines = vec![
        ("directory", store.root().display().to_string()),
        ("images", counted(usage.images.number, usage.logical)),
        ("on disk", size(usage.total())),
        ("objects", counted(usage.objects.number, usage.objects.bytes)),
        ("shared", size(usage.shared)),
        ("trees", counted(usage.trees.number, usage.trees.bytes)),
        ("temporary", size(usage.temporary)),
    ];
    if usage.quarantine > 0 {
        lines.push(("quarantine", size(usage.quarantine)));
    }
    let collectable = match usage.collectable {
        Some(amount) => format!("{}, by `dhow store gc`", counted(amount.number, amount.bytes)),
        None => "nothing, while an image is damaged: `dhow store fsck`".to_owned(),
    };
    lines.push(("to free", collectable));
    // Why it is made in no faster way follows.
    let probe = store.probe();
    lines.push(("roots", probe.way.to_string()));
    lines.extend(
        probe
            .refused
            .iter()
            .map(|(way, reason)| ("", format!("no {way}: {reason}"))),
    );
    for (name, value) in lines {
        print(format_args!("{name:<11}{value}"));
    }
    Ok(())
}
