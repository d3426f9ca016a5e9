//! `dhow search` and `dhow versions`.

use anyhow::{Context as _, Result, bail};
use clap::Args;
use dhow_discovery::{Accepted, CatalogError, CatalogImage, Request};
use dhow_fetchers::Catalogs;
use dhow_image::{Labels, Name, Reference};

use crate::{
    arguments::Format,
    context::{Context, print},
    failure::NotFound,
    table::{printable, size, table},
};

/// Lists the images that are published under a name, each in its newest version, by the publisher's signed catalog.
#[derive(Args)]
#[command(after_help = "\
Examples:
  dhow search example.com
  dhow search --format json example.com/team")]
pub(crate) struct SearchArguments {
    /// A name: that of an image, or a prefix of several
    #[arg(value_name = "PREFIX")]
    prefix: Name,
    /// How the result is printed
    #[arg(long, value_enum, default_value_t)]
    format: Format,
}

/// Lists the versions of an image that are published, the newest first, by the publisher's signed catalog.
#[derive(Args)]
#[command(after_help = "\
Examples:
  dhow versions example.com/app
  dhow versions example.com/app:^1.2,arch=aarch64")]
pub(crate) struct VersionsArguments {
    /// A name, and a range of versions or labels where not all are meant
    #[arg(value_name = "NAME")]
    reference: Reference,
    /// How the result is printed
    #[arg(long, value_enum, default_value_t)]
    format: Format,
}

pub(crate) fn search(context: &Context, options: SearchArguments) -> Result<()> {
    let accepted = catalog(context, &options.prefix)?;
    let mut newest: Vec<&CatalogImage> = Vec::new();
    for image in &accepted.catalog.images {
        let is_listed = newest.last().is_some_and(|other| other.name == image.name);
        if image.name.is_within(&options.prefix) && image.yanked.is_none() && !is_listed {
            newest.push(image);
        }
    }
    show(context, &accepted, &newest, options.format, options.prefix.as_str())
}

pub(crate) fn versions(context: &Context, options: VersionsArguments) -> Result<()> {
    let Reference::Named { name, labels } = &options.reference else {
        bail!("`{}` is no name, and only names have versions", options.reference);
    };
    let accepted = catalog(context, name)?;
    let request = Request::new(name.clone(), labels.clone()).with_defaults(Labels::default());
    let images = accepted.catalog.fitting(&request).map_err(CatalogError::from)?;
    show(
        context,
        &accepted,
        &images,
        options.format,
        &options.reference.to_string(),
    )
}

fn catalog(context: &Context, name: &Name) -> Result<Accepted> {
    let (client, keyring, cache) = (context.client()?, context.keyring()?, context.discovery_cache()?);
    let memory = context.catalog_memory()?;
    let catalogs = Catalogs {
        client: &client,
        keyring: &keyring,
        memory: &memory,
        cache: Some(&cache),
    };
    let mirrors = context.config()?.mirrors();
    context
        .block_on(catalogs.find(name, &mirrors))?
        .with_context(|| format!("Could not find out what is published as `{name}`"))
}

fn show(context: &Context, accepted: &Accepted, images: &[&CatalogImage], format: Format, asked: &str) -> Result<()> {
    let catalog = &accepted.catalog;
    if images.is_empty() {
        bail!(NotFound(format!(
            "The catalog of `{}` lists no `{asked}`",
            catalog.prefix
        )));
    }
    match format {
        Format::Json => print(serde_json::to_string_pretty(&serde_json::json!({
            "prefix": catalog.prefix,
            "serial": catalog.serial,
            "issued": catalog.issued,
            "expires": catalog.expires,
            "images": images,
        }))?),
        Format::Text => {
            let rows: Vec<_> = images.iter().map(|image| row(image)).collect();
            print(table(
                [
                    "NAME",
                    "VERSION",
                    "PLATFORM",
                    "SIZE",
                    "PUBLISHED",
                    "IMAGE ID",
                    "WITHDRAWN",
                ],
                &rows,
            ));
            context.say(format_args!(
                "By the catalog of `{}`, {}, to be believed until {}",
                catalog.prefix,
                printable(&accepted.verification.to_string()),
                catalog.expires.format("%Y-%m-%d %H:%M UTC")
            ));
        }
    }
    Ok(())
}

fn row(image: &CatalogImage) -> [String; 7] {
    let label = |label: &str| image.labels.get(label).map(str::to_owned);
    let platform = match (label("os"), label("arch")) {
        (Some(os), Some(arch)) => format!("{os}/{arch}"),
        (Some(os), None) => os,
        _ => "any".to_owned(),
    };
    [
        image.name.to_string(),
        label("version").unwrap_or_default(),
        platform,
        size(image.archive.size),
        image.published.format("%Y-%m-%d").to_string(),
        image.id.short(),
        image.yanked.clone().unwrap_or_default(),
    ]
}
