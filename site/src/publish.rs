//! Publishing an image.

use std::path::Path as FilePath;

use dhow_image::{ImageId, Labels, Limits, Name};
use dhow_trust::Certificate;

use crate::{CatalogOptions, Error, Inside, Record, Site, candidate::Candidate, keys, layout::ArchivePaths};

/// What is to be published.
#[derive(Debug)]
pub struct Publication<'a> {
    /// The archive.
    pub archive: &'a FilePath,
    /// Its armored detached signature.
    pub signature: &'a [u8],
    /// The keys of those who signed. A key that the site has already need not be given again.
    pub certificates: &'a [Certificate],
    /// What happens if the site has other content of the same name, version, os and arch.
    pub on_conflict: OnConflict,
    /// How large the image may be.
    pub limits: Limits,
    /// How the catalog is signed in which the image will be listed, if it will: what is there is verified while the
    /// archive is read, and nothing is written if [`Site::list`] could not go on with it.
    pub catalog: Option<&'a CatalogOptions>,
}

/// What happens if the site has other content under the same name and labels.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnConflict {
    /// Nothing is written: who fetched that version must be able to rely on it.
    #[default]
    Refuse,
    /// The new content replaces the old.
    Replace,
}

/// What was published.
#[derive(Clone, Debug)]
pub struct Published {
    /// The image's name.
    pub name: Name,
    /// Its labels.
    pub labels: Labels,
    /// Its image ID.
    pub id: ImageId,
    /// Where the archive is on the web.
    pub archive_url: String,
    /// Where its page is on the web.
    pub page_url: String,
    /// Whether a reference without version means this image now.
    pub is_latest: bool,
    /// Whether the name is discovered at this site. If not, only clients that use the site as a mirror find it.
    pub is_own: bool,
    /// Whether somebody began to take images of this name away and came to no end: [`Site::finish_removals`] does.
    pub is_unfinished: bool,
    /// The files that were written, in their order; none if all were there.
    pub written: Vec<String>,
}

impl Site {
    /// Checks an image and puts it, its signature, its publisher's keys and its pages in place.
    ///
    /// The archive must be a valid image with a `version` label, and the signature must verify with one of the given
    /// keys or of those that the site has for the name. What is there already is not written again.
    pub async fn publish(&self, publication: Publication<'_>) -> Result<Published, Error> {
        self.put_image(publication, None).await
    }

    /// Publishes an archive, of which `inside` says what is in it if it is encrypted.
    pub(crate) async fn put_image(
        &self,
        publication: Publication<'_>,
        inside: Option<&Inside>,
    ) -> Result<Published, Error> {
        let catalog = publication.catalog;
        let (candidate, ()) = tokio::join!(self.check(&publication, inside), self.read_ahead(catalog));
        let mut candidate = candidate?;
        if catalog.is_some() {
            self.check_catalog(&candidate.record.name, catalog).await?;
        }
        let paths = self.layout.archive(&candidate.record);
        let there = self.read_record(&paths.record).await?;
        self.check_conflict(&mut candidate.record, there.as_ref(), &paths, publication.on_conflict)?;

        let mut written = Vec::new();
        let name = candidate.record.name.clone();
        let replaced = self.packs_replaced(there.as_ref(), &candidate.record, &paths).await?;
        self.write_ground(&name, publication.certificates, &mut written).await?;
        self.write_archive(&candidate, there.as_ref(), &paths, &mut written)
            .await?;
        let settled = self.settle(&candidate.record, &mut written).await?;
        self.remove_unused(replaced).await?;

        let record = candidate.record;
        Ok(Published {
            archive_url: self.layout.base().join(paths.archive.as_ref()),
            page_url: self.layout.page_url(&name),
            is_own: self.layout.is_own(&name),
            name,
            labels: record.labels,
            id: record.id,
            is_latest: settled.is_latest,
            is_unfinished: settled.is_unfinished,
            written,
        })
    }

    /// All that can be known before anything is written.
    async fn check(&self, publication: &Publication<'_>, inside: Option<&Inside>) -> Result<Candidate, Error> {
        let candidate = self.read_candidate(publication, inside).await?;
        let name = &candidate.record.name;
        self.layout.check_name(name)?;
        if let Some(rival) = self.layout.rival(name) {
            let listing = self.files.list(&self.layout.archives(&rival), |_| true).await?;
            if !listing.files.is_empty() || !listing.folders.is_empty() {
                return Err(Error::PageTaken {
                    name: name.clone(),
                    other: rival,
                });
            }
        }
        Ok(candidate)
    }

