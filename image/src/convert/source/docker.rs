//! Finding images in what `docker save` writes (moby's image specification): since Docker 1.10 a `manifest.json`, and
//! before that a directory for each layer, with its parent's ID in its `json`.

use std::collections::{BTreeMap, BTreeSet};

use super::{
    Candidate, FoundImage, Kind, listed,
    oci::{MAX_LAYERS, check_diff_ids},
    with_tag,
};
use crate::convert::{
    ConvertError,
    container::Container,
    digest::Digest,
    document::{ImageConfig, Repositories, SavedImage, parse},
    layer::Layer,
};

/// The images of a `manifest.json`.
pub(super) fn saved(container: &Container) -> Result<Vec<Candidate>, ConvertError> {
    let images: Vec<SavedImage> = parse("manifest.json", &container.read_document("manifest.json")?)?;
    let mut candidates = Vec::new();
    for image in images {
        let json = container.read_document(&image.config)?;
        let digest = Digest::of(&json);
        if let Some(hex) = hex_of(&image.config)
            && hex != digest.hex()
        {
            let problem = format!("is named by another digest than that of its content, {digest}");
            return Err(ConvertError::invalid(image.config, problem));
        }
        let config: ImageConfig = parse(&image.config, &json)?;
        if image.layers.len() > MAX_LAYERS {
            return Err(ConvertError::invalid(
                "manifest.json",
                "has an image of over 1000 layers",
            ));
        }
        let diff_ids = config
            .rootfs
            .as_ref()
            .map(|rootfs| rootfs.diff_ids.clone())
            .unwrap_or_default();
        check_diff_ids(&image.config, &diff_ids, image.layers.len())?;
        let layers = image.layers.into_iter().zip(diff_ids);
        let layers = layers.map(|(file, diff_id)| Layer {
            file,
            blob: None,
            diff_id: Some(diff_id),
        });
        candidates.push(loaded(FoundImage {
            names: image.repo_tags.unwrap_or_default(),
            layers: layers.collect(),
            config,
            config_digest: Some(digest),
            manifest_digest: None,
            annotations: BTreeMap::new(),
        }));
    }
    Ok(candidates)
}

/// The images of a `repositories`; where `wanted` names one, only that.
pub(super) fn legacy(container: &Container, wanted: Option<&str>) -> Result<Vec<Candidate>, ConvertError> {
    let repositories: Repositories = parse("repositories", &container.read_document("repositories")?)?;
    let mut names: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for (name, tags) in repositories {
        for (tag, id) in tags {
            names.entry(id).or_default().push(format!("{name}:{tag}"));
        }
    }
    if let Some(wanted) = wanted.map(with_tag) {
        let all: BTreeSet<String> = names.values().flatten().cloned().collect();
        names.retain(|_, names| names.contains(&wanted));
        if names.is_empty() {
            return Err(ConvertError::NoImage {
                path: container.path().to_owned(),
                wanted,
                found: listed(all),
            });
        }
    }
    names
        .into_iter()
        .map(|(id, names)| chain(container, id, names).map(loaded))
        .collect()
}

/// Follows a layer's parents down to the bottom.
fn chain(container: &Container, top: String, names: Vec<String>) -> Result<FoundImage, ConvertError> {
    let mut layers = Vec::new();
    let mut seen = BTreeSet::new();
    let mut config = None;
    let mut next = Some(top);
    while let Some(id) = next {
        if id.is_empty() || id.len() > 128 || !id.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            let shown: String = id.chars().take(80).collect();
            return Err(ConvertError::invalid(shown, "is no ID of a layer"));
        }
        if !seen.insert(id.clone()) || seen.len() > MAX_LAYERS {
            return Err(ConvertError::invalid(
                id,
                "is its own ancestor, or has over 1000 of them",
            ));
        }
        let name = format!("{id}/json");
        let json: ImageConfig = parse(&name, &container.read_document(&name)?)?;
        layers.push(Layer {
            file: format!("{id}/layer.tar"),
            blob: None,
            diff_id: None,
        });
        next = json.parent.clone().filter(|parent| !parent.is_empty());
        config.get_or_insert(json);
    }
    layers.reverse();
    Ok(FoundImage {
        names,
        config: config.expect("the topmost layer's was read first"),
        config_digest: None,
        manifest_digest: None,
        annotations: BTreeMap::new(),
        layers,
    })
}

fn loaded(image: FoundImage) -> Candidate {
    Candidate {
        names: image.names.clone(),
        platform: image.platform(),
        kind: Kind::Loaded(Box::new(image)),
    }
}

/// The SHA-256 that a configuration's file name is, if it is one.
fn hex_of(name: &str) -> Option<&str> {
    let last = name.rsplit_once('/').map_or(name, |(_, last)| last);
    let hex = last.strip_suffix(".json").unwrap_or(last);
    (hex.len() == 64 && hex.bytes().all(|byte| byte.is_ascii_hexdigit())).then_some(hex)
}
