//! Taking images away, to the end also where somebody is killed on the way.
//!
//! ```text
//!   note ──► record ──► latest ──► catalog ──► pages ──► files ──► packs ──► note
//!   put      gone                                        gone      gone      gone
//! ```
//!
//! Without its record an image is in no page or catalog that is made from then on, but its files could be those of
//! somebody who is just publishing. The note (`….aci.removed`: the record, and the packs that its recipe named) says that
//! they are not: whoever finds it goes on where the other ended. Where the image was published again since, only what the
//! new one does not have goes.
//!
//! A pack goes when no recipe of the site names it any more. In a directory a lock keeps everybody from it who is about to
//! write a recipe. In a bucket, whoever has written one looks afterwards whether all its packs are there.

use std::collections::BTreeSet;

use dhow_image::{Labels, Name};
use dhow_store::{delta::DeltaHead, pack::PackId};
use object_store::path::Path;
use serde::{Deserialize, Serialize};

use crate::{
    CatalogOptions, CatalogWritten, Error, Layout, Record, Site, SitePacks, brief::Versioned, catalog::Change,
    contested::Exclusion, folder::Folder, layout::ArchivePaths,
};

/// The note of an image that is being taken away.
#[derive(Debug, Serialize, Deserialize)]
struct Removal {
    record: Record,
    /// The packs that its recipe named, in hex digits.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    packs: Vec<String>,
}

impl Site {
    /// Takes images away: out of `latest`, the catalog and the pages, and then their files and the packs that no other
    /// image needs. If that is interrupted, the next one who takes away an image of the name, or publishes one, ends it.
    pub async fn unpublish(
        &self,
        records: &[Record],
        options: Option<&CatalogOptions>,
    ) -> Result<Vec<CatalogWritten>, Error> {
        let mut names: Vec<Name> = Vec::new();
        for record in records {
            if !names.contains(&record.name) {
                self.check_catalog(&record.name, options).await?;
                names.push(record.name.clone());
            }
        }
        for record in records {
            let paths = self.layout.archive(record);
            if self.files.size(&paths.record).await?.is_none() {
                // Somebody began with it already.
                continue;
            }
            let head = self.files.read(&paths.recipe).await?;
            let head = head.and_then(|bytes| DeltaHead::parse(&bytes).ok());
            let packs = head.into_iter().flat_map(|head| head.packs);
            let removal = Removal {
                record: record.clone(),
                packs: packs.map(|pack| pack.id.to_string()).collect(),
            };
            self.files.write(&paths.removal, removal.to_json()).await?;
            self.files.remove(&paths.record).await?;
        }
        self.finish_removals(&names, options).await
    }

    /// Goes on with taking away what somebody began to take away of these names, if anybody did.
    ///
    /// Only the catalog tells clients. Where there is one, somebody must sign it.
    pub async fn finish_removals(
        &self,
        names: &[Name],
        options: Option<&CatalogOptions>,
    ) -> Result<Vec<CatalogWritten>, Error> {
        let mut removals = Vec::new();
        for name in names {
            let folder = self.folder(name).await?;
            for note in &folder.removals {
                let Some(removal) = self.read_removal(note).await? else {
                    continue;
                };
                self.check_catalog(name, options).await?;
                if !self.is_superseded(&removal, &folder).await? {
                    let _exclusion = self.exclude_from_pages().await?;
                    let highest = self.highest(&removal.record, &self.folder(name).await?).await?;
                    self.write_latest(&removal.record, highest.as_ref(), &mut Vec::new())
                        .await?;
                    removals.push(removal);
                }
            }
        }
        let changes = removals.iter().map(|removal| &removal.record);
        let changes = changes.map(|record| Change::Remove(record.name.clone(), record.labels.clone()));
        let written = match options {
            Some(options) => self.change_catalogs(&changes.collect::<Vec<_>>(), options).await?,
            None => Vec::new(),
        };
        let of_name = |name: &Name| removals.iter().any(|removal| removal.record.name == *name);
        let exclusion = self.exclude_from_pages().await?;
        for name in names.iter().filter(|name| of_name(name)) {
            // Before a file goes, no page names it.
            self.write_page(name, &exclusion).await?;
        }
        drop(exclusion);
        let mut packs = BTreeSet::new();
        for removal in &removals {
            self.remove_archive(&self.layout.archive(&removal.record)).await?;
            packs.extend(removal.packs.iter().filter_map(|pack| pack.parse::<PackId>().ok()));
        }
        self.remove_unused(packs).await?;
        for removal in &removals {
            self.files.remove(&self.layout.archive(&removal.record).removal).await?;
        }
        let exclusion = self.exclude_from_pages().await?;
        for name in names.iter().filter(|name| of_name(name)) {
            let is_there = !self.folder(name).await?.versions.is_empty();
            self.keep_index(name).await?;
            self.remove_folders(name, |name| self.layout.archives(name)).await;
            self.settle_pages(name, is_there, &exclusion).await?;
        }
        Ok(written)
    }

