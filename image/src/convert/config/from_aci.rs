//! From an ACI's manifest to OCI and Docker.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use super::{CMD, COMMENT, ENTRYPOINT, HEALTHCHECK, ON_BUILD, SHELL, STOP_SIGNAL, USER};
use crate::{
    convert::{
        ORIGINAL_MANIFEST, OciPlatform,
        document::{ImageConfig, RunConfig},
        source::FoundImage,
    },
    manifest::{App, ImageManifest},
};

/// More ports of one range are not listed one by one.
const MAX_PORTS: u32 = 1000;

/// Makes a configuration of a manifest, without what is said of layers, and tells what has no place in it.
pub(in crate::convert) fn config_of(manifest: &ImageManifest, fallback: &OciPlatform) -> (ImageConfig, Vec<String>) {
    let mut notes = Vec::new();
    let platform = OciPlatform::from_labels(&manifest.labels).unwrap_or_else(|| fallback.clone());
    let config = ImageConfig {
        architecture: Some(platform.architecture),
        author: manifest.annotation("authors").map(str::to_owned),
        comment: manifest.annotation(COMMENT).map(str::to_owned),
        config: manifest.app.as_ref().map(|app| run_config(manifest, app, &mut notes)),
        created: manifest.annotation("created").map(str::to_owned),
        os: Some(platform.os),
        variant: platform.variant,
        ..ImageConfig::default()
    };
    (config, notes)
}

/// The manifest of the ACI that an image was made from, word for word, if its configuration still says the same.
pub(in crate::convert) fn original_manifest(image: &FoundImage) -> Option<(ImageManifest, Vec<u8>)> {
    let mut found = image.config.clone();
    let mut labels = found
        .config
        .as_mut()
        .and_then(|config| config.labels.take())
        .unwrap_or_default();
    let in_label = labels.remove(ORIGINAL_MANIFEST);
    if let (Some(config), false) = (&mut found.config, labels.is_empty()) {
        config.labels = Some(labels);
    }
    let json = image.annotations.get(ORIGINAL_MANIFEST).cloned().or(in_label)?;
    let manifest = ImageManifest::from_json(json.as_bytes()).ok()?;
    let platform = found.platform()?;
    let (mut expected, _) = config_of(&manifest, &platform);
    // A Docker archive keeps the manifest in a label, and so has a place for labels where the ACI has no app.
    if manifest.app.is_none() && found.config == Some(RunConfig::default()) {
        found.config = None;
    }
    for config in [&mut expected, &mut found] {
        // What the manifest does not decide.
        (config.created, config.history, config.rootfs, config.id) = (None, None, None, None);
    }
    (expected == found && manifest.dependencies.is_empty()).then(|| (manifest, json.into_bytes()))
}

/// What a manifest says that OCI has annotations for.
pub(in crate::convert) fn labels_of(manifest: &ImageManifest) -> BTreeMap<String, String> {
    const STANDARD: [(&str, &str); 3] = [
        ("authors", "org.opencontainers.image.authors"),
        ("homepage", "org.opencontainers.image.url"),
        ("documentation", "org.opencontainers.image.documentation"),
    ];
    let mut annotations: BTreeMap<String, String> = STANDARD
        .into_iter()
        .filter_map(|(name, standard)| Some((standard.to_owned(), manifest.annotation(name)?.to_owned())))
        .collect();
    if let Some(version) = manifest.labels.get("version") {
        annotations.insert("org.opencontainers.image.version".to_owned(), version.to_owned());
    }
    annotations.insert("org.opencontainers.image.title".to_owned(), manifest.name.to_string());
    annotations
}

/// `USER[:GROUP]`, as short as it can be; nothing where it is root, which is what nothing means.
pub(super) fn user_of(user: &str, group: &str) -> String {
    match (user, group) {
        ("0", "0") => String::new(),
        (user, group) if user == group => user.to_owned(),
        (user, group) => format!("{user}:{group}"),
    }
}

fn run_config(manifest: &ImageManifest, app: &App, notes: &mut Vec<String>) -> RunConfig {
    let words = |name: &str| -> Vec<String> {
        let json = manifest.annotation(name);
        json.and_then(|json| serde_json::from_str(json).ok())
            .unwrap_or_default()
    };
    let (entrypoint, cmd) = match (words(ENTRYPOINT), words(CMD)) {
        (entrypoint, cmd) if [entrypoint.as_slice(), &cmd].concat() == app.exec => (entrypoint, cmd),
        _ => (app.exec.clone(), Vec::new()),
    };
    if app.user.starts_with('/') || app.group.starts_with('/') {
        notes.push("the app runs as the owner of a path, which OCI has no words for".to_owned());
    }
    for (what, is_there) in [
        ("event handlers", !app.event_handlers.is_empty()),
        ("isolators", !app.isolators.is_empty()),
        ("supplementary groups", !app.supplementary_gids.is_empty()),
    ] {
        if is_there {
            notes.push(format!("the app has {what}, which OCI images have no place for"));
        }
    }
    let json = |name: &str| serde_json::from_str(manifest.annotation(name)?).ok();
    RunConfig {
        cmd: present(cmd),
        entrypoint: present(entrypoint),
        env: present(
            app.environment
                .iter()
                .map(|variable| format!("{}={}", variable.name, variable.value))
                .collect(),
        ),
        exposed_ports: ports(app, notes),
        healthcheck: json(HEALTHCHECK),
        labels: Some(app.user_labels.clone()).filter(|labels| !labels.is_empty()),
        on_build: present(words(ON_BUILD)),
        shell: present(words(SHELL)),
        stop_signal: manifest.annotation(STOP_SIGNAL).map(str::to_owned),
        user: user(manifest, app),
        volumes: Some(
            app.mount_points
                .iter()
                .map(|mount| (mount.path.clone(), nothing()))
                .collect(),
        )
        .filter(|volumes: &BTreeMap<_, _>| !volumes.is_empty()),
        working_dir: Some(app.working_directory.clone()).filter(|directory| !directory.is_empty()),
    }
}

fn user(manifest: &ImageManifest, app: &App) -> Option<String> {
    let text = user_of(&app.user, &app.group);
    // `root:root` and `0` are other words for nothing; which of them it was is remembered.
    let original = manifest.annotation(USER).filter(|original| {
        let (user, group) = original.split_once(':').unwrap_or((original, original));
        (
            if user.is_empty() { "0" } else { user },
            if group.is_empty() { user } else { group },
        ) == (app.user.as_str(), app.group.as_str())
    });
    Some(original.map_or(text, str::to_owned)).filter(|text| !text.is_empty())
}

fn ports(app: &App, notes: &mut Vec<String>) -> Option<BTreeMap<String, Value>> {
    let mut ports = BTreeMap::new();
    for port in &app.ports {
        if port.count > MAX_PORTS {
            notes.push(format!(
                "the port `{}` is a range of {}, which is left out",
                port.name, port.count
            ));
            continue;
        }
        let numbers = u32::from(port.port)..u32::from(port.port) + port.count;
        ports.extend(numbers.map(|number| (format!("{number}/{}", port.protocol), nothing())));
    }
    Some(ports).filter(|ports| !ports.is_empty())
}

fn nothing() -> Value {
    Value::Object(Map::new())
}

fn present(words: Vec<String>) -> Option<Vec<String>> {
    Some(words).filter(|words| !words.is_empty())
}
