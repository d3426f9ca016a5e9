//! Pulling from a real registry.

use std::fs;

use dhow_fetchers::{
    Error, ErrorKind, HttpClient, HttpOptions, Layers, Mirror, MirrorMode, Phase, PullPolicy, Verified,
};
use dhow_image::{Name, OciPlatform};
use serde_json::json;
use url::Url;

use crate::{
    conformance::{Disturbance, Disturbed, content},
    images::{Image, image, image_for, index, tar},
    publisher::Publisher,
    server::{Entry, PASSWORD, RegistryServer, USER},
};

/// A user who takes images that nobody signed.
pub(crate) fn user(locations: &str) -> Publisher {
    let mut user = Publisher::new(locations);
    user.context.insecure.image = true;
    user
}

/// Keeps a login for this host where users of Docker do.
pub(crate) fn log_in(user: &mut Publisher, host: &str, password: &str) {
    let path = user.world.path("config.json");
    let config = json!({"auths": {host: {"username": USER, "password": password}}});
    fs::write(&path, config.to_string()).unwrap();
    user.context.registry_logins = Some(path);
}

fn blobs(image: &Image) -> Vec<&crate::images::Blob> {
    std::iter::once(&image.manifest).chain(&image.blobs).collect()
}

fn two_layers(top: &[u8]) -> Image {
    image(&[
        tar(&[("bin/app", b"#!/bin/sh\n"), ("etc/base", b"base")]),
        tar(&[("etc/top", top), ("etc/.wh.base", b"")]),
    ])
}

