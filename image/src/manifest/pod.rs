//! The pod manifest (appc spec, pods.md, "Pod Manifest Schema").

mod app;

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::Value;

use super::{
    AcKind, AcVersion, Annotation, ExposedPort, Extra, Isolator, ManifestError, Volume,
    annotation::read_annotations,
    isolator::{Scope, check_together},
    reading::{Fields, Readable, Reading, deserialize_by_reading, parse},
    version::read_header,
};

pub use app::{PodApp, PodAppImage, VolumeMount};

const SECTION: &str = "pods.md, \"Pod Manifest Schema\"";

/// The apps that run together in one pod, and what they share.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct PodManifest {
    ac_version: AcVersion,
    ac_kind: AcKind,
    /// The apps.
    pub apps: Vec<PodApp>,
    /// What can be mounted into them.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub volumes: Vec<Volume>,
    /// The constraints on the whole pod.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub isolators: Vec<Isolator>,
    /// Further facts.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub annotations: Vec<Annotation>,
    /// What can be reached at the host.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub ports: Vec<ExposedPort>,
    /// Data for people, without effect.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub user_annotations: BTreeMap<String, String>,
    /// Data for people, without effect.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub user_labels: BTreeMap<String, String>,
    #[serde(flatten)]
    extra: Extra,
}

impl PodManifest {
    /// A pod of these apps.
    pub fn new(apps: Vec<PodApp>) -> Self {
        Self {
            ac_version: AcVersion::implemented(),
            ac_kind: AcKind::PodManifest,
            apps,
            volumes: Vec::new(),
            isolators: Vec::new(),
            annotations: Vec::new(),
            ports: Vec::new(),
            user_annotations: BTreeMap::new(),
            user_labels: BTreeMap::new(),
            extra: Extra::new(),
        }
    }

    /// Reads and checks a manifest. The error tells everything that is wrong with it.
    pub fn from_json(json: &[u8]) -> Result<Self, ManifestError> {
        parse(serde_json::from_slice(json)?)
    }

    /// The manifest as compact JSON.
    ///
    /// Fails where a field was set to what the specification forbids.
    pub fn to_json(&self) -> Result<Vec<u8>, ManifestError> {
        let value = serde_json::to_value(self)?;
        let json = serde_json::to_vec(&value)?;
        parse::<Self>(value)?;
        Ok(json)
    }

    /// The version of the specification that it was written for.
    pub fn ac_version(&self) -> &AcVersion {
        &self.ac_version
    }

    /// The volume that `mount` means: its own, or the pod's of that name.
    pub fn volume_of<'a>(&'a self, mount: &'a VolumeMount) -> Option<&'a Volume> {
        let own = mount.app_volume.as_ref();
        own.or_else(|| self.volumes.iter().find(|volume| volume.name == mount.volume))
    }
}

impl Readable for PodManifest {
    fn read(value: Value, reading: &mut Reading) -> Option<Self> {
        reading.by(SECTION, |reading| {
            let mut fields = Fields::of(value, reading)?;
            let ac_version = read_header(&mut fields, AcKind::PodManifest, reading);
            let apps: Option<Vec<PodApp>> = fields.required("apps", reading);
            reading.at("apps", |reading| {
                reading.unique(apps.iter().flatten().map(|app| &app.name))
            });
            let volumes: Vec<Volume> = fields.or_default("volumes", reading);
            reading.at("volumes", |reading| {
                reading.unique(volumes.iter().map(|volume| &volume.name))
            });
            let isolators: Vec<Isolator> = fields.or_default("isolators", reading);
            reading.at("isolators", |reading| check_together(&isolators, Scope::Pod, reading));
            let annotations = read_annotations(&mut fields, reading);
            let ports = fields.or_default("ports", reading);
            let user_annotations = fields.or_default("userAnnotations", reading);
            let user_labels = fields.or_default("userLabels", reading);
            let extra = fields.rest(reading);
            let pod = Self {
                ac_version: ac_version?,
                ac_kind: AcKind::PodManifest,
                apps: apps?,
                volumes,
                isolators,
                annotations,
                ports,
                user_annotations,
                user_labels,
                extra,
            };
            pod.check_references(reading);
            Some(pod)
        })
    }
}

