//! Withdrawing what was published: marking it as not to be used any more, or taking it away.

use dhow_image::{Labels, Name};
use object_store::path::Path;

use crate::{CatalogOptions, CatalogWritten, Error, Layout, Record, Site, catalog::Change, layout::ArchivePaths};

impl Site {
    /// The published images of a name that have all of these labels.
    pub async fn find(&self, name: &Name, labels: &Labels) -> Result<Vec<Record>, Error> {
        let mut records = self.versions(name).await?;
        records.retain(|record| labels.first_mismatch(&record.labels).is_none());
        if records.is_empty() {
            return Err(Error::NotPublished {
                name: name.clone(),
                labels: labels.to_string(),
                location: self.files.location().to_owned(),
            });
        }
        Ok(records)
    }

    /// Marks images as not to be used any more, and why; or, without a reason, takes the mark away. They stay where they
    /// are, for those who ask for exactly their version, but are no `latest` and in no range.
    ///
    /// Only the catalog tells clients. Where there is one, somebody must sign it.
    pub async fn yank(
        &self,
        records: &[Record],
        reason: Option<&str>,
        options: Option<&CatalogOptions>,
    ) -> Result<Vec<CatalogWritten>, Error> {
        let mut images = Vec::new();
        for record in records {
            self.check_catalog(&record.name, options).await?;
            let paths = self.layout.archive(record);
            let mut record = record.clone();
            record.yanked = reason.map(str::to_owned);
            self.files.write(&paths.record, record.to_json()).await?;
            self.write_latest(&record, &paths, &mut Vec::new()).await?;
            images.push((record.name, record.labels));
        }
        let written = match options {
            Some(options) => self.list(&images, options).await?,
            None => Vec::new(),
        };
        for (name, _) in &images {
            self.write_pages(name, &mut Vec::new()).await?;
        }
        Ok(written)
    }

    /// Takes images away: out of `latest`, the catalog and the pages, and then their files. Packs stay: other images may
    /// be made of the same.
    pub async fn unpublish(
        &self,
        records: &[Record],
        options: Option<&CatalogOptions>,
    ) -> Result<Vec<CatalogWritten>, Error> {
        let mut changes = Vec::new();
        for record in records {
            self.check_catalog(&record.name, options).await?;
        }
        for record in records {
            let paths = self.layout.archive(record);
            // Pages and catalogs are made of records: without it, no page tells of the archive any more.
            self.files.remove(&paths.record).await?;
            self.write_latest(record, &paths, &mut Vec::new()).await?;
            changes.push(Change::Remove(record.name.clone(), record.labels.clone()));
        }
        let written = match options {
            Some(options) => self.change_catalogs(&changes, options).await?,
            None => Vec::new(),
        };
        for record in records {
            // Of several versions this is the last that tells of any: before a file goes, no page names it.
            self.write_page(&record.name).await?;
            self.remove_archive(&self.layout.archive(record)).await?;
            self.remove_folders(&record.name, |name| self.layout.archives(name))
                .await;
            self.settle_pages(&record.name).await?;
        }
        Ok(written)
    }

    /// Takes away all files of an archive, the record first.
    pub(crate) async fn remove_archive(&self, paths: &ArchivePaths) -> Result<(), Error> {
        for path in [
            &paths.record,
            &paths.torrent,
            &paths.recipe,
            &paths.recipe_signature,
            &paths.patch,
            &paths.archive,
            &paths.signature,
        ] {
            self.files.remove(path).await?;
        }
        Ok(())
    }

    /// Writes the pages of a name, and takes away those that tell of nothing any more, when no other names them. That of
    /// the base stays.
    async fn settle_pages(&self, name: &Name) -> Result<(), Error> {
        let pages = self.layout.pages_of(name);
        self.write_names_page(name).await?;
        if !self.layout.is_own(name) {
            self.write_first_page().await?;
        }
        let mut idle = Vec::new();
        for page in pages.iter().rev() {
            let files = self.files.list_below(&self.layout.archives(page)).await?;
            let is_used = files.iter().any(|file| Layout::name_of_record(file).is_some());
            if is_used || self.layout.base().name() == Some(page) {
                self.write_page(page).await?;
            } else {
                idle.push(page);
            }
        }
        for page in idle.into_iter().rev() {
            self.files.remove(&self.layout.page(page)).await?;
        }
        self.remove_folders(name, |name| {
            let page = self.layout.page(name);
            let folder = page.as_ref().rsplit_once('/').map_or("", |(folder, _)| folder);
            Path::parse(folder).unwrap_or_default()
        })
        .await;
        Ok(())
    }

    /// Removes the folders of a name and those above that are empty now: in the listing of a directory they would still
    /// be names. Buckets have no empty folders.
    async fn remove_folders(&self, name: &Name, folder: impl Fn(&Name) -> Path) {
        let Some(directory) = self.files.directory() else {
            return;
        };
        for name in name.walk() {
            let folder = folder(&name);
            // What is not empty stays, and what is not there need not go.
            if !folder.as_ref().is_empty() {
                let _ = tokio::fs::remove_dir(directory.join(folder.as_ref())).await;
            }
        }
    }
}
