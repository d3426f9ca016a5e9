//! The conformance suite for buckets.

use dhow_fetchers::{BucketTransport, HttpClient, HttpOptions, Transport};
use tokio::{runtime::Handle, task::block_in_place};
use url::Url;

use crate::{
    conformance::{Disturbance, Disturbed, Place, conforms},
    servers::{BUCKET, Server},
};

/// An object in a bucket, beyond a wire that breaks.
struct Bucket {
    server: Server,
    wire: Disturbed,
}

impl Bucket {
    fn new(server: Server) -> Self {
        Self {
            wire: Disturbed::new(server.port),
            server,
        }
    }
}

impl Place for Bucket {
    fn put(&self, content: &[u8]) {
        block_in_place(|| Handle::current().block_on(self.server.put("thing", content)));
    }

    fn remove(&self) {
        block_in_place(|| Handle::current().block_on(self.server.remove("thing")));
    }

    fn transport(&self) -> Box<dyn Transport> {
        let client = HttpClient::new(HttpOptions {
            insecure_http: true,
            ..HttpOptions::default()
        });
        let url = format!("{}://{BUCKET}/thing", self.server.scheme().as_str());
        let url = Url::parse(&url).unwrap();
        let settings = self.server.settings(self.wire.port);
        Box::new(BucketTransport::new(client.unwrap(), url, settings).unwrap())
    }

    fn disturb(&self, disturbance: Disturbance) -> bool {
        self.wire.set(disturbance);
        true
    }

    fn sent(&self) -> u64 {
        self.wire.sent()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn s3s_fs_conforms() {
    conforms(&Bucket::new(Server::s3s_fs())).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn moto_conforms() {
    conforms(&Bucket::new(Server::moto())).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn fake_gcs_conforms() {
    conforms(&Bucket::new(Server::fake_gcs())).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn azurite_conforms() {
    conforms(&Bucket::new(Server::azurite())).await;
}
