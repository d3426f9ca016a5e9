//! Images of OCI's, written by hand.

use std::{fs, io::Write, path::Path};

use dhow_image::{BlobDigest, OciPlatform};
use flate2::{Compression, write::GzEncoder};
use serde_json::{Value, json};

pub(crate) const INDEX: &str = "application/vnd.oci.image.index.v1+json";
pub(crate) const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const CONFIG: &str = "application/vnd.oci.image.config.v1+json";
pub(crate) const LAYER: &str = "application/vnd.oci.image.layer.v1.tar+gzip";

/// A blob, and what refers to it.
#[derive(Clone, Debug)]
pub(crate) struct Blob {
    pub(crate) descriptor: Value,
    pub(crate) content: Vec<u8>,
}

impl Blob {
    pub(crate) fn new(media_type: &str, content: impl Into<Vec<u8>>) -> Self {
        let content = content.into();
        let digest = BlobDigest::of(&content).to_string();
        Self {
            descriptor: json!({"mediaType": media_type, "digest": digest, "size": content.len()}),
            content,
        }
    }

    pub(crate) fn digest(&self) -> &str {
        self.descriptor["digest"].as_str().unwrap()
    }
}

/// A whole image: its manifest, and all that it refers to.
#[derive(Clone, Debug)]
pub(crate) struct Image {
    pub(crate) manifest: Blob,
    pub(crate) blobs: Vec<Blob>,
}

/// The header of a file that is root's.
pub(crate) fn file_header(size: u64) -> tar::Header {
    let mut header = tar::Header::new_gnu();
    header.set_size(size);
    header.set_mode(0o755);
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(0);
    header.set_entry_type(tar::EntryType::Regular);
    header
}

/// A tar with these files.
pub(crate) fn tar(files: &[(&str, &[u8])]) -> Vec<u8> {
    let mut tar = tar::Builder::new(Vec::new());
    for (path, content) in files {
        let mut header = file_header(content.len() as u64);
        tar.append_data(&mut header, path, *content).unwrap();
    }
    tar.into_inner().unwrap()
}

pub(crate) fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

/// An image of these layers, each a tar, for a platform.
pub(crate) fn image_for(platform: &OciPlatform, layers: &[Vec<u8>]) -> Image {
    let diff_ids: Vec<_> = layers.iter().map(|tar| BlobDigest::of(tar).to_string()).collect();
    let config = json!({
        "os": platform.os, "architecture": platform.architecture,
        "config": {"Entrypoint": ["/bin/app"]},
        "rootfs": {"type": "layers", "diff_ids": diff_ids},
    });
    let mut blobs = vec![Blob::new(CONFIG, config.to_string())];
    blobs.extend(layers.iter().map(|tar| Blob::new(LAYER, gzip(tar))));
    let descriptors: Vec<_> = blobs[1..].iter().map(|blob| &blob.descriptor).collect();
    let manifest = json!({
        "schemaVersion": 2, "mediaType": MANIFEST, "config": blobs[0].descriptor, "layers": descriptors,
    });
    Image {
        manifest: Blob::new(MANIFEST, manifest.to_string()),
        blobs,
    }
}

pub(crate) fn image(layers: &[Vec<u8>]) -> Image {
    image_for(&OciPlatform::host(), layers)
}

/// An index of images for these platforms.
pub(crate) fn index(images: &[(&OciPlatform, &Image)]) -> Blob {
    let entries = images.iter().map(|(platform, image)| {
        let mut entry = image.manifest.descriptor.clone();
        entry["platform"] = json!({"os": platform.os, "architecture": platform.architecture});
        entry
    });
    let entries: Vec<_> = entries.collect();
    let index = json!({"schemaVersion": 2, "mediaType": INDEX, "manifests": entries});
    Blob::new(INDEX, index.to_string())
}

/// Writes an OCI layout with these blobs, in which the first has a tag.
pub(crate) fn write_layout(directory: &Path, tag: &str, blobs: &[&Blob]) {
    let folder = directory.join("blobs/sha256");
    fs::create_dir_all(&folder).unwrap();
    for blob in blobs {
        let (_, hex) = blob.digest().split_once(':').unwrap();
        fs::write(folder.join(hex), &blob.content).unwrap();
    }
    let mut entry = blobs[0].descriptor.clone();
    entry["annotations"] = json!({"org.opencontainers.image.ref.name": tag});
    let index = json!({"schemaVersion": 2, "manifests": [entry]});
    fs::write(directory.join("index.json"), index.to_string()).unwrap();
    fs::write(directory.join("oci-layout"), r#"{"imageLayoutVersion":"1.0.0"}"#).unwrap();
}
