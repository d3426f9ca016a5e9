//! `dhow convert`: between App Container Images and those of OCI and Docker.

use std::{
    fs::{self, File, Permissions},
    io::{self, BufWriter},
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result, bail};
use clap::{Args, ValueEnum};
use dhow_image::{
    AciOptions, Compression, ConvertError, Converted, ExportOptions, Exported, FoundImage, ImageLocation, Images,
    Label, Limits, Name, OciPlatform,
};
use tempfile::NamedTempFile;

use crate::{
    arguments::Format,
    context::{Context, print},
    epoch::source_date_epoch,
    output::check_free,
};

/// Converts between App Container Images and those of OCI and Docker, both ways.
///
/// SRC and DST are FILE.aci, oci:DIR[:TAG], oci-archive:FILE[:TAG] or docker-archive:FILE[:NAME:TAG], and one of them
/// is an App Container Image. One that depends on others is converted together with them, if they are all in the
/// store. The same input gives the same bytes. Every blob is checked against its digest. What one
/// format has no place for is kept as an annotation, for the way back.
#[derive(Args)]
#[command(after_help = "\
Examples:
  docker save example.com/app:1.0.0 -o app.tar
  dhow convert docker-archive:app.tar app.aci
  dhow convert oci:layout:1.0.0 app.aci --name example.com/app --platform linux/arm64
  dhow convert app.aci oci-archive:app.oci.tar")]
pub(crate) struct ConvertArguments {
    /// The image to convert
    #[arg(value_name = "SRC")]
    source: ImageLocation,
    /// What it becomes; a directory with --layers keep or --all-platforms
    #[arg(value_name = "DST")]
    destination: ImageLocation,
    /// Whether an image's layers become one ACI, or one each, depending on the one beneath
    #[arg(long, value_enum, default_value_t)]
    layers: Layers,
    /// Which image of several, as in linux/arm64; also what an ACI without os and arch labels runs on
    /// [default: this machine's]
    #[arg(long, value_name = "OS/ARCH[/VARIANT]", conflicts_with = "all_platforms")]
    platform: Option<OciPlatform>,
    /// Makes an ACI for each platform, into the directory DST
    #[arg(long)]
    all_platforms: bool,
    /// The ACI's name [default: made from what the image is called]
    #[arg(long)]
    name: Option<Name>,
    /// A label of the ACI, as in version=1.0.0
    #[arg(long = "label", value_name = "NAME=VALUE", value_parser = parse_label)]
    labels: Vec<Label>,
    /// How the result is compressed: none, gzip, bzip2, xz or zstd [default: gzip; none for docker-archive]
    #[arg(long)]
    compression: Option<Compression>,
    /// Overwrites what is there
    #[arg(long)]
    overwrite: bool,
    /// How the result is printed
    #[arg(long, value_enum, default_value_t)]
    format: Format,
}

/// What becomes of the layers of an image of OCI or Docker.
#[derive(Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum Layers {
    /// All layers become one image.
    #[default]
    Squash,
    /// Each layer becomes an image.
    Keep,
}

pub(crate) fn convert(context: &Context, options: ConvertArguments) -> Result<()> {
    let failed = || format!("Could not convert `{}`", options.source);
    match (&options.source, &options.destination) {
        (ImageLocation::Aci(aci), destination) if !matches!(destination, ImageLocation::Aci(_)) => {
            to_oci(context, &options, aci).with_context(failed)
        }
        (source, ImageLocation::Aci(path)) if !matches!(source, ImageLocation::Aci(_)) => {
            to_aci(context, &options, path).with_context(failed)
        }
        (ImageLocation::Aci(_), _) => bail!("Both are App Container Images: one of them must be of OCI or Docker"),
        _ => bail!("None of them is an App Container Image: convert to FILE.aci first, and from there"),
    }
}

fn to_oci(context: &Context, options: &ConvertArguments, aci: &Path) -> Result<()> {
    if let ImageLocation::OciArchive { path, .. } | ImageLocation::DockerArchive { path, .. } = &options.destination {
        check_free(path, options.overwrite)?;
    }
    if options.name.is_some() || !options.labels.is_empty() || options.layers == Layers::Keep || options.all_platforms {
        bail!("--name, --label, --layers and --all-platforms are for making an ACI");
    }
    let export_options = ExportOptions {
        compression: options.compression,
        platform: options.platform.clone().unwrap_or_else(OciPlatform::host),
        source_date_epoch: source_date_epoch()?,
        limits: context.limits(),
    };
    let exported = match dhow_image::export(aci, &options.destination, &export_options) {
        Err(ConvertError::Dependencies { dependencies, .. }) => {
            export_rendered(context, options, aci, &export_options, &dependencies)?
        }
        result => result?,
    };
    for note in &exported.notes {
        context.say(format_args!("note: {note}"));
    }
    context.say(format_args!(
        "Converted `{}` to `{}`, called `{}`",
        aci.display(),
        options.destination,
        exported.name
    ));
    match options.format {
        Format::Text => print(exported.digest),
        Format::Json => print(serde_json::json!({
            "digest": exported.digest, "name": exported.name, "notes": exported.notes,
        })),
    }
    Ok(())
}

