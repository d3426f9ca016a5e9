//! The site's catalogs: the signed lists of what is published.
//!
//! A catalog is changed, and not made anew: its entries are taken over from the one that is there, so that the thousandth
//! image costs what the second did. That is sound only if the one that is there is the publisher's own work. Whoever can
//! write to the site could otherwise have anything signed: so it must bear a good signature of one of the keys that are
//! to sign now.
//!
//! ```text
//!   CATALOG ──verified──► entries ──changes──► JSON, a higher serial ──signed──► CATALOG, if nobody else changed it
//!                            ▲                                                        │ else: read it again
//!   records ─────────────────┘  where there is no catalog yet, or the publisher says so
//! ```
//!
//! The serial is the time in seconds, or one more than the last where that is not enough: it grows also where the last
//! catalog is lost.

use std::{collections::HashSet, time::Duration};

use chrono::{DateTime, TimeDelta, Utc};
use dhow_discovery::{Catalog, CatalogError, CatalogImage, SignedCatalog};
use dhow_image::{Labels, Name};
use dhow_trust::{Signature, SigningKey};
use object_store::path::Path;

use crate::{
    Error, Layout, Record, Site,
    contested::{Exclusion, Versioned},
};

/// How often others may be faster.
const ATTEMPTS: u32 = 100;
/// How long one waits then, at most.
const PAUSE: Duration = Duration::from_millis(200);

/// How a catalog is signed.
#[derive(Clone, Debug)]
pub struct CatalogOptions {
    /// The keys that sign it, all of them; at least one.
    pub signers: Vec<SigningKey>,
    /// For how long it is to be believed.
    pub valid_for: TimeDelta,
    /// What happens where the present catalog bears no signature of theirs.
    pub on_other_signer: OnOtherSigner,
}

/// What happens where the present catalog was signed by others.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnOtherSigner {
    /// It stays: who trusts its signers only would not believe another.
    #[default]
    Refuse,
    /// It is made anew of the site's records.
    Replace,
}

/// Of what a catalog is made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Listed {
    /// Of the present one; of the records, where there is none.
    #[default]
    Before,
    /// Of the site's records: whoever can write to the site could have changed them.
    Records,
}

/// A catalog that is in place.
#[derive(Clone, Debug)]
pub struct CatalogWritten {
    /// The prefix of which it speaks.
    pub prefix: Name,
    /// The file.
    pub path: String,
    /// Where it is on the web.
    pub url: String,
    /// Its serial.
    pub serial: u64,
    /// Until when it is to be believed.
    pub expires: DateTime<Utc>,
    /// How many images it lists.
    pub images: usize,
    /// Whether it was written; else it said all that before.
    pub is_new: bool,
}

/// A change of a catalog.
#[derive(Clone, Debug)]
pub(crate) enum Change {
    Put(Box<CatalogImage>),
    Remove(Name, Labels),
}

/// A catalog before it is signed.
struct Draft {
    images: Vec<CatalogImage>,
    /// That of the present one.
    serial: Option<u64>,
    /// What the present one lists is the same, if it is this one that is there.
    is_same: Option<Catalog>,
}

impl Site {
    /// Whether there is a catalog that lists, or should list, this name.
    pub async fn has_catalog(&self, name: &Name) -> Result<bool, Error> {
        Ok(self.files.size(&self.layout.catalog(name)).await?.is_some())
    }

    /// Finds out, before anything is written, whether the catalog for this name can be gone on with: if there is one, it
    /// must tell of every change, or clients would go on as before.
    pub async fn check_catalog(&self, name: &Name, options: Option<&CatalogOptions>) -> Result<(), Error> {
        let prefix = self.layout.catalog_prefix(name);
        let Some(present) = self.files.read(&self.layout.catalog(name)).await? else {
            return Ok(());
        };
        match options {
            None => Err(Error::CatalogUnsigned {
                prefix,
                location: self.files.location().to_owned(),
            }),
            Some(options) if options.on_other_signer == OnOtherSigner::Refuse => {
                self.verified(&present, &prefix, options).map(drop)
            }
            Some(_) => Ok(()),
        }
    }

