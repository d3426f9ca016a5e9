//! [`SwarmOptions`]: how swarms are joined.

use std::{
    net::{Ipv6Addr, SocketAddr},
    num::NonZeroU32,
    time::Duration,
};

use url::Url;

/// How swarms are joined.
#[derive(Clone, Debug)]
pub struct SwarmOptions {
    /// Whether swarms are tried before other places, and not after them.
    pub preferred: bool,
    /// Where peers reach us. Port 0 is any.
    pub listen: SocketAddr,
    /// Whether peers are looked for in the distributed table that anybody can read (BEP 5).
    pub dht: bool,
    /// Whether peers are looked for in the local network (BEP 14).
    pub local_discovery: bool,
    /// Trackers to ask beside those of each torrent.
    pub trackers: Vec<Url>,
    /// Peers to begin with.
    pub peers: Vec<SocketAddr>,
    /// How many bytes a second may come from peers, in all.
    pub download_limit: Option<NonZeroU32>,
    /// How many bytes a second may go to peers, in all.
    pub upload_limit: Option<NonZeroU32>,
    /// How long peers may take to give the metadata of a magnet link.
    pub metadata_patience: Duration,
    /// How long a first peer is waited for. Meanwhile the origin gives parts that are left to chance.
    pub origin_grace: Duration,
    /// How long a swarm may bring nothing, where no origin can help.
    pub stall_patience: Duration,
}

impl Default for SwarmOptions {
    fn default() -> Self {
        Self {
            preferred: false,
            listen: (Ipv6Addr::UNSPECIFIED, 0).into(),
            dht: false,
            local_discovery: true,
            trackers: Vec::new(),
            peers: Vec::new(),
            download_limit: None,
            upload_limit: None,
            metadata_patience: Duration::from_secs(60),
            origin_grace: Duration::from_millis(500),
            stall_patience: Duration::from_secs(60),
        }
    }
}
