//! [`Swarm`]: this process among peers.

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    num::NonZeroU32,
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
};

use librqbit::{
    AddTorrent, AddTorrentOptions, AddTorrentResponse, ConnectionOptions, DhtSessionConfig, ListenerOptions,
    ManagedTorrent, PeerConnectionOptions, Session, SessionOptions, TorrentStatsState, api::Api,
    generate_azereus_style, limits::LimitsConfig,
};
use librqbit_core::Id20;
use url::Url;

use super::{
    introduce::Introducer,
    magnet::Magnet,
    metainfo::{Metainfo, MetainfoError},
    options::SwarmOptions,
    piece_file::PieceFile,
    threads::{Threads, Within},
};
use crate::error::Error;

/// A session in which torrents are downloaded and seeded, on threads of its own. It ends when it is dropped.
pub struct Swarm {
    session: Arc<Session>,
    api: Api,
    pub(super) options: SwarmOptions,
    threads: Threads,
}

/// One torrent of the session.
pub(super) struct Torrent {
    session: Arc<Session>,
    home: Within,
    handle: Arc<ManagedTorrent>,
    pub(super) pieces: Arc<PieceFile>,
    pub(super) introducer: Introducer,
    /// How many of the session's live peers are this process itself.
    own: Arc<AtomicU32>,
}

/// librqbit asks for whole requests of 16 KiB at once; a limit below lets nothing through.
const LEAST_LIMIT: u32 = 16 << 10;
/// A peer may say nothing for so long. Some let a newcomer wait for ten seconds.
const SILENCE: std::time::Duration = std::time::Duration::from_secs(30);

impl Swarm {
    /// Begins to listen. Nobody is told of us before there is a torrent.
    pub async fn start(options: SwarmOptions) -> Result<Self, Error> {
        let failed = |error: anyhow::Error| Error::Swarm {
            problem: format!("{error:#}"),
        };
        let mut listen = options.listen;
        // A loopback address is announced only with a port of its own choice.
        if listen.ip().is_loopback() && listen.port() == 0 {
            let free = std::net::TcpListener::bind(listen).and_then(|listener| listener.local_addr());
            listen = free.map_err(|error| failed(error.into()))?;
        }
        if listen.ip() == IpAddr::V6(Ipv6Addr::UNSPECIFIED)
            && std::net::TcpListener::bind((Ipv6Addr::UNSPECIFIED, 0)).is_err()
        {
            listen.set_ip(Ipv4Addr::UNSPECIFIED.into());
        }
        let session_options = SessionOptions {
            dht: options.dht.then(|| DhtSessionConfig {
                persistence: None,
                ..DhtSessionConfig::default()
            }),
            peer_id: Some(generate_azereus_style(*b"DH", version())),
            client_name_and_version: Some(concat!("dhow/", env!("CARGO_PKG_VERSION")).to_owned()),
            listen: Some(ListenerOptions {
                listen_addr: listen,
                announce_port: listen.ip().is_loopback().then(|| listen.port()),
                ipv4_only: listen.is_ipv4(),
                ..ListenerOptions::default()
            }),
            connect: Some(ConnectionOptions {
                peer_opts: Some(PeerConnectionOptions {
                    connect_timeout: Some(std::time::Duration::from_secs(5)),
                    read_write_timeout: Some(SILENCE),
                    ..PeerConnectionOptions::default()
                }),
                ..ConnectionOptions::default()
            }),
            ratelimits: LimitsConfig {
                upload_bps: at_least(options.upload_limit),
                download_bps: at_least(options.download_limit),
            },
            disable_local_service_discovery: !options.local_discovery,
            ipv4_only: listen.is_ipv4(),
            ..SessionOptions::default()
        };
        let threads = Threads::start().map_err(|error| failed(error.into()))?;
        // The folder is never used: each torrent has a file of its own.
        let session = async { Session::new_with_opts(PathBuf::from("/nonexistent"), session_options).await };
        let session = threads.callers().run(session).await.map_err(failed)?;
        Ok(Self {
            api: Api::new(session.clone(), None),
            session,
            options,
            threads,
        })
    }

