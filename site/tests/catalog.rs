//! The catalog of a site, changed by one publisher and by several at once, in a directory and in buckets of two kinds.

#![allow(clippy::unwrap_used, missing_docs)]

mod common;

use std::{fmt, sync::Arc};

use async_trait::async_trait;
use common::{BOB, Builder, CARLY, base, file, labels, name, publication, signed_by};
use dhow_discovery::{Catalog, SignedCatalog};
use dhow_image::{Labels, Name};
use dhow_site::{CatalogWritten, Error, Listed, OnConflict, OnOtherSigner, Site};
use dhow_trust::SigningKey;
use futures::stream::BoxStream;
use object_store::{
    CopyOptions, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore, PutMode,
    PutMultipartOptions, PutOptions, PutPayload, PutResult, Result as StoreResult, memory::InMemory, path::Path,
};

const URL: &str = "https://example.com";

fn site(store: Arc<dyn ObjectStore>) -> Site {
    Site::open(store, base(URL))
}

/// Publishes a small image of this name and version, and does not list it.
async fn publish_unlisted(site: &Site, image: &str, version: &str, content: &str) -> (Name, Labels) {
    let reference = format!("{image}:{version},os=linux,arch=amd64");
    let builder = Builder::new();
    let image = builder.image(&reference, content);
    let published = common::publish(site, &image).await.unwrap();
    (published.name, published.labels)
}

async fn publish(site: &Site, image: &str, version: &str) -> CatalogWritten {
    let published = publish_unlisted(site, image, version, version).await;
    site.list(&[published], &signed_by(&CARLY)).await.unwrap().remove(0)
}

/// The catalog, if Carly signed it.
async fn catalog(site: &Site) -> Catalog {
    let catalog = file(site, "CATALOG").await.unwrap();
    let signed = SignedCatalog::read(catalog.as_bytes()).unwrap();
    signed
        .verify_lines(&name("example.com"), &[CARLY.certificate()])
        .unwrap();
    signed.danger_read_unverified().unwrap()
}

async fn versions(site: &Site) -> Vec<String> {
    let of = |image: &dhow_discovery::CatalogImage| format!("{}:{}", image.name, image.labels.get("version").unwrap());
    catalog(site).await.images.iter().map(of).collect()
}

#[tokio::test]
async fn a_catalog_lists_what_is_published_and_pages_name_it() {
    let directory = tempfile::tempdir().unwrap();
    for site in [
        Site::open_directory(directory.path(), base(URL)).unwrap(),
        site(Arc::new(InMemory::new())),
    ] {
        // What was published before there was a catalog is in it too, and its pages name it then.
        publish_unlisted(&site, "example.com/old", "0.1.0", "x").await;
        assert!(!file(&site, "old/index.html").await.unwrap().contains("dhow-catalog"));
        let first = publish(&site, "example.com/app", "1.0.0").await;
        assert_eq!((first.images, first.is_new), (2, true));
        assert_eq!(first.url, "https://example.com/CATALOG");
        let second = publish(&site, "example.com/app", "1.1.0").await;
        assert!(second.serial > first.serial);
        let listed = [
            "example.com/app:1.1.0",
            "example.com/app:1.0.0",
            "example.com/old:0.1.0",
        ];
        assert_eq!(versions(&site).await, listed);
        let tag = r#"<meta name="dhow-catalog" content="example.com https://example.com/CATALOG">"#;
        for page in ["index.html", "old/index.html", "app/index.html"] {
            let page = file(&site, page).await.unwrap();
            assert!(page.contains(tag), "{page}");
        }
        // What it says already is not said again, unless one asks.
        let again = publish(&site, "example.com/app", "1.1.0").await;
        assert_eq!((again.is_new, again.serial), (false, second.serial));
        let refreshed = site.refresh_catalogs(Listed::Before, &signed_by(&CARLY)).await.unwrap();
        assert!(refreshed[0].serial > second.serial && refreshed.len() == 1);
        assert_eq!(versions(&site).await, listed);

        let record = &site
            .find(&name("example.com/app"), &labels(&[("version", "1.0.0")]))
            .await
            .unwrap()[0];
        let entry = catalog(&site).await;
        let entry = entry.entry(&record.name, &record.id).unwrap();
        assert_eq!(
            (entry.tar_size, &entry.archive.sha256),
            (record.tar_size, &record.archive.sha256)
        );
    }
}