    /// The images of a name that have all of these labels, and which somebody began to take away.
    pub async fn removals(&self, name: &Name, labels: &Labels) -> Result<Vec<Record>, Error> {
        let mut records = Vec::new();
        for note in self.folder(name).await?.removals {
            let removal = self.read_removal(&note).await?;
            records.extend(removal.map(|removal| removal.record));
        }
        records.retain(|record| labels.first_mismatch(&record.labels).is_none());
        Ok(records)
    }

    async fn read_removal(&self, note: &Path) -> Result<Option<Removal>, Error> {
        let Some(json) = self.files.read(note).await? else {
            return Ok(None);
        };
        let removal = serde_json::from_slice(&json).map_err(|source| Error::DamagedRecord {
            location: self.files.location().to_owned(),
            path: note.to_string(),
            source,
        });
        removal.map(Some)
    }

    /// Whether the image was published again. Then what is left of the old one goes.
    async fn is_superseded(&self, removal: &Removal, folder: &Folder) -> Result<bool, Error> {
        let mut versions = folder.versions.iter();
        let same = versions.find(|version| version.is_version(&removal.record.labels));
        let same: Vec<_> = same.into_iter().cloned().collect();
        let Some(record) = self.records(&folder.path, &same).await?.pop() else {
            return Ok(false);
        };
        let paths = self.layout.archive(&record);
        if record.torrent.is_none() {
            self.files.remove(&paths.torrent).await?;
        }
        if record.recipe.is_none() {
            self.remove_recipe(&paths).await?;
        }
        let packs = removal.packs.iter().filter_map(|pack| pack.parse().ok());
        self.remove_unused(packs.collect()).await?;
        self.files.remove(&paths.removal).await?;
        Ok(true)
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

    /// Takes away those of the packs that no recipe names.
    pub(crate) async fn remove_unused(&self, mut packs: BTreeSet<PackId>) -> Result<(), Error> {
        if packs.is_empty() {
            return Ok(());
        }
        let _exclusion = self.files.exclude_others(&self.layout.packs_lock()).await?;
        for file in self.files.list_below(&self.layout.hosts()).await? {
            if !Layout::is_recipe(&file.location) {
                continue;
            }
            let Some(bytes) = self.files.read(&file.location).await? else {
                continue;
            };
            // What cannot be read may be from a later version, and names packs that are needed.
            let Ok(head) = DeltaHead::parse(&bytes) else {
                return Ok(());
            };
            for pack in head.packs {
                packs.remove(&pack.id);
            }
        }
        for pack in &packs {
            self.files.remove(&SitePacks::path(pack)).await?;
        }
        Ok(())
    }

    /// Writes the pages of a name, and takes away those that tell of nothing any more, when no other names them. That of
    /// the base stays.
    async fn settle_pages(&self, name: &Name, is_there: bool, exclusion: &Exclusion) -> Result<(), Error> {
        let pages = self.layout.pages_of(name);
        self.write_names_page(name, is_there, exclusion).await?;
        if !self.layout.is_own(name) {
            self.write_first_page(exclusion).await?;
        }
        let mut idle = Vec::new();
        for page in pages.iter().rev() {
            let files = self.files.list_below(&self.layout.archives(page)).await?;
            let is_used = files
                .iter()
                .any(|file| Layout::name_of_record(&file.location).is_some());
            if is_used || self.layout.base().name() == Some(page) {
                self.write_page(page, exclusion).await?;
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

impl Removal {
    fn to_json(&self) -> Vec<u8> {
        let mut json = serde_json::to_vec_pretty(self).expect("a note has only text keys");
        json.push(b'\n');
        json
    }
}
