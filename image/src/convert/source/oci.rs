//! Finding images in an OCI layout (opencontainers/image-spec 1.1, image-layout.md, image-index.md, manifest.md).

use serde::de::DeserializeOwned;

use super::{Candidate, FoundImage, Kind};
use crate::convert::{
    ConvertError, MAX_DOCUMENT,
    container::{Container, not_a},
    digest::{Digest, VerifiedReader},
    document::{
        CONTAINERD_NAME, DOCKER_CONFIG, DOCKER_INDEX, DOCKER_LAYER, DOCKER_MANIFEST, Descriptor, ImageConfig, Index,
        Manifest, OCI_CONFIG, OCI_INDEX, OCI_LAYER, OCI_MANIFEST, REF_NAME, parse,
    },
    layer::Layer,
};

/// Indexes in indexes are allowed; nobody needs more of them.
pub(in crate::convert) const MAX_DEPTH: usize = 4;
/// More images than an index of all platforms and their attestations has.
pub(in crate::convert) const MAX_IMAGES: usize = 1000;
/// More layers than any runtime can mount.
pub(in crate::convert) const MAX_LAYERS: usize = 1000;

/// All images of a layout; where `wanted` names one, only what is beneath that name is looked into.
pub(super) fn candidates(container: &Container, wanted: Option<&str>) -> Result<Vec<Candidate>, ConvertError> {
    if !container.contains("index.json") {
        return Err(not_a(container.path(), "OCI image layout", "it has no `index.json`"));
    }
    if container.contains("oci-layout") {
        let layout: serde_json::Value = parse("oci-layout", &container.read_document("oci-layout")?)?;
        let version = layout["imageLayoutVersion"].as_str().unwrap_or_default();
        if !version.starts_with("1.") {
            return Err(not_a(
                container.path(),
                "OCI image layout of version 1",
                "its `oci-layout` says otherwise",
            ));
        }
    }
    let index: Index = parse("index.json", &container.read_document("index.json")?)?;
    let mut found = Vec::new();
    let mut left = MAX_IMAGES;
    for descriptor in index.manifests {
        let mut names: Vec<String> = [REF_NAME, CONTAINERD_NAME]
            .iter()
            .filter_map(|name| descriptor.annotation(name).map(str::to_owned))
            .collect();
        names.dedup();
        let is_wanted = wanted.is_none_or(|wanted| {
            names.iter().any(|name| name == wanted) || descriptor.digest.to_string() == wanted || names.is_empty()
        });
        if is_wanted {
            expand(container, descriptor, &names, 0, &mut left, &mut found)?;
        } else if let Some(name) = names.first() {
            // Kept to be listed where none is called as wanted.
            found.push(Candidate {
                names: vec![name.clone()],
                platform: None,
                kind: Kind::Manifest(Box::new(descriptor)),
            });
        }
    }
    Ok(found)
}

fn expand(
    container: &Container,
    descriptor: Descriptor,
    names: &[String],
    depth: usize,
    left: &mut usize,
    found: &mut Vec<Candidate>,
) -> Result<(), ConvertError> {
    let digest = descriptor.digest.to_string();
    *left = left
        .checked_sub(1)
        .ok_or_else(|| ConvertError::invalid("index.json", "leads to over 1000 images"))?;
    match descriptor.media_type.as_str() {
        OCI_INDEX | DOCKER_INDEX => {
            if depth == MAX_DEPTH {
                let problem = "is an index in an index in an index, deeper than 4: perhaps they go in circles";
                return Err(ConvertError::invalid(digest, problem));
            }
            let index: Index = document(container, &descriptor)?;
            for inner in index.manifests {
                expand(container, inner, names, depth + 1, left, found)?;
            }
            Ok(())
        }
        OCI_MANIFEST | DOCKER_MANIFEST => {
            // Attestations stand among the images, for the platform unknown/unknown.
            let platform = descriptor.platform.clone();
            if platform.as_ref().is_some_and(|platform| platform.os == "unknown") {
                return Ok(());
            }
            found.push(Candidate {
                names: names.to_vec(),
                platform,
                kind: Kind::Manifest(Box::new(descriptor)),
            });
            Ok(())
        }
        other => Err(ConvertError::invalid(
            digest,
            format!("is no image, but of the media type `{other}`"),
        )),
    }
}

