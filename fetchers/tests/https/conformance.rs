//! The conformance suite for HTTPS, against nginx over either version of HTTP and against `dhow-mirror`, and for files.

use std::{
    io::{BufRead, BufReader},
    process::{Child, Command, Stdio},
    sync::Arc,
};

use dhow_fetchers::{Ask, Error, FileTransport, HttpClient, HttpOptions, HttpsTransport, Origin, Transport};
use futures::StreamExt;
use tempfile::TempDir;
use url::Url;

use crate::{
    conformance::{Disturbance, Disturbed, Place, conforms},
    world::World,
};

/// A file that nginx serves, beyond a wire that breaks.
struct Nginx {
    world: World,
    wire: Disturbed,
    url: Url,
}

impl Nginx {
    fn new(url: &str) -> Self {
        let world = World::new("");
        let port = if url.starts_with("https:") {
            world.https
        } else {
            world.http
        };
        Self {
            wire: Disturbed::new(port),
            world,
            url: Url::parse(url).unwrap(),
        }
    }
}

impl Place for Nginx {
    fn put(&self, content: &[u8]) {
        self.world.serve("thing", content);
    }

    fn remove(&self) {
        std::fs::remove_file(self.world.path("www/thing")).unwrap();
    }

    fn transport(&self) -> Box<dyn Transport> {
        let port = self.url.port_or_known_default().unwrap();
        let rule = format!("example.com:{port}:127.0.0.1:{}", self.wire.port);
        let client = HttpClient::new(HttpOptions {
            connect_to: vec![rule.parse().unwrap()],
            insecure_http: true,
            ..self.world.options()
        });
        let origin = Arc::new(Origin::of_url(&self.url));
        Box::new(HttpsTransport::new(client.unwrap(), self.url.clone(), origin))
    }

    fn disturb(&self, disturbance: Disturbance) -> bool {
        self.wire.set(disturbance);
        true
    }

    fn sent(&self) -> u64 {
        self.wire.sent()
    }
}

/// A file of a site that `dhow-mirror` serves, beyond a wire that breaks.
struct Mirror {
    world: World,
    wire: Disturbed,
    server: Child,
}

const IN_SITE: &str = "ACI/example.com/app/1.0-linux-amd64.aci";

impl Mirror {
    fn new() -> Self {
        let world = World::new("");
        let mut server = Command::new(dhow_tests::programs().join("dhow-mirror"));
        server
            .args(["serve", "--listen", "127.0.0.1:0", "--site"])
            .arg(world.path("www"));
        server.arg("--tls-cert").arg(world.path("server.pem"));
        server.arg("--tls-key").arg(world.path("server.key"));
        let mut server = server.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().unwrap();
        let mut url = String::new();
        let mut said = BufReader::new(server.stdout.take().unwrap());
        said.read_line(&mut url).unwrap();
        let port = Url::parse(url.trim()).unwrap().port().unwrap();
        Self {
            world,
            wire: Disturbed::new(port),
            server,
        }
    }
}

impl Drop for Mirror {
    fn drop(&mut self) {
        self.server.kill().unwrap();
        self.server.wait().unwrap();
    }
}

impl Place for Mirror {
    fn put(&self, content: &[u8]) {
        self.world.serve(IN_SITE, content);
    }

    fn remove(&self) {
        std::fs::remove_file(self.world.path("www").join(IN_SITE)).unwrap();
    }

    fn transport(&self) -> Box<dyn Transport> {
        let url = Url::parse(&format!("https://example.com/{IN_SITE}")).unwrap();
        let rule = format!("example.com:443:127.0.0.1:{}", self.wire.port);
        let client = HttpClient::new(HttpOptions {
            connect_to: vec![rule.parse().unwrap()],
            ..self.world.options()
        });
        let origin = Arc::new(Origin::of_url(&url));
        Box::new(HttpsTransport::new(client.unwrap(), url, origin))
    }

    fn disturb(&self, disturbance: Disturbance) -> bool {
        self.wire.set(disturbance);
        true
    }

    fn sent(&self) -> u64 {
        self.wire.sent()
    }
}

struct Directory(TempDir);

impl Place for Directory {
    fn put(&self, content: &[u8]) {
        std::fs::write(self.0.path().join("thing"), content).unwrap();
    }

    fn remove(&self) {
        std::fs::remove_file(self.0.path().join("thing")).unwrap();
    }

    fn transport(&self) -> Box<dyn Transport> {
        Box::new(FileTransport::new(self.0.path().join("thing")))
    }

    fn disturb(&self, _: Disturbance) -> bool {
        false
    }

    fn sent(&self) -> u64 {
        0
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn https_over_http_2_conforms() {
    conforms(&Nginx::new("https://example.com/thing")).await;
}

/// A port in the URL and another on the wire keep HTTP/2 away.
#[tokio::test(flavor = "multi_thread")]
async fn https_over_http_1_conforms() {
    conforms(&Nginx::new("https://example.com:4443/thing")).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn plain_http_conforms() {
    conforms(&Nginx::new("http://example.com/thing")).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mirror_of_ours_conforms() {
    conforms(&Mirror::new()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn files_conform() {
    conforms(&Directory(TempDir::new().unwrap())).await;
}

#[tokio::test]
async fn a_file_that_shrinks_while_it_is_read_is_truncated() {
    let place = Directory(TempDir::new().unwrap());
    place.put(&vec![7; 4 << 20]);
    let mut opened = place.transport().open(&Ask::whole()).await.unwrap();
    assert!(opened.body.next().await.unwrap().is_ok());
    place.put(b"");
    let mut last = None;
    while let Some(chunk) = opened.body.next().await {
        last = Some(chunk);
    }
    assert!(matches!(last, Some(Err(Error::Truncated { .. }))), "{last:?}");
}
