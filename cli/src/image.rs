//! `dhow image`: the images in the store.

mod diff;
mod extract;
mod gc;
mod mount;
mod pin;
mod render;
mod rm;
mod verify;

use std::{
    io::{self, BufWriter, Write},
    path::{Path, PathBuf},
    process::ExitCode,
    time::UNIX_EPOCH,
};

use anyhow::{Context as _, Result, bail};
use clap::{Args, Subcommand};
use dhow_fetchers::{Provenance, Verified};
use dhow_image::{ImageId, Reference};
use dhow_store::{ImageRecord, Standing, Store, StoreError};

use crate::{
    arguments::Format,
    context::{Context, print},
    output::{Readers, check_free, write_whole},
    table::{size, table},
};

/// Lists, shows, compares, exports, extracts, mounts and removes the images in the store.
#[derive(Subcommand)]
pub(crate) enum ImageCommand {
    List(ListArguments),
    Show(ShowArguments),
    Manifest(ManifestArguments),
    Export(ExportArguments),
    Extract(extract::ExtractArguments),
    Render(render::RenderArguments),
    Mount(mount::MountArguments),
    Unmount(mount::UnmountArguments),
    Diff(diff::DiffArguments),
    Verify(verify::VerifyArguments),
    Rm(rm::RmArguments),
    Gc(gc::GcArguments),
    Pin(pin::PinArguments),
    Unpin(pin::UnpinArguments),
    Pins(pin::PinsArguments),
}

/// Lists the images in the store.
#[derive(Args)]
#[command(after_help = "Example:\n  dhow image list --format json")]
pub(crate) struct ListArguments {
    /// How the result is printed
    #[arg(long, value_enum, default_value_t)]
    format: Format,
    /// Prints whole image IDs
    #[arg(long)]
    full: bool,
}

/// Shows where an image came from, who signed it and by which rule that was believed.
#[derive(Args)]
#[command(after_help = "Example:\n  dhow image show example.com/app")]
pub(crate) struct ShowArguments {
    /// A name with labels, as in example.com/app:1.0.0, or an image ID
    #[arg(value_name = "REF")]
    reference: Reference,
    /// How the result is printed
    #[arg(long, value_enum, default_value_t)]
    format: Format,
}

/// Prints the manifest of an image in the store.
#[derive(Args)]
#[command(after_help = "Example:\n  dhow image manifest example.com/app:1.0.0")]
pub(crate) struct ManifestArguments {
    /// A name with labels, as in example.com/app:1.0.0, or an image ID
    #[arg(value_name = "REF")]
    reference: Reference,
}

/// Writes an image's tar, uncompressed and bit for bit as it was built, or a part of it.
#[derive(Args)]
#[command(after_help = "\
Examples:
  dhow image export example.com/app:1.0.0 app.aci
  dhow image export example.com/app:1.0.0 --range 0-511 - | xxd")]
pub(crate) struct ExportArguments {
    /// A name with labels, as in example.com/app:1.0.0, or an image ID
    #[arg(value_name = "REF")]
    reference: Reference,
    /// The file to write, or `-` for stdout
    #[arg(value_name = "FILE.aci")]
    output: PathBuf,
    /// Overwrites the file if it is there
    #[arg(long)]
    overwrite: bool,
    /// Only the bytes from FIRST to LAST, counted from 0, or to the end
    #[arg(long, value_name = "FIRST-[LAST]", value_parser = byte_range)]
    range: Option<(u64, u64)>,
}

/// A range as HTTP and curl write it, as its start and its end.
fn byte_range(text: &str) -> Result<(u64, u64), String> {
    let (first, last) = text.split_once('-').ok_or("a range is FIRST-LAST or FIRST-")?;
    let number = |text: &str| {
        text.parse::<u64>()
            .map_err(|_| format!("`{text}` is no number of a byte"))
    };
    let first = number(first)?;
    let end = match last {
        "" => u64::MAX,
        last => number(last)?.saturating_add(1),
    };
    match first < end {
        true => Ok((first, end)),
        false => Err(format!("{last} comes before {first}")),
    }
}

pub(crate) fn image(context: &Context, command: ImageCommand) -> Result<ExitCode> {
    let store = context.store()?;
    let done = match command {
        ImageCommand::List(options) => list(&store, &options),
        ImageCommand::Show(options) => show(&store, &options),
        ImageCommand::Manifest(options) => manifest(&store, &options),
        ImageCommand::Export(options) => export(&store, &options),
        ImageCommand::Extract(options) => extract::extract(&store, &options),
        ImageCommand::Render(options) => render::render(&store, &options),
        ImageCommand::Unmount(options) => mount::unmount(&store, &options),
        ImageCommand::Diff(options) => diff::diff(&store, &options),
        ImageCommand::Mount(options) => return mount::mount(&store, &options),
        ImageCommand::Verify(options) => return verify::verify(&store, &options),
        ImageCommand::Rm(options) => rm::rm(context, &store, &options),
        ImageCommand::Gc(options) => gc::gc(context, &store, &options),
        ImageCommand::Pin(options) => pin::pin(context, &store, &options),
        ImageCommand::Unpin(options) => pin::unpin(&store, &options),
        ImageCommand::Pins(options) => pin::pins(&store, &options),
    };
    done.map(|()| ExitCode::SUCCESS)
}

