//! `dhow store fsck`.

use std::process::ExitCode;

use anyhow::{Context as _, Result};
use clap::Args;
use dhow_image::{ImageId, Reference};
use dhow_store::{FsckOptions, FsckReport, Lost, Outcome, Repair, Thoroughness};
use serde_json::json;

use crate::{
    arguments::Format,
    context::{Context, print},
    failure::NOT_TRUSTED,
    fetch::{Pull, ensure},
    table::size,
};

/// Checks the store: every object, image, rendered tree and the index. Exits with 4 if something is wrong.
///
/// Other programs can use the store meanwhile.
#[derive(Args)]
#[command(after_help = "\
Examples:
  dhow store fsck
  dhow store fsck --quick --format json
  dhow store fsck --repair --fetch")]
pub(crate) struct FsckArguments {
    /// Looks at names, sizes and structure, and not at every byte
    #[arg(long)]
    quick: bool,
    /// Puts right what can be, and moves what cannot into the store's `quarantine/`
    #[arg(long)]
    repair: bool,
    /// Fetches again what was lost
    #[arg(long, requires = "repair")]
    fetch: bool,
    /// First makes the index anew from the images' files
    #[arg(long)]
    rebuild: bool,
    /// How the result is printed
    #[arg(long, value_enum, default_value_t)]
    format: Format,
}

pub(super) fn fsck(context: &Context, options: &FsckArguments) -> Result<ExitCode> {
    let report = {
        let store = context.store()?;
        if options.rebuild {
            store.rebuild_index().context("Could not make the index anew")?;
        }
        let options = FsckOptions {
            thoroughness: match options.quick {
                true => Thoroughness::Quick,
                false => Thoroughness::Whole,
            },
            repair: match options.repair {
                true => Repair::Yes,
                false => Repair::No,
            },
            ..FsckOptions::default()
        };
        store.fsck(&options).context("Could not check the store")?
    };
    let mut fetched = Vec::new();
    if options.fetch {
        for lost in &report.lost {
            match fetch_again(context, lost) {
                Ok(()) => fetched.push(lost.id),
                Err(error) => context.say(format_args!("warning: {error:#}")),
            }
        }
    }
    match options.format {
        Format::Text => print_text(&report, &fetched),
        Format::Json => print(json!({
            "checked": report.checked,
            "problems": report.problems,
            "lost": report.lost,
            "fetched": fetched,
        })),
    }
    let is_unresolved = |outcome: Outcome| outcome == Outcome::Found;
    let has_problems = report.problems.iter().any(|problem| is_unresolved(problem.outcome));
    let has_lost = report.lost.iter().any(|lost| !fetched.contains(&lost.id));
    Ok(match has_problems || has_lost {
        true => ExitCode::from(NOT_TRUSTED),
        false => ExitCode::SUCCESS,
    })
}

/// Fetches an image from where it came, or by its name: it must be the same.
fn fetch_again(context: &Context, lost: &Lost) -> Result<()> {
    let mut last = None;
    for reference in ways(lost) {
        let fetched = match ensure(context, &reference, Pull::Update) {
            Ok(id) if id == lost.id => return Ok(()),
            Ok(id) => anyhow::anyhow!("`{reference}` is another image now, {}", id.short()),
            Err(error) => error,
        };
        last.get_or_insert(fetched);
    }
    let nowhere = || anyhow::anyhow!("nothing tells where it came from");
    Err(last
        .unwrap_or_else(nowhere)
        .context(format!("Could not fetch `{}` again", lost.id.short())))
}

/// The references by which an image may be found again.
fn ways(lost: &Lost) -> Vec<Reference> {
    let asked = lost.reference.as_ref().and_then(|reference| reference.parse().ok());
    let named = lost.name.clone().map(|name| Reference::Named {
        name,
        labels: lost.labels.clone().unwrap_or_default(),
    });
    // An ID says nothing about where an image lies.
    let asked = asked.filter(|reference| !matches!(reference, Reference::Id(_)));
    asked.into_iter().chain(named).collect()
}

fn print_text(report: &FsckReport, fetched: &[ImageId]) {
    for problem in &report.problems {
        let done = match problem.outcome {
            Outcome::Found => "",
            Outcome::Repaired => ": put right",
            Outcome::Quarantined => ": now in quarantine",
        };
        print(format_args!("`{}` {}{done}", problem.path.display(), problem.problem));
    }
    for lost in &report.lost {
        let mut line = match (&lost.name, &lost.labels) {
            (Some(name), Some(labels)) if labels.iter().next().is_some() => format!("{name},{labels} ({})", lost.id),
            (Some(name), _) => format!("{name} ({})", lost.id),
            (None, _) => lost.id.to_string(),
        };
        if let Some(reference) = &lost.reference {
            line.push_str(&format!(", from `{}`", reference.escape_debug()));
        }
        match fetched.contains(&lost.id) {
            true => print(format_args!("fetched again: {line}")),
            false => print(format_args!("must be fetched again: {line}")),
        }
    }
    let checked = &report.checked;
    print(format_args!(
        "checked {} images, {} objects ({}), {} trees: {}",
        checked.images,
        checked.objects,
        size(checked.bytes),
        checked.trees,
        match report.problems.len() {
            0 => "all is well".to_owned(),
            1 => "1 problem".to_owned(),
            number => format!("{number} problems"),
        }
    ));
}
