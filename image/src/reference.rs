//! References: what a user types to say which image is meant.

use std::{fmt, path::PathBuf, str::FromStr};

use thiserror::Error;

use crate::{
    convert::{ImageLocation, ImageLocationError},
    image_id::{ImageId, ImageIdError, ImageIdPrefix},
    label::{Labels, LabelsError},
    name::{Name, NameError},
    registry_reference::{RegistryReference, RegistryReferenceError},
};

/// An image, as a user names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reference {
    /// `example.com/app:1.2.0,os=linux`: to be discovered.
    Named {
        /// The image's name.
        name: Name,
        /// The labels asked for; `:1.2.0` is the label `version`.
        labels: Labels,
    },
    /// `sha512-…`: an image that the store has.
    Id(ImageIdPrefix),
    /// `./app.aci`, `/tmp/app.aci`, `app.aci.torrent`: an archive on this machine, or the torrent of one.
    File(PathBuf),
    /// `https://example.com/app.aci`, `s3://bucket/app.aci`: an archive elsewhere.
    Url(String),
    /// `docker://example.com/app:1.0`: an image of a registry of OCI's or Docker's.
    Registry(RegistryReference),
    /// `oci:DIR`, `oci-archive:FILE`, `docker-archive:FILE`: an image of OCI's or Docker's on this machine.
    Layout(ImageLocation),
}

