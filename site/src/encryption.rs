//! Encrypted archives: what a site says of them, and where it has that from.

use std::{
    collections::BTreeSet,
    fs::File,
    path::{Path as FilePath, PathBuf},
};

use dhow_image::{Dependency, ImageManifest, Limits};
use dhow_store::{delta::DeltaHead, pack::PackId};
use dhow_trust::Fingerprint;
use serde::{Deserialize, Serialize};

use crate::{Error, Publication, Published, Record, Site, candidate::Digesting, layout::ArchivePaths};

/// What a record says of an encrypted archive. Whoever keeps the site and cannot read the archive needs to know it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Encryption {
    /// The certificates of those who can read it; none where whoever put it here did not know whose they are.
    pub recipients: Vec<Fingerprint>,
    /// What the image depends on: what is to be kept, or carried along, where it is.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub dependencies: Vec<Dependency>,
}

/// How it is known what is in an encrypted archive.
#[derive(Clone, Debug)]
pub enum Inside {
    /// It was encrypted, or decrypted, just now.
    File {
        /// The archive that is not encrypted.
        image: PathBuf,
        /// For whom it was encrypted, if that is known.
        recipients: Vec<Fingerprint>,
    },
    /// The record says so that came along with it. It is for whoever cannot read the archive; clients that can are told
    /// if it is another image.
    Record(Box<Record>),
}

impl Encryption {
    /// What has to be known of an image's dependencies, and no more.
    pub(crate) fn dependencies_of(manifest: &ImageManifest) -> Vec<Dependency> {
        let known = manifest.dependencies.iter().map(|dependency| {
            let mut known = Dependency::new(dependency.image_name.clone());
            known.image_id = dependency.image_id;
            known.labels.clone_from(&dependency.labels);
            known
        });
        known.collect()
    }
}

impl Site {
    /// As [`Site::publish`], of an encrypted archive. The signature is over the encrypted bytes.
    pub async fn publish_encrypted(&self, publication: Publication<'_>, inside: &Inside) -> Result<Published, Error> {
        self.put_image(publication, Some(inside)).await
    }

    /// Copies to `to` the archive by which the site has the image of `image`, encrypted for just these, and gives its
    /// signature: to encrypt again makes other bytes, which is another archive. `None` if there is none that is whole.
    pub async fn encrypted_archive(
        &self,
        image: &FilePath,
        recipients: &[Fingerprint],
        limits: Limits,
        to: &FilePath,
    ) -> Result<Option<Vec<u8>>, Error> {
        let path = image.to_owned();
        let summary = tokio::task::spawn_blocking(move || {
            let file = File::open(&path).map_err(|source| Error::ReadArchive {
                path: path.clone(),
                source,
            })?;
            dhow_image::read_summary_within(file, limits).map_err(|source| Error::Archive { path, source })
        });
        let summary = summary.await.expect("reading an archive does not panic")?;
        let versions = self.versions(&summary.manifest.name).await?;
        let is_this = |record: &&Record| {
            let encryption = record.encryption.as_ref();
            record.id == summary.id
                && record.labels == summary.manifest.labels
                && encryption.is_some_and(|encryption| is_for(encryption, recipients))
        };
        let Some(record) = versions.iter().find(is_this) else {
            return Ok(None);
        };
        let paths = self.layout.archive(record);
        let mut file = File::create(to).map_err(Error::Temporary)?;
        if !self.files.download(&paths.archive, &mut file).await? {
            return Ok(None);
        }
        let facts = File::open(to).and_then(|file| Digesting::new(file).finish());
        if facts.map_err(Error::Temporary)? != record.archive {
            return Ok(None);
        }
        Ok(self.files.read(&paths.signature).await?.map(Vec::from))
    }

    /// What an image depends on.
    pub(crate) async fn dependencies(&self, record: &Record) -> Result<Vec<Dependency>, Error> {
        match &record.encryption {
            Some(encryption) => Ok(encryption.dependencies.clone()),
            None => Ok(self.manifest(record).await?.dependencies),
        }
    }

    /// The packs of the archive that is going to be replaced.
    pub(crate) async fn packs_replaced(
        &self,
        there: Option<&Record>,
        record: &Record,
        paths: &ArchivePaths,
    ) -> Result<BTreeSet<PackId>, Error> {
        if there.is_none_or(|there| there.recipe.is_none() || there.archive == record.archive) {
            return Ok(BTreeSet::new());
        }
        let head = self.files.read(&paths.recipe).await?;
        let head = head.and_then(|bytes| DeltaHead::parse(&bytes).ok());
        Ok(head
            .into_iter()
            .flat_map(|head| head.packs)
            .map(|pack| pack.id)
            .collect())
    }
}

fn is_for(encryption: &Encryption, recipients: &[Fingerprint]) -> bool {
    encryption.recipients.len() == recipients.len()
        && recipients
            .iter()
            .all(|recipient| encryption.recipients.contains(recipient))
}
