//! app_test.go, exec_test.go, environment_test.go, port_test.go, annotations_test.go, dependencies_test.go.

use dhow_image::{Annotation, App, Dependency, EnvironmentVariable, ImageManifest, Name, Port};
use serde_json::{Value, json};

fn is_app(value: Value) -> bool {
    serde_json::from_value::<App>(value).is_ok()
}

#[test]
fn apps_that_are_valid() {
    let cases = [
        json!({"exec": ["/bin/httpd"], "user": "0", "group": "0", "workingDirectory": "/tmp"}),
        json!({"exec": ["/app"], "user": "0", "group": "0", "environment": [{"name": "DEBUG", "value": "true"}],
               "eventHandlers": [{"name": "pre-start"}, {"name": "post-stop"}],
               "workingDirectory": "/tmp"}),
        json!({"exec": ["/app", "arg1", "arg2"], "user": "0", "group": "0", "workingDirectory": "/tmp"}),
        json!({"exec": null, "user": "0", "group": "0", "workingDirectory": "/tmp"}),
        json!({"exec": [], "user": "0", "group": "0", "workingDirectory": "/tmp"}),
        json!({"exec": ["app"], "user": "0", "group": "0", "workingDirectory": "/tmp"}),
        json!({"exec": ["bin/app", "arg1"], "user": "0", "group": "0", "workingDirectory": "/tmp"}),
    ];
    for case in cases {
        assert!(is_app(case.clone()), "{case}");
    }
}

#[test]
fn apps_that_are_not() {
    let handler = |name: &str| json!({"name": name, "exec": []});
    let cases = [
        json!({"exec": ["/bin/httpd"], "user": "0", "group": "0",
               "eventHandlers": [handler("pre-start"), handler("pre-start")]}),
        json!({"exec": ["/bin/httpd"], "user": "0", "group": "0",
               "eventHandlers": [handler("post-stop"), handler("pre-start"), handler("post-stop")]}),
        json!({"exec": ["/bin/httpd"], "user": "0", "group": "0", "eventHandlers": [handler("")]}),
        json!({"exec": ["/app"]}),
        json!({"exec": ["/app"], "user": "0"}),
        json!({"exec": ["app"], "group": "0"}),
        json!({"exec": ["/app"], "user": "foo", "group": "bar", "workingDirectory": "stuff"}),
        json!({"exec": ["/app"], "user": "foo", "group": "bar", "workingDirectory": "../home/fred"}),
        json!({"exec": ["/app"], "user": "foo", "group": "bar", "environment": [{"name": "0DEBUG", "value": "true"}]}),
    ];
    for case in cases {
        assert!(!is_app(case.clone()), "{case}");
    }
}

