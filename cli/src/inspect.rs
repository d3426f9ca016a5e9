//! `dhow inspect`.

use std::{
    fs::{self, File},
    io,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result};
use clap::Args;
use dhow_image::{EntryCounts, Inspection, Name};
use dhow_trust::Verification;

use crate::{
    arguments::Format,
    context::{Context, print},
    decrypt::open_archive,
    sign::signature_path,
    table::{size, table},
};

/// Shows what is in an archive: how much and where, dependencies, and whether its signature is trusted.
///
/// The signature is the file with `.asc` beside the archive. Nothing depends on it here: `dhow verify` is for that.
#[derive(Args)]
#[command(after_help = "\
Examples:
  dhow inspect app.aci
  dhow inspect app.aci --depth 4 --top 20
  dhow inspect app.aci --format json")]
pub(crate) struct InspectArguments {
    /// The archive
    #[arg(value_name = "FILE.aci")]
    archive: PathBuf,
    /// How far below the root directories are listed
    #[arg(long, default_value_t = 2)]
    depth: usize,
    /// How many directories are listed, the largest
    #[arg(long, value_name = "N", default_value_t = 10)]
    top: usize,
    /// How the result is printed
    #[arg(long, value_enum, default_value_t)]
    format: Format,
}

/// What there is to say of an archive's signature.
enum SignatureState {
    None,
    Trusted(Verification),
    /// It is not, and why.
    Untrusted(dhow_trust::Error),
}

pub(crate) fn inspect(context: &Context, options: InspectArguments) -> Result<()> {
    let path = options.archive.display();
    let file = File::open(&options.archive).with_context(|| format!("Could not open `{path}`"))?;
    let archive_size = file
        .metadata()
        .with_context(|| format!("Could not read `{path}`"))?
        .len();
    let content = open_archive(context, &options.archive)?;
    let mut inspection = dhow_image::inspect(content, options.depth, context.limits())
        .with_context(|| format!("`{path}` is not a valid image"))?;
    inspection.directories.truncate(options.top);
    let signature = signature_state(context, &options.archive, &inspection.manifest.name)?;
    match options.format {
        Format::Text => print(text(&inspection, archive_size, &signature)),
        Format::Json => print(json(&inspection, archive_size, &signature)?),
    }
    Ok(())
}

fn signature_state(context: &Context, archive: &Path, name: &Name) -> Result<SignatureState> {
    let path = signature_path(archive);
    let signature = match fs::read(&path) {
        Ok(signature) => signature,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(SignatureState::None),
        Err(error) => return Err(error).with_context(|| format!("Could not read `{}`", path.display())),
    };
    let file = File::open(archive).with_context(|| format!("Could not open `{}`", archive.display()))?;
    Ok(
        match dhow_trust::verify_detached(&context.keyring()?, name, &signature, file) {
            Ok(verification) => SignatureState::Trusted(verification),
            Err(error) => SignatureState::Untrusted(error),
        },
    )
}

fn text(inspection: &Inspection, archive_size: u64, signature: &SignatureState) -> String {
    let manifest = &inspection.manifest;
    let mut lines = vec![
        format!("image         {}", inspection.id),
        format!("name          {}", manifest.name),
    ];
    if !manifest.labels.is_empty() {
        lines.push(format!("labels        {}", manifest.labels));
    }
    lines.push(format!(
        "archive       {} ({}), {} as a tar, {} in files",
        size(archive_size),
        match inspection.compression {
            dhow_image::Compression::None => "not compressed".to_owned(),
            compression => compression.to_string(),
        },
        size(inspection.tar_size),
        size(inspection.content_size)
    ));
    lines.push(format!("entries       {}", entries(&inspection.entries)));
    lines.push(format!("signature     {}", signature.text()));
    let runs = manifest.app.as_ref().filter(|app| !app.exec.is_empty());
    if let Some(app) = runs {
        lines.push(format!(
            "runs          {} as {}:{}",
            app.exec.join(" "),
            app.user,
            app.group
        ));
    }
    for (index, dependency) in manifest.dependencies.iter().enumerate() {
        let heading = if index == 0 { "dependencies" } else { "" };
        let mut line = format!("{heading:<14}{}", dependency.image_name);
        if !dependency.labels.is_empty() {
            line.push_str(&format!(",{}", dependency.labels));
        }
        if let Some(id) = dependency.image_id {
            line.push_str(&format!(" ({})", id.short()));
        }
        if let Some(bytes) = dependency.size {
            line.push_str(&format!(", {}", size(bytes)));
        }
        lines.push(line);
    }
    if !manifest.path_whitelist.is_empty() {
        lines.push(format!("whitelist     {} paths", manifest.path_whitelist.len()));
    }
    let rows: Vec<[String; 4]> = inspection
        .directories
        .iter()
        .map(|directory| {
            let share = directory
                .size
                .saturating_mul(100)
                .checked_div(inspection.content_size)
                .unwrap_or(0);
            [
                size(directory.size),
                format!("{share} %"),
                directory.files.to_string(),
                directory.path.clone(),
            ]
        })
        .collect();
    lines.push(String::new());
    lines.push(table(["SIZE", "SHARE", "FILES", "DIRECTORY"], &rows));
    lines.join("\n")
}

/// The kinds of which there are any.
fn entries(counts: &EntryCounts) -> String {
    let kinds = [
        (counts.files, "files"),
        (counts.directories, "directories"),
        (counts.symlinks, "symbolic links"),
        (counts.hard_links, "hard links"),
        (counts.devices, "devices"),
        (counts.fifos, "named pipes"),
        (counts.set_id, "of them set-user-ID or set-group-ID"),
        (counts.with_xattrs, "of them with extended attributes"),
    ];
    let kinds = kinds.iter().filter(|(count, _)| *count > 0);
    let list: Vec<String> = kinds.map(|(count, kind)| format!("{count} {kind}")).collect();
    format!("{}: {}", counts.total(), list.join(", "))
}

impl SignatureState {
    fn text(&self) -> String {
        match self {
            Self::None => "none".to_owned(),
            Self::Trusted(verification) => verification.to_string(),
            Self::Untrusted(error) => format!("not trusted: {error}"),
        }
    }
}

fn json(inspection: &Inspection, archive_size: u64, signature: &SignatureState) -> Result<String> {
    let mut value = serde_json::to_value(inspection)?;
    value["archiveSize"] = archive_size.into();
    value["signature"] = match signature {
        SignatureState::None => serde_json::json!({ "state": "none" }),
        SignatureState::Trusted(verification) => {
            serde_json::json!({ "state": "trusted", "verification": verification })
        }
        SignatureState::Untrusted(error) => serde_json::json!({ "state": "untrusted", "reason": error.to_string() }),
    };
    Ok(serde_json::to_string(&value)?)
}