    /// Reads and verifies the catalog of names under the base, in which the image will be listed if it is one of them,
    /// before its name is known. What is wrong with it is told when it is.
    async fn read_ahead(&self, catalog: Option<&CatalogOptions>) {
        if let (Some(base), Some(_)) = (self.layout.base().name(), catalog) {
            let _ = self.check_catalog(base, catalog).await;
        }
    }

    async fn read_candidate(&self, publication: &Publication<'_>, inside: Option<&Inside>) -> Result<Candidate, Error> {
        let path = publication.archive.to_owned();
        let inside = inside.cloned();
        let signature = publication.signature.to_vec();
        let mut certificates = publication.certificates.to_vec();
        if certificates.is_empty() {
            let name = match &inside {
                None => name_in(&path)?,
                Some(Inside::File { image, .. }) => name_in(image)?,
                Some(Inside::Record(record)) => record.name.clone(),
            };
            certificates = keys::read(&self.files, &self.layout.keys(&name)).await?;
        }
        let limits = publication.limits;
        tokio::task::spawn_blocking(move || Candidate::check(&path, inside.as_ref(), &signature, &certificates, limits))
            .await
            .expect("checking an archive does not panic")
    }

    /// Compares with what is published under the same path. An archive that is there keeps its date.
    fn check_conflict(
        &self,
        record: &mut Record,
        there: Option<&Record>,
        paths: &ArchivePaths,
        on_conflict: OnConflict,
    ) -> Result<(), Error> {
        let Some(there) = there else { return Ok(()) };
        if !there.is_same_version(record) {
            return Err(Error::PathTaken {
                name: record.name.clone(),
                labels: record.labels.to_string(),
                other_labels: there.labels.to_string(),
                path: paths.archive.to_string(),
            });
        }
        if there.archive == record.archive {
            record.published = there.published;
            record.torrent.clone_from(&there.torrent);
            record.recipe.clone_from(&there.recipe);
            record.yanked.clone_from(&there.yanked);
        } else if on_conflict == OnConflict::Refuse && there.id == record.id && there.encryption != record.encryption {
            return Err(Error::OtherRecipients {
                name: record.name.clone(),
                labels: record.labels.to_string(),
            });
        } else if on_conflict == OnConflict::Refuse {
            return Err(Error::Conflict {
                name: record.name.clone(),
                labels: record.labels.to_string(),
                published: Box::new(there.id),
                offered: Box::new(record.id),
            });
        }
        Ok(())
    }

    /// Writes what pages of the name will refer to beside archives: keys, and each other. As soon as there is a
    /// folder for the name, another publisher may link to its page.
    async fn write_ground(
        &self,
        name: &Name,
        certificates: &[Certificate],
        written: &mut Vec<String>,
    ) -> Result<(), Error> {
        let (keys, no_jekyll) = (self.layout.keys(name), self.layout.no_jekyll());
        if keys::add(&self.files, &keys, certificates).await? {
            written.push(keys.to_string());
        }
        if self.files.write(&no_jekyll, "").await? {
            written.push(no_jekyll.to_string());
        }
        // Every page links to it; it links to none as long as it lists none.
        self.write_missing_names_page().await?;
        for name in self.layout.pages_of(name).iter().rev() {
            self.write_missing_page(name).await?;
        }
        Ok(())
    }

    async fn write_archive(
        &self,
        candidate: &Candidate,
        there: Option<&Record>,
        paths: &ArchivePaths,
        written: &mut Vec<String>,
    ) -> Result<(), Error> {
        let facts = &candidate.record.archive;
        let is_there = there.is_some_and(|there| there.archive == *facts)
            && self.files.size(&paths.archive).await? == Some(facts.size);
        if !is_there {
            if !self.files.upload(&paths.archive, &candidate.path, facts).await? {
                return Err(Error::ArchiveChanged {
                    path: candidate.path.clone(),
                });
            }
            written.push(paths.archive.to_string());
            if there.is_some_and(|there| there.torrent.is_some()) {
                // It brings what was there before.
                self.files.remove(&paths.torrent).await?;
            }
            if there.is_some_and(|there| there.recipe.is_some()) {
                self.remove_recipe(paths).await?;
            }
        }
        if self.files.write(&paths.signature, candidate.signature.clone()).await? {
            written.push(paths.signature.to_string());
        }
        if self.files.write(&paths.record, candidate.record.to_json()).await? {
            written.push(paths.record.to_string());
        }
        Ok(())
    }
}

fn name_in(path: &FilePath) -> Result<Name, Error> {
    let file = std::fs::File::open(path).map_err(|source| Error::ReadArchive {
        path: path.to_owned(),
        source,
    })?;
    let manifest = dhow_image::read_manifest(file).map_err(|source| Error::Archive {
        path: path.to_owned(),
        source,
    })?;
    Ok(manifest.name)
}