/// Converts an image that depends on others as the store renders it.
fn export_rendered(
    context: &Context,
    options: &ConvertArguments,
    aci: &Path,
    export_options: &ExportOptions,
    dependencies: &str,
) -> Result<Exported> {
    let shown = aci.display();
    let file = File::open(aci).with_context(|| format!("Could not open `{shown}`"))?;
    let id = dhow_image::read_summary_within(file, context.limits())?.id;
    let store = context.store()?;
    if !store.contains(&id) {
        bail!(
            "`{shown}` depends on {dependencies}: it is converted with them once `dhow fetch {shown}` has stored them"
        );
    }
    let mut rendered = NamedTempFile::new_in(store.tmp_dir())?;
    store.flatten(&id, BufWriter::with_capacity(128 << 10, &mut rendered))?;
    context.say(format_args!("Laid `{shown}` over what it depends on: {dependencies}"));
    let limits = Limits::NONE;
    let export_options = ExportOptions {
        limits,
        ..export_options.clone()
    };
    Ok(dhow_image::export(
        rendered.path(),
        &options.destination,
        &export_options,
    )?)
}

fn to_aci(context: &Context, options: &ConvertArguments, path: &Path) -> Result<()> {
    let images = Images::open(&options.source, context.limits())?;
    let mut made = Vec::new();
    if options.all_platforms {
        let images_of_all = images.all()?;
        for image in &images_of_all {
            let platform = image
                .platform()
                .map_or("any".to_owned(), |platform| platform.to_string().replace('/', "-"));
            let place = match options.layers {
                Layers::Squash => path.join(format!("{platform}.aci")),
                Layers::Keep => path.join(&platform),
            };
            if made.iter().any(|(written, _)| *written == place) {
                bail!("There are two images for {platform}");
            }
            fs::create_dir_all(path).with_context(|| format!("Could not make `{}`", path.display()))?;
            made.extend(write(context, options, &images, image, &place)?);
        }
    } else {
        let image = images.select(options.platform.as_ref())?;
        made = write(context, options, &images, &image, path)?;
    }
    for (_, converted) in &made {
        for note in &converted.notes {
            context.say(format_args!("note: {note}"));
        }
    }
    for (path, converted) in &made {
        context.say(format_args!(
            "Converted `{}` to `{}`, the image `{}`",
            options.source,
            path.display(),
            converted.manifest.name
        ));
    }
    match options.format {
        Format::Text => made.iter().for_each(|(_, converted)| print(converted.id)),
        Format::Json => print(serde_json::Value::from_iter(made.iter().map(|(path, converted)| {
            serde_json::json!({
                "file": path, "id": converted.id, "name": converted.manifest.name, "labels": converted.manifest.labels,
                "entries": converted.entries, "tarSize": converted.tar_size, "notes": converted.notes,
            })
        }))),
    }
    Ok(())
}

/// Writes one image, as a file or, layer by layer, into a directory: all of it or nothing.
fn write(
    context: &Context,
    options: &ConvertArguments,
    images: &Images,
    image: &FoundImage,
    path: &Path,
) -> Result<Vec<(PathBuf, Converted)>> {
    let aci_options = AciOptions {
        name: options.name.clone(),
        labels: options.labels.clone(),
        compression: options.compression.unwrap_or(Compression::Gzip),
        source_date_epoch: source_date_epoch()?,
        limits: context.limits(),
    };
    if options.layers == Layers::Squash {
        check_free(path, options.overwrite)?;
        let directory = path
            .parent()
            .filter(|parent| !parent.as_os_str().is_empty())
            .unwrap_or(Path::new("."));
        let (file, out) = temporary(directory)?;
        let converted = dhow_image::squash(images, image, &aci_options, out)?;
        persist(file, path)?;
        return Ok(vec![(path.to_owned(), converted)]);
    }
    fs::create_dir_all(path).with_context(|| format!("Could not make `{}`", path.display()))?;
    let mut files = Vec::new();
    let create = |name: &str| {
        check_free(&path.join(name), options.overwrite).map_err(io::Error::other)?;
        let (file, out) = temporary(path).map_err(io::Error::other)?;
        files.push(file);
        Ok(out)
    };
    let layers = dhow_image::keep_layers(images, image, &aci_options, create)?;
    let mut made = Vec::new();
    for (file, layer) in files.into_iter().zip(layers) {
        let path = path.join(layer.file_name);
        persist(file, &path)?;
        made.push((path, layer.converted));
    }
    Ok(made)
}

fn temporary(directory: &Path) -> Result<(NamedTempFile, BufWriter<File>)> {
    let in_directory = || format!("Could not write in `{}`", directory.display());
    let permissions = Permissions::from_mode(0o644);
    let mut builder = tempfile::Builder::new();
    let file = builder
        .prefix(".dhow-")
        .permissions(permissions)
        .tempfile_in(directory)
        .with_context(in_directory)?;
    let out = BufWriter::with_capacity(128 << 10, file.as_file().try_clone().with_context(in_directory)?);
    Ok((file, out))
}

fn persist(file: NamedTempFile, path: &Path) -> Result<()> {
    let persisted = file.persist(path).map(drop).map_err(|error| error.error);
    persisted.with_context(|| format!("Could not write `{}`", path.display()))
}

fn parse_label(text: &str) -> Result<Label, String> {
    let (name, value) = text
        .split_once('=')
        .ok_or_else(|| format!("`{text}` is not of the form NAME=VALUE"))?;
    let name = Name::new(name).map_err(|error| error.to_string())?;
    Ok(Label {
        name,
        value: value.to_owned(),
    })
}
