//! [`OriginFill`]: the origin gives what the swarm does not.

use std::{
    collections::VecDeque,
    io,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use bytes::Bytes;
use futures::StreamExt;
use reqwest::header::{CONTENT_RANGE, HeaderMap, HeaderValue, RANGE};
use tokio::{
    task::{JoinHandle, JoinSet, spawn_blocking},
    time::{sleep, timeout},
};
use url::Url;

use super::{piece_file::PieceFile, swarm::Torrent};
use crate::{
    client::{HttpClient, LONG, LONG_LANE},
    download::Gathered,
    error::{Error, shown},
    origin::Origin,
    response::HttpResponse,
};

/// How often it is looked whether anything moves.
const LOOK_EVERY: Duration = Duration::from_millis(50);
/// How long a swarm of one peer may bring nothing. Each peer more makes it a little longer.
const STALL: Duration = Duration::from_secs(1);
const STALL_PER_PEER: Duration = Duration::from_millis(50);
/// So long nobody but peers is asked at the beginning, and then, until there has been time for a first peer, such parts of
/// what is missing are asked for beside: what others that begin now may want, too.
const QUIET: Duration = Duration::from_millis(50);
const SHARE_BEFORE_PEERS: usize = 4;
/// How often peers are asked again for what they got meanwhile.
const WAKE_EVERY: Duration = Duration::from_millis(250);
/// After so many pieces the swarm is looked at again, or after such a part of what is missing.
const MOST_AT_ONCE: usize = 64;
const SHARE_AT_ONCE: usize = 8;
/// The first piece is one of these.
const FIRST_AMONG: usize = 32;
/// How long the origin may take for it.
const FIRST_PATIENCE: Duration = Duration::from_secs(2);
/// An origin that fails so often in a row is given up.
const MOST_FAILURES: u32 = 3;
/// How many bytes of pieces are being written while others come, or one piece where it is longer; and by how many
/// threads.
const MOST_WRITING: u64 = 8 << 20;
const MOST_THREADS: usize = 3;

/// Fetches pieces from the web for as long as it runs.
pub(super) struct OriginFill<'a> {
    client: &'a HttpClient,
    origin: &'a Origin,
    pieces: Arc<PieceFile>,
    places: VecDeque<Url>,
    failures: u32,
    /// Whether the place is known to send parts.
    knows_ranges: AtomicBool,
    /// How many bytes a second came from it last.
    rate: Option<f64>,
    /// Why the last place was given up.
    failed: Option<Error>,
}

impl<'a> OriginFill<'a> {
    pub(super) fn new(client: &'a HttpClient, origin: &'a Origin, pieces: Arc<PieceFile>, places: Vec<Url>) -> Self {
        Self {
            client,
            origin,
            pieces,
            places: places.into(),
            failures: 0,
            knows_ranges: AtomicBool::new(false),
            rate: None,
            failed: None,
        }
    }

    /// Brings one piece into a file that has none, before there are peers.
    ///
    /// librqbit tells nothing of its new pieces to a peer that began with none, and sends such a peer no list of its
    /// own. Hosts that all begin with nothing would never hear of each other.
    pub(super) async fn first_piece(&mut self) -> Result<(), Error> {
        // The session reads the file up to there before it begins.
        let index = fastrand::usize(..self.pieces.metainfo().piece_count().min(FIRST_AMONG));
        match timeout(FIRST_PATIENCE, self.fetch(index, 1, || false)).await {
            Ok(fetched) => fetched,
            Err(_) => Ok(()),
        }
    }

    /// Runs until everything is there, or until there is nobody left to ask: neither origin nor peer.
    pub(super) async fn run(&mut self, torrent: &Torrent, grace: Duration) -> Result<(), Error> {
        self.await_peers(torrent, grace).await?;
        while !self.pieces.is_whole() {
            let peers = torrent.live_peers();
            if self.places.is_empty() {
                // Peers may still come, and whoever waits for them knows for how long; but not for a torrent that lies.
                return match self.failed.take() {
                    Some(error @ Error::WrongPieces { .. }) if peers == 0 => Err(error),
                    _ => Ok(()),
                };
            }
            if peers == 0 {
                self.alone(torrent).await?;
            } else {
                self.beside(torrent).await?;
            }
        }
        Ok(())
    }

