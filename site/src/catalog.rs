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

mod carry;
mod change;
mod write;

use chrono::{DateTime, TimeDelta, Utc};
use dhow_image::{Labels, Name};
use dhow_trust::SigningKey;

pub(crate) use self::{carry::head, change::Change};
use crate::{Error, Site};

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

impl Site {
    /// Whether there is a catalog that lists, or should list, this name.
    pub async fn has_catalog(&self, name: &Name) -> Result<bool, Error> {
        Ok(self.files.size(&self.layout.catalog(name)).await?.is_some())
    }

    /// Finds out, before anything is written, whether the catalog for this name can be gone on with: if there is one, it
    /// must tell of every change, or clients would go on as before.
    pub async fn check_catalog(&self, name: &Name, options: Option<&CatalogOptions>) -> Result<(), Error> {
        let prefix = self.layout.catalog_prefix(name);
        let known = self.cache.catalog_file(&prefix);
        let Some(present) = self.files.read_versioned(&self.layout.catalog(name), known).await? else {
            return Ok(());
        };
        match options {
            None => Err(Error::CatalogUnsigned {
                prefix,
                location: self.files.location().to_owned(),
            }),
            Some(options) if options.on_other_signer == OnOtherSigner::Refuse => {
                self.verified(&present, &prefix, options).await.map(drop)
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
        let changes = records.iter().map(Change::put);
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
        let hosts = self.files.list(&self.layout.hosts(), |_| false).await?.folders;
        let hosts = hosts.into_iter().filter_map(|host| Name::new(host).ok());
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
}
