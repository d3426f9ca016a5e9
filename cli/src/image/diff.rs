//! `dhow image diff`: how two images differ.

use anyhow::Result;
use clap::Args;
use dhow_image::Reference;
use dhow_store::{Aspect, Change, ChangeKind, Diff, Store};
use serde_json::json;

use super::find;
use crate::{
    arguments::Format,
    context::print,
    table::{printable, size},
};

/// Tells how the root file systems of two images differ, without extracting them: files added (`+`), removed (`-`) and
/// changed (`~`), with what of them changed.
#[derive(Args)]
#[command(after_help = "Example:\n  dhow image diff example.com/app:1.0.0 example.com/app:1.1.0")]
pub(crate) struct DiffArguments {
    /// The image before
    #[arg(value_name = "REF")]
    before: Reference,
    /// The image after
    #[arg(value_name = "REF")]
    after: Reference,
    /// Also lists files of which nothing but the time changed
    #[arg(long)]
    times: bool,
    /// Prints the totals only
    #[arg(long)]
    summary: bool,
    /// How the result is printed
    #[arg(long, value_enum, default_value_t)]
    format: Format,
}

pub(crate) fn diff(store: &Store, options: &DiffArguments) -> Result<()> {
    let (before, after) = (find(store, &options.before)?, find(store, &options.after)?);
    let diff = store.diff(&before, &after)?;
    let listed = diff
        .changes
        .iter()
        .filter(|change| !options.summary && (options.times || !is_time_alone(change)));
    match options.format {
        Format::Text => {
            listed.for_each(|change| print(line(change)));
            print(summary(&diff));
        }
        Format::Json => print(json!({
            "before": before,
            "after": after,
            "changes": listed.map(in_json).collect::<Vec<_>>(),
            "totals": {
                "added": count(&diff, |change| change.kind == ChangeKind::Added),
                "removed": count(&diff, |change| change.kind == ChangeKind::Removed),
                "changed": count(&diff, is_changed),
                "timeAlone": count(&diff, is_time_alone),
                "bytesAdded": diff.bytes_added,
                "bytesRemoved": diff.bytes_removed,
                "bytesShared": diff.bytes_shared,
            },
        })),
    }
    Ok(())
}

fn is_time_alone(change: &Change) -> bool {
    change.kind == ChangeKind::Changed(vec![Aspect::Time])
}

fn is_changed(change: &Change) -> bool {
    matches!(change.kind, ChangeKind::Changed(_)) && !is_time_alone(change)
}

fn count(diff: &Diff, which: impl Fn(&Change) -> bool) -> usize {
    diff.changes.iter().filter(|change| which(change)).count()
}

fn line(change: &Change) -> String {
    let path = format!("/{}", printable(&String::from_utf8_lossy(&change.path)));
    let sizes = match (change.size_before, change.size_after) {
        (Some(before), Some(after)) if before != after => format!("  {} → {}", size(before), size(after)),
        (Some(bytes), _) | (None, Some(bytes)) => format!("  {}", size(bytes)),
        (None, None) => String::new(),
    };
    match &change.kind {
        ChangeKind::Added => format!("+ {path}{sizes}"),
        ChangeKind::Removed => format!("- {path}{sizes}"),
        ChangeKind::Changed(aspects) => {
            let aspects: Vec<_> = aspects.iter().map(|aspect| aspect.as_str()).collect();
            format!("~ {path}  {}{sizes}", aspects.join(", "))
        }
    }
}

fn summary(diff: &Diff) -> String {
    format!(
        "{} added, {} removed, {} changed, {} with another time alone; {} added, {} removed, {} in both",
        count(diff, |change| change.kind == ChangeKind::Added),
        count(diff, |change| change.kind == ChangeKind::Removed),
        count(diff, is_changed),
        count(diff, is_time_alone),
        size(diff.bytes_added),
        size(diff.bytes_removed),
        size(diff.bytes_shared),
    )
}

fn in_json(change: &Change) -> serde_json::Value {
    let (kind, aspects) = match &change.kind {
        ChangeKind::Added => ("added", [].as_slice()),
        ChangeKind::Removed => ("removed", [].as_slice()),
        ChangeKind::Changed(aspects) => ("changed", aspects.as_slice()),
    };
    json!({
        "path": format!("/{}", String::from_utf8_lossy(&change.path)),
        "kind": kind,
        "aspects": aspects.iter().map(|aspect| aspect.as_str()).collect::<Vec<_>>(),
        "sizeBefore": change.size_before,
        "sizeAfter": change.size_after,
    })
}