    /// Lists in the catalogs what is published under these names and labels, and names the catalogs on the pages.
    /// Everything else that they say stays.
    pub async fn list(
        &self,
        images: &[(Name, Labels)],
        options: &CatalogOptions,
    ) -> Result<Vec<CatalogWritten>, Error> {
        let mut records = Vec::new();
        for (name, labels) in images {
            let path = self.layout.archive_of(name, labels).record;
            records.extend(self.read_record(&path).await?);
        }
        let changes = records.iter().map(|record| Change::Put(Box::new(entry(record))));
        self.change_catalogs(&changes.collect::<Vec<_>>(), options).await
    }

    /// Signs the catalogs anew, with a higher serial and a later end, so that they go on to be believed. Those of names
    /// that are not under the base, and which others signed, stay as they are.
    pub async fn refresh_catalogs(
        &self,
        listed: Listed,
        options: &CatalogOptions,
    ) -> Result<Vec<CatalogWritten>, Error> {
        let mut written = Vec::new();
        for host in self.catalog_names().await? {
            let own = self.layout.is_own(&host);
            match self.write_catalog(&host, &[], listed, true, options).await {
                Err(Error::CatalogSigner { .. }) if !own => {}
                outcome => written.push(outcome?),
            }
        }
        Ok(written)
    }

    /// One name of each catalog that there is, and of the site's own, where it has images of its own.
    async fn catalog_names(&self) -> Result<Vec<Name>, Error> {
        let hosts = self.files.list(&self.layout.hosts()).await?.common_prefixes;
        let hosts = hosts.iter().filter_map(|host| Name::new(host.filename()?).ok());
        let base = self.layout.base().name();
        let mut names = Vec::new();
        for host in hosts {
            match base {
                Some(base) if base.host() == host.as_str() => names.push(base.clone()),
                _ => {}
            }
            if !self.layout.is_own(&host) && self.has_catalog(&host).await? {
                names.push(host);
            }
        }
        Ok(names)
    }

    /// Changes all catalogs of which these changes speak.
    pub(crate) async fn change_catalogs(
        &self,
        changes: &[Change],
        options: &CatalogOptions,
    ) -> Result<Vec<CatalogWritten>, Error> {
        let mut written: Vec<CatalogWritten> = Vec::new();
        for change in changes {
            let prefix = self.layout.catalog_prefix(change.name());
            if written.iter().all(|other| other.prefix != prefix) {
                let of_prefix = changes
                    .iter()
                    .filter(|other| self.layout.catalog_prefix(other.name()) == prefix);
                let of_prefix: Vec<_> = of_prefix.cloned().collect();
                let catalog = self
                    .write_catalog(change.name(), &of_prefix, Listed::Before, false, options)
                    .await?;
                written.push(catalog);
            }
        }
        Ok(written)
    }

    /// Changes the catalog that lists `name`, again and again until nobody else has changed it meanwhile.
    async fn write_catalog(
        &self,
        name: &Name,
        changes: &[Change],
        listed: Listed,
        anyway: bool,
        options: &CatalogOptions,
    ) -> Result<CatalogWritten, Error> {
        let (prefix, path) = (self.layout.catalog_prefix(name), self.layout.catalog(name));
        let lock = self.layout.catalog_lock(name);
        let exclusion = self.files.exclude_others(&lock).await?;
        let mut changes = changes.to_vec();
        let mut is_new = false;
        for attempt in 0..ATTEMPTS {
            let present = self.files.read_versioned(&path).await?;
            let is_first = present.is_none();
            let draft = self.draft(present.as_ref(), &prefix, listed, &changes, options).await?;
            let catalog = match draft.is_same {
                Some(present) if !anyway || is_new => present,
                _ => {
                    let now = Utc::now();
                    let serial =
                        next_serial(draft.serial, now).ok_or_else(|| Error::NoSerialLeft { prefix: prefix.clone() })?;
                    // Whole seconds are enough, and the same for everybody who reads them.
                    let issued = DateTime::from_timestamp(now.timestamp(), 0).unwrap_or(now);
                    let expires = issued + options.valid_for;
                    let catalog = Catalog::new(prefix.clone(), serial, issued, expires, draft.images);
                    let file = signed(&catalog, options)?;
                    if !self.files.replace(&path, file, present, &exclusion).await? {
                        tokio::time::sleep(pause(attempt)).await;
                        continue;
                    }
                    is_new = true;
                    catalog
                }
            };
            if matches!(exclusion, Exclusion::Conditions) {
                let found = self.differences(&catalog).await?;
                if !found.is_empty() {
                    changes = found;
                    tokio::time::sleep(pause(attempt)).await;
                    continue;
                }
            }
            if is_first || listed == Listed::Records {
                self.name_on_pages(&catalog).await?;
            }
            return Ok(CatalogWritten {
                url: self.layout.base().join(path.as_ref()),
                path: path.to_string(),
                serial: catalog.serial,
                expires: catalog.expires,
                images: catalog.images.len(),
                prefix,
                is_new,
            });
        }
        Err(Error::CatalogContested {
            prefix,
            attempts: ATTEMPTS,
        })
    }

