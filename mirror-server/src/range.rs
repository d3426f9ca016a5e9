//! The part of a file that a request asks for (RFC 9110, section 14).

use std::ops::Range;

/// What is to be sent of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Part {
    /// All of it.
    Whole,
    /// These bytes.
    Bytes(Range<u64>),
    /// Nothing, since nothing of what was asked for exists.
    Unsatisfiable,
}

/// Reads a `Range` header for a file of `size` bytes.
///
/// What is malformed, of another unit or of several ranges is answered with the whole file, as the standard allows.
pub(crate) fn parse(header: &str, size: u64) -> Part {
    let Some((unit, ranges)) = header.split_once('=') else {
        return Part::Whole;
    };
    if !unit.trim().eq_ignore_ascii_case("bytes") || ranges.contains(',') {
        return Part::Whole;
    }
    let Some((first, last)) = ranges.trim().split_once('-') else {
        return Part::Whole;
    };
    match (number(first), number(last)) {
        (Some(first), Some(last)) if first <= last => within(first, last.saturating_add(1), size),
        (Some(first), None) if last.is_empty() => within(first, size, size),
        (None, Some(0)) if first.is_empty() => Part::Unsatisfiable,
        (None, Some(_)) if first.is_empty() && size == 0 => Part::Whole,
        (None, Some(length)) if first.is_empty() => Part::Bytes(size.saturating_sub(length)..size),
        _ => Part::Whole,
    }
}

fn within(start: u64, end: u64, size: u64) -> Part {
    if start < size {
        Part::Bytes(start..end.min(size))
    } else {
        Part::Unsatisfiable
    }
}

/// Digits as a number; one that is too large is larger than any file.
fn number(digits: &str) -> Option<u64> {
    let is_number = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
    is_number.then(|| digits.parse().unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn single_ranges_of_every_form() {
        for (header, part) in [
            ("bytes=0-0", Part::Bytes(0..1)),
            ("bytes=2-4", Part::Bytes(2..5)),
            ("bytes=2-", Part::Bytes(2..10)),
            ("Bytes = 2-3", Part::Bytes(2..4)),
            ("bytes=-3", Part::Bytes(7..10)),
            ("bytes=-30", Part::Bytes(0..10)),
            ("bytes=5-99999999999999999999999", Part::Bytes(5..10)),
            ("bytes=10-", Part::Unsatisfiable),
            ("bytes=99999999999999999999999-", Part::Unsatisfiable),
            ("bytes=-0", Part::Unsatisfiable),
        ] {
            assert_eq!(parse(header, 10), part, "{header}");
        }
        assert_eq!(parse("bytes=0-", 0), Part::Unsatisfiable);
        assert_eq!(parse("bytes=-1", 0), Part::Whole);
    }

    #[test]
    fn what_is_not_understood_is_ignored() {
        for header in [
            "",
            "bytes",
            "bytes=",
            "bytes=-",
            "bytes=a-b",
            "bytes=4-2",
            "bytes=+1-2",
            "lines=1-2",
            "bytes=0-1,3-4",
        ] {
            assert_eq!(parse(header, 10), Part::Whole, "{header}");
        }
    }
}
