//! [`Site`]: files and the layout that they have.

use std::{path::Path as FilePath, sync::Arc};

use dhow_image::Name;
use object_store::ObjectStore;

use crate::{
    BaseUrl, Error, Files, Layout,
    cache::Cache,
    contested::Exclusion,
    folder::{Folder, names_of},
    older,
    page::{Page, Together},
};

/// A site: what is published, and where.
#[derive(Clone, Debug)]
pub struct Site {
    pub(crate) files: Files,
    pub(crate) layout: Layout,
    pub(crate) cache: Cache,
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
            cache: Cache::default(),
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

    /// Keeps others from writing pages, as far as the store can.
    pub(crate) async fn exclude_from_pages(&self) -> Result<Exclusion, Error> {
        self.files.exclude_others(&self.layout.pages_lock()).await
    }

    /// Writes the page of `name` so that it tells of all that is there. Whether it was written.
    pub(crate) async fn write_page(&self, name: &Name, exclusion: &Exclusion) -> Result<bool, Error> {
        let page = self.read_page(Some(name)).await?;
        Ok(self.put_page(page, exclusion).await?.0)
    }

    /// Writes a page that tells of nothing yet, if there is none.
    pub(crate) async fn write_missing_page(&self, name: &Name) -> Result<(), Error> {
        let page = Page {
            name: Some(name.clone()),
            ..Page::default()
        };
        self.files
            .write_missing(&self.layout.page(name), || page.to_html(&self.layout))
            .await
    }

    /// Writes the first page of a site whose base URL is no name, or of one with names that are not under it.
    pub(crate) async fn write_first_page(&self, exclusion: &Exclusion) -> Result<bool, Error> {
        let page = self.read_page(self.layout.base().name()).await?;
        Ok(self.put_page(page, exclusion).await?.0)
    }

    /// Writes a page as it was just read from the site. Where others cannot be excluded, again and again until nobody has
    /// changed meanwhile what it tells of. Whether it was written, and what it tells now.
    pub(crate) async fn put_page(&self, mut page: Page, exclusion: &Exclusion) -> Result<(bool, Page), Error> {
        let path = match &page.name {
            Some(name) => self.layout.page(name),
            None => self.layout.first_page(),
        };
        let mut written = false;
        loop {
            // No page links to one that is not there.
            let older_written = self.write_older(&page).await?;
            let newest_written = self.files.write(&path, page.to_html(&self.layout)).await?;
            self.remove_older(&page).await?;
            written |= newest_written;
            // Where it says all this already, whoever changes something later writes it.
            if matches!(exclusion, Exclusion::Lock(_)) || !(older_written || newest_written) {
                return Ok((written, page));
            }
            let now = self.read_page(page.name.as_ref()).await?;
            let seen = std::mem::replace(&mut page, now);
            if page == seen {
                return Ok((written, page));
            }
        }
    }

    /// Writes those pages of older versions that are not there, or were made of something else. Whether there were any.
    async fn write_older(&self, page: &Page) -> Result<bool, Error> {
        let Some(name) = page.name.as_ref().filter(|_| !page.older.is_empty()) else {
            return Ok(false);
        };
        let folder = self.layout.archives(name);
        let (known, mut pages, mut written) = (self.cache.pages(&folder), Vec::new(), false);
        for older in page.older.iter().rev() {
            let made_of = older.made_of(name, &self.layout);
            let is_there = page.pages.contains(&older.number);
            if !is_there || made_of.is_none() || made_of.as_ref() != known.get(older.number - 1) {
                let records = self.records(&folder, &older.versions).await?;
                let html = older.to_html(name, &records, &self.layout);
                written |= self
                    .files
                    .write(&self.layout.older_page(name, older.number), html)
                    .await?;
            }
            pages.push(made_of.unwrap_or_default());
        }
        self.cache.keep_pages(&folder, pages, false);
        Ok(written)
    }

    /// Takes away pages of older versions that are too many.
    async fn remove_older(&self, page: &Page) -> Result<(), Error> {
        let Some(name) = &page.name else { return Ok(()) };
        for number in page.pages.range(page.older.len() + 1..) {
            self.files.remove(&self.layout.older_page(name, *number)).await?;
        }
        Ok(())
    }

    pub(crate) async fn read_page(&self, name: Option<&Name>) -> Result<Page, Error> {
        match name {
            Some(name) => self.page(name, &self.folder(name).await?).await,
            None => Ok(Page {
                hosts: self.hosts().await?,
                ..Page::default()
            }),
        }
    }

    /// The page of a name whose folder was just read.
    pub(crate) async fn page(&self, name: &Name, folder: &Folder) -> Result<Page, Error> {
        let (newest, older) = older::split(&folder.versions);
        Ok(Page {
            has_catalog: self.has_catalog(name).await?,
            hosts: match self.layout.base().name() == Some(name) {
                true => self.hosts().await?,
                false => Vec::new(),
            },
            name: Some(name.clone()),
            records: self.records(&folder.path, &newest).await?,
            older,
            pages: folder.pages.clone(),
            all: Together::of(&folder.versions),
            children: folder.children.clone(),
        })
    }

    /// The hosts of names that are not under the base.
    async fn hosts(&self) -> Result<Vec<Name>, Error> {
        let mut hosts = names_of(self.files.list(&self.layout.hosts(), |_| false).await?.folders, None);
        let own_host = self.layout.base().name().map(Name::host);
        hosts.retain(|host| Some(host.as_str()) != own_host);
        Ok(hosts)
    }
}
