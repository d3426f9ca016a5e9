//! How much is asked for before anything is believed: enough to lose no time, and no more.

use std::{
    io::Write,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use dhow_fetchers::{Error, ErrorKind, HttpClient, HttpOptions};
use dhow_trust::sign;
use serde_json::json;

use crate::{
    publisher::{Publisher, image, new_key},
    together::Together,
    world::raw_server,
};

const NAME: &str = "example.com/team/app";
const PATIENCE: Duration = Duration::from_secs(20);
const OK: &str = "HTTP/1.1 200 OK\r\nConnection: close\r\n";

/// A publisher whose archives and signatures come from this port, through nginx as they come.
fn behind(port: u16) -> Publisher {
    Publisher::new(&format!(
        r"location ~ \.aci {{ proxy_pass http://127.0.0.1:{port}; proxy_buffering off; }}"
    ))
}

/// The page is one round trip, and so are signature and archive. Where a URL names the archive there is no page.
#[tokio::test(flavor = "multi_thread")]
async fn signature_and_archive_are_one_round_trip() {
    let archive = image(NAME, "1.0", json!([]));
    let together = Together::serve(archive.clone());
    let publisher = behind(together.port);
    together.sign(sign(&publisher.key, archive.as_slice()).unwrap());
    for reference in ["example.com/team/app:1.0", "https://storage.example/other.aci"] {
        together.fetched_by(&publisher, reference).await;
    }
    assert_eq!(publisher.stored(), ["example.com/team/app:1.0"]);
}

/// An answer that is held back keeps no other from coming.
#[tokio::test(flavor = "multi_thread")]
async fn a_host_with_one_request_at_a_time_is_asked_for_one_after_the_other() {
    let mut publisher = Publisher::new("");
    publisher.context.client = HttpClient::new(HttpOptions {
        per_host: 1,
        ..publisher.world.options()
    })
    .unwrap();
    publisher.publish(&crate::publisher::path_of(NAME, "1.0"), &image(NAME, "1.0", json!([])));
    let fetched = tokio::time::timeout(PATIENCE, publisher.fetch("example.com/team/app:1.0")).await;
    fetched.expect("it is not waited for itself").unwrap();
}

/// An archive without an end.
#[derive(Clone, Default)]
struct Endless {
    /// How many bytes somebody took.
    sent: Arc<AtomicUsize>,
    /// How many downloads go on.
    open: Arc<AtomicUsize>,
}

/// Sends without an end, and counts what somebody took.
fn endless(signature: Arc<Mutex<Vec<u8>>>) -> (u16, Endless) {
    let endless = Endless::default();
    let Endless { sent, open } = endless.clone();
    let port = raw_server(move |path, stream| {
        if path.ends_with(".asc") {
            let body = signature.lock().unwrap().clone();
            let _ = write!(stream, "{OK}Content-Length: {}\r\n\r\n", body.len());
            let _ = stream.write_all(&body);
            return;
        }
        open.fetch_add(1, Ordering::SeqCst);
        let _ = write!(stream, "{OK}Content-Length: {}\r\n\r\n", 1_u64 << 35);
        let piece = b"<p>not an image</p>".repeat(1000);
        while stream.write_all(&piece).is_ok() {
            sent.fetch_add(piece.len(), Ordering::SeqCst);
        }
        open.fetch_sub(1, Ordering::SeqCst);
    });
    (port, endless)
}

/// What a fetch came to, and how much of the endless archive was sent for it.
///
/// Where the signature is there first, the archive may not have been asked for at all.
async fn came(publisher: &Publisher, reference: &str, endless: &Endless) -> (Error, usize) {
    let before = endless.sent.load(Ordering::SeqCst);
    let fetched = tokio::time::timeout(PATIENCE, publisher.fetch(reference)).await;
    let error = fetched.expect("nobody waits for the end").unwrap_err();
    let deadline = Instant::now() + PATIENCE;
    // What was asked for and is not wanted any more may only now reach the server.
    thread::sleep(Duration::from_millis(50));
    while endless.open.load(Ordering::SeqCst) > 0 {
        assert!(Instant::now() < deadline, "the download goes on");
        thread::sleep(Duration::from_millis(5));
    }
    (error, endless.sent.load(Ordering::SeqCst) - before)
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_believed_does_not_come_whole() {
    let signature = Arc::new(Mutex::new(Vec::new()));
    let (port, endless) = endless(signature.clone());
    let publisher = behind(port);
    // By its signature: no more comes than what is on the way, in the windows and buffers of two connections.
    for bad in [sign(&new_key(), &b"data"[..]).unwrap(), b"no signature".to_vec()] {
        *signature.lock().unwrap() = bad;
        for reference in ["example.com/team/app:1.0", "https://storage.example/x.aci"] {
            let (error, bytes) = came(&publisher, reference, &endless).await;
            assert_eq!(error.kind(), ErrorKind::NotTrusted, "{error}");
            assert!(bytes < 32 << 20, "{reference}: {bytes}");
        }
    }
    let left = std::fs::read_dir(publisher.context.store.downloads_dir())
        .unwrap()
        .count();
    assert_eq!(left, 0, "nothing is kept of what was never wanted");

    // By its first bytes, where its manifest must tell whose signature counts.
    *signature.lock().unwrap() = sign(&publisher.key, &b"data"[..]).unwrap();
    let (error, _) = came(&publisher, "https://storage.example/x.aci", &endless).await;
    assert_eq!(error.kind(), ErrorKind::Corrupt, "{error}");
}
