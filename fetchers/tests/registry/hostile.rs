//! What a registry, or who stands between, could do to a user.

use std::{
    fs,
    io::Write,
    time::{Duration, Instant},
};

use base64::{Engine, engine::general_purpose::STANDARD};
use dhow_fetchers::ErrorKind;
use dhow_image::OciPlatform;
use serde_json::{Value, json};

use crate::{
    images::{Blob, INDEX, Image, LAYER, MANIFEST, file_header, gzip, image, image_for, index, tar},
    liar::{Liar, blob_path},
    pulled::log_in,
    server::{PASSWORD, USER},
};

/// What the registry does, what becomes of it, and what the user is told.
struct Case {
    name: &'static str,
    set: fn(&Liar),
    kind: ErrorKind,
    says: &'static str,
}

fn good() -> Image {
    image(&[tar(&[("bin/app", b"#!/bin/sh\n")])])
}

/// The image with its layer changed into something else, which the manifest names rightly.
fn with_layer(liar: &Liar, layer: Vec<u8>, diff_id_of: &[u8]) {
    let honest = good();
    let mut config: Value = serde_json::from_slice(&honest.blobs[0].content).unwrap();
    config["rootfs"]["diff_ids"] = json!([dhow_image::BlobDigest::of(diff_id_of).to_string()]);
    let config = Blob::new(
        honest.blobs[0].descriptor["mediaType"].as_str().unwrap(),
        config.to_string(),
    );
    let layer = Blob::new(LAYER, layer);
    let manifest = json!({
        "schemaVersion": 2, "mediaType": MANIFEST, "config": config.descriptor, "layers": [layer.descriptor],
    });
    liar.image(
        "1",
        &Image {
            manifest: Blob::new(MANIFEST, manifest.to_string()),
            blobs: vec![config, layer],
        },
    );
}

/// The image with its manifest changed, under its tag.
fn with_manifest(liar: &Liar, change: impl FnOnce(&mut Value)) {
    let honest = good();
    liar.image("other", &honest);
    let mut manifest: Value = serde_json::from_slice(&honest.manifest.content).unwrap();
    change(&mut manifest);
    liar.tags("1", manifest.to_string().as_bytes());
}

fn redirects(liar: &Liar, to: &str) {
    let honest = good();
    liar.image("1", &honest);
    let header = format!("Location: {to}\r\n");
    liar.says(&blob_path(&honest.blobs[1]), "307 Temporary Redirect", &header, b"");
}

/// Wants a token from this place.
fn challenges(liar: &Liar, realm: &str) {
    let header = format!("WWW-Authenticate: Bearer realm=\"{realm}\",service=\"x\"\r\n");
    liar.says("/v2/app/manifests/1", "401 Unauthorized", &header, b"");
}

/// The header of a tar's entry that is much larger than what follows.
fn huge_entry() -> Vec<u8> {
    let mut header = file_header(1 << 40);
    header.set_path("bomb").unwrap();
    header.set_cksum();
    let mut bytes = header.as_bytes().to_vec();
    bytes.resize(8 << 20, 0);
    bytes
}

