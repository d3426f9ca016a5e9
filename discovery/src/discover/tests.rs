#![allow(clippy::unwrap_used)]
use std::{collections::HashMap, io, sync::Mutex};

use super::*;
use crate::{PageTags, request::tests::request, tags::PageError};

/// Pages by URL. What is not there answers 404.
#[derive(Default)]
struct Pages {
    answers: HashMap<String, Result<(u16, String), io::ErrorKind>>,
    asked: Mutex<Vec<String>>,
}

impl Pages {
    fn with(mut self, url: &str, tags: &[(&str, &str)]) -> Self {
        let metas: String = tags
            .iter()
            .map(|(name, content)| format!("<meta name=\"{name}\" content=\"{content}\">\n"))
            .collect();
        let html = format!("<!DOCTYPE html>\n<html><head><title>App</title>\n{metas}</head><body>App</body></html>");
        self.answers.insert(format!("{url}?ac-discovery=1"), Ok((200, html)));
        self
    }

    fn with_answer(mut self, url: &str, answer: Result<(u16, String), io::ErrorKind>) -> Self {
        self.answers.insert(format!("{url}?ac-discovery=1"), answer);
        self
    }

    fn asked(&self) -> Vec<String> {
        self.asked
            .lock()
            .unwrap()
            .iter()
            .map(|url| url.replace("?ac-discovery=1", ""))
            .collect()
    }
}

impl PageSource for Pages {
    type Error = io::Error;

    async fn page(&self, url: &Url) -> Result<PageAnswer, io::Error> {
        self.asked.lock().unwrap().push(url.to_string());
        match self.answers.get(url.as_str()) {
            Some(Ok((status, body))) => Ok(PageAnswer {
                status: *status,
                url: url.clone(),
                body: body.clone().into_bytes(),
            }),
            Some(Err(kind)) => Err((*kind).into()),
            None => Ok(PageAnswer {
                status: 404,
                url: url.clone(),
                body: Vec::new(),
            }),
        }
    }
}

const TEMPLATE: (&str, &str) = (
    "ac-discovery",
    "example.com https://storage.example.com/{name}-{version}-{os}-{arch}.{ext}",
);
const SHORT: (&str, &str) = (
    "ac-discovery",
    "example.com https://storage.example.com/{name}-{version}.{ext}",
);
const PUBKEYS: (&str, &str) = ("ac-discovery-pubkeys", "example.com https://example.com/pubkeys.gpg");
const LINUX: &[(&str, &str)] = &[("version", "1.0.0"), ("os", "linux"), ("arch", "amd64")];

async fn endpoints(pages: &Pages, request: &Request) -> Result<Vec<String>, Error> {
    let discovery = discover(pages, request, &Options::https()).await?;
    for endpoint in &discovery.endpoints {
        assert_eq!(endpoint.signature.as_str(), format!("{}.asc", endpoint.archive));
    }
    Ok(discovery
        .endpoints
        .into_iter()
        .map(|endpoint| endpoint.archive.to_string())
        .collect())
}

async fn pubkeys(pages: &Pages, request: &Request) -> Result<Vec<String>, Error> {
    let discovery = discover_pubkeys(pages, request, &Options::https()).await?;
    Ok(discovery.pubkeys.into_iter().map(String::from).collect())
}

