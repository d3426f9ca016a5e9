//! [`CatalogMemory`]: the newest catalog that was believed of each prefix.
//!
//! ```text
//!   <directory>/example.com%2Fteam.catalog     the file itself, as it was accepted
//!   <directory>/example.com%2Fteam.seen        when: the clock of this machine then
//!   <directory>/for/example.com%2Fteam/…       the same of catalogs that are believed for this one name alone
//!   <directory>/lock                           held while one of them is compared and replaced
//! ```
//!
//! The whole file is kept, for two reasons: it answers without a network, and its signature tells whether its serial
//! still binds. A thief of a key can issue the highest serial there is, after which no honest catalog would be
//! accepted. But once the owner has revoked that key, what it signed binds nobody.
//!
//! Who trusts a publisher for `example.com/app` alone may find a catalog of all `example.com` that this publisher
//! signed. It is believed in what it says of that name, and remembered for that name: what others believe of the
//! prefix, its signer cannot touch.

use std::{
    fs::{self, File},
    io::{self, Write as _},
    path::{Path, PathBuf},
};

use chrono::{DateTime, TimeDelta, Utc};
use dhow_image::Name;
use dhow_trust::{Keyring, Verification};
use nix::fcntl::{Flock, FlockArg};

use super::{Catalog, CatalogError, SignedCatalog};

/// How far two clocks may differ.
const SKEW: TimeDelta = TimeDelta::minutes(10);

/// A directory with the newest catalog that was believed of each prefix.
#[derive(Clone, Debug)]
pub struct CatalogMemory {
    directory: PathBuf,
}

/// A catalog that is believed.
#[derive(Clone, Debug)]
pub struct Accepted {
    /// What it says.
    pub catalog: Catalog,
    /// Who signed it.
    pub verification: Verification,
}

/// What is remembered of a prefix.
struct Seen {
    file: Vec<u8>,
    serial: u64,
    at: DateTime<Utc>,
}

impl CatalogMemory {
    /// Keeps catalogs in `directory`, which is made when there is something to keep.
    pub fn open(directory: impl Into<PathBuf>) -> Self {
        Self {
            directory: directory.into(),
        }
    }

    /// Believes a catalog of `prefix`, or says why not, and remembers it.
    ///
    /// It must be signed by keys that are trusted for the prefix, as its policy asks; be of that prefix and of no
    /// other; be issued and not expired; and have no lower serial than the one that is remembered, nor the same with
    /// other content.
    pub fn accept(
        &self,
        file: &[u8],
        prefix: &Name,
        keyring: &Keyring,
        now: DateTime<Utc>,
    ) -> Result<Accepted, CatalogError> {
        self.accept_by(prefix, file, prefix, keyring, now)
    }

    /// The same for the sake of one name under `prefix`: if the keys that signed it are not trusted for all of the
    /// prefix, but for the name, it is believed in what it says of the name, and of nothing else.
    pub fn accept_for(
        &self,
        name: &Name,
        file: &[u8],
        prefix: &Name,
        keyring: &Keyring,
        now: DateTime<Utc>,
    ) -> Result<Accepted, CatalogError> {
        match self.accept(file, prefix, keyring, now) {
            Err(error) if name != prefix && is_of_narrower_trust(&error) => {
                self.of_name(name).accept_by(name, file, prefix, keyring, now)
            }
            outcome => outcome,
        }
    }

    /// Believes a catalog of `prefix` that was signed by those who are trusted for `by`.
    fn accept_by(
        &self,
        by: &Name,
        file: &[u8],
        prefix: &Name,
        keyring: &Keyring,
        now: DateTime<Utc>,
    ) -> Result<Accepted, CatalogError> {
        let signed = SignedCatalog::read(file)?;
        let (catalog, verification) = signed.verify_for(prefix, by, keyring)?;
        let _lock = self.lock()?;
        let seen = self.seen(prefix)?;
        match check(&catalog, signed.json(), seen.as_ref(), now) {
            Err(error) if seen.as_ref().is_some_and(|seen| seen.file != file) && is_of_what_was_seen(&error) => {
                // To read what was seen takes long, and seldom matters.
                if seen.is_some_and(|seen| seen.binds(prefix, by, keyring)) {
                    return Err(error);
                }
                check(&catalog, signed.json(), None, now)?;
                self.remember(file, prefix, now)?;
            }
            Err(error) => return Err(error),
            Ok(()) => match seen {
                Some(seen) if seen.file == file => {
                    if now - seen.at >= SKEW {
                        self.remember_time(prefix, now)?;
                    }
                }
                _ => self.remember(file, prefix, now)?,
            },
        }
        Ok(Accepted { catalog, verification })
    }