    /// Where peers reach us.
    pub fn address(&self) -> SocketAddr {
        self.session.listen_addr().expect("every session of ours listens")
    }

    /// Asks peers what a magnet link means.
    pub async fn resolve(&self, magnet: &Magnet) -> Result<Metainfo, Error> {
        let patience = self.options.metadata_patience;
        let options = AddTorrentOptions {
            list_only: true,
            ..self.peers(magnet.peers())
        };
        let mut link = format!("magnet:?xt=urn:btih:{}", hex::encode(magnet.info_hash()));
        for tracker in magnet.trackers().iter().chain(&self.options.trackers) {
            let escaped = percent_encoding::utf8_percent_encode(tracker.as_str(), percent_encoding::NON_ALPHANUMERIC);
            link.push_str(&format!("&tr={escaped}"));
        }
        let home = self.threads.next_torrent();
        let asked = home.run(self.session.add_torrent(AddTorrent::from_url(link), Some(options)));
        let none = || Error::NoMetadata {
            magnet: magnet.to_string(),
            patience,
        };
        let answer = match tokio::time::timeout(patience, asked).await {
            Ok(Ok(AddTorrentResponse::ListOnly(answer))) => answer,
            Ok(Err(_)) if magnet.trackers().is_empty() => return Err(none()),
            Ok(Err(error)) => {
                return Err(Error::Swarm {
                    problem: format!("{error:#}"),
                });
            }
            Ok(Ok(_)) | Err(_) => return Err(none()),
        };
        // The session's own bytes have the digest that was asked for, and are read again by our rules.
        let read = info_of(&answer.torrent_bytes)
            .and_then(|info| Metainfo::of_info(info, magnet.trackers().to_vec(), magnet.web_seeds().to_vec()));
        match read {
            Ok(metainfo) if metainfo.info_hash() == magnet.info_hash() => Ok(metainfo),
            Ok(_) => Err(none()),
            Err(source) => Err(Error::Metainfo {
                place: magnet.to_string(),
                source,
            }),
        }
    }

    /// Joins the swarm of a torrent, with what is right in the file already.
    pub(super) async fn join(&self, pieces: Arc<PieceFile>, trackers: &[Url]) -> Result<Torrent, Error> {
        let failed = |error: anyhow::Error| Error::Swarm {
            problem: format!("{error:#}"),
        };
        let trackers = trackers.iter().chain(&self.options.trackers).map(Url::to_string);
        let options = AddTorrentOptions {
            overwrite: true,
            trackers: Some(trackers.collect()),
            storage_factory: Some(pieces.factory()),
            output_folder: Some("/nonexistent".to_owned()),
            ..self.peers(&[])
        };
        // A file that was complete once is another's now.
        self.forget(pieces.metainfo().info_hash()).await;
        let metainfo = AddTorrent::from_bytes(pieces.metainfo().for_session());
        let home = self.threads.next_torrent();
        let added = home.run(self.session.add_torrent(metainfo, Some(options)));
        let added = added.await.map_err(failed)?;
        let AddTorrentResponse::Added(_, handle) = added else {
            return Err(Error::Swarm {
                problem: format!("`{}` is in the session already", pieces.metainfo().name()),
            });
        };
        let own = Arc::new(AtomicU32::new(0));
        let torrent = Torrent {
            session: self.session.clone(),
            home,
            introducer: Introducer::new(self.own_address(), pieces.clone(), own.clone()),
            handle,
            pieces,
            own,
        };
        torrent.handle.wait_until_initialized().await.map_err(failed)?;
        let haves = self.api.api_dump_haves(torrent.handle.info_hash().into());
        let (haves, count) = haves.map_err(|error| failed(anyhow::anyhow!("{error}")))?;
        for index in haves.iter_ones().take_while(|index| *index < count as usize) {
            torrent.pieces.know(index);
        }
        Ok(torrent)
    }

