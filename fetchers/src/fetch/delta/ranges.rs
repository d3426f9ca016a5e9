//! What lies beside archives and is not to be had small: ranges of packs, and patches.

use std::{
    fs::File,
    future::poll_fn,
    io,
    ops::Range,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use dhow_store::{
    delta::{DeltaError, DeltaHead, DeltaPatch, Need, SparsePacks},
    pack::PackId,
};
use futures::{StreamExt, TryStreamExt, future::BoxFuture, stream};
use tokio::task::JoinSet;
use url::Url;

use super::{Fetcher, Place, beside, in_recipe};
use crate::{
    download::{Pace, Ready, shorten},
    error::{Error, shown},
    progress::{Note, Phase, Progress},
    retry::RetryPolicy,
    transport::{Ask, Body, Transport},
    vectored,
};

/// How many ranges come side by side.
const SIDE_BY_SIDE: usize = 4;
/// For how many times the patience with a body a place may think before its first byte.
const OPENING: u32 = 4;
/// An attempt that brings fewer bytes than this counts as a failed one.
const WORTHWHILE: u64 = 64 << 10;

/// So long it is waited for room in memory. A server is not kept waiting while a disk is slow.
const ROOM: Duration = Duration::from_secs(1);

/// A range of a file that is known to have `size` bytes, and where its bytes go.
struct Wanted {
    range: Range<u64>,
    size: u64,
    to: Sink,
}

/// What keeps the bytes of a range.
#[derive(Clone)]
enum Sink {
    File(Arc<File>),
    Pack(Arc<SparsePacks>, PackId),
}

/// A body of which the bytes up to `end` are wanted, and up to where they have come.
struct Coming {
    body: Body,
    place: String,
    at: Arc<AtomicU64>,
    end: u64,
    to: Sink,
    pace: Pace,
    progress: Arc<dyn Progress>,
}

impl Sink {
    /// Waits until what comes next need not be written to the disk.
    async fn room(&self) {
        if let Self::Pack(sparse, _) = self {
            let _ = tokio::time::timeout(ROOM, poll_fn(|context| sparse.poll_room(context))).await;
        }
    }

    fn write(&self, from: u64, batch: &[Bytes]) -> io::Result<()> {
        match self {
            Self::File(file) => vectored::write_all_at(file, batch, from),
            Self::Pack(sparse, pack) => {
                let mut at = from;
                for chunk in batch {
                    sparse.write(pack, at, chunk)?;
                    at += chunk.len() as u64;
                }
                sparse.came(pack, from..at)
            }
        }
    }
}

impl Fetcher<'_> {
    /// Brings the patch of a head into a file without a name.
    pub(super) async fn fetch_patch(&self, place: &Place<'_>, patch: &DeltaPatch) -> Result<File, Error> {
        let url = beside(&place.endpoint.archive, ".patch");
        self.context
            .progress
            .begin(Phase::Patch, &shown(&url), Some(patch.size));
        let file = tempfile::tempfile_in(self.context.store.tmp_dir()).map_err(Error::Temporary)?;
        let kept = file.try_clone().map_err(Error::Temporary)?;
        let transport = self.transport(&url, place)?;
        let wanted = Wanted {
            range: 0..patch.size,
            size: patch.size,
            to: Sink::File(Arc::new(kept)),
        };
        self.fetch_range(&*transport, &wanted, place.patience).await?;
        Ok(file)
    }

    /// Brings ranges of packs, some side by side.
    pub(super) async fn fetch_ranges(
        &self,
        place: &Place<'_>,
        head: &DeltaHead,
        need: &Need,
        sparse: &Arc<SparsePacks>,
        bytes: u64,
    ) -> Result<(), Error> {
        let archive = &place.endpoint.archive;
        self.context.progress.begin(Phase::Packs, &shown(archive), Some(bytes));
        // Boxed, since a stream of futures that borrow is otherwise none that can be spawned.
        let mut fetches: Vec<BoxFuture<'_, Result<(), Error>>> = Vec::new();
        for (pack, range) in &need.ranges {
            let url = pack_url(archive, head.up, pack).ok_or_else(|| {
                let problem = "its packs are further up than its own folder";
                in_recipe(&shown(archive), DeltaError::Head { problem })
            })?;
            let size = head
                .packs
                .iter()
                .find(|other| other.id == *pack)
                .map_or(0, |pack| pack.size);
            let transport = self.transport(&url, place)?;
            fetches.push(Box::pin(async move {
                let wanted = Wanted {
                    range: range.clone(),
                    size,
                    to: Sink::Pack(sparse.clone(), *pack),
                };
                self.fetch_range(&*transport, &wanted, place.patience).await
            }));
        }
        stream::iter(fetches)
            .buffer_unordered(SIDE_BY_SIDE)
            .try_collect::<()>()
            .await
    }

    /// Brings a range, in as many requests as it takes.
    async fn fetch_range(
        &self,
        transport: &dyn Transport,
        wanted: &Wanted,
        patience: &RetryPolicy,
    ) -> Result<(), Error> {
        let at = Arc::new(AtomicU64::new(wanted.range.start));
        let mut failed = 0;
        loop {
            let before = at.load(Ordering::Relaxed);
            let Err(error) = self.attempt(transport, wanted, &at).await else {
                return Ok(());
            };
            if matches!(error, Error::TooFewBytes { .. } | Error::TooSlow { .. }) {
                transport.hang_up();
            }
            if at.load(Ordering::Relaxed) >= before.saturating_add(WORTHWHILE) {
                failed = 0;
            }
            failed += 1;
            let Some(wait) = patience.wait(failed, &error) else {
                return Err(error);
            };
            self.context.progress.note(&Note::Retrying {
                place: &transport.place(),
                error: &error,
                wait,
            });
            tokio::time::sleep(wait).await;
        }
    }

    /// Brings what is still missing of a range, in one request.
    async fn attempt(&self, transport: &dyn Transport, wanted: &Wanted, at: &Arc<AtomicU64>) -> Result<(), Error> {
        let options = &self.context.downloads;
        let (from, end) = (at.load(Ordering::Relaxed), wanted.range.end);
        let ask = Ask {
            from,
            to: Some(end).filter(|end| from > 0 || *end < wanted.size),
            version: None,
        };
        let limit = options.slow_after * OPENING;
        let opened = tokio::time::timeout(limit, transport.open(&ask)).await;
        let opened = opened.unwrap_or_else(|_| {
            Err(Error::TooSlow {
                url: transport.place(),
                limit,
            })
        })?;
        if opened.from != from || opened.size.is_some_and(|size| size != wanted.size) {
            return Err(Error::NoRanges { url: transport.place() });
        }
        let coming = Coming {
            body: match &options.limit {
                Some(limit) => limit.clone().throttled(opened.body).boxed(),
                None => opened.body,
            },
            place: transport.place(),
            at: at.clone(),
            end,
            to: wanted.to.clone(),
            pace: Pace::new(options.least_rate, options.slow_after),
            progress: self.context.progress.clone(),
        };
        // A task of its own, which the runtime lets run on the thread that reads the connection: to wake another thread for
        // what comes costs more than to keep it. Dropped, the set ends it.
        let mut task = JoinSet::new();
        task.spawn(coming.keep());
        let kept = task.join_next().await.expect("there is a task");
        kept.expect("keeping what comes does not panic")
    }
}

