//! Images from wherever their names are found, put into a site of their own.

use std::{fs, sync::Arc};

use anyhow::{Context as _, Result};
use dhow_fetchers::{CarriedArchive, fetch_archives};
use dhow_image::{Labels, Name, Reference};
use dhow_site::{BaseUrl, Inside, OnConflict, Publication, Site};
use dhow_store::Store;
use tempfile::TempDir;

use crate::{
    context::Context,
    failure::Usage,
    fetch::{Pull, fetch_context},
    progress::Display,
};

/// A site with nothing but what was fetched.
pub(super) struct Gathered {
    /// Where it is.
    pub(super) directory: TempDir,
    /// What was asked for, and all that it depends on.
    pub(super) wanted: Vec<(Name, Labels)>,
    /// The catalogs by which it was found.
    pub(super) catalogs: Vec<Vec<u8>>,
    /// As long as it is open, nobody else empties its directory for what is temporary.
    _store: Arc<Store>,
}

/// Fetches and verifies images and puts them into a site.
pub(super) fn gather(context: &Context, references: &[Reference], display: &Display) -> Result<Gathered> {
    for reference in references {
        if !matches!(reference, Reference::Named { .. } | Reference::Url(_)) {
            return Err(Usage(format!(
                "`{reference}` is neither a name nor a URL, and --site names no site"
            ))
            .into());
        }
    }
    let fetch_context = fetch_context(context, Pull::Update)?;
    let store = fetch_context.store.clone();
    let tmp = store.tmp_dir();
    // What a killed export leaves there is collected with the rest.
    let scratch = |what| tempfile::Builder::new().prefix(what).tempdir_in(&tmp);
    let (directory, archives) = (scratch("bundle-site-")?, scratch("bundle-")?);
    let task = |reference: &Reference| display.task(reference);
    let fetched = fetch_archives(references, &fetch_context, archives.path(), context.limits(), task);
    let fetched = context
        .block_on(fetched)?
        .context("Could not fetch what is to be in the bundle")?;
    let site = Site::open_directory(directory.path(), BaseUrl::new("https://bundle.invalid".parse()?)?)?;
    let mut catalogs = Vec::new();
    for archive in &fetched {
        publish(context, &site, archive)?;
        // Each was fetched by the catalog that was believed last.
        let catalog = context.catalog_memory()?.file_for(&archive.name)?;
        catalogs.extend(catalog.filter(|catalog| !catalogs.contains(catalog)));
    }
    let wanted = fetched.into_iter().map(|archive| (archive.name, archive.labels));
    Ok(Gathered {
        wanted: wanted.collect(),
        catalogs,
        directory,
        _store: store,
    })
}

fn publish(context: &Context, site: &Site, archive: &CarriedArchive) -> Result<()> {
    let trusted = context.keyring()?.candidates(&archive.name)?;
    let certificates: Vec<_> = trusted.into_iter().map(|key| key.certificate).collect();
    let publication = Publication {
        archive: &archive.path,
        signature: &archive.signature,
        certificates: &certificates,
        on_conflict: OnConflict::Refuse,
        limits: context.limits(),
        catalog: None,
    };
    match &archive.inside {
        None => context.block_on(site.publish(publication))??,
        Some(image) => {
            // The message tells the IDs of some keys, but not whose they are.
            let inside = Inside::File {
                image: image.clone(),
                recipients: Vec::new(),
            };
            context.block_on(site.publish_encrypted(publication, &inside))??
        }
    };
    for file in archive.inside.iter().chain([&archive.path]) {
        fs::remove_file(file).with_context(|| format!("Could not remove `{}`", file.display()))?;
    }
    Ok(())
}
