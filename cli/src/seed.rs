//! `dhow seed`.

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result};
use clap::Args;
use dhow_discovery::Request;
use dhow_fetchers::{KeptArchive, Metainfo, SeedGoal, Seeding, Swarm};
use dhow_image::{ImageId, Reference};
use dhow_store::Store;

use crate::{
    context::{Context, print},
    failure::Usage,
    swarm::{SeedArguments, SwarmArguments, kept_archives},
};

/// Gives archives to peers, by BitTorrent: those that `dhow fetch --keep-archive` kept, or those of a site.
///
/// It runs until the ratio or the time is reached for each, whichever comes first, or for ever. What it prints, once
/// each is checked and offered: the archive's digest among peers, and its name.
#[derive(Args)]
#[command(after_help = "\
Examples:
  dhow seed
  dhow seed example.com/app:1.0.0 --seed-ratio 2
  dhow seed --site ./site --peer-listen 0.0.0.0:6881
  dhow seed ./app.aci.torrent --seed-time 2h")]
pub(crate) struct SeedCommand {
    /// Images whose archives are kept, or .torrent files with their archive beside them [default: all that are kept]
    #[arg(value_name = "REF", conflicts_with = "site")]
    references: Vec<Reference>,
    /// Seeds what is published with a torrent in this site's directory
    #[arg(long, value_name = "DIR")]
    site: Option<PathBuf>,
    #[command(flatten)]
    goal: SeedArguments,
    #[command(flatten)]
    swarm: SwarmArguments,
}

/// An archive and its torrent.
struct Seed {
    archive: PathBuf,
    metainfo: Metainfo,
}

pub(crate) fn seed(context: &Context, options: SeedCommand) -> Result<()> {
    let seeds = match &options.site {
        Some(site) => of_site(site)?,
        None => of_references(context, &options.references)?,
    };
    if seeds.is_empty() {
        return Err(Usage(
            "There is nothing to seed: `dhow fetch --keep-archive` keeps what it fetches as a torrent".to_owned(),
        )
        .into());
    }
    let goal = options.goal.goal().unwrap_or_default();
    context.block_on(give(&seeds, &goal, &options.swarm))?
}

async fn give(seeds: &[Seed], goal: &SeedGoal, arguments: &SwarmArguments) -> Result<()> {
    let swarm = Swarm::start(arguments.options(true)).await?;
    let mut seedings = Vec::new();
    for Seed { archive, metainfo } in seeds {
        let place = archive.display().to_string();
        let file = File::open(archive).with_context(|| format!("Could not open `{place}`"))?;
        seedings.push(Seeding::begin(&swarm, metainfo, file, &place).await?);
        let hash: String = metainfo.info_hash().iter().map(|byte| format!("{byte:02x}")).collect();
        print(format_args!("{hash}  {}", metainfo.name()));
    }
    for seeding in &seedings {
        seeding.until(goal).await?;
    }
    Ok(())
}

/// All torrents of a site that are of versions: a `latest` is a copy.
fn of_site(site: &Path) -> Result<Vec<Seed>> {
    let mut seeds = Vec::new();
    let mut folders = vec![site.join("ACI")];
    while let Some(folder) = folders.pop() {
        let entries = fs::read_dir(&folder).with_context(|| format!("Could not read `{}`", folder.display()))?;
        for entry in entries {
            let path = entry?.path();
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            if path.is_dir() {
                folders.push(path);
            } else if name.ends_with(".aci.torrent") && !name.starts_with("latest") {
                seeds.push(of_torrent(&path)?);
            }
        }
    }
    seeds.sort_by(|a, b| a.archive.cmp(&b.archive));
    Ok(seeds)
}

fn of_torrent(path: &Path) -> Result<Seed> {
    let read = || format!("Could not read `{}`", path.display());
    let bytes = fs::read(path).with_context(read)?;
    let metainfo = Metainfo::parse(&bytes).with_context(read)?;
    Ok(Seed {
        archive: path.with_extension(""),
        metainfo,
    })
}

fn of_references(context: &Context, references: &[Reference]) -> Result<Vec<Seed>> {
    let kept = kept_archives(context)?.list()?;
    if references.is_empty() {
        return Ok(kept.into_iter().map(Seed::from).collect());
    }
    let store = context.store()?;
    let mut seeds = Vec::new();
    for reference in references {
        if let Reference::File(path) = reference {
            seeds.push(of_torrent(path)?);
            continue;
        }
        let before = seeds.len();
        for archive in &kept {
            if is_meant(&store, reference, &archive.image)? {
                seeds.push(archive.clone().into());
            }
        }
        if seeds.len() == before {
            return Err(dhow_fetchers::Error::NotInStore {
                reference: reference.to_string(),
            })
            .context(format!(
                "No archive of `{reference}` is kept: `dhow fetch --keep-archive` keeps it"
            ));
        }
    }
    Ok(seeds)
}

fn is_meant(store: &Store, reference: &Reference, image: &ImageId) -> Result<bool> {
    match reference {
        Reference::Id(prefix) => Ok(store.resolve(prefix)? == *image),
        Reference::Named { name, labels } => {
            // An image that was removed since is no longer meant by its name.
            let Ok(manifest) = store.manifest(image) else {
                return Ok(false);
            };
            let request = Request::new(name.clone(), labels.clone());
            Ok(request.check(&manifest.name, &manifest.labels).is_ok())
        }
        Reference::File(_) | Reference::Url(_) | Reference::Registry(_) | Reference::Layout(_) => Ok(false),
    }
}

impl From<KeptArchive> for Seed {
    fn from(kept: KeptArchive) -> Self {
        Self {
            archive: kept.path,
            metainfo: kept.metainfo,
        }
    }
}
