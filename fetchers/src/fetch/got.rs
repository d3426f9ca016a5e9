//! [`Got`]: what came from a place before, so that it need not come again.
//!
//! It lies beside the partial downloads, as `<key>.got`: JSON. It spares a download only where the place still has the
//! same version, the signature beside it is the same that was verified then and counts now, and the image is in the
//! store and is what is asked for. It goes when its image has gone.

use std::{fs, io};

use dhow_image::ImageId;
use dhow_store::Store;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::{download::Downloads, error::Error, transport::Version};

#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Got {
    /// Where it came from.
    pub(crate) place: String,
    /// What the place called it, if that tells versions apart.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) version: Option<Version>,
    /// The SHA-256 of the signature that was verified, in hex. None was, if there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) signature: Option<String>,
    /// The image that it was.
    pub(crate) image: ImageId,
}

impl Got {
    pub(crate) fn new(place: String, version: Option<Version>, signature: Option<&[u8]>, image: ImageId) -> Self {
        Self {
            place,
            version,
            signature: signature.map(digest),
            image,
        }
    }

    /// What is written down about a place. Whatever cannot be read is not there.
    pub(crate) fn read(downloads: &Downloads, place: &str) -> Option<Self> {
        let text = fs::read(downloads.path(place, "got")).ok()?;
        serde_json::from_slice(&text)
            .ok()
            .filter(|got: &Self| got.place == place)
    }

    /// Writes it down, in place of what was. Whoever does has the place's partial file.
    pub(crate) fn write(&self, downloads: &Downloads) -> Result<(), Error> {
        let path = downloads.path(&self.place, "got");
        let write = || -> io::Result<()> {
            let new = path.with_extension("got.new");
            fs::write(&new, serde_json::to_vec(self)?)?;
            fs::rename(new, &path)
        };
        write().map_err(Error::Temporary)
    }

    /// Removes the records of images that are in no store any more, and those that say nothing. One that is written at
    /// the same moment may go with them: the image is asked for once more then.
    pub(crate) fn tidy(downloads: &Downloads, store: &Store) -> io::Result<()> {
        for entry in fs::read_dir(downloads.directory())? {
            let path = entry?.path();
            if path.extension().is_none_or(|extension| extension != "got") {
                continue;
            }
            let got = serde_json::from_slice::<Self>(&fs::read(&path)?);
            if !got.is_ok_and(|got| store.contains(&got.image)) {
                fs::remove_file(&path)?;
            }
        }
        Ok(())
    }

    /// Whether this signature is the one that was verified.
    pub(crate) fn is_signed_by(&self, signature: Option<&[u8]>) -> bool {
        self.signature == signature.map(digest)
    }
}

fn digest(signature: &[u8]) -> String {
    hex::encode(Sha256::digest(signature))
}
