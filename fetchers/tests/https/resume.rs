//! Going on after an interruption.

use std::{
    io::Write,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use dhow_fetchers::{
    Error, FileTransport, HttpClient, HttpOptions, HttpsTransport, NoProgress, Origin, Partial, Transport,
};
use dhow_image::read_summary;
use dhow_trust::sign;
use serde_json::json;
use tempfile::NamedTempFile;
use url::Url;

use crate::{
    publisher::{Publisher, image},
    world::{World, raw_server},
};

fn content() -> Vec<u8> {
    (0..200_000_u32).flat_map(u32::to_le_bytes).collect()
}

/// A file of which some bytes came before, of a version called so.
async fn partial(begin: &[u8], validator: Option<&str>) -> (NamedTempFile, Partial) {
    let file = NamedTempFile::new().unwrap();
    let mut partial = Partial::new(tokio::fs::File::from_std(file.reopen().unwrap()));
    partial.restart(validator.map(str::to_owned)).await.unwrap();
    partial.write(begin).await.unwrap();
    (file, partial)
}

#[tokio::test]
async fn nginx_sends_the_rest_of_the_same_version_and_the_whole_of_another() {
    let world = World::new("");
    let content = content();
    world.serve("x", &content);
    let client = world.client();
    let url = Url::parse("https://example.com/x").unwrap();
    let origin = Origin::of_url(&url);
    let transport = HttpsTransport::new(&client, &url, &origin);
    let (_, mut whole) = partial(b"", None).await;
    transport.fetch(&mut whole, &NoProgress).await.unwrap();
    let tag = whole.validator().unwrap().to_owned();

    // Bytes that differ tell which of them were fetched again.
    let begin = vec![b'!'; 300_000];
    let resumed = [&begin, &content[begin.len()..]].concat();
    for (validator, expected) in [
        (Some(tag.as_str()), &resumed),
        (Some("\"other\""), &content),
        (None, &content),
    ] {
        let (file, mut partial) = partial(&begin, validator).await;
        let download = transport.fetch(&mut partial, &NoProgress).await.unwrap();
        assert_eq!(download.size, content.len() as u64);
        assert!(std::fs::read(file.path()).unwrap() == *expected, "{validator:?}");
    }

    let (_, mut longer) = partial(&[content.as_slice(), b"more"].concat(), Some(&tag)).await;
    let error = transport.fetch(&mut longer, &NoProgress).await.unwrap_err();
    assert!(matches!(error, Error::Range { .. }), "{error}");
    assert_eq!(longer.received(), 0, "the next attempt begins anew");
}

#[tokio::test]
async fn a_rest_that_does_not_fit_is_not_written() {
    for range in [
        "bytes 4-9/10",
        "bytes 3-9/10",
        "bytes 5-8/10",
        "bytes 5-9/*",
        "bytes 5-9/11",
        "5-9/10",
        "",
    ] {
        let port = raw_server(move |_, stream| {
            let head = format!("HTTP/1.1 206 Partial Content\r\nContent-Range: {range}\r\nContent-Length: 5\r\n\r\n");
            let _ = stream.write_all(format!("{head}56789").as_bytes());
        });
        let url = Url::parse(&format!("http://127.0.0.1:{port}/")).unwrap();
        let client = HttpClient::new(HttpOptions {
            insecure_http: true,
            ..HttpOptions::default()
        })
        .unwrap();
        let origin = Origin::of_url(&url);
        let (file, mut partial) = partial(b"01234", Some("\"v1\"")).await;
        let error = HttpsTransport::new(&client, &url, &origin)
            .fetch(&mut partial, &NoProgress)
            .await
            .unwrap_err();
        assert!(matches!(error, Error::Range { .. }), "{range}: {error}");
        assert_eq!(std::fs::read(file.path()).unwrap(), b"", "{range}");
    }
}

#[tokio::test]
async fn a_file_is_copied_anew() {
    let source = NamedTempFile::new().unwrap();
    std::fs::write(source.path(), content()).unwrap();
    let (file, mut partial) = partial(b"left over", None).await;
    FileTransport::new(source.path())
        .fetch(&mut partial, &NoProgress)
        .await
        .unwrap();
    assert!(std::fs::read(file.path()).unwrap() == content());
}

/// A server that breaks off each answer after `piece` bytes, and knows ranges or not.
fn breaking_server(archive: Vec<u8>, signature: Vec<u8>, piece: usize) -> (u16, Arc<AtomicUsize>) {
    let sent = Arc::new(AtomicUsize::new(0));
    let count = sent.clone();
    let port = crate::world::raw_server_with_head(move |path, head, stream| {
        if path.ends_with(".asc") {
            let _ = write!(
                stream,
                "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: {}\r\n\r\n",
                signature.len()
            );
            let _ = stream.write_all(&signature);
            return;
        }
        let range = head
            .iter()
            .find_map(|line| line.strip_prefix("range: bytes=")?.strip_suffix('-')?.parse().ok());
        let from: usize = range.unwrap_or(0);
        let (size, left) = (archive.len(), archive.len() - from);
        let status = match range {
            Some(from) => format!("206 Partial Content\r\nContent-Range: bytes {from}-{}/{size}", size - 1),
            None => "200 OK".to_owned(),
        };
        let _ = write!(
            stream,
            "HTTP/1.1 {status}\r\nETag: \"v1\"\r\nContent-Length: {left}\r\n\r\n"
        );
        let body = &archive[from..size.min(from + piece)];
        count.fetch_add(body.len(), Ordering::SeqCst);
        let _ = stream.write_all(body);
    });
    (port, sent)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fetch_goes_on_where_the_connection_broke() {
    let archive = image("example.com/app", "1.0", json!([]));
    let mut publisher = Publisher::new("");
    let signature = sign(&publisher.key, archive.as_slice()).unwrap();
    let (port, sent) = breaking_server(archive.clone(), signature, 100);
    let options = HttpOptions {
        insecure_http: true,
        ..publisher.world.options()
    };
    publisher.context.client = HttpClient::new(options).unwrap();
    let fetched = publisher
        .fetch(&format!("http://127.0.0.1:{port}/app.aci"))
        .await
        .unwrap();
    assert_eq!(fetched.id, read_summary(archive.as_slice()).unwrap().id);
    assert_eq!(sent.load(Ordering::SeqCst), archive.len(), "no byte came twice");
}
