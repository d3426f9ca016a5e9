//! [`Request`]: the image that is wanted.

use dhow_image::{Labels, Name};
use thiserror::Error;

use crate::catalog::{VersionRange, VersionRangeError};

/// A name, the labels that were asked for, and those assumed where nothing was asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    name: Name,
    asked: Labels,
    defaults: Labels,
}

/// How an image differs from what was wanted.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum Mismatch {
    /// It has another name.
    #[error("its manifest says that it is `{found}`, not `{wanted}`")]
    Name {
        /// The name that was asked for.
        wanted: Name,
        /// The name in the manifest.
        found: Name,
    },
    /// A label has another value, or is not there.
    #[error("its manifest has {}, where `{label}={wanted}` is wanted", found_label(label, found.as_deref()))]
    Label {
        /// The label's name.
        label: Name,
        /// The value that was asked for, or that this host needs.
        wanted: String,
        /// The value in the manifest.
        found: Option<String>,
    },
}

impl Request {
    /// An image of this name with these labels, for this host.
    pub fn new(name: Name, asked: Labels) -> Self {
        Self {
            name,
            asked,
            defaults: host_labels(),
        }
    }

    /// The same for another host, whose labels are `defaults`.
    pub fn with_defaults(self, defaults: Labels) -> Self {
        Self { defaults, ..self }
    }

    /// The name.
    pub fn name(&self) -> &Name {
        &self.name
    }

    /// The labels that were asked for, without those assumed.
    pub fn asked(&self) -> &Labels {
        &self.asked
    }

    /// The same image in whatever version.
    pub fn any_version(&self) -> Self {
        let mut asked = Labels::default();
        for label in self.asked.iter().filter(|label| label.name.as_str() != "version") {
            asked
                .insert(label.name.clone(), label.value.as_str())
                .expect("no label stands twice in a part of a list");
        }
        Self { asked, ..self.clone() }
    }

    /// The same image in this version.
    pub fn of_version(&self, version: &str) -> Self {
        let mut request = self.any_version();
        let label = Name::new("version").expect("`version` is a name");
        request.asked.insert(label, version).expect("it was taken out above");
        request
    }

    /// The range of versions that is asked for, if it is one.
    pub fn range(&self) -> Result<Option<VersionRange>, VersionRangeError> {
        self.asked.get("version").map_or(Ok(None), VersionRange::parse)
    }

    /// What a template's `{label}` stands for. Without a version it is `latest`.
    pub(crate) fn value(&self, label: &str) -> Option<&str> {
        let given = self.asked.get(label).or_else(|| self.defaults.get(label));
        match label {
            "version" => Some(given.filter(|version| !version.is_empty()).unwrap_or("latest")),
            _ => given,
        }
    }

    /// Whether an image is the one that was wanted (appc spec, discovery.md, "Validation"): each label asked for must
    /// be there with the same value; one assumed may be absent, for an image of no architecture runs on every one.
    pub fn check(&self, name: &Name, labels: &Labels) -> Result<(), Mismatch> {
        if *name != self.name {
            return Err(Mismatch::Name {
                wanted: self.name.clone(),
                found: name.clone(),
            });
        }
        let mismatch = |label: &Name, wanted: &str, found: Option<&str>| Mismatch::Label {
            label: label.clone(),
            wanted: wanted.to_owned(),
            found: found.map(str::to_owned),
        };
        if let Some((wanted, found)) = self.asked.first_mismatch(labels) {
            return Err(mismatch(&wanted.name, &wanted.value, found));
        }
        let assumed = self
            .defaults
            .iter()
            .filter(|label| self.asked.get(label.name.as_str()).is_none());
        for wanted in assumed {
            match labels.get(wanted.name.as_str()) {
                Some(found) if found != wanted.value => {
                    return Err(mismatch(&wanted.name, &wanted.value, Some(found)));
                }
                _ => {}
            }
        }
        Ok(())
    }
}

fn found_label(label: &Name, found: Option<&str>) -> String {
    match found {
        Some(value) => format!("`{label}={value}`"),
        None => format!("no label `{label}`"),
    }
}

/// `os` and `arch` of this host, in the words of the specification (aci.md, "labels").
pub fn host_labels() -> Labels {
    let little = cfg!(target_endian = "little");
    let arch = match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "x86" => "i386",
        "aarch64" if !little => "aarch64_be",
        "arm" if little => "armv7l",
        "arm" => "armv7b",
        "powerpc64" if little => "ppc64le",
        "powerpc64" => "ppc64",
        other => other,
    };
    let mut labels = Labels::default();
    for (label, value) in [("os", std::env::consts::OS), ("arch", arch)] {
        let label = Name::new(label).expect("`os` and `arch` are names");
        labels.insert(label, value).expect("`os` and `arch` stand once");
    }
    labels
}

#[cfg(test)]
pub(crate) mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    pub(crate) fn labels(pairs: &[(&str, &str)]) -> Labels {
        let mut labels = Labels::default();
        for (name, value) in pairs {
            labels.insert(Name::new(*name).unwrap(), *value).unwrap();
        }
        labels
    }

    pub(crate) fn request(name: &str, asked: &[(&str, &str)]) -> Request {
        Request::new(Name::new(name).unwrap(), labels(asked)).with_defaults(Labels::default())
    }

    #[test]
    fn what_is_asked_must_be_there_and_what_is_assumed_must_not_differ() {
        let wanted = request("example.com/app", &[("version", "1.0")]).with_defaults(labels(&[
            ("os", "linux"),
            ("arch", "amd64"),
            ("version", "latest"),
        ]));
        let check = |name: &str, image: &[(&str, &str)]| {
            wanted
                .check(&Name::new(name).unwrap(), &labels(image))
                .map_err(|error| error.to_string())
        };
        assert_eq!(check("example.com/app", &[("version", "1.0")]), Ok(()));
        assert_eq!(
            check(
                "example.com/app",
                &[("version", "1.0"), ("os", "linux"), ("channel", "x")]
            ),
            Ok(())
        );
        type Case<'a> = (&'a str, &'a [(&'a str, &'a str)], &'a str);
        let cases: [Case<'_>; 4] = [
            (
                "example.com/other",
                &[],
                "it is `example.com/other`, not `example.com/app`",
            ),
            (
                "example.com/app",
                &[("version", "1.1")],
                "has `version=1.1`, where `version=1.0` is wanted",
            ),
            (
                "example.com/app",
                &[("os", "linux")],
                "has no label `version`, where `version=1.0` is wanted",
            ),
            (
                "example.com/app",
                &[("version", "1.0"), ("arch", "s390x")],
                "has `arch=s390x`, where `arch=amd64`",
            ),
        ];
        for (name, image, message) in cases {
            let error = check(name, image).unwrap_err();
            assert!(error.contains(message), "{error}");
        }
    }

    #[test]
    fn this_host_has_labels_that_a_manifest_may_have() {
        let mut manifest = dhow_image::ImageManifest::new(Name::new("example.com/app").unwrap());
        manifest.labels = host_labels();
        assert_eq!(manifest.labels.get("os"), Some("linux"));
        manifest.to_json().unwrap();
    }
}