#[tokio::test]
async fn only_its_own_signer_goes_on_with_a_catalog() {
    let site = site(Arc::new(InMemory::new()));
    publish(&site, "example.com/app", "1.0.0").await;
    let before = catalog(&site).await;
    let published = publish_unlisted(&site, "example.com/app", "1.1.0", "x").await;
    let mut bob = signed_by(&BOB);
    for refused in [
        site.check_catalog(&published.0, Some(&bob)).await.unwrap_err(),
        site.list(std::slice::from_ref(&published), &bob).await.unwrap_err(),
    ] {
        assert!(matches!(refused, Error::CatalogSigner { .. }), "{refused}");
    }
    assert_eq!(catalog(&site).await, before);
    // Who takes it over makes it of the records.
    bob.on_other_signer = OnOtherSigner::Replace;
    let written = site.refresh_catalogs(Listed::Before, &bob).await.unwrap();
    assert!(written[0].serial > before.serial && written[0].images == 2);
    // Both may sign, and then either may go on.
    let mut both = signed_by(&CARLY);
    both.signers.push(SigningKey::Secret(BOB.clone()));
    site.refresh_catalogs(Listed::Before, &both).await.unwrap();
    publish(&site, "example.com/app", "1.2.0").await;
    assert_eq!(catalog(&site).await.images.len(), 3);
}

#[tokio::test]
async fn what_was_altered_is_not_signed() {
    let store = Arc::new(InMemory::new());
    let site = site(store.clone());
    publish(&site, "example.com/app", "1.0.0").await;
    let altered = file(&site, "CATALOG").await.unwrap().replace("1.0.0", "6.6.6");
    let (path, options) = (Path::from("CATALOG"), PutOptions::default());
    store.put_opts(&path, altered.into(), options).await.unwrap();
    let published = publish_unlisted(&site, "example.com/app", "1.1.0", "x").await;
    let error = site.list(&[published], &signed_by(&CARLY)).await.unwrap_err();
    assert!(matches!(error, Error::CatalogSigner { .. }), "{error}");
}

#[tokio::test]
async fn nothing_is_published_that_could_not_be_listed() {
    let directory = tempfile::tempdir().unwrap();
    let site = Site::open_directory(directory.path(), base(URL)).unwrap();
    publish(&site, "example.com/app", "1.0.0").await;
    let builder = Builder::new();
    let image = builder.image("example.com/app:1.1.0,os=linux,arch=amd64", "x");
    let attempt = async |options| {
        let publication = publication(&image, OnConflict::Refuse, Some(&options));
        let published = site.publish(publication).await;
        let record = file(&site, "ACI/example.com/app/1.1.0-linux-amd64.aci.json").await;
        assert_eq!(record.is_some(), published.is_ok());
        published
    };
    let refused = attempt(signed_by(&BOB)).await.unwrap_err();
    assert!(matches!(refused, Error::CatalogSigner { .. }), "{refused}");

    // What was read and verified once is not believed of what somebody has written since.
    let own = signed_by(&CARLY);
    site.check_catalog(&name("example.com/app"), Some(&own)).await.unwrap();
    let (path, honest) = (directory.path().join("CATALOG"), file(&site, "CATALOG").await.unwrap());
    std::fs::write(&path, honest.replace("1.0.0", "6.6.6")).unwrap();
    let refused = attempt(own.clone()).await.unwrap_err();
    assert!(matches!(refused, Error::CatalogSigner { .. }), "{refused}");

    std::fs::write(&path, honest).unwrap();
    let published = attempt(own.clone()).await.unwrap();
    site.list(&[(published.name, published.labels)], &own).await.unwrap();
    assert_eq!(
        versions(&site).await,
        ["example.com/app:1.1.0", "example.com/app:1.0.0"]
    );
}

