//! Spans of time and sizes as people write them.

use std::time::Duration;

/// Reads `30m`, `24h`, `1h30m`, `90s`, `30d` or `0`.
pub(crate) fn duration(text: &str) -> Result<Duration, String> {
    let problem = || format!("`{text}` is not a span of time such as `30m`, `24h` or `30d`");
    if text == "0" {
        return Ok(Duration::ZERO);
    }
    let (mut rest, mut seconds) = (text, 0_u64);
    if rest.is_empty() {
        return Err(problem());
    }
    while !rest.is_empty() {
        let (number, after) = number(rest).ok_or_else(problem)?;
        let unit = after.chars().next().ok_or_else(problem)?;
        let unit_seconds = match unit {
            's' => 1,
            'm' => 60,
            'h' => 3_600,
            'd' => 86_400,
            _ => return Err(problem()),
        };
        let span = number.checked_mul(unit_seconds).ok_or_else(problem)?;
        seconds = seconds.checked_add(span).ok_or_else(problem)?;
        rest = &after[1..];
    }
    Ok(Duration::from_secs(seconds))
}

/// Reads a number of bytes: `500M`, `10GiB` and `2T` are powers of 1024, `500MB` and `10GB` of 1000.
pub(crate) fn size(text: &str) -> Result<u64, String> {
    let problem = || format!("`{text}` is not a size such as `500M`, `10GiB` or `0`");
    let (number, unit) = number(text).ok_or_else(problem)?;
    let (letter, rest) = unit.split_at(unit.len().min(1));
    let power = match letter {
        "" | "B" if rest.is_empty() => return Ok(number),
        "K" | "k" => 1,
        "M" => 2,
        "G" => 3,
        "T" => 4,
        _ => return Err(problem()),
    };
    let base: u64 = match rest {
        "" | "iB" | "i" => 1024,
        "B" => 1000,
        _ => return Err(problem()),
    };
    number.checked_mul(base.pow(power)).ok_or_else(problem)
}

/// The whole number that a text begins with, and what follows.
fn number(text: &str) -> Option<(u64, &str)> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    Some((text[..digits].parse().ok()?, &text[digits..]))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn spans_of_time() {
        for (text, seconds) in [
            ("0", 0),
            ("90s", 90),
            ("1h30m", 5400),
            ("24h0m0s", 86400),
            ("30d", 2_592_000),
        ] {
            assert_eq!(duration(text).unwrap().as_secs(), seconds, "{text}");
        }
        for text in ["", "30", "m", "5x", "1h ", "1ä", "99999999999999999999h"] {
            assert!(duration(text).is_err(), "{text}");
        }
    }

    #[test]
    fn sizes() {
        for (text, bytes) in [
            ("0", 0),
            ("12", 12),
            ("12B", 12),
            ("1k", 1024),
            ("500M", 500 << 20),
            ("10GiB", 10 << 30),
            ("10GB", 10_000_000_000),
            ("2Ti", 2 << 40),
        ] {
            assert_eq!(size(text).unwrap(), bytes, "{text}");
        }
        for text in ["", "G", "1.5G", "1X", "1GiBs", "-1", "99999999999T"] {
            assert!(size(text).is_err(), "{text}");
        }
    }
}
