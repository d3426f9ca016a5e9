//! [`Catalog`]: the signed list of every image under a prefix.
//!
//! A page says where images lie, and a signature that one of them is real. Neither says that it is the *newest* one,
//! or that it is still meant to be used: a mirror that stopped a year ago, or somebody who answers for the publisher,
//! can go on showing an old version for ever. A catalog says it. It has a serial number that only grows, and a time
//! after which nobody believes it.
//!
//! ```text
//!   CatalogDraft ──issue──► JSON ──signatures──► SignedCatalog ── the file ──► read ──► CatalogMemory::accept ──► Catalog
//!                                                                                        keyring, clock, what was seen
//! ```
//!
//! It names no URL: where the files are is what discovery finds, so that a mirror serves the same catalog. A recipe
//! and a torrent lie beside their archive, with `.recipe` and `.torrent` appended. `docs/src/formats/catalog.md` tells
//! the format in prose.

mod error;
mod lines;
mod memory;
mod signed;
mod version;

use chrono::{DateTime, Utc};
use dhow_image::{ImageId, Labels, Name};
use serde::{Deserialize, Serialize};

pub use self::{
    error::CatalogError,
    lines::CatalogLines,
    memory::{Accepted, CatalogMemory},
    signed::SignedCatalog,
    version::{VersionRange, VersionRangeError},
};
use crate::request::Request;

/// What a catalog's `kind` is.
const KIND: &str = "dhow-catalog";
/// The version of the format.
const FORMAT: u32 = 1;

/// The list of every image under a prefix.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Catalog {
    kind: String,
    format: u32,
    /// The catalog speaks of this name and all below it.
    pub prefix: Name,
    /// Grows with every issue.
    pub serial: u64,
    /// When it was made.
    pub issued: DateTime<Utc>,
    /// After this time nobody is to believe it.
    pub expires: DateTime<Utc>,
    /// Every image, in the order of names, and within a name the highest version first.
    pub images: Vec<CatalogImage>,
}

/// All that a catalog says but its images, which take long to read.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CatalogHead {
    kind: String,
    format: u32,
    /// The catalog speaks of this name and all below it.
    pub prefix: Name,
    /// Grows with every issue.
    pub serial: u64,
    /// When it was made.
    pub issued: DateTime<Utc>,
    /// After this time nobody is to believe it.
    pub expires: DateTime<Utc>,
}

/// What a catalog says of one image.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CatalogImage {
    /// Its name.
    pub name: Name,
    /// Its labels, of which `version` is one.
    #[serde(with = "plain_labels")]
    pub labels: Labels,
    /// Its image ID.
    pub id: ImageId,
    /// How many bytes the uncompressed tar has.
    pub tar_size: u64,
    /// When it was published.
    pub published: DateTime<Utc>,
    /// The archive file.
    pub archive: FileFacts,
    /// Its recipe, where the site has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub recipe: Option<FileFacts>,
    /// Its metainfo, where the site has some.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub torrent: Option<FileFacts>,
    /// Why the image is no longer to be used, if it is not: it is fetched only by whoever asks for exactly this version.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub yanked: Option<String>,
}

/// How to tell that a file is the same without reading it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileFacts {
    /// How many bytes it has.
    pub size: u64,
    /// Its SHA-256, in hex digits.
    pub sha256: String,
}

impl Catalog {
    /// A catalog of these images, which are put in order.
    pub fn new(
        prefix: Name,
        serial: u64,
        issued: DateTime<Utc>,
        expires: DateTime<Utc>,
        mut images: Vec<CatalogImage>,
    ) -> Self {
        images.sort_by(|a, b| a.name.cmp(&b.name).then_with(|| version::newest_first(a, b)));
        Self {
            kind: KIND.to_owned(),
            format: FORMAT,
            prefix,
            serial,
            issued,
            expires,
            images,
        }
    }

    /// The JSON that is signed: always the same for the same catalog. Each image is one line.
    pub fn to_json(&self) -> Vec<u8> {
        CatalogLines::of(self).to_json()
    }

    /// Reads what [`Catalog::to_json`] wrote. Fields that are not known are passed over.
    pub(crate) fn from_json(json: &[u8]) -> Result<Self, CatalogError> {
        let catalog: Self = serde_json::from_slice(json).map_err(CatalogError::Malformed)?;
        if catalog.kind != KIND || catalog.format != FORMAT {
            return Err(CatalogError::Format {
                kind: catalog.kind,
                format: catalog.format,
            });
        }
        if let Some(stranger) = catalog
            .images
            .iter()
            .find(|image| !image.name.is_within(&catalog.prefix))
        {
            return Err(CatalogError::Extraneous {
                prefix: catalog.prefix,
                name: stranger.name.clone(),
            });
        }
        Ok(catalog)
    }

    /// The images of one name, the highest version first.
    pub fn images_of<'c, 'n>(&'c self, name: &'n Name) -> impl Iterator<Item = &'c CatalogImage> + use<'c, 'n> {
        self.images.iter().filter(move |image| image.name == *name)
    }

    /// The image that a request means: of those whose labels fit, the highest version; one that was yanked only if
    /// exactly its version was asked for.
    pub fn resolve(&self, request: &Request) -> Result<&CatalogImage, CatalogError> {
        let fitting = self.fitting(request)?;
        let is_exact = is_exact(request)?;
        match fitting.iter().find(|image| is_exact || image.yanked.is_none()) {
            Some(image) => Ok(image),
            None => Err(CatalogError::NotListed {
                prefix: self.prefix.clone(),
                name: request.name().clone(),
                labels: request.asked().to_string(),
                yanked: !fitting.is_empty(),
            }),
        }
    }

    /// The images whose name, labels and version, or range of versions, fit a request: yanked ones too, and the highest
    /// version first.
    pub fn fitting(&self, request: &Request) -> Result<Vec<&CatalogImage>, VersionRangeError> {
        let wanted = request.asked().get("version").filter(|version| !version.is_empty());
        let range = match wanted {
            None | Some("latest") => None,
            Some(version) => VersionRange::parse(version)?,
        };
        let any_version = request.any_version();
        let fits = |image: &&CatalogImage| {
            let version = image.labels.get("version").unwrap_or_default();
            let version_fits = match (&range, wanted) {
                (Some(range), _) => range.contains(version),
                (None, None | Some("latest")) => true,
                (None, Some(wanted)) => wanted == version,
            };
            version_fits && any_version.check(&image.name, &image.labels).is_ok()
        };
        Ok(self.images_of(request.name()).filter(fits).collect())
    }

    /// The entry of an image, by its ID and name.
    pub fn entry(&self, name: &Name, id: &ImageId) -> Option<&CatalogImage> {
        self.images_of(name).find(|image| image.id == *id)
    }
}

/// Whether a request means one version, and not the highest of several.
fn is_exact(request: &Request) -> Result<bool, VersionRangeError> {
    Ok(match request.asked().get("version") {
        None | Some("" | "latest") => false,
        Some(version) => VersionRange::parse(version)?.is_none(),
    })
}

/// Labels as names and values alone, which is all that a catalog has of them: several times faster than what else a
/// manifest may say beside them.
mod plain_labels {
    use dhow_image::{Label, Labels};
    use serde::{Deserialize, Deserializer, Serializer, de::Error as _};

    pub(super) fn serialize<S: Serializer>(labels: &Labels, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(labels.iter())
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Labels, D::Error> {
        let labels = Vec::<Label>::deserialize(deserializer)?;
        labels.try_into().map_err(D::Error::custom)
    }
}

#[cfg(test)]
mod tests;