/// The image in the store that a reference means.
pub(crate) fn find(store: &Store, reference: &Reference) -> Result<ImageId> {
    match reference {
        Reference::Id(prefix) => Ok(store.resolve(prefix)?),
        Reference::Named { name, labels } => {
            Ok(store
                .find(name, labels, Standing::Unverified)?
                .ok_or_else(|| StoreError::NotFound {
                    id: reference.to_string(),
                })?)
        }
        Reference::File(_) | Reference::Url(_) | Reference::Registry(_) | Reference::Layout(_) => {
            bail!("`{reference}` is no name and no image ID, which is how images in the store are called")
        }
    }
}

fn list(store: &Store, options: &ListArguments) -> Result<()> {
    let images = store.images()?;
    match options.format {
        Format::Text => {
            let rows: Vec<_> = images
                .iter()
                .map(|image| {
                    let id = if options.full {
                        image.id.to_string()
                    } else {
                        image.id.short()
                    };
                    [
                        image.name.to_string(),
                        image.labels.to_string(),
                        size(image.tar_size),
                        imported(image),
                        id,
                    ]
                })
                .collect();
            print(table(["NAME", "LABELS", "SIZE", "IMPORTED", "ID"], &rows));
        }
        Format::Json => print(serde_json::Value::from_iter(images.iter().map(|image| {
            serde_json::json!({
                "id": image.id,
                "name": image.name,
                "labels": image.labels,
                "size": image.tar_size,
                "importedAt": image.imported_at.duration_since(UNIX_EPOCH).map_or(0, |time| time.as_secs()),
            })
        }))),
    }
    Ok(())
}

fn imported(image: &ImageRecord) -> String {
    let time = chrono::DateTime::<chrono::Local>::from(image.imported_at);
    time.format("%Y-%m-%d %H:%M").to_string()
}

fn show(store: &Store, options: &ShowArguments) -> Result<()> {
    let id = find(store, &options.reference)?;
    let manifest = store.manifest(&id)?;
    let provenance = store.provenance(&id)?;
    if options.format == Format::Json {
        print(serde_json::json!({ "id": id, "manifest": manifest, "provenance": provenance }));
        return Ok(());
    }
    let provenance: Provenance = serde_json::from_value(provenance)
        .with_context(|| format!("The provenance of `{}` is not readable", id.short()))?;
    print(format_args!(
        "name      {}\nlabels    {}\nid        {id}",
        manifest.name, manifest.labels
    ));
    print(format_args!(
        "asked     {}\nsource    {}",
        provenance.reference, provenance.source
    ));
    print(format_args!(
        "fetched   {}",
        provenance.fetched_at.format("%Y-%m-%d %H:%M:%S UTC")
    ));
    if let Some(encryption) = &provenance.encryption {
        print(format_args!(
            "encrypted yes ({}), opened with {}",
            encryption.cipher, encryption.opened_by
        ));
    }
    if let Some(rebuilt) = &provenance.rebuilt {
        print(format_args!(
            "rebuilt   by a signed recipe, the archive never came: {} of files and {} of chunks were here, {} fetched",
            size(rebuilt.from_files),
            size(rebuilt.from_chunks),
            size(rebuilt.fetched),
        ));
    }
    match &provenance.verified {
        Verified::By(verification) => print(format_args!("verified  {verification}")),
        Verified::No(_) => print("verified  no: taken in with --insecure-options=image"),
    }
    Ok(())
}

fn manifest(store: &Store, options: &ManifestArguments) -> Result<()> {
    let id = find(store, &options.reference)?;
    print(serde_json::to_string_pretty(&store.manifest(&id)?)?);
    Ok(())
}

fn export(store: &Store, options: &ExportArguments) -> Result<()> {
    let id = find(store, &options.reference)?;
    let mut tar = match options.range {
        None => store.export(&id)?,
        Some((start, end)) => store.export_range(&id, start..end)?,
    };
    if let Some((start, _)) = options.range
        && start >= tar.tar_size()
    {
        bail!("the image's tar ends at byte {}", tar.tar_size());
    }
    if options.output == Path::new("-") {
        let mut out = BufWriter::new(io::stdout().lock());
        io::copy(&mut tar, &mut out)?;
        return Ok(out.flush()?);
    }
    check_free(&options.output, options.overwrite)?;
    write_whole(&options.output, Readers::Everyone, |out| {
        io::copy(&mut tar, out).with_context(|| format!("Could not write `{}`", options.output.display()))?;
        Ok(())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_those_of_http() {
        assert_eq!(byte_range("0-511"), Ok((0, 512)));
        assert_eq!(byte_range("7-7"), Ok((7, 8)));
        assert_eq!(byte_range("512-"), Ok((512, u64::MAX)));
        assert_eq!(byte_range("0-18446744073709551615"), Ok((0, u64::MAX)));
        for wrong in ["", "-", "5", "-5", "2-1", "a-b", "0-1-2", "0-18446744073709551616"] {
            assert!(byte_range(wrong).is_err(), "{wrong}");
        }
    }
}