    async fn draft(
        &self,
        present: Option<&Versioned>,
        prefix: &Name,
        listed: Listed,
        changes: &[Change],
        options: &CatalogOptions,
    ) -> Result<Draft, Error> {
        let verified = match present {
            Some(present) => match self.verified(&present.content, prefix, options) {
                Err(Error::CatalogSigner { .. }) if options.on_other_signer == OnOtherSigner::Replace => None,
                outcome => Some(outcome?),
            },
            None => None,
        };
        let unverified = || {
            let signed = SignedCatalog::read(&present?.content).ok()?;
            Some(signed.danger_read_unverified().ok()?.serial)
        };
        let serial = verified.as_ref().map(|catalog| catalog.serial).or_else(unverified);
        let mut images = match (&verified, listed) {
            (Some(catalog), Listed::Before) => catalog.images.clone(),
            _ => self.entries_of_records(prefix).await?,
        };
        for change in changes {
            change.apply(&mut images);
        }
        let now = Utc::now();
        // In order, so that equal ones are equal.
        let drafted = Catalog::new(prefix.clone(), 0, now, now, images);
        let is_same = verified.filter(|present| drafted.images == present.images);
        Ok(Draft {
            images: drafted.images,
            serial,
            is_same,
        })
    }

    /// What a catalog says, if one of the keys that are to sign now has signed it.
    fn verified(&self, file: &[u8], prefix: &Name, options: &CatalogOptions) -> Result<Catalog, Error> {
        let certificates: Vec<_> = options.signers.iter().map(SigningKey::certificate).collect();
        let read = SignedCatalog::read(file).and_then(|signed| signed.verify_with(prefix, &certificates));
        match read {
            Ok((catalog, _)) => Ok(catalog),
            Err(CatalogError::Signature { source, .. }) => Err(Error::CatalogSigner {
                prefix: prefix.clone(),
                location: self.files.location().to_owned(),
                source,
            }),
            Err(source) => Err(Error::DamagedCatalog {
                prefix: prefix.clone(),
                location: self.files.location().to_owned(),
                source: Box::new(source),
            }),
        }
    }

    /// The records of all images under a prefix.
    async fn records_below(&self, prefix: &Name) -> Result<Vec<Path>, Error> {
        let files = self.files.list_below(&self.layout.archives(prefix)).await?;
        let is_listed =
            |file: &Path| Layout::name_of_record(file).is_some_and(|name| self.layout.catalog_prefix(&name) == *prefix);
        Ok(files.into_iter().filter(is_listed).collect())
    }

    async fn entries_of_records(&self, prefix: &Name) -> Result<Vec<CatalogImage>, Error> {
        let records = self.records_below(prefix).await?;
        Ok(self.read_records(records).await?.iter().map(entry).collect())
    }

