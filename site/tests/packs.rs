//! Packs in a site: every store that a site can be in passes the suite of `dhow-store`.

#![allow(clippy::unwrap_used)]

use std::{cell::Cell, sync::Arc};

use dhow_site::{Files, SitePacks};
use dhow_store::pack::conformance;
use object_store::memory::InMemory;

#[test]
fn a_site_in_a_directory_conforms() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let root = tempfile::tempdir().unwrap();
    let count = Cell::new(0);
    conformance::check(&|| {
        count.set(count.get() + 1);
        let directory = root.path().join(count.get().to_string());
        std::fs::create_dir(&directory).unwrap();
        let files = Files::open_directory(&directory).unwrap();
        Arc::new(SitePacks::new(files, runtime.handle().clone()))
    });
}

#[test]
fn a_site_in_a_bucket_conforms() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    conformance::check(&|| {
        let files = Files::new(Arc::new(InMemory::new()));
        Arc::new(SitePacks::new(files, runtime.handle().clone()))
    });
}