/// The cases of appc's discovery tests, on pages of our own.
#[tokio::test]
async fn endpoints_and_keys_are_found_on_the_page_or_its_parents() {
    let app = "https://example.com/app";
    let host = "https://example.com/";
    let archive = "https://storage.example.com/example.com/app-1.0.0-linux-amd64.aci";
    let keys = "https://example.com/pubkeys.gpg";
    let other = (
        "ac-discovery",
        "example.com https://other.example.com/{name}-{version}.{ext}",
    );
    type Case<'a> = (Pages, Option<&'a str>, Option<&'a str>);
    let cases: [Case<'_>; 8] = [
        (
            Pages::default().with(app, &[TEMPLATE, PUBKEYS]),
            Some(archive),
            Some(keys),
        ),
        (
            Pages::default().with(host, &[TEMPLATE, PUBKEYS]),
            Some(archive),
            Some(keys),
        ),
        (
            Pages::default().with("https://example.com/path/out/of/app", &[TEMPLATE, PUBKEYS]),
            None,
            None,
        ),
        (
            Pages::default().with(host, &[TEMPLATE]).with(app, &[PUBKEYS]),
            Some(archive),
            Some(keys),
        ),
        (
            Pages::default().with(host, &[PUBKEYS]).with(app, &[TEMPLATE]),
            Some(archive),
            Some(keys),
        ),
        (Pages::default().with(host, &[TEMPLATE]), Some(archive), None),
        (Pages::default().with(host, &[PUBKEYS]), None, Some(keys)),
        (
            Pages::default().with(host, &[other, PUBKEYS]).with(app, &[TEMPLATE]),
            Some(archive),
            Some(keys),
        ),
    ];
    for (number, (pages, archive, keys)) in cases.into_iter().enumerate() {
        let request = request("example.com/app", LINUX);
        match (endpoints(&pages, &request).await, archive) {
            (Ok(found), Some(archive)) => assert_eq!(found, [archive], "case {number}"),
            (Err(Error::NotFound { .. }), None) => {}
            (result, _) => panic!("case {number}: {result:?}"),
        }
        match (pubkeys(&pages, &request).await, keys) {
            (Ok(found), Some(keys)) => assert_eq!(found, [keys], "case {number}"),
            (Err(Error::NotFound { .. }), None) => {}
            (result, _) => panic!("case {number}: {result:?}"),
        }
    }
}

/// The cases of appc's discovery tests, on pages of our own.
#[tokio::test]
async fn templates_that_lack_a_label_are_passed_over() {
    let pages = Pages::default().with("https://example.com/app", &[TEMPLATE, SHORT]);
    let all = ["https://storage.example.com/example.com/app-1.0.0-linux-amd64.aci"];
    let short = ["https://storage.example.com/example.com/app-1.0.0.aci"];
    let latest = ["https://storage.example.com/example.com/app-latest.aci"];
    assert_eq!(
        endpoints(&pages, &request("example.com/app", &[("version", "1.0.0")]))
            .await
            .unwrap(),
        short
    );
    assert_eq!(
        endpoints(&pages, &request("example.com/app", &[])).await.unwrap(),
        latest
    );
    assert_eq!(
        endpoints(&pages, &request("example.com/app", &[("version", "")]))
            .await
            .unwrap(),
        latest
    );
    assert_eq!(
        endpoints(&pages, &request("example.com/app", LINUX)).await.unwrap(),
        [all, short].concat()
    );

    let hdfs = ("ac-discovery", "example.com hdfs://storage.example.com/{name}.{ext}");
    let pages = Pages::default().with("https://example.com/app", &[hdfs, TEMPLATE]);
    assert_eq!(
        endpoints(&pages, &request("example.com/app", LINUX)).await.unwrap(),
        all,
        "an unknown scheme"
    );
    let Err(Error::NoUsableTemplate { reasons, .. }) = endpoints(&pages, &request("example.com/app", &[])).await else {
        panic!("no template could be used")
    };
    assert_eq!(reasons.len(), 2);
}

#[tokio::test]
async fn the_walk_goes_up_for_4xx_and_for_want_of_tags_and_for_nothing_else() {
    let walked = [
        "https://example.com/a/b",
        "https://example.com/a",
        "https://example.com/",
    ];
    let request = request("example.com/a/b", LINUX);
    for status in [400, 401, 403, 404, 410, 451] {
        let pages = Pages::default()
            .with_answer(walked[0], Ok((status, String::new())))
            .with(walked[2], &[SHORT]);
        assert!(endpoints(&pages, &request).await.is_ok(), "{status}");
        assert_eq!(pages.asked(), walked);
    }
    let foreign = ("ac-discovery", "example.com/a/bb https://evil.example/{name}.{ext}");
    let malformed = ("ac-discovery", "https://evil.example/{name}.{ext}");
    let pages = Pages::default()
        .with(walked[0], &[foreign, malformed])
        .with(walked[1], &[SHORT]);
    assert!(endpoints(&pages, &request).await.is_ok(), "tags for others are no tags");
    assert_eq!(pages.asked(), walked[..2]);

    for status in [500, 503, 301, 304, 100] {
        let pages = Pages::default()
            .with_answer(walked[0], Ok((status, String::new())))
            .with(walked[2], &[SHORT]);
        assert!(
            matches!(endpoints(&pages, &request).await, Err(Error::Status { .. })),
            "{status}"
        );
        assert_eq!(pages.asked(), walked[..1]);
    }
    let pages = Pages::default()
        .with_answer(walked[0], Err(io::ErrorKind::ConnectionReset))
        .with(walked[2], &[SHORT]);
    assert!(matches!(endpoints(&pages, &request).await, Err(Error::Page { .. })));
    let cut = "<html><head><meta name=ac-discovery content='example.com https://e/{name}.{ext}'>".to_owned();
    let pages = Pages::default()
        .with_answer(walked[0], Ok((200, cut)))
        .with(walked[2], &[SHORT]);
    let cut_short = endpoints(&pages, &request).await;
    assert!(matches!(
        cut_short,
        Err(Error::Unreadable {
            source: PageError::CutShort,
            ..
        })
    ));
    assert_eq!(pages.asked(), walked[..1]);
}

