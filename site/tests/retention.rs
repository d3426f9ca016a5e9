//! Versions that are taken away: which, with what, and what is left where somebody is killed on the way.

#![allow(clippy::unwrap_used, missing_docs)]

mod common;

use std::{collections::BTreeSet, sync::Arc};

use common::{Builder, CARLY, Image, base, file, labels, list, name, publish, signed_by, watched::Watched};
use dhow_discovery::SignedCatalog;
use dhow_image::{Labels, Limits, Name};
use dhow_site::{DeltaOptions, Record, Site, SitePacks};
use dhow_store::delta::DeltaHead;
use dhow_trust::SigningKey;
use futures::TryStreamExt;
use object_store::{ObjectStore, ObjectStoreExt, memory::InMemory};

fn open(store: Arc<dyn ObjectStore>) -> Site {
    Site::open(store, base("https://example.com"))
}

fn app() -> Name {
    name("example.com/app")
}

async fn of_version(site: &Site, version: &str) -> Vec<Record> {
    site.find(&app(), &labels(&[("version", version)])).await.unwrap()
}

async fn versions(site: &Site) -> Vec<String> {
    let records = site.versions(&app()).await.unwrap();
    records.iter().map(|record| record.version().to_owned()).collect()
}

/// Publishes an image that can be fetched by difference, and lists it.
async fn list_with_recipe(site: &Site, image: &Image) {
    let published = publish(site, image).await.unwrap();
    let scratch = tempfile::tempdir().unwrap();
    let options = DeltaOptions {
        key: &SigningKey::Secret(CARLY.clone()),
        level: 3,
        limits: Limits::default(),
        scratch: scratch.path(),
    };
    site.publish_delta(&published, &image.archive, &options).await.unwrap();
    let listed = [(published.name, published.labels)];
    site.list(&listed, &signed_by(&CARLY)).await.unwrap();
}

/// Every file of a store.
async fn files(store: &dyn ObjectStore) -> BTreeSet<String> {
    let files = store.list(None).map_ok(|file| file.location.to_string());
    files.try_collect().await.unwrap()
}

/// What pages and the catalog name is there.
async fn check_reader(store: &dyn ObjectStore, site: &Site) {
    let files = files(store).await;
    for page in files.iter().filter(|file| file.ends_with(".html")) {
        let html = file(site, page).await.unwrap();
        for link in html
            .split("href=\"/")
            .skip(1)
            .map(|rest| rest.split('"').next().unwrap())
        {
            let target = match link.is_empty() || link.ends_with('/') {
                true => format!("{link}index.html"),
                false => link.to_owned(),
            };
            assert!(files.contains(&target), "{page} names `{target}`");
        }
    }
    let catalog = file(site, "CATALOG").await.unwrap();
    let catalog = SignedCatalog::read(catalog.as_bytes()).unwrap();
    for image in catalog.danger_read_unverified().unwrap().images {
        let version = image.labels.get("version").unwrap();
        let archive = format!("ACI/{}/{version}-linux-amd64.aci", image.name);
        for file in [format!("{archive}.asc"), archive] {
            assert!(files.contains(&file), "the catalog names `{file}`");
        }
    }
}

/// Nothing is there that nothing tells of.
async fn check_tidy(store: &dyn ObjectStore, site: &Site) {
    check_reader(store, site).await;
    let files = files(store).await;
    let mut packs = BTreeSet::new();
    for file in files.iter().filter(|file| file.starts_with("ACI/")) {
        let Some((stem, suffix)) = file.split_once(".aci") else {
            continue;
        };
        assert!(files.contains(&format!("{stem}.aci.json")), "`{file}` has no record");
        assert_ne!(suffix, ".removed", "{file}");
        if suffix == ".recipe" {
            let recipe = store.get_opts(&file.as_str().into(), Default::default()).await.unwrap();
            let head = DeltaHead::parse(&recipe.bytes().await.unwrap()).unwrap();
            packs.extend(head.packs.iter().map(|pack| SitePacks::path(&pack.id).to_string()));
        }
    }
    let there = files.into_iter().filter(|file| file.starts_with("PACKS/"));
    assert_eq!(there.collect::<BTreeSet<_>>(), packs);
    let catalog = file(site, "CATALOG").await.unwrap();
    let catalog = SignedCatalog::read(catalog.as_bytes()).unwrap();
    let catalog = catalog.danger_read_unverified().unwrap();
    let listed: BTreeSet<_> = catalog.images.iter().map(|image| image.id).collect();
    let mut published = BTreeSet::new();
    for name in site.names().await.unwrap() {
        published.extend(site.versions(&name).await.unwrap().iter().map(|record| record.id));
    }
    assert_eq!(listed, published);
}

