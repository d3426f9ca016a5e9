//! Catalogs that come from another site, as their publisher signed them.

use bytes::Bytes;
use dhow_discovery::{CatalogError, CatalogHead, SignedCatalog};
use dhow_image::Name;

use crate::{Error, Site, contested::Exclusion};

/// How often others may be faster.
const ATTEMPTS: u32 = 10;

impl Site {
    /// Puts a catalog of another site in place, for who uses this one as a mirror, and names it on the pages of what is
    /// here. Whoever carries it here has verified it.
    ///
    /// `false` where it has no place here: where this site would have a catalog of another prefix for the same names. One
    /// that is older than the one that is here stays away, too, which is no failure.
    pub async fn carry_catalog(&self, file: &[u8]) -> Result<bool, Error> {
        let head = head(file).map_err(|source| Error::CarriedCatalog(Box::new(source)))?;
        let prefix = head.prefix;
        if self.layout.catalog_prefix(&prefix) != prefix {
            return Ok(false);
        }
        let path = self.layout.catalog(&prefix);
        let exclusion = self.files.exclude_others(&self.layout.catalog_lock(&prefix)).await?;
        let mut is_there = false;
        for _ in 0..ATTEMPTS {
            let present = self.files.read_versioned(&path, None).await?;
            let serial = present
                .as_ref()
                .and_then(|present| Some(self::head(&present.content).ok()?.serial));
            is_there = serial.is_some_and(|serial| serial >= head.serial);
            if is_there {
                break;
            }
            let file = Bytes::copy_from_slice(file);
            is_there = self.files.replace(&path, file, present, &exclusion).await?;
            // A bucket may pass over conditions: there it is looked at again.
            if is_there && matches!(exclusion, Exclusion::Lock(_)) {
                break;
            }
        }
        if !is_there {
            return Err(Error::CatalogContested {
                prefix,
                attempts: ATTEMPTS,
            });
        }
        drop(exclusion);
        self.name_catalog(&prefix).await?;
        Ok(true)
    }

    /// Writes the pages of what is here and is under a prefix, which are to name its catalog.
    async fn name_catalog(&self, prefix: &Name) -> Result<(), Error> {
        let names = self.names().await?;
        let mut pages: Vec<Name> = Vec::new();
        for name in names.iter().filter(|name| name.is_within(prefix)) {
            pages.extend(self.layout.pages_of(name));
        }
        pages.sort();
        pages.dedup();
        let exclusion = self.exclude_from_pages().await?;
        for page in &pages {
            self.write_page(page, &exclusion).await?;
        }
        Ok(())
    }
}

/// What a file says to be.
pub(crate) fn head(file: &[u8]) -> Result<CatalogHead, CatalogError> {
    SignedCatalog::read(file)?.danger_read_head()
}