#[tokio::test]
async fn prefixes_match_whole_segments() {
    let tag = |prefix: &str| format!("{prefix} https://storage.example.com/{{name}}.{{ext}}");
    let request = request("example.com/foobar", &[]);
    for (prefix, matches) in [
        ("example.com", true),
        ("example.com/", true),
        ("example.com/foobar", true),
        ("example.com/foo", false),
        ("example.com/foobar/x", false),
        ("example.co", false),
        ("ample.com", false),
    ] {
        let content = tag(prefix);
        let pages = Pages::default().with("https://example.com/foobar", &[("ac-discovery", &content)]);
        assert_eq!(endpoints(&pages, &request).await.is_ok(), matches, "{prefix}");
    }
}

#[tokio::test]
async fn endpoints_come_in_the_order_of_preference_then_of_the_page() {
    let tags = [
        ("ac-discovery", "example.com http://one.example/{name}.{ext}"),
        ("ac-discovery", "example.com s3://bucket/{name}.{ext}"),
        ("ac-discovery", "example.com https://two.example/{name}.{ext}"),
        ("ac-discovery", "example.com bittorrent://three.example/{name}.{ext}"),
        ("ac-discovery", "example.com https://four.example/{name}.{ext}"),
    ];
    let pages = Pages::default().with("https://example.com/", &tags);
    let hosts = |discovery: Discovery| -> Vec<String> {
        discovery
            .endpoints
            .iter()
            .map(|endpoint| endpoint.archive.host_str().unwrap().to_owned())
            .collect()
    };
    let request = request("example.com", &[]);
    let https = discover(&pages, &request, &Options::https()).await.unwrap();
    assert_eq!(hosts(https), ["two.example", "four.example"]);
    let http = discover(&pages, &request, &Options::insecure_http()).await.unwrap();
    assert_eq!(hosts(http), ["two.example", "four.example", "one.example"]);
    let more = Options {
        transports: vec![Scheme::Bittorrent, Scheme::S3, Scheme::Https],
    };
    let more = discover(&pages, &request, &more).await.unwrap();
    assert_eq!(hosts(more), ["three.example", "bucket", "two.example", "four.example"]);
}

/// The cases of appc's HTTP tests: HTTPS that does not answer, or has no such page.
#[tokio::test]
async fn plain_http_is_asked_only_where_permitted_and_https_has_no_page() {
    let request = request("example.com/app", LINUX);
    let options = Options::insecure_http();
    let nothings = [
        Err(io::ErrorKind::ConnectionRefused),
        Ok((404, String::new())),
        Ok((503, String::new())),
    ];
    for nothing in nothings {
        let pages = || {
            let pages = Pages::default().with_answer("https://example.com/app", nothing.clone());
            pages.with("http://example.com/app", &[SHORT])
        };
        assert!(discover(&pages(), &request, &Options::https()).await.is_err());
        let pages = pages();
        assert_eq!(discover(&pages, &request, &options).await.unwrap().endpoints.len(), 1);
        assert_eq!(pages.asked(), ["https://example.com/app", "http://example.com/app"]);
    }

    let pages = Pages::default()
        .with("https://example.com/app", &[])
        .with("https://example.com/", &[SHORT])
        .with("http://example.com/app", &[SHORT]);
    discover(&pages, &request, &options).await.unwrap();
    assert_eq!(
        pages.asked(),
        ["https://example.com/app", "https://example.com/"],
        "HTTPS has the page"
    );
}

