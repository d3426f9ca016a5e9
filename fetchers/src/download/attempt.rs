//! One attempt: streams that fill gaps side by side.
//!
//! The first stream fills from the front. Where the source gives pieces, and the whole would take a while yet, others
//! join, one at a time, on connections of their own, and take pieces from the end, as long as each has made the whole
//! faster. So a thing that comes fast comes by one stream, and one never waits for many.
//!
//! What is long comes by a connection of its own, too. One that is made to be shared (HTTP/2) brings the first bytes sooner,
//! as it is there already; but its frames cost us a fifth of the time that we work, and its window is too small for what
//! is fast and far.

use std::{
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use futures::{StreamExt, future::BoxFuture, stream::FuturesUnordered};

use super::{
    Downloader,
    gaps::Gap,
    gathered::{Gathered, shorten},
    pace::Pace,
    partial::Partial,
};
use crate::{
    client::LONG_LANE,
    error::Error,
    transport::{Ask, Opened, Transport},
};

/// Where the first stream shares its connection, it brings no more than a head of what is long.
const HEAD: u64 = 8 << 20;
/// What another stream takes at a time, at most and at least: of what little is left, less, so that all have some.
const PIECE: u64 = 8 << 20;
const SMALLEST: u64 = 256 << 10;
/// How often it is asked whether another stream would help.
const LOOK_EVERY: Duration = Duration::from_millis(500);
/// A download that is over in less needs no help.
const WORTH_HELPING: Duration = Duration::from_secs(2);
/// By how much a stream has to make the whole faster for another to join, and how often it is looked for that: packets
/// are lost in clusters, so one look tells little.
const HELPFUL: f64 = 1.1;
const LOOKS: u8 = 4;
/// For how many times the patience with a body a place may think before its first byte: there may be redirects.
const OPENING: u32 = 4;

/// What the streams of one attempt share.
struct Shared<'a> {
    downloader: &'a Downloader<'a>,
    transport: &'a dyn Transport,
    partial: Mutex<&'a mut Partial>,
}

impl Downloader<'_> {
    pub(super) async fn attempt(&self, transport: &dyn Transport, partial: &mut Partial) -> Result<u64, Error> {
        partial.gaps.release_all();
        let result = match partial.is_whole() {
            true => Ok(()),
            false => self.fill(transport, partial).await,
        };
        partial.save()?;
        result?;
        let size = partial.size().expect("what is whole has a size");
        Ok(size)
    }

    async fn fill(&self, transport: &dyn Transport, partial: &mut Partial) -> Result<(), Error> {
        // What has no version cannot be gone on with.
        if partial.version().is_none() && partial.received() > 0 {
            partial.restart(None, None)?;
        }
        let (first, opened) = self.open_first(transport, partial).await?;
        let may_split = opened.ranges;
        self.begin(transport, partial);
        let gap = partial.gaps.get(first);
        let rest = if opened.shared && may_split && gap.is_long() {
            partial.gaps.divide(first, gap.at + HEAD)
        } else {
            None
        };
        let shared = Shared {
            downloader: self,
            transport,
            partial: Mutex::new(partial),
        };
        shared.run(first, opened, rest, may_split).await
    }

    /// Opens the first gap, and begins anew if what comes is not its rest.
    async fn open_first(&self, transport: &dyn Transport, partial: &mut Partial) -> Result<(usize, Opened), Error> {
        let number = partial.gaps.take().expect("it is not whole");
        let gap = partial.gaps.get(number);
        let ask = Ask {
            from: gap.at,
            // Up to the end, the rest is asked for as it is: another size is noticed then.
            to: gap.end.filter(|end| Some(*end) != partial.size()),
            version: partial.version().cloned(),
        };
        let opened = match self.open(transport, &ask, gap).await {
            Ok(opened) => opened,
            Err(error @ Error::Range { .. }) => {
                partial.restart(None, None)?;
                return Err(error);
            }
            Err(error) => return Err(error),
        };
        let is_same_size = partial.size().is_none() || opened.size == partial.size();
        let is_same = partial.version().is_some() && opened.version.as_ref() == partial.version() && is_same_size;
        if is_same && opened.from == ask.from {
            if let Some(size) = opened.size {
                self.check_size(transport, size)?;
                partial.learn_size(size);
            }
            return Ok((number, opened));
        }
        if opened.from != 0 {
            partial.restart(None, None)?;
            return Err(Error::Range { url: transport.place() });
        }
        if let Some(size) = opened.size {
            self.check_size(transport, size)?;
        }
        partial.restart(opened.version.clone(), opened.size)?;
        // An empty thing has no gap at all.
        Ok((partial.gaps.take().unwrap_or_default(), opened))
    }

    /// Opens a gap, unless that takes all too long. One that is long has a connection of its own.
    async fn open(&self, transport: &dyn Transport, ask: &Ask, gap: Gap) -> Result<Opened, Error> {
        let limit = self.options.slow_after * OPENING;
        let own = gap.is_long().then(|| transport.beside(LONG_LANE)).flatten();
        let by = own.as_deref().unwrap_or(transport);
        let opened = tokio::time::timeout(limit, by.open(ask)).await;
        opened.unwrap_or_else(|_| {
            Err(Error::TooSlow {
                url: transport.place(),
                limit,
            })
        })
    }

    fn check_size(&self, transport: &dyn Transport, size: u64) -> Result<(), Error> {
        if size > self.options.largest {
            return Err(Error::TooLarge {
                url: transport.place(),
                most: usize::try_from(self.options.largest).unwrap_or(usize::MAX),
                what: "archive",
            });
        }
        Ok(())
    }
}

