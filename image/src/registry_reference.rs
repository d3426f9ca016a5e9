//! [`RegistryReference`]: an image in a registry of OCI's or Docker's, as users of Docker name it.

use std::{fmt, str::FromStr};

use thiserror::Error;

use crate::{
    convert::{BlobDigest, OciPlatform},
    label::Labels,
    name::Name,
};

/// The host that is meant where none is named, and what its registry really is called.
const DOCKER: &str = "docker.io";
const DOCKER_REGISTRY: &str = "registry-1.docker.io";
/// Where that host has the images whose names have no `/`.
const DOCKER_OFFICIAL: &str = "library/";

/// `docker://[HOST/]REPOSITORY[:TAG][@DIGEST][,os=…][,arch=…]`.
///
/// The first part is a host if it has a dot or a colon or is `localhost`; without a host, Docker's own is meant, and
/// there `busybox` is `library/busybox`. Without tag and digest, the tag `latest` is meant. The labels `os` and `arch`,
/// with the values that the appc specification has for them, choose one of an image's several platforms.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RegistryReference {
    host: String,
    repository: String,
    tag: Option<String>,
    digest: Option<BlobDigest>,
    labels: Labels,
    platform: Option<OciPlatform>,
}

/// Why a text is no such reference.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[error("`{}` is not an image of a registry: {problem}", text.escape_debug())]
pub struct RegistryReferenceError {
    text: String,
    problem: String,
}

impl RegistryReference {
    /// What all of them begin with.
    pub const SCHEME: &str = "docker://";

    /// The registry's host, with its port if it has one, in lower case.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The repository in the registry.
    pub fn repository(&self) -> &str {
        &self.repository
    }

    /// The tag, where no digest says more.
    pub fn tag(&self) -> &str {
        self.tag.as_deref().unwrap_or("latest")
    }

    /// The digest that the image's index or manifest must have, if one was given.
    pub fn digest(&self) -> Option<&BlobDigest> {
        self.digest.as_ref()
    }

    /// The platform that the labels name, if they name one.
    pub fn platform(&self) -> Option<&OciPlatform> {
        self.platform.as_ref()
    }

    /// What an image made of it is called by: host, repository and tag, and no tag where only a digest was given.
    pub fn image_name(&self) -> String {
        let name = format!("{}/{}", self.host, self.repository);
        match (&self.tag, &self.digest) {
            (None, Some(_)) => name,
            _ => format!("{name}:{}", self.tag()),
        }
    }
}

impl FromStr for RegistryReference {
    type Err = RegistryReferenceError;

    fn from_str(text: &str) -> Result<Self, RegistryReferenceError> {
        parse(text).map_err(|problem| RegistryReferenceError {
            text: text.to_owned(),
            problem,
        })
    }
}

fn parse(text: &str) -> Result<RegistryReference, String> {
    let rest = text
        .strip_prefix(RegistryReference::SCHEME)
        .ok_or("it does not begin with `docker://`")?;
    let (image, labels) = match rest.split_once(',') {
        Some((image, labels)) => (image, labels.split(',').collect()),
        None => (rest, Vec::new()),
    };
    let (image, digest) = match image.split_once('@') {
        Some((image, digest)) => (image, Some(digest.parse()?)),
        None => (image, None),
    };
    let (host, path) = match image.split_once('/') {
        Some((host, path)) if host.contains(['.', ':', '[']) || host == "localhost" => (host.to_lowercase(), path),
        _ => (DOCKER.to_owned(), image),
    };
    let (repository, tag) = match path.split_once(':') {
        Some((repository, tag)) => (repository, Some(tag)),
        None => (path, None),
    };
    if !is_host(&host) {
        return Err(format!("`{host}` is no host"));
    }
    if let Some(tag) = tag.filter(|tag| !is_tag(tag)) {
        return Err(format!("`{tag}` is no tag"));
    }
    if repository.len() > 255 || !repository.split('/').all(is_component) {
        return Err(format!(
            "`{repository}` is no repository, which has lower-case letters, digits, and single marks between them"
        ));
    }
    let is_docker = matches!(host.as_str(), DOCKER | "index.docker.io" | DOCKER_REGISTRY);
    let repository = if is_docker && !repository.contains('/') {
        format!("{DOCKER_OFFICIAL}{repository}")
    } else {
        repository.to_owned()
    };
    let (labels, platform) = platform(labels)?;
    Ok(RegistryReference {
        host: if is_docker { DOCKER_REGISTRY.to_owned() } else { host },
        repository,
        tag: tag.map(str::to_owned),
        digest,
        labels,
        platform,
    })
}

fn platform(parts: Vec<&str>) -> Result<(Labels, Option<OciPlatform>), String> {
    if parts.is_empty() {
        return Ok((Labels::default(), None));
    }
    let mut labels = Labels::default();
    for part in parts {
        match part.split_once('=') {
            Some((label @ ("os" | "arch"), value)) => {
                let label = Name::new(label).expect("`os` and `arch` are names");
                labels.insert(label, value).map_err(|error| error.to_string())?;
            }
            _ => {
                return Err(format!(
                    "`{part}` chooses nothing: a registry's images are told apart by `os=…` and `arch=…`"
                ));
            }
        }
    }
    let mut whole = labels.clone();
    if whole.get("os").is_none() {
        let os = Name::new("os").expect("`os` is a name");
        whole
            .insert(os, std::env::consts::OS)
            .map_err(|error| error.to_string())?;
    }
    if whole.get("arch").is_none() {
        return Err("`os=…` says too little without `arch=…`".to_owned());
    }
    match OciPlatform::from_labels(&whole) {
        Some(platform) => Ok((labels, Some(platform))),
        None => Err(format!("the specification has no platform {labels}")),
    }
}