/// Why a text is not a reference.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum ReferenceError {
    /// The name part is no name.
    #[error("`{text}` is not an image reference")]
    Name {
        /// What was given.
        text: String,
        /// What is wrong with the name.
        #[source]
        source: NameError,
    },
    /// It begins like an image ID but is none.
    #[error("`{text}` is not an image reference")]
    Id {
        /// What was given.
        text: String,
        /// What is wrong with the ID.
        #[source]
        source: ImageIdError,
    },
    /// A label is not `name=value`.
    #[error("`{text}` is not an image reference: the label `{label}` has no `=value`")]
    LabelWithoutValue {
        /// What was given.
        text: String,
        /// The part without a value.
        label: String,
    },
    /// A label has a character that no terminal can show.
    #[error("`{}` is not an image reference: a label has a control character", text.escape_debug())]
    Control {
        /// What was given.
        text: String,
    },
    /// A colon where it can mean nothing: only a version has one before it, and that follows the name.
    #[error("`{text}` is not an image reference: only the name can have a colon behind it, before the version")]
    Colon {
        /// What was given.
        text: String,
    },
    /// It begins like a reference to a registry's image but is none.
    #[error(transparent)]
    Registry(#[from] RegistryReferenceError),
    /// It begins like the place of an OCI or Docker image but is none.
    #[error(transparent)]
    Layout(#[from] ImageLocationError),
    /// The labels do not go together.
    #[error("`{text}` is not an image reference")]
    Labels {
        /// What was given.
        text: String,
        /// What is wrong with the labels.
        #[source]
        source: LabelsError,
    },
}

impl Reference {
    /// A reference to the image with exactly this ID.
    pub fn from_id(id: &ImageId) -> Self {
        Self::Id(id.to_string().parse().expect("an image ID is a prefix of itself"))
    }
}

impl FromStr for Reference {
    type Err = ReferenceError;

    fn from_str(text: &str) -> Result<Self, ReferenceError> {
        if text.starts_with("sha512-") {
            return match text.parse() {
                Ok(prefix) => Ok(Self::Id(prefix)),
                Err(source) => Err(ReferenceError::Id {
                    text: text.to_owned(),
                    source,
                }),
            };
        }
        if text.starts_with(RegistryReference::SCHEME) {
            return Ok(Self::Registry(text.parse()?));
        }
        if text.contains("://") || text.starts_with("magnet:") {
            return Ok(Self::Url(text.to_owned()));
        }
        if is_layout(text) {
            return Ok(Self::Layout(text.parse()?));
        }
        if text.starts_with(['/', '.'])
            || ((text.ends_with(".aci") || text.ends_with(".torrent")) && !text.contains('='))
        {
            return Ok(Self::File(PathBuf::from(text)));
        }
        named(text)
    }
}

/// Whether it begins as the place of an OCI or Docker image does, and not as `NAME:VERSION`.
fn is_layout(text: &str) -> bool {
    matches!(
        text.split_once(':'),
        Some(("oci" | "oci-archive" | "docker-archive", _))
    )
}

/// `NAME[:VERSION][,LABEL=VALUE]…`
fn named(text: &str) -> Result<Reference, ReferenceError> {
    if text.chars().any(char::is_control) {
        return Err(ReferenceError::Control { text: text.to_owned() });
    }
    let mut parts = text.split(',');
    let first = parts.next().unwrap_or_default();
    let (name, version) = match first.split_once(':') {
        Some((name, version)) => (name, Some(version)),
        None => (first, None),
    };
    let in_text = |source| ReferenceError::Name {
        text: text.to_owned(),
        source,
    };
    let in_labels = |source| ReferenceError::Labels {
        text: text.to_owned(),
        source,
    };
    let without_value = |label: &str| ReferenceError::LabelWithoutValue {
        text: text.to_owned(),
        label: label.to_owned(),
    };

    if text.matches(':').count() > usize::from(version.is_some()) {
        return Err(ReferenceError::Colon { text: text.to_owned() });
    }
    let name = Name::new(name).map_err(in_text)?;
    let mut labels = Labels::default();
    if let Some(version) = version {
        if version.is_empty() {
            return Err(without_value("version"));
        }
        labels
            .insert(Name::new("version").expect("`version` is a name"), version)
            .map_err(in_labels)?;
    }
    for part in parts {
        let (label, value) = part.split_once('=').ok_or_else(|| without_value(part))?;
        labels
            .insert(Name::new(label).map_err(in_text)?, value)
            .map_err(in_labels)?;
    }
    Ok(Reference::Named { name, labels })
}

/// A URL without the user name and password that may stand before its host: what is shown and recorded holds none.
fn without_secrets(url: &str) -> String {
    let Some((scheme, rest)) = url.split_once("://") else {
        return url.to_owned();
    };
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    match rest[..end].rfind('@') {
        Some(at) => format!("{scheme}://{}", &rest[at + 1..]),
        None => url.to_owned(),
    }
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Named { name, labels } => {
                write!(f, "{name}")?;
                // After a colon, some versions would make the text look like a URL, a file, or no version at all.
                let misleads = |version: &str| {
                    version.is_empty()
                        || version.starts_with("//")
                        || version.ends_with(".aci")
                        || is_layout(&format!("{name}:"))
                };
                let version = labels.get("version").filter(|version| !misleads(version));
                if let Some(version) = version {
                    write!(f, ":{version}")?;
                }
                labels
                    .iter()
                    .filter(|label| label.name.as_str() != "version" || version.is_none())
                    .try_for_each(|l| write!(f, ",{l}"))
            }
            Self::Id(prefix) => write!(f, "{prefix}"),
            Self::File(path) => write!(f, "{}", path.display()),
            Self::Url(url) => f.write_str(&without_secrets(url)),
            Self::Registry(image) => image.fmt(f),
            Self::Layout(location) => location.fmt(f),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn every_form_is_told_apart() {
        let Reference::Named { name, labels } = "example.com/app:1.2.0,os=linux,arch=amd64".parse().unwrap() else {
            panic!("not a name")
        };
        assert_eq!(name.as_str(), "example.com/app");
        assert_eq!(labels.to_string(), "version=1.2.0,os=linux,arch=amd64");
        let empty: Reference = "app,version=".parse().unwrap();
        assert_eq!(empty.to_string(), "app,version=");
        assert!(matches!("./app".parse().unwrap(), Reference::File(_)));
        assert!(matches!("dir/app.aci".parse().unwrap(), Reference::File(_)));
        assert!(matches!(
            "https://example.com/app.aci".parse().unwrap(),
            Reference::Url(_)
        ));
        assert!(matches!("sha512-0123456789ab".parse().unwrap(), Reference::Id(_)));
        assert!(matches!("s3://bucket/app.aci".parse().unwrap(), Reference::Url(_)));
        assert!(matches!("docker://busybox".parse().unwrap(), Reference::Registry(_)));
        assert!(matches!("oci:layout:1.0".parse().unwrap(), Reference::Layout(_)));
        assert!(matches!("docker-archive:a.tar".parse().unwrap(), Reference::Layout(_)));
        assert!(matches!("oci,version=1.0".parse().unwrap(), Reference::Named { .. }));
        assert!(matches!("oci:".parse::<Reference>(), Err(ReferenceError::Layout(_))));
    }

    #[test]
    fn text_comes_back_as_it_was() {
        for text in [
            "example.com/app",
            "example.com/app:1,os=linux",
            "sha512-0123456789ab",
            "/tmp/a.aci",
        ] {
            assert_eq!(text.parse::<Reference>().unwrap().to_string(), text);
        }
    }

    #[test]
    fn a_version_never_makes_another_kind_of_reference() {
        for text in [
            "app,version=//x,os=linux",
            "app,version=x.aci",
            "app,os=x.aci,version=1",
            "app,version=",
            "oci,version=1",
        ] {
            let reference: Reference = text.parse().unwrap();
            assert!(matches!(reference, Reference::Named { .. }), "{text}");
            let shown = reference.to_string();
            assert_eq!(shown.parse::<Reference>().unwrap().to_string(), shown, "{text}");
        }
        assert!(matches!(
            "app,x=a\u{1b}b".parse::<Reference>(),
            Err(ReferenceError::Control { .. })
        ));
    }

    /// The cases of appc's tests of image strings.
    #[test]
    fn labels_may_hold_any_mark_but_comma_and_colon() {
        let labels = |text: &str| match text.parse::<Reference>() {
            Ok(Reference::Named { labels, .. }) => labels.to_string(),
            other => panic!("{text}: {other:?}"),
        };
        assert_eq!(labels("example.com/reduce-worker:1.0.0"), "version=1.0.0");
        assert_eq!(
            labels("example.com/reduce-worker,channel=alpha,label=value"),
            "channel=alpha,label=value"
        );
        assert_eq!(
            labels("example.com/app:1.2.3,special=!*'();@&+$/?#[],channel=beta"),
            "version=1.2.3,special=!*'();@&+$/?#[],channel=beta"
        );
        for text in [
            "not an app name",
            "example.com/garbage%8 939",
            "foo.com/bar,channel=alpha,dog=woof,channel=beta",
            "example.com/app:3.2.1,version=1.2.3",
        ] {
            assert!(text.parse::<Reference>().is_err(), "{text}");
        }
        for text in [
            "example.com/app,channel=beta:1.2.3",
            "example.com/app:3.2.1,channel=beta:1.2.3",
            "example.com/app:1:2",
        ] {
            assert!(
                matches!(text.parse::<Reference>(), Err(ReferenceError::Colon { .. })),
                "{text}"
            );
        }
    }

    #[test]
    fn passwords_are_not_shown() {
        let shown = |text: &str| text.parse::<Reference>().unwrap().to_string();
        assert_eq!(shown("https://user:s3cr@t@example.com/a@b"), "https://example.com/a@b");
        assert_eq!(shown("https://example.com?x=a@b"), "https://example.com?x=a@b");
    }

    #[test]
    fn what_is_wrong_is_named() {
        let message = |text: &str| text.parse::<Reference>().unwrap_err().to_string();
        assert!(message("example.com/app,os").contains("`os` has no `=value`"));
        assert!(message("example.com/app:").contains("`version` has no `=value`"));
        assert!(matches!(
            "Example.com".parse::<Reference>(),
            Err(ReferenceError::Name { .. })
        ));
        assert!(matches!(
            "sha512-zz".parse::<Reference>(),
            Err(ReferenceError::Id { .. })
        ));
        assert!(matches!(
            "a:1,version=2".parse::<Reference>(),
            Err(ReferenceError::Labels { .. })
        ));
    }
}
