//! A site as its publisher writes it and as its readers find it, in a directory and in memory.

#![allow(clippy::unwrap_used, missing_docs)]

#[path = "../common/mod.rs"]
mod common;
mod pages;

use std::{
    collections::BTreeSet,
    fs,
    path::{Path as FilePath, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use common::{BOB, Builder, CARLY, Image, base, publish, publish_with, text};
use dhow_image::{Limits, Name};
use dhow_site::{Error, Files, OnConflict, Publication, Published, PublishedTorrent, Site, TorrentOptions};
use dhow_trust::{Certificate, SecretKey, sign};
use futures::TryStreamExt;
use object_store::{GetOptions, ObjectStore, ObjectStoreExt, local::LocalFileSystem, memory::InMemory, path::Path};

/// Runs a test on a directory and on a store that is none.
async fn on_every_store<F: Future<Output = ()>>(test: impl Fn(Arc<dyn ObjectStore>) -> F) {
    let directory = tempfile::tempdir().unwrap();
    test(Arc::new(LocalFileSystem::new_with_prefix(directory.path()).unwrap())).await;
    test(Arc::new(InMemory::new())).await;
}

#[tokio::test]
async fn a_site_has_all_that_discovery_and_verification_need() {
    on_every_store(|store| async move {
        let site = Site::open(store.clone(), base("https://example.com"));
        let builder = Builder::new();
        let image = builder.image("example.com/~team/app:1.2.0,os=linux,arch=amd64", "one");
        let published = publish(&site, &image).await.unwrap();

        let archive = "ACI/example.com/~team/app/1.2.0-linux-amd64.aci";
        let latest = "ACI/example.com/~team/app/latest-linux-amd64.aci";
        let mut expected = ["pubkeys.gpg", ".nojekyll"].map(str::to_owned).to_vec();
        for archive in [archive, latest] {
            expected.extend(["", ".asc", ".json"].map(|suffix| format!("{archive}{suffix}")));
        }
        let pages = [
            "~team/app/index.html",
            "~team/index.html",
            "index.html",
            "ACI/index.html",
        ];
        expected.extend(pages.map(str::to_owned));
        assert_eq!(
            published.written, expected,
            "in this order, so that nothing names what is not there yet"
        );
        let mut there: Vec<_> = store.list(None).try_collect().await.unwrap();
        there.sort_by(|a, b| a.location.cmp(&b.location));
        expected.sort();
        assert_eq!(
            there.iter().map(|file| file.location.to_string()).collect::<Vec<_>>(),
            expected
        );

        assert_eq!(published.archive_url, format!("https://example.com/{archive}"));
        assert_eq!(published.page_url, "https://example.com/~team/app/");
        assert!(published.is_own && published.is_latest);

        for archive in [archive, latest] {
            let path = Path::parse(archive).unwrap();
            let bytes = store.get(&path).await.unwrap().bytes().await.unwrap();
            assert_eq!(bytes, fs::read(&image.archive).unwrap());
            let signature = text(&site, &format!("{archive}.asc")).await;
            let keys = Certificate::parse_many(text(&site, "pubkeys.gpg").await.as_bytes()).unwrap();
            dhow_trust::verify_with_certificates(&keys, signature.as_bytes(), &bytes[..]).unwrap();
        }

        let page = text(&site, "~team/app/index.html").await;
        let tags = "<meta charset=\"utf-8\">\n\
            <meta name=\"ac-discovery\" content=\"example.com/~team/app \
            https://example.com/ACI/{name}/{version}-{os}-{arch}.{ext}\">\n\
            <meta name=\"ac-discovery-pubkeys\" content=\"example.com/~team/app https://example.com/pubkeys.gpg\">\n";
        assert!(page.contains(tags), "{page}");
        for shown in [
            "1.2.0",
            "linux/amd64",
            &published.id.to_string(),
            "Carly Container &lt;carly@example.com&gt;",
        ] {
            assert!(page.contains(shown), "{shown} in {page}");
        }
        assert!(page.contains(&CARLY.fingerprint().to_string()));
        assert!(page.contains("dhow fetch example.com/~team/app"));
        let parent = text(&site, "index.html").await;
        assert!(parent.contains("<a href=\"/~team/\">example.com/~team</a>"), "{parent}");
        assert!(parent.contains("<a href=\"/ACI/\">"), "{parent}");
        let names = text(&site, "ACI/index.html").await;
        let link = "<a href=\"/~team/app/\">example.com/~team/app</a>";
        assert!(names.contains(link) && names.matches("<li>").count() == 1, "{names}");
        assert!(
            parent.contains("content=\"example.com https://example.com/ACI/{name}/{version}.{ext}\""),
            "{parent}"
        );
    })
    .await;
}

#[tokio::test]
async fn what_is_there_is_not_written_again() {
    on_every_store(|store| async move {
        let site = Site::open(store, base("https://example.com"));
        let builder = Builder::new();
        let image = builder.image("example.com/app:1.0.0,os=linux,arch=amd64", "one");
        publish(&site, &image).await.unwrap();
        assert_eq!(publish(&site, &image).await.unwrap().written, Vec::<String>::new());

        // A second signature of the same archive is no conflict, and the archive stays.
        let again = Image {
            signature: sign(&BOB, fs::File::open(&image.archive).unwrap()).unwrap(),
            ..image
        };
        let error = publish(&site, &again).await.unwrap_err();
        assert!(matches!(error, Error::Signature { .. }), "{error:?}");
        let again = Image {
            certificate: BOB.certificate(),
            ..again
        };
        let written = publish(&site, &again).await.unwrap().written;
        let name = "ACI/example.com/app";
        let expected = [
            "pubkeys.gpg".to_owned(),
            format!("{name}/1.0.0-linux-amd64.aci.asc"),
            format!("{name}/1.0.0-linux-amd64.aci.json"),
            format!("{name}/latest-linux-amd64.aci.asc"),
            format!("{name}/latest-linux-amd64.aci.json"),
            "app/index.html".to_owned(),
        ];
        assert_eq!(written, expected);
        let keys = Certificate::parse_many(text(&site, "pubkeys.gpg").await.as_bytes()).unwrap();
        let fingerprints: BTreeSet<_> = keys.iter().map(Certificate::fingerprint).collect();
        assert_eq!(fingerprints, BTreeSet::from([CARLY.fingerprint(), BOB.fingerprint()]));
        // Keys that the site has need not be given.
        let publication = Publication {
            archive: &again.archive,
            signature: &again.signature,
            certificates: &[],
            on_conflict: OnConflict::Refuse,
            limits: Limits::default(),
            catalog: None,
        };
        assert_eq!(site.publish(publication).await.unwrap().written, Vec::<String>::new());
    })
    .await;
}

#[tokio::test]
async fn another_content_of_a_version_is_refused_unless_asked_for() {
    on_every_store(|store| async move {
        let site = Site::open(store, base("https://example.com"));
        let builder = Builder::new();
        let first = publish(&site, &builder.image("example.com/app:1.0.0", "one"))
            .await
            .unwrap();
        let other = builder.image("example.com/app:1.0.0", "two");
        let error = publish(&site, &other).await.unwrap_err();
        assert!(
            matches!(&error, Error::Conflict { published, .. } if **published == first.id),
            "{error:?}"
        );
        assert!(
            error
                .to_string()
                .contains("`example.com/app` with the labels `version=1.0.0`"),
            "{error}"
        );
        assert_eq!(site.versions(&first.name).await.unwrap()[0].id, first.id);

        let replaced = publish_with(&site, &other, OnConflict::Replace).await.unwrap();
        assert_ne!(replaced.id, first.id);
        assert_eq!(site.versions(&first.name).await.unwrap()[0].id, replaced.id);
        let page = text(&site, "app/index.html").await;
        assert!(page.contains(&replaced.id.to_string()) && !page.contains(&first.id.to_string()));
        assert!(
            text(&site, "ACI/example.com/app/latest.aci.json")
                .await
                .contains(&replaced.id.to_string())
        );

        // The same path, and not the same labels.
        publish(&site, &builder.image("example.com/app:1-linux", "one"))
            .await
            .unwrap();
        let error = publish(&site, &builder.image("example.com/app:1,os=linux", "one"))
            .await
            .unwrap_err();
        assert!(matches!(error, Error::PathTaken { .. }), "{error:?}");
    })
    .await;
}

#[tokio::test]
async fn latest_is_the_highest_version_of_each_platform() {
    on_every_store(|store| async move {
        let site = Site::open(store, base("https://example.com"));
        let builder = Builder::new();
        let mut published = Vec::new();
        for reference in [
            "example.com/app:1.9.0,os=linux,arch=amd64",
            "example.com/app:1.10.0,os=linux,arch=amd64",
            "example.com/app:1.2.0,os=linux,arch=amd64",
            "example.com/app:2.0.0-rc.1,os=linux,arch=amd64",
            "example.com/app:3.0.0,os=linux,arch=i386",
            "example.com/app:0.1.0",
        ] {
            published.push(publish(&site, &builder.image(reference, "x")).await.unwrap());
        }
        assert_eq!(
            published.iter().map(|p| p.is_latest).collect::<Vec<_>>(),
            [true, true, false, false, true, true]
        );
        for (stem, version) in [("latest-linux-amd64", 1), ("latest-linux-i386", 4), ("latest", 5)] {
            let record = text(&site, &format!("ACI/example.com/app/{stem}.aci.json")).await;
            assert!(record.contains(&published[version].id.to_string()), "{stem}: {record}");
        }
        assert_eq!(
            site.versions(&Name::new("example.com/app").unwrap())
                .await
                .unwrap()
                .len(),
            6
        );
        let page = text(&site, "app/index.html").await;
        let rows: Vec<_> = page
            .split("<th scope=\"row\">")
            .skip(1)
            .map(|row| row.split('<').next().unwrap())
            .collect();
        assert_eq!(rows, ["3.0.0", "1.10.0", "1.9.0", "1.2.0", "0.1.0", "2.0.0-rc.1"]);
        let templates: Vec<_> = page.lines().filter(|line| line.contains("\"ac-discovery\"")).collect();
        assert_eq!(
            templates.len(),
            2,
            "only those of which there are images: {templates:?}"
        );
        assert!(
            templates[0].contains("{version}-{os}-{arch}.{ext}"),
            "the most specific first: {templates:?}"
        );
    })
    .await;
}

#[tokio::test]
async fn a_mirror_has_names_of_others_at_their_whole_name() {
    on_every_store(|store| async move {
        let site = Site::open(store, base("https://mirror.example:8443"));
        let builder = Builder::new();
        let image = builder.image_with("other.org/tools/x:1.0.0", "x", &[], &BOB);
        let published = publish(&site, &image).await.unwrap();
        assert!(!published.is_own);
        assert_eq!(published.page_url, "https://mirror.example:8443/other.org/tools/x/");
        publish(&site, &builder.image("mirror.example/own:1.0.0", "y"))
            .await
            .unwrap();

        let page = text(&site, "other.org/tools/x/index.html").await;
        for tag in [
            "content=\"other.org/tools/x https://mirror.example:8443/ACI/{name}/{version}.{ext}\"",
            "content=\"other.org/tools/x https://mirror.example:8443/other.org/pubkeys.gpg\"",
        ] {
            assert!(page.contains(tag), "{tag} in {page}");
        }
        assert!(
            text(&site, "other.org/index.html")
                .await
                .contains("<a href=\"/other.org/tools/\">")
        );
        let first = text(&site, "index.html").await;
        assert!(first.contains("<a href=\"/other.org/\">other.org</a>"), "{first}");
        assert!(first.contains("<a href=\"/own/\">mirror.example/own</a>"), "{first}");
        // Who trusts one publisher is not shown the keys of another.
        let keys = async |path: &str| Certificate::parse_many(text(&site, path).await.as_bytes()).unwrap();
        assert_eq!(keys("other.org/pubkeys.gpg").await, [BOB.certificate()]);
        assert_eq!(keys("pubkeys.gpg").await, [CARLY.certificate()]);

        let rival = builder.image("mirror.example/other.org/a:1", "z");
        let error = publish(&site, &rival).await.unwrap_err();
        assert!(
            matches!(&error, Error::PageTaken { other, .. } if other.as_str() == "other.org"),
            "{error:?}"
        );
    })
    .await;
}

#[tokio::test]
async fn a_base_that_is_no_name_serves_names_of_others() {
    let site = Site::open(Arc::new(InMemory::new()), base("https://[::1]:8443/Mirror"));
    publish(&site, &Builder::new().image("other.org/x:1.0.0", "x"))
        .await
        .unwrap();
    let first = text(&site, "index.html").await;
    assert!(
        first.contains("<a href=\"/Mirror/other.org/\">other.org</a>"),
        "{first}"
    );
    assert!(!first.contains("ac-discovery\""), "{first}");
}

#[tokio::test]
async fn what_nobody_could_use_is_refused_and_nothing_is_written() {
    let store = Arc::new(InMemory::new());
    let site = Site::open(store.clone(), base("https://example.com"));
    let builder = Builder::new();
    let refused = async |image: &Image| publish(&site, image).await.unwrap_err();

    let error = refused(&builder.image("example.com/app", "x")).await;
    assert!(
        error.to_string().contains("`dhow build --label version=1.0.0`"),
        "{error}"
    );
    let error = refused(&builder.image("example.com/app:../../../etc", "x")).await;
    assert!(matches!(error, Error::LabelValue { label: "version", .. }), "{error:?}");
    let error = refused(&builder.image("example.com/app:latest", "x")).await;
    assert!(matches!(error, Error::ReservedVersion { .. }), "{error:?}");
    let error = refused(&builder.image("example.com/index.html:1", "x")).await;
    assert!(matches!(error, Error::ReservedName { .. }), "{error:?}");

    let good = builder.image("example.com/app:1.0.0", "x");
    let stranger = Image {
        certificate: BOB.certificate(),
        ..builder.image("example.com/app:1.0.0", "x")
    };
    assert!(matches!(refused(&stranger).await, Error::Signature { .. }));
    let mut bytes = fs::read(&good.archive).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(&good.archive, bytes).unwrap();
    assert!(matches!(refused(&good).await, Error::Signature { .. }));
    let gone = Image {
        archive: PathBuf::from("/nowhere/app.aci"),
        ..good
    };
    assert_eq!(refused(&gone).await.to_string(), "could not read `/nowhere/app.aci`");

    let text = builder.directory.path().join("text.aci");
    fs::write(&text, "no image").unwrap();
    let signature = sign(&CARLY, fs::File::open(&text).unwrap()).unwrap();
    let text = Image {
        archive: text,
        signature,
        certificate: CARLY.certificate(),
    };
    assert!(matches!(refused(&text).await, Error::Archive { .. }));

    assert_eq!(store.list(None).try_collect::<Vec<_>>().await.unwrap(), []);
}

/// Two publishers and a reader: whenever there is a page, all files that it names are there, and whole.
#[tokio::test(flavor = "multi_thread")]
async fn of_two_who_publish_at_once_nothing_is_lost_and_no_page_names_a_missing_file() {
    let directory = tempfile::tempdir().unwrap();
    let done = Arc::new(AtomicBool::new(false));
    let reader = std::thread::spawn({
        let (root, done) = (directory.path().to_owned(), done.clone());
        move || {
            let mut links = 0;
            while !done.load(Ordering::Relaxed) {
                links += check_links(&root, &root.join("app/index.html"));
                links += check_links(&root, &root.join("index.html"));
                links += check_links(&root, &root.join("ACI/index.html"));
            }
            links
        }
    });
    let publisher = |key: &'static SecretKey, os: &'static str| {
        let path = directory.path().to_owned();
        async move {
            let site = Site::open_directory(&path, base("https://example.com")).unwrap();
            let builder = Builder::new();
            for version in 0..10 {
                let reference = format!("example.com/app:1.{version}.0,os={os},arch=amd64");
                publish(&site, &builder.image_with(&reference, "x", &[], key))
                    .await
                    .unwrap();
                let reference = format!("example.com/{os}{version}:1.0.0");
                publish(&site, &builder.image_with(&reference, "x", &[], key))
                    .await
                    .unwrap();
            }
        }
    };
    for task in [
        tokio::spawn(publisher(&CARLY, "linux")),
        tokio::spawn(publisher(&BOB, "freebsd")),
    ] {
        task.await.unwrap();
    }
    done.store(true, Ordering::Relaxed);
    assert!(reader.join().unwrap() > 100, "the reader was too slow to see anything");

    let site = Site::open_directory(directory.path(), base("https://example.com")).unwrap();
    let page = text(&site, "app/index.html").await;
    assert_eq!(page.matches("<th scope=\"row\">").count(), 20);
    // Those of 21 names, and of the first page.
    assert_eq!(
        check_links(directory.path(), &directory.path().join("ACI/index.html")),
        22
    );
    let first = text(&site, "index.html").await;
    assert_eq!(first.matches("<li>").count(), 21);
}

/// Checks that each link of a page leads to a file, and how many there are.
fn check_links(root: &FilePath, page: &FilePath) -> usize {
    let Ok(html) = fs::read_to_string(page) else { return 0 };
    assert!(html.ends_with("</html>\n"), "a part of a page: {html}");
    let links = html
        .split("href=\"/")
        .chain(html.split("content=\"example.com https://example.com/"))
        .skip(1);
    links
        .map(|rest| rest.split('"').next().unwrap())
        .filter(|link| !link.contains('{') && !link.starts_with('<'))
        .inspect(|link| {
            let file = if link.is_empty() || link.ends_with('/') {
                format!("{link}index.html")
            } else {
                (*link).into()
            };
            assert!(root.join(&file).is_file(), "{} names `{file}`", page.display());
        })
        .count()
}

#[tokio::test]
async fn a_directory_gives_out_nothing_beyond_itself() {
    let outer = tempfile::tempdir().unwrap();
    let root = outer.path().join("site");
    fs::create_dir_all(root.join("inside")).unwrap();
    fs::write(outer.path().join("secret"), "secret").unwrap();
    fs::write(root.join("inside/file"), "public").unwrap();
    std::os::unix::fs::symlink(outer.path().join("secret"), root.join("absolute")).unwrap();
    std::os::unix::fs::symlink("../secret", root.join("relative")).unwrap();
    std::os::unix::fs::symlink("..", root.join("up")).unwrap();
    std::os::unix::fs::symlink("inside/file", root.join("good")).unwrap();
    let made = std::process::Command::new("mkfifo").arg(root.join("pipe")).status();
    assert!(made.unwrap().success());
    let files = Files::open(root.to_str().unwrap()).unwrap();
    let get = async |path: &str| files.get(&Path::parse(path).unwrap(), GetOptions::default()).await;
    for path in [
        "absolute",
        "relative",
        "up/secret",
        "inside",
        "nothing",
        "pipe",
        "inside/file/below",
        &"x".repeat(300),
    ] {
        assert!(
            matches!(get(path).await, Err(Error::NotFound { .. })),
            "{path}: {:?}",
            get(path).await
        );
    }
    assert_eq!(get("good").await.unwrap().bytes().await.unwrap(), "public");
    assert!(
        Files::open("/nowhere/site")
            .unwrap_err()
            .to_string()
            .contains("`/nowhere/site`")
    );
    let url = format!("file://{}", root.display());
    assert!(
        Files::open(&url)
            .unwrap()
            .get(&Path::parse("good").unwrap(), GetOptions::default())
            .await
            .is_ok()
    );
}

async fn publish_torrent(site: &Site, image: &Image) -> (Published, PublishedTorrent) {
    let published = publish(site, image).await.unwrap();
    let options = TorrentOptions {
        trackers: vec!["udp://tracker.example:6969/announce".parse().unwrap()],
        private: false,
    };
    let torrent = site
        .publish_torrent(&published, &image.archive, &options)
        .await
        .unwrap();
    (published, torrent)
}

#[tokio::test]
async fn a_torrent_lies_beside_its_archive_and_pages_name_it_after_the_archive() {
    let builder = Builder::new();
    let site = Site::open(Arc::new(InMemory::new()), base("https://example.com"));
    let image = builder.image("example.com/app:1.0.0,os=linux,arch=amd64", "one");
    let (_, torrent) = publish_torrent(&site, &image).await;
    let archive = "ACI/example.com/app/1.0.0-linux-amd64.aci";
    assert_eq!(torrent.url, format!("https://example.com/{archive}.torrent"));
    for copy in [archive, "ACI/example.com/app/latest-linux-amd64.aci"] {
        let path = Path::parse(format!("{copy}.torrent")).unwrap();
        let file = site.files().get(&path, GetOptions::default()).await.unwrap();
        let metainfo = file.bytes().await.unwrap();
        let text = String::from_utf8_lossy(&metainfo);
        assert!(text.contains("4:name25:app-1.0.0-linux-amd64.aci"), "{text}");
        assert!(
            text.ends_with(&format!("8:url-listl61:https://example.com/{archive}ee")),
            "{text}"
        );
        let record: serde_json::Value =
            serde_json::from_str(&self::text(&site, &format!("{copy}.json")).await).unwrap();
        assert_eq!(record["torrent"]["infoHash"], torrent.info_hash);
    }
    let page = text(&site, "app/index.html").await;
    let tags: Vec<_> = page.lines().filter(|line| line.contains("\"ac-discovery\"")).collect();
    let template = "example.com/ACI/{name}/{version}-{os}-{arch}.{ext}";
    assert_eq!(
        tags,
        [
            format!(r#"<meta name="ac-discovery" content="example.com/app https://{template}">"#),
            format!(r#"<meta name="ac-discovery" content="example.com/app bittorrent://{template}.torrent">"#),
        ]
    );

    // The same again writes nothing, with a torrent or without.
    let (published, torrent) = publish_torrent(&site, &image).await;
    assert_eq!((published.written, torrent.written), (vec![], vec![]));
    assert_eq!(page, text(&site, "app/index.html").await);
}

#[tokio::test]
async fn an_archive_without_a_torrent_takes_the_place_of_one_with_its_torrent() {
    let builder = Builder::new();
    let site = Site::open(Arc::new(InMemory::new()), base("https://example.com"));
    publish_torrent(&site, &builder.image("example.com/app:1.0.0", "one")).await;
    publish(&site, &builder.image("example.com/app:1.1.0", "two"))
        .await
        .unwrap();
    let has = async |path: &str| {
        let path = Path::parse(format!("ACI/example.com/app/{path}.aci.torrent")).unwrap();
        site.files().get(&path, GetOptions::default()).await.is_ok()
    };
    assert!(has("1.0.0").await);
    assert!(
        !has("latest").await,
        "the torrent of 1.0.0 passes for that of the latest"
    );
    publish_with(
        &site,
        &builder.image("example.com/app:1.0.0", "three"),
        OnConflict::Replace,
    )
    .await
    .unwrap();
    assert!(!has("1.0.0").await, "the torrent brings what was replaced");
}
