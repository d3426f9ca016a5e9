//! acidentifier_test.go, acname_test.go.

use dhow_image::{AcName, Name};

const GOOD_IDENTIFIERS: [&str; 12] = [
    "asdf",
    "foo-bar-baz",
    "zab_rab_oof",
    "database",
    "my~database",
    "example.com/database",
    "example.com/~bob/database",
    "example.com/ourapp-1.0.0",
    "sub-domain.example.com/org/product/release-1.0.0",
    "sub-domain.example.com/org/product/~alice/release-1.0.0",
    "blargh",
    "example-ourapp-1-0-0",
];
const BAD_IDENTIFIERS: [&str; 19] = [
    "",
    "BAR",
    "foo#",
    "EXAMPLE.com",
    "foo.com/BAR",
    "/app",
    "app/",
    "-app",
    "app-",
    ".app",
    "app.",
    "_app",
    "app_",
    "~app",
    "app~",
    "Foo",
    "-foo",
    "example-",
    "example.com/app#1",
];
const GOOD_NAMES: [&str; 5] = ["asdf", "foo-bar-baz", "database", "blargh", "example-ourapp-1-0-0"];
const BAD_NAMES: [&str; 17] = [
    "",
    "foo#",
    "example.com",
    "EXAMPLE.com",
    "example/database",
    "example/database-1.0.0",
    "foo.com/BAR",
    "example.com/app_1",
    "/app",
    "app/",
    "-app",
    "app-",
    ".app",
    "app.",
    "Foo",
    "-foo",
    "example-",
];

#[test]
fn identifiers() {
    for text in GOOD_IDENTIFIERS {
        let json = format!("\"{text}\"");
        assert_eq!(Name::new(text).unwrap().as_str(), text);
        let read: Name = serde_json::from_str(&json).unwrap();
        assert_eq!(serde_json::to_string(&read).unwrap(), json);
    }
    for text in BAD_IDENTIFIERS {
        assert!(Name::new(text).is_err(), "{text}");
        assert!(serde_json::from_str::<Name>(&format!("\"{text}\"")).is_err(), "{text}");
    }
    for json in ["", "garbage", "\"~example.com/app1\""] {
        assert!(serde_json::from_str::<Name>(json).is_err(), "{json}");
    }
}

#[test]
fn names() {
    for text in GOOD_NAMES {
        let json = format!("\"{text}\"");
        assert_eq!(AcName::new(text).unwrap().as_str(), text);
        let read: AcName = serde_json::from_str(&json).unwrap();
        assert_eq!(serde_json::to_string(&read).unwrap(), json);
    }
    for text in BAD_NAMES {
        assert!(AcName::new(text).is_err(), "{text}");
        assert!(
            serde_json::from_str::<AcName>(&format!("\"{text}\"")).is_err(),
            "{text}"
        );
    }
    for json in ["", "garbage"] {
        assert!(serde_json::from_str::<AcName>(json).is_err(), "{json}");
    }
}

/// Different on purpose: the specification's implementation takes any run of separators, so that `a//b` and `a/../b`
/// are identifiers to it. Names become paths of URLs and of directories, so such segments are refused here.
#[test]
fn segments_that_are_no_names_are_refused() {
    for text in ["a//b", "a/../b", "a/./b", "a/..-/b/../c"] {
        assert!(Name::new(text).is_err(), "{text}");
    }
    assert!(Name::new("a/.b/..c").is_ok());
}

#[test]
fn identifiers_from_any_text() {
    let cases = [
        ("foo#", "foo"),
        ("FOO", "foo"),
        ("EXAMPLE.com", "example.com"),
        ("foo.com/BAR", "foo.com/bar"),
        ("/app", "app"),
        ("app/", "app"),
        ("-app", "app"),
        ("app-", "app"),
        (".app", "app"),
        ("app.", "app"),
        ("_app", "app"),
        ("app_", "app"),
        ("~app", "app"),
        ("app~", "app"),
        ("app///", "app"),
        ("-/.app..", "app"),
        ("-/app.name-test/-/", "app.name-test"),
        (
            "sub-domain.example.com/org/product/~alice/release-1.0.0",
            "sub-domain.example.com/org/product/~alice/release-1.0.0",
        ),
        // Ours: what no segment may be falls away.
        ("a//b/../c", "a/b/c"),
    ];
    for (text, name) in cases {
        assert_eq!(Name::sanitize(text).unwrap().as_str(), name);
    }
    for text in ["__", "..", "//", "", ".//-"] {
        assert!(Name::sanitize(text).is_err(), "{text}");
    }
}

#[test]
fn names_from_any_text() {
    let cases = [
        ("foo#", "foo"),
        ("EXAMPLE.com", "example-com"),
        ("foo.com/BAR", "foo-com-bar"),
        ("example.com/app_1", "example-com-app-1"),
        ("/app", "app"),
        ("app/", "app"),
        ("-app", "app"),
        ("app-", "app"),
        (".app", "app"),
        ("app.", "app"),
        ("app///", "app"),
        ("-/.app..", "app"),
        ("-/app.name-test/-/", "app-name-test"),
        (
            "sub-domain.example.com/org/product/release-1.0.0",
            "sub-domain-example-com-org-product-release-1-0-0",
        ),
    ];
    for (text, name) in cases {
        assert_eq!(AcName::sanitize(text).unwrap().as_str(), name);
    }
    for text in ["__", "..", "//", "", ".//-"] {
        assert!(AcName::sanitize(text).is_err(), "{text}");
    }
}
