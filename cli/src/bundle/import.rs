//! `dhow bundle import`.

use std::{
    fs::File,
    io::BufReader,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result};
use clap::Args;
use dhow_image::Reference;
use dhow_site::{BaseUrl, OnConflict, Publication, Site, Unpacked, UnpackedImage, unpack_bundle};
use dhow_trust::verify_detached;
use url::Url;

use crate::{
    arguments::Format,
    context::{Context, print},
    failure::NotTrusted,
    fetch::{Pull, ensure},
};

/// Verifies the images of a bundle by the keys that you trust, and takes them into the store, or into a site.
///
/// All are verified before the first is taken in: of a bundle that is damaged, or has an image that no trusted key
/// signed, nothing is kept. The keys in the bundle are not believed; trust the publisher's first.
#[derive(Args)]
#[command(after_help = "\
Examples:
  dhow bundle import app.bundle.tar
  dhow bundle import app.bundle.tar --site /srv/site --url https://example.com")]
pub(crate) struct ImportArguments {
    /// The bundle
    #[arg(value_name = "FILE.tar")]
    bundle: PathBuf,
    /// Publishes the images into this site, which a web server or `dhow mirror serve` serves, and not into the store
    #[arg(long, value_name = "DIR", requires = "url")]
    site: Option<PathBuf>,
    /// Where on the web that site is
    #[arg(long, value_name = "URL", requires = "site")]
    url: Option<Url>,
    /// How the result is printed
    #[arg(long, value_enum, default_value_t)]
    format: Format,
}

pub(crate) fn import(context: &Context, options: &ImportArguments) -> Result<()> {
    let failed = || format!("Could not import `{}`", options.bundle.display());
    let file = File::open(&options.bundle).with_context(failed)?;
    let store = context.store()?;
    // What a killed import leaves there is collected with the rest.
    let directory = tempfile::Builder::new().prefix("bundle-").tempdir_in(store.tmp_dir())?;
    let unpacked = unpack_bundle(BufReader::with_capacity(128 << 10, file), directory.path()).with_context(failed)?;
    for image in &unpacked.images {
        verify(context, image).with_context(failed)?;
    }
    match (&options.site, &options.url) {
        (Some(site), Some(url)) => into_site(context, options, unpacked, site, url).with_context(failed),
        _ => into_store(context, options, unpacked).with_context(failed),
    }
}

/// Whether a trusted key signed the archive, and whether it is the image that the bundle says.
fn verify(context: &Context, image: &UnpackedImage) -> Result<()> {
    let record = &image.record;
    if !context.insecure().image {
        let archive = File::open(&image.archive)?;
        verify_detached(&context.keyring()?, &record.name, &image.signature, archive)
            .with_context(|| format!("Could not verify `{}` with {}", record.name, record.labels))?;
    }
    let summary = dhow_image::read_summary_within(File::open(&image.archive)?, context.limits())
        .with_context(|| format!("`{}` with {} is not a valid image", record.name, record.labels))?;
    let is_same =
        (&summary.manifest.name, &summary.manifest.labels, summary.id) == (&record.name, &record.labels, record.id);
    if !is_same {
        let said = format!("`{}` with {}", record.name, record.labels);
        let found = format!("`{}` with {}", summary.manifest.name, summary.manifest.labels);
        return Err(NotTrusted(format!("what the bundle calls {said} is {found}, {}", summary.id)).into());
    }
    Ok(())
}

fn into_store(context: &Context, options: &ImportArguments, unpacked: Unpacked) -> Result<()> {
    for image in unpacked.images {
        let record = image.record;
        // The dependencies are before it, and the network is asked for none.
        let id = ensure(context, &Reference::File(image.archive), Pull::Never)?;
        match options.format {
            Format::Text => print(id),
            Format::Json => print(serde_json::json!({ "id": id, "name": record.name, "labels": record.labels })),
        }
    }
    Ok(())
}

fn into_site(context: &Context, options: &ImportArguments, unpacked: Unpacked, site: &Path, url: &Url) -> Result<()> {
    let site = Site::open_directory(site, BaseUrl::new(url.clone())?)?;
    // Versions that are no semantic versions are in the order in which they were published.
    let mut images = unpacked.images;
    images.sort_by_key(|image| image.record.published);
    for image in images {
        let publication = Publication {
            archive: &image.archive,
            signature: &image.signature,
            certificates: &unpacked.certificates,
            on_conflict: OnConflict::Refuse,
            limits: context.limits(),
        };
        let published = context.block_on(site.publish(publication))??;
        match options.format {
            Format::Text => print(&published.page_url),
            Format::Json => print(serde_json::json!({
                "id": published.id, "name": published.name, "labels": published.labels, "page": published.page_url,
            })),
        }
    }
    Ok(())
}
