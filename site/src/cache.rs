//! [`Cache`]: what was read of a site already, so that one command reads it once.
//!
//! A record is taken from here only as long as the listing of its folder has the same entity tag for it. Stores that
//! give no entity tags have their records read each time. A catalog is taken from here only for exactly the same bytes.

use std::{
    collections::{HashMap, HashSet},
    sync::{Arc, Mutex, MutexGuard},
};

use bytes::Bytes;
use dhow_discovery::Catalog;
use dhow_trust::Fingerprint;
use object_store::{ObjectMeta, path::Path};

use crate::Record;

/// What was read of a site. Its clones are one and the same.
#[derive(Clone, Debug, Default)]
pub(crate) struct Cache(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    /// Folders of names, and in each the records.
    folders: HashMap<String, HashMap<Path, KnownRecord>>,
    catalog: Option<KnownCatalog>,
}

/// A record, and what the store called the version of the file that it was read from.
#[derive(Clone, Debug)]
pub(crate) struct KnownRecord {
    pub(crate) e_tag: String,
    pub(crate) record: Record,
    /// Whether the index of its folder has it too.
    pub(crate) is_indexed: bool,
}

/// A catalog that was verified.
#[derive(Debug)]
struct KnownCatalog {
    file: Bytes,
    signers: Vec<Fingerprint>,
    catalog: Arc<Catalog>,
}

impl Cache {
    /// The record in a file that was just listed.
    pub(crate) fn record(&self, file: &ObjectMeta) -> Option<Record> {
        let state = self.state();
        let known = state.folders.get(folder(&file.location))?.get(&file.location)?;
        (file.e_tag.as_ref() == Some(&known.e_tag)).then(|| known.record.clone())
    }

    /// How many of these files would have to be read.
    pub(crate) fn missing(&self, files: &[ObjectMeta]) -> usize {
        let state = self.state();
        let is_known = |file: &&ObjectMeta| {
            let known = state.folders.get(folder(&file.location));
            let known = known.and_then(|known| known.get(&file.location));
            known.is_some_and(|known| file.e_tag.as_ref() == Some(&known.e_tag))
        };
        files.len() - files.iter().filter(is_known).count()
    }

    /// Keeps what was read from a file after it was listed.
    pub(crate) fn keep_record(&self, file: &ObjectMeta, record: &Record) {
        if let Some(e_tag) = file.e_tag.clone() {
            let known = KnownRecord {
                e_tag,
                record: record.clone(),
                is_indexed: false,
            };
            self.keep([(file.location.clone(), known)]);
        }
    }

    pub(crate) fn keep(&self, records: impl IntoIterator<Item = (Path, KnownRecord)>) {
        let mut state = self.state();
        for (path, known) in records {
            let folder = state.folders.entry(folder(&path).to_owned()).or_default();
            folder.insert(path, known);
        }
    }

    /// Forgets the records of a folder that are not among those that were just listed.
    pub(crate) fn retain(&self, folder: &Path, listed: &[ObjectMeta]) {
        let folder: &str = folder.as_ref();
        if let Some(known) = self.state().folders.get_mut(folder) {
            let listed: HashSet<&Path> = listed.iter().map(|file| &file.location).collect();
            known.retain(|path, _| listed.contains(path));
        }
    }

    /// All that is known of a folder.
    pub(crate) fn folder(&self, folder: &Path) -> Vec<(Path, KnownRecord)> {
        let (state, folder): (_, &str) = (self.state(), folder.as_ref());
        let known = state.folders.get(folder).into_iter().flatten();
        known.map(|(path, known)| (path.clone(), known.clone())).collect()
    }

    /// What this file says, if it was verified before by keys of these signers.
    pub(crate) fn catalog(&self, file: &Bytes, signers: &[Fingerprint]) -> Option<Arc<Catalog>> {
        let state = self.state();
        let known = state.catalog.as_ref()?;
        (known.file == file && known.signers == signers).then(|| known.catalog.clone())
    }

    pub(crate) fn keep_catalog(&self, file: Bytes, signers: Vec<Fingerprint>, catalog: Arc<Catalog>) {
        self.state().catalog = Some(KnownCatalog { file, signers, catalog });
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().expect("nobody panics who holds it")
    }
}

fn folder(file: &Path) -> &str {
    file.as_ref().rsplit_once('/').map_or("", |(folder, _)| folder)
}