#[tokio::test]
async fn what_was_yanked_is_no_latest_and_stays_for_those_who_name_it() {
    let site = site(Arc::new(InMemory::new()));
    publish(&site, "example.com/app", "1.0.0").await;
    publish(&site, "example.com/app", "1.1.0").await;
    let app = name("example.com/app");
    let latest = "ACI/example.com/app/latest-linux-amd64.aci";
    let newest = site.find(&app, &labels(&[("version", "1.1.0")])).await.unwrap();
    let options = signed_by(&CARLY);
    let unsigned = site.yank(&newest, Some("it eats data"), None).await.unwrap_err();
    assert!(matches!(unsigned, Error::CatalogUnsigned { .. }), "{unsigned}");
    site.yank(&newest, Some("it eats data"), Some(&options)).await.unwrap();
    let yanked = catalog(&site).await;
    assert_eq!(yanked.images[0].yanked.as_deref(), Some("it eats data"));
    let record = file(&site, &format!("{latest}.json")).await.unwrap();
    assert!(record.contains("1.0.0"), "{record}");
    let page = file(&site, "app/index.html").await.unwrap();
    assert!(page.contains("withdrawn: it eats data"), "{page}");
    // A catalog that is made of the records knows of it too, and publishing it again changes nothing.
    publish(&site, "example.com/app", "1.1.0").await;
    site.refresh_catalogs(Listed::Records, &options).await.unwrap();
    assert_eq!(catalog(&site).await.images, yanked.images);
    assert!(
        file(&site, "ACI/example.com/app/1.1.0-linux-amd64.aci.asc")
            .await
            .is_some()
    );

    let newest = site.find(&app, &labels(&[("version", "1.1.0")])).await.unwrap();
    site.yank(&newest, None, Some(&options)).await.unwrap();
    assert_eq!(catalog(&site).await.images[0].yanked, None);
    assert!(file(&site, &format!("{latest}.json")).await.unwrap().contains("1.1.0"));
}

#[tokio::test]
async fn what_is_unpublished_leaves_nothing() {
    let directory = tempfile::tempdir().unwrap();
    for site in [
        Site::open_directory(directory.path(), base(URL)).unwrap(),
        site(Arc::new(InMemory::new())),
    ] {
        publish(&site, "example.com/team/app", "1.0.0").await;
        publish(&site, "example.com/team/app", "1.1.0").await;
        publish(&site, "example.com/other", "1.0.0").await;
        let (app, options) = (name("example.com/team/app"), signed_by(&CARLY));
        let newest = site.find(&app, &labels(&[("version", "1.1.0")])).await.unwrap();
        site.unpublish(&newest, Some(&options)).await.unwrap();
        assert_eq!(
            versions(&site).await,
            ["example.com/other:1.0.0", "example.com/team/app:1.0.0"]
        );
        let latest = "ACI/example.com/team/app/latest-linux-amd64.aci.json";
        assert!(file(&site, latest).await.unwrap().contains("1.0.0"));
        assert!(
            file(&site, "ACI/example.com/team/app/1.1.0-linux-amd64.aci.asc")
                .await
                .is_none()
        );

        let rest = site.find(&app, &Labels::default()).await.unwrap();
        site.unpublish(&rest, Some(&options)).await.unwrap();
        assert_eq!(versions(&site).await, ["example.com/other:1.0.0"]);
        for gone in [latest, "team/app/index.html", "team/index.html"] {
            assert!(file(&site, gone).await.is_none(), "{gone}");
        }
        let first = file(&site, "index.html").await.unwrap();
        assert!(first.contains("/other/") && !first.contains("/team/"), "{first}");
        let error = site.find(&app, &Labels::default()).await.unwrap_err();
        assert!(matches!(error, Error::NotPublished { .. }), "{error}");
    }
    assert!(!directory.path().join("ACI/example.com/team").exists());
}