    /// Gives a first peer the time to be there. It would be long for whoever is alone, so the origin's bytes come meanwhile:
    /// from places that are left to chance, so that hosts that begin at once have something to give to each other.
    async fn await_peers(&mut self, torrent: &Torrent, grace: Duration) -> Result<(), Error> {
        let (begun, pieces) = (Instant::now(), self.pieces.clone());
        let is_over = || begun.elapsed() >= grace || torrent.live_peers() > 0 || pieces.is_whole();
        while !is_over() && begun.elapsed() < QUIET {
            sleep(LOOK_EVERY).await;
        }
        let share = pieces.missing().len() / SHARE_BEFORE_PEERS;
        while !is_over() {
            let missing = pieces.missing();
            // The end comes last, so that whoever reads behind the download has little left to read then.
            let most = missing.len().saturating_sub(share);
            if share > 0 && most > 0 && self.knows_ranges.load(Ordering::Relaxed) {
                let at = fastrand::usize(..most);
                self.fetch(missing[at], run(&missing[at..]).min(share), || torrent.live_peers() > 0)
                    .await?;
            } else {
                sleep(LOOK_EVERY).await;
            }
        }
        Ok(())
    }

    /// As long as there are no peers, everything comes from the origin, in order.
    async fn alone(&mut self, torrent: &Torrent) -> Result<(), Error> {
        let missing = self.pieces.missing();
        let Some(&first) = missing.first() else { return Ok(()) };
        let count = run(&missing);
        self.fetch(first, count, || torrent.live_peers() > 0).await
    }

    /// Where there are peers, single pieces come from the origin when nothing moves, or too little: the longer, the more.
    async fn beside(&mut self, torrent: &Torrent) -> Result<(), Error> {
        let mut batch = 1;
        let mut patience = patience(torrent);
        let (mut since, mut are_slow) = (Since::now(&self.pieces), false);
        let mut introduction = JoinSet::new();
        while torrent.live_peers() > 0 && !self.pieces.is_whole() {
            while introduction.try_join_next().is_some() {}
            if introduction.is_empty() {
                let introducer = torrent.introducer.clone();
                introduction.spawn(async move { introducer.introduce().await });
            }
            if self.keep_up(torrent, patience, &since).await {
                // Those that were too slow may be so again soon.
                (batch, patience) = match are_slow {
                    true => ((batch / 2).max(1), patience * 2),
                    false => (1, self::patience(torrent)),
                };
                (since, are_slow) = (Since::now(&self.pieces), false);
                continue;
            }
            are_slow = true;
            let missing = self.pieces.missing();
            if missing.is_empty() || self.places.is_empty() {
                return Ok(());
            }
            // Neighbours come in one request. Where they begin is left to chance, so that hosts that begin at once
            // take different ones, and have something to give to each other.
            let at = fastrand::usize(..missing.len());
            let most = self.owed(torrent, &since).max(batch);
            let most = most.min(MOST_AT_ONCE).min(missing.len().div_ceil(SHARE_AT_ONCE));
            self.fetch(missing[at], run(&missing[at..]).min(most), || false).await?;
            batch = (batch * 2).min(MOST_AT_ONCE);
            patience /= 2;
        }
        Ok(())
    }

    /// Waits, and tells whether peers bring enough since then.
    async fn keep_up(&self, torrent: &Torrent, patience: Duration, since: &Since) -> bool {
        let begun = Since::now(&self.pieces);
        let is_over = || begun.at.elapsed() >= patience || self.pieces.is_whole() || torrent.live_peers() == 0;
        let mut last = Since::now(&self.pieces);
        while !is_over() {
            sleep(LOOK_EVERY).await;
            if last.has_moved(&self.pieces) {
                last = Since::now(&self.pieces);
            } else if last.at.elapsed() >= WAKE_EVERY {
                let _ = torrent.introducer.wake().await;
                last = Since::now(&self.pieces);
            }
        }
        if !begun.has_moved(&self.pieces) && !self.pieces.is_whole() {
            // What other hosts got meanwhile from the origin may be had from them.
            let _ = torrent.introducer.wake().await;
            sleep(LOOK_EVERY).await;
        }
        self.pieces.is_whole() || (begun.has_moved(&self.pieces) && self.is_enough(torrent, since))
    }

