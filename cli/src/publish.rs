//! `dhow publish`.

mod ready;

use std::{collections::BTreeSet, fs::File, num::NonZeroUsize, path::PathBuf};

use anyhow::{Context as _, Result};
use clap::Args;
use dhow_image::{Labels, Name};
use dhow_site::{
    CatalogOptions, CatalogWritten, DeltaOptions, Inside, OnConflict, Publication, Published, PublishedDelta,
    PublishedTorrent, Record, Sealing, SealingSecrets, Site, TorrentOptions,
};
use dhow_trust::Signature;
use url::Url;

use self::ready::{Ready, ready};

use crate::{
    arguments::Format,
    catalog::{self, CatalogArguments},
    context::{Context, print},
    encrypt::recipients,
    sign::find_key,
    site::SiteArguments,
};

/// Writes archives, their signatures, your public key and the pages by which they are found into a site's directory.
///
/// Any web server can serve the directory as it is. An archive that has its signature beside it, as FILE.asc, is
/// published with that one; any other is signed now.
///
/// The same key signs the site's catalog, the list of all that is published there, by which clients tell the newest
/// version and that nothing was withheld. It is to be believed for 30 days: `dhow publish --refresh` signs it anew. Who
/// brings archives that others signed names a key for it with --catalog-key, or there is no catalog.
#[derive(Args)]
#[command(after_help = "\
Examples:
  dhow publish app.aci --site ./site --url https://example.com --key carly@example.com
  dhow publish app.aci --site ./site --url https://example.com --torrent --tracker udp://tracker.example:6969/announce
  dhow publish app.aci --site ./site --url https://example.com --delta
  dhow publish app.aci --site ./site --url https://example.com --delta --encrypt-to bob.asc --encrypt-to carly
  dhow publish app.aci --site ./site --url https://example.com --keep 5
  dhow publish --refresh --site ./site --url https://example.com --key carly@example.com")]
pub(crate) struct PublishArguments {
    /// The archives
    #[arg(value_name = "FILE.aci", required_unless_present = "refresh")]
    archives: Vec<PathBuf>,
    #[command(flatten)]
    site: SiteArguments,
    /// The key to sign with: a part of its user ID, the end of its fingerprint, or its file [default: your only one]
    #[arg(long)]
    key: Option<String>,
    /// The public keys of those who signed, where they are not yours and not on the site yet
    #[arg(long, value_name = "FILE")]
    pubkey: Option<PathBuf>,
    /// Replaces what is published under the same name and labels
    #[arg(long)]
    replace: bool,
    /// Makes a torrent of each archive too: clients can then fetch it from each other, and from the site
    #[arg(long)]
    torrent: bool,
    /// A tracker, where the torrent's peers find each other
    #[arg(long = "tracker", value_name = "URL", requires = "torrent")]
    trackers: Vec<Url>,
    /// Lets the torrent's peers find each other by the trackers alone
    #[arg(long, requires = "trackers")]
    private: bool,
    /// Puts what is new of each image into a pack too, and a patch from the version before and a signed recipe beside
    /// the archive: clients that have another version then fetch what changed, others what is smaller
    #[arg(long)]
    delta: bool,
    /// Encrypts what is published, so that only those can read it: a file of public keys, or a part of the user ID or the
    /// end of the fingerprint of one of your own or of the trusted keys; can be repeated. Names, labels, sizes and image IDs
    /// can be seen by all. With --delta, packs are sealed too
    #[arg(long, value_name = "KEY", conflicts_with_all = ["refresh", "pubkey"])]
    encrypt_to: Vec<String>,
    /// Takes away the versions of a name, on each platform, that are older than the newest N that are not yanked; what
    /// other images depend on by its version stays
    #[arg(long, value_name = "N", conflicts_with = "refresh")]
    keep: Option<NonZeroUsize>,
    #[command(flatten)]
    catalog: CatalogArguments,
    /// How the result is printed
    #[arg(long, value_enum, default_value_t)]
    format: Format,
}

/// The level at which packs are compressed: what is published once and fetched often.
const PACK_LEVEL: i32 = 12;

