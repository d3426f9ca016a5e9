//! Changing a catalog: read, verified, changed, signed, and put in place if nobody else has changed it meanwhile.

use std::{
    collections::{BTreeSet, HashSet},
    sync::Arc,
    time::Duration,
};

use bytes::Bytes;
use chrono::{DateTime, Utc};
use dhow_discovery::{Catalog, CatalogError, CatalogImage, CatalogLines, SignedCatalog};
use dhow_image::Name;
use dhow_trust::{Fingerprint, Signature, SigningKey};
use object_store::{ObjectMeta, path::Path};

use super::{CatalogOptions, CatalogWritten, Change, Listed, OnOtherSigner, change::entry};
use crate::{
    Error, Layout, Site,
    contested::{Exclusion, Versioned},
};

/// How often others may be faster.
const ATTEMPTS: u32 = 100;
/// How long one waits then, at most.
const PAUSE: Duration = Duration::from_millis(200);

/// A catalog before it is signed.
struct Draft {
    lines: CatalogLines,
    /// That of the present one.
    serial: Option<u64>,
    /// The present one, if what it lists is the same.
    is_same: Option<Arc<CatalogLines>>,
}

impl Site {
    /// Changes the catalog that lists `name`, again and again until nobody else has changed it meanwhile.
    pub(super) async fn write_catalog(
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
            let known = self.cache.catalog_file(&prefix);
            let present = self.files.read_versioned(&path, known).await?;
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
                    let catalog = Arc::new(draft.lines.issued(serial, issued, expires));
                    let file = Bytes::from(signed(&catalog, options)?);
                    if !self.files.replace(&path, file.clone(), present, &exclusion).await? {
                        tokio::time::sleep(pause(attempt)).await;
                        continue;
                    }
                    self.cache
                        .keep_catalog(file.into(), fingerprints(options), catalog.clone());
                    is_new = true;
                    catalog
                }
            };
            if matches!(exclusion, Exclusion::Conditions) {
                let found = self.differences(&prefix).await?;
                if !found.is_empty() {
                    changes = found;
                    tokio::time::sleep(pause(attempt)).await;
                    continue;
                }
            }
            if is_first || listed == Listed::Records {
                self.name_on_pages(&catalog).await?;
            }
            if listed == Listed::Records {
                self.rewrite_names_page().await?;
            }
            return Ok(CatalogWritten {
                url: self.layout.base().join(path.as_ref()),
                path: path.to_string(),
                serial: catalog.serial(),
                expires: catalog.expires(),
                images: catalog.len(),
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
            Some(present) => match self.verified(present, prefix, options).await {
                Err(Error::CatalogSigner { .. }) if options.on_other_signer == OnOtherSigner::Replace => None,
                outcome => Some(outcome?),
            },
            None => None,
        };
        let unverified = || {
            let signed = SignedCatalog::of(present?.content.clone()).ok()?;
            Some(signed.danger_read_head().ok()?.serial)
        };
        let serial = verified.as_ref().map(|catalog| catalog.serial()).or_else(unverified);
        let mut lines = match (&verified, listed) {
            (Some(catalog), Listed::Before) => CatalogLines::clone(catalog),
            _ => {
                let (images, now) = (self.entries_of_records(prefix).await?, Utc::now());
                CatalogLines::of(&Catalog::new(prefix.clone(), 0, now, now, images))
            }
        };
        for change in changes {
            let changed = change.apply(&mut lines);
            changed.map_err(|source| self.damaged_catalog(prefix, source))?;
        }
        let is_same = verified.filter(|present| present.is_same_list(&lines));
        Ok(Draft { lines, serial, is_same })
    }

    /// What a catalog says, if one of the keys that are to sign now has signed it.
    pub(super) async fn verified(
        &self,
        file: &Versioned,
        prefix: &Name,
        options: &CatalogOptions,
    ) -> Result<Arc<CatalogLines>, Error> {
        let signers = fingerprints(options);
        let known = self.cache.catalog(&file.content, &signers);
        if let Some(catalog) = known.filter(|known| known.prefix() == prefix) {
            return Ok(catalog);
        }
        let certificates: Vec<_> = options.signers.iter().map(SigningKey::certificate).collect();
        let (content, of) = (file.content.clone(), prefix.clone());
        let read = tokio::task::spawn_blocking(move || {
            SignedCatalog::of(content).and_then(|signed| signed.verify_lines(&of, &certificates))
        });
        match read.await.expect("verifying a catalog does not panic") {
            Ok(catalog) => {
                let catalog = Arc::new(catalog);
                self.cache.keep_catalog(file.clone(), signers, catalog.clone());
                Ok(catalog)
            }
            Err(CatalogError::Signature { source, .. }) => Err(Error::CatalogSigner {
                prefix: prefix.clone(),
                location: self.files.location().to_owned(),
                source,
            }),
            Err(source) => Err(self.damaged_catalog(prefix, source)),
        }
    }

    fn damaged_catalog(&self, prefix: &Name, source: CatalogError) -> Error {
        Error::DamagedCatalog {
            prefix: prefix.clone(),
            location: self.files.location().to_owned(),
            source: Box::new(source),
        }
    }

    /// The records of all images under a prefix.
    async fn records_below(&self, prefix: &Name) -> Result<Vec<ObjectMeta>, Error> {
        let mut files = self.files.list_below(&self.layout.archives(prefix)).await?;
        files.retain(|file| {
            Layout::name_of_record(&file.location).is_some_and(|name| self.layout.catalog_prefix(&name) == *prefix)
        });
        Ok(files)
    }

    async fn entries_of_records(&self, prefix: &Name) -> Result<Vec<CatalogImage>, Error> {
        let records = self.records_below(prefix).await?;
        Ok(self.read_records(records).await?.iter().map(entry).collect())
    }

    /// What must change of a catalog for it to list what is there, and nothing else.
    async fn differences(&self, prefix: &Name) -> Result<Vec<Change>, Error> {
        let files = self.records_below(prefix).await?;
        let there: HashSet<&Path> = files.iter().map(|file| &file.location).collect();
        let written = self.files.read(&self.layout.catalog(prefix)).await?;
        let written = written.and_then(|file| SignedCatalog::of(file).ok()?.danger_read_unverified().ok());
        let images = written.as_ref().map_or(&[][..], |written| &written.images);
        let record = |image: &CatalogImage| self.layout.archive_of(&image.name, &image.labels).record;
        let listed: HashSet<Path> = images.iter().map(record).collect();
        let gone = images.iter().filter(|image| !there.contains(&record(image)));
        let mut changes: Vec<_> = gone
            .map(|image| Change::Remove(image.name.clone(), image.labels.clone()))
            .collect();
        let mut missing = files;
        missing.retain(|file| !listed.contains(&file.location));
        changes.extend(self.read_records(missing).await?.iter().map(Change::put));
        Ok(changes)
    }

    /// Writes the pages of all names that the catalog lists, which are now to name it.
    async fn name_on_pages(&self, catalog: &CatalogLines) -> Result<(), Error> {
        let names: BTreeSet<_> = catalog.names().flat_map(|name| self.layout.pages_of(&name)).collect();
        let exclusion = self.exclude_from_pages().await?;
        for name in &names {
            self.write_page(name, &exclusion).await?;
        }
        Ok(())
    }
}

fn fingerprints(options: &CatalogOptions) -> Vec<Fingerprint> {
    options.signers.iter().map(SigningKey::fingerprint).collect()
}

fn next_serial(last: Option<u64>, now: DateTime<Utc>) -> Option<u64> {
    let now = u64::try_from(now.timestamp()).unwrap_or(0);
    match last {
        Some(last) => Some(last.checked_add(1)?.max(now)),
        None => Some(now),
    }
}

fn signed(catalog: &CatalogLines, options: &CatalogOptions) -> Result<Vec<u8>, Error> {
    let json = catalog.to_json();
    let failed = |source| Error::SignCatalog {
        prefix: catalog.prefix().clone(),
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
    Ok(SignedCatalog::new(json, all.to_armored()).into_bytes())
}

/// Two that collide wait for different times.
fn pause(attempt: u32) -> Duration {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    let jitter = now.map_or(0, |now| now.subsec_nanos()) % 1000;
    PAUSE.min(Duration::from_millis(5) * (attempt + 1)) * (500 + jitter) / 1000
}
