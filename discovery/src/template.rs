//! [`Template`]: a URL with holes (appc spec, discovery.md, "Discovery Templates").
//!
//! A hole is RFC 6570's simple expansion, `{label}`. Values come from users and manifests: whatever they hold, they
//! stay in their place. Every byte but letters, digits, `-`, `.`, `_` and `~` is percent-encoded, a value may not
//! make a path segment `..`, and no label may stand in the host, where `{version}` = `x.evil.example` would send the
//! request elsewhere. `{name}` keeps its slashes and may stand in the host, as in the specification's own example:
//! it is the name that the user asked for.

use std::{fmt, str::FromStr};

use dhow_image::Name;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use thiserror::Error;
use url::Url;

use crate::{request::Request, scheme::Scheme};

/// What RFC 6570 lets stand.
const LABEL: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// A URL template of an `ac-discovery` tag.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Template {
    scheme: Scheme,
    /// What follows `scheme://`.
    parts: Vec<Part>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Part {
    Literal(String),
    /// `{name}`, `{ext}` or the name of a label.
    Hole(String),
}

/// Why a template cannot be used, at all or for this request.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum TemplateError {
    /// It is not a template.
    #[error("it is malformed: {problem}")]
    Malformed {
        /// What is wrong.
        problem: &'static str,
    },
    /// Its scheme is not one that discovery knows.
    #[error("its scheme is unknown")]
    Scheme,
    /// It cannot tell the signature from the archive.
    #[error("it has no `{{ext}}`")]
    NoExt,
    /// It needs a label that was not given.
    #[error("it needs the label `{label}`, which is not given")]
    MissingLabel {
        /// The label.
        label: String,
    },
    /// A label would choose the host.
    #[error("the label `{label}` may not be part of the host")]
    LabelInHost {
        /// The label.
        label: String,
    },
    /// A path segment would be `.` or `..`.
    #[error("a part of its path would be `.` or `..`")]
    DotSegment,
    /// It holds a user name or a password.
    #[error("it holds credentials")]
    Credentials,
    /// What comes out is not a URL.
    #[error("it does not give a URL: {0}")]
    Url(url::ParseError),
}

impl Template {
    /// What would carry the bytes.
    pub fn scheme(&self) -> Scheme {
        self.scheme
    }

    /// The URL of the archive that `request` asks for.
    pub fn archive(&self, request: &Request) -> Result<Url, TemplateError> {
        self.render(request, "aci")
    }

    /// The URL of the signature that goes with it.
    pub fn signature(&self, request: &Request) -> Result<Url, TemplateError> {
        self.render(request, "aci.asc")
    }

    fn render(&self, request: &Request, ext: &str) -> Result<Url, TemplateError> {
        let mut text = String::new();
        for part in &self.parts {
            match part {
                Part::Literal(literal) => text.push_str(literal),
                Part::Hole(hole) if hole == "name" => text.push_str(request.name().as_str()),
                Part::Hole(label) if is_in_authority(&text) => {
                    return Err(TemplateError::LabelInHost { label: label.clone() });
                }
                Part::Hole(hole) if hole == "ext" => text.push_str(ext),
                Part::Hole(label) => {
                    let missing = || TemplateError::MissingLabel { label: label.clone() };
                    text.extend(utf8_percent_encode(request.value(label).ok_or_else(missing)?, LABEL));
                }
            }
        }
        if path_segments(&text).any(is_dots) {
            return Err(TemplateError::DotSegment);
        }
        let url = Url::parse(&format!("{}://{text}", self.scheme)).map_err(TemplateError::Url)?;
        if url.username() != "" || url.password().is_some() {
            return Err(TemplateError::Credentials);
        }
        Ok(url)
    }
}

fn is_in_authority(text: &str) -> bool {
    !text.contains(is_authority_end)
}

/// Browsers and the `url` crate read `\` as `/`.
fn is_authority_end(character: char) -> bool {
    matches!(character, '/' | '\\' | '?' | '#')
}

fn path_segments(text: &str) -> impl Iterator<Item = &str> {
    let path = text.split(['?', '#']).next().unwrap_or_default();
    path.split(['/', '\\'])
}

/// URL parsers take `%2e` for a dot.
fn is_dots(segment: &str) -> bool {
    matches!(segment.to_ascii_lowercase().replace("%2e", ".").as_str(), "." | "..")
}

impl FromStr for Template {
    type Err = TemplateError;

    fn from_str(text: &str) -> Result<Self, TemplateError> {
        let malformed = |problem| TemplateError::Malformed { problem };
        if text
            .chars()
            .any(|character| character.is_whitespace() || character.is_control())
        {
            return Err(malformed("it has a space or a control character"));
        }
        let (scheme, mut rest) = text
            .split_once("://")
            .ok_or(malformed("it does not begin with a scheme"))?;
        let scheme = Scheme::from_name(scheme).ok_or(TemplateError::Scheme)?;
        let mut parts = Vec::new();
        while let Some((literal, after)) = rest.split_once('{') {
            let (hole, after) = after.split_once('}').ok_or(malformed("a `{` is not closed"))?;
            Name::new(hole).map_err(|_| malformed("what is between `{` and `}` is no label's name"))?;
            parts.push(Part::Literal(literal.to_owned()));
            parts.push(Part::Hole(hole.to_owned()));
            rest = after;
        }
        parts.push(Part::Literal(rest.to_owned()));
        if parts
            .iter()
            .any(|part| matches!(part, Part::Literal(literal) if literal.contains('}')))
        {
            return Err(malformed("a `}` closes nothing"));
        }
        if !parts.contains(&Part::Hole("ext".to_owned())) {
            return Err(TemplateError::NoExt);
        }
        Ok(Self { scheme, parts })
    }
}

