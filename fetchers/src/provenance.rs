//! [`Provenance`]: where an image came from and why it was believed.

use chrono::{DateTime, Utc};
use dhow_trust::{Decrypted, Signature, Verification};
use serde::{Deserialize, Serialize};

/// What the store keeps with an image for ever.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Provenance {
    /// What was asked for.
    pub reference: String,
    /// Where the archive was: a URL, or the path of a file.
    pub source: String,
    /// The template that led there, if a name was discovered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub discovered_by: Option<String>,
    /// The archive as it travelled, or as it was made here of what did.
    pub archive: ArchiveRecord,
    /// The armored signature that was verified: of the archive, or of the recipe that the image was rebuilt by.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signature: Option<String>,
    /// How the image was rebuilt, if the archive never came. Then `archive` is what the signed recipe says of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rebuilt: Option<Rebuilt>,
    /// What it was made of, if it was an image of OCI's or Docker's. Nothing but its digests vouches for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub converted_from: Option<ConvertedFrom>,
    /// How the archive was encrypted, if it was, and what opened it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub encryption: Option<Decrypted>,
    /// Why it was believed.
    pub verified: Verified,
    /// When it was fetched.
    pub fetched_at: DateTime<Utc>,
}

/// The digests by which an image of OCI's or Docker's was pulled, as in `sha256:…`. An archive of Docker's has none.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ConvertedFrom {
    /// Of what a registry had for the tag: its index, or where there is none its manifest.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub index: Option<String>,
    /// Of its manifest.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub manifest: Option<String>,
}

/// What is known of a file that came.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ArchiveRecord {
    /// The SHA-512 of the file, in hex. It is not the image ID, which is that of the uncompressed tar. An archive whose
    /// signature was verified has none: the signature tells it from any other.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sha512: Option<String>,
    /// Its size in bytes.
    pub size: u64,
}

/// What an image was rebuilt from. The signature that was verified is the recipe's.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Rebuilt {
    /// The recipe as it travelled.
    pub recipe: ArchiveRecord,
    /// How many bytes of the tar are from files that the store had.
    pub from_files: u64,
    /// How many are from chunks of other files that the store had.
    pub from_chunks: u64,
    /// How many came in packs.
    pub from_packs: u64,
    /// How many came in a patch.
    #[serde(default)]
    pub from_patch: u64,
    /// How many bytes of packs and patches were fetched for these.
    pub fetched: u64,
    /// With how many requests.
    pub requests: u64,
}

/// Why an image was believed. In JSON, what the verification says, or `"insecure"`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", untagged)]
pub enum Verified {
    /// Trusted keys signed the archive.
    By(Verification),
    /// Nobody vouches for it: the user switched verification off.
    No(Insecurity),
}

/// How it came that nobody vouches for an image.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Insecurity {
    /// `--insecure-options=image`.
    Insecure,
}

/// A signature that was verified, as text.
pub(crate) fn armored(signature: &[u8]) -> String {
    let signature = Signature::parse(signature).expect("what was verified is a signature");
    String::from_utf8(signature.to_armored()).expect("armor is ASCII")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn an_unverified_image_says_so_in_json() {
        let provenance = Provenance {
            reference: "example.com/app".to_owned(),
            source: "https://example.com/app.aci".to_owned(),
            discovered_by: None,
            archive: ArchiveRecord {
                sha512: Some("ab".to_owned()),
                size: 1,
            },
            signature: None,
            rebuilt: None,
            converted_from: None,
            encryption: None,
            verified: Verified::No(Insecurity::Insecure),
            fetched_at: "2014-12-01T10:00:00Z".parse().unwrap(),
        };
        let json = serde_json::to_value(&provenance).unwrap();
        assert_eq!(json["verified"], "insecure");
        assert_eq!(json["fetchedAt"], "2014-12-01T10:00:00Z");
        assert_eq!(serde_json::from_value::<Provenance>(json).unwrap(), provenance);
    }
}
