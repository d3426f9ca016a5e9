//! `dhow validate`.

use std::{
    io::{BufRead, BufReader, Read},
    path::{Path, PathBuf},
    process::ExitCode,
};

use anyhow::{Context as _, Result};
use clap::Args;
use dhow_image::{Severity, Validation};

use crate::{
    arguments::Format,
    context::{Context, print},
    decrypt::open_archive,
    failure::NOT_TRUSTED,
    table::size,
};

/// Tells all that is wrong with an archive or a manifest, each thing with the section of the specification.
///
/// Errors break a MUST of the specification and make the exit code 4; warnings are about a SHOULD, or about what is
/// likely not meant. An encrypted archive is decrypted first. A file that begins with `{` is the JSON of a manifest, of an image or of a pod.
#[derive(Args)]
#[command(after_help = "\
Examples:
  dhow validate app.aci
  dhow validate manifest.json
  dhow validate --format json *.aci")]
pub(crate) struct ValidateArguments {
    /// The archives, and files with the JSON of a manifest
    #[arg(value_name = "FILE", required = true)]
    files: Vec<PathBuf>,
    /// How the result is printed
    #[arg(long, value_enum, default_value_t)]
    format: Format,
}

pub(crate) fn validate(context: &Context, options: ValidateArguments) -> Result<ExitCode> {
    let mut are_valid = true;
    for path in &options.files {
        let (validation, is_archive) = read(context, path)?;
        are_valid &= validation.is_valid();
        match options.format {
            Format::Text => print(text(path, &validation, is_archive)),
            Format::Json => print(json(path, &validation)?),
        }
    }
    Ok(if are_valid {
        ExitCode::SUCCESS
    } else {
        ExitCode::from(NOT_TRUSTED)
    })
}

/// Validates a file, and tells whether it is an archive.
fn read(context: &Context, path: &Path) -> Result<(Validation, bool)> {
    let shown = path.display();
    let file = open_archive(context, path)?;
    let mut file = BufReader::with_capacity(128 << 10, file);
    let failed = || format!("Could not read `{shown}`");
    let start = file.fill_buf().with_context(failed)?;
    if start.iter().find(|byte| !byte.is_ascii_whitespace()) == Some(&b'{') {
        let mut json = Vec::new();
        file.read_to_end(&mut json).with_context(failed)?;
        return Ok((dhow_image::validate_manifest(&json), false));
    }
    let mut validation = dhow_image::validate_archive(file, context.limits());
    if path.extension().is_none_or(|extension| extension != "aci") {
        validation.warn(format!("`{shown}` should be named with the suffix `.aci`"));
    }
    Ok((validation, true))
}

fn text(path: &Path, validation: &Validation, is_archive: bool) -> String {
    let path = path.display();
    let outline = &validation.outline;
    let (errors, warnings) = (validation.count(Severity::Error), validation.count(Severity::Warning));
    let mut text = match (validation.is_valid(), validation.tar_size) {
        (true, Some(tar_size)) => format!(
            "`{path}` is the valid image `{}`: {} entries, {} as a tar",
            outline.name,
            validation.entries,
            size(tar_size)
        ),
        (true, None) if outline.name.is_empty() => format!("`{path}` is a valid manifest of a pod"),
        (true, None) => format!("`{path}` is a valid manifest of the image `{}`", outline.name),
        (false, _) => {
            let kind = if is_archive { "image" } else { "manifest" };
            format!("`{path}` is not a valid {kind}: {}", counted(errors, warnings))
        }
    };
    if let Some(id) = validation.id.filter(|_| validation.is_valid()) {
        text.push_str(&format!("\n{id}"));
    }
    for finding in &validation.findings {
        text.push_str(&format!("\n  {}: {finding} ({})", finding.severity, finding.section));
    }
    text
}

fn counted(errors: usize, warnings: usize) -> String {
    let plural = |count: usize, word: &str| format!("{count} {word}{}", if count == 1 { "" } else { "s" });
    match warnings {
        0 => plural(errors, "error"),
        _ => format!("{}, {}", plural(errors, "error"), plural(warnings, "warning")),
    }
}

fn json(path: &Path, validation: &Validation) -> Result<String> {
    let outline = &validation.outline;
    let labels: Vec<_> = outline
        .labels
        .iter()
        .map(|label| serde_json::json!({ "name": label.name, "value": label.value }))
        .collect();
    Ok(serde_json::to_string(&serde_json::json!({
        "path": path.display().to_string(),
        "valid": validation.is_valid(),
        "kind": validation.kind,
        "id": validation.id,
        "name": outline.name,
        "labels": labels,
        "entries": validation.entries,
        "tarSize": validation.tar_size,
        "findings": validation.findings,
    }))?)
}
