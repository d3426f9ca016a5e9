//! The client against servers that break their word.

use std::{
    io::{BufRead, BufReader, Write},
    net::{TcpListener, TcpStream},
    sync::Arc,
    time::{Duration, Instant},
};

use dhow_fetchers::{Error, ErrorKind, HttpClient, HttpOptions, HttpsTransport, Origin, RetryPolicy, Timeouts};
use url::Url;

use crate::world::raw_server;

fn answer(path: &str, stream: &mut TcpStream) {
    let mut send = |text: &str| stream.write_all(text.as_bytes()).is_ok();
    match path {
        "/short" => send("HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n0123456789"),
        "/short-chunked" => send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\na\r\n0123456789\r\n"),
        "/stalled" => {
            send("HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n0123456789");
            std::thread::sleep(Duration::from_secs(5));
            true
        }
        "/silent" => {
            std::thread::sleep(Duration::from_secs(5));
            true
        }
        "/trickle" => {
            send("HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n");
            (0..50).all(|_| {
                std::thread::sleep(Duration::from_millis(100));
                send("x")
            })
        }
        "/endless" => {
            send("HTTP/1.1 200 OK\r\n\r\n");
            while send(&"x".repeat(1 << 16)) {}
            true
        }
        "/gzip" => send("HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 4\r\n\r\n\x1f\u{b}\x08\x00"),
        "/partial" => {
            send("HTTP/1.1 206 Partial Content\r\nContent-Range: bytes 0-3/100\r\nContent-Length: 4\r\n\r\nabcd")
        }
        "/ok" => send("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n0123456789"),
        _ => send("HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n"),
    };
}

fn client() -> HttpClient {
    let timeouts = Timeouts {
        read: Duration::from_millis(400),
        small: Duration::from_secs(1),
        ..Timeouts::default()
    };
    HttpClient::new(HttpOptions {
        insecure_http: true,
        timeouts,
        retry: RetryPolicy::once(),
        ..HttpOptions::default()
    })
    .unwrap()
}

/// Fetches as an archive is fetched, and gives back what is in the file.
async fn download(port: u16, path: &str) -> (Result<u64, Error>, Vec<u8>) {
    let url = Url::parse(&format!("http://127.0.0.1:{port}{path}")).unwrap();
    let origin = Arc::new(Origin::of_url(&url));
    let directory = tempfile::tempdir().unwrap();
    let transport = HttpsTransport::new(client(), url, origin);
    let (result, partial) = crate::conformance::download(&directory, &transport).await;
    (result, std::fs::read(partial.path()).unwrap())
}

#[tokio::test]
async fn a_body_that_ends_early_is_truncated() {
    let port = raw_server(answer);
    assert!(matches!(download(port, "/ok").await, (Ok(10), file) if file == b"0123456789"));
    for path in ["/short", "/short-chunked", "/stalled"] {
        let started = Instant::now();
        let error = download(port, path).await.0.unwrap_err();
        assert!(
            matches!(error, Error::Truncated { received: 10, .. }),
            "{path}: {error}"
        );
        assert!(error.to_string().contains("truncated after 10 bytes"), "{error}");
        assert_eq!(error.kind(), ErrorKind::Network);
        assert!(started.elapsed() < Duration::from_secs(3), "{path}");
    }
}

#[tokio::test]
async fn a_status_that_brings_no_archive_is_an_error() {
    let port = raw_server(answer);
    for (path, wanted) in [("/partial", 206), ("/unavailable", 503)] {
        let error = download(port, path).await.0.unwrap_err();
        assert!(
            matches!(error, Error::Status { status, .. } if status == wanted),
            "{path}: {error}"
        );
    }
    assert!(matches!(download(port, "/silent").await.0, Err(Error::Request { .. })));
}

#[tokio::test]
async fn a_page_is_neither_waited_for_nor_read_for_ever() {
    let port = raw_server(answer);
    let client = client();
    let small = async |path: &str| {
        let url = Url::parse(&format!("http://127.0.0.1:{port}{path}")).unwrap();
        let started = Instant::now();
        let result = client.get_small(&url, &Origin::of_url(&url), 1 << 20).await;
        assert!(started.elapsed() < Duration::from_secs(3), "{path}");
        result
    };
    assert!(matches!(small("/trickle").await, Err(Error::TooSlow { .. })));
    assert_eq!(small("/endless").await.unwrap().body.len(), (1 << 20) + 1);
    assert!(matches!(small("/gzip").await, Err(Error::Encoded { .. })));
    assert!(matches!(small("/short").await, Err(Error::Truncated { .. })));
    assert_eq!(small("/ok").await.unwrap().body, b"0123456789");
}

#[tokio::test]
async fn a_connection_that_was_closed_while_idle_is_made_anew() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let mut lines = BufReader::new(stream.try_clone().unwrap())
                .lines()
                .map_while(Result::ok);
            // It answers once, and hangs up on whoever comes again.
            while lines.next().is_some_and(|line| !line.is_empty()) {}
            answer("/ok", &mut stream);
            while lines.next().is_some_and(|line| !line.is_empty()) {}
        }
    });
    let url = Url::parse(&format!("http://127.0.0.1:{port}/")).unwrap();
    let client = client();
    for _ in 0..3 {
        let answer = client.get_small(&url, &Origin::of_url(&url), 100).await.unwrap();
        assert_eq!(answer.body, b"0123456789");
    }
}