/// What another stream takes where so much is left.
fn piece(left: u64) -> u64 {
    (left / 8).clamp(SMALLEST, PIECE)
}

impl<'a> Shared<'a> {
    fn partial(&self) -> MutexGuard<'_, &'a mut Partial> {
        self.partial.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn run(&self, first: usize, opened: Opened, rest: Option<usize>, may_split: bool) -> Result<(), Error> {
        let mut streams: FuturesUnordered<BoxFuture<'_, (u8, Result<(), Error>)>> = FuturesUnordered::new();
        streams.push(Box::pin(async move { (0, self.main(first, opened, rest).await) }));
        let most = if may_split {
            self.downloader.options.streams.max(1)
        } else {
            1
        };
        let mut help = Help::new(self.received());
        let mut look = tokio::time::interval_at(tokio::time::Instant::now() + LOOK_EVERY, LOOK_EVERY);
        let mut lanes = 1;
        while !streams.is_empty() {
            tokio::select! {
                // A helper that fails leaves its gap to others, and the first stream tells what is wrong.
                Some((lane, result)) = streams.next() => if lane == 0 {
                    result?;
                },
                _ = look.tick(), if lanes < most => {
                    let left = self.left();
                    if help.is_wanted(self.received(), left)
                        && let Some(transport) = self.transport.beside(LONG_LANE + lanes)
                    {
                        let lane = lanes;
                        lanes += 1;
                        streams.push(Box::pin(async move { (lane, self.helper(&*transport).await) }));
                    }
                }
            }
        }
        if self.partial().is_whole() {
            return Ok(());
        }
        Err(self.truncated())
    }

    fn received(&self) -> u64 {
        self.partial().received()
    }

    fn left(&self) -> u64 {
        let partial = self.partial();
        partial.size().unwrap_or(0).saturating_sub(partial.received())
    }

    fn truncated(&self) -> Error {
        Error::Truncated {
            url: self.transport.place(),
            received: self.received(),
            source: std::io::ErrorKind::UnexpectedEof.into(),
        }
    }

    /// Fills the first gap and its rest, then those that nobody fills.
    async fn main(&self, first: usize, opened: Opened, mut rest: Option<usize>) -> Result<(), Error> {
        if self.partial().is_whole() {
            return Ok(());
        }
        self.fill(first, opened).await?;
        self.partial().gaps.release(first);
        loop {
            // At the end, the first stream helps the helpers.
            let piece = (piece(self.left()) / 8).max(SMALLEST / 2);
            let next = rest.take().or_else(|| self.partial().gaps.take_or_split(piece));
            let Some(number) = next else { return Ok(()) };
            self.piece(self.transport, number).await?;
            self.partial().gaps.release(number);
        }
    }

    /// Fills pieces until there is nothing left to take.
    async fn helper(&self, transport: &dyn Transport) -> Result<(), Error> {
        loop {
            let piece = piece(self.left());
            let next = self.partial().gaps.take_or_split(piece);
            let Some(number) = next else { return Ok(()) };
            let result = self.piece(transport, number).await;
            self.partial().gaps.release(number);
            result?;
        }
    }

    /// Asks for a gap and fills it.
    async fn piece(&self, transport: &dyn Transport, number: usize) -> Result<(), Error> {
        let (gap, version) = {
            let partial = self.partial();
            (partial.gaps.get(number), partial.version().cloned())
        };
        let ask = Ask {
            from: gap.at,
            to: gap.end,
            version,
        };
        let opened = self.downloader.open(transport, &ask, gap).await?;
        if opened.from != ask.from || opened.version != ask.version {
            return Err(Error::Range { url: transport.place() });
        }
        self.fill(number, opened).await
    }

    /// Writes what comes, up to the end of the gap, which may come nearer meanwhile.
    async fn fill(&self, number: usize, opened: Opened) -> Result<(), Error> {
        let Downloader { options, progress } = self.downloader;
        let mut body = Gathered::new(match &options.limit {
            Some(limit) => limit.clone().throttled(opened.body).boxed(),
            None => opened.body,
        });
        let mut pace = Pace::new(options.least_rate, options.slow_after);
        loop {
            let next = pace.next(&mut body, || self.transport.place()).await;
            let mut partial = self.partial();
            let Gap { at, end, .. } = partial.gaps.get(number);
            match next {
                Some(Ok(mut batch)) => {
                    let left = partial.gaps.get(number).left();
                    let taken = shorten(&mut batch, left);
                    partial.write(number, &batch)?;
                    progress.advance(taken);
                    if taken == left {
                        return Ok(());
                    }
                    if end.is_none() {
                        self.downloader.check_size(self.transport, at + taken)?;
                    }
                }
                Some(Err(error)) => return Err(error),
                None if end.is_none() => {
                    partial.end_here(number);
                    return Ok(());
                }
                None if end == Some(at) => return Ok(()),
                None => {
                    drop(partial);
                    return Err(self.truncated());
                }
            }
        }
    }
}

/// Decides whether another stream would help.
struct Help {
    /// When the last stream had begun, and how much was here then.
    since: Instant,
    received: u64,
    /// How often it was looked since then.
    looks: u8,
    /// The rate before the last stream joined.
    before: Option<f64>,
    has_enough: bool,
    /// A stream that has just joined is given a while.
    is_new: bool,
}

impl Help {
    fn new(received: u64) -> Self {
        Self {
            since: Instant::now(),
            received,
            looks: 0,
            before: None,
            has_enough: false,
            is_new: true,
        }
    }

