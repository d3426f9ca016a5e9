//! The pod manifest (appc spec, pods.md, "Pod Manifest Schema").

use serde::{Deserialize, Serialize};

use super::{
    Annotation, App, Extra, Isolator, ManifestError, SPEC_VERSION,
    error::{check_kind_and_version, first_duplicate},
    image::check_annotations,
    is_false,
};
use crate::{
    image_id::ImageId,
    label::Labels,
    name::{AcName, Name},
};

const KIND: &str = "PodManifest";

/// The apps that run together in one pod, and what they share.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PodManifest {
    ac_version: String,
    ac_kind: String,
    /// The apps.
    pub apps: Vec<PodApp>,
    /// What can be mounted into them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub volumes: Vec<Volume>,
    /// The constraints on the whole pod.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub isolators: Vec<Isolator>,
    /// Further facts.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub annotations: Vec<Annotation>,
    #[serde(flatten)]
    extra: Extra,
}

/// One app of a pod.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PodApp {
    /// Its name within the pod.
    pub name: AcName,
    /// The image that it runs in.
    pub image: PodAppImage,
    /// What replaces the image's own `app` section.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub app: Option<App>,
    /// Whether its root file system is read-only.
    #[serde(default, rename = "readOnlyRootFS", skip_serializing_if = "is_false")]
    pub read_only_root_fs: bool,
    /// Which volume goes where.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub mounts: Vec<VolumeMount>,
    /// Further facts.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub annotations: Vec<Annotation>,
    #[serde(flatten)]
    extra: Extra,
}

/// Which image an app of a pod runs in.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PodAppImage {
    /// Its name, for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<Name>,
    /// Its ID, which decides.
    pub id: ImageId,
    /// Its labels, for people.
    #[serde(default, skip_serializing_if = "Labels::is_empty")]
    pub labels: Labels,
    #[serde(flatten)]
    extra: Extra,
}

/// What can be mounted into the apps of a pod.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Volume {
    /// By which mounts refer to it.
    pub name: AcName,
    /// What it is.
    #[serde(flatten)]
    pub kind: VolumeKind,
    /// Whether it is mounted read-only.
    #[serde(default, skip_serializing_if = "is_false")]
    pub read_only: bool,
}

/// The kinds of volume.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "lowercase")]
pub enum VolumeKind {
    /// A directory of the host.
    Host {
        /// Its absolute path.
        source: String,
        /// Whether what is mounted beneath it comes along; yes, where absent.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        recursive: Option<bool>,
    },
    /// A directory that is made for the pod and goes with it.
    Empty {
        /// Its mode in octal; `0755` where absent.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        mode: Option<String>,
        /// Its owner; 0 where absent.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        uid: Option<u32>,
        /// Its group; 0 where absent.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        gid: Option<u32>,
    },
}

/// A volume at a place of an app.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct VolumeMount {
    /// The volume's name.
    pub volume: AcName,
    /// Where it goes inside the app's root file system.
    pub path: String,
    /// A volume of this mount's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub app_volume: Option<Volume>,
    #[serde(flatten)]
    extra: Extra,
}

impl PodManifest {
    /// A pod of these apps.
    pub fn new(apps: Vec<PodApp>) -> Self {
        Self {
            ac_version: SPEC_VERSION.to_owned(),
            ac_kind: KIND.to_owned(),
            apps,
            volumes: Vec::new(),
            isolators: Vec::new(),
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

    /// The manifest as compact JSON.
    ///
    /// Fails where a field was set to what the specification forbids.
    pub fn to_json(&self) -> Result<Vec<u8>, ManifestError> {
        self.check()?;
        Ok(serde_json::to_vec(self)?)
    }

    fn check(&self) -> Result<(), ManifestError> {
        check_kind_and_version(&self.ac_kind, &self.ac_version, KIND)?;
        if let Some(name) = first_duplicate(self.apps.iter().map(|app| &app.name)) {
            return Err(ManifestError::field("apps", format!("has `{name}` twice")));
        }
        if let Some(name) = first_duplicate(self.volumes.iter().map(|volume| &volume.name)) {
            return Err(ManifestError::field("volumes", format!("has `{name}` twice")));
        }
        for app in &self.apps {
            let at = format!("apps[{}]", app.name);
            if let Some(inner) = &app.app {
                inner.check(&format!("{at}.app"))?;
            }
            if let Some(mount) = app.mounts.iter().find(|mount| !mount.path.starts_with('/')) {
                return Err(ManifestError::field(
                    at,
                    format!("mounts at `{}`, which is not absolute", mount.path),
                ));
            }
            check_annotations(&app.annotations, &at)?;
        }
        check_annotations(&self.annotations, "annotations")
    }
}

impl PodApp {
    /// The app `name` in the image `id`.
    pub fn new(name: AcName, image_name: Name, labels: Labels, id: ImageId) -> Self {
        Self {
            name,
            image: PodAppImage {
                name: Some(image_name),
                id,
                labels,
                extra: Extra::new(),
            },
            app: None,
            read_only_root_fs: false,
            mounts: Vec::new(),
            annotations: Vec::new(),
            extra: Extra::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use serde_json::json;

    use super::*;

    #[test]
    fn a_pod_round_trips() {
        let pod = json!({
            "acVersion": "0.8.11", "acKind": "PodManifest",
            "apps": [{"name": "worker", "image": {"name": "example.com/w", "id": format!("sha512-{}", "a".repeat(128))},
                      "readOnlyRootFS": true, "mounts": [{"volume": "work", "path": "/var/lib/work"}]}],
            "volumes": [{"name": "work", "kind": "host", "source": "/opt/work", "readOnly": true, "recursive": true}],
            "ports": [{"name": "ftp", "hostPort": 2121}]
        });
        let parsed = PodManifest::from_json(pod.to_string().as_bytes()).unwrap();
        assert!(matches!(&parsed.volumes[0].kind, VolumeKind::Host { source, .. } if source == "/opt/work"));
        let again: serde_json::Value = serde_json::from_slice(&parsed.to_json().unwrap()).unwrap();
        assert_eq!(again, pod);
    }

    #[test]
    fn two_apps_of_one_name_are_refused() {
        let app = json!({"name": "a", "image": {"id": format!("sha512-{}", "a".repeat(128))}});
        let pod = json!({"acVersion": "0.8.11", "acKind": "PodManifest", "apps": [app, app]});
        let error = PodManifest::from_json(pod.to_string().as_bytes()).unwrap_err();
        assert_eq!(error.to_string(), "the manifest's `apps` has `a` twice");
    }
}