    /// What must change of a catalog for it to list what is there, and nothing else.
    async fn differences(&self, catalog: &Catalog) -> Result<Vec<Change>, Error> {
        let there: HashSet<Path> = self.records_below(&catalog.prefix).await?.into_iter().collect();
        let written = self.files.read(&self.layout.catalog(&catalog.prefix)).await?;
        let written = written.and_then(|file| SignedCatalog::read(&file).ok()?.danger_read_unverified().ok());
        let images = written.map_or_else(Vec::new, |written| written.images);
        let record = |image: &CatalogImage| self.layout.archive_of(&image.name, &image.labels).record;
        let listed: HashSet<Path> = images.iter().map(record).collect();
        let gone = images.iter().filter(|image| !there.contains(&record(image)));
        let mut changes: Vec<_> = gone
            .map(|image| Change::Remove(image.name.clone(), image.labels.clone()))
            .collect();
        let missing = there.difference(&listed).cloned().collect();
        let missing = self.read_records(missing).await?;
        changes.extend(missing.iter().map(|record| Change::Put(Box::new(entry(record)))));
        Ok(changes)
    }

    /// Writes the pages of all names that the catalog lists, which are now to name it.
    async fn name_on_pages(&self, catalog: &Catalog) -> Result<(), Error> {
        let mut done = HashSet::new();
        for image in &catalog.images {
            if done.contains(&image.name) {
                continue;
            }
            for name in self.layout.pages_of(&image.name) {
                if done.insert(name.clone()) {
                    self.write_page(&name).await?;
                }
            }
        }
        Ok(())
    }
}

impl Change {
    fn name(&self) -> &Name {
        match self {
            Self::Put(image) => &image.name,
            Self::Remove(name, _) => name,
        }
    }

    fn apply(&self, images: &mut Vec<CatalogImage>) {
        let (name, labels) = match self {
            Self::Put(image) => (&image.name, &image.labels),
            Self::Remove(name, labels) => (name, labels),
        };
        let place = place(name, labels);
        images.retain(|image| self::place(&image.name, &image.labels) != place);
        if let Self::Put(image) = self {
            images.push((**image).clone());
        }
    }
}

/// What a site can have one image of.
fn place<'a>(name: &'a Name, labels: &'a Labels) -> (&'a Name, Option<&'a str>, [Option<&'a str>; 2]) {
    (name, labels.get("version"), crate::record::platform(labels))
}

/// What a catalog says of an image.
fn entry(record: &Record) -> CatalogImage {
    let facts = |facts: &crate::FileFacts| dhow_discovery::FileFacts {
        size: facts.size,
        sha256: facts.sha256.clone(),
    };
    CatalogImage {
        name: record.name.clone(),
        labels: record.labels.clone(),
        id: record.id,
        tar_size: record.tar_size,
        published: record.published,
        archive: facts(&record.archive),
        recipe: record.recipe.as_ref().map(facts),
        torrent: record.torrent.as_ref().map(|torrent| facts(&torrent.metainfo)),
        yanked: record.yanked.clone(),
    }
}

fn next_serial(last: Option<u64>, now: DateTime<Utc>) -> Option<u64> {
    let now = u64::try_from(now.timestamp()).unwrap_or(0);
    match last {
        Some(last) => Some(last.checked_add(1)?.max(now)),
        None => Some(now),
    }
}

fn signed(catalog: &Catalog, options: &CatalogOptions) -> Result<Vec<u8>, Error> {
    let json = catalog.to_json();
    let failed = |source| Error::SignCatalog {
        prefix: catalog.prefix.clone(),
        source: Box::new(source),
    };
    let mut all: Option<Signature> = None;
    for key in &options.signers {
        let signature = key.sign(json.as_slice()).and_then(|armored| Signature::parse(&armored));
        let signature = signature.map_err(failed)?;
        all = Some(match all {
            Some(others) => others.with(signature),
            None => signature,
        });
    }
    let all = all.expect("a catalog has at least one signer");
    Ok(SignedCatalog::new(json, all.to_armored()).to_bytes())
}

/// Two that collide wait for different times.
fn pause(attempt: u32) -> Duration {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    let jitter = now.map_or(0, |now| now.subsec_nanos()) % 1000;
    PAUSE.min(Duration::from_millis(5) * (attempt + 1)) * (500 + jitter) / 1000
}