/// Reads an image's manifest and configuration.
pub(super) fn load(
    container: &Container,
    descriptor: &Descriptor,
    names: &[String],
) -> Result<FoundImage, ConvertError> {
    let manifest: Manifest = document(container, descriptor)?;
    let digest = descriptor.digest.to_string();
    if !matches!(manifest.config.media_type.as_str(), OCI_CONFIG | DOCKER_CONFIG) {
        let problem = format!(
            "is no container image: its configuration is of the media type `{}`",
            manifest.config.media_type
        );
        return Err(ConvertError::invalid(digest, problem));
    }
    if manifest.layers.len() > MAX_LAYERS {
        return Err(ConvertError::invalid(digest, "has over 1000 layers"));
    }
    let config: ImageConfig = document(container, &manifest.config)?;
    let diff_ids = config
        .rootfs
        .as_ref()
        .map(|rootfs| rootfs.diff_ids.clone())
        .unwrap_or_default();
    let mut layers = Vec::new();
    for (at, layer) in manifest.layers.iter().enumerate() {
        check_layer(layer)?;
        layers.push(Layer {
            file: layer.digest.blob_path(),
            blob: Some((layer.digest.clone(), layer.size)),
            diff_id: diff_ids.get(at).cloned(),
        });
    }
    check_diff_ids(&manifest.config.digest.to_string(), &diff_ids, layers.len())?;
    Ok(FoundImage {
        names: names.to_vec(),
        config,
        config_digest: Some(manifest.config.digest),
        manifest_digest: Some(descriptor.digest.clone()),
        annotations: manifest.annotations.unwrap_or_default(),
        layers,
    })
}

/// Each layer must have the digest of its content in the configuration, or none must.
pub(super) fn check_diff_ids(name: &str, diff_ids: &[Digest], layers: usize) -> Result<(), ConvertError> {
    if diff_ids.len() == layers {
        return Ok(());
    }
    let problem = format!("has {} diff_ids, where the image has {layers} layers", diff_ids.len());
    Err(ConvertError::invalid(name, problem))
}

/// Layers that are to be downloaded from elsewhere are not: nothing here speaks to a network.
pub(in crate::convert) fn check_layer(layer: &Descriptor) -> Result<(), ConvertError> {
    let name = layer.digest.to_string();
    let media_type = layer.media_type.as_str();
    let has_urls = layer.urls.as_ref().is_some_and(|urls| !urls.is_empty());
    if media_type.contains("nondistributable") || media_type.contains(".foreign.") || has_urls {
        let problem = "is a foreign layer, to be fetched from elsewhere: such images cannot be converted";
        return Err(ConvertError::invalid(name, problem));
    }
    let rest = [OCI_LAYER, DOCKER_LAYER]
        .iter()
        .find_map(|base| media_type.strip_prefix(base));
    match rest {
        Some("" | "+gzip" | ".gzip" | "+zstd" | ".zstd") => Ok(()),
        _ => Err(ConvertError::invalid(
            name,
            format!("is no layer, but of the media type `{media_type}`"),
        )),
    }
}

/// Reads a JSON blob, with its digest and size verified.
fn document<T: DeserializeOwned>(container: &Container, descriptor: &Descriptor) -> Result<T, ConvertError> {
    let name = descriptor.digest.to_string();
    if descriptor.size > MAX_DOCUMENT {
        return Err(ConvertError::invalid(
            name,
            "is over 4 MiB, which no honest document is",
        ));
    }
    let (file, _) = container.open(&descriptor.digest.blob_path())?;
    let mut verified = VerifiedReader::new(file, Some(&descriptor.digest), Some(descriptor.size));
    let mut json = Vec::new();
    std::io::Read::read_to_end(&mut verified, &mut json).map_err(|source| ConvertError::Blob {
        name: name.clone(),
        source,
    })?;
    parse(&name, &json)
}
