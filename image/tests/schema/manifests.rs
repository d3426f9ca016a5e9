//! image_test.go, pod_test.go, the examples of aci.md and pods.md, and manifests of early versions.

use dhow_image::{ImageManifest, PodManifest};
use serde_json::{Value, json};

fn image(value: &Value) -> Result<ImageManifest, dhow_image::ManifestError> {
    ImageManifest::from_json(value.to_string().as_bytes())
}

fn pod(value: &Value) -> Result<PodManifest, dhow_image::ManifestError> {
    PodManifest::from_json(value.to_string().as_bytes())
}

fn id() -> String {
    format!("sha512-{}", "0123456789abcdef".repeat(8))
}

#[test]
fn an_image_without_an_app_stays_one() {
    let manifest = json!({"acKind": "ImageManifest", "acVersion": "0.8.11", "name": "example.com/test"});
    let read = image(&manifest).unwrap();
    assert!(read.app.is_none());
    let written = read.to_json().unwrap();
    assert_eq!(serde_json::from_slice::<Value>(&written).unwrap(), manifest);
    assert_eq!(ImageManifest::from_json(&written).unwrap(), read);
}

#[test]
fn kind_and_version_are_required() {
    assert!(image(&json!({"name": "example.com/test"})).is_err());
    assert!(pod(&json!({})).is_err());
    assert!(
        pod(&json!({"acKind": "PodManifest", "acVersion": "0.8.11"})).is_err(),
        "pods.md requires `apps`"
    );
    assert!(pod(&json!({"acKind": "PodManifest", "acVersion": "0.8.11", "apps": []})).is_ok());
    for version in ["0.0.0", "", "1.0.0", "v0.8.11"] {
        let manifest = json!({"acKind": "ImageManifest", "acVersion": version, "name": "example.com/test"});
        assert!(image(&manifest).is_err(), "{version}");
    }
}

#[test]
fn apps_and_volumes_of_a_pod_have_names_of_their_own() {
    let app = |name: &str| json!({"name": name, "image": {"id": id()}});
    let of = |apps: Value, volumes: Value| {
        pod(&json!({"acVersion": "0.8.11", "acKind": "PodManifest", "apps": apps, "volumes": volumes}))
    };
    assert!(of(json!([app("foo"), app("bar")]), json!([])).is_ok());
    let error = of(json!([app("foo"), app("bar"), app("foo")]), json!([])).unwrap_err();
    assert_eq!(error.to_string(), "the manifest's `apps` has `foo` twice");
    let twice = json!([{"name": "simplename", "kind": "empty"},
                       {"name": "simplename", "kind": "host", "source": "/tmp"}]);
    let error = of(json!([]), twice).unwrap_err();
    assert_eq!(error.to_string(), "the manifest's `volumes` has `simplename` twice");

    // The same where a pod is made rather than read.
    let mut made = PodManifest::new(Vec::new());
    made.volumes.push("simple,kind=empty".parse().unwrap());
    made.volumes.push("simple,kind=host,source=/tmp".parse().unwrap());
    assert!(made.to_json().is_err());
}

#[test]
fn volumes_are_of_one_kind_only() {
    let of =
        |volume: Value| pod(&json!({"acVersion": "0.8.11", "acKind": "PodManifest", "apps": [], "volumes": [volume]}));
    assert!(of(json!({"name": "v", "kind": "empty", "mode": "0777", "uid": 1, "gid": 2})).is_ok());
    for volume in [
        json!({"name": "v", "kind": "host", "source": "tmp"}),
        json!({"name": "v", "kind": "host"}),
        json!({"name": "v", "kind": "host", "source": "/tmp", "uid": 3}),
        json!({"name": "v", "kind": "host", "source": "/tmp", "mode": "0755"}),
        json!({"name": "v", "kind": "empty", "source": "/tmp"}),
        json!({"name": "v", "kind": "empty", "mode": "rwx"}),
        json!({"name": "v", "kind": "tmpfs"}),
        json!({"name": "v"}),
    ] {
        assert!(of(volume.clone()).is_err(), "{volume}");
    }
}