    /// Whether peers bring what would be this host's share if the origin gave to all of them alike: by that, all have the
    /// whole when the origin has sent it once. As long as nobody knows what it gives, whatever moves is enough.
    fn is_enough(&self, torrent: &Torrent, since: &Since) -> bool {
        let given = self.pieces.given_by_peers() - since.given_by_peers;
        since.at.elapsed() < STALL / 4 || given as f64 >= self.share(torrent, since)
    }

    /// How many pieces this host lacks of its share, whoever brought it the others.
    fn owed(&self, torrent: &Torrent, since: &Since) -> usize {
        let first = self.pieces.metainfo().piece(0);
        let came = self.pieces.right() - since.right;
        let lacking = self.share(torrent, since) - came as f64;
        (lacking / (first.end - first.start) as f64) as usize
    }

    /// How many bytes this host would have by now if the origin gave to it and to each peer alike.
    fn share(&self, torrent: &Torrent, since: &Since) -> f64 {
        let rate = self.rate.unwrap_or_default() / f64::from(torrent.live_peers() + 1);
        rate * since.at.elapsed().as_secs_f64()
    }

    /// Fetches `count` pieces from `first` on, until `is_over`. That a place fails is no error as long as there are
    /// others, or peers.
    async fn fetch(&mut self, first: usize, count: usize, is_over: impl Fn() -> bool) -> Result<(), Error> {
        let Some(place) = self.places.front().cloned() else {
            return Ok(());
        };
        let before = self.pieces.right();
        let begun = Instant::now();
        let error = match self.fetch_from(&place, first, count, is_over).await {
            Ok(bytes) => {
                self.failures = 0;
                self.rate = Some(bytes as f64 / begun.elapsed().as_secs_f64().max(f64::MIN_POSITIVE));
                return Ok(());
            }
            Err(error @ (Error::Temporary(_) | Error::Read { .. })) => return Err(error),
            Err(error) => error,
        };
        if self.pieces.right() > before {
            self.failures = 0;
        }
        self.failures += 1;
        let is_hopeless = matches!(
            error,
            Error::WrongPieces { .. } | Error::NotFound { .. } | Error::ForbiddenAddress { .. }
        );
        if is_hopeless || self.failures >= MOST_FAILURES {
            self.places.pop_front();
            self.failures = 0;
            self.knows_ranges.store(false, Ordering::Relaxed);
            self.rate = None;
            self.failed = Some(error);
        } else {
            sleep(STALL / 4 * self.failures).await;
        }
        Ok(())
    }

    /// Gives how many bytes came.
    async fn fetch_from(
        &self,
        place: &Url,
        first: usize,
        count: usize,
        is_over: impl Fn() -> bool,
    ) -> Result<u64, Error> {
        let metainfo = self.pieces.metainfo();
        let (start, end) = (metainfo.piece(first).start, metainfo.piece(first + count - 1).end);
        let mut body = Gathered::new(self.open(place, start, end).await?.into_body());
        let mut writing = Writing::new(place, &self.pieces);
        let (mut parts, mut at, mut index) = (Vec::new(), start, first);
        while index < first + count
            && let Some(batch) = body.next().await
        {
            for mut chunk in batch? {
                while !chunk.is_empty() && index < first + count {
                    let left = metainfo.piece(index).end - at;
                    let taken = chunk.split_to(usize::try_from(left).map_or(chunk.len(), |left| left.min(chunk.len())));
                    at += taken.len() as u64;
                    parts.push(taken);
                    if at == metainfo.piece(index).end {
                        writing.write(index, std::mem::take(&mut parts)).await?;
                        index += 1;
                        if is_over() {
                            writing.settle().await?;
                            return Ok(at - start);
                        }
                    }
                }
            }
        }
        writing.settle().await?;
        if index < first + count {
            return Err(Error::Range { url: shown(place) });
        }
        Ok(at - start)
    }