    /// Whether one should join now, where so many bytes came and so many are left.
    fn is_wanted(&mut self, received: u64, left: u64) -> bool {
        // The first look after a stream joined sees it begin.
        if std::mem::take(&mut self.is_new) {
            (self.since, self.received, self.looks) = (Instant::now(), received, 0);
            return false;
        }
        if self.has_enough {
            return false;
        }
        self.looks += 1;
        let rate = received.saturating_sub(self.received) as f64 / self.since.elapsed().as_secs_f64();
        if self.before.is_some_and(|before| rate < before * HELPFUL) {
            self.has_enough = self.looks == LOOKS;
            return false;
        }
        if left <= 2 * SMALLEST || left as f64 <= rate * WORTH_HELPING.as_secs_f64() {
            return false;
        }
        (self.before, self.is_new) = (Some(rate), true);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn helpers_come_one_by_one_while_they_help() {
        let mut help = Help::new(0);
        let mut at = 0;
        let mut look = |rate: u64, left: u64| {
            // A second passes between two looks.
            help.since -= Duration::from_secs(1);
            at += rate;
            help.is_wanted(at, left)
        };
        const LARGE: u64 = 1 << 40;
        assert!(!look(1 << 20, LARGE), "it has only begun");
        assert!(look(1 << 20, LARGE));
        assert!(!look(1 << 20, LARGE), "the second has only begun");
        assert!(!look(1 << 20, LARGE), "it is no help yet");
        assert!(look(3 << 20, LARGE), "it was, by and large");
        assert!(!look(2 << 20, LARGE));
        for _ in 0..LOOKS {
            assert!(!look(2 << 20, LARGE), "the third is no help");
        }
        assert!(!look(99 << 20, LARGE), "which is not forgotten");

        let mut help = Help::new(0);
        help.is_new = false;
        assert!(!help.is_wanted(1 << 30, SMALLEST), "little is left");
    }
}