#[tokio::test(flavor = "multi_thread")]
async fn an_image_is_pulled_by_its_tag_with_a_password() {
    let mut user = user("");
    let registry = RegistryServer::start(&user.world, &Entry::Password, false);
    let (one, two) = (two_layers(b"one"), two_layers(b"two"));
    registry.push("team/app", "1.0", &blobs(&one));
    registry.push("team/app", "2.0", &blobs(&two));
    let host = format!("127.0.0.1:{}", registry.port);
    let reference = |tag: &str| format!("docker://{host}/team/app:{tag}");

    let error = user.fetch(&reference("1.0")).await.unwrap_err();
    assert!(error.to_string().contains("it wants a user and a password"), "{error}");
    log_in(&mut user, &host, "wrong");
    let error = user.fetch(&reference("1.0")).await.unwrap_err();
    assert!(matches!(error, Error::RegistryLogin { .. }), "{error}");
    assert_eq!(error.kind(), ErrorKind::Network);
    log_in(&mut user, &host, PASSWORD);

    user.context.insecure.image = false;
    let error = user.fetch(&reference("1.0")).await.unwrap_err();
    assert!(matches!(error, Error::NeverSigned { .. }), "{error}");
    assert_eq!(error.kind(), ErrorKind::NotTrusted);
    user.context.insecure.image = true;

    user.seen.take(Phase::Archive);
    let fetched = user.fetch(&reference("1.0")).await.unwrap();
    assert_eq!(
        user.seen.take(Phase::Archive).len(),
        3,
        "a configuration and two layers"
    );
    let provenance = fetched.provenance.unwrap();
    assert!(matches!(provenance.verified, Verified::No(_)));
    assert_eq!(provenance.source, format!("{host}/team/app"));
    let from = provenance.converted_from.unwrap();
    assert_eq!(from.manifest.as_deref(), Some(one.manifest.digest()));
    let name = format!("{}/team/app", host.replace(':', "_"));
    assert_eq!(user.stored(), [format!("{name}:1.0")]);
    let manifest = user.context.store.manifest(&fetched.id).unwrap();
    assert_eq!(manifest.app.unwrap().exec, ["/bin/app"]);

    // What is here is not asked for, or only whether it is still meant.
    let again = user.fetch(&reference("1.0")).await.unwrap();
    assert_eq!((again.id, again.provenance.is_none()), (fetched.id, true));
    assert!(user.seen.take(Phase::Manifest).is_empty());
    user.context.pull = PullPolicy::Update;
    assert!(user.fetch(&reference("1.0")).await.unwrap().provenance.is_none());
    assert_eq!(user.seen.take(Phase::Manifest).len(), 1);
    user.context.pull = PullPolicy::New;

    // Another tag brings its own layers alone.
    let other = user.fetch(&reference("2.0")).await.unwrap();
    assert_ne!(other.id, fetched.id);
    let came = user.seen.take(Phase::Archive);
    assert_eq!(came.len(), 2, "the layer beneath came before: {came:?}");
    user.context.pull = PullPolicy::Never;
    assert_eq!(user.fetch(&reference("2.0")).await.unwrap().id, other.id);
    let error = user.fetch(&reference("3.0")).await.unwrap_err();
    assert!(matches!(error, Error::NotInStore { .. }), "{error}");
    user.context.pull = PullPolicy::New;
    let error = user.fetch(&reference("3.0")).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound, "{error}");

    // By its digest, whatever the tags say.
    let by_digest = format!("docker://{host}/team/app@{}", one.manifest.digest());
    let pinned = user.fetch(&by_digest).await.unwrap();
    assert_ne!(pinned.id, fetched.id, "it has no version");
    assert_eq!(user.stored().len(), 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_index_gives_the_image_for_the_platform() {
    let mut user = user("");
    let registry = RegistryServer::start(&user.world, &Entry::Anybody, false);
    let host = OciPlatform::host();
    let other: OciPlatform = "linux/s390x".parse().unwrap();
    let arm: OciPlatform = "linux/arm64".parse().unwrap();
    let (own, foreign) = (two_layers(b"own"), image_for(&arm, &[tar(&[("bin/app", b"arm")])]));
    let far = image_for(&other, &[tar(&[("bin/app", b"far")])]);
    let index = index(&[(&other, &far), (&arm, &foreign), (&host, &own)]);
    let all: Vec<_> = std::iter::once(&index)
        .chain(blobs(&own))
        .chain(blobs(&foreign))
        .chain(blobs(&far))
        .collect();
    registry.push("app", "latest", &all);
    let reference = format!("docker://127.0.0.1:{}/app", registry.port);
    let fetched = user.fetch(&reference).await.unwrap();
    let from = fetched.provenance.unwrap().converted_from.unwrap();
    assert_eq!(from.manifest.as_deref(), Some(own.manifest.digest()));
    assert_eq!(from.index.as_deref(), Some(index.digest()));
    let fetched = user.fetch(&format!("{reference},os=linux,arch=aarch64")).await.unwrap();
    let manifest = user.context.store.manifest(&fetched.id).unwrap();
    assert_eq!(manifest.labels.get("arch"), Some("aarch64"));
    let error = user
        .fetch(&format!("{reference},os=linux,arch=armv7l"))
        .await
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound, "{error}");
    user.context.pull = PullPolicy::Never;
    user.fetch(&reference).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn kept_layers_depend_on_each_other() {
    let mut user = user("");
    user.context.layers = Layers::Keep;
    let registry = RegistryServer::start(&user.world, &Entry::Anybody, false);
    registry.push("app", "1", &blobs(&two_layers(b"one")));
    let fetched = user
        .fetch(&format!("docker://127.0.0.1:{}/app:1", registry.port))
        .await
        .unwrap();
    let manifest = user.context.store.manifest(&fetched.id).unwrap();
    let beneath = manifest.dependencies[0].image_id.unwrap();
    assert!(user.context.store.contains(&beneath));
    assert_eq!(user.stored().len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_came_does_not_come_again() {
    const SIZE: usize = 3 << 20;
    let mut user = user("");
    let registry = RegistryServer::start(&user.world, &Entry::Anybody, false);
    let layers = [1, 2].map(|seed| tar(&[(&*format!("data{seed}"), &content(SIZE, seed))]));
    registry.push("app", "1", &blobs(&image(&layers)));
    let wire = Disturbed::new(registry.port);
    wire.set(Disturbance::CutAfter(1 << 20));
    let reference = format!("docker://127.0.0.1:{}/app:1", wire.port);
    let mut rounds = 0;
    let fetched = loop {
        rounds += 1;
        assert!(rounds < 20, "it never comes to an end");
        match user.fetch(&reference).await {
            Ok(fetched) => break fetched,
            Err(error) => assert_eq!(error.kind(), ErrorKind::Network, "{error}"),
        }
    };
    let (sent, total) = (wire.sent(), 2 * SIZE as u64);
    assert!(
        sent < total * 11 / 10,
        "{sent} bytes were sent for {total}, in {rounds} rounds"
    );

    // A blob that was altered on the disk is noticed, and comes again the next time.
    wire.set(Disturbance::None);
    let id = fetched.id;
    let cached = user.context.store.root().join("blobs/sha256");
    for blob in fs::read_dir(&cached).unwrap() {
        let path = blob.unwrap().path();
        let mut bytes = fs::read(&path).unwrap();
        bytes[20] ^= 1;
        fs::write(&path, bytes).unwrap();
    }
    user.context.pull = PullPolicy::Update;
    let by_tag = format!("docker://127.0.0.1:{}/app:1,os={},arch={}", wire.port, "linux", "amd64");
    let error = user.fetch(&by_tag).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Corrupt, "{error}");
    assert_eq!(user.fetch(&by_tag).await.unwrap().id, id);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_registry_that_is_damaged_is_not_believed() {
    let user = user("");
    let registry = RegistryServer::start(&user.world, &Entry::Anybody, false);
    let image = two_layers(b"one");
    registry.push("app", "1", &blobs(&image));
    let file = registry.blob_file(&image.blobs[1]);
    let mut bytes = fs::read(&file).unwrap();
    bytes[20] ^= 1;
    fs::write(&file, bytes).unwrap();
    let error = user
        .fetch(&format!("docker://127.0.0.1:{}/app:1", registry.port))
        .await
        .unwrap_err();
    assert!(
        matches!(&error, Error::WrongBlob { name, .. } if name == image.blobs[1].digest()),
        "{error}"
    );
    assert_eq!(error.kind(), ErrorKind::Corrupt);
    assert!(user.stored().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn mirrors_that_were_named_for_a_registry_are_asked_first() {
    let mut user = user("");
    let registry = RegistryServer::start(&user.world, &Entry::Anybody, false);
    registry.push("team/app", "1", &blobs(&two_layers(b"one")));
    for (prefix, url) in [
        (None, "https://everything.example/".to_owned()),
        (Some("registry.example"), "https://127.0.0.1:1/".to_owned()),
        (
            Some("registry.example"),
            format!("https://127.0.0.1:{}/", registry.port),
        ),
    ] {
        user.context.mirrors.add(Mirror {
            prefix: prefix.map(|prefix| Name::new(prefix).unwrap()),
            url: Url::parse(&url).unwrap(),
            mode: MirrorMode::Only,
        });
    }
    user.fetch("docker://registry.example/team/app:1").await.unwrap();
    assert_eq!(
        user.stored(),
        ["registry.example/team/app:1"],
        "the mirror does not name it"
    );
    let notes = user.seen.notes.lock().unwrap().join("\n");
    assert!(notes.contains("https://127.0.0.1:1/"), "{notes}");
}

#[tokio::test(flavor = "multi_thread")]
async fn plain_http_is_for_who_permits_it() {
    let mut user = user("");
    let registry = RegistryServer::start(&user.world, &Entry::Anybody, true);
    registry.push("app", "1", &blobs(&two_layers(b"one")));
    let reference = format!("docker://127.0.0.1:{}/app:1", registry.port);
    let error = user.fetch(&reference).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Network, "{error}");
    let options = HttpOptions {
        insecure_http: true,
        ..user.world.options()
    };
    user.context.client = HttpClient::new(options).unwrap();
    user.fetch(&reference).await.unwrap();
}
