//! Images from wherever their names are found, put into a site of their own.

use std::{fs, sync::Arc};

use anyhow::{Context as _, Result};
use dhow_fetchers::{CarriedArchive, fetch_archives};
use dhow_image::{Labels, Name, Reference};
use dhow_site::{BaseUrl, OnConflict, Publication, Site};
use dhow_store::Store;
use tempfile::TempDir;

use crate::{
    context::Context,
    failure::Usage,
    fetch::{Pull, fetch_context},
    progress::{Display, ProgressFormat},
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
pub(super) fn gather(context: &Context, references: &[Reference]) -> Result<Gathered> {
    for reference in references {
        if !matches!(reference, Reference::Named { .. } | Reference::Url(_)) {
            return Err(Usage(format!(
                "`{reference}` is neither a name nor a URL, and --site names no site"
            ))
            .into());
        }
    }
    let mut fetch_context = fetch_context(context, Pull::Update)?;
    let store = fetch_context.store.clone();
    let tmp = store.tmp_dir();
    // What a killed export leaves there is collected with the rest.
    let scratch = |what| tempfile::Builder::new().prefix(what).tempdir_in(&tmp);
    let (directory, archives) = (scratch("bundle-site-")?, scratch("bundle-")?);
    let display = Display::new(context.global.quiet, ProgressFormat::Auto);
    if let Some(first) = references.first() {
        fetch_context.progress = display.task(first);
    }
    let fetched = fetch_archives(references, &fetch_context, archives.path(), context.limits());
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
    };
    context.block_on(site.publish(publication))??;
    fs::remove_file(&archive.path).with_context(|| format!("Could not remove `{}`", archive.path.display()))
}
