//! Writing what `docker load` reads: the `manifest.json` of today, and beside it the `repositories` and the directory of
//! the layer that tools from before Docker 1.10 look for.

use std::{collections::BTreeMap, path::Path};

use super::{ArchiveFile, ExportedImage, write_tar};
use crate::convert::{
    ConvertError, ORIGINAL_MANIFEST,
    digest::Digest,
    document::{ImageConfig, Repositories, RunConfig, SavedImage, to_json},
    naming::split_tag,
};

/// Writes an archive with one image.
pub(super) fn write(
    path: &Path,
    image: ExportedImage<'_>,
    name: Option<&str>,
) -> Result<(String, String), ConvertError> {
    let version = image.manifest.labels.get("version").unwrap_or("latest");
    let (name, tag) = match name {
        Some(text) => {
            let (name, tag) = split_tag(text);
            (name.to_owned(), tag.unwrap_or("latest").to_owned())
        }
        None => (image.manifest.name.to_string(), version.to_owned()),
    };
    let mut config = image.config;
    let run = config.config.get_or_insert_with(RunConfig::default);
    let labels = run.labels.get_or_insert_default();
    labels.insert(ORIGINAL_MANIFEST.to_owned(), image.manifest_json);

    let id = image.layer.diff_id.hex().to_owned();
    let layer_config = to_json(&ImageConfig {
        id: Some(id.clone()),
        rootfs: None,
        history: None,
        ..config.clone()
    });
    let config = to_json(&config);
    let digest = Digest::of(&config);
    let config_file = format!("{}.json", digest.hex());
    let saved = [SavedImage {
        config: config_file.clone(),
        layers: vec![format!("{id}/layer.tar")],
        repo_tags: Some(vec![format!("{name}:{tag}")]),
    }];
    let repositories = Repositories::from([(name.clone(), BTreeMap::from([(tag.clone(), id.clone())]))]);
    let files = BTreeMap::from([
        (config_file, ArchiveFile::Bytes(config)),
        (id.clone(), ArchiveFile::Directory),
        (format!("{id}/VERSION"), ArchiveFile::Bytes(b"1.0".to_vec())),
        (format!("{id}/json"), ArchiveFile::Bytes(layer_config)),
        (format!("{id}/layer.tar"), ArchiveFile::Layer(image.layer.file)),
        ("manifest.json".to_owned(), ArchiveFile::Bytes(to_json(&saved))),
        ("repositories".to_owned(), ArchiveFile::Bytes(to_json(&repositories))),
    ]);
    write_tar(path, image.epoch, files)?;
    Ok((digest.to_string(), format!("{name}:{tag}")))
}
