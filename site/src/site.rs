//! [`Site`]: files and the layout that they have.

use std::{path::Path as FilePath, sync::Arc};

use dhow_image::Name;
use object_store::ObjectStore;

use crate::{
    BaseUrl, Error, Files, Layout,
    cache::Cache,
    folder::{Folder, names_of},
    page::Page,
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

    /// Writes the page of `name`, again and again until it tells of all that is there. Whether it was written.
    pub(crate) async fn write_page(&self, name: &Name) -> Result<bool, Error> {
        let page = self.read_page(Some(name)).await?;
        Ok(self.put_page(page).await?.0)
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
        let page = self.read_page(self.layout.base().name()).await?;
        Ok(self.put_page(page).await?.0)
    }

    /// Writes a page as it was just read from the site, and again until nobody has changed meanwhile what it tells of.
    /// Whether it was written, and what it tells now.
    pub(crate) async fn put_page(&self, mut page: Page) -> Result<(bool, Page), Error> {
        let path = match &page.name {
            Some(name) => self.layout.page(name),
            None => self.layout.first_page(),
        };
        let mut written = false;
        // Where it says all this already, whoever changes something later writes it.
        while self.files.write(&path, page.to_html(&self.layout)).await? {
            written = true;
            let now = self.read_page(page.name.as_ref()).await?;
            let seen = std::mem::replace(&mut page, now);
            if page == seen {
                break;
            }
        }
        Ok((written, page))
    }

    pub(crate) async fn read_page(&self, name: Option<&Name>) -> Result<Page, Error> {
        match name {
            Some(name) => self.page(name, self.folder(name).await?).await,
            None => Ok(Page {
                hosts: self.hosts().await?,
                ..Page::default()
            }),
        }
    }

    /// The page of a name whose folder was just read.
    pub(crate) async fn page(&self, name: &Name, folder: Folder) -> Result<Page, Error> {
        Ok(Page {
            has_catalog: self.has_catalog(name).await?,
            hosts: match self.layout.base().name() == Some(name) {
                true => self.hosts().await?,
                false => Vec::new(),
            },
            name: Some(name.clone()),
            records: folder.records,
            children: folder.children,
        })
    }

    /// The hosts of names that are not under the base.
    async fn hosts(&self) -> Result<Vec<Name>, Error> {
        let mut hosts = names_of(self.files.list(&self.layout.hosts()).await?.common_prefixes, None);
        let own_host = self.layout.base().name().map(Name::host);
        hosts.retain(|host| Some(host.as_str()) != own_host);
        Ok(hosts)
    }
}