    /// The catalog of `prefix` that was believed last, if it still is to be believed: without a network.
    pub fn recall(
        &self,
        prefix: &Name,
        keyring: &Keyring,
        now: DateTime<Utc>,
    ) -> Result<Option<Accepted>, CatalogError> {
        match self.read(&self.catalog_path(prefix))? {
            Some(file) => self.accept(&file, prefix, keyring, now).map(Some),
            None => Ok(None),
        }
    }

    /// The same for the sake of one name: see [`Self::accept_for`].
    pub fn recall_for(
        &self,
        name: &Name,
        keyring: &Keyring,
        now: DateTime<Utc>,
    ) -> Result<Option<Accepted>, CatalogError> {
        let Some(prefix) = self.prefix_of(name) else {
            return Ok(None);
        };
        match self.recall(&prefix, keyring, now)? {
            None => {
                let own = self.of_name(name);
                let Some(file) = own.read(&own.catalog_path(&prefix))? else {
                    return Ok(None);
                };
                own.accept_by(name, &file, &prefix, keyring, now).map(Some)
            }
            accepted => Ok(accepted),
        }
    }

    /// The file of the catalog that lists `name` and was believed last, as it travels.
    pub fn file_for(&self, name: &Name) -> Result<Option<Vec<u8>>, CatalogError> {
        let Some(prefix) = self.prefix_of(name) else {
            return Ok(None);
        };
        match self.read(&self.catalog_path(&prefix))? {
            Some(file) => Ok(Some(file)),
            None => {
                let own = self.of_name(name);
                own.read(&own.catalog_path(&prefix))
            }
        }
    }

    /// The longest prefix of `name` of which a catalog has ever been believed. Whoever has seen one must not be told
    /// that there is none.
    pub fn prefix_of(&self, name: &Name) -> Option<Name> {
        let own = self.of_name(name);
        name.walk()
            .find(|prefix| self.catalog_path(prefix).exists() || own.catalog_path(prefix).exists())
    }

    /// Forgets a prefix, also what was believed for the sake of one name: whatever catalog comes next is believed if its
    /// signatures and times are good. Whether there was something to forget.
    pub fn forget(&self, prefix: &Name) -> Result<bool, CatalogError> {
        if !self.directory.exists() {
            return Ok(false);
        }
        let _lock = self.lock()?;
        let mut is_forgotten = self.forget_here(prefix)?;
        for of_name in self.of_names()? {
            let _lock = of_name.lock()?;
            is_forgotten |= of_name.forget_here(prefix)?;
        }
        Ok(is_forgotten)
    }

    fn forget_here(&self, prefix: &Name) -> Result<bool, CatalogError> {
        let mut there = false;
        for path in [self.catalog_path(prefix), self.seen_path(prefix)] {
            match fs::remove_file(&path) {
                Ok(()) => there = true,
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(source) => return Err(CatalogError::Memory { path, source }),
            }
        }
        Ok(there)
    }

    /// Everything that is believed for the sake of one name alone.
    fn of_names(&self) -> Result<Vec<Self>, CatalogError> {
        let path = self.directory.join("for");
        let listed = match fs::read_dir(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            listed => listed,
        };
        let names = listed.and_then(|entries| entries.map(|entry| Ok(Self::open(entry?.path()))).collect());
        names.map_err(|source| CatalogError::Memory { path, source })
    }

    fn seen(&self, prefix: &Name) -> Result<Option<Seen>, CatalogError> {
        let Some(file) = self.read(&self.catalog_path(prefix))? else {
            return Ok(None);
        };
        let signed = SignedCatalog::read(&file)?;
        let head = signed.danger_read_head()?;
        let at = self.read(&self.seen_path(prefix))?;
        let at = at.and_then(|text| String::from_utf8(text).ok()?.trim().parse().ok());
        Ok(Some(Seen {
            at: at.unwrap_or(head.issued),
            serial: head.serial,
            file,
        }))
    }

    /// What is believed for the sake of one name alone.
    fn of_name(&self, name: &Name) -> Self {
        Self::open(self.directory.join("for").join(name.as_str().replace('/', "%2F")))
    }

    fn remember(&self, file: &[u8], prefix: &Name, now: DateTime<Utc>) -> Result<(), CatalogError> {
        self.remember_time(prefix, now)?;
        self.write(&self.catalog_path(prefix), file)
    }

    fn remember_time(&self, prefix: &Name, now: DateTime<Utc>) -> Result<(), CatalogError> {
        self.write(&self.seen_path(prefix), now.to_rfc3339().as_bytes())
    }

