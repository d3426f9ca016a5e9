//! [`RateLimit`]: how many bytes a second may come.

use std::{
    str::FromStr,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use futures::{Stream, StreamExt};
use thiserror::Error;

use crate::{error::Error as FetchError, transport::Body};

/// A limit that all downloads share which hold a clone of it.
#[derive(Clone, Debug)]
pub struct RateLimit {
    bytes_per_second: u64,
    /// When all that was let through is paid for.
    paid_until: Arc<Mutex<Instant>>,
}

/// A text is no rate.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[error("`{text}` is not a rate: it is bytes a second, as `500k`, `2M` or `1G`")]
pub struct RateLimitError {
    text: String,
}

/// How much may come at once after a pause.
const BURST: Duration = Duration::from_millis(200);

impl RateLimit {
    /// At least one byte a second.
    pub fn new(bytes_per_second: u64) -> Self {
        Self {
            bytes_per_second: bytes_per_second.max(1),
            paid_until: Arc::new(Mutex::new(Instant::now())),
        }
    }

    /// The same bytes, not faster than that.
    pub(crate) fn throttled(self, body: Body) -> impl Stream<Item = Result<bytes::Bytes, FetchError>> + Send {
        body.then(move |chunk| {
            let wait = chunk.as_ref().map_or(Duration::ZERO, |chunk| self.owed(chunk.len()));
            async move {
                if !wait.is_zero() {
                    tokio::time::sleep(wait).await;
                }
                chunk
            }
        })
    }

    /// Takes these bytes to account, and says how long to wait for it.
    fn owed(&self, bytes: usize) -> Duration {
        let cost = Duration::from_secs_f64(bytes as f64 / self.bytes_per_second as f64);
        let now = Instant::now();
        let mut paid_until = self.paid_until.lock().unwrap_or_else(PoisonError::into_inner);
        let earliest = now.checked_sub(BURST).unwrap_or(now);
        *paid_until = (*paid_until).max(earliest) + cost;
        paid_until.saturating_duration_since(now)
    }
}

impl FromStr for RateLimit {
    type Err = RateLimitError;

    /// As curl's `--limit-rate`: a number of bytes, with `k`, `M` or `G` for powers of 1024.
    fn from_str(text: &str) -> Result<Self, RateLimitError> {
        let error = || RateLimitError { text: text.to_owned() };
        let (number, unit) = match text.char_indices().last().ok_or_else(error)? {
            (at, 'k' | 'K') => (&text[..at], 1_u64 << 10),
            (at, 'm' | 'M') => (&text[..at], 1 << 20),
            (at, 'g' | 'G') => (&text[..at], 1 << 30),
            (_, 'b' | 'B') if text.len() > 1 => (&text[..text.len() - 1], 1),
            _ => (text, 1),
        };
        let bytes = match number.parse::<u64>() {
            Ok(whole) => whole.checked_mul(unit).ok_or_else(error)?,
            // `1.5M` is how people speak.
            Err(_) => match number.parse::<f64>() {
                Ok(number) if number.is_finite() && number > 0.0 && number < 1e9 => (number * unit as f64) as u64,
                _ => return Err(error()),
            },
        };
        match bytes {
            0 => Err(error()),
            bytes => Ok(Self::new(bytes)),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn rates_are_written_as_for_curl() {
        for (text, bytes) in [
            ("1000", 1000),
            ("1k", 1024),
            ("2M", 2 << 20),
            ("1G", 1 << 30),
            ("1.5K", 1536),
            ("10B", 10),
        ] {
            assert_eq!(text.parse::<RateLimit>().unwrap().bytes_per_second, bytes, "{text}");
        }
        for text in ["", "0", "k", "-1", "1T", "fast", "1e99", "99999999999999G"] {
            assert!(text.parse::<RateLimit>().is_err(), "{text}");
        }
    }

    #[test]
    fn bytes_are_paid_for_by_whoever_shares_the_limit() {
        let limit = RateLimit::new(1000);
        let other = limit.clone();
        limit.owed(1000);
        assert!(other.owed(1000) > Duration::from_millis(1700));
    }
}
