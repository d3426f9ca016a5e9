//! From OCI and Docker to an ACI's manifest.

use std::collections::BTreeSet;

use super::{
    CMD, COMMENT, ENTRYPOINT, HEALTHCHECK, IMAGE_ID, MANIFEST_HASH, ON_BUILD, ORIGINAL_NAME, SHELL, STOP_SIGNAL, TAG,
    USER, from_aci::user_of,
};
use crate::{
    convert::{
        ConvertError, ImageLocation,
        document::{ImageConfig, RunConfig},
        naming::{name_and_version, split_tag, to_ac_name},
        source::FoundImage,
    },
    label::{Label, Labels},
    manifest::{Annotation, App, EnvironmentVariable, ImageManifest, MountPoint, Port, Timestamp},
    name::{AcName, Name},
};

/// What an image says of itself, as the manifest of an ACI.
pub(in crate::convert) struct Described {
    pub(in crate::convert) manifest: ImageManifest,
    /// What has no place in it.
    pub(in crate::convert) notes: Vec<String>,
}

/// Makes a manifest of an image's configuration and of what it is called.
pub(in crate::convert) fn describe(
    location: &ImageLocation,
    image: &FoundImage,
    name: Option<&Name>,
    extra_labels: &[Label],
) -> Result<Described, ConvertError> {
    let (derived, version) = name_and_version(location, &image.names);
    let name = name.map_or(derived, |name| Ok(name.clone()))?;
    let mut manifest = ImageManifest::new(name);
    let mut notes = Vec::new();
    manifest.labels = labels(&image.config, version, extra_labels, &mut notes);
    manifest.annotations = annotations(image, &mut notes);
    manifest.app = image.config.config.as_ref().map(|config| app(config, &mut notes));
    Ok(Described { manifest, notes })
}

fn labels(config: &ImageConfig, version: Option<String>, extra: &[Label], notes: &mut Vec<String>) -> Labels {
    let mut list: Vec<(&str, String)> = Vec::new();
    list.extend(version.map(|version| ("version", version)));
    match config.platform().map(|platform| (platform.to_appc(), platform)) {
        Some((Some(appc), _)) => list.extend([("os", appc.os.to_owned()), ("arch", appc.arch.to_owned())]),
        Some((None, platform)) => notes.push(format!(
            "the specification has no labels for {platform}: the image has neither `os` nor `arch`"
        )),
        None => notes.push("the image does not say what it runs on: it has neither `os` nor `arch`".to_owned()),
    }
    for label in extra {
        list.retain(|(name, _)| *name != label.name.as_str());
        list.push((label.name.as_str(), label.value.clone()));
    }
    let mut labels = Labels::default();
    for (name, value) in list {
        let name = Name::new(name).expect("these are names");
        if labels.insert(name.clone(), value).is_err() {
            notes.push(format!("an image can have no label `{name}`"));
        }
    }
    labels
}

fn annotations(image: &FoundImage, notes: &mut Vec<String>) -> Vec<Annotation> {
    let config = &image.config;
    let run = config.config.clone().unwrap_or_default();
    let json = |words: &Option<Vec<String>>| {
        let words = words.as_ref().filter(|words| !words.is_empty());
        words.map(|words| serde_json::to_string(words).expect("texts are JSON"))
    };
    let created = config.created.clone().filter(|created| {
        let is_date = created.parse::<Timestamp>().is_ok();
        if !is_date {
            notes.push(format!(
                "`{created}` is no date: when the image was created is left out"
            ));
        }
        is_date
    });
    let (user, group) = user_and_group(run.user.as_deref().unwrap_or_default());
    let user = run.user.clone().filter(|original| *original != user_of(&user, &group));
    let whole = image.names.iter().find(|name| name.contains([':', '/']));
    let tag = whole
        .and_then(|name| split_tag(name).1)
        .or(image.names.first().map(String::as_str));
    let list = [
        ("authors", config.author.clone()),
        ("created", created),
        (COMMENT, config.comment.clone()),
        (ORIGINAL_NAME, whole.or(image.names.first()).cloned()),
        (TAG, tag.map(str::to_owned)),
        (IMAGE_ID, image.config_digest.as_ref().map(ToString::to_string)),
        (MANIFEST_HASH, image.manifest_digest.as_ref().map(ToString::to_string)),
        (ENTRYPOINT, json(&run.entrypoint)),
        (CMD, json(&run.cmd)),
        (USER, user),
        (STOP_SIGNAL, run.stop_signal.clone()),
        (HEALTHCHECK, run.healthcheck.as_ref().map(ToString::to_string)),
        (ON_BUILD, json(&run.on_build)),
        (SHELL, json(&run.shell)),
    ];
    let present = list
        .into_iter()
        .filter_map(|(name, value)| Some((name, value.filter(|value| !value.is_empty())?)));
    let annotation = |(name, value): (&str, String)| Annotation::new(Name::new(name).expect("these are names"), value);
    present.map(annotation).collect()
}