/// The specification's implementation reads field names in any case, as Go does.
#[test]
fn field_names_in_any_case() {
    for json in [
        "garbage",
        r#"{"Exec":"not a list"}"#,
        r#"{"Exec":["notfullyqualified"]}"#,
    ] {
        assert!(serde_json::from_str::<App>(json).is_err(), "{json}");
    }
    let app: App = serde_json::from_str(r#"{"Exec":["/a"],"User":"0","Group":"0"}"#).unwrap();
    assert_eq!(app, App::new(vec!["/a".to_owned()]));
    let app: App = serde_json::from_str(
        r#"{"Exec":["/a"],"User":"0","Group":"0","UserAnnotations":{"weird!":"normal?"},"UserLabels":{"one!":"two?"}}"#,
    )
    .unwrap();
    assert_eq!(app.user_annotations["weird!"], "normal?");
    assert_eq!(app.user_labels["one!"], "two?");
    // Ours: a field in two spellings means different things to different readers.
    let twice = r#"{"exec":["/a"],"Exec":["/b"],"user":"0","group":"0"}"#;
    assert!(serde_json::from_str::<App>(twice).is_err());
    // aci.md spells it in both ways.
    for field in ["supplementaryGIDs", "supplementaryGids"] {
        let app: App = serde_json::from_value(json!({"user": "0", "group": "0", field: [400, 500]})).unwrap();
        assert_eq!(app.supplementary_gids, [400, 500]);
        assert!(serde_json::to_string(&app).unwrap().contains("supplementaryGIDs"));
    }
}

#[test]
fn environments() {
    let with = |environment: Value| is_app(json!({"user": "0", "group": "0", "environment": environment}));
    assert!(!with(
        json!([{"name": "DEBUG", "value": "true"}, {"name": "DEBUG", "value": "true"}])
    ));
    for name in ["", "0DEBUG", "VERBOSE|DEBUG"] {
        assert!(!with(json!([{"name": name, "value": "true"}])), "{name}");
        assert!(EnvironmentVariable::new(name, "true").is_err(), "{name}");
    }
    for name in ["DEBUG", "_0_DEBUG_0_", "DEBUG.0", "DEBUG-0"] {
        assert!(with(json!([{"name": name, "value": "true"}])), "{name}");
        assert!(EnvironmentVariable::new(name, "true").is_ok(), "{name}");
    }
}

#[test]
fn ports() {
    let with = |port: Value, count: Value| {
        serde_json::from_value::<Port>(json!({"name": "p", "protocol": "tcp", "port": port, "count": count}))
    };
    assert_eq!(with(json!(32456), json!(100)).unwrap().count, 100);
    assert!(with(json!(88888), json!(1)).is_err());
    assert!(with(json!(32456), json!(45678)).is_err());
    // aci.md: from 1 to 65535, the whole range.
    assert!(with(json!(0), json!(1)).is_err());
    assert!(with(json!(65535), json!(1)).is_ok());
    assert!(with(json!(65535), json!(2)).is_err());
    assert!(with(json!(1), json!(65535)).is_ok());
    // The specification's own tools write a count of 0 for none.
    assert_eq!(with(json!(80), json!(0)).unwrap().count, 1);
}

fn with_annotations(annotations: &Value) -> Result<ImageManifest, dhow_image::ManifestError> {
    let manifest = json!({"acKind": "ImageManifest", "acVersion": "0.8.11", "name": "example.com/test",
                          "annotations": annotations});
    ImageManifest::from_json(manifest.to_string().as_bytes())
}

#[test]
fn annotations() {
    let bad = [
        json!("garbage"),
        json!([{"name": "foo", "value": "bar"}, {"name": "foo", "value": "baz"}]),
        json!([{"name": "a", "value": "b"}, {"name": "a", "value": "b"}]),
        json!([{"name": "created", "value": "garbage"}]),
        json!([{"name": "homepage", "value": "not-A$@#URL"}]),
        json!([{"name": "documentation", "value": "ftp://isnotallowed.com"}]),
        json!([{"name": "foo", "value": "bar"}, {"name": "foo", "value": "baz"},
               {"name": "website", "value": "http://example.com/anno"}]),
    ];
    for annotations in bad {
        assert!(with_annotations(&annotations).is_err(), "{annotations}");
    }
    let good = [
        json!([{"name": "created", "value": "2004-05-14T23:11:14+00:00"},
               {"name": "documentation", "value": "http://example.com/docs"}]),
        json!([{"name": "foo", "value": "bar"}, {"name": "homepage", "value": "https://homepage.com"}]),
        json!([{"name": "appc.io/executor/supports-systemd-notify", "value": "false"}]),
        json!([{"name": "a", "value": "b"}]),
        json!([{"name": "foo", "value": "bar"}, {"name": "website", "value": "http://example.com/anno"}]),
        json!([]),
    ];
    for annotations in good {
        let manifest = with_annotations(&annotations).unwrap();
        assert_eq!(serde_json::to_value(&manifest.annotations).unwrap(), annotations);
    }
}

#[test]
fn annotations_by_name() {
    let list = json!([{"name": "foo", "value": "bar"}, {"name": "website", "value": "http://example.com/anno"}]);
    let manifest = with_annotations(&list).unwrap();
    assert_eq!(manifest.annotation("foo"), Some("bar"));
    assert_eq!(manifest.annotation("website"), Some("http://example.com/anno"));
    assert_eq!(manifest.annotation("baz"), None);
    assert_eq!(manifest.annotation("wuuf"), None);

    let mut list = Vec::new();
    for (name, value) in [
        ("foo", "bar"),
        ("dog", "woof"),
        ("foo", "baz"),
        ("example.com/foo_bar", "quux"),
    ] {
        Annotation::set(&mut list, Name::new(name).unwrap(), value);
    }
    let expected = json!([{"name": "foo", "value": "baz"}, {"name": "dog", "value": "woof"},
                          {"name": "example.com/foo_bar", "value": "quux"}]);
    assert_eq!(serde_json::to_value(list).unwrap(), expected);
}

#[test]
fn a_dependency_without_an_id_stays_one() {
    let json = r#"{"imageName":"example.com/reduce-worker-base"}"#;
    let dependency: Dependency = serde_json::from_str(json).unwrap();
    assert_eq!(serde_json::to_string(&dependency).unwrap(), json);
}
