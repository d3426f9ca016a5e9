//! What the publisher's catalog says of the image that is asked for: which version it is, and which image that must be.

use std::collections::HashSet;

use chrono::Utc;
use dhow_discovery::{CatalogImage, CatalogMemory, Discovery, Request};
use dhow_image::{ImageId, Name};

use super::{Fetcher, blocking};
use crate::{
    catalogs::{Catalogs, not_believed},
    error::Error,
    origin::Origin,
    progress::Note,
};

/// The image that a catalog lists, which the one that comes must be.
#[derive(Clone, Debug)]
pub(crate) struct Listed {
    /// Whose catalog it is.
    prefix: Name,
    image: CatalogImage,
}

impl Fetcher<'_> {
    /// What the catalog lists for a request, and the request for exactly that version. `None` where there is no catalog,
    /// never was one, and none is asked for; or where it has expired, and that is done without.
    pub(super) async fn listed(
        &self,
        request: &Request,
        discovery: &Discovery,
        origin: &Origin,
    ) -> Result<Option<(Request, Listed)>, Error> {
        let range = range(request)?;
        // Who asks for no signature at all asks for none of a catalog. A range has no other meaning than a catalog's.
        if self.context.insecure.image && !range {
            return Ok(None);
        }
        let memory = self.catalog_memory();
        let catalogs = Catalogs {
            client: &self.context.client,
            keyring: &self.context.keyring,
            memory: &memory,
            cache: self.context.cache.as_deref(),
        };
        let accepted = match catalogs.of(request.name(), &discovery.catalogs, origin).await {
            Err(error) if self.may_be_expired && error.expired_catalog().is_some() => return Ok(None),
            outcome => outcome?,
        };
        let Some(accepted) = accepted else {
            return match range {
                true => Err(Error::RangeWithoutCatalog {
                    name: request.name().clone(),
                    range: request.asked().get("version").unwrap_or_default().to_owned(),
                }),
                false => Ok(None),
            };
        };
        let prefix = accepted.catalog.prefix.clone();
        let image = accepted.catalog.resolve(request).cloned();
        let image = image.map_err(|source| not_believed(prefix.as_str(), source))?;
        let version = image.labels.get("version").unwrap_or_default();
        if let Some(reason) = &image.yanked {
            self.context.progress.note(&Note::Yanked {
                name: request.name(),
                version,
                reason,
            });
        }
        let exact = request.of_version(version);
        Ok(Some((exact, Listed { prefix, image })))
    }

    /// Whether a request can be answered without a catalog, where there should be one and it has expired. Which version
    /// is the newest, only a catalog tells; and the user may have said that there is to be one.
    pub(super) fn may_do_without(&self, request: &Request) -> Result<bool, Error> {
        let policy = self
            .context
            .keyring
            .policy_for(request.name())
            .map_err(|source| Error::NotTrusted {
                archive: request.name().to_string(),
                source: Box::new(source),
            })?;
        Ok(is_exact(request)? && !policy.is_some_and(|placed| placed.policy.catalog_required))
    }

    /// Images of a name that the last catalog says are not to be used any more, where not exactly one is asked for.
    pub(super) async fn passed_over(&self, request: &Request) -> Result<HashSet<ImageId>, Error> {
        if is_exact(request)? {
            return Ok(HashSet::new());
        }
        let (memory, keyring, name) = (
            self.catalog_memory(),
            self.context.keyring.clone(),
            request.name().clone(),
        );
        // One that is too old to tell what is the newest may still tell nothing that is asked here.
        let recalled = blocking(move || memory.recall_for(&name, &keyring, Utc::now())).await;
        let Ok(Some(recalled)) = recalled else {
            return Ok(HashSet::new());
        };
        let images = recalled.catalog.images_of(request.name());
        Ok(images
            .filter(|image| image.yanked.is_some())
            .map(|image| image.id)
            .collect())
    }

    fn catalog_memory(&self) -> CatalogMemory {
        CatalogMemory::open(self.context.store.catalogs_dir())
    }
}

impl Listed {
    /// Whether an archive can be the one that is listed.
    pub(crate) fn check_size(&self, archive: &str, size: u64) -> Result<(), Error> {
        match self.image.archive.size == size {
            true => Ok(()),
            false => Err(self.other(
                archive,
                format!("{size} bytes long"),
                format!("{} bytes", self.image.archive.size),
            )),
        }
    }

    /// Whether an image is the one that is listed.
    pub(crate) fn check_id(&self, archive: &str, id: &ImageId) -> Result<(), Error> {
        match self.image.id == *id {
            true => Ok(()),
            false => Err(self.other(
                archive,
                format!("image {}", id.short()),
                format!("image {}", self.image.id.short()),
            )),
        }
    }

    /// The image's ID.
    pub(crate) fn id(&self) -> &ImageId {
        &self.image.id
    }

    /// Whether the image can be fetched by difference.
    pub(crate) fn has_recipe(&self) -> bool {
        self.image.recipe.is_some()
    }

    fn other(&self, archive: &str, found: String, listed: String) -> Error {
        Error::NotAsListed {
            archive: archive.to_owned(),
            prefix: self.prefix.clone(),
            found,
            listed,
        }
    }
}

/// Whether a range of versions is asked for.
fn range(request: &Request) -> Result<bool, Error> {
    let range = request
        .range()
        .map_err(|source| not_believed(request.name().as_str(), source.into()))?;
    Ok(range.is_some())
}

/// Whether one version is asked for, and no other will do.
fn is_exact(request: &Request) -> Result<bool, Error> {
    Ok(!range(request)? && !matches!(request.asked().get("version"), None | Some("" | "latest")))
}
