//! ackind_test.go, semver_test.go, date_test.go, url_test.go, hash_test.go, uuid_test.go.

use dhow_image::{AcKind, AcVersion, ImageId, ImageManifest, Timestamp};
use serde_json::json;

#[test]
fn kinds() {
    for json in ["\"ImageManifest\"", "\"PodManifest\""] {
        let kind: AcKind = serde_json::from_str(json).unwrap();
        assert_eq!(serde_json::to_string(&kind).unwrap(), json);
    }
    for json in [
        "ImageManifest",
        "\"garbage\"",
        "\"AppManifest\"",
        "\"\"",
        "\"Foo\"",
        "\"ApplicationManifest\"",
    ] {
        assert!(serde_json::from_str::<AcKind>(json).is_err(), "{json}");
    }
}

#[test]
fn versions() {
    for json in ["\"1.0.0\"", "\"3.2.1\"", "\"3.2.1-foo\"", "\"1.2.3-alpha+git\""] {
        let version: AcVersion = serde_json::from_str(json).unwrap();
        assert_eq!(serde_json::to_string(&version).unwrap(), json);
    }
    for json in ["\"1\"", "\"1.2.3.4\"", "1.2.3", "\"v1.2.3\"", "\"0.0.0\"", "\"\""] {
        assert!(serde_json::from_str::<AcVersion>(json).is_err(), "{json}");
    }
}

#[test]
fn dates() {
    let cases = [
        ("2004-05-14T23:11:14+00:00", 1_084_576_274),
        ("2001-02-03T04:05:06Z", 981_173_106),
        ("2014-11-14T17:36:54-08:00", 1_416_015_414),
    ];
    for (text, seconds) in cases {
        let date: Timestamp = serde_json::from_value(json!(text)).unwrap();
        assert_eq!(date.as_datetime().timestamp(), seconds, "{text}");
    }
    let bad = [
        "not a json string",
        "2014-11-14T17:36:54-08:00",
        "\"garbage\"",
        "\"1416015188\"",
        "\"Fri Nov 14 17:53:02 PST 2014\"",
        "\"2014-11-1417:36:54\"",
        // types.md asks for the `T`, which RFC 3339 itself lets applications leave out.
        "\"2014-11-14 17:36:54-08:00\"",
    ];
    for json in bad {
        assert!(serde_json::from_str::<Timestamp>(json).is_err(), "{json}");
    }
}

/// URLs stand in the annotations `homepage` and `documentation` only.
#[test]
fn urls() {
    let with = |url: &str| {
        let manifest = json!({"acKind": "ImageManifest", "acVersion": "0.8.11", "name": "example.com/test",
                              "annotations": [{"name": "homepage", "value": url}]});
        ImageManifest::from_json(manifest.to_string().as_bytes())
    };
    let good = [
        "http://foo.com",
        "http://foo.com/huh/what?is=this",
        "https://example.com/bar",
        "http://yis.com/hello?goodbye=yes",
        "https://ohai.net",
    ];
    for url in good {
        let again = with(url).unwrap().to_json().unwrap();
        assert!(String::from_utf8(again).unwrap().contains(&format!("\"{url}\"")));
    }
    for url in [
        "ftp://foo.com",
        "unix:///hello",
        "badjson",
        "ftp://example.com",
        "unix://file.net",
        "not a url",
    ] {
        assert!(with(url).is_err(), "{url}");
    }
}

/// Different on purpose: the specification's implementation takes any text after `sha512-`. types.md says that it is
/// the hex digest, and an image ID that is none can match no image.
#[test]
fn hashes() {
    let whole = format!("\"sha512-{}\"", "06c733b1".repeat(16));
    let id: ImageId = serde_json::from_str(&whole).unwrap();
    assert_eq!(serde_json::to_string(&id).unwrap(), whole);
    for text in ["sha512-abcdefghi", "sha512-06c733b1838136838e6d2d3e8fa5aea4c7905e92"] {
        assert!(text.parse::<ImageId>().is_err(), "{text}");
    }
    for text in ["sha512-", "sha1-abcdef", "-abcdef", "-", ""] {
        assert!(text.parse::<ImageId>().is_err(), "{text}");
    }
}

/// Pods are named by the crate `uuid`; this holds it to the specification's cases.
#[test]
fn uuids() {
    let cases = [
        (
            "6733C088-A507-4694-AABF-EDBE4FC5266F",
            "6733c088-a507-4694-aabf-edbe4fc5266f",
        ),
        (
            "6733C088A5074694AABFEDBE4FC5266F",
            "6733c088-a507-4694-aabf-edbe4fc5266f",
        ),
        (
            "0aaf0a79-1a39-4d59-abbf-1bebca8209d2",
            "0aaf0a79-1a39-4d59-abbf-1bebca8209d2",
        ),
        (
            "0aaf0a791a394d59abbf1bebca8209d2",
            "0aaf0a79-1a39-4d59-abbf-1bebca8209d2",
        ),
    ];
    for (text, canonical) in cases {
        assert_eq!(uuid::Uuid::parse_str(text).unwrap().to_string(), canonical);
    }
    for text in ["asdf", "0AAF0A79-1A39-4D59-ABBF-1BEBCA8209D2ABC", ""] {
        assert!(uuid::Uuid::parse_str(text).is_err(), "{text}");
    }
}