impl Coming {
    /// Keeps what comes.
    async fn keep(mut self) -> Result<(), Error> {
        let mut body = Ready::new(self.body);
        let from = self.at.load(Ordering::Relaxed);
        let mut next = from;
        while next < self.end {
            self.to.room().await;
            let Some(batch) = self.pace.next(&mut body, || self.place.clone()).await else {
                return Err(Error::Truncated {
                    url: self.place,
                    received: next - from,
                    source: std::io::ErrorKind::UnexpectedEof.into(),
                });
            };
            let mut batch = batch?;
            let taken = shorten(&mut batch, self.end - next);
            self.to.write(next, &batch).map_err(Error::Temporary)?;
            next += taken;
            self.at.store(next, Ordering::Relaxed);
            self.progress.advance(taken);
        }
        Ok(())
    }
}

/// Where a pack is: so many folders up from the archive's own.
fn pack_url(archive: &Url, up: u8, pack: &PackId) -> Option<Url> {
    let folders = archive.path_segments()?.count().checked_sub(1)?;
    folders.checked_sub(usize::from(up))?;
    let mut url = archive.clone();
    url.set_query(None);
    let mut segments = url.path_segments_mut().ok()?;
    for _ in 0..=up {
        segments.pop();
    }
    segments.push("PACKS").extend(pack.relative_path().split('/'));
    drop(segments);
    Some(url)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn packs_are_on_the_same_server_in_a_folder_that_is_called_so() {
        let pack = PackId::from_bytes([0xab; 32]);
        let url = |archive: &str, up| pack_url(&Url::parse(archive).unwrap(), up, &pack).map(String::from);
        let name = format!("ab/{}.pack", "ab".repeat(31));
        let archive = "https://example.com/ACI/example.com/app/1.0.aci?key=secret";
        assert_eq!(url(archive, 3).unwrap(), format!("https://example.com/PACKS/{name}"));
        assert_eq!(
            url(archive, 0).unwrap(),
            format!("https://example.com/ACI/example.com/app/PACKS/{name}")
        );
        assert_eq!(url(archive, 4), None);
        assert_eq!(
            url("s3://bucket/site/ACI/a/1.aci", 2).unwrap(),
            format!("s3://bucket/site/PACKS/{name}")
        );
    }
}