impl fmt::Display for Template {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://", self.scheme)?;
        self.parts.iter().try_for_each(|part| match part {
            Part::Literal(literal) => f.write_str(literal),
            Part::Hole(hole) => write!(f, "{{{hole}}}"),
        })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::request::tests::request;

    fn archive(template: &str, name: &str, labels: &[(&str, &str)]) -> Result<String, TemplateError> {
        let template: Template = template.parse()?;
        template.archive(&request(name, labels)).map(String::from)
    }

    #[test]
    fn holes_are_filled() {
        let all = [
            ("version", "1.0.0"),
            ("os", "linux"),
            ("arch", "amd64"),
            ("channel", "beta"),
        ];
        let cases = [
            (
                "https://storage.example.com/{os}/{arch}/{name}-{version}.{ext}",
                "https://storage.example.com/linux/amd64/example.com/worker-1.0.0.aci",
            ),
            (
                "https://{name}-{version}-{os}-{arch}.{ext}",
                "https://example.com/worker-1.0.0-linux-amd64.aci",
            ),
            (
                "HTTPS://e/{name}/{channel}.{ext}",
                "https://e/example.com/worker/beta.aci",
            ),
            (
                "https://e/get?n={name}&v={version}&e={ext}",
                "https://e/get?n=example.com/worker&v=1.0.0&e=aci",
            ),
            ("https://e:8443/{name}.{ext}", "https://e:8443/example.com/worker.aci"),
            ("s3://bucket/{name}.{ext}", "s3://bucket/example.com/worker.aci"),
        ];
        for (template, url) in cases {
            assert_eq!(
                archive(template, "example.com/worker", &all).as_deref(),
                Ok(url),
                "{template}"
            );
        }
        let template: Template = "https://e/{name}-{version}.{ext}".parse().unwrap();
        let latest = template.signature(&request("example.com/worker", &[])).unwrap();
        assert_eq!(latest.as_str(), "https://e/example.com/worker-latest.aci.asc");
        assert_eq!(template.to_string(), "https://e/{name}-{version}.{ext}");
    }

    #[test]
    fn a_label_stays_in_its_place() {
        let template = "https://e/a/{version}/{name}.{ext}?x={version}";
        let values = [
            ("1/../../b", "1%2F..%2F..%2Fb"),
            ("?q#f", "%3Fq%23f"),
            ("a b\r\n%2e&=@:\\", "a%20b%0D%0A%252e%26%3D%40%3A%5C"),
            ("{name}{ext}", "%7Bname%7D%7Bext%7D"),
            ("é!*'();$+,[]", "%C3%A9%21%2A%27%28%29%3B%24%2B%2C%5B%5D"),
        ];
        for (value, encoded) in values {
            let url = archive(template, "example.com", &[("version", value)]);
            assert_eq!(url, Ok(format!("https://e/a/{encoded}/example.com.aci?x={encoded}")));
        }
        for dots in [".", ".."] {
            let url = archive(template, "example.com", &[("version", dots)]);
            assert_eq!(url, Err(TemplateError::DotSegment), "{dots}");
        }
        let half = archive("https://e/.{version}/{name}.{ext}", "a", &[("version", ".")]);
        assert_eq!(half, Err(TemplateError::DotSegment));
        let encoded = archive("https://e/%2E{version}/{name}.{ext}", "a", &[("version", ".")]);
        assert_eq!(encoded, Err(TemplateError::DotSegment));
    }

    #[test]
    fn a_label_never_chooses_the_host() {
        for template in [
            "https://{version}/{name}.{ext}",
            "https://e{version}/{name}.{ext}",
            "https://{version}.e/{name}.{ext}",
            "https://u:{version}@e/{name}.{ext}",
            "https://e:{version}/{name}.{ext}",
            // With a name that has no slash, what follows `{name}` is still the host.
            "https://{name}-{version}.{ext}",
        ] {
            let url = archive(template, "example.com", &[("version", ".evil.example")]);
            assert_eq!(
                url,
                Err(TemplateError::LabelInHost {
                    label: "version".to_owned()
                }),
                "{template}"
            );
        }
        let url = archive("https://{name}.{ext}", "example.com", &[]);
        assert_eq!(
            url,
            Err(TemplateError::LabelInHost {
                label: "ext".to_owned()
            })
        );
        let url = archive("https://user:secret@e/{name}.{ext}", "example.com", &[]);
        assert_eq!(url, Err(TemplateError::Credentials));
    }

    #[test]
    fn what_cannot_be_used_says_why() {
        let missing = archive("https://e/{name}-{os}.{ext}", "example.com", &[]);
        assert_eq!(missing, Err(TemplateError::MissingLabel { label: "os".to_owned() }));
        assert_eq!(
            archive("hdfs://e/{name}.{ext}", "example.com", &[]),
            Err(TemplateError::Scheme)
        );
        assert_eq!(
            archive("https://e/{name}.aci", "example.com", &[]),
            Err(TemplateError::NoExt)
        );
        assert!(matches!(
            archive("https://[e/{name}.{ext}", "example.com", &[]),
            Err(TemplateError::Url(_))
        ));
        for template in [
            "/{name}.{ext}",
            "https://e/{name.{ext}",
            "https://e/{name}}.{ext}",
            "https://e/{+name}.{ext}",
            "https://e/{name,version}.{ext}",
            "https://e/{name:3}.{ext}",
            "https://e/{}.{ext}",
            "https://e/{Name}.{ext}",
            "https://e/ {name}.{ext}",
        ] {
            let result = archive(template, "example.com", &[]);
            assert!(
                matches!(result, Err(TemplateError::Malformed { .. })),
                "{template}: {result:?}"
            );
        }
    }
}
