//! What follows from records: the `latest` of a platform, and pages.

use dhow_image::Name;
use object_store::path::Path;

use crate::{
    Error, Record, Site,
    brief::Versioned,
    contested::Exclusion,
    folder::Folder,
    latest,
    names::contains,
    page::{CHILDREN, HOSTS, item, too_many},
};

/// By this a page names a catalog, if it does.
const CATALOG_TAG: &str = "<meta name=\"dhow-catalog\"";

/// How a name stands when all is in place.
pub(crate) struct Settled {
    /// Whether the record that changed is of the highest version.
    pub(crate) is_latest: bool,
    /// Whether there are notes of archives that are being taken away.
    pub(crate) is_unfinished: bool,
}

impl Site {
    /// Makes `latest` and the pages right after a record was changed. In a directory nobody else writes any meanwhile. In
    /// a bucket the folder is listed once before, and once after its page was written; where others have published
    /// meanwhile, again.
    pub(crate) async fn settle(&self, record: &Record, written: &mut Vec<String>) -> Result<Settled, Error> {
        let name = &record.name;
        let exclusion = self.exclude_from_pages().await?;
        let folder = self.folder(name).await?;
        let is_unfinished = !folder.removals.is_empty();
        let highest = self.highest(record, &folder).await?;
        let mut is_latest = self.write_latest(record, highest.as_ref(), written).await?;
        let page = self.page(name, &folder).await?;
        let (was_written, _) = self.put_page(page, &exclusion).await?;
        if was_written {
            written.push(self.layout.page(name).to_string());
        }
        let mut is_there = !folder.versions.is_empty();
        if matches!(exclusion, Exclusion::Conditions) {
            let folder = self.folder(name).await?;
            is_there = !folder.versions.is_empty();
            let now = self.highest(record, &folder).await?;
            if now != highest {
                is_latest = self.write_latest(record, now.as_ref(), written).await?;
            }
        }
        self.settle_parents(name, &exclusion, written).await?;
        if self.write_names_page(name, is_there, &exclusion).await? {
            written.push(self.layout.names_page().to_string());
        }
        self.keep_index(name).await?;
        Ok(Settled {
            is_latest,
            is_unfinished,
        })
    }

    /// Makes the pages above a name right. Those that have all that this name is for them stay as they are: to list
    /// what is below them costs more, the more that is.
    async fn settle_parents(&self, name: &Name, exclusion: &Exclusion, written: &mut Vec<String>) -> Result<(), Error> {
        let pages = self.layout.pages_of(name);
        for (child, parent) in pages.iter().zip(pages.iter().skip(1)) {
            let page = self.layout.page(parent);
            if !self.names_child(&page, Some(parent), CHILDREN, child).await?
                && self.write_page(parent, exclusion).await?
            {
                written.push(page.to_string());
            }
        }
        if !self.layout.is_own(name) {
            let (page, host) = (self.layout.first_page(), pages.last().unwrap_or(name));
            let first = self.layout.base().name();
            if !self.names_child(&page, first, HOSTS, host).await? && self.write_first_page(exclusion).await? {
                written.push(page.to_string());
            }
        }
        Ok(())
    }

    /// Whether a page, perhaps that of a name, links under this heading to a name, or says that there are too many; and
    /// names the catalog if there is one.
    async fn names_child(&self, page: &Path, of: Option<&Name>, heading: &str, child: &Name) -> Result<bool, Error> {
        let html = self.files.read(page).await?.unwrap_or_default();
        let has_catalog = match of {
            Some(name) => self.has_catalog(name).await?,
            None => false,
        };
        let is_named = contains(&html, &item(child, &self.layout)) || contains(&html, &too_many(heading, &self.layout));
        Ok(is_named && has_catalog == contains(&html, CATALOG_TAG))
    }

    /// Makes the `latest` of this image's platform a copy of the highest version of it. Whether that is this image.
    /// Where no version is left there is no `latest` either.
    pub(crate) async fn write_latest(
        &self,
        record: &Record,
        highest: Option<&Record>,
        written: &mut Vec<String>,
    ) -> Result<bool, Error> {
        let to = self.layout.latest(record);
        let Some(highest) = highest else {
            self.remove_archive(&to).await?;
            return Ok(false);
        };
        let from = self.layout.archive(highest);
        let there = self.read_record(&to.record).await?;
        let is_there = |same: fn(&Record, &Record) -> bool| there.as_ref().is_some_and(|there| same(there, highest));
        if !is_there(|there, highest| there.archive == highest.archive) {
            self.files.copy(&from.archive, &to.archive).await?;
            written.push(to.archive.to_string());
        }
        if !is_there(|there, highest| there.signature == highest.signature) {
            self.files.copy(&from.signature, &to.signature).await?;
            written.push(to.signature.to_string());
        }
        self.copy_torrent(there.as_ref(), highest, &from, &to, written).await?;
        self.copy_recipe(there.as_ref(), highest, &from, &to, written).await?;
        if self.files.write(&to.record, highest.to_json()).await? {
            written.push(to.record.to_string());
        }
        Ok(highest.is_same_version(record))
    }
    /// The highest of a name's versions for the platform of this one.
    pub(crate) async fn highest(&self, record: &Record, folder: &Folder) -> Result<Option<Record>, Error> {
        let versions = folder.versions.iter();
        let highest = latest::highest(versions.filter(|version| version.platform() == record.platform()));
        let highest: Vec<_> = highest.into_iter().cloned().collect();
        Ok(self.records(&folder.path, &highest).await?.pop())
    }
}
