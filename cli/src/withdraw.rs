//! `dhow yank` and `dhow unpublish`.

use anyhow::{Context as _, Result, bail};
use chrono::TimeDelta;
use clap::Args;
use dhow_image::{Labels, Name, Reference};
use dhow_site::{CatalogOptions, CatalogWritten, OnOtherSigner, Record, Site};

use crate::{
    catalog,
    context::{Context, print},
    failure::Usage,
    site::SiteArguments,
};

/// Marks published images as not to be used any more, and says why.
///
/// They stay on the site for those who ask for exactly this version, who are warned; for everybody else the next lower
/// version is the newest. Clients learn of it from the site's catalog.
#[derive(Args)]
#[command(after_help = "\
Examples:
  dhow yank example.com/app:1.2.0 --reason 'it eats data' --site ./site --url https://example.com
  dhow yank example.com/app:1.2.0 --undo --site ./site --url https://example.com")]
pub(crate) struct YankArguments {
    /// A name with its version, and more labels where only some of its images are meant
    #[arg(value_name = "NAME:VERSION", required = true)]
    references: Vec<Reference>,
    #[command(flatten)]
    site: SiteArguments,
    /// Why, for those who use it
    #[arg(long, value_name = "TEXT", required_unless_present = "undo", conflicts_with = "undo")]
    reason: Option<String>,
    /// Takes the mark away
    #[arg(long)]
    undo: bool,
    #[command(flatten)]
    signing: SigningArguments,
}

/// Takes published images away: their files, and whatever tells of them.
///
/// Who wants to keep others from using a version, but not break what was built on it, yanks it instead.
#[derive(Args)]
#[command(after_help = "\
Example:
  dhow unpublish example.com/app:1.2.0 --site ./site --url https://example.com --key carly@example.com")]
pub(crate) struct UnpublishArguments {
    /// A name with its version, and more labels where only some of its images are meant
    #[arg(value_name = "NAME:VERSION", required = true)]
    references: Vec<Reference>,
    #[command(flatten)]
    site: SiteArguments,
    /// Takes all versions of a name that is given without one
    #[arg(long)]
    all: bool,
    #[command(flatten)]
    signing: SigningArguments,
}

/// Who signs the catalog that tells of it.
#[derive(Args)]
struct SigningArguments {
    /// A key that signs the catalog; can be repeated [default: your only one]
    #[arg(long = "key", value_name = "KEY")]
    keys: Vec<String>,
    /// For how many days the catalog is to be believed
    #[arg(long, value_name = "DAYS", default_value_t = 30, value_parser = clap::value_parser!(u16).range(1..))]
    catalog_expires: u16,
}

pub(crate) fn yank(context: &Context, options: YankArguments) -> Result<()> {
    let site = options.site.open(context)?;
    let records = records(&options.references, false, |name, labels| {
        Ok(context.block_on(site.find(name, labels))??)
    })?;
    let signer = options.signing.signer(context, &site, &records)?;
    let catalogs = context
        .block_on(site.yank(&records, options.reason.as_deref(), signer.as_ref()))?
        .context("Could not yank")?;
    let done = if options.undo {
        "Took the mark away from"
    } else {
        "Yanked"
    };
    tell(context, &records, &catalogs, done);
    if signer.is_none() {
        context.say("The site has no catalog, so no client learns of it but by reading its page");
    }
    Ok(())
}

pub(crate) fn unpublish(context: &Context, options: UnpublishArguments) -> Result<()> {
    let site = options.site.open(context)?;
    let records = records(&options.references, options.all, |name, labels| {
        // What somebody began to take away and did not is taken away now.
        let begun = context.block_on(site.removals(name, labels))??;
        match context.block_on(site.find(name, labels))? {
            Err(dhow_site::Error::NotPublished { .. }) if !begun.is_empty() => Ok(begun),
            found => Ok([begun, found?].concat()),
        }
    })?;
    let signer = options.signing.signer(context, &site, &records)?;
    let catalogs = context
        .block_on(site.unpublish(&records, signer.as_ref()))?
        .context("Could not unpublish")?;
    tell(context, &records, &catalogs, "Took away");
    Ok(())
}

fn tell(context: &Context, records: &[Record], catalogs: &[CatalogWritten], done: &str) {
    for record in records {
        context.say(format_args!("{done} `{}` with {}", record.name, record.labels));
        print(record.id);
    }
    for catalog in catalogs {
        catalog::tell(context, catalog);
    }
}

impl SigningArguments {
    /// Nobody, where there is no catalog.
    fn signer(&self, context: &Context, site: &Site, records: &[Record]) -> Result<Option<CatalogOptions>> {
        let mut has_catalog = false;
        for record in records {
            has_catalog |= context.block_on(site.has_catalog(&record.name))??;
        }
        if !has_catalog {
            return Ok(None);
        }
        Ok(Some(CatalogOptions {
            signers: catalog::signers(context, &self.keys, None)?,
            valid_for: TimeDelta::days(self.catalog_expires.into()),
            on_other_signer: OnOtherSigner::Refuse,
        }))
    }
}

fn records(
    references: &[Reference],
    all: bool,
    find: impl Fn(&Name, &Labels) -> Result<Vec<Record>>,
) -> Result<Vec<Record>> {
    let mut records: Vec<Record> = Vec::new();
    for reference in references {
        let (name, labels) = named(reference)?;
        if labels.get("version").is_none() && !all {
            bail!(Usage(format!("`{reference}` names no version")));
        }
        for record in find(name, labels)? {
            if !records.contains(&record) {
                records.push(record);
            }
        }
    }
    Ok(records)
}

fn named(reference: &Reference) -> Result<(&Name, &Labels)> {
    match reference {
        Reference::Named { name, labels } => Ok((name, labels)),
        _ => bail!(Usage(format!("`{reference}` is no name, and only names are published"))),
    }
}
