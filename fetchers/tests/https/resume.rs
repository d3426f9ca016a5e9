//! Going on after an interruption.

use std::{
    fs::File,
    io::Write,
    net::{Shutdown, TcpListener, TcpStream},
    os::unix::fs::FileExt,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
};

use dhow_fetchers::{Ask, Error, HttpClient, HttpOptions, HttpsTransport, Origin, Transport, Version};
use sha2::{Digest, Sha256};
use tempfile::TempDir;
use url::Url;

use crate::{
    conformance::{content, download},
    world::{World, raw_server},
};

/// What another process left: the first bytes of a thing, of a version called so. The format is docs/src/formats's.
fn left_behind(place: &str, begin: &[u8], version: &str, size: usize) -> TempDir {
    let directory = TempDir::new().unwrap();
    let key = hex::encode(Sha256::digest(place));
    let state = serde_json::json!({"version": version, "size": size, "missing": [[begin.len(), size]]});
    std::fs::write(directory.path().join(format!("{key}.part")), begin).unwrap();
    std::fs::write(directory.path().join(format!("{key}.state")), state.to_string()).unwrap();
    directory
}

fn transport(client: HttpClient, url: &str) -> HttpsTransport {
    let url = Url::parse(url).unwrap();
    let origin = Arc::new(Origin::of_url(&url));
    HttpsTransport::new(client, url, origin)
}

fn plain_client() -> HttpClient {
    HttpClient::new(HttpOptions {
        insecure_http: true,
        ..HttpOptions::default()
    })
    .unwrap()
}

#[tokio::test]
async fn nginx_sends_the_rest_of_the_same_version_and_the_whole_of_another() {
    let world = World::new("");
    let content = content(800_000, 1);
    world.serve("x", &content);
    let transport = transport(world.client(), "https://example.com/x");
    let tag = transport.open(&Ask::whole()).await.unwrap().version.unwrap();

    // Bytes that differ tell which of them were fetched again.
    let begin = vec![b'!'; 300_000];
    let resumed = [&begin, &content[begin.len()..]].concat();
    for (version, size, expected) in [
        (tag.as_str(), content.len(), &resumed),
        ("\"other\"", content.len(), &content),
        (tag.as_str(), content.len() + 1, &content),
    ] {
        let directory = left_behind(&transport.place(), &begin, version, size);
        let (result, partial) = download(&directory, &transport).await;
        assert_eq!(result.unwrap(), content.len() as u64);
        assert!(std::fs::read(partial.path()).unwrap() == *expected, "{version} {size}");
    }

    // What was whole already is asked about, and used or not.
    for (version, expected) in [
        (tag.as_str(), vec![b'!'; content.len()]),
        ("\"other\"", content.clone()),
    ] {
        let directory = left_behind(&transport.place(), &vec![b'!'; content.len()], version, content.len());
        let (result, partial) = download(&directory, &transport).await;
        assert_eq!(result.unwrap(), content.len() as u64);
        assert!(std::fs::read(partial.path()).unwrap() == expected, "{version}");
    }
}

#[tokio::test]
async fn a_rest_that_does_not_fit_is_not_taken() {
    for (range, tag) in [
        ("bytes 4-9/10", "v1"),
        ("bytes 3-9/10", "v1"),
        ("bytes 5-8/10", "v1"),
        ("bytes 5-9/*", "v1"),
        ("bytes 5-9/11", "v1"),
        ("bytes 5-18446744073709551615/10", "v1"),
        ("5-9/10", "v1"),
        ("", "v1"),
        ("bytes 5-9/10", "v2"),
    ] {
        let port = raw_server(move |_, stream| {
            let head = format!(
                "HTTP/1.1 206 Partial Content\r\nETag: \"{tag}\"\r\nContent-Range: {range}\r\nContent-Length: 5\r\n\r\n"
            );
            let _ = stream.write_all(format!("{head}56789").as_bytes());
        });
        let transport = transport(plain_client(), &format!("http://127.0.0.1:{port}/"));
        let ask = Ask {
            from: 5,
            to: None,
            version: Some(Version::new("\"v1\"")),
        };
        let error = transport.open(&ask).await.unwrap_err();
        assert!(matches!(error, Error::Range { .. }), "{range}: {error}");
        let directory = left_behind(&transport.place(), b"01234", "\"v1\"", 10);
        let (result, partial) = download(&directory, &transport).await;
        // Asked for the whole after that, it still sends a part.
        let error = result.unwrap_err();
        assert!(matches!(error, Error::Status { status: 206, .. }), "{range}: {error}");
        assert_eq!(std::fs::read(partial.path()).unwrap(), b"", "{range}");
    }
}

