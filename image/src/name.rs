//! The two kinds of names of the specification (appc spec, types.md).

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};
use thiserror::Error;

/// An AC Identifier: the name of an image, a label, an annotation or an isolator, as in `example.com/app`.
///
/// Lower-case letters and digits, with `-`, `.`, `_`, `~` or `/` between them (appc spec, types.md, "AC Identifier
/// Type"). Separators may follow each other, as in `xn--host/~user`: the specification's expression forbids it, its
/// own examples and tests do it. A path segment that is empty, `.` or `..` is refused, since names become paths.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Name(String);

/// An AC Name: the name of an app in a pod, a port or a mount point, as in `reduce-worker`.
///
/// Lower-case letters and digits, with `-` between them (appc spec, types.md, "AC Name Type").
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct AcName(String);

/// Why a text is not a name.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[error(
    "`{text}` is not a valid {kind}: it must begin and end with a lower-case letter or digit, with only those and {separators} between, and no path segment that is empty, `.` or `..`"
)]
pub struct NameError {
    text: String,
    kind: &'static str,
    separators: &'static str,
}

impl Name {
    /// Parses an AC Identifier.
    ///
    /// ```
    /// use dhow_image::Name;
    ///
    /// let name = Name::new("example.com/team/app")?;
    /// assert!(name.is_within(&Name::new("example.com/team")?));
    /// assert!(!name.is_within(&Name::new("example.com/te")?));
    /// # Ok::<(), dhow_image::NameError>(())
    /// ```
    pub fn new(text: impl Into<String>) -> Result<Self, NameError> {
        let text = text.into();
        let is_path = |segment: &str| !matches!(segment, "" | "." | "..");
        if is_spelled_with(&text, b"-._~/") && text.split('/').all(is_path) {
            Ok(Self(text))
        } else {
            Err(NameError {
                text: shorten(text),
                kind: "name (AC Identifier)",
                separators: "`-`, `.`, `_`, `~` or `/`",
            })
        }
    }

    /// The name that comes nearest to a text: in lower case, with a hyphen for what no name has, and without
    /// separators at its ends.
    pub fn sanitize(text: &str) -> Result<Self, NameError> {
        let text = replace_others(text, b"-._~/");
        let is_separator = |c: char| !c.is_ascii_alphanumeric();
        let is_path = |segment: &&str| !matches!(*segment, "" | "." | "..");
        let segments: Vec<&str> = text.trim_matches(is_separator).split('/').filter(is_path).collect();
        Self::new(segments.join("/"))
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether `prefix` is this name or a parent path of it. Only whole path segments count: `example.com/foo` is
    /// no prefix of `example.com/foobar`.
    pub fn is_within(&self, prefix: &Name) -> bool {
        self.0
            .strip_prefix(prefix.as_str())
            .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    }

    /// The parts between slashes.
    pub fn segments(&self) -> impl Iterator<Item = &str> {
        self.0.split('/')
    }

    /// The name without its last path segment, or `None` for a bare host.
    pub fn parent(&self) -> Option<Name> {
        self.0.rsplit_once('/').map(|(parent, _)| Self(parent.to_owned()))
    }

    /// This name and every parent path, longest first: where discovery looks, in its order
    /// (appc spec, discovery.md, "Discovery URL").
    pub fn walk(&self) -> impl Iterator<Item = Name> {
        std::iter::successors(Some(self.clone()), Name::parent)
    }

    /// The first path segment, which discovery asks: the host.
    pub fn host(&self) -> &str {
        self.0.split_once('/').map_or(&self.0, |(host, _)| host)
    }

    /// The last path segment turned into an AC Name, as a default name for an app in a pod.
    pub fn to_app_name(&self) -> AcName {
        let last = self.0.rsplit_once('/').map_or(self.0.as_str(), |(_, last)| last);
        AcName::sanitize(last).expect("the last segment of a name ends with a letter or digit")
    }
}

impl AcName {
    /// Parses an AC Name.
    pub fn new(text: impl Into<String>) -> Result<Self, NameError> {
        let text = text.into();
        if is_spelled_with(&text, b"-") {
            Ok(Self(text))
        } else {
            Err(NameError {
                text: shorten(text),
                kind: "AC Name",
                separators: "`-`",
            })
        }
    }

