//! [`Site`]: files and the layout that they have.

use std::{path::Path as FilePath, sync::Arc};

use dhow_image::Name;
use futures::{StreamExt, TryStreamExt};
use object_store::{ObjectStore, path::Path};

use crate::{BaseUrl, Error, Files, Layout, Record, page::Page};

/// How many small files are read at once.
const READS: usize = 16;

/// A site: what is published, and where.
#[derive(Clone, Debug)]
pub struct Site {
    pub(crate) files: Files,
    pub(crate) layout: Layout,
}

impl Site {
    /// The site whose files are in `store`, served at `base`.
    pub fn open(store: Arc<dyn ObjectStore>, base: BaseUrl) -> Self {
        Self::with_files(Files::new(store), base)
    }

    /// The site in a directory, served at `base`. The directory is made if there is none.
    pub fn open_directory(path: &FilePath, base: BaseUrl) -> Result<Self, Error> {
        std::fs::create_dir_all(path).map_err(|source| Error::Open {
            location: path.display().to_string(),
            source,
        })?;
        Ok(Self::with_files(Files::open_directory(path)?, base))
    }

    /// The site that has these files, served at `base`.
    pub fn with_files(files: Files, base: BaseUrl) -> Self {
        Self {
            files,
            layout: Layout::new(base),
        }
    }

    /// Its files, to read and serve them.
    pub fn files(&self) -> &Files {
        &self.files
    }

    /// Where its files are.
    pub fn layout(&self) -> &Layout {
        &self.layout
    }

    /// What is published under exactly this name.
    pub async fn versions(&self, name: &Name) -> Result<Vec<Record>, Error> {
        let listing = self.files.list(&self.layout.archives(name)).await?;
        let files = listing.objects.into_iter().map(|object| object.location);
        self.read_records(files.collect()).await
    }

    /// Writes the page of `name`, again and again until it tells of all that is there. Whether it was written.
    pub(crate) async fn write_page(&self, name: &Name) -> Result<bool, Error> {
        let mut page = self.read_page(Some(name)).await?;
        let mut written = false;
        loop {
            written |= self
                .files
                .write(&self.layout.page(name), page.to_html(&self.layout))
                .await?;
            let seen = std::mem::replace(&mut page, self.read_page(Some(name)).await?);
            if page == seen {
                return Ok(written);
            }
        }
    }

    /// Writes a page that tells of nothing yet, if there is none.
    pub(crate) async fn write_missing_page(&self, name: &Name) -> Result<(), Error> {
        let page = Page {
            name: Some(name.clone()),
            ..Page::default()
        };
        self.files
            .write_missing(&self.layout.page(name), page.to_html(&self.layout))
            .await
    }

    /// Writes the first page of a site whose base URL is no name, or of one with names that are not under it.
    pub(crate) async fn write_first_page(&self) -> Result<bool, Error> {
        if let Some(base) = self.layout.base().name() {
            return self.write_page(base).await;
        }
        let mut page = self.read_page(None).await?;
        let mut written = false;
        loop {
            written |= self
                .files
                .write(&self.layout.first_page(), page.to_html(&self.layout))
                .await?;
            let seen = std::mem::replace(&mut page, self.read_page(None).await?);
            if page == seen {
                return Ok(written);
            }
        }
    }

    async fn read_page(&self, name: Option<&Name>) -> Result<Page, Error> {
        let mut page = Page {
            name: name.cloned(),
            ..Page::default()
        };
        if let Some(name) = name {
            page.has_catalog = self.files.size(&self.layout.catalog(name)).await?.is_some();
            let listing = self.files.list(&self.layout.archives(name)).await?;
            page.children = folders(listing.common_prefixes, Some(name));
            page.records = self
                .read_records(listing.objects.into_iter().map(|o| o.location).collect())
                .await?;
        }
        if name == self.layout.base().name() {
            let hosts = folders(self.files.list(&self.layout.hosts()).await?.common_prefixes, None);
            let own_host = self.layout.base().name().map(Name::host);
            page.hosts = hosts
                .into_iter()
                .filter(|host| Some(host.as_str()) != own_host)
                .collect();
        }
        Ok(page)
    }

    pub(crate) async fn read_records(&self, files: Vec<Path>) -> Result<Vec<Record>, Error> {
        let records = files
            .into_iter()
            .filter(Layout::is_version_record)
            .map(|path| async move { self.read_record(&path).await });
        futures::stream::iter(records)
            .buffered(READS)
            .try_filter_map(|record| async { Ok(record) })
            .try_collect()
            .await
    }

    pub(crate) async fn read_record(&self, path: &Path) -> Result<Option<Record>, Error> {
        let Some(json) = self.files.read(path).await? else {
            return Ok(None);
        };
        serde_json::from_slice(&json)
            .map(Some)
            .map_err(|source| Error::DamagedRecord {
                location: self.files.location().to_owned(),
                path: path.to_string(),
                source,
            })
    }
}

/// The names whose folders these are, sorted. What is no name was not put there by us.
fn folders(folders: Vec<Path>, parent: Option<&Name>) -> Vec<Name> {
    let name = |folder: &Path| match (folder.filename()?, parent) {
        (last, Some(parent)) => Name::new(format!("{parent}/{last}")).ok(),
        (last, None) => Name::new(last).ok(),
    };
    let mut names: Vec<_> = folders.iter().filter_map(name).collect();
    names.sort();
    names
}
