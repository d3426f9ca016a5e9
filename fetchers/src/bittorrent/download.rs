//! [`SwarmDownload`]: one archive from a swarm.

use std::{convert::Infallible, fs::File, sync::Arc, time::Duration};

use tokio::time::{Instant, sleep, timeout};
use url::Url;

use super::{
    metainfo::Metainfo,
    origin_fill::OriginFill,
    piece_file::PieceFile,
    seed::Seeding,
    swarm::{Swarm, Torrent},
};
use crate::{
    client::HttpClient,
    error::Error,
    origin::Origin,
    progress::{Phase, Progress},
};

const LOOK_EVERY: Duration = Duration::from_millis(50);
/// How long a peer that hung up is left alone: longer each time.
const CALL_AGAIN_AFTER: Duration = Duration::from_secs(1);

/// What is downloaded, and with whose help.
pub struct SwarmDownload<'a> {
    /// Among whom.
    pub swarm: &'a Swarm,
    /// The torrent.
    pub metainfo: &'a Metainfo,
    /// The trackers to ask, which may be fewer than the torrent names.
    pub trackers: &'a [Url],
    /// What the torrent is called in messages.
    pub place: &'a str,
    /// Who asks the origin.
    pub client: &'a HttpClient,
    /// On whose word it is asked.
    pub origin: &'a Origin,
    /// Where on the web the file is. What the swarm does not give comes from there.
    pub web_seeds: Vec<Url>,
    /// Told how many bytes are here from the first on without a gap, for who reads behind the download.
    pub arrived: &'a (dyn Fn(u64) + Send + Sync),
}

impl SwarmDownload<'_> {
    /// Brings what is missing into `file`, which may have any part of it already: each piece is checked. Peers are given
    /// what is here meanwhile.
    ///
    /// Dropping the future ends it; what came until then stays in the file.
    pub async fn run(self, file: File, progress: &dyn Progress) -> Result<Seeding, Error> {
        let is_new = file.metadata().map_err(Error::Temporary)?.len() == 0;
        let pieces = PieceFile::new(file, self.metainfo.clone());
        progress.begin(Phase::Archive, self.place, Some(self.metainfo.length()));
        let mut fill = OriginFill::new(self.client, self.origin, pieces.clone(), self.web_seeds.clone());
        if is_new {
            fill.first_piece().await?;
        }
        let torrent = self.swarm.join(pieces.clone(), self.trackers).await?;
        let grace = self.swarm.options.origin_grace;
        let filled = async {
            fill.run(&torrent, grace).await?;
            // Whatever is missing now, peers must bring.
            std::future::pending::<Result<(), Error>>().await
        };
        let came = tokio::select! {
            came = self.watch(&torrent, &pieces, progress) => came,
            failed = filled => failed,
            never = call_again(&torrent) => match never {},
        };
        match came {
            Ok(()) => Ok(Seeding::of(torrent)),
            Err(error) => {
                self.swarm.leave(&torrent).await;
                Err(error)
            }
        }
    }

    async fn watch(&self, torrent: &Torrent, pieces: &Arc<PieceFile>, progress: &dyn Progress) -> Result<(), Error> {
        let patience = self.swarm.options.stall_patience;
        let (mut told, mut moved, mut peers) = (0, Instant::now(), 0);
        let mut front = 0;
        loop {
            let reached = pieces.front(front);
            if reached > front {
                (self.arrived)(self.metainfo.piece(reached - 1).end);
                front = reached;
            }
            let right = pieces.right();
            if right > told {
                progress.advance(right - told);
                (told, moved) = (right, Instant::now());
            }
            let now = torrent.live_peers();
            if now != peers {
                progress.peers(now);
                peers = now;
            }
            if pieces.is_whole() {
                return Ok(());
            }
            torrent.check()?;
            if moved.elapsed() > patience {
                return Err(Error::SwarmStalled {
                    place: self.place.to_owned(),
                    received: right,
                    total: self.metainfo.length(),
                    patience,
                });
            }
            // When it looks again does not matter, but that it is over does.
            let _ = timeout(LOOK_EVERY, pieces.until_whole()).await;
        }
    }
}

/// Calls those who were not there when they were called, for as long as there is nobody.
async fn call_again(torrent: &Torrent) -> Infallible {
    let mut wait = CALL_AGAIN_AFTER;
    loop {
        sleep(wait).await;
        if torrent.live_peers() == 0 {
            torrent.call_again().await;
            wait *= 2;
        }
    }
}
