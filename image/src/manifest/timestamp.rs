//! Points in time (appc spec, types.md, "Timestamps Type").

use std::{fmt, str::FromStr};

use chrono::{DateTime, FixedOffset};
use serde::{Serialize, Serializer};
use thiserror::Error;

use super::reading::{deserialize_by_reading, shorten};

/// A date and time with its offset, written by RFC 3339 with a `T` in between.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Timestamp(DateTime<FixedOffset>);

/// Why a text is no timestamp.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[error("`{text}` is not an RFC 3339 date as in `2014-10-27T19:32:27Z`")]
pub struct TimestampError {
    text: String,
}

impl Timestamp {
    /// The point in time.
    pub fn as_datetime(&self) -> DateTime<FixedOffset> {
        self.0
    }
}

impl From<DateTime<FixedOffset>> for Timestamp {
    fn from(time: DateTime<FixedOffset>) -> Self {
        Self(time)
    }
}

impl FromStr for Timestamp {
    type Err = TimestampError;

    fn from_str(text: &str) -> Result<Self, TimestampError> {
        // RFC 3339 lets applications agree on a space; the specification asks for the `T`.
        match DateTime::parse_from_rfc3339(text) {
            Ok(time) if text.as_bytes().get(10) == Some(&b'T') => Ok(Self(time)),
            _ => Err(TimestampError { text: shorten(text) }),
        }
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = self.0.to_rfc3339_opts(chrono::SecondsFormat::AutoSi, true);
        f.write_str(&text)
    }
}

impl Serialize for Timestamp {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

deserialize_by_reading!(Timestamp);