/// A name or an address, and perhaps a port.
fn is_host(host: &str) -> bool {
    let (name, port) = match host.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((address, port)) => {
            let is_address = address.parse::<std::net::Ipv6Addr>().is_ok();
            (if is_address { "address" } else { "" }, port.strip_prefix(':'))
        }
        None => match host.split_once(':') {
            Some((name, port)) => (name, Some(port)),
            None => (host, None),
        },
    };
    let is_label = |label: &str| {
        let inner = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
        !label.is_empty() && label.bytes().all(inner) && !label.starts_with('-') && !label.ends_with('-')
    };
    name.split('.').all(is_label) && port.is_none_or(|port| port.parse::<u16>().is_ok_and(|port| port > 0))
}

/// A part of a repository's name (opencontainers/distribution-spec 1.1, "Pulling manifests").
fn is_component(part: &str) -> bool {
    let is_word = |word: &str| {
        !word.is_empty()
            && word
                .bytes()
                .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit())
    };
    // Between words: one dot, one or two underscores, or any number of dashes.
    part.replace("__", "_")
        .split(['.', '_'])
        .all(|piece| piece.split('-').filter(|word| !word.is_empty()).all(is_word) && !piece.is_empty())
        && !part.starts_with('-')
        && !part.ends_with('-')
        && !["-.", ".-", "-_", "_-"].iter().any(|marks| part.contains(marks))
}

fn is_tag(tag: &str) -> bool {
    let inner = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
    (1..=128).contains(&tag.len()) && tag.bytes().all(inner) && !tag.starts_with(['.', '-'])
}

impl fmt::Display for RegistryReference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", Self::SCHEME, self.image_name())?;
        if let Some(digest) = &self.digest {
            write!(f, "@{digest}")?;
        }
        self.labels.iter().try_for_each(|label| write!(f, ",{label}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_names_are_made_whole() {
        let digest = format!("sha256:{}", "ab".repeat(32));
        for (text, whole) in [
            ("busybox", "registry-1.docker.io/library/busybox:latest".to_owned()),
            ("team/app:1", "registry-1.docker.io/team/app:1".to_owned()),
            (
                "docker.io/busybox",
                "registry-1.docker.io/library/busybox:latest".to_owned(),
            ),
            ("localhost/app", "localhost/app:latest".to_owned()),
            (
                "Example.COM:5000/a/b/c:V1.0_x",
                "example.com:5000/a/b/c:V1.0_x".to_owned(),
            ),
            ("[::1]:5000/app", "[::1]:5000/app:latest".to_owned()),
            (
                &format!("example.com/app@{digest}"),
                format!("example.com/app@{digest}"),
            ),
            (
                &format!("example.com/app:1@{digest}"),
                format!("example.com/app:1@{digest}"),
            ),
            (
                "example.com/a__b--c.d:1,os=linux,arch=aarch64",
                "example.com/a__b--c.d:1,os=linux,arch=aarch64".to_owned(),
            ),
        ] {
            let reference: RegistryReference = format!("docker://{text}").parse().unwrap();
            assert_eq!(reference.to_string(), format!("docker://{whole}"));
            let again: RegistryReference = reference.to_string().parse().unwrap();
            assert_eq!(again.to_string(), reference.to_string(), "{text}");
        }
    }

    #[test]
    fn labels_choose_a_platform() {
        let platform = |text: &str| {
            text.parse::<RegistryReference>()
                .unwrap()
                .platform()
                .map(ToString::to_string)
        };
        assert_eq!(
            platform("docker://a,os=linux,arch=armv7l").as_deref(),
            Some("linux/arm/v7")
        );
        assert_eq!(platform("docker://a,arch=aarch64").as_deref(), Some("linux/arm64"));
        assert_eq!(platform("docker://a"), None);
    }

    #[test]
    fn what_could_leave_its_place_is_refused() {
        for text in [
            "docker://",
            "docker:///app",
            "docker://example.com/",
            "docker://example.com/../app",
            "docker://example.com/a//b",
            "docker://example.com/App",
            "docker://example.com/a%2fb",
            "docker://example.com/app?x",
            "docker://example.com/app#x",
            "docker://user:password@example.com/app",
            "docker://example.com:0/app",
            "docker://example.com:x/app",
            "docker://-.com/app",
            "docker://exa mple.com/app",
            "docker://example.com/app:",
            "docker://example.com/app:.x",
            "docker://example.com/app:a/b",
            "docker://example.com/app@sha256:../..",
            "docker://example.com/app,version=1",
            "docker://example.com/app,os=linux",
            "docker://example.com/app,os=linux,arch=z80",
            "docker://example.com/a.-b",
            "docker://example.com/a___b",
        ] {
            assert!(text.parse::<RegistryReference>().is_err(), "{text}");
        }
    }
}
