//! What the commands share that change the catalog of a site: who signs it, and what is told of it.

use anyhow::{Context as _, Result};
use chrono::TimeDelta;
use clap::Args;
use dhow_site::{CatalogOptions, CatalogWritten, Listed, OnOtherSigner, Site};
use dhow_trust::SigningKey;

use crate::{
    arguments::Format,
    context::{Context, print},
    sign::find_key,
};

/// How the catalog of a site is signed.
#[derive(Args)]
#[command(next_help_heading = "Catalog")]
pub(crate) struct CatalogArguments {
    /// A key that signs the catalog, in place of the one that signs the archives; can be repeated, and all of them sign
    #[arg(long = "catalog-key", value_name = "KEY")]
    pub(crate) catalog_keys: Vec<String>,
    /// For how many days the catalog is to be believed
    #[arg(long, value_name = "DAYS", default_value_t = 30, value_parser = clap::value_parser!(u16).range(1..))]
    catalog_expires: u16,
    /// Goes on with a catalog that others signed, made anew of what is published: clients must trust the new key
    #[arg(long)]
    take_over_catalog: bool,
    /// Leaves the catalog as it is: clients who go by it do not find what is published now
    #[arg(long, conflicts_with_all = ["catalog_keys", "refresh"])]
    pub(crate) no_catalog: bool,
    /// Only signs the catalogs anew, with a later end, and publishes nothing
    #[arg(long, conflicts_with = "archives")]
    pub(crate) refresh: bool,
    /// Makes them of what is published, and not of what they say now
    #[arg(long, requires = "refresh")]
    rebuild: bool,
}

impl CatalogArguments {
    pub(crate) fn options(&self, signers: Vec<SigningKey>) -> CatalogOptions {
        CatalogOptions {
            signers,
            valid_for: TimeDelta::days(self.catalog_expires.into()),
            on_other_signer: match self.take_over_catalog {
                true => OnOtherSigner::Replace,
                false => OnOtherSigner::Refuse,
            },
        }
    }
}

/// The keys that the user names for signing a catalog; the one of his that `default` names, or his only one, where he
/// names none.
pub(crate) fn signers(context: &Context, keys: &[String], default: Option<&str>) -> Result<Vec<SigningKey>> {
    match keys {
        [] => Ok(vec![find_key(context, default)?]),
        keys => keys.iter().map(|key| find_key(context, Some(key))).collect(),
    }
}

/// `dhow publish --refresh`.
pub(crate) fn refresh(
    context: &Context,
    site: &Site,
    arguments: &CatalogArguments,
    key: Option<&str>,
    format: Format,
) -> Result<()> {
    let signers = signers(context, &arguments.catalog_keys, key)?;
    let listed = match arguments.rebuild {
        true => Listed::Records,
        false => Listed::Before,
    };
    let catalogs = context
        .block_on(site.refresh_catalogs(listed, &arguments.options(signers)))?
        .context("Could not sign the catalog anew")?;
    if catalogs.is_empty() {
        anyhow::bail!("There is nothing to list: publish an image first");
    }
    for catalog in &catalogs {
        tell(context, catalog);
        match format {
            Format::Text => print(&catalog.url),
            Format::Json => print(json(catalog)),
        }
    }
    Ok(())
}

pub(crate) fn json(catalog: &CatalogWritten) -> serde_json::Value {
    serde_json::json!({
        "prefix": catalog.prefix,
        "url": catalog.url,
        "serial": catalog.serial,
        "expires": catalog.expires,
        "images": catalog.images,
    })
}

pub(crate) fn tell(context: &Context, catalog: &CatalogWritten) {
    if catalog.is_new {
        context.say(format_args!(
            "Signed the catalog of `{}`: {} images, to be believed until {}",
            catalog.prefix,
            catalog.images,
            catalog.expires.format("%Y-%m-%d %H:%M UTC")
        ));
    }
}