    /// Leaves the swarm of a torrent.
    pub(super) async fn leave(&self, torrent: &Torrent) {
        self.forget(torrent.pieces.metainfo().info_hash()).await;
    }

    async fn forget(&self, info_hash: [u8; 20]) {
        let deleted = self.session.delete(Id20::new(info_hash).into(), false);
        // It fails only if there is none.
        let _ = self.threads.callers().run(deleted).await;
    }

    fn peers(&self, more: &[SocketAddr]) -> AddTorrentOptions {
        let peers: Vec<_> = self.options.peers.iter().chain(more).copied().collect();
        AddTorrentOptions {
            initial_peers: Some(peers),
            ..AddTorrentOptions::default()
        }
    }

    /// Where this process reaches its own session.
    fn own_address(&self) -> SocketAddr {
        let mut address = self.address();
        if address.ip().is_unspecified() {
            address.set_ip(Ipv4Addr::LOCALHOST.into());
        }
        address
    }
}

impl Drop for Swarm {
    fn drop(&mut self) {
        self.session.cancellation_token().cancel();
    }
}

impl Torrent {
    /// How many peers there are, ourselves not counted.
    pub(super) fn live_peers(&self) -> u32 {
        let live = self.handle.live();
        let all = live.map_or(0, |live| live.stats_snapshot().peer_stats.live);
        all.saturating_sub(self.own.load(Ordering::Relaxed))
    }

    /// Calls all peers again, if there are only such as did not answer, or hung up.
    ///
    /// Hosts that begin at once call each other before they have the torrent, and librqbit leaves whoever hung up alone
    /// for ten seconds and more.
    pub(super) async fn call_again(&self) {
        let peers = self.handle.live().map(|live| live.stats_snapshot().peer_stats);
        if !peers.is_some_and(|peers| peers.live == 0 && peers.connecting == 0 && peers.dead > 0) {
            return;
        }
        let again = async {
            self.session.pause(&self.handle).await?;
            self.session.unpause(&self.handle).await
        };
        // What is wrong with the torrent is told by `check`.
        let _: Result<(), anyhow::Error> = self.home.run(again).await;
    }

    /// How many bytes went to peers.
    pub(super) fn uploaded(&self) -> u64 {
        self.handle.live().map_or(0, |live| live.get_uploaded_bytes())
    }

    /// What ended it, if anything did.
    pub(super) fn check(&self) -> Result<(), Error> {
        let stats = self.handle.stats();
        match stats.state {
            TorrentStatsState::Error => Err(Error::Swarm {
                problem: stats.error.unwrap_or_default(),
            }),
            _ => Ok(()),
        }
    }
}

/// The `info` of metainfo that the session made.
fn info_of(torrent: &[u8]) -> Result<&[u8], MetainfoError> {
    let mut info = None;
    super::bencode::Cursor::new(torrent).dictionary(|key, value| {
        if key == b"info" {
            info = Some(value.raw()?);
        }
        Ok::<_, super::bencode::Malformed>(())
    })?;
    info.ok_or(MetainfoError::Malformed("it has no `info`"))
}

fn at_least(limit: Option<NonZeroU32>) -> Option<NonZeroU32> {
    limit.map(|limit| limit.max(NonZeroU32::new(LEAST_LIMIT).expect("it is not zero")))
}

fn version() -> (u8, u8, u8, u8) {
    let number = |text: &str| text.parse().unwrap_or_default();
    (
        number(env!("CARGO_PKG_VERSION_MAJOR")),
        number(env!("CARGO_PKG_VERSION_MINOR")),
        number(env!("CARGO_PKG_VERSION_PATCH")),
        0,
    )
}
