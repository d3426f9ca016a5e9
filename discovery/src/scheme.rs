//! [`Scheme`]: what carries the bytes.

use std::fmt;

use serde::Serialize;

/// The schemes that a template's URL may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Scheme {
    /// HTTP over TLS.
    Https,
    /// Plain HTTP, only where the user says so.
    Http,
    /// An object of Amazon S3, or of a server that speaks its protocol.
    S3,
    /// An object of Google Cloud Storage.
    Gs,
    /// An object of Azure Blob Storage.
    Az,
    /// A torrent: the metainfo over HTTPS, the rest from the swarm.
    Bittorrent,
}

impl Scheme {
    const ALL: [Self; 6] = [Self::Https, Self::Http, Self::S3, Self::Gs, Self::Az, Self::Bittorrent];

    /// The scheme as it stands before `://`, in lower case.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Https => "https",
            Self::Http => "http",
            Self::S3 => "s3",
            Self::Gs => "gs",
            Self::Az => "az",
            Self::Bittorrent => "bittorrent",
        }
    }

    /// The scheme that is called so.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL
            .into_iter()
            .find(|scheme| scheme.as_str().eq_ignore_ascii_case(name))
    }
}

impl fmt::Display for Scheme {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
