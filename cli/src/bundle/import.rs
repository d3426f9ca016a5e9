//! `dhow bundle import`.

use std::{
    fs::{self, File},
    io::{BufReader, Read as _},
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result};
use chrono::Utc;
use clap::Args;
use dhow_discovery::SignedCatalog;
use dhow_image::Reference;
use dhow_site::{
    BaseUrl, Inside, OnConflict, Publication, Site, Unpacked, UnpackedCatalog, UnpackedImage, unpack_bundle,
};
use dhow_trust::{is_encrypted, verify_detached};
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
/// signed, nothing is kept; nor where a catalog in it is not signed as it must be. The keys in the bundle are not believed;
/// trust the publisher's first. Into a site the catalog comes along, so that clients tell the newest version by it.
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
    for catalog in &unpacked.catalogs {
        verify_catalog(context, catalog, &unpacked.images).with_context(failed)?;
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
    // Who cannot read it takes it as its signer made it. Whoever can is told if it is another image.
    if inside(image)?.is_some() {
        return Ok(());
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

/// What the bundle says is in an archive that is encrypted.
fn inside(image: &UnpackedImage) -> Result<Option<Inside>> {
    let mut start = Vec::new();
    File::open(&image.archive)?.take(64).read_to_end(&mut start)?;
    Ok(is_encrypted(&start).then(|| Inside::Record(Box::new(image.record.clone()))))
}

/// Whether trusted keys signed the catalog: those for its prefix, or for one of the images that come with it.
fn verify_catalog(context: &Context, catalog: &UnpackedCatalog, images: &[UnpackedImage]) -> Result<()> {
    if context.insecure().image {
        return Ok(());
    }
    let UnpackedCatalog { prefix, path } = catalog;
    let failed = || format!("Could not verify the catalog of `{prefix}`");
    let keyring = context.keyring()?;
    let signed = SignedCatalog::read(&fs::read(path)?).with_context(failed)?;
    let names = images.iter().map(|image| &image.record.name);
    let names = names.filter(|name| name.is_within(prefix));
    let verified = names.fold(signed.verify(prefix, &keyring), |verified, name| {
        verified.or_else(|error| signed.verify_for(prefix, name, &keyring).map_err(|_| error))
    });
    let (catalog, _) = verified.with_context(failed)?;
    if catalog.expires <= Utc::now() {
        context.say(format_args!(
            "warning: the catalog of `{prefix}` expired on {}: clients do without it, or refuse",
            catalog.expires.format("%Y-%m-%d %H:%M UTC")
        ));
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
            catalog: None,
        };
        let published = match inside(&image)? {
            Some(inside) => context.block_on(site.publish_encrypted(publication, &inside))??,
            None => context.block_on(site.publish(publication))??,
        };
        match options.format {
            Format::Text => print(&published.page_url),
            Format::Json => print(serde_json::json!({
                "id": published.id, "name": published.name, "labels": published.labels, "page": published.page_url,
            })),
        }
    }
    for UnpackedCatalog { prefix, path } in &unpacked.catalogs {
        if !context.block_on(site.carry_catalog(&fs::read(path)?))?? {
            context.say(format_args!(
                "The catalog of `{prefix}` has no place on a site at `{url}`: clients find the images by their pages"
            ));
        }
    }
    Ok(())
}
