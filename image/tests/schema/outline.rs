//! lastditch/image_test.go, lastditch/pod_test.go: what is left of manifests that are not valid.

use dhow_image::{ImageManifest, Outline, OutlineLabel, PodManifest};
use serde_json::{Value, json};

fn label(name: &str, value: &str) -> OutlineLabel {
    OutlineLabel {
        name: name.to_owned(),
        value: value.to_owned(),
    }
}

#[test]
fn images() {
    /// Name, labels as JSON and as pairs, and whether the manifest is valid after all.
    type Case = (&'static str, Value, &'static [(&'static str, &'static str)], bool);
    let cases: [Case; 7] = [
        ("", json!([]), &[], false),
        (
            "example.com/test!",
            json!([{"name": "", "value": ""}]),
            &[("", "")],
            false,
        ),
        ("example.com/test!", json!([]), &[], false),
        (
            "im",
            json!([{"name": "!n1", "value": "v1"}, {"name": "N2~", "value": "v2"}]),
            &[("!n1", "v1"), ("N2~", "v2")],
            false,
        ),
        (
            "im",
            json!([{"name": "n1", "value": "v1"}, {"name": "n1", "value": "v2"}]),
            &[("n1", "v1"), ("n1", "v2")],
            false,
        ),
        ("im", json!([]), &[], true),
        (
            "im",
            json!([{"clutter": [], "name": "n1", "value": "v1"}]),
            &[("n1", "v1")],
            true,
        ),
    ];
    for (name, labels, expected, is_valid) in cases {
        let json =
            json!({"stuff": [], "acKind": "ImageManifest", "acVersion": "0.8.11", "name": name, "labels": labels})
                .to_string();
        let outline = Outline::from_json(json.as_bytes()).unwrap();
        assert_eq!(
            (outline.ac_kind.as_str(), outline.ac_version.as_str()),
            ("ImageManifest", "0.8.11")
        );
        assert_eq!(outline.name, name);
        let expected: Vec<_> = expected.iter().map(|(name, value)| label(name, value)).collect();
        assert_eq!(outline.labels, expected);
        assert_eq!(ImageManifest::from_json(json.as_bytes()).is_ok(), is_valid, "{json}");
    }
}

#[test]
fn pods() {
    let app = |name: &str, image: &str, id: &str, labels: Value| json!({"trolls": [], "name": name, "image": {"stuff": [], "name": image, "id": id, "labels": labels}});
    let cases = [
        (json!([]), true),
        (json!([app("", "i", "id", json!([]))]), false),
        (json!([app("a", "", "", json!([]))]), false),
        (json!([app("a", "", "", json!([{"name": "", "value": ""}]))]), false),
        (json!([app("!", "i", "id", json!([]))]), false),
        (
            json!([app("a", "i", "id", json!([])), app("a", "", "", json!([]))]),
            false,
        ),
        (json!([app("?", "!!!", "&&&", json!([]))]), false),
        (
            json!([app(
                "a",
                "i",
                "id",
                json!([{"name": "!n1", "value": "v1"}, {"name": "N2~", "value": "v2"}])
            )]),
            false,
        ),
        (
            json!([app(
                "a",
                "i",
                "id",
                json!([{"name": "n1", "value": "v1"}, {"name": "n1", "value": "v2"}])
            )]),
            false,
        ),
        (
            json!([app("a", "i", "id", json!([{"color": [], "name": "n", "value": "v"}]))]),
            false,
        ),
    ];
    for (apps, is_valid) in cases {
        let json = json!({"goblins": [], "acKind": "PodManifest", "acVersion": "0.8.11", "apps": apps}).to_string();
        let outline = Outline::from_json(json.as_bytes()).unwrap();
        for (found, expected) in outline.apps.iter().zip(apps.as_array().unwrap()) {
            assert_eq!(found.name, expected["name"]);
            assert_eq!(found.image.name, expected["image"]["name"]);
            assert_eq!(found.image.id, expected["image"]["id"]);
            let labels = expected["image"]["labels"].as_array().unwrap();
            let text = |value: &Value, key: &str| value[key].as_str().unwrap().to_owned();
            let labels: Vec<_> = labels
                .iter()
                .map(|it| label(&text(it, "name"), &text(it, "value")))
                .collect();
            assert_eq!(found.image.labels, labels);
        }
        assert_eq!(outline.apps.len(), apps.as_array().unwrap().len());
        assert_eq!(PodManifest::from_json(json.as_bytes()).is_ok(), is_valid, "{json}");
    }
}

/// Different on purpose: an outline of another kind of document is made too, and says which kind it is.
#[test]
fn what_is_no_manifest_at_all() {
    let bogus = r#"{"acKind": "Bogus", "acVersion": "0.8.11",}"#;
    let html = "<html><head><title>Certainly not a JSON</title></head></html>";
    for text in [bogus, html] {
        assert!(Outline::from_json(text.as_bytes()).is_err());
    }
    let outline = Outline::from_json(br#"{"acKind": "Bogus", "acVersion": "0.8.11"}"#).unwrap();
    assert_eq!(outline.ac_kind, "Bogus");
}
