//! Writing an OCI image layout (opencontainers/image-spec 1.1, image-layout.md), as a directory or as a tar of one.

use std::{collections::BTreeMap, fs, path::Path};

use super::{ArchiveFile, ExportedImage, write_tar};
use crate::{
    archive::Compression,
    convert::{
        ConvertError, ORIGINAL_MANIFEST,
        blob::{make_directory, persist, write as write_file},
        config::labels_of,
        container::{Container, not_a, read_error},
        digest::Digest,
        document::{Descriptor, Index, Manifest, OCI_CONFIG, OCI_LAYER, OCI_MANIFEST, REF_NAME, parse, to_json},
    },
};

const LAYOUT: &[u8] = br#"{"imageLayoutVersion":"1.0.0"}"#;

/// Whether a layout may be written there: it is one already, or nothing is there.
pub(super) fn check(path: &Path) -> Result<(), ConvertError> {
    if !path.exists() || path.join("oci-layout").is_file() {
        return Ok(());
    }
    let is_empty = fs::read_dir(path).map_err(read_error(path))?.next().is_none();
    if is_empty {
        return Ok(());
    }
    Err(not_a(
        path,
        "OCI image layout",
        "it has no `oci-layout`, and it is not empty",
    ))
}

/// Adds an image to a layout; one that had its name loses it.
pub(super) fn write(
    path: &Path,
    image: ExportedImage<'_>,
    tag: Option<&str>,
) -> Result<(String, String), ConvertError> {
    let documents = Documents::of(&image, tag)?;
    make_directory(&path.join("blobs/sha256"))?;
    persist(image.layer.file, &path.join(image.layer.digest.blob_path()))?;
    for (digest, json) in [&documents.config, &documents.manifest] {
        write_file(&path.join(digest.blob_path()), json)?;
    }
    let mut index = Index {
        manifests: Vec::new(),
        media_type: None,
        schema_version: 2,
    };
    if path.join("index.json").exists() {
        index = parse("index.json", &Container::directory(path)?.read_document("index.json")?)?;
        index
            .manifests
            .retain(|other| other.annotation(REF_NAME) != Some(&documents.tag));
    }
    let digest = documents.descriptor.digest.to_string();
    index.manifests.push(documents.descriptor);
    write_file(&path.join("index.json"), &to_json(&index))?;
    write_file(&path.join("oci-layout"), LAYOUT)?;
    Ok((digest, documents.tag))
}

/// Writes an archive with one image.
pub(super) fn write_archive(
    path: &Path,
    image: ExportedImage<'_>,
    tag: Option<&str>,
) -> Result<(String, String), ConvertError> {
    let documents = Documents::of(&image, tag)?;
    let digest = documents.descriptor.digest.to_string();
    let index = Index {
        manifests: vec![documents.descriptor],
        media_type: None,
        schema_version: 2,
    };
    let mut files = BTreeMap::from([
        ("blobs".to_owned(), ArchiveFile::Directory),
        ("blobs/sha256".to_owned(), ArchiveFile::Directory),
        ("index.json".to_owned(), ArchiveFile::Bytes(to_json(&index))),
        ("oci-layout".to_owned(), ArchiveFile::Bytes(LAYOUT.to_vec())),
        (image.layer.digest.blob_path(), ArchiveFile::Layer(image.layer.file)),
    ]);
    for (digest, json) in [documents.config, documents.manifest] {
        files.insert(digest.blob_path(), ArchiveFile::Bytes(json));
    }
    write_tar(path, image.epoch, files)?;
    Ok((digest, documents.tag))
}

/// The JSON of an image.
struct Documents {
    config: (Digest, Vec<u8>),
    manifest: (Digest, Vec<u8>),
    descriptor: Descriptor,
    tag: String,
}

impl Documents {
    fn of(image: &ExportedImage<'_>, tag: Option<&str>) -> Result<Self, ConvertError> {
        let suffix = match image.layer.compression {
            Compression::None => "",
            Compression::Gzip => "+gzip",
            Compression::Zstd => "+zstd",
            other => {
                let problem = format!("compressed with {other:?} cannot be in an OCI image: use gzip, zstd or none");
                return Err(ConvertError::invalid("a layer", problem));
            }
        };
        let config = to_json(&image.config);
        let config_digest = Digest::of(&config);
        let mut annotations = labels_of(image.manifest);
        annotations.insert(ORIGINAL_MANIFEST.to_owned(), image.manifest_json.clone());
        let manifest = to_json(&Manifest {
            annotations: Some(annotations),
            config: descriptor(OCI_CONFIG, config_digest.clone(), config.len() as u64),
            layers: vec![descriptor(
                &format!("{OCI_LAYER}{suffix}"),
                image.layer.digest.clone(),
                image.layer.size,
            )],
            media_type: Some(OCI_MANIFEST.to_owned()),
            schema_version: 2,
        });
        let manifest_digest = Digest::of(&manifest);
        let tag = tag.unwrap_or("latest").to_owned();
        let mut descriptor = descriptor(OCI_MANIFEST, manifest_digest.clone(), manifest.len() as u64);
        descriptor.annotations = Some(BTreeMap::from([(REF_NAME.to_owned(), tag.clone())]));
        descriptor.platform = image.config.platform();
        Ok(Self {
            config: (config_digest, config),
            manifest: (manifest_digest, manifest),
            descriptor,
            tag,
        })
    }
}

fn descriptor(media_type: &str, digest: Digest, size: u64) -> Descriptor {
    Descriptor {
        annotations: None,
        digest,
        media_type: media_type.to_owned(),
        platform: None,
        size,
        urls: None,
    }
}