fn app(config: &RunConfig, notes: &mut Vec<String>) -> App {
    let words = [&config.entrypoint, &config.cmd].into_iter().flatten().flatten();
    let mut app = App::new(words.cloned().collect());
    (app.user, app.group) = user_and_group(config.user.as_deref().unwrap_or_default());
    app.working_directory = match config.working_dir.as_deref().unwrap_or_default() {
        relative if !relative.is_empty() && !relative.starts_with('/') => format!("/{relative}"),
        absolute => absolute.to_owned(),
    };
    for text in config.env.iter().flatten() {
        let variable = text
            .split_once('=')
            .and_then(|(name, value)| EnvironmentVariable::new(name, value).ok());
        match variable {
            Some(variable) => {
                let earlier = app.environment.iter_mut().find(|earlier| earlier.name == variable.name);
                match earlier {
                    Some(earlier) => earlier.value = variable.value,
                    None => app.environment.push(variable),
                }
            }
            None => {
                let name = text.split('=').next().unwrap_or_default();
                notes.push(format!(
                    "`{name}` cannot be the name of a variable: it is left out of the environment"
                ));
            }
        }
    }
    app.mount_points = mount_points(config, notes);
    app.ports = ports(config, notes);
    app.user_labels.extend(config.labels.clone().unwrap_or_default());
    app
}

/// `USER[:GROUP]`. A group that is not given is called as the user is: which one `/etc/passwd` says is not looked up.
fn user_and_group(text: &str) -> (String, String) {
    let (user, group) = text.split_once(':').unwrap_or((text, ""));
    let user = if user.is_empty() { "0" } else { user };
    let group = if group.is_empty() { user } else { group };
    (user.to_owned(), group.to_owned())
}

fn mount_points(config: &RunConfig, notes: &mut Vec<String>) -> Vec<MountPoint> {
    let mut names = BTreeSet::new();
    let mut mount_points = Vec::new();
    for path in config.volumes.iter().flatten().map(|(path, _)| path) {
        let name = to_ac_name(&format!("volume{}{path}", if path.starts_with('/') { "" } else { "/" }));
        let Some(name) = name.filter(|_| path.starts_with('/')) else {
            notes.push(format!("`{path}` cannot be a mount point: it is left out"));
            continue;
        };
        mount_points.push(MountPoint::new(unused(name, &mut names), path.clone(), false));
    }
    mount_points.sort_by(|one, other| one.name.cmp(&other.name));
    mount_points
}

fn ports(config: &RunConfig, notes: &mut Vec<String>) -> Vec<Port> {
    let mut names = BTreeSet::new();
    let mut ports = Vec::new();
    for text in config.exposed_ports.iter().flatten().map(|(text, _)| text) {
        let (number, protocol) = text.split_once('/').unwrap_or((text, "tcp"));
        let (first, last) = number.split_once('-').unwrap_or((number, number));
        let numbers: Option<(u16, u16)> = first.parse().ok().zip(last.parse().ok());
        let name = to_ac_name(text);
        let Some(((first, last), name)) = numbers.filter(|(first, last)| 0 < *first && first <= last).zip(name) else {
            notes.push(format!("`{text}` is no port: it is left out"));
            continue;
        };
        let mut port = Port::new(unused(name, &mut names), protocol, first);
        port.count = u32::from(last - first) + 1;
        ports.push(port);
    }
    ports.sort_by(|one, other| one.name.cmp(&other.name));
    ports
}

/// A name that is not taken: the same one, or with a number after it.
fn unused(name: AcName, taken: &mut BTreeSet<AcName>) -> AcName {
    let numbered = |number: u32| AcName::new(format!("{name}-{number}")).expect("a digit may end a name");
    let names = std::iter::once(name.clone()).chain((1..).map(numbered));
    let free = names
        .into_iter()
        .find(|name| !taken.contains(name))
        .expect("numbers do not end");
    taken.insert(free.clone());
    free
}
