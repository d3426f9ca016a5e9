//! Spans of time as people write and read them.

use std::time::Duration;

use chrono::{DateTime, Utc};

/// Reads `30m`, `24h`, `1h30m`, `30m0s`, `90s`, `500ms`, `7d` or `0`.
pub(crate) fn parse_duration(text: &str) -> Result<Duration, String> {
    let problem = || format!("`{text}` is not a span of time such as `30m` or `1h30m`");
    if text == "0" {
        return Ok(Duration::ZERO);
    }
    let (mut rest, mut total) = (text, Duration::ZERO);
    if rest.is_empty() {
        return Err(problem());
    }
    while !rest.is_empty() {
        let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
        let number: u64 = rest[..digits].parse().map_err(|_| problem())?;
        rest = &rest[digits..];
        let letters = rest.bytes().take_while(u8::is_ascii_lowercase).count();
        let milliseconds: u64 = match &rest[..letters] {
            "ms" => 1,
            "s" => 1_000,
            "m" => 60_000,
            "h" => 3_600_000,
            "d" => 86_400_000,
            _ => return Err(problem()),
        };
        let span = number
            .checked_mul(milliseconds)
            .map(Duration::from_millis)
            .ok_or_else(problem)?;
        total = total.checked_add(span).ok_or_else(problem)?;
        rest = &rest[letters..];
    }
    Ok(total)
}

/// `time` as a person counts: `41 seconds ago`.
pub(crate) fn ago(time: DateTime<Utc>, now: DateTime<Utc>) -> String {
    let seconds = (now - time).num_seconds().max(0);
    let (number, unit) = match seconds {
        0..60 => (seconds, "second"),
        60..3_600 => (seconds / 60, "minute"),
        3_600..86_400 => (seconds / 3_600, "hour"),
        _ => (seconds / 86_400, "day"),
    };
    format!("{number} {unit}{} ago", if number == 1 { "" } else { "s" })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn spans_are_read_as_rkt_wrote_them() {
        for (text, seconds) in [
            ("0", 0),
            ("30m", 1800),
            ("24h0m0s", 86400),
            ("1h30m", 5400),
            ("7d", 604800),
        ] {
            assert_eq!(parse_duration(text).unwrap(), Duration::from_secs(seconds), "{text}");
        }
        for text in ["", "30", "m", "5x", "1h ", "99999999999999999999h"] {
            assert!(parse_duration(text).is_err(), "{text}");
        }
    }

    #[test]
    fn ages_are_counted_in_the_largest_whole_unit() {
        let now = Utc::now();
        for (seconds, text) in [
            (1, "1 second ago"),
            (59, "59 seconds ago"),
            (150, "2 minutes ago"),
            (90_000, "1 day ago"),
        ] {
            assert_eq!(ago(now - chrono::TimeDelta::seconds(seconds), now), text);
        }
    }
}