    /// The name that comes nearest to a text: in lower case, with a hyphen for what no name has, and without hyphens
    /// at its ends.
    pub fn sanitize(text: &str) -> Result<Self, NameError> {
        Self::new(replace_others(text, b"-").trim_matches('-'))
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Lower-case letters, digits and `separators`, with no separator at either end.
fn is_spelled_with(text: &str, separators: &[u8]) -> bool {
    let is_alphanumeric = |byte: &u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let bytes = text.as_bytes();
    bytes.first().is_some_and(is_alphanumeric)
        && bytes.last().is_some_and(is_alphanumeric)
        && bytes
            .iter()
            .all(|byte| is_alphanumeric(byte) || separators.contains(byte))
}

/// The text in lower case, with a hyphen for each character that is neither alphanumeric nor one of `separators`.
fn replace_others(text: &str, separators: &[u8]) -> String {
    let is_kept = |c: &char| c.is_ascii_alphanumeric() || u8::try_from(*c).is_ok_and(|byte| separators.contains(&byte));
    text.chars()
        .map(|c| if is_kept(&c) { c.to_ascii_lowercase() } else { '-' })
        .collect()
}

/// Keeps an error message readable when the text is hostile.
fn shorten(text: String) -> String {
    match text.char_indices().nth(80) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text,
    }
}

macro_rules! text_conversions {
    ($type:ty) => {
        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl FromStr for $type {
            type Err = NameError;

            fn from_str(text: &str) -> Result<Self, NameError> {
                Self::new(text)
            }
        }

        impl TryFrom<String> for $type {
            type Error = NameError;

            fn try_from(text: String) -> Result<Self, NameError> {
                Self::new(text)
            }
        }

        impl From<$type> for String {
            fn from(name: $type) -> String {
                name.0
            }
        }
    };
}

text_conversions!(Name);
text_conversions!(AcName);

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn names_follow_the_grammar() {
        let good = [
            "a",
            "my~database",
            "example.com/~bob/database",
            "xn--bcher-kva.example/a",
            "sub-domain.example.com/org/product/~alice/release-1.0.0",
        ];
        for name in good {
            assert!(Name::new(name).is_ok(), "{name}");
        }
        let bad = [
            "", "-a", "a-", "a/", "/a", "a//b", "A", "a b", "é", "a/../b", "a/./b", "foo#", ".a", "a.", "_a", "~a",
            "a~",
        ];
        for name in bad {
            assert!(Name::new(name).is_err(), "{name}");
        }
        assert!(AcName::new("product-database").is_ok());
        assert!(AcName::new("example.com").is_err());
        assert!(AcName::new("example/database").is_err());
    }

    #[test]
    fn prefixes_match_whole_segments() {
        let name = Name::new("example.com/foobar").unwrap();
        assert!(name.is_within(&Name::new("example.com").unwrap()));
        assert!(name.is_within(&name));
        assert!(!name.is_within(&Name::new("example.com/foo").unwrap()));
        assert!(!name.is_within(&Name::new("example.co").unwrap()));
    }

    #[test]
    fn the_walk_ends_at_the_host() {
        let walk: Vec<_> = Name::new("example.com/a/b").unwrap().walk().map(String::from).collect();
        assert_eq!(walk, ["example.com/a/b", "example.com/a", "example.com"]);
    }

    #[test]
    fn an_app_name_comes_from_the_last_segment() {
        assert_eq!(
            Name::new("example.com/my_app.v1").unwrap().to_app_name().as_str(),
            "my-app-v1"
        );
        assert_eq!(Name::new("example.com").unwrap().to_app_name().as_str(), "example-com");
        assert_eq!(Name::new("example.com/~bob").unwrap().to_app_name().as_str(), "bob");
    }
}