impl PodManifest {
    /// Whether a pod can be run as it is: every mount has its volume, and a port's name means one port.
    fn check_references(&self, reading: &mut Reading) {
        for (index, app) in self.apps.iter().enumerate() {
            for (number, mount) in app.mounts.iter().enumerate() {
                if self.volume_of(mount).is_none() {
                    let name = &mount.volume;
                    reading.at(&format!("apps[{index}].mounts[{number}].volume"), |reading| {
                        reading.warning(format!("is `{name}`, and the pod has no volume of that name"));
                    });
                }
            }
        }
        let sections = self.apps.iter().filter_map(|app| app.app.as_ref());
        let names = sections.flat_map(|app| app.ports.iter().map(|port| &port.name));
        reading.at("apps", |reading| reading.better_unique(names));
    }
}

deserialize_by_reading!(PodManifest);

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use serde_json::json;

    use super::*;
    use crate::manifest::VolumeKind;

    #[test]
    fn a_pod_round_trips() {
        let pod = json!({
            "acVersion": "0.8.11", "acKind": "PodManifest",
            "apps": [{"name": "worker", "image": {"name": "example.com/w", "id": format!("sha512-{}", "a".repeat(128)),
                                                  "labels": [{"name": "version", "value": "1", "why": 1}], "from": "x"},
                      "readOnlyRootFS": true,
                      "mounts": [{"volume": "work", "path": "/var/lib/work"},
                                 {"volume": "own", "path": "/own", "appVolume": {"name": "own", "kind": "empty",
                                  "mode": "0700", "uid": 7, "medium": "memory"}}],
                      "annotations": [{"name": "foo", "value": "baz"}], "later": null}],
            "volumes": [{"name": "work", "kind": "host", "source": "/opt/work", "readOnly": true, "recursive": true,
                         "propagation": "shared"}],
            "isolators": [{"name": "resource/memory", "value": {"limit": "4G", "swap": "1G"}, "reason": "x"}],
            "annotations": [{"name": "ip-address", "value": "10.1.2.3", "more": []}],
            "ports": [{"name": "ftp", "hostPort": 2121, "hostIP": "203.0.113.23",
                       "podPort": {"name": "ftp", "protocol": "tcp", "port": 21, "count": 2}, "x": 1}],
            "userAnnotations": {"any key!": "text"}, "userLabels": {"a": "b"}, "laterField": {"kept": true}
        });
        let parsed = PodManifest::from_json(pod.to_string().as_bytes()).unwrap();
        assert!(matches!(&parsed.volumes[0].kind, VolumeKind::Host { source, .. } if source == "/opt/work"));
        let again: Value = serde_json::from_slice(&parsed.to_json().unwrap()).unwrap();
        assert_eq!(again, pod);
    }

    #[test]
    fn a_mount_prefers_its_own_volume() {
        let id = format!("sha512-{}", "a".repeat(128));
        let pod = json!({
            "acVersion": "0.8.11", "acKind": "PodManifest",
            "apps": [{"name": "a", "image": {"id": id}, "mounts": [
                {"volume": "v", "path": "/1"},
                {"volume": "v", "path": "/2", "appVolume": {"name": "v", "kind": "host", "source": "/own"}},
                {"volume": "nowhere", "path": "/3"}]}],
            "volumes": [{"name": "v", "kind": "empty"}]
        });
        let pod = PodManifest::from_json(pod.to_string().as_bytes()).unwrap();
        let kinds: Vec<_> = pod.apps[0]
            .mounts
            .iter()
            .map(|mount| pod.volume_of(mount).map(|v| &v.kind))
            .collect();
        assert!(matches!(kinds[0], Some(VolumeKind::Empty { .. })));
        assert!(matches!(kinds[1], Some(VolumeKind::Host { source, .. }) if source == "/own"));
        assert_eq!(kinds[2], None);
    }
}
