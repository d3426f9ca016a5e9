//! Whether a client has a file already (RFC 9110, section 13).

use axum::http::{HeaderMap, HeaderName, header};
use chrono::{DateTime, TimeDelta, Utc};
use object_store::ObjectMeta;

/// How old a file must be for its time to tell its versions apart: times of files are cut to seconds here.
const STRONG_AGE: TimeDelta = TimeDelta::seconds(60);

/// By what a client knows a version of a file.
#[derive(Clone, Debug)]
pub(crate) struct Validators {
    /// The strong entity tag, quoted.
    pub(crate) e_tag: Option<String>,
    /// In whole seconds, as HTTP has it.
    last_modified: DateTime<Utc>,
}

/// What the conditions of a request mean.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Condition {
    /// The request is answered as if it had none.
    Holds,
    /// 304: the client has the file.
    NotModified,
    /// 412: the client wants another version.
    Failed,
}

impl Validators {
    pub(crate) fn of(meta: &ObjectMeta) -> Self {
        let quoted = |tag: &String| {
            if tag.starts_with('"') {
                tag.clone()
            } else {
                format!("\"{tag}\"")
            }
        };
        let last_modified = DateTime::from_timestamp(meta.last_modified.timestamp(), 0);
        Self {
            // A weak tag of a store says nothing about bytes.
            e_tag: meta.e_tag.as_ref().filter(|tag| !tag.starts_with("W/")).map(quoted),
            last_modified: last_modified.unwrap_or(DateTime::UNIX_EPOCH),
        }
    }

    /// The header `Last-Modified`.
    pub(crate) fn last_modified(&self) -> String {
        self.last_modified.format("%a, %d %b %Y %H:%M:%S GMT").to_string()
    }

    /// Judges a request's conditions, in the standard's order of precedence.
    pub(crate) fn judge(&self, headers: &HeaderMap) -> Condition {
        if let Some(tags) = text(headers, header::IF_MATCH) {
            if !self.is_among(&tags, Comparison::Strong) {
                return Condition::Failed;
            }
        } else if date(headers, header::IF_UNMODIFIED_SINCE).is_some_and(|date| self.last_modified > date) {
            return Condition::Failed;
        }
        if let Some(tags) = text(headers, header::IF_NONE_MATCH) {
            if self.is_among(&tags, Comparison::Weak) {
                return Condition::NotModified;
            }
        } else if date(headers, header::IF_MODIFIED_SINCE).is_some_and(|date| self.last_modified <= date) {
            return Condition::NotModified;
        }
        Condition::Holds
    }

    /// Whether a range may be served: not if it would continue another version of the file.
    pub(crate) fn allow_range(&self, headers: &HeaderMap) -> bool {
        let Some(condition) = text(headers, header::IF_RANGE) else {
            return true;
        };
        if condition.starts_with('"') || condition.starts_with("W/") {
            return self.e_tag.as_deref() == Some(condition.as_str());
        }
        parse_date(&condition) == Some(self.last_modified) && Utc::now() - self.last_modified >= STRONG_AGE
    }

    fn is_among(&self, tags: &str, comparison: Comparison) -> bool {
        if tags.trim() == "*" {
            return true;
        }
        let Some(own) = &self.e_tag else { return false };
        tags.split(',').map(str::trim).any(|tag| match comparison {
            Comparison::Strong => tag == own,
            Comparison::Weak => tag.strip_prefix("W/").unwrap_or(tag) == own,
        })
    }
}

#[derive(Clone, Copy)]
enum Comparison {
    Strong,
    Weak,
}

/// The values of a header that may stand on several lines.
fn text(headers: &HeaderMap, name: HeaderName) -> Option<String> {
    let values: Vec<_> = headers
        .get_all(name)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .collect();
    (!values.is_empty()).then(|| values.join(","))
}

fn date(headers: &HeaderMap, name: HeaderName) -> Option<DateTime<Utc>> {
    parse_date(&text(headers, name)?)
}

fn parse_date(text: &str) -> Option<DateTime<Utc>> {
    DateTime::parse_from_rfc2822(text).ok().map(|date| date.to_utc())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn validators(age: TimeDelta) -> Validators {
        let last_modified = DateTime::from_timestamp((Utc::now() - age).timestamp(), 0).unwrap();
        Validators {
            e_tag: Some("\"a,b\"".replace(',', "-")),
            last_modified,
        }
    }

    fn headers(pairs: &[(HeaderName, &str)]) -> HeaderMap {
        pairs
            .iter()
            .map(|(name, value)| (name.clone(), value.parse().unwrap()))
            .collect()
    }

    #[test]
    fn tags_go_before_dates() {
        let file = validators(TimeDelta::hours(1));
        let judge = |pairs: &[(HeaderName, &str)]| file.judge(&headers(pairs));
        let (now, old) = (Utc::now().to_rfc2822(), "Sun, 06 Nov 1994 08:49:37 GMT");
        assert_eq!(judge(&[]), Condition::Holds);
        assert_eq!(
            judge(&[(header::IF_NONE_MATCH, "\"x\", W/\"a-b\"")]),
            Condition::NotModified
        );
        assert_eq!(judge(&[(header::IF_NONE_MATCH, "*")]), Condition::NotModified);
        assert_eq!(
            judge(&[(header::IF_NONE_MATCH, "\"x\""), (header::IF_MODIFIED_SINCE, &now)]),
            Condition::Holds
        );
        assert_eq!(judge(&[(header::IF_MODIFIED_SINCE, &now)]), Condition::NotModified);
        assert_eq!(
            judge(&[(header::IF_MODIFIED_SINCE, &file.last_modified())]),
            Condition::NotModified
        );
        assert_eq!(judge(&[(header::IF_MODIFIED_SINCE, old)]), Condition::Holds);
        assert_eq!(judge(&[(header::IF_MODIFIED_SINCE, "yesterday")]), Condition::Holds);
        assert_eq!(judge(&[(header::IF_MATCH, "W/\"a-b\"")]), Condition::Failed);
        assert_eq!(judge(&[(header::IF_MATCH, "\"a-b\"")]), Condition::Holds);
        assert_eq!(judge(&[(header::IF_UNMODIFIED_SINCE, old)]), Condition::Failed);
    }

    #[test]
    fn a_range_continues_only_the_same_bytes() {
        let file = validators(TimeDelta::hours(1));
        let allow = |file: &Validators, value: &str| file.allow_range(&headers(&[(header::IF_RANGE, value)]));
        assert!(file.allow_range(&HeaderMap::new()));
        assert!(allow(&file, "\"a-b\""));
        assert!(!allow(&file, "W/\"a-b\""));
        assert!(!allow(&file, "\"x\""));
        assert!(allow(&file, &file.last_modified()));
        assert!(!allow(&file, "Sun, 06 Nov 1994 08:49:37 GMT"));
        let young = validators(TimeDelta::seconds(2));
        assert!(!allow(&young, &young.last_modified()));
    }
}