pub(crate) fn publish(context: &Context, options: PublishArguments) -> Result<()> {
    let site = options.site.open(context)?;
    if options.catalog.refresh {
        return catalog::refresh(context, &site, &options.catalog, options.key.as_deref(), options.format);
    }
    let mut encrypt_to: Vec<dhow_trust::Certificate> = Vec::new();
    for query in &options.encrypt_to {
        for certificate in recipients(context, query)? {
            let fingerprint = certificate.fingerprint();
            if encrypt_to.iter().all(|other| other.fingerprint() != fingerprint) {
                encrypt_to.push(certificate);
            }
        }
    }
    let ready = options
        .archives
        .iter()
        .map(|archive| ready(context, &site, &options, archive, &encrypt_to));
    let ready = ready.collect::<Result<Vec<_>>>()?;
    let signer = catalog_signer(context, &options, &ready)?;
    // A catalog must not go on listing what --keep takes away. Whoever publishes one image has its catalog checked while
    // that is read; of several none is to be published before all can be listed.
    let is_checked = signer.is_some() && options.archives.len() == 1;
    if !is_checked && (!options.catalog.no_catalog || options.keep.is_some()) {
        check_catalogs(context, &site, &options.archives, signer.as_ref())?;
    }
    let mut all = Vec::new();
    let mut failed = None;
    for ready in &ready {
        match publish_one(context, &site, &options, ready, signer.as_ref()) {
            Ok(published) => all.push(published),
            Err(error) => {
                failed = Some(error);
                break;
            }
        }
    }
    // What was published before the one that failed is there, and is listed.
    let images: Vec<(Name, Labels)> = all
        .iter()
        .map(|(published, ..)| (published.name.clone(), published.labels.clone()))
        .collect();
    let unfinished: Vec<Name> = all
        .iter()
        .filter(|(published, ..)| published.is_unfinished)
        .map(|(published, ..)| published.name.clone())
        .collect();
    let catalogs = match &signer {
        Some(signer) => context
            .block_on(site.list(&images, signer))?
            .context("Published, but could not change the catalog: publish again")?,
        None => Vec::new(),
    };
    for (published, torrent, delta) in all.iter().filter(|_| options.format == Format::Text) {
        tell(context, published, torrent.as_ref(), delta.as_ref());
    }
    for recipient in encrypt_to.iter().filter(|_| !all.is_empty()) {
        context.say(format_args!("Encrypted for {}", recipient.label()));
    }
    for catalog in &catalogs {
        catalog::tell(context, catalog);
    }
    if signer.is_none() && !options.catalog.no_catalog && !all.is_empty() {
        context.say(
            "No catalog was written: none of your keys made these signatures. Clients find the images by their pages; \
             --catalog-key KEY lists them too",
        );
    }
    let mut removed = Vec::new();
    let mut outcome = Ok(());
    if !options.catalog.no_catalog || options.keep.is_some() {
        // What somebody else left half taken away.
        outcome = context
            .block_on(site.finish_removals(&unfinished, signer.as_ref()))?
            .map(drop)
            .context("Published, but could not take away what somebody began to take away");
    }
    if let (Some(keep), None, Ok(())) = (options.keep, &failed, &outcome) {
        outcome = retain(context, &site, keep, &images, signer.as_ref(), &mut removed)
            .context("Published, but could not take away older versions");
    }
    for (published, torrent, delta) in all.iter().filter(|_| options.format == Format::Json) {
        let prefix = site.layout().catalog_prefix(&published.name);
        let catalog = catalogs.iter().find(|catalog| catalog.prefix == prefix);
        print(serde_json::json!({
            "name": published.name,
            "labels": published.labels,
            "id": published.id,
            "archive": published.archive_url,
            "page": published.page_url,
            "isLatest": published.is_latest,
            "torrent": torrent.as_ref().map(|torrent| &torrent.url),
            "infoHash": torrent.as_ref().map(|torrent| &torrent.info_hash),
            "recipe": delta.as_ref().map(|delta| &delta.url),
            "packs": delta.as_ref().map(|delta| delta.packs),
            "newPackBytes": delta.as_ref().map(|delta| delta.new_bytes),
            "encryptedFor": encrypt_to.iter().map(dhow_trust::Certificate::fingerprint).collect::<Vec<_>>(),
            "patchBytes": delta.as_ref().and_then(|delta| delta.patch_bytes),
            "catalog": catalog.map(catalog::json),
            "written": written(published, torrent.as_ref(), delta.as_ref(), catalog),
            "removed": taken_of(&published.name, &mut removed),
        }));
    }
    failed.map_or(outcome, Err)
}

