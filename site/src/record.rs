//! [`Record`]: what a site says of one archive.

use chrono::{DateTime, Utc};
use dhow_discovery::FileFacts;
use dhow_image::{Annotation, ImageId, ImageManifest, Labels, Name};
use dhow_trust::{Fingerprint, Verification};
use serde::{Deserialize, Serialize};

use crate::{Encryption, Error, layout};

/// What is known of an archive of the site, kept as JSON in `….aci.json` beside it.
///
/// It is for pages and for other programs. Nobody may trust it: what it says is signed in the archive or not at all.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Record {
    /// The image's name.
    pub name: Name,
    /// Its labels, of which `version` is one.
    pub labels: Labels,
    /// Its image ID.
    pub id: ImageId,
    /// How many bytes the uncompressed tar has.
    pub tar_size: u64,
    /// The archive file.
    pub archive: FileFacts,
    /// The signature file.
    pub signature: FileFacts,
    /// The torrent that brings the archive, if there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub torrent: Option<TorrentFacts>,
    /// The recipe by which the image is fetched by difference, if there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub recipe: Option<FileFacts>,
    /// For whom the archive is encrypted, if it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub encryption: Option<Encryption>,
    /// Whose signatures it has.
    pub signers: Vec<RecordSigner>,
    /// Why the image is not to be used any more, if it is not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub yanked: Option<String>,
    /// When this archive was published first.
    pub published: DateTime<Utc>,
    /// What the manifest says for people.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub annotations: Vec<Annotation>,
}

/// The torrent of an archive.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TorrentFacts {
    /// The metainfo file.
    #[serde(flatten)]
    pub metainfo: FileFacts,
    /// The SHA-1 by which its peers know it, in hex digits.
    pub info_hash: String,
}

/// One who signed an archive.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RecordSigner {
    /// The fingerprint of the certificate.
    pub fingerprint: Fingerprint,
    /// Its primary user ID.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user_id: Option<String>,
}

/// The annotations that a page shows.
const SHOWN_ANNOTATIONS: [&str; 4] = ["authors", "created", "homepage", "documentation"];

impl Record {
    /// The value of the label `version`.
    pub fn version(&self) -> &str {
        self.labels.get("version").unwrap_or_default()
    }

    /// Operating system and architecture; the latter means nothing without the former (appc spec, aci.md).
    pub fn platform(&self) -> [Option<&str>; 2] {
        platform(&self.labels)
    }

    /// Whether this is the same version for the same platform of the same name.
    pub(crate) fn is_same_version(&self, other: &Record) -> bool {
        (&self.name, self.version(), self.platform()) == (&other.name, other.version(), other.platform())
    }

    /// Pretty JSON, always the same for the same record.
    pub(crate) fn to_json(&self) -> Vec<u8> {
        let mut json = serde_json::to_vec_pretty(self).expect("a record has only text keys");
        json.push(b'\n');
        json
    }

    pub(crate) fn signers_of(verification: &Verification) -> Vec<RecordSigner> {
        let signers = verification.signers.iter();
        signers
            .map(|signer| RecordSigner {
                fingerprint: signer.fingerprint.clone(),
                user_id: signer.user_id.clone(),
            })
            .collect()
    }

    pub(crate) fn annotations_of(manifest: &ImageManifest) -> Vec<Annotation> {
        let is_shown = |annotation: &&Annotation| SHOWN_ANNOTATIONS.contains(&annotation.name.as_str());
        manifest.annotations.iter().filter(is_shown).cloned().collect()
    }

    /// Refuses labels that cannot be part of a URL and a file name, and a version that means something else here.
    pub(crate) fn check_labels(&self) -> Result<(), Error> {
        let version = ["version"].into_iter().zip([Some(self.version())]);
        for (label, value) in version.chain(["os", "arch"].into_iter().zip(self.platform())) {
            if let Some(value) = value
                && !is_plain(value)
            {
                return Err(Error::LabelValue {
                    name: self.name.clone(),
                    label,
                    value: value.to_owned(),
                });
            }
        }
        if layout::is_latest(self.version()) {
            return Err(Error::ReservedVersion {
                name: self.name.clone(),
                version: self.version().to_owned(),
            });
        }
        Ok(())
    }
}

/// See [`Record::platform`].
pub(crate) fn platform(labels: &Labels) -> [Option<&str>; 2] {
    let os = labels.get("os");
    [os, os.and(labels.get("arch"))]
}

fn is_plain(value: &str) -> bool {
    value.starts_with(|c: char| c.is_ascii_alphanumeric())
        && value
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-' | '+' | '~'))
}

#[cfg(test)]
impl Record {
    /// A record of `example.com/app` with these labels.
    #[allow(clippy::unwrap_used)]
    pub(crate) fn example(labels: &[(&str, &str)]) -> Self {
        let mut list = Labels::default();
        for (name, value) in labels {
            list.insert(Name::new(*name).unwrap(), *value).unwrap();
        }
        let facts = FileFacts {
            size: 0,
            sha256: String::new(),
        };
        Self {
            name: Name::new("example.com/app").unwrap(),
            labels: list,
            id: ImageId::from_bytes([0; 64]),
            tar_size: 0,
            archive: facts.clone(),
            signature: facts,
            torrent: None,
            recipe: None,
            encryption: None,
            yanked: None,
            signers: Vec::new(),
            published: DateTime::UNIX_EPOCH,
            annotations: Vec::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn labels_must_fit_into_urls() {
        for version in ["1", "1.0.0-rc.1+b5", "v1~2", "2014_12"] {
            Record::example(&[("version", version), ("os", "linux")])
                .check_labels()
                .unwrap();
        }
        for version in ["", "../1", "1/2", "a b", "é", ".1", "1\n", "latest", "latest-1"] {
            Record::example(&[("version", version)]).check_labels().unwrap_err();
        }
        Record::example(&[("version", "1"), ("os", "a/b")])
            .check_labels()
            .unwrap_err();
    }

    #[test]
    fn an_architecture_counts_only_with_an_os() {
        assert_eq!(
            Record::example(&[("version", "1"), ("arch", "amd64")]).platform(),
            [None, None]
        );
        assert_eq!(Record::example(&[("os", "linux")]).platform(), [Some("linux"), None]);
    }
}
