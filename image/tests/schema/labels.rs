//! labels_test.go.

use dhow_image::{ImageManifest, Labels, ManifestError, Name, Platform};
use serde_json::json;

/// A manifest with these labels.
fn with(labels: &str) -> Result<ImageManifest, ManifestError> {
    let manifest = format!(
        r#"{{"acKind": "ImageManifest", "acVersion": "0.8.11", "name": "example.com/test", "labels": {labels}}}"#
    );
    ImageManifest::from_json(manifest.as_bytes())
}

#[test]
fn operating_systems_and_architectures() {
    // The labels `os` and `arch`, and what Go calls them, where it calls them anything.
    let good = [
        ("linux", "amd64", Some(("linux", "amd64", ""))),
        ("linux", "aarch64", Some(("linux", "arm64", ""))),
        ("linux", "aarch64_be", None),
        ("linux", "armv6l", Some(("linux", "arm", "6"))),
        ("linux", "armv7l", Some(("linux", "arm", "7"))),
        ("linux", "armv7b", None),
        ("linux", "ppc64le", Some(("linux", "ppc64le", ""))),
        ("linux", "ppc64", Some(("linux", "ppc64", ""))),
        ("linux", "s390x", Some(("linux", "s390x", ""))),
        ("freebsd", "amd64", Some(("freebsd", "amd64", ""))),
    ];
    for (os, arch, go) in good {
        let labels = json!([{"name": "os", "value": os}, {"name": "arch", "value": arch}]).to_string();
        let manifest = with(&labels).unwrap();
        let platform = Platform::of(&manifest.labels).unwrap();
        assert_eq!((platform.os, platform.arch), (os, arch));
        assert_eq!(platform.to_oci(), go);
        if let Some((os, architecture, variant)) = go {
            assert_eq!(Platform::from_oci(os, architecture, variant), Some(platform));
        }
    }
    let bad = [
        ("linux", "arm64"),
        ("linux", "arm64_be"),
        ("linux", "arm"),
        ("linux", "ppc64l"),
        ("linux", "ppc64b"),
        ("linux", "ppc64be"),
        ("linux", "S390x"),
        ("OS/360", "S/360"),
        ("freebsd", "armv7b"),
    ];
    for (os, arch) in bad {
        let labels = json!([{"name": "os", "value": os}, {"name": "arch", "value": arch}]).to_string();
        let error = with(&labels).unwrap_err().to_string();
        let expected = if os == "OS/360" {
            format!("`os={os}`")
        } else {
            format!("`arch={arch}`; for `os={os}`")
        };
        assert!(error.contains(&expected), "{error}");
    }
}

#[test]
fn lists() {
    let bad = [
        (r#"[{"name": "name", "value": "x"}]"#, "may not be called `name`"),
        // Different on purpose: a label without a value is one thing more that is wrong.
        (r#"[{"name": "name"}]"#, "`labels[0].value` is missing"),
        (
            r#"[{"name": "os", "value": "linux"}, {"name": "os", "value": "freebsd"}]"#,
            "the label `os` is given twice",
        ),
        (
            r#"[{"name": "arch", "value": "amd64"}, {"name": "os", "value": "freebsd"}, {"name": "arch", "value": "x86_64"}]"#,
            "the label `arch` is given twice",
        ),
    ];
    for (labels, expected) in bad {
        let error = with(labels).unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
    }
    let none = with("[]").unwrap();
    assert!(none.labels.is_empty());
    assert_eq!(Platform::of(&none.labels), None);
}

/// Different on purpose: labels keep the order in which they were given, since it is part of the image.
#[test]
fn made_one_by_one() {
    let mut labels = Labels::default();
    for (name, value) in [("foo", "bar"), ("bar", "baz"), ("baz", "foo"), ("empty", "")] {
        labels.insert(Name::new(name).unwrap(), value).unwrap();
    }
    assert_eq!(labels.to_string(), "foo=bar,bar=baz,baz=foo,empty=");
    assert!(labels.insert(Name::new("name").unwrap(), "foo").is_err());
    labels.set(Name::new("bar").unwrap(), "new").unwrap();
    assert_eq!(labels.remove("foo").as_deref(), Some("bar"));
    assert_eq!(labels.to_string(), "bar=new,baz=foo,empty=");
}