    /// A body that begins with byte `start`.
    async fn open(&self, place: &Url, start: u64, end: u64) -> Result<HttpResponse, Error> {
        let length = self.pieces.metainfo().length();
        let mut headers = HeaderMap::new();
        if (start, end) != (0, length) {
            let range = HeaderValue::from_str(&format!("bytes={start}-{}", end - 1));
            headers.insert(RANGE, range.expect("numbers are fit for a header"));
        }
        let lane = if length >= LONG { LONG_LANE } else { 0 };
        let mut response = self.client.get_by(place, self.origin, headers, lane).await?;
        let other = || Error::Range { url: shown(place) };
        if response.status() == 206 {
            let expected = format!("bytes {start}-{}/{length}", end - 1);
            if response.header(CONTENT_RANGE) != Some(&*expected) {
                return Err(other());
            }
            self.knows_ranges.store(true, Ordering::Relaxed);
            return Ok(response);
        }
        response.check(place)?;
        if response.length().is_some_and(|whole| whole != length) {
            return Err(Error::WrongPieces { url: shown(place) });
        }
        // A server that knows no ranges begins with the first byte.
        response.skip(start).await?;
        Ok(response)
    }
}

/// From when on it is looked at what peers bring.
struct Since {
    at: Instant,
    right: u64,
    given_by_peers: u64,
}

impl Since {
    fn now(pieces: &PieceFile) -> Self {
        Self {
            at: Instant::now(),
            right: pieces.right(),
            given_by_peers: pieces.given_by_peers(),
        }
    }

    /// Whether peers brought anything.
    fn has_moved(&self, pieces: &PieceFile) -> bool {
        pieces.given_by_peers() > self.given_by_peers
    }
}

/// How many of these are neighbours, from the first on.
fn run(missing: &[usize]) -> usize {
    let first = missing.first().copied().unwrap_or_default();
    missing
        .iter()
        .zip(first..)
        .take_while(|(index, next)| **index == *next)
        .count()
}

fn patience(torrent: &Torrent) -> Duration {
    let longest = 2 * (STALL + STALL_PER_PEER * torrent.live_peers());
    longest.mul_f64(fastrand::f64())
}

/// Pieces that are checked and written while the next ones come.
struct Writing<'a> {
    place: &'a Url,
    pieces: &'a Arc<PieceFile>,
    /// The oldest first.
    tasks: VecDeque<JoinHandle<io::Result<bool>>>,
    most: usize,
}

impl<'a> Writing<'a> {
    fn new(place: &'a Url, pieces: &'a Arc<PieceFile>) -> Self {
        let length = pieces.metainfo().piece(0);
        let fitting = MOST_WRITING / (length.end - length.start).max(1);
        Self {
            place,
            pieces,
            tasks: VecDeque::new(),
            most: usize::try_from(fitting).unwrap_or(usize::MAX).clamp(1, MOST_THREADS),
        }
    }

    /// Begins to write a piece, when there is room for another.
    async fn write(&mut self, index: usize, parts: Vec<Bytes>) -> Result<(), Error> {
        if self.tasks.len() == self.most {
            self.settle_one().await?;
        }
        let pieces = self.pieces.clone();
        self.tasks.push_back(spawn_blocking(move || pieces.fill(index, &parts)));
        Ok(())
    }

    /// Waits until all are written.
    async fn settle(mut self) -> Result<(), Error> {
        while !self.tasks.is_empty() {
            self.settle_one().await?;
        }
        Ok(())
    }

    /// Waits until the oldest is written.
    async fn settle_one(&mut self) -> Result<(), Error> {
        let Some(oldest) = self.tasks.pop_front() else {
            return Ok(());
        };
        match oldest.await.expect("writing a piece does not panic") {
            Ok(true) => Ok(()),
            Ok(false) => Err(Error::WrongPieces { url: shown(self.place) }),
            Err(error) => Err(Error::Temporary(error)),
        }
    }
}
