//! The whole way from a reference to the store.

use dhow_fetchers::{
    Error, ErrorKind, HttpClient, HttpOptions, Insecure, Phase, Provenance, PubkeySource, PullPolicy, Verified,
    fetch_pubkeys,
};
use dhow_image::{BuildOptions, Compression, ImageManifest, Name, build, read_summary};
use dhow_store::Dependents;
use dhow_trust::{Certificate, sign, verify_detached};
use serde_json::json;

use crate::{
    publisher::{Publisher, TEMPLATE, image, new_key, path_of},
    world::raw_server,
};

const NAME: &str = "example.com/team/app";

fn app(version: &str) -> Vec<u8> {
    image(NAME, version, json!([]))
}

/// A publisher who has published `NAME` in version 1.0.
fn published() -> (Publisher, Vec<u8>) {
    let publisher = Publisher::new("");
    let archive = app("1.0");
    publisher.publish(&path_of(NAME, "1.0"), &archive);
    (publisher, archive)
}

fn told(error: &Error) -> String {
    let causes = std::iter::successors(Some(error as &dyn std::error::Error), |error| error.source());
    causes.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}

/// Fetches what must be refused, and leaves nothing.
async fn refused(publisher: &Publisher, reference: &str, kind: ErrorKind, message: &str) {
    let error = publisher.fetch(reference).await.unwrap_err();
    let text = told(&error);
    assert_eq!(error.kind(), kind, "{text}");
    assert!(text.contains(message), "{text}");
    assert_eq!(publisher.stored(), [""; 0], "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_is_enough() {
    let (publisher, archive) = published();
    let summary = read_summary(archive.as_slice()).unwrap();
    let fetched = publisher.fetch("example.com/team/app:1.0").await.unwrap();
    assert_eq!(fetched.id, summary.id);
    assert_eq!(publisher.stored(), ["example.com/team/app:1.0"]);

    let provenance: Provenance =
        serde_json::from_value(publisher.context.store.provenance(&fetched.id).unwrap()).unwrap();
    assert_eq!(Some(&provenance), fetched.provenance.as_ref());
    assert_eq!(provenance.reference, "example.com/team/app:1.0");
    assert_eq!(
        provenance.source,
        format!("https://storage.example/{}.aci", path_of(NAME, "1.0"))
    );
    assert_eq!(provenance.discovered_by.as_deref(), Some(TEMPLATE));
    assert_eq!(provenance.archive.size, archive.len() as u64);
    let Verified::By(verification) = provenance.verified else {
        panic!("it is verified")
    };
    assert_eq!(verification.signers[0].fingerprint, publisher.key.fingerprint());

    // By its ID it is here now.
    let id = fetched.id.short();
    assert_eq!(publisher.fetch(&id).await.unwrap().id, summary.id);
    assert!(matches!(
        publisher.fetch("sha512-0123456789ab").await,
        Err(Error::NotInStore { .. })
    ));
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_version_it_is_the_latest() {
    let publisher = Publisher::new("");
    publisher.publish(&path_of(NAME, "latest"), &app("1.7"));
    publisher.fetch(NAME).await.unwrap();
    assert_eq!(publisher.stored(), ["example.com/team/app:1.7"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_pull_policy_says_when_the_network_is_asked() {
    let (mut publisher, _) = published();
    publisher.context.pull = PullPolicy::Never;
    refused(
        &publisher,
        "example.com/team/app:1.0",
        ErrorKind::NotFound,
        "is not in the store",
    )
    .await;
    publisher.context.pull = PullPolicy::New;
    assert!(
        publisher
            .fetch("example.com/team/app:1.0")
            .await
            .unwrap()
            .provenance
            .is_some()
    );
    publisher.seen.take(Phase::Archive);
    for (pull, reference, asks) in [
        (PullPolicy::New, "example.com/team/app:1.0", false),
        (PullPolicy::New, NAME, false),
        (PullPolicy::Never, NAME, false),
        // It is asked whether it is still the same.
        (PullPolicy::Update, "example.com/team/app:1.0", false),
    ] {
        publisher.context.pull = pull;
        let fetched = publisher.fetch(reference).await.unwrap();
        assert_eq!(fetched.provenance.is_some(), asks, "{pull:?} {reference}");
        assert_eq!(
            publisher.seen.take(Phase::Archive).len(),
            usize::from(asks),
            "{pull:?} {reference}"
        );
    }
    assert_eq!(publisher.stored().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_known_of_a_place_goes_with_its_image() {
    let (publisher, _) = published();
    let known = || {
        let files = std::fs::read_dir(publisher.context.store.downloads_dir()).unwrap();
        let names = files.map(|file| file.unwrap().file_name().into_string().unwrap());
        names.filter(|name| name.ends_with(".got")).count()
    };
    let id = publisher.fetch("example.com/team/app:1.0").await.unwrap().id;
    assert_eq!(known(), 1);
    publisher.fetch(&id.to_string()).await.unwrap();
    assert_eq!(known(), 1, "it stays while the image does");
    publisher.context.store.remove(&[id], Dependents::Protected).unwrap();
    let _ = publisher.fetch("example.com/team/none").await;
    assert_eq!(known(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_altered_or_signed_by_another_is_refused() {
    let (publisher, archive) = published();
    let reference = "example.com/team/app:1.0";
    let path = path_of(NAME, "1.0");

    let mut flipped = archive.clone();
    flipped[archive.len() / 2] ^= 1;
    publisher.world.serve(&format!("{path}.aci"), &flipped);
    refused(&publisher, reference, ErrorKind::NotTrusted, "was altered").await;

    publisher.publish(&path, &archive);
    publisher.world.serve(
        &format!("{path}.aci.asc"),
        sign(&new_key(), archive.as_slice()).unwrap(),
    );
    publisher.seen.take(Phase::Archive);
    refused(&publisher, reference, ErrorKind::NotTrusted, "no trusted key").await;
    assert_eq!(
        publisher.seen.take(Phase::Archive),
        [""; 0],
        "the archive is not even fetched"
    );

    let mut signature = sign(&publisher.key, archive.as_slice()).unwrap();
    let middle = signature.len() / 2;
    signature[middle] = if signature[middle] == b'A' { b'B' } else { b'A' };
    publisher.world.serve(&format!("{path}.aci.asc"), &signature);
    refused(&publisher, reference, ErrorKind::NotTrusted, "could not verify").await;

    publisher
        .world
        .serve(&format!("{path}.aci.asc"), "<html>not a signature</html>");
    refused(&publisher, reference, ErrorKind::NotTrusted, "a web page").await;
    publisher.world.serve(&format!("{path}.aci.asc"), vec![b'x'; 2 << 20]);
    refused(
        &publisher,
        reference,
        ErrorKind::Network,
        "is larger than 1048576 bytes",
    )
    .await;

    std::fs::remove_file(publisher.world.path("www").join(format!("{path}.aci.asc"))).unwrap();
    refused(&publisher, reference, ErrorKind::NotTrusted, "is not signed").await;
    std::fs::remove_file(publisher.world.path("www").join(format!("{path}.aci"))).unwrap();
    refused(&publisher, reference, ErrorKind::NotFound, "was not found").await;
    refused(
        &publisher,
        "example.com/team/app:9.9",
        ErrorKind::NotFound,
        "was not found",
    )
    .await;
    refused(
        &publisher,
        "other.example/app",
        ErrorKind::NotFound,
        "no `ac-discovery` tag",
    )
    .await;

    publisher.publish(&path, b"signed, but no image");
    refused(&publisher, reference, ErrorKind::Corrupt, "not a valid image").await;
    publisher.publish(&path, &archive[..archive.len() - 20]);
    refused(&publisher, reference, ErrorKind::Corrupt, "not a valid image").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn another_image_than_was_asked_for_is_refused() {
    let publisher = Publisher::new("");
    publisher.publish(&path_of(NAME, "1.0"), &image("example.com/other", "1.0", json!([])));
    let message = "its manifest says that it is `example.com/other`, not `example.com/team/app`";
    refused(&publisher, "example.com/team/app:1.0", ErrorKind::NotTrusted, message).await;
    publisher.publish(&path_of(NAME, "1.0"), &app("0.9"));
    let message = "its manifest has `version=0.9`, where `version=1.0` is wanted";
    refused(&publisher, "example.com/team/app:1.0", ErrorKind::NotTrusted, message).await;
    let message = "its manifest has no label `channel`, where `channel=beta` is wanted";
    publisher.publish(&path_of(NAME, "1.0"), &app("1.0"));
    refused(
        &publisher,
        "example.com/team/app:1.0,channel=beta",
        ErrorKind::NotTrusted,
        message,
    )
    .await;

    // A key that counts for one prefix does not count for another.
    let (publisher, archive) = published();
    publisher
        .context
        .keyring
        .remove(&publisher.key.fingerprint(), Some(&Name::new("example.com").unwrap()))
        .unwrap();
    let other = Name::new("example.com/other").unwrap();
    publisher
        .context
        .keyring
        .trust(Some(&other), &publisher.key.certificate())
        .unwrap();
    refused(
        &publisher,
        "example.com/team/app:1.0",
        ErrorKind::NotTrusted,
        "only for `example.com/other`",
    )
    .await;
    drop(archive);
}

#[tokio::test(flavor = "multi_thread")]
async fn every_endpoint_is_tried_and_the_gravest_error_told() {
    let templates = [
        "hdfs://storage.example/{name}.{ext}",
        "https://storage.example/gone/{name}.{ext}",
        "https://storage.example/broken/{name}.{ext}",
        "https://storage.example/lying/{name}.{ext}",
        "https://storage.example/good/{name}.{ext}",
    ];
    let publisher = Publisher::with_templates("location /broken/ { return 503; }", &templates);
    let name = "example.com/app";
    let archive = image(name, "1.0", json!([]));
    publisher.publish("lying/example.com/app", &archive);
    publisher
        .world
        .serve("lying/example.com/app.aci", image(name, "6.6", json!([])));
    let error = publisher.fetch(name).await.unwrap_err();
    assert!(matches!(&error, Error::Endpoints { count: 4, .. }), "{}", told(&error));
    assert!(told(&error).contains("was altered"), "{}", told(&error));
    assert_eq!(error.kind(), ErrorKind::NotTrusted);

    publisher.publish("good/example.com/app", &archive);
    let fetched = publisher.fetch(name).await.unwrap();
    assert_eq!(
        fetched.provenance.unwrap().source,
        "https://storage.example/good/example.com/app.aci"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_truncated_download_is_a_broken_network() {
    let archive = app("1.0");
    let (mut publisher, half) = (Publisher::new(""), archive.clone());
    let signature = sign(&publisher.key, archive.as_slice()).unwrap();
    let port = raw_server(move |path, stream| {
        use std::io::Write;
        let (body, size) = match path.ends_with(".asc") {
            true => (signature.as_slice(), signature.len()),
            false => (&half[..half.len() / 2], half.len()),
        };
        let _ = write!(
            stream,
            "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: {size}\r\n\r\n"
        )
        .and_then(|()| stream.write_all(body));
    });
    let options = HttpOptions {
        insecure_http: true,
        ..publisher.world.options()
    };
    publisher.context.client = HttpClient::new(options).unwrap();
    let message = format!("truncated after {} bytes", archive.len() / 2);
    refused(
        &publisher,
        &format!("http://127.0.0.1:{port}/app.aci"),
        ErrorKind::Network,
        &message,
    )
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_image_may_enter_unverified_and_is_marked() {
    let (mut publisher, archive) = published();
    let path = path_of(NAME, "1.0");
    std::fs::remove_file(publisher.world.path("www").join(format!("{path}.aci.asc"))).unwrap();
    publisher.context.insecure = Insecure {
        image: true,
        pubkey: false,
    };
    let fetched = publisher.fetch("example.com/team/app:1.0").await.unwrap();
    let provenance = publisher.context.store.provenance(&fetched.id).unwrap();
    assert_eq!(provenance["verified"], "insecure");
    assert_eq!(provenance["archive"]["size"], archive.len());
    assert_eq!(provenance["archive"]["sha512"].as_str().unwrap().len(), 128);
    assert!(publisher.fetch(NAME).await.unwrap().provenance.is_none());

    // Who asks for verified images is not given this one.
    publisher.context.insecure = Insecure::default();
    let error = publisher.fetch("example.com/team/app:1.0").await.unwrap_err();
    assert!(matches!(error, Error::NotSigned { .. }), "{error}");
    publisher.context.pull = PullPolicy::Never;
    assert!(matches!(publisher.fetch(NAME).await, Err(Error::Unverified { .. })));

    // Until somebody vouches for it.
    publisher.publish(&path, &archive);
    publisher.context.pull = PullPolicy::New;
    assert!(publisher.fetch(NAME).await.is_err(), "there is no latest");
    assert!(
        publisher
            .fetch("example.com/team/app:1.0")
            .await
            .unwrap()
            .provenance
            .is_some()
    );
    publisher.context.pull = PullPolicy::Never;
    assert_eq!(publisher.fetch(NAME).await.unwrap().id, fetched.id);
    let provenance = publisher.context.store.provenance(&fetched.id).unwrap();
    assert!(provenance["verified"]["signers"].is_array());
    // The signature that was believed is kept, and is one of the very archive.
    assert_eq!(provenance["archive"]["sha512"], serde_json::Value::Null);
    let signature = provenance["signature"].as_str().unwrap().as_bytes();
    let name = Name::new(NAME).unwrap();
    verify_detached(&publisher.context.keyring, &name, signature, archive.as_slice()).unwrap();
    let other = [archive.as_slice(), b"."].concat();
    verify_detached(&publisher.context.keyring, &name, signature, other.as_slice()).unwrap_err();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_url_and_a_file_bring_their_signature_beside_them() {
    let publisher = Publisher::new("");
    let archive = app("1.0");
    publisher.publish("elsewhere/app", &archive);
    let fetched = publisher
        .fetch("https://other.example/elsewhere/app.aci?token=1")
        .await
        .unwrap();
    let provenance = fetched.provenance.unwrap();
    assert_eq!(provenance.source, "https://other.example/elsewhere/app.aci?token=1");
    assert!(matches!(provenance.verified, Verified::By(_)));

    let publisher = Publisher::new("");
    let file = publisher.world.path("app.aci");
    let reference = file.to_str().unwrap();
    refused(&publisher, reference, ErrorKind::NotFound, "could not read").await;
    std::fs::write(&file, &archive).unwrap();
    refused(&publisher, reference, ErrorKind::NotTrusted, "is not signed").await;
    let signature = publisher.world.path("app.aci.asc");
    std::fs::write(&signature, sign(&new_key(), archive.as_slice()).unwrap()).unwrap();
    refused(&publisher, reference, ErrorKind::NotTrusted, "no trusted key").await;
    std::fs::write(&signature, sign(&publisher.key, archive.as_slice()).unwrap()).unwrap();
    let fetched = publisher.fetch(reference).await.unwrap();
    assert_eq!(fetched.provenance.unwrap().source, reference);

    // The name in the manifest decides whose signature counts.
    let stranger = image("other.example/app", "1.0", json!([]));
    std::fs::write(&file, &stranger).unwrap();
    std::fs::write(&signature, sign(&publisher.key, stranger.as_slice()).unwrap()).unwrap();
    let error = publisher.fetch(reference).await.unwrap_err();
    assert!(
        told(&error).contains("not trusted for `other.example/app`"),
        "{}",
        told(&error)
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn dependencies_come_first_and_circles_are_refused() {
    let publisher = Publisher::new("");
    let on = |name: &str| json!({"imageName": name, "labels": [{"name": "version", "value": "1"}]});
    let publish = |name: &str, dependencies: serde_json::Value| {
        let archive = image(name, "1", dependencies);
        publisher.publish(&path_of(name, "1"), &archive);
        read_summary(archive.as_slice()).unwrap().id
    };
    let base = publish("example.com/base", json!([]));
    publish(
        "example.com/lib",
        json!([{"imageName": "example.com/base", "imageID": base.to_string(), "labels": [{"name": "version", "value": "1"}]}]),
    );
    publish(
        "example.com/app",
        json!([on("example.com/lib"), on("example.com/base")]),
    );
    publisher.fetch("example.com/app:1").await.unwrap();
    assert_eq!(
        publisher.stored(),
        ["example.com/app:1", "example.com/base:1", "example.com/lib:1"]
    );
    assert_eq!(
        publisher.seen.take(Phase::Storing).len(),
        3,
        "what two depend on is fetched once"
    );

    publish("example.com/a", json!([on("example.com/b")]));
    publish("example.com/b", json!([on("example.com/a")]));
    let error = publisher.fetch("example.com/a:1").await.unwrap_err();
    assert!(
        told(&error).contains("example.com/a → example.com/b → example.com/a:1"),
        "{}",
        told(&error)
    );
    publish("example.com/lost", json!([on("example.com/nowhere")]));
    let error = publisher.fetch("example.com/lost:1").await.unwrap_err();
    assert!(
        error
            .to_string()
            .contains("`example.com/nowhere:1`, on which `example.com/lost` depends"),
        "{error}"
    );
    assert_eq!(error.kind(), ErrorKind::NotFound);
    let wrong = format!("sha512-{}", "0".repeat(128));
    publish(
        "example.com/wrong",
        json!([{"imageName": "example.com/base", "imageID": wrong, "labels": [{"name": "version", "value": "1"}]}]),
    );
    let error = publisher.fetch("example.com/wrong:1").await.unwrap_err();
    assert!(
        told(&error).contains("where `sha512-000000000000` is needed"),
        "{}",
        told(&error)
    );
    assert_eq!(publisher.stored().len(), 3, "what lacks a dependency is not stored");
}

#[tokio::test(flavor = "multi_thread")]
async fn public_keys_are_discovered_and_fetched() {
    let (publisher, _) = published();
    let client = &publisher.context.client;
    let file = publisher.world.path("www/pubkeys.gpg");
    let url = "https://other.example/pubkeys.gpg";
    for source in [
        PubkeySource::Discovered(Name::new(NAME).unwrap()),
        PubkeySource::Url(url.parse().unwrap()),
        PubkeySource::File(file),
    ] {
        let (keys, _) = fetch_pubkeys(&source, client, Insecure::default()).await.unwrap();
        let certificates = Certificate::parse_many(&keys[0].bytes).unwrap();
        assert_eq!(certificates[0].fingerprint(), publisher.key.fingerprint());
    }
    let plain = PubkeySource::Url("http://other.example/pubkeys.gpg".parse().unwrap());
    let refused = fetch_pubkeys(&plain, client, Insecure::default()).await;
    assert!(matches!(refused, Err(Error::PlainHttp { .. })));
    fetch_pubkeys(
        &plain,
        client,
        Insecure {
            image: false,
            pubkey: true,
        },
    )
    .await
    .unwrap();
    let nobody = PubkeySource::Discovered(Name::new("example.com.invalid/app").unwrap());
    assert!(fetch_pubkeys(&nobody, client, Insecure::default()).await.is_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_large_archive_is_never_held_in_memory() {
    const SIZE: usize = 100 << 20;
    let publisher = Publisher::new("");
    let rootfs = publisher.world.path("rootfs");
    std::fs::create_dir(&rootfs).unwrap();
    let mut noise = std::io::Read::take(std::fs::File::open("/dev/urandom").unwrap(), SIZE as u64);
    std::io::copy(&mut noise, &mut std::fs::File::create(rootfs.join("noise")).unwrap()).unwrap();
    let name = Name::new("example.com/large").unwrap();
    let path = publisher.world.path("www").join(path_of(name.as_str(), "latest"));
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    let (archive, signature) = (path.with_added_extension("aci"), path.with_added_extension("aci.asc"));
    let options = BuildOptions {
        compression: Compression::Gzip,
        source_date_epoch: None,
        ..BuildOptions::default()
    };
    let manifest = ImageManifest::new(name);
    let built = build(&manifest, &rootfs, &options, std::fs::File::create(&archive).unwrap()).unwrap();
    std::fs::write(
        signature,
        sign(&publisher.key, std::fs::File::open(&archive).unwrap()).unwrap(),
    )
    .unwrap();

    // 5 sets the peak back to what is in use.
    std::fs::write("/proc/self/clear_refs", "5").unwrap();
    let fetched = publisher.fetch("example.com/large").await.unwrap();
    assert_eq!(fetched.id, built.id);
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let peak = status
        .lines()
        .find_map(|line| line.strip_prefix("VmHWM:"))
        .unwrap()
        .trim();
    let peak: u64 = peak.strip_suffix(" kB").unwrap().parse().unwrap();
    assert!(peak < 64 << 10, "{peak} KiB at the peak");
}
