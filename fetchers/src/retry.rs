//! [`RetryPolicy`]: how often something is tried again, and after what wait.

use std::time::Duration;

use crate::error::Error;

/// What is tried again is what may pass by itself: broken connections, servers that are busy, stalls.
///
/// The wait doubles from attempt to attempt, less a random part, so that a thousand hosts that failed together do not
/// come back together. A server's `Retry-After` is obeyed up to `longest`; if it asks for more, that is the end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RetryPolicy {
    /// How many attempts may bring nothing to speak of. At least one.
    pub attempts: u32,
    /// The wait after the first.
    pub first: Duration,
    /// The longest wait.
    pub longest: Duration,
}

impl RetryPolicy {
    /// One attempt, for whoever has other places to go to.
    pub fn once() -> Self {
        Self {
            attempts: 1,
            ..Self::default()
        }
    }

    /// How long to wait after the `failed`th failure (from 1), or `None` if that was the last attempt.
    pub(crate) fn wait(&self, failed: u32, error: &Error) -> Option<Duration> {
        if failed >= self.attempts || !error.is_transient() {
            return None;
        }
        let asked = error.retry_after().unwrap_or_default();
        if asked > self.longest {
            return None;
        }
        let doubled = self.first.saturating_mul(1 << (failed.saturating_sub(1)).min(16));
        let jittered = doubled.min(self.longest).mul_f64(0.5 + fastrand::f64() / 2.0);
        Some(jittered.max(asked))
    }
}

impl Default for RetryPolicy {
    fn default() -> Self {
        Self {
            attempts: 4,
            first: Duration::from_millis(500),
            longest: Duration::from_secs(30),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn busy(retry_after: Option<u64>) -> Error {
        Error::Status {
            url: "https://example.com/".to_owned(),
            status: 429,
            retry_after: retry_after.map(Duration::from_secs),
        }
    }

    #[test]
    fn waits_double_and_end() {
        let policy = RetryPolicy::default();
        for (failed, least, most) in [(1, 250, 500), (2, 500, 1000), (3, 1000, 2000)] {
            let wait = policy.wait(failed, &busy(None)).map(|wait| wait.as_millis());
            assert!(
                wait.is_some_and(|wait| (least..=most).contains(&wait)),
                "{failed}: {wait:?}"
            );
        }
        assert_eq!(policy.wait(4, &busy(None)), None);
    }

    #[test]
    fn a_server_may_ask_for_patience_within_reason() {
        let policy = RetryPolicy::default();
        assert_eq!(policy.wait(1, &busy(Some(7))), Some(Duration::from_secs(7)));
        assert_eq!(policy.wait(1, &busy(Some(31))), None);
        let gone = Error::NotFound {
            url: String::new(),
            status: 404,
        };
        assert_eq!(policy.wait(1, &gone), None);
    }
}