const CASES: &[Case] = &[
    Case {
        name: "a tag whose digest is another than the registry says",
        set: |liar| {
            let honest = good();
            let header = format!("Docker-Content-Digest: sha256:{}\r\n", "0".repeat(64));
            liar.says("/v2/app/manifests/1", "200 OK", &header, &honest.manifest.content);
        },
        kind: ErrorKind::Corrupt,
        says: "where the registry says sha256:000",
    },
    Case {
        name: "a manifest of another digest than its index says",
        set: |liar| {
            let honest = good();
            let index = index(&[(&OciPlatform::host(), &honest)]);
            let mut altered = honest.manifest.content.clone();
            altered[0] = b' ';
            liar.tags("1", &index.content);
            liar.tags(honest.manifest.digest(), &altered);
        },
        kind: ErrorKind::Corrupt,
        says: "its content has the digest",
    },
    Case {
        name: "a manifest of another size than its index says",
        set: |liar| {
            let honest = good();
            let index = index(&[(&OciPlatform::host(), &honest)]);
            liar.tags("1", &index.content);
            let longer = [&honest.manifest.content[..], b" "].concat();
            liar.tags(honest.manifest.digest(), &longer);
        },
        kind: ErrorKind::Corrupt,
        says: "bytes, where",
    },
    Case {
        name: "a layer of another digest",
        set: |liar| {
            let honest = good();
            liar.image("1", &honest);
            let mut altered = honest.blobs[1].content.clone();
            *altered.last_mut().unwrap() ^= 1;
            liar.says(&blob_path(&honest.blobs[1]), "200 OK", "", &altered);
        },
        kind: ErrorKind::Corrupt,
        says: "its content has the digest sha256:",
    },
    Case {
        name: "a layer that is longer",
        set: |liar| {
            let honest = good();
            liar.image("1", &honest);
            let longer = [&honest.blobs[1].content[..], b"more"].concat();
            liar.says(&blob_path(&honest.blobs[1]), "200 OK", "", &longer);
        },
        kind: ErrorKind::Corrupt,
        says: "bytes come, where",
    },
    Case {
        name: "a layer that is longer and does not say so",
        set: |liar| {
            let honest = good();
            liar.image("1", &honest);
            liar.writes(&blob_path(&honest.blobs[1]), |stream| {
                let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n");
                let _ = stream.write_all(&[0; 100_000]);
            });
        },
        kind: ErrorKind::Corrupt,
        says: "more bytes come than",
    },
    Case {
        name: "a layer that is shorter",
        set: |liar| {
            let honest = good();
            liar.image("1", &honest);
            liar.says(
                &blob_path(&honest.blobs[1]),
                "200 OK",
                "",
                &honest.blobs[1].content[1..],
            );
        },
        kind: ErrorKind::Corrupt,
        says: "bytes come, where",
    },
    Case {
        name: "a layer that breaks off, each time",
        set: |liar| {
            let honest = good();
            liar.image("1", &honest);
            let (size, part) = (honest.blobs[1].content.len(), honest.blobs[1].content[..20].to_vec());
            liar.writes(&blob_path(&honest.blobs[1]), move |stream| {
                let _ = write!(stream, "HTTP/1.1 200 OK\r\nContent-Length: {size}\r\n\r\n");
                let _ = stream.write_all(&part);
            });
        },
        kind: ErrorKind::Network,
        says: "truncated after",
    },
    Case {
        name: "a manifest of 100 MB",
        set: |liar| {
            liar.writes("/v2/app/manifests/1", |stream| {
                let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 100000000\r\n\r\n");
                for _ in 0..100 {
                    if stream.write_all(&[b' '; 1_000_000]).is_err() {
                        return;
                    }
                }
            });
        },
        kind: ErrorKind::Network,
        says: "is larger than 4194304 bytes, which no manifest is",
    },
    Case {
        name: "an index that says its manifest has 100 MB",
        set: |liar| {
            let mut index: Value = serde_json::from_slice(&index(&[(&OciPlatform::host(), &good())]).content).unwrap();
            index["manifests"][0]["size"] = json!(100_000_000);
            liar.tags("1", index.to_string().as_bytes());
        },
        kind: ErrorKind::Corrupt,
        says: "is over 4 MiB",
    },
    Case {
        name: "an index in an index in an index, without an end in sight",
        set: |liar| {
            let mut inner = good().manifest;
            for _ in 0..6 {
                liar.document(&inner);
                let outer = json!({"schemaVersion": 2, "mediaType": INDEX, "manifests": [inner.descriptor]});
                inner = Blob::new(INDEX, outer.to_string());
            }
            liar.tags("1", &inner.content);
        },
        kind: ErrorKind::Corrupt,
        says: "perhaps they go in circles",
    },
    Case {
        name: "an index of other platforms alone",
        set: |liar| {
            let other: OciPlatform = "linux/s390x".parse().unwrap();
            let image = image_for(&other, &[tar(&[("a", b"a")])]);
            liar.tags("1", &index(&[(&other, &image)]).content);
        },
        kind: ErrorKind::NotFound,
        says: "it has `linux/s390x`",
    },
    Case {
        name: "a document that is both an index and a manifest",
        set: |liar| with_manifest(liar, |manifest| manifest["manifests"] = json!([])),
        kind: ErrorKind::Corrupt,
        says: "is both an index and a manifest",
    },
    Case {
        name: "a manifest of the first schema",
        set: |liar| {
            liar.tags(
                "1",
                br#"{"schemaVersion": 1, "name": "app", "fsLayers": [], "history": []}"#,
            )
        },
        kind: ErrorKind::Corrupt,
        says: "schema 1",
    },
    Case {
        name: "a page in place of a manifest",
        set: |liar| liar.tags("1", b"<html>Welcome"),
        kind: ErrorKind::Corrupt,
        says: "is not the document that it should be",
    },
    Case {
        name: "a foreign layer",
        set: |liar| {
            with_manifest(liar, |manifest| {
                manifest["layers"][0]["urls"] = json!(["http://127.0.0.1/layer"]);
            });
        },
        kind: ErrorKind::Corrupt,
        says: "is a foreign layer",
    },
    Case {
        name: "a layer that should not be distributed",
        set: |liar| {
            with_manifest(liar, |manifest| {
                manifest["layers"][0]["mediaType"] = json!("application/vnd.docker.image.rootfs.foreign.diff.tar.gzip");
            });
        },
        kind: ErrorKind::Corrupt,
        says: "is a foreign layer",
    },
    Case {
        name: "over a thousand layers",
        set: |liar| {
            with_manifest(liar, |manifest| {
                let layer = manifest["layers"][0].clone();
                manifest["layers"] = json!(vec![layer; 1001]);
            });
        },
        kind: ErrorKind::Corrupt,
        says: "has over 1000 layers",
    },
    Case {
        name: "layers of more bytes than any image has",
        set: |liar| with_manifest(liar, |manifest| manifest["layers"][0]["size"] = json!(1u64 << 40)),
        kind: ErrorKind::Corrupt,
        says: "layers of more than 64 GiB",
    },
    Case {
        name: "a digest that is a path",
        set: |liar| {
            with_manifest(liar, |manifest| {
                manifest["layers"][0]["digest"] = json!("sha256:../../../../etc/passwd")
            });
        },
        kind: ErrorKind::Corrupt,
        says: "is not the document that it should be",
    },
    Case {
        name: "a few kilobytes that become a terabyte",
        set: |liar| with_layer(liar, gzip(&huge_entry()), b"x"),
        kind: ErrorKind::Corrupt,
        says: "uncompressed bytes, which is the most that is read",
    },
    Case {
        name: "a layer whose content is not what the configuration says",
        set: |liar| with_layer(liar, gzip(&tar(&[("a", b"a")])), b"something else"),
        kind: ErrorKind::Corrupt,
        says: "its content has the digest",
    },
    Case {
        name: "a layer that is no tar",
        set: |liar| with_layer(liar, gzip(&[7; 2048]), &[7; 2048]),
        kind: ErrorKind::Corrupt,
        says: "could not read the layer",
    },
    Case {
        name: "a redirect to this machine",
        set: |liar| redirects(liar, "https://127.0.0.1/layer"),
        kind: ErrorKind::Network,
        says: "leads to 127.0.0.1",
    },
    Case {
        name: "a redirect to the cloud's metadata",
        set: |liar| redirects(liar, "https://169.254.169.254/latest/meta-data"),
        kind: ErrorKind::Network,
        says: "leads to 169.254.169.254",
    },
    Case {
        name: "a redirect to plain HTTP",
        set: |liar| redirects(liar, "http://other.example/layer"),
        kind: ErrorKind::Network,
        says: "from HTTPS to plain HTTP",
    },
    Case {
        name: "a redirect to a file",
        set: |liar| redirects(liar, "file:///etc/passwd"),
        kind: ErrorKind::Network,
        says: "does not lead to HTTPS",
    },
    Case {
        name: "redirects without an end",
        set: |liar| redirects(liar, &blob_path(&good().blobs[1])),
        kind: ErrorKind::Network,
        says: "redirected more than",
    },
    Case {
        name: "a redirect to who wants a login",
        set: |liar| {
            let header = "WWW-Authenticate: Basic realm=\"x\"\r\n";
            liar.says("/elsewhere", "401 Unauthorized", header, b"");
            redirects(liar, "https://other.example/elsewhere");
        },
        kind: ErrorKind::Network,
        says: "leads to `https://other.example`, which wants a login",
    },
    Case {
        name: "tokens of this machine",
        set: |liar| challenges(liar, "https://127.0.0.1/token"),
        kind: ErrorKind::Network,
        says: "leads to 127.0.0.1",
    },
    Case {
        name: "tokens over plain HTTP",
        set: |liar| challenges(liar, "http://example.com/token"),
        kind: ErrorKind::Network,
        says: "which is not of HTTPS",
    },
    Case {
        name: "tokens that are none",
        set: |liar| {
            challenges(liar, "https://example.com/token");
            liar.says("/token", "200 OK", "", b"{\"token\": \"\"}");
        },
        kind: ErrorKind::Network,
        says: "answers with no token",
    },
    Case {
        name: "a token of many megabytes",
        set: |liar| {
            challenges(liar, "https://example.com/token");
            let body = format!("{{\"token\": \"{}\"}}", "x".repeat(3 << 20));
            liar.says("/token", "200 OK", "", body.as_bytes());
        },
        kind: ErrorKind::Network,
        says: "answers with no token",
    },
    Case {
        name: "a login that is never good enough",
        set: |liar| {
            challenges(liar, "https://example.com/token");
            liar.says("/token", "200 OK", "", b"{\"token\": \"t\"}");
        },
        kind: ErrorKind::Network,
        says: "it answers with status 401",
    },
    Case {
        name: "a login of a kind that nobody knows",
        set: |liar| {
            let header = "WWW-Authenticate: Magic realm=\"x\"\r\n";
            liar.says("/v2/app/manifests/1", "401 Unauthorized", header, b"");
        },
        kind: ErrorKind::Network,
        says: "a login of an unknown kind",
    },
    Case {
        name: "nothing at all",
        set: |_| {},
        kind: ErrorKind::NotFound,
        says: "was not found",
    },
];

