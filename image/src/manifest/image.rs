//! The image manifest (appc spec, aci.md, "Image Manifest Schema").

use serde::{Deserialize, Serialize};

use super::{
    App, Extra, ManifestError, SPEC_VERSION,
    error::{check_kind_and_version, first_duplicate},
};
use crate::{image_id::ImageId, label::Labels, name::Name};

const KIND: &str = "ImageManifest";

/// What an image says about itself: its name, its labels, and how to run it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ImageManifest {
    ac_kind: String,
    ac_version: String,
    /// The name under which the image is discovered.
    pub name: Name,
    /// What tells this build from others of the name.
    #[serde(default, skip_serializing_if = "Labels::is_empty")]
    pub labels: Labels,
    /// How to run it; absent where there is nothing to run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub app: Option<App>,
    /// The images whose files lie beneath this one's.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub dependencies: Vec<Dependency>,
    /// The only paths that exist after rendering; all, where empty.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub path_whitelist: Vec<String>,
    /// Further facts, for people and for other programs.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub annotations: Vec<Annotation>,
    #[serde(flatten)]
    extra: Extra,
}

/// An image beneath another.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Dependency {
    /// Its name.
    pub image_name: Name,
    /// Its ID, where only that one will do.
    #[serde(default, rename = "imageID", skip_serializing_if = "Option::is_none")]
    pub image_id: Option<ImageId>,
    /// The labels it must have.
    #[serde(default, skip_serializing_if = "Labels::is_empty")]
    pub labels: Labels,
    /// The size of its archive in bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub size: Option<u64>,
    #[serde(flatten)]
    extra: Extra,
}

/// A fact about an image or an app.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Annotation {
    /// What it is about, as in `created` or `homepage`.
    pub name: Name,
    /// What it says.
    pub value: String,
}

impl ImageManifest {
    /// A manifest that says only a name.
    pub fn new(name: Name) -> Self {
        Self {
            ac_kind: KIND.to_owned(),
            ac_version: SPEC_VERSION.to_owned(),
            name,
            labels: Labels::default(),
            app: None,
            dependencies: Vec::new(),
            path_whitelist: Vec::new(),
            annotations: Vec::new(),
            extra: Extra::new(),
        }
    }

    /// Reads and checks a manifest.
    pub fn from_json(json: &[u8]) -> Result<Self, ManifestError> {
        let manifest: Self = serde_json::from_slice(json)?;
        manifest.check()?;
        Ok(manifest)
    }

    /// The manifest as compact JSON, always the same for the same manifest.
    ///
    /// Fails where a field was set to what the specification forbids.
    pub fn to_json(&self) -> Result<Vec<u8>, ManifestError> {
        self.check()?;
        Ok(serde_json::to_vec(self)?)
    }

    /// The value of the annotation `name`.
    pub fn annotation(&self, name: &str) -> Option<&str> {
        self.annotations
            .iter()
            .find(|annotation| annotation.name.as_str() == name)
            .map(|a| a.value.as_str())
    }

    fn check(&self) -> Result<(), ManifestError> {
        check_kind_and_version(&self.ac_kind, &self.ac_version, KIND)?;
        check_os_and_arch(&self.labels)?;
        if let Some(app) = &self.app {
            app.check("app")?;
        }
        if let Some(path) = self.path_whitelist.iter().find(|path| !path.starts_with('/')) {
            return Err(ManifestError::field(
                "pathWhitelist",
                format!("has `{path}`, which is not absolute"),
            ));
        }
        check_annotations(&self.annotations, "annotations")
    }
}

/// The pairs of `os` and `arch` that the specification permits (aci.md, "labels"; schema/types/labels.go).
const PLATFORMS: [(&str, &[&str]); 3] = [
    (
        "linux",
        &[
            "amd64",
            "i386",
            "aarch64",
            "aarch64_be",
            "armv6l",
            "armv7l",
            "armv7b",
            "ppc64",
            "ppc64le",
            "s390x",
        ],
    ),
    ("freebsd", &["amd64", "i386", "arm"]),
    ("darwin", &["x86_64", "i386"]),
];

