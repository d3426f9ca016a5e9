//! [`Cache`]: what was read of a site already, so that one command reads it once.
//!
//! A record is taken from here only as long as the listing of its folder has the same entity tag for it. Stores that
//! give no entity tags have their records read each time. A catalog is taken from here only for exactly the same bytes.

use std::{
    collections::{HashMap, HashSet},
    sync::{Arc, Mutex, MutexGuard},
};

use bytes::Bytes;
use dhow_discovery::CatalogLines;
use dhow_image::Name;
use dhow_trust::Fingerprint;
use object_store::path::Path;

use crate::{contested::Versioned, folder::VersionFile, listing::ListedFile};

/// What was read of a site. Its clones are one and the same.
#[derive(Clone, Debug, Default)]
pub(crate) struct Cache(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    folders: HashMap<Path, KnownFolder>,
    catalog: Option<KnownCatalog>,
}

/// What is known of the folder of a name.
#[derive(Debug, Default)]
struct KnownFolder {
    /// The versions, by the name of their file, and whether the index has them too.
    versions: HashMap<String, (Arc<VersionFile>, bool)>,
    /// Of what the pages of older versions were made.
    pages: Vec<String>,
    /// That, as the index has it.
    indexed_pages: Vec<String>,
}

/// All that is known of a folder.
pub(crate) struct Known {
    pub(crate) versions: Vec<Arc<VersionFile>>,
    /// How many of them the index does not have.
    pub(crate) loose: usize,
    pub(crate) pages: Vec<String>,
    /// Whether the index knows of these pages.
    pub(crate) has_pages: bool,
}

/// A catalog that was verified.
#[derive(Debug)]
struct KnownCatalog {
    file: Versioned,
    signers: Vec<Fingerprint>,
    catalog: Arc<CatalogLines>,
}

impl Cache {
    /// The versions in files that were just listed, as far as they are known.
    pub(crate) fn versions(&self, folder: &Path, files: &[ListedFile]) -> Vec<Option<Arc<VersionFile>>> {
        let state = self.state();
        let known = state.folders.get(folder);
        files.iter().map(|file| known?.version(file).cloned()).collect()
    }

    /// Whether anything is known of a folder.
    pub(crate) fn has(&self, folder: &Path) -> bool {
        self.state().folders.contains_key(folder)
    }

    /// How many of these files would have to be read.
    pub(crate) fn missing(&self, folder: &Path, files: &[ListedFile]) -> usize {
        match self.state().folders.get(folder) {
            Some(known) => files.iter().filter(|file| known.version(file).is_none()).count(),
            None => files.len(),
        }
    }

    /// Keeps versions, and whether the index of their folder has them. Those without an entity tag are read each time.
    pub(crate) fn keep(&self, folder: &Path, versions: impl IntoIterator<Item = (Arc<VersionFile>, bool)>) {
        let mut state = self.state();
        let known = state.folders.entry(folder.clone()).or_default();
        let versions = versions.into_iter().filter(|(version, _)| version.e_tag.is_some());
        let versions = versions.map(|(version, is_indexed)| (version.file.clone(), (version, is_indexed)));
        known.versions.extend(versions);
    }

    /// Forgets the versions of a folder that are not among those that were just listed.
    pub(crate) fn retain(&self, folder: &Path, listed: &[ListedFile]) {
        if let Some(known) = self.state().folders.get_mut(folder) {
            let listed: HashSet<&str> = listed.iter().map(|file| file.name.as_str()).collect();
            known.versions.retain(|file, _| listed.contains(file.as_str()));
        }
    }

    /// Of what the pages of older versions were made.
    pub(crate) fn pages(&self, folder: &Path) -> Vec<String> {
        let state = self.state();
        state
            .folders
            .get(folder)
            .map(|known| known.pages.clone())
            .unwrap_or_default()
    }

    /// Keeps that, and whether the index of the folder has it.
    pub(crate) fn keep_pages(&self, folder: &Path, pages: Vec<String>, is_indexed: bool) {
        let mut state = self.state();
        let known = state.folders.entry(folder.clone()).or_default();
        if is_indexed {
            known.indexed_pages.clone_from(&pages);
        }
        known.pages = pages;
    }

    /// All that is known of a folder.
    pub(crate) fn folder(&self, folder: &Path) -> Known {
        let state = self.state();
        let known = state.folders.get(folder);
        let versions = known.into_iter().flat_map(|known| known.versions.values());
        let loose = versions.clone().filter(|(_, is_indexed)| !is_indexed).count();
        Known {
            versions: versions.map(|(version, _)| version.clone()).collect(),
            loose,
            pages: known.map(|known| known.pages.clone()).unwrap_or_default(),
            has_pages: known.is_none_or(|known| known.pages == known.indexed_pages),
        }
    }

    /// The file of the catalog of this prefix, as it was read last.
    pub(crate) fn catalog_file(&self, prefix: &Name) -> Option<Versioned> {
        let state = self.state();
        let known = state.catalog.as_ref()?;
        (known.catalog.prefix() == prefix).then(|| known.file.clone())
    }

    /// What this file says, if it was verified before by keys of these signers.
    pub(crate) fn catalog(&self, file: &Bytes, signers: &[Fingerprint]) -> Option<Arc<CatalogLines>> {
        let state = self.state();
        let known = state.catalog.as_ref()?;
        (known.file.content == *file && known.signers == signers).then(|| known.catalog.clone())
    }

    pub(crate) fn keep_catalog(&self, file: Versioned, signers: Vec<Fingerprint>, catalog: Arc<CatalogLines>) {
        self.state().catalog = Some(KnownCatalog { file, signers, catalog });
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().expect("nobody panics who holds it")
    }
}

impl KnownFolder {
    fn version(&self, file: &ListedFile) -> Option<&Arc<VersionFile>> {
        let (version, _) = self.versions.get(&file.name)?;
        (file.e_tag.is_some() && file.e_tag == version.e_tag).then_some(version)
    }
}