    fn lock(&self) -> Result<Flock<File>, CatalogError> {
        let path = self.directory.join("lock");
        let locked = fs::create_dir_all(&self.directory)
            .and_then(|()| File::create(&path))
            .and_then(|file| Flock::lock(file, FlockArg::LockExclusive).map_err(|(_, errno)| errno.into()));
        locked.map_err(|source| CatalogError::Memory { path, source })
    }

    fn read(&self, path: &Path) -> Result<Option<Vec<u8>>, CatalogError> {
        match fs::read(path) {
            Ok(bytes) => Ok(Some(bytes)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(source) => Err(CatalogError::Memory {
                path: path.to_owned(),
                source,
            }),
        }
    }

    /// Replaces a file whole.
    fn write(&self, path: &Path, content: &[u8]) -> Result<(), CatalogError> {
        let written = tempfile::NamedTempFile::new_in(&self.directory).and_then(|mut file| {
            file.write_all(content)?;
            file.as_file().sync_data()?;
            file.persist(path)?;
            Ok(())
        });
        written.map_err(|source| CatalogError::Memory {
            path: path.to_owned(),
            source,
        })
    }

    fn catalog_path(&self, prefix: &Name) -> PathBuf {
        self.path(prefix, "catalog")
    }

    fn seen_path(&self, prefix: &Name) -> PathBuf {
        self.path(prefix, "seen")
    }

    fn path(&self, prefix: &Name, suffix: &str) -> PathBuf {
        let stem = prefix.as_str().replace('/', "%2F");
        self.directory.join(format!("{stem}.{suffix}"))
    }
}

impl Seen {
    /// Whether its serial still is to be obeyed.
    fn binds(&self, prefix: &Name, by: &Name, keyring: &Keyring) -> bool {
        let verified = SignedCatalog::read(&self.file).and_then(|signed| signed.verify_for(prefix, by, keyring));
        !matches!(verified, Err(CatalogError::Signature { source, .. }) if binds_nobody(&source))
    }
}

/// Whether a catalog is refused for the sake of the one that was seen before.
fn is_of_what_was_seen(error: &CatalogError) -> bool {
    matches!(
        error,
        CatalogError::Rollback { .. } | CatalogError::Forked { .. } | CatalogError::ClockBehind { .. }
    )
}

/// Whether a signature that does not verify any more has lost its force, so that what it signed need not be obeyed:
/// its owner has revoked the key, or the user trusts it no longer. An expired key is no such reason, or whoever shows
/// old catalogs would only have to wait for it.
fn binds_nobody(error: &dhow_trust::Error) -> bool {
    use dhow_trust::Error::{KeyRevoked, NotTrustedForName, UnknownSigner};
    matches!(
        error,
        KeyRevoked { .. } | NotTrustedForName { .. } | UnknownSigner { .. }
    )
}

/// Whether the signers are trusted, but not for the whole prefix.
fn is_of_narrower_trust(error: &CatalogError) -> bool {
    matches!(error, CatalogError::Signature { source, .. } if matches!(**source, dhow_trust::Error::NotTrustedForName { .. }))
}

/// That it has expired is told only of one that is all right otherwise: what an old one says is never believed, and what
/// the newest says is only too old.
fn check(catalog: &Catalog, json: &[u8], seen: Option<&Seen>, now: DateTime<Utc>) -> Result<(), CatalogError> {
    let prefix = catalog.prefix.clone();
    if let Some(seen) = seen {
        if now < seen.at - SKEW {
            return Err(CatalogError::ClockBehind {
                prefix,
                now,
                seen: seen.at,
            });
        }
        check_serial(catalog, json, seen)?;
    }
    if catalog.issued > now + SKEW || catalog.issued >= catalog.expires {
        return Err(CatalogError::FromTheFuture {
            prefix,
            issued: catalog.issued,
        });
    }
    if catalog.expires <= now {
        return Err(CatalogError::Expired {
            prefix,
            expired: catalog.expires,
        });
    }
    Ok(())
}

fn check_serial(catalog: &Catalog, json: &[u8], seen: &Seen) -> Result<(), CatalogError> {
    let prefix = catalog.prefix.clone();
    if catalog.serial < seen.serial {
        return Err(CatalogError::Rollback {
            prefix,
            found: catalog.serial,
            seen: seen.serial,
        });
    }
    // The same text may have been signed by somebody else as well.
    if catalog.serial == seen.serial && !seen.file.starts_with(json) {
        return Err(CatalogError::Forked {
            prefix,
            serial: catalog.serial,
        });
    }
    Ok(())
}
