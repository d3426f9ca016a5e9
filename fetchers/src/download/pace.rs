//! [`Pace`]: noticing that a body comes too slowly to ever come.

use std::time::{Duration, Instant};

use bytes::Bytes;
use futures::{Stream, StreamExt};

use crate::error::Error;

/// Measures how fast bytes come while they are waited for. What we do with them, or a limit of our own, takes no time.
pub(crate) struct Pace {
    least_rate: u64,
    over: Duration,
    waited: Duration,
    received: u64,
}

impl Pace {
    pub(crate) fn new(least_rate: u64, over: Duration) -> Self {
        Self {
            least_rate,
            over,
            waited: Duration::ZERO,
            received: 0,
        }
    }

    /// The body's next bytes, unless they and those before came too slowly.
    pub(crate) async fn next<T: Measured>(
        &mut self,
        body: &mut (impl Stream<Item = Result<T, Error>> + Unpin),
        place: impl Fn() -> String,
    ) -> Option<Result<T, Error>> {
        let started = Instant::now();
        let Ok(next) = tokio::time::timeout(self.over, body.next()).await else {
            return Some(Err(self.too_slow(place())));
        };
        self.waited += started.elapsed();
        self.received += next
            .as_ref()
            .and_then(|chunk| chunk.as_ref().ok())
            .map_or(0, |came| came.length() as u64);
        if self.waited >= self.over {
            let least = self.least_rate as f64 * self.waited.as_secs_f64();
            if next.is_some() && (self.received as f64) < least {
                return Some(Err(self.too_slow(place())));
            }
            (self.waited, self.received) = (Duration::ZERO, 0);
        }
        next
    }

    fn too_slow(&self, url: String) -> Error {
        Error::TooFewBytes {
            url,
            least_rate: self.least_rate,
            over: self.over,
        }
    }
}

/// What a body gives, one chunk or several.
pub(crate) trait Measured {
    /// How many bytes it has.
    fn length(&self) -> usize;
}

impl Measured for Bytes {
    fn length(&self) -> usize {
        self.len()
    }
}

impl Measured for Vec<Bytes> {
    fn length(&self) -> usize {
        self.iter().map(Bytes::len).sum()
    }
}
