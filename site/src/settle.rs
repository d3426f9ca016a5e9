//! What follows from records: the `latest` of a platform, and pages.

use crate::{Error, Record, Site, latest};

/// How a name stands when all is in place.
pub(crate) struct Settled {
    /// Whether the record that changed is of the highest version.
    pub(crate) is_latest: bool,
    /// Whether there are notes of archives that are being taken away.
    pub(crate) is_unfinished: bool,
}

impl Site {
    /// Makes `latest` and the pages right after a record was changed. Its folder is listed once before, and once after
    /// its page was written; where others have published meanwhile, again.
    pub(crate) async fn settle(&self, record: &Record, written: &mut Vec<String>) -> Result<Settled, Error> {
        let name = &record.name;
        let folder = self.folder(name).await?;
        let is_unfinished = !folder.removals.is_empty();
        let mut is_latest = self.write_latest(record, &folder.records, written).await?;
        let highest = highest(record, &folder.records).cloned();
        let page = self.page(name, folder).await?;
        let (was_written, page) = self.put_page(page).await?;
        if was_written {
            written.push(self.layout.page(name).to_string());
        }
        if self::highest(record, &page.records) != highest.as_ref() {
            is_latest = self.write_latest(record, &page.records, written).await?;
        }
        for parent in self.layout.pages_of(name).iter().skip(1) {
            if self.write_page(parent).await? {
                written.push(self.layout.page(parent).to_string());
            }
        }
        if !self.layout.is_own(name) && self.write_first_page().await? {
            written.push(self.layout.first_page().to_string());
        }
        if self.write_names_page(name, !page.records.is_empty()).await? {
            written.push(self.layout.names_page().to_string());
        }
        self.keep_index(name).await?;
        Ok(Settled {
            is_latest,
            is_unfinished,
        })
    }

    /// Makes the `latest` of this image's platform a copy of the highest of these versions. Whether that is this image.
    /// Where no version is left there is no `latest` either.
    pub(crate) async fn write_latest(
        &self,
        record: &Record,
        versions: &[Record],
        written: &mut Vec<String>,
    ) -> Result<bool, Error> {
        let to = self.layout.latest(record);
        let Some(highest) = highest(record, versions) else {
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
}

/// The highest of the versions for the platform of this one.
fn highest<'a>(record: &Record, versions: &'a [Record]) -> Option<&'a Record> {
    latest::highest(
        versions
            .iter()
            .filter(|version| version.platform() == record.platform()),
    )
}