#[tokio::test(flavor = "multi_thread")]
async fn a_registry_that_lies_changes_nothing() {
    let liar = Liar::new();
    // One that is good is there before, and stays.
    liar.image("good", &image(&[tar(&[("bin/before", b"before")])]));
    let before = liar.user.fetch("docker://example.com/app:good").await.unwrap().id;
    for case in CASES {
        (case.set)(&liar);
        let started = Instant::now();
        let error = liar.user.fetch("docker://example.com/app:1").await;
        let error = error.expect_err(case.name);
        let causes = std::iter::successors(Some(&error as &dyn std::error::Error), |error| error.source());
        let said: Vec<_> = causes.map(ToString::to_string).collect();
        let said = said.join(": ");
        assert!(said.contains(case.says), "{}: {said}", case.name);
        // The registry is named, or the place where it leads.
        assert!(
            said.contains("example.com") || said.contains("`https://"),
            "{}: {said}",
            case.name
        );
        assert_eq!(error.kind(), case.kind, "{}: {said}", case.name);
        assert!(
            started.elapsed() < Duration::from_secs(10),
            "{}: {:?}",
            case.name,
            started.elapsed()
        );
        assert_eq!(liar.user.stored(), ["example.com/app:good"], "{}", case.name);
        liar.forgets();
    }
    assert!(liar.user.context.store.contains(&before));
    let downloads = fs::read_dir(liar.user.context.store.downloads_dir()).unwrap().count();
    assert!(
        downloads <= 4,
        "{downloads} files are left of downloads that came to nothing"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_login_goes_to_the_registry_and_nobody_else() {
    let mut liar = Liar::new();
    log_in(&mut liar.user, "example.com", PASSWORD);
    let secret = STANDARD.encode(format!("{USER}:{PASSWORD}"));
    let heard = |liar: &Liar| std::mem::take(&mut *liar.seen.lock().unwrap());
    let has_login = |heads: &[String], path: &str| {
        let asked = heads.iter().filter(|head| head.starts_with(&format!("GET {path}")));
        asked.clone().count() > 0 && asked.clone().all(|head| head.contains(&secret))
    };

    // The service that gives out tokens is another's: nobody is asked there.
    challenges(&liar, "https://other.example/token");
    liar.says("/token", "200 OK", "", b"{\"token\": \"t\"}");
    let error = liar
        .user
        .fetch("docker://example.com/app:1")
        .await
        .unwrap_err()
        .to_string();
    assert!(
        error.contains("to be sent to `https://other.example`, which is another's"),
        "{error}"
    );
    let heads = heard(&liar);
    assert!(
        heads
            .iter()
            .all(|head| !head.contains("/token") && !head.contains(&secret)),
        "{heads:?}"
    );

    // It is the registry's own.
    challenges(&liar, "https://example.com/token");
    liar.user.fetch("docker://example.com/app:1").await.unwrap_err();
    let heads = heard(&liar);
    assert!(has_login(&heads, "/token"), "{heads:?}");
    assert!(
        heads.iter().any(|head| head.contains("scope=repository%3Aapp%3Apull")),
        "{heads:?}"
    );

    // What it redirects to gets neither the login nor the token.
    let honest = good();
    liar.image("1", &honest);
    let header = "WWW-Authenticate: Basic realm=\"x\"\r\n";
    let token = json!({"token": "the token"}).to_string();
    liar.says("/token", "200 OK", "", token.as_bytes());
    let layer = honest.blobs[1].content.clone();
    liar.says("/elsewhere", "200 OK", "", &layer);
    liar.says(
        &blob_path(&honest.blobs[1]),
        "307 Temporary Redirect",
        "Location: https://other.example/elsewhere\r\n",
        b"",
    );
    let manifest = honest.manifest.content.clone();
    let header = header.to_owned();
    let asked = std::sync::atomic::AtomicBool::new(false);
    liar.writes("/v2/app/manifests/1", move |stream| {
        let answer = if asked.swap(true, std::sync::atomic::Ordering::SeqCst) {
            format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", manifest.len())
        } else {
            format!("HTTP/1.1 401 Unauthorized\r\n{header}Content-Length: 0\r\n\r\n")
        };
        let is_found = answer.starts_with("HTTP/1.1 200");
        let _ = stream.write_all(answer.as_bytes());
        if is_found {
            let _ = stream.write_all(&manifest);
        }
    });
    liar.user.fetch("docker://example.com/app:1").await.unwrap();
    let heads = heard(&liar);
    assert!(has_login(&heads, "/v2/app/blobs/"), "{heads:?}");
    assert!(!has_login(&heads, "/elsewhere"), "{heads:?}");
    let elsewhere: Vec<_> = heads.iter().filter(|head| head.starts_with("GET /elsewhere")).collect();
    assert_eq!(elsewhere.len(), 1);
    assert!(!elsewhere[0].to_lowercase().contains("authorization"), "{elsewhere:?}");
}
