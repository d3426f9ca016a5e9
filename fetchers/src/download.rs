//! [`Downloader`]: from a [`Transport`] into a [`Partial`], however often the connection breaks.

mod attempt;
mod claim;
mod gaps;
mod gathered;
mod growth;
mod lease;
mod pace;
mod partial;

use std::time::Duration;

pub(crate) use self::gathered::{Gathered, Ready, shorten};
pub(crate) use self::growth::{Growing, GrowingReader};
pub(crate) use self::pace::Pace;
pub use self::{claim::Downloads, partial::Partial};
use crate::{
    error::Error,
    fetch::DeltaUse,
    progress::{Note, Phase, Progress},
    rate_limit::RateLimit,
    retry::RetryPolicy,
    transport::Transport,
};

/// How a download is done.
#[derive(Clone, Debug)]
pub struct DownloadOptions {
    /// How often it is tried again.
    pub retry: RetryPolicy,
    /// How many bytes a second may come, in all.
    pub limit: Option<RateLimit>,
    /// How many pieces of one thing may come side by side. More than one stream is begun only for what is large, and
    /// only as long as each makes the whole faster.
    pub streams: u8,
    /// Fewer bytes a second than this, over [`Self::slow_after`], end an attempt.
    pub least_rate: u64,
    /// Over how long the rate is taken.
    pub slow_after: Duration,
    /// A larger thing is not fetched, in bytes.
    pub largest: u64,
    /// When images are fetched by difference.
    pub delta: DeltaUse,
}

impl Default for DownloadOptions {
    fn default() -> Self {
        Self {
            retry: RetryPolicy::default(),
            limit: None,
            streams: 4,
            least_rate: 1024,
            slow_after: Duration::from_secs(15),
            largest: 64 << 30,
            delta: DeltaUse::default(),
        }
    }
}

/// An attempt that brings fewer bytes than this, in all, counts as a failed one.
const WORTHWHILE: u64 = 64 << 10;

/// Downloads: resumes, tries again, and sees to it that the whole came.
pub struct Downloader<'a> {
    options: &'a DownloadOptions,
    progress: &'a dyn Progress,
}

impl<'a> Downloader<'a> {
    /// A downloader that tells `progress` how far it is.
    pub fn new(options: &'a DownloadOptions, progress: &'a dyn Progress) -> Self {
        Self { options, progress }
    }

    /// Brings all bytes that are still missing, and gives the size of the whole.
    ///
    /// It goes on where an earlier download ended, in this process or another, if it can be told that the thing is
    /// still the same, and begins anew otherwise. Dropping the future cancels it; what came until then stays in the
    /// partial file. Attempts that bring nothing to speak of are bounded by the policy, whatever the server does.
    pub async fn download(&self, transport: &dyn Transport, partial: &mut Partial) -> Result<u64, Error> {
        if let Some(filler) = transport.filler() {
            return filler.fill(partial, self.options, self.progress).await;
        }
        if partial.is_whole() && !self.is_current(transport, partial).await? {
            partial.restart(None, None)?;
        }
        let mut most = partial.received();
        let mut failed = 0;
        loop {
            let error = match self.attempt(transport, partial).await {
                Ok(size) => return Ok(size),
                Err(error) => error,
            };
            if matches!(error, Error::TooFewBytes { .. } | Error::TooSlow { .. }) {
                transport.hang_up();
            }
            let received = partial.received();
            if received >= most.saturating_add(WORTHWHILE) {
                failed = 0;
            }
            most = most.max(received);
            failed += 1;
            let Some(wait) = self.options.retry.wait(failed, &error) else {
                return Err(error);
            };
            self.progress.note(&Note::Retrying {
                place: &transport.place(),
                error: &error,
                wait,
            });
            tokio::time::sleep(wait).await;
        }
    }

    /// Whether what came whole before is still what the place has.
    async fn is_current(&self, transport: &dyn Transport, partial: &Partial) -> Result<bool, Error> {
        match partial.version() {
            Some(version) => transport.is_still(version).await,
            None => Ok(false),
        }
    }

    fn begin(&self, transport: &dyn Transport, partial: &Partial) {
        self.progress.begin(Phase::Archive, &transport.place(), partial.size());
        self.progress.advance(partial.received());
    }
}