/// A server that breaks off each answer after `piece` bytes, and knows ranges or not.
fn breaking_server(archive: Vec<u8>, piece: usize) -> (u16, Arc<AtomicUsize>) {
    let sent = Arc::new(AtomicUsize::new(0));
    let count = sent.clone();
    let port = crate::world::raw_server_with_head(move |_, head, stream| {
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
async fn a_download_goes_on_where_the_connection_broke_but_not_for_ever() {
    let content = content(1 << 20, 1);
    let directory = TempDir::new().unwrap();
    // Each attempt brings enough, however many there are.
    let (port, sent) = breaking_server(content.clone(), 300_000);
    let url = format!("http://127.0.0.1:{port}/app.aci");
    let (result, partial) = download(&directory, &transport(plain_client(), &url)).await;
    assert_eq!(result.unwrap(), content.len() as u64);
    assert!(std::fs::read(partial.path()).unwrap() == content);
    assert_eq!(sent.load(Ordering::SeqCst), content.len(), "no byte came twice");

    let (port, sent) = breaking_server(content.clone(), 1);
    let url = format!("http://127.0.0.1:{port}/app.aci");
    let (result, partial) = download(&directory, &transport(plain_client(), &url)).await;
    assert!(matches!(result, Err(Error::Truncated { .. })));
    assert_eq!(
        (partial.received(), sent.load(Ordering::SeqCst)),
        (3, 3),
        "a byte for each attempt"
    );
}

/// Forwards one connection to a port of this machine, and refuses all others.
fn one_connection(to: u16) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    thread::spawn(move || {
        let (mut client, _) = listener.accept().unwrap();
        drop(listener);
        let mut server = TcpStream::connect(("127.0.0.1", to)).unwrap();
        let (mut up, mut up_to) = (client.try_clone().unwrap(), server.try_clone().unwrap());
        thread::spawn(move || {
            let _ = std::io::copy(&mut up, &mut up_to);
            let _ = up_to.shutdown(Shutdown::Both);
        });
        let _ = std::io::copy(&mut server, &mut client);
    });
    port
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_long_comes_by_a_shared_connection_where_there_can_be_no_other() {
    let world = World::new("");
    let size = 288 << 20;
    let served = world.path("www/long");
    let file = File::create(&served).unwrap();
    file.set_len(size).unwrap();
    // Bytes in the wrong place would be noticed.
    for at in (0..size).step_by(1 << 20) {
        file.write_all_at(&at.to_le_bytes(), at).unwrap();
    }
    let rule = format!("example.com:443:127.0.0.1:{}", one_connection(world.https));
    let options = HttpOptions {
        connect_to: vec![rule.parse().unwrap()],
        ..world.options()
    };
    let transport = transport(HttpClient::new(options).unwrap(), "https://example.com/long");
    assert!(transport.open(&Ask::whole()).await.unwrap().shared);
    let directory = TempDir::new().unwrap();
    let (result, partial) = download(&directory, &transport).await;
    assert_eq!(result.unwrap(), size);
    assert!(std::fs::read(partial.path()).unwrap() == std::fs::read(served).unwrap());
}
