//! The conformance suite, of a torrent whose metainfo is on the web and whose one peer has everything.

use std::{
    fs::{self, File},
    sync::{Arc, Mutex},
};

use dhow_fetchers::{
    HttpClient, HttpOptions, Metainfo, Origin, Seeding, Swarm, SwarmOptions, SwarmTransport, Swarms, Transport,
};
use tempfile::TempDir;
use tokio::{runtime::Handle, task::block_in_place};
use url::Url;

use super::{
    NOWHERE,
    conformance::{Disturbance, Place, conforms},
    options, torrent,
    web::Web,
    with_peers,
};

struct SwarmPlace {
    directory: TempDir,
    web: Web,
    seeder: Swarm,
    seedings: Mutex<Vec<Seeding>>,
}

impl Place for SwarmPlace {
    fn put(&self, content: &[u8]) {
        let torrent = torrent(content, NOWHERE);
        let metainfo = Metainfo::parse(&torrent).unwrap();
        let mut seedings = self.seedings.lock().unwrap();
        let path = self.directory.path().join(seedings.len().to_string());
        fs::write(&path, content).unwrap();
        let begin = Seeding::begin(&self.seeder, &metainfo, File::open(&path).unwrap(), "seed");
        seedings.push(block_in_place(|| Handle::current().block_on(begin)).unwrap());
        self.web.put(Some(torrent));
    }

    fn remove(&self) {
        self.web.put(None);
    }

    fn transport(&self) -> Box<dyn Transport> {
        let swarms = Swarms::new(
            SwarmOptions {
                peers: vec![self.seeder.address()],
                ..options()
            },
            None,
        );
        let client = HttpClient::new(HttpOptions {
            insecure_http: true,
            ..HttpOptions::default()
        });
        let url = Url::parse(&format!("{}.torrent", self.web.url())).unwrap();
        let origin = Arc::new(Origin::of_url(&url));
        Box::new(SwarmTransport::of_url(Arc::new(swarms), client.unwrap(), url, origin))
    }

    fn disturb(&self, _: Disturbance) -> bool {
        false
    }

    fn can_be_empty(&self) -> bool {
        false
    }

    fn sent(&self) -> u64 {
        0
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_swarm_is_a_transport_as_any_other() {
    let place = SwarmPlace {
        directory: TempDir::new().unwrap(),
        web: Web::serve(Vec::new()).await,
        seeder: with_peers(&[]).await,
        seedings: Mutex::default(),
    };
    conforms(&place).await;
}