/// Takes away what is older than the newest versions of each name that was published, and adds it to `removed`.
fn retain(
    context: &Context,
    site: &Site,
    keep: NonZeroUsize,
    images: &[(Name, Labels)],
    signer: Option<&CatalogOptions>,
    removed: &mut Vec<Record>,
) -> Result<()> {
    let mut published = Vec::new();
    for (name, labels) in images {
        published.extend(context.block_on(site.find(name, labels))??);
    }
    let names: BTreeSet<&Name> = images.iter().map(|(name, _)| name).collect();
    for name in names {
        let retention = context.block_on(site.retention(name, keep.get(), &published))??;
        for kept in &retention.kept {
            context.say(format_args!(
                "Kept `{name}` with {}: `{}` depends on it",
                kept.record.labels, kept.dependent
            ));
        }
        if retention.superfluous.is_empty() {
            continue;
        }
        context.block_on(site.unpublish(&retention.superfluous, signer))??;
        for record in &retention.superfluous {
            let yanked = record.yanked.as_ref().map(|_| ", which was yanked");
            context.say(format_args!(
                "Took away `{name}` with {}{}",
                record.labels,
                yanked.unwrap_or_default()
            ));
        }
        removed.extend(retention.superfluous);
    }
    Ok(())
}

/// What was taken away of a name, which is told once.
fn taken_of(name: &Name, removed: &mut Vec<Record>) -> Vec<serde_json::Value> {
    let of_name = removed.extract_if(.., |record| record.name == *name);
    let json = of_name.map(|record| serde_json::json!({"labels": record.labels, "id": record.id}));
    json.collect()
}

fn publish_one(
    context: &Context,
    site: &Site,
    options: &PublishArguments,
    ready: &Ready<'_>,
    signer: Option<&CatalogOptions>,
) -> Result<(Published, Option<PublishedTorrent>, Option<PublishedDelta>)> {
    let on_conflict = if options.replace {
        OnConflict::Replace
    } else {
        OnConflict::Refuse
    };
    let publication = Publication {
        archive: ready.archive(),
        signature: &ready.signature,
        certificates: &ready.certificates,
        on_conflict,
        limits: context.limits(),
        catalog: signer,
    };
    let published = match ready.encrypt_to {
        [] => context.block_on(site.publish(publication))?,
        recipients => {
            let inside = Inside::File {
                image: ready.image.to_owned(),
                recipients: recipients.iter().map(|key| key.fingerprint()).collect(),
            };
            context.block_on(site.publish_encrypted(publication, &inside))?
        }
    };
    let published = published.with_context(|| format!("Could not publish `{}`", ready.image.display()))?;
    let torrent = options
        .torrent
        .then(|| publish_torrent(context, site, &published, ready, options));
    let torrent = torrent.transpose()?;
    let delta = options
        .delta
        .then(|| publish_delta(context, site, &published, ready, options));
    Ok((published, torrent, delta.transpose()?))
}

