//! `dhow discover`.

use std::path::Path;

use anyhow::{Context as _, Result, bail};
use clap::Args;
use dhow_discovery::{CatalogLink, Options, Request};
use dhow_fetchers::{Catalogs, HttpClient, Origin, Pages};
use dhow_image::Reference;

use crate::{
    arguments::Format,
    context::{Context, print},
    table::printable,
};

/// Finds where the image of a name lies, and the keys of its publisher, without fetching either.
#[derive(Args)]
#[command(after_help = "\
Examples:
  dhow discover example.com/app:1.0.0
  dhow discover --explain example.com/app")]
pub(crate) struct DiscoverArguments {
    /// A name with labels, as in example.com/app:1.0.0,arch=amd64
    #[arg(value_name = "NAME")]
    reference: Reference,
    /// Tells every request, tag and decision
    #[arg(long)]
    explain: bool,
    /// How the result is printed
    #[arg(long, value_enum, default_value_t)]
    format: Format,
}

pub(crate) fn discover(context: &Context, options: DiscoverArguments) -> Result<()> {
    let Reference::Named { name, labels } = &options.reference else {
        bail!("`{}` is no name, and only names are discovered", options.reference);
    };
    let (client, cache) = (context.client()?, context.discovery_cache()?);
    let request = Request::new(name.clone(), labels.clone());
    // A range is no part of a URL: only the catalog says what it means.
    let asked = match request.range()? {
        Some(_) => request.any_version(),
        None => request.clone(),
    };
    let schemes = if client.options().insecure_http {
        Options::insecure_http()
    } else {
        Options::https()
    };
    // As in a fetch: whoever answers first, mirrors where they are wanted.
    let mirrors = context.config()?.mirrors();
    let mut failed = None;
    let mut found = None;
    for mirror in mirrors.sources(name) {
        let origin = mirror.map_or_else(|| Origin::of_name(name), Origin::of_url);
        let pages = Pages::new(&client, &origin).of_mirror(mirror).cached(Some(&cache));
        if let (Some(mirror), true) = (mirror, options.explain) {
            context.say(format_args!("Asking the mirror `{mirror}`"));
        }
        match context.block_on(dhow_discovery::discover(&pages, &asked, &schemes))? {
            Ok(discovery) => {
                found = Some((discovery, origin));
                break;
            }
            Err(error) => {
                if options.explain {
                    print(error.trace());
                }
                failed = Some(error);
            }
        }
    }
    let (discovery, origin) = match (found, failed) {
        (Some(found), _) => found,
        (None, failed) => {
            let error = failed.expect("there is a place to ask, and it failed");
            return Err(dhow_fetchers::Error::from(error))
                .with_context(|| format!("Could not discover `{}`", options.reference));
        }
    };
    match options.format {
        Format::Json => print(serde_json::to_string_pretty(&discovery)?),
        Format::Text => {
            if options.explain {
                print(&discovery.trace);
            }
            for endpoint in &discovery.endpoints {
                print(format_args!("archive    {}", endpoint.archive));
                print(format_args!("signature  {}", endpoint.signature));
            }
            for url in &discovery.pubkeys {
                print(format_args!("keys       {url}"));
            }
            for link in &discovery.catalogs {
                print(format_args!("catalog    {} of `{}`", link.url, link.prefix));
            }
            if options.explain && !discovery.catalogs.is_empty() {
                print(said(context, &client, &cache, &request, &discovery.catalogs, &origin)?);
            }
        }
    }
    Ok(())
}

/// What the catalog says of the image, or why it is not believed.
fn said(
    context: &Context,
    client: &HttpClient,
    cache: &Path,
    request: &Request,
    links: &[CatalogLink],
    origin: &Origin,
) -> Result<String> {
    let (keyring, memory) = (context.keyring()?, context.catalog_memory()?);
    let catalogs = Catalogs {
        client,
        keyring: &keyring,
        memory: &memory,
        cache: Some(cache),
    };
    let accepted = match context.block_on(catalogs.of(request.name(), links, origin))? {
        Ok(Some(accepted)) => accepted,
        Ok(None) => return Ok("  there is no catalog".to_owned()),
        Err(error) => return Ok(format!("  not believed: {:#}", anyhow::Error::new(error))),
    };
    let catalog = &accepted.catalog;
    let mut told = format!(
        "  serial {}, issued {}, to be believed until {}, {} images, {}",
        catalog.serial,
        catalog.issued.format("%Y-%m-%d %H:%M UTC"),
        catalog.expires.format("%Y-%m-%d %H:%M UTC"),
        catalog.images.len(),
        printable(&accepted.verification.to_string()),
    );
    match catalog.resolve(request) {
        Ok(image) => {
            let withdrawn = image.yanked.as_ref().map(|reason| format!(", withdrawn: {reason}"));
            told.push('\n');
            told.push_str(&printable(&format!(
                "  `{}` with {} is meant, image {}{}",
                image.name,
                image.labels,
                image.id.short(),
                withdrawn.unwrap_or_default()
            )));
        }
        Err(error) => told.push_str(&format!("\n  {error}")),
    }
    Ok(told)
}
