//! What an ACI is called that is made from an image of OCI or Docker.

use std::path::Path;

use super::{ConvertError, ImageLocation};
use crate::name::{AcName, Name};

/// A name and a version, made from what the user typed or from what the archive says, and from nothing else.
///
/// `example.com/App:1.0` is `example.com/app` and `1.0`. A text that is only a tag, as OCI layouts have it, is a
/// version; then the name is that of the file.
pub(super) fn name_and_version(
    location: &ImageLocation,
    names: &[String],
) -> (Result<Name, ConvertError>, Option<String>) {
    let (path, is_docker) = match location {
        ImageLocation::DockerArchive { path, .. } => (path, true),
        ImageLocation::OciLayout { path, .. } | ImageLocation::OciArchive { path, .. } | ImageLocation::Aci(path) => {
            (path, false)
        }
    };
    let is_whole = |name: &&String| is_docker || name.contains(['/', ':']);
    let whole = names
        .iter()
        .find(is_whole)
        .map(|name| name.split_once('@').map_or(name.as_str(), |(name, _)| name));
    match whole {
        Some(reference) => {
            let (name, tag) = split_tag(reference);
            (to_name(name), tag.map(str::to_owned))
        }
        None => (to_name(&stem(path)), names.first().cloned()),
    }
}

/// Separates a tag from a name: what follows the last `:`, unless that is a port.
pub(super) fn split_tag(reference: &str) -> (&str, Option<&str>) {
    match reference.rsplit_once(':') {
        Some((name, tag)) if !tag.contains('/') && !name.is_empty() && !tag.is_empty() => (name, Some(tag)),
        _ => (reference, None),
    }
}

/// Makes an AC Identifier of a text: in lower case, `_` for what none may hold, nothing invalid at the ends of
/// segments.
fn to_name(text: &str) -> Result<Name, ConvertError> {
    let lower = text.to_lowercase();
    let valid = |c: char| {
        if c.is_ascii_lowercase() || c.is_ascii_digit() || "-._~/".contains(c) {
            c
        } else {
            '_'
        }
    };
    let replaced: String = lower.chars().map(valid).collect();
    let segments: Vec<_> = replaced
        .split('/')
        .filter(|part| !matches!(*part, "" | "." | ".."))
        .collect();
    let name = segments.join("/");
    Name::new(name.trim_matches(|c| "-._~/".contains(c))).map_err(|source| ConvertError::Name {
        text: text.to_owned(),
        source,
    })
}

/// Makes an AC Name of a text, as docker2aci names ports and volumes.
pub(super) fn to_ac_name(text: &str) -> Option<AcName> {
    let lower = text.to_lowercase();
    let valid = |c: char| {
        if c.is_ascii_lowercase() || c.is_ascii_digit() {
            c
        } else {
            '-'
        }
    };
    let replaced: String = lower.chars().map(valid).collect();
    AcName::new(replaced.trim_matches('-')).ok()
}

fn stem(path: &Path) -> String {
    let name = path
        .file_name()
        .map(|name| name.to_string_lossy().into_owned())
        .unwrap_or_default();
    let mut name = name.as_str();
    for suffix in [".gz", ".zst", ".tar"] {
        name = name.strip_suffix(suffix).unwrap_or(name);
    }
    name.to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_come_from_what_is_there() {
        let cases = [
            (
                "docker-archive:a.tar",
                "example.com/App:1.0",
                "example.com/app",
                Some("1.0"),
            ),
            ("docker-archive:a.tar", "busybox:latest", "busybox", Some("latest")),
            ("docker-archive:a.tar", "localhost:5000/x", "localhost_5000/x", None),
            ("oci:some/Layout", "1.0", "layout", Some("1.0")),
            (
                "oci-archive:saved.tar.gz",
                "example.com/app@sha256:00",
                "example.com/app",
                None,
            ),
            ("oci:some/dir", "//example.com/../a_", "example.com/a", None),
        ];
        for (location, text, name, version) in cases {
            let (found, tag) = name_and_version(&location.parse().unwrap(), &[text.to_owned()]);
            assert_eq!((found.unwrap().as_str(), tag.as_deref()), (name, version), "{text}");
        }
        let (name, _) = name_and_version(&"docker-archive:---".parse().unwrap(), &[]);
        assert!(matches!(name, Err(ConvertError::Name { .. })));
        assert_eq!(to_ac_name("80/tcp").unwrap().as_str(), "80-tcp");
        assert_eq!(to_ac_name("volume/var/Lib").unwrap().as_str(), "volume-var-lib");
    }
}
