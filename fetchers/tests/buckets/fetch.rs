//! Images from buckets, from the reference to the store.

use dhow_discovery::{BucketSettings, Scheme};
use dhow_fetchers::{DeltaUse, Error, ErrorKind, HttpClient, HttpOptions, Phase, PullPolicy, RetryPolicy, Verified};
use dhow_image::read_summary;
use dhow_trust::sign;
use serde_json::json;

use crate::{
    conformance::{Disturbance, Disturbed},
    publisher::{Publisher, image, new_key, path_of},
    servers::{BUCKET, Server},
    together::Together,
};

/// A publisher whose pages lead to a bucket, and a user who may read it.
fn publisher(server: &Server, port: u16) -> Publisher {
    let scheme = server.scheme().as_str();
    let template = format!("{scheme}://{BUCKET}/{{name}}-{{version}}-{{os}}-{{arch}}.{{ext}}");
    let mut publisher = Publisher::with_templates("", &[&template]);
    let options = HttpOptions {
        insecure_http: true,
        ..publisher.world.options()
    };
    publisher.context.client = HttpClient::new(options).unwrap();
    publisher
        .context
        .buckets
        .say(server.scheme(), None, server.settings(port));
    publisher
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_and_a_url_lead_into_a_bucket() {
    for server in [Server::s3s_fs(), Server::moto(), Server::fake_gcs(), Server::azurite()] {
        let scheme = server.scheme().as_str();
        let mut publisher = publisher(&server, server.port);
        let archive = image("example.com/app", "1.0", json!([]));
        let key = format!("{}.aci", path_of("example.com/app", "1.0"));
        server.put(&key, &archive).await;

        // Nobody signed it yet.
        let error = publisher
            .fetch(&format!("{scheme}://{BUCKET}/{key}"))
            .await
            .unwrap_err();
        assert!(matches!(error, Error::NotSigned { .. }), "{}: {error}", server.name);
        assert!(
            error.to_string().contains(&format!("{scheme}://{BUCKET}/{key}.asc")),
            "{error}"
        );
        // Then somebody whom nobody trusts.
        let asc = format!("{key}.asc");
        server.put(&asc, &sign(&new_key(), archive.as_slice()).unwrap()).await;
        let error = publisher.fetch("example.com/app:1.0").await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NotTrusted, "{}: {error}", server.name);
        assert!(publisher.stored().is_empty());

        let id = read_summary(archive.as_slice()).unwrap().id;
        server
            .put(&asc, &sign(&publisher.key, archive.as_slice()).unwrap())
            .await;
        let fetched = publisher.fetch("example.com/app:1.0").await.unwrap();
        assert_eq!(fetched.id, id, "{}", server.name);
        let provenance = fetched.provenance.unwrap();
        assert!(matches!(provenance.verified, Verified::By(_)));
        assert!(
            provenance.source.starts_with(&format!("{scheme}://{BUCKET}/{key}")),
            "{}",
            provenance.source
        );

        // It is still the same, so nothing comes again; another one does.
        publisher.context.pull = PullPolicy::Update;
        publisher.seen.take(Phase::Archive);
        let again = publisher.fetch("example.com/app:1.0").await.unwrap();
        assert_eq!((again.id, again.provenance.is_none()), (id, true), "{}", server.name);
        assert!(publisher.seen.take(Phase::Archive).is_empty(), "{}", server.name);

        let url = format!("{scheme}://{BUCKET}/{key}");
        assert_eq!(publisher.fetch(&url).await.unwrap().id, id, "{}", server.name);
        let missing = publisher
            .fetch(&format!("{scheme}://{BUCKET}/no.aci"))
            .await
            .unwrap_err();
        assert_eq!(missing.kind(), ErrorKind::NotFound, "{}: {missing}", server.name);
        assert!(missing.to_string().contains("no.aci"), "{missing}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_public_bucket_needs_no_credentials_and_another_does() {
    let archive = image("example.com/app", "1.0", json!([]));
    for server in [Server::moto(), Server::s3s_fs()] {
        let mut publisher = publisher(&server, server.port);
        let unsigned = BucketSettings::new([
            ("aws_endpoint_url", format!("http://127.0.0.1:{}", server.port)),
            ("aws_skip_signature", "true".to_owned()),
        ]);
        publisher.context.buckets.say(Scheme::S3, None, unsigned);
        let signature = sign(&publisher.key, archive.as_slice()).unwrap();
        for (key, content) in [("app.aci", &archive), ("app.aci.asc", &signature)] {
            match server.name {
                "s3s-fs" => server.put(key, content).await,
                _ => server.put_for_all(key, content),
            }
        }
        let result = publisher.fetch(&format!("s3://{BUCKET}/app.aci")).await;
        if server.name == "s3s-fs" {
            let error = result.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Network, "{error}");
            assert!(error.to_string().contains("app.aci"), "{error}");
            assert!(publisher.stored().is_empty());
        } else {
            result.unwrap();
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn signature_and_archive_are_asked_for_at_once() {
    let archive = image("example.com/app", "1.0", json!([]));
    let together = Together::serve(archive.clone());
    let template = format!("s3://{BUCKET}/{{name}}-{{version}}-{{os}}-{{arch}}.{{ext}}");
    let mut publisher = Publisher::with_templates("", &[&template]);
    let settings = BucketSettings::new([
        ("aws_endpoint_url", format!("http://127.0.0.1:{}", together.port)),
        ("aws_allow_http", "true".to_owned()),
        ("aws_skip_signature", "true".to_owned()),
    ]);
    publisher.context.buckets.say(Scheme::S3, Some(BUCKET), settings);
    publisher.context.downloads.delta = DeltaUse::Never;
    together.sign(sign(&publisher.key, archive.as_slice()).unwrap());
    for reference in ["example.com/app:1.0".to_owned(), format!("s3://{BUCKET}/other.aci")] {
        together.fetched_by(&publisher, &reference).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn plain_http_is_for_who_permits_it() {
    let server = Server::s3s_fs();
    let mut publisher = publisher(&server, server.port);
    publisher.context.client = publisher.world.client();
    let error = publisher.fetch(&format!("s3://{BUCKET}/app.aci")).await.unwrap_err();
    assert!(matches!(error, Error::PlainHttp { .. }), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_archive_that_is_replaced_between_two_halves_comes_whole() {
    let server = Server::s3s_fs();
    let wire = Disturbed::new(server.port);
    let mut publisher = publisher(&server, wire.port);
    publisher.context.downloads.retry = RetryPolicy::once();
    let url = format!("s3://{BUCKET}/app.aci");
    server.put("app.aci", &crate::conformance::content(1 << 20, 1)).await;
    let archive = image("example.com/app", "1.0", json!([]));
    server
        .put("app.aci.asc", &sign(&publisher.key, archive.as_slice()).unwrap())
        .await;
    wire.set(Disturbance::CutAfter(40_000));
    let error = publisher.fetch(&url).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Network, "{error}");
    wire.set(Disturbance::None);
    server.put("app.aci", &archive).await;
    let fetched = publisher.fetch(&url).await.unwrap();
    assert_eq!(fetched.id, read_summary(archive.as_slice()).unwrap().id);
}
