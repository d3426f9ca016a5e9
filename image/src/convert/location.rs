//! [`ImageLocation`]: where an image is converted from or to.

use std::{fmt, path::PathBuf, str::FromStr};

use thiserror::Error;

/// A file or directory that holds images, and which of them is meant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ImageLocation {
    /// `FILE.aci`: an App Container Image.
    Aci(PathBuf),
    /// `oci:DIR[:TAG]`: an OCI image layout.
    OciLayout {
        /// The directory.
        path: PathBuf,
        /// The name that its index gives the image.
        tag: Option<String>,
    },
    /// `oci-archive:FILE[:TAG]`: a tar of an OCI image layout.
    OciArchive {
        /// The file.
        path: PathBuf,
        /// The name that its index gives the image.
        tag: Option<String>,
    },
    /// `docker-archive:FILE[:NAME:TAG]`: what `docker save` writes and `docker load` reads.
    DockerArchive {
        /// The file.
        path: PathBuf,
        /// The image's name with its tag.
        name: Option<String>,
    },
}

/// Why a text is no such location.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[error(
    "`{text}` {problem}; images are converted between FILE.aci, oci:DIR[:TAG], oci-archive:FILE[:TAG] and \
     docker-archive:FILE[:NAME:TAG]"
)]
pub struct ImageLocationError {
    text: String,
    problem: &'static str,
}

impl FromStr for ImageLocation {
    type Err = ImageLocationError;

    fn from_str(text: &str) -> Result<Self, ImageLocationError> {
        let error = |problem| ImageLocationError {
            text: text.to_owned(),
            problem,
        };
        let (transport, rest) = match text.split_once(':') {
            Some((transport @ ("oci" | "oci-archive" | "docker-archive"), rest)) => (transport, rest),
            Some((transport, rest)) if rest.starts_with("//") || matches!(transport, "docker" | "docker-daemon") => {
                return Err(error("is elsewhere, and conversion reads no network"));
            }
            _ if text.is_empty() => return Err(error("names no file")),
            _ => return Ok(Self::Aci(PathBuf::from(text))),
        };
        let (path, name) = match rest.split_once(':') {
            Some((path, name)) => (path, Some(name.to_owned())),
            None => (rest, None),
        };
        if path.is_empty() {
            return Err(error("names no file"));
        }
        if name.as_deref() == Some("") {
            return Err(error("has nothing after its last `:`"));
        }
        let path = PathBuf::from(path);
        Ok(match transport {
            "oci" => Self::OciLayout { path, tag: name },
            "oci-archive" => Self::OciArchive { path, tag: name },
            _ => Self::DockerArchive { path, name },
        })
    }
}

impl fmt::Display for ImageLocation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (transport, path, name) = match self {
            Self::Aci(path) => return path.display().fmt(f),
            Self::OciLayout { path, tag } => ("oci", path, tag),
            Self::OciArchive { path, tag } => ("oci-archive", path, tag),
            Self::DockerArchive { path, name } => ("docker-archive", path, name),
        };
        write!(f, "{transport}:{}", path.display())?;
        name.as_ref().map_or(Ok(()), |name| write!(f, ":{name}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_form_comes_back_as_it_was() {
        for text in [
            "app.aci",
            "oci:dir",
            "oci:dir:1.0",
            "oci-archive:a/b.tar:example.com/app:1",
            "docker-archive:saved.tar:example.com/app:1",
            "docker-archive:saved.tar",
        ] {
            assert_eq!(text.parse::<ImageLocation>().unwrap().to_string(), text);
        }
        let location: ImageLocation = "docker-archive:saved.tar:example.com/app:1".parse().unwrap();
        let name = Some("example.com/app:1".to_owned());
        assert_eq!(
            location,
            ImageLocation::DockerArchive {
                path: "saved.tar".into(),
                name
            }
        );
    }

    #[test]
    fn what_is_elsewhere_or_nothing_is_refused() {
        for text in [
            "",
            "oci:",
            "oci::tag",
            "oci:dir:",
            "docker://example.com/app",
            "https://example.com/a.aci",
        ] {
            assert!(text.parse::<ImageLocation>().is_err(), "{text}");
        }
    }
}