fn check_os_and_arch(labels: &Labels) -> Result<(), ManifestError> {
    let (os, arch) = (labels.get("os"), labels.get("arch"));
    let error = |problem: String| Err(ManifestError::field("labels", problem));
    match (os, arch) {
        (None, None) => Ok(()),
        (None, Some(arch)) => error(format!("has `arch={arch}` without `os`")),
        (Some(os), arch) => match PLATFORMS.iter().find(|(name, _)| *name == os) {
            None => error(format!("has `os={os}`; known are linux, freebsd and darwin")),
            Some((_, archs)) => match arch {
                Some(arch) if !archs.contains(&arch) => error(format!(
                    "has `arch={arch}`; for `os={os}` known are {}",
                    archs.join(", ")
                )),
                _ => Ok(()),
            },
        },
    }
}

pub(super) fn check_annotations(annotations: &[Annotation], at: &str) -> Result<(), ManifestError> {
    if let Some(name) = first_duplicate(annotations.iter().map(|annotation| &annotation.name)) {
        return Err(ManifestError::field(at, format!("has `{name}` twice")));
    }
    for annotation in annotations {
        let value = annotation.value.as_str();
        let problem = match annotation.name.as_str() {
            "created" if chrono::DateTime::parse_from_rfc3339(value).is_err() => "not an RFC 3339 date",
            "homepage" | "documentation" if !value.starts_with("http://") && !value.starts_with("https://") => {
                "not an http or https URL"
            }
            _ => continue,
        };
        return Err(ManifestError::field(
            at,
            format!("has `{}` `{value}`, which is {problem}", annotation.name),
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use serde_json::json;

    use super::*;

    fn parse(value: serde_json::Value) -> Result<ImageManifest, ManifestError> {
        ImageManifest::from_json(value.to_string().as_bytes())
    }

    fn whole() -> serde_json::Value {
        json!({
            "acKind": "ImageManifest", "acVersion": "0.8.11", "name": "example.com/app",
            "labels": [{"name": "os", "value": "linux"}, {"name": "arch", "value": "amd64"}],
            "app": {"exec": ["/bin/app"], "user": "0", "group": "0", "somethingNew": [1, 2],
                    "ports": [{"name": "ftp", "port": 20000, "count": 1000, "protocol": "tcp"}],
                    "isolators": [{"name": "resource/memory", "value": {"limit": "1G"}}]},
            "annotations": [{"name": "created", "value": "2014-10-27T19:32:27.67021798Z"}],
            "laterField": {"kept": true}
        })
    }

    #[test]
    fn what_is_unknown_survives_a_round_trip() {
        let manifest = parse(whole()).unwrap();
        let again: serde_json::Value = serde_json::from_slice(&manifest.to_json().unwrap()).unwrap();
        assert_eq!(again, whole());
    }

    #[test]
    fn each_broken_rule_is_named() {
        let cases = [
            ("/acKind", json!("PodManifest"), "`acKind` is `PodManifest`"),
            ("/acVersion", json!("v0.8"), "`acVersion` `v0.8`"),
            ("/acVersion", json!("1.0.0"), "`acVersion` `1.0.0`"),
            ("/labels/1/value", json!("vax"), "`arch=vax`"),
            ("/labels/0/value", json!("plan9"), "`os=plan9`"),
            ("/app/user", json!(""), "`app.user` is empty"),
            ("/app/ports/0/port", json!(65000), "`ftp`, which is outside"),
            ("/annotations/0/value", json!("yesterday"), "not an RFC 3339 date"),
        ];
        for (pointer, value, message) in cases {
            let mut manifest = whole();
            *manifest.pointer_mut(pointer).unwrap() = value;
            let error = parse(manifest).unwrap_err().to_string();
            assert!(error.contains(message), "{pointer}: {error}");
        }
    }
}
