//! [`Seeding`]: giving to peers what is here.

use std::{
    fs::File,
    time::{Duration, Instant},
};

use url::Url;

use super::{
    metainfo::Metainfo,
    piece_file::PieceFile,
    swarm::{Swarm, Torrent},
};
use crate::error::Error;

const LOOK_EVERY: Duration = Duration::from_millis(250);

/// Until when it is seeded: until the first of these is reached, or for ever.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct SeedGoal {
    /// Until so many times the archive's bytes went to peers.
    pub ratio: Option<f64>,
    /// For so long.
    pub time: Option<Duration>,
}

/// A torrent of which all is here. Peers get it as long as this lives in its [`Swarm`].
pub struct Seeding {
    torrent: Torrent,
    since: Instant,
}

impl Seeding {
    pub(super) fn of(torrent: Torrent) -> Self {
        Self {
            torrent,
            since: Instant::now(),
        }
    }

    /// Seeds `file`. Every piece of it is checked first: one that has others, or fewer, is refused.
    pub async fn begin(swarm: &Swarm, metainfo: &Metainfo, file: File, place: &str) -> Result<Self, Error> {
        let pieces = PieceFile::new(file, metainfo.clone());
        let trackers: &[Url] = metainfo.trackers();
        let torrent = swarm.join(pieces, trackers).await?;
        if !torrent.pieces.is_whole() {
            swarm.leave(&torrent).await;
            return Err(Error::NotTheTorrent {
                place: place.to_owned(),
            });
        }
        Ok(Self::of(torrent))
    }

    /// How many bytes went to peers.
    pub fn uploaded(&self) -> u64 {
        self.torrent.uploaded()
    }

    /// How many peers there are now.
    pub fn peers(&self) -> u32 {
        self.torrent.live_peers()
    }

    /// The torrent's name among peers.
    pub fn info_hash(&self) -> [u8; 20] {
        self.torrent.pieces.metainfo().info_hash()
    }

    /// How many bytes the archive has.
    pub fn length(&self) -> u64 {
        self.torrent.pieces.metainfo().length()
    }

    /// Waits until the goal is reached.
    pub async fn until(&self, goal: &SeedGoal) -> Result<(), Error> {
        while !self.has_reached(goal) {
            self.torrent.check()?;
            // What came from the origin at the end is not known to the session yet.
            tokio::join!(self.torrent.introducer.introduce(), tokio::time::sleep(LOOK_EVERY));
        }
        Ok(())
    }

    fn has_reached(&self, goal: &SeedGoal) -> bool {
        let ratio = self.uploaded() as f64 / self.length() as f64;
        goal.ratio.is_some_and(|wanted| ratio >= wanted) || goal.time.is_some_and(|time| self.since.elapsed() >= time)
    }
}