/// Each publishes images of its own; a reader checks all the while that the catalog is whole, grows and names no file
/// that is not there. Where a server passes over conditions, an old serial may be seen for a moment.
async fn publish_at_once(grows: bool, open: impl Fn() -> Site + Send + Sync + 'static) {
    const PUBLISHERS: usize = 4;
    const VERSIONS: usize = 4;
    let open = Arc::new(open);
    let publishers: Vec<_> = (0..PUBLISHERS)
        .map(|publisher| {
            let open = open.clone();
            tokio::spawn(async move {
                for version in 0..VERSIONS {
                    let image = format!("example.com/app{}", publisher % 2);
                    publish(&open(), &image, &format!("{publisher}.{version}.0")).await;
                }
            })
        })
        .collect();
    let reader = open();
    let mut serial = 0;
    while !publishers.iter().all(tokio::task::JoinHandle::is_finished) {
        if file(&reader, "CATALOG").await.is_some() {
            let catalog = catalog(&reader).await;
            assert!(catalog.serial >= serial || !grows, "{} after {serial}", catalog.serial);
            serial = catalog.serial;
            for image in catalog.images {
                let version = image.labels.get("version").unwrap();
                for suffix in ["aci", "aci.asc"] {
                    let path = format!("ACI/{}/{version}-linux-amd64.{suffix}", image.name);
                    let path = Path::parse(path).unwrap();
                    reader.files().get(&path, GetOptions::default()).await.unwrap();
                }
            }
        }
        tokio::task::yield_now().await;
    }
    for publisher in publishers {
        publisher.await.unwrap();
    }
    assert_eq!(versions(&reader).await.len(), PUBLISHERS * VERSIONS);
}

#[tokio::test(flavor = "multi_thread")]
async fn of_those_who_publish_into_a_directory_at_once_none_is_forgotten() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().to_owned();
    publish_at_once(true, move || Site::open_directory(&path, base(URL)).unwrap()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn of_those_who_publish_into_a_bucket_at_once_none_is_forgotten() {
    let store = Arc::new(InMemory::new());
    publish_at_once(true, move || site(store.clone())).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nor_into_a_bucket_whose_server_passes_over_conditions() {
    let store = Arc::new(Careless(InMemory::new()));
    publish_at_once(false, move || site(store.clone())).await;
}

/// A store that writes whatever it is given, as some servers do. It takes its time, so that many write at once.
#[derive(Debug)]
struct Careless(InMemory);

impl fmt::Display for Careless {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Careless({})", self.0)
    }
}

#[async_trait]
impl ObjectStore for Careless {
    async fn put_opts(&self, location: &Path, payload: PutPayload, options: PutOptions) -> StoreResult<PutResult> {
        tokio::time::sleep(std::time::Duration::from_millis(2)).await;
        let options = PutOptions {
            mode: PutMode::Overwrite,
            ..options
        };
        self.0.put_opts(location, payload, options).await
    }

    async fn put_multipart_opts(
        &self,
        location: &Path,
        options: PutMultipartOptions,
    ) -> StoreResult<Box<dyn MultipartUpload>> {
        self.0.put_multipart_opts(location, options).await
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> StoreResult<GetResult> {
        self.0.get_opts(location, options).await
    }

    fn delete_stream(&self, locations: BoxStream<'static, StoreResult<Path>>) -> BoxStream<'static, StoreResult<Path>> {
        self.0.delete_stream(locations)
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, StoreResult<ObjectMeta>> {
        self.0.list(prefix)
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> StoreResult<ListResult> {
        self.0.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> StoreResult<()> {
        self.0.copy_opts(from, to, options).await
    }
}

#[tokio::test]
async fn a_catalog_of_another_prefix_has_no_place_among_a_sites_own() {
    let app = Site::open(Arc::new(InMemory::new()), base("https://example.com/app"));
    publish(&app, "example.com/app", "1.0.0").await;
    let carried = file(&app, "CATALOG").await.unwrap();
    let site = site(Arc::new(InMemory::new()));
    publish(&site, "example.com/other", "1.0.0").await;
    let before = file(&site, "CATALOG").await.unwrap();
    assert!(!site.carry_catalog(carried.as_bytes()).await.unwrap());
    assert_eq!(file(&site, "CATALOG").await.unwrap(), before);
    // On one of the same prefix it takes the place of none that is as new.
    assert!(app.carry_catalog(carried.as_bytes()).await.unwrap());
    assert_eq!(file(&app, "CATALOG").await.unwrap(), carried);
}