#[tokio::test]
async fn a_page_of_a_thousand_templates_does_not_make_a_thousand_connections() {
    let content: Vec<String> = (0..1000)
        .map(|n| format!("example.com https://h{n}.example/{{name}}.{{ext}}"))
        .collect();
    let tags: Vec<_> = content
        .iter()
        .map(|content| ("ac-discovery", content.as_str()))
        .collect();
    let pages = Pages::default().with("https://example.com/", &tags);
    assert_eq!(
        endpoints(&pages, &request("example.com", &[])).await.unwrap().len(),
        MAX_URLS
    );
}

#[tokio::test]
async fn key_and_catalog_urls_are_read_and_hostile_ones_ignored() {
    let tags = PageTags {
        prefix: Name::new("example.com").unwrap(),
        templates: vec!["https://e/{name}.{ext}".to_owned()],
        pubkeys: Some("https://example.com/one.gpg".to_owned()),
        catalog: Some((
            Name::new("example.com").unwrap(),
            "https://example.com/CATALOG".to_owned(),
        )),
    };
    let hostile: String = [
        "http://example.com/k",
        "file:///etc/passwd",
        "https://u:p@example.com/k",
        "javascript:alert(1)",
        "k",
        "https://example.com/one.gpg",
        "https://example.com/two.gpg",
    ]
    .iter()
    .map(|url| format!("<meta name=ac-discovery-pubkeys content='example.com {url}'>"))
    .collect();
    let html = format!("<head>{}{hostile}</head>", tags.to_html());
    let pages = Pages::default().with_answer("https://example.com/", Ok((200, html)));
    let found = discover(&pages, &request("example.com", &[]), &Options::https())
        .await
        .unwrap();
    let keys: Vec<_> = found.pubkeys.iter().map(Url::as_str).collect();
    assert_eq!(keys, ["https://example.com/one.gpg", "https://example.com/two.gpg"]);
    assert_eq!(found.catalogs[0].url.as_str(), "https://example.com/CATALOG");
}

#[tokio::test]
async fn the_trace_tells_each_request_tag_and_decision() {
    let s3 = ("ac-discovery", "example.com s3://bucket/{name}.{ext}");
    let escape = (
        "ac-discovery",
        "example.com/other \u{1b}[31mhttps://evil.example/{name}.{ext}",
    );
    let pages = Pages::default().with("https://example.com/", &[s3, escape, SHORT, PUBKEYS]);
    let found = discover(&pages, &request("example.com/app", LINUX), &Options::https())
        .await
        .unwrap();
    let expected = "\
https://example.com/app?ac-discovery=1
├─ status 404
└─ asking the parent path
https://example.com/?ac-discovery=1
├─ status 200
├─ ac-discovery: example.com s3://bucket/{name}.{ext}
│  └─ ignored: `s3` is not supported yet
├─ ac-discovery: example.com/other \u{fffd}[31mhttps://evil.example/{name}.{ext}
│  └─ ignored: `example.com/other` is neither `example.com/app` nor a parent path of it
├─ ac-discovery: example.com https://storage.example.com/{name}-{version}.{ext}
│  └─ https://storage.example.com/example.com/app-1.0.0.aci
├─ ac-discovery-pubkeys: example.com https://example.com/pubkeys.gpg
│  └─ https://example.com/pubkeys.gpg
└─ found";
    assert_eq!(found.trace.to_string(), expected);
    let json = serde_json::to_value(&found).unwrap();
    assert_eq!(
        json["endpoints"][0]["archive"],
        "https://storage.example.com/example.com/app-1.0.0.aci"
    );
    assert_eq!(
        json["trace"][1]["tags"][0]["used"]["ignored"],
        "`s3` is not supported yet"
    );
    assert_eq!(json["trace"][1]["decision"], "found");

    let error = discover(&Pages::default(), &request("example.com/app", LINUX), &Options::https())
        .await
        .unwrap_err();
    assert_eq!(error.trace().0.len(), 2);
    assert_eq!(
        error.to_string(),
        "`example.com/app` was not found: there is no `ac-discovery` tag for it on any page from \
         `https://example.com/app?ac-discovery=1` up to `https://example.com/?ac-discovery=1`"
    );
}