fn content(seed: u64) -> String {
    let mut random = fastrand::Rng::with_seed(seed);
    std::iter::repeat_with(|| random.alphanumeric()).take(100_000).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_is_killed_while_taking_away_leaves_what_the_next_one_takes_away() {
    let builder = Builder::new();
    let before = Watched::new(InMemory::new(), usize::MAX);
    let before = Arc::new(before);
    let site = open(before.clone());
    let images: Vec<_> = (0..2)
        .map(|version| {
            let reference = format!("example.com/app:1.{version}.0,os=linux,arch=amd64");
            builder.image(&reference, &content(version))
        })
        .collect();
    for image in &images {
        list_with_recipe(&site, image).await;
    }
    list(
        &site,
        &builder.image("example.com/other:1.0.0,os=linux,arch=amd64", "x"),
    )
    .await;
    check_tidy(&*before, &site).await;
    let next = builder.image("example.com/app:1.2.0,os=linux,arch=amd64", "y");

    let options = signed_by(&CARLY);
    for changes in 0.. {
        let store = Arc::new(Watched::new(before.fork(), changes));
        let site = open(store.clone());
        let newest = of_version(&site, "1.1.0").await;
        let outcome = site.unpublish(&newest, Some(&options)).await;
        check_reader(&*store, &site).await;
        store.revive();
        let site = open(store.clone());
        if outcome.is_ok() {
            check_tidy(&*store, &site).await;
            assert_eq!(versions(&site).await, ["1.0.0"]);
            assert!(changes > 15, "{changes}");
            break;
        }
        match changes % 3 {
            // He who was killed does it again.
            0 => {
                let begun = site.removals(&app(), &labels(&[("version", "1.1.0")])).await.unwrap();
                let records = match begun.is_empty() {
                    true => site
                        .find(&app(), &labels(&[("version", "1.1.0")]))
                        .await
                        .unwrap_or_default(),
                    false => begun,
                };
                site.unpublish(&records, Some(&options)).await.unwrap();
                site.finish_removals(&[app()], Some(&options)).await.unwrap();
                assert_eq!(versions(&site).await, ["1.0.0"], "killed after {changes} changes");
            }
            // Somebody publishes another version.
            1 => {
                // Who is killed before the record is gone has taken nothing away.
                let expected: &[_] = match versions(&site).await.len() {
                    1 => &["1.0.0", "1.2.0"],
                    _ => &["1.0.0", "1.1.0", "1.2.0"],
                };
                assert!(expected.len() == 2 || changes < 2, "killed after {changes} changes");
                list(&site, &next).await;
                site.finish_removals(&[app()], Some(&options)).await.unwrap();
                assert_eq!(versions(&site).await, expected, "killed after {changes} changes");
            }
            // Somebody publishes this one again, without a recipe.
            _ => {
                list(&site, &images[1]).await;
                site.finish_removals(&[app()], Some(&options)).await.unwrap();
                assert_eq!(
                    versions(&site).await,
                    ["1.0.0", "1.1.0"],
                    "killed after {changes} changes"
                );
            }
        }
        check_tidy(&*store, &site).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn packs_go_with_the_last_recipe_that_names_them() {
    let directory = tempfile::tempdir().unwrap();
    let store = Arc::new(InMemory::new());
    for site in [
        open(store.clone()),
        Site::open_directory(directory.path(), base("https://example.com")).unwrap(),
    ] {
        let builder = Builder::new();
        for (version, content) in [
            ("1.0.0", content(1)),
            ("1.1.0", content(1) + "!"),
            ("1.2.0", content(2)),
        ] {
            let reference = format!("example.com/app:{version},os=linux,arch=amd64");
            list_with_recipe(&site, &builder.image(&reference, &content)).await;
        }
        let packs = async || {
            let packs = SitePacks::new(site.files().clone(), tokio::runtime::Handle::current());
            let list = move || dhow_store::pack::Backend::list(&packs).unwrap().len();
            tokio::task::spawn_blocking(list).await.unwrap()
        };
        let options = signed_by(&CARLY);
        assert_eq!(packs().await, 3);
        // The second is made of the first one's pack.
        site.unpublish(&of_version(&site, "1.0.0").await, Some(&options))
            .await
            .unwrap();
        assert_eq!(packs().await, 3);
        site.unpublish(&of_version(&site, "1.1.0").await, Some(&options))
            .await
            .unwrap();
        assert_eq!(packs().await, 1);
        site.unpublish(&of_version(&site, "1.2.0").await, Some(&options))
            .await
            .unwrap();
        assert_eq!(packs().await, 0);
    }
}

#[tokio::test]
async fn what_others_depend_on_is_no_version_too_many() {
    let site = open(Arc::new(InMemory::new()));
    let builder = Builder::new();
    for version in ["1.0.0", "1.1.0", "1.2.0", "1.3.0"] {
        list(&site, &builder.image(&format!("example.com/app:{version}"), version)).await;
    }
    list(
        &site,
        &builder.image_on("example.com/user:1.0.0", &["example.com/app:1.1.0"]),
    )
    .await;
    list(&site, &builder.image_on("example.com/any:1.0.0", &["example.com/app"])).await;
    let retention = async |keep, published: &[Record]| {
        let retention = site.retention(&app(), keep, published).await.unwrap();
        let superfluous: Vec<_> = retention
            .superfluous
            .iter()
            .map(|record| record.version().to_owned())
            .collect();
        let kept: Vec<_> = retention
            .kept
            .iter()
            .map(|kept| format!("{} for {}", kept.record.version(), kept.dependent))
            .collect();
        (superfluous.join(" "), kept.join(" "))
    };
    assert_eq!(retention(4, &[]).await, (String::new(), String::new()));
    let kept = "1.1.0 for example.com/user".to_owned();
    assert_eq!(retention(1, &[]).await, ("1.2.0 1.0.0".to_owned(), kept.clone()));
    // Whoever publishes an old version does not take it away at once.
    let oldest = of_version(&site, "1.0.0").await;
    assert_eq!(retention(1, &oldest).await, ("1.2.0".to_owned(), kept));

    // One that depends on an older one of its own name, and goes itself, keeps nothing.
    let site = open(Arc::new(InMemory::new()));
    list(&site, &builder.image("example.com/app:1.0.0", "x")).await;
    list(
        &site,
        &builder.image_on("example.com/app:1.1.0", &["example.com/app:1.0.0"]),
    )
    .await;
    list(&site, &builder.image("example.com/app:1.2.0", "y")).await;
    let retention = site.retention(&app(), 1, &[]).await.unwrap();
    assert_eq!((retention.superfluous.len(), retention.kept.len()), (2, 0));
    // One that stays for another's sake keeps what it depends on itself.
    list(
        &site,
        &builder.image_on("example.com/user:1.0.0", &["example.com/app:1.1.0"]),
    )
    .await;
    let retention = site.retention(&app(), 1, &[]).await.unwrap();
    assert_eq!((retention.superfluous.len(), retention.kept.len()), (0, 2));
}

#[tokio::test]
async fn one_more_version_of_many_reads_few_records() {
    let store = Arc::new(Watched::new(InMemory::new(), usize::MAX));
    let builder = Builder::new();
    let records = || {
        let read = store.read();
        read.iter().filter(|path| path.as_ref().ends_with(".aci.json")).count()
    };
    let mut most = 0;
    for version in 0..80 {
        let site = open(store.clone());
        records();
        let reference = format!("example.com/app:1.{version}.0,os=linux,arch=amd64");
        list(&site, &builder.image(&reference, "x")).await;
        most = most.max(records());
    }
    // Those that the index lacks, and what is read of this one and of `latest`.
    assert!(most < 30, "{most}");
    let site = open(store.clone());
    let all = versions(&site).await;
    assert_eq!((all.len(), records() < 20), (80, true));

    // The index is no truth: what it says of files that are others now counts for nothing.
    let index = "ACI/example.com/app/RECORDS";
    let text = file(&site, index).await.unwrap();
    let newest = of_version(&site, "1.0.0").await;
    site.yank(&newest, Some("it eats data"), Some(&signed_by(&CARLY)))
        .await
        .unwrap();
    for text in [text, "no index at all\n{}".to_owned(), String::new()] {
        let payload = text.into_bytes().into();
        store
            .put_opts(&index.into(), payload, Default::default())
            .await
            .unwrap();
        let site = open(store.clone());
        assert_eq!(
            of_version(&site, "1.0.0").await[0].yanked.as_deref(),
            Some("it eats data")
        );
        assert_eq!(versions(&site).await, all);
    }
    // It goes with the last version.
    let all = site.find(&app(), &Labels::default()).await.unwrap();
    site.unpublish(&all, Some(&signed_by(&CARLY))).await.unwrap();
    assert_eq!(file(&site, index).await, None);
}

#[tokio::test]
async fn older_versions_have_pages_that_do_not_change() {
    let directory = tempfile::tempdir().unwrap();
    let stores: [Arc<dyn ObjectStore>; 2] = [
        Arc::new(InMemory::new()),
        Arc::new(object_store::local::LocalFileSystem::new_with_prefix(directory.path()).unwrap()),
    ];
    let sites = [
        (open(stores[0].clone()), stores[0].clone()),
        // What a directory is written by is not what it is looked at with.
        (
            Site::open_directory(directory.path(), base("https://example.com")).unwrap(),
            stores[1].clone(),
        ),
    ];
    let builder = Builder::new();
    let pages = [
        "ACI/example.com/app/VERSIONS-1.html",
        "ACI/example.com/app/VERSIONS-2.html",
    ];
    for (site, store) in &sites {
        let mut first = None;
        for version in 0..=150 {
            let reference = format!("example.com/app:1.{version}.0,os=linux,arch=amd64");
            publish(site, &builder.image(&reference, "x")).await.unwrap();
            match version {
                98 => assert_eq!(file(site, pages[0]).await, None),
                99 => first = file(site, pages[0]).await,
                _ => {}
            }
        }
        let (first, page) = (first.unwrap(), file(site, "app/index.html").await.unwrap());
        let now = file(site, pages[0]).await;
        assert_eq!(now.as_ref(), Some(&first), "it was full");
        let rows = |html: &str| html.matches("<th scope=\"row\">").count();
        let second = file(site, pages[1]).await.unwrap();
        assert_eq!((rows(&page), rows(&second), rows(&first)), (51, 50, 50));
        let range = |html: &str, text: &str| html.contains(&format!(">{text}<"));
        assert!(range(&page, "1.99.0 to 1.50.0") && range(&page, "1.49.0 to 1.0.0"));
        assert!(range(&page, "1.100.0") && range(&second, "1.99.0") && range(&first, "1.0.0"));

        // A version among the older ones tells of itself there.
        let old = of_version(site, "1.3.0").await;
        site.yank(&old, Some("it eats data"), None).await.unwrap();
        assert!(file(site, pages[0]).await.unwrap().contains("withdrawn: it eats data"));
        assert!(!file(site, pages[1]).await.unwrap().contains("withdrawn"));
        // A page that somebody took away is made again.
        store.delete(&pages[1].into()).await.unwrap();
        publish(site, &builder.image("example.com/app:2.0.0,os=linux,arch=amd64", "x"))
            .await
            .unwrap();
        assert_eq!(file(site, pages[1]).await, Some(second));

        // Where there are fewer again, no page is left over, and none names what is gone.
        let all = site.find(&app(), &Labels::default()).await.unwrap();
        site.unpublish(&all[..60], None).await.unwrap();
        assert_eq!(file(site, pages[0]).await, None);
        let files = files(&**store).await;
        let html = file(site, "app/index.html").await.unwrap();
        assert_eq!(rows(&html), 92);
        for record in files
            .iter()
            .filter(|file| file.ends_with(".aci.json") && !file.contains("latest"))
        {
            assert!(html.contains(record.strip_suffix(".json").unwrap()), "{record}");
        }
    }
}
