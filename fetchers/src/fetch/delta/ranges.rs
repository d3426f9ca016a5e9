//! What lies beside archives and is not to be had small: ranges of packs, and patches.

use std::{
    fs::File,
    io,
    ops::Range,
    os::unix::fs::FileExt,
    sync::atomic::{AtomicU64, Ordering},
};

use dhow_store::{
    delta::{DeltaError, DeltaHead, DeltaPatch, Need, SparsePacks},
    pack::PackId,
};
use futures::{StreamExt, TryStreamExt, future::BoxFuture, stream};
use url::Url;

use super::{Fetcher, Place, beside, in_recipe};
use crate::{
    download::Pace,
    error::{Error, shown},
    progress::{Note, Phase},
    retry::RetryPolicy,
    transport::{Ask, Transport},
};

/// How many ranges come side by side.
const SIDE_BY_SIDE: usize = 4;
/// For how many times the patience with a body a place may think before its first byte.
const OPENING: u32 = 4;
/// An attempt that brings fewer bytes than this counts as a failed one.
const WORTHWHILE: u64 = 64 << 10;

/// A range of a file that is known to have `size` bytes, and where its bytes go.
struct Wanted<'a> {
    range: Range<u64>,
    size: u64,
    write: &'a (dyn Fn(u64, &[u8]) -> io::Result<()> + Sync),
}

impl Fetcher<'_> {
    /// Brings the patch of a head into a file without a name.
    pub(super) async fn fetch_patch(&self, place: &Place<'_>, patch: &DeltaPatch) -> Result<File, Error> {
        let url = beside(&place.endpoint.archive, ".patch");
        self.context
            .progress
            .begin(Phase::Patch, &shown(&url), Some(patch.size));
        let file = tempfile::tempfile_in(self.context.store.tmp_dir()).map_err(Error::Temporary)?;
        let transport = self.transport(&url, place)?;
        let wanted = Wanted {
            range: 0..patch.size,
            size: patch.size,
            write: &|at, bytes| file.write_all_at(bytes, at),
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
        sparse: &SparsePacks,
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
                    write: &|at, bytes| {
                        sparse.write(pack, at, bytes)?;
                        sparse.came(pack, at..at + bytes.len() as u64)
                    },
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
        wanted: &Wanted<'_>,
        patience: &RetryPolicy,
    ) -> Result<(), Error> {
        let at = AtomicU64::new(wanted.range.start);
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
    async fn attempt(&self, transport: &dyn Transport, wanted: &Wanted<'_>, at: &AtomicU64) -> Result<(), Error> {
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
        let mut body = match &options.limit {
            Some(limit) => limit.clone().throttled(opened.body).boxed(),
            None => opened.body,
        };
        let mut pace = Pace::new(options.least_rate, options.slow_after);
        let mut next = from;
        while next < end {
            let Some(chunk) = pace.next(&mut body, || transport.place()).await else {
                return Err(Error::Truncated {
                    url: transport.place(),
                    received: next - from,
                    source: std::io::ErrorKind::UnexpectedEof.into(),
                });
            };
            let chunk = chunk?;
            let left = usize::try_from(end - next).unwrap_or(usize::MAX);
            let chunk = &chunk[..chunk.len().min(left)];
            (wanted.write)(next, chunk).map_err(Error::Temporary)?;
            next += chunk.len() as u64;
            at.store(next, Ordering::Relaxed);
            self.context.progress.advance(chunk.len() as u64);
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