/// The example of aci.md, "Image Manifest Schema", with a whole image ID.
fn example() -> Value {
    json!({
        "acKind": "ImageManifest", "acVersion": "0.8.11", "name": "example.com/reduce-worker",
        "labels": [{"name": "version", "value": "1.0.0"}, {"name": "arch", "value": "amd64"},
                   {"name": "os", "value": "linux"}],
        "app": {
            "exec": ["/usr/bin/reduce-worker", "--quiet"], "user": "100", "group": "300",
            "supplementaryGIDs": [400, 500],
            "eventHandlers": [{"exec": ["/usr/bin/data-downloader"], "name": "pre-start"},
                              {"exec": ["/usr/bin/deregister-worker", "--verbose"], "name": "post-stop"}],
            "workingDirectory": "/opt/work",
            "environment": [{"name": "REDUCE_WORKER_DEBUG", "value": "true"}],
            "isolators": [
                {"name": "resource/cpu", "value": {"request": "250m", "limit": "500m"}},
                {"name": "resource/memory", "value": {"request": "1G", "limit": "2G"}},
                {"name": "os/linux/capabilities-retain-set", "value": {"set": ["CAP_NET_BIND_SERVICE"]}}],
            "mountPoints": [{"name": "work", "path": "/var/lib/work", "readOnly": true}],
            "ports": [{"name": "health", "port": 4000, "protocol": "tcp", "socketActivated": true},
                      {"name": "ftp-data", "port": 20000, "count": 1000, "protocol": "tcp"}]
        },
        "dependencies": [{"imageName": "example.com/reduce-worker-base", "imageID": id(),
                          "labels": [{"name": "os", "value": "linux"}, {"name": "env", "value": "canary"}],
                          "size": 22_017_258}],
        "pathWhitelist": ["/etc/ca/example.com/crt", "/etc/systemd/system/"],
        "annotations": [{"name": "authors", "value": "Carly Container <carly@example.com>"},
                        {"name": "created", "value": "2014-10-27T19:32:27.67021798Z"},
                        {"name": "documentation", "value": "https://example.com/docs"},
                        {"name": "homepage", "value": "https://example.com"},
                        {"name": "appc.io/executor/supports-systemd-notify", "value": "false"}]
    })
}

#[test]
fn the_specifications_example_round_trips() {
    let read = image(&example()).unwrap();
    assert_eq!(read.dependencies[0].size, Some(22_017_258));
    assert_eq!(read.created().unwrap().as_datetime().timestamp(), 1_414_438_347);
    let again: Value = serde_json::from_slice(&read.to_json().unwrap()).unwrap();
    assert_eq!(again, example());
}

/// Puts an unknown field into every object of a document.
fn sprinkle(value: &mut Value) {
    match value {
        Value::Array(list) => list.iter_mut().for_each(sprinkle),
        Value::Object(object) => {
            object.values_mut().for_each(sprinkle);
            object.insert("x-unknown".to_owned(), json!([{"kept": null}]));
        }
        _ => {}
    }
}

#[test]
fn what_is_unknown_survives_everywhere() {
    let mut manifest = example();
    sprinkle(&mut manifest);
    let again: Value = serde_json::from_slice(&image(&manifest).unwrap().to_json().unwrap()).unwrap();
    assert_eq!(again, manifest);
}

#[test]
fn what_a_program_sets_wrongly_is_not_written() {
    let mut manifest = image(&example()).unwrap();
    manifest.path_whitelist.push("relative".to_owned());
    assert!(
        manifest
            .to_json()
            .unwrap_err()
            .to_string()
            .contains("`pathWhitelist[2]`")
    );
}

/// `null` stands for nothing in what the specification's own tools write.
#[test]
fn null_is_nothing() {
    let manifest = json!({"acVersion": "0.8.11", "acKind": "PodManifest", "apps": [], "volumes": null,
                          "isolators": null, "annotations": null, "ports": null});
    let written = pod(&manifest).unwrap().to_json().unwrap();
    assert_eq!(written, br#"{"acVersion":"0.8.11","acKind":"PodManifest","apps":[]}"#);
}

/// As in the specification's own documents up to version 0.4.
#[test]
fn early_versions_are_read_and_written_as_present_ones() {
    let early = json!({
        "acKind": "ImageManifest", "acVersion": "0.1.1", "name": "example.com/reduce-worker",
        "labels": [{"name": "version", "val": "1.0.0"}, {"name": "arch", "val": "amd64"}, {"name": "os", "val": "linux"}],
        "app": {
            "exec": ["/usr/bin/reduce-worker"], "user": "100", "group": "300",
            "environment": {"REDUCE_WORKER_DEBUG": "true"},
            "isolators": [{"name": "private-network", "val": "true"}, {"name": "cpu/shares", "val": "20"}]
        },
        "dependencies": [{"app": "example.com/reduce-worker-base", "imageID": id(), "root": "/"}],
        "annotations": {"created": "2014-10-27T19:32:27.67021798Z"}
    });
    let written: Value = serde_json::from_slice(&image(&early).unwrap().to_json().unwrap()).unwrap();
    let expected = json!({
        "acKind": "ImageManifest", "acVersion": "0.1.1", "name": "example.com/reduce-worker",
        "labels": [{"name": "version", "value": "1.0.0"}, {"name": "arch", "value": "amd64"},
                   {"name": "os", "value": "linux"}],
        "app": {
            "exec": ["/usr/bin/reduce-worker"], "user": "100", "group": "300",
            "environment": [{"name": "REDUCE_WORKER_DEBUG", "value": "true"}],
            "isolators": [{"name": "private-network", "value": "true"}, {"name": "cpu/shares", "value": "20"}]
        },
        "dependencies": [{"imageName": "example.com/reduce-worker-base", "imageID": id(), "root": "/"}],
        "annotations": [{"name": "created", "value": "2014-10-27T19:32:27.67021798Z"}]
    });
    assert_eq!(written, expected);
    // The digests of version 0.1 were SHA-256, which can match no image here.
    let oldest = json!({"acKind": "ImageManifest", "acVersion": "0.1.1", "name": "a",
                        "dependencies": [{"name": "b", "hash": "sha256-00"}]});
    assert!(image(&oldest).unwrap_err().to_string().contains("sha512"));
}