/// Who signs the catalog: the keys that the user names for it; the one that signs the archives; or, where these are
/// signed already, those of the user's keys that did, if nobody else did. A catalog with fewer signers than the archives
/// may be too few for whoever asks for several.
fn catalog_signer(
    context: &Context,
    options: &PublishArguments,
    ready: &[Ready<'_>],
) -> Result<Option<CatalogOptions>> {
    let catalog = &options.catalog;
    if catalog.no_catalog {
        return Ok(None);
    }
    if !catalog.catalog_keys.is_empty() {
        let signers = catalog::signers(context, &catalog.catalog_keys, None)?;
        return Ok(Some(catalog.options(signers)));
    }
    let mut keys: Vec<dhow_trust::SigningKey> = Vec::new();
    for ready in ready {
        let signers = Signature::parse(&ready.signature)?.issuers().len();
        if signers != ready.certificates.len() {
            return Ok(None);
        }
        for certificate in &ready.certificates {
            if keys.iter().any(|key| key.fingerprint() == certificate.fingerprint()) {
                continue;
            }
            let key = match &options.key {
                Some(query) => find_key(context, Some(query)),
                None => find_key(context, Some(&certificate.fingerprint().to_string())),
            };
            match key {
                Ok(key) => keys.push(key),
                // It is another's, or nobody is there to unlock it, and nobody said that it must sign.
                Err(_) if options.key.is_none() => return Ok(None),
                Err(error) => return Err(error),
            }
        }
    }
    Ok(Some(catalog.options(keys)))
}

/// Refuses before anything is written what the present catalogs could not tell of.
fn check_catalogs(context: &Context, site: &Site, archives: &[PathBuf], signer: Option<&CatalogOptions>) -> Result<()> {
    for archive in archives {
        let file = File::open(archive).with_context(|| format!("Could not open `{}`", archive.display()))?;
        let manifest =
            dhow_image::read_manifest(file).with_context(|| format!("`{}` is not a valid image", archive.display()))?;
        context
            .block_on(site.check_catalog(&manifest.name, signer))?
            .with_context(|| format!("Could not publish `{}`", archive.display()))?;
    }
    Ok(())
}

fn publish_torrent(
    context: &Context,
    site: &Site,
    published: &Published,
    ready: &Ready<'_>,
    options: &PublishArguments,
) -> Result<PublishedTorrent> {
    let torrent = TorrentOptions {
        trackers: options.trackers.clone(),
        private: options.private,
    };
    context
        .block_on(site.publish_torrent(published, ready.archive(), &torrent))?
        .with_context(|| format!("Could not publish a torrent of `{}`", ready.image.display()))
}

fn publish_delta(
    context: &Context,
    site: &Site,
    published: &Published,
    ready: &Ready<'_>,
    options: &PublishArguments,
) -> Result<PublishedDelta> {
    let key = find_key(context, options.key.as_deref())?;
    let scratch = tempfile::tempdir().context("Could not make a directory for temporary files")?;
    let delta = DeltaOptions {
        key: &key,
        level: PACK_LEVEL,
        limits: context.limits(),
        scratch: scratch.path(),
    };
    let put = match ready.encrypt_to {
        [] => context.block_on(site.publish_delta(published, ready.archive(), &delta))?,
        recipients => {
            let secrets = SealingSecrets::open(&context.config_dir()?);
            let (secret, is_new) = secrets.of(&published.name)?;
            if is_new {
                context.say(format_args!(
                    "Made the secret that seals packs of `{}`: keep a copy of `{}`, and give one to whoever publishes this \
                     name with you",
                    published.name,
                    secrets.path(&published.name).display()
                ));
            }
            let sealing = Sealing {
                image: ready.image,
                secret,
                recipients,
            };
            context.block_on(site.publish_sealed_delta(published, ready.archive(), &delta, &sealing))?
        }
    };
    put.with_context(|| format!("Could not publish a recipe of `{}`", ready.image.display()))
}

fn written<'a>(
    published: &'a Published,
    torrent: Option<&'a PublishedTorrent>,
    delta: Option<&'a PublishedDelta>,
    catalog: Option<&'a CatalogWritten>,
) -> Vec<&'a str> {
    let of_torrent = torrent.iter().flat_map(|torrent| &torrent.written);
    let of_delta = delta.iter().flat_map(|delta| &delta.written);
    let mut files: Vec<_> = published.written.iter().map(String::as_str).collect();
    for file in of_torrent.chain(of_delta) {
        // Records and pages are written again for a torrent and a recipe.
        if !files.contains(&file.as_str()) {
            files.push(file);
        }
    }
    files.extend(
        catalog
            .filter(|catalog| catalog.is_new)
            .map(|catalog| catalog.path.as_str()),
    );
    files
}

fn tell(context: &Context, published: &Published, torrent: Option<&PublishedTorrent>, delta: Option<&PublishedDelta>) {
    let Published { name, labels, .. } = published;
    match written(published, torrent, delta, None).len() {
        0 => context.say(format_args!("`{name}` with {labels} was published already")),
        count => context.say(format_args!("Published `{name}` with {labels}: {count} files written")),
    }
    if !published.is_own {
        context.say(format_args!(
            "warning: `{name}` is not under the site's URL: only clients that use the site as a mirror will find it there"
        ));
    }
    print(format_args!("{}\n{}", published.archive_url, published.page_url));
    if let Some(torrent) = torrent {
        print(&torrent.url);
    }
    if let Some(delta) = delta {
        print(&delta.url);
    }
}
