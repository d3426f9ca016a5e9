//! The manifest of an image that is built: what the build file says, and the flags over it.

use std::fs;

use anyhow::{Context as _, Result, bail};
use dhow_image::{Annotation, App, EnvironmentVariable, ImageManifest, Isolator, Name};

use super::{BuildArguments, build_file::BuildFile};

/// The manifest that the flags describe.
pub(super) fn manifest(options: &BuildArguments, file: Option<&BuildFile>) -> Result<ImageManifest> {
    let mut manifest = match (&options.manifest, &options.name) {
        _ if file.is_some() => file
            .map(BuildFile::manifest)
            .transpose()?
            .expect("there is a build file"),
        (Some(path), _) => {
            let json = fs::read(path).with_context(|| format!("Could not read `{}`", path.display()))?;
            ImageManifest::from_json(&json).with_context(|| format!("`{}` is no valid manifest", path.display()))?
        }
        (None, Some(name)) => ImageManifest::new(name.clone()),
        (None, None) => bail!("The image needs a name: give --name or --manifest"),
    };
    if let Some(name) = &options.name {
        manifest.name = name.clone();
    }
    for (name, value) in options
        .labels
        .iter()
        .map(|text| pair(text))
        .collect::<Result<Vec<_>>>()?
    {
        manifest.labels.insert(Name::new(name)?, value)?;
    }
    if !options.no_arch && options.manifest.is_none() && manifest.labels.get("os").is_none() {
        for label in dhow_discovery::host_labels().iter() {
            if manifest.labels.get(label.name.as_str()).is_none() {
                manifest.labels.insert(label.name.clone(), label.value.clone())?;
            }
        }
    }
    for text in &options.annotations {
        let (name, value) = pair(text)?;
        manifest.annotations.push(Annotation::new(Name::new(name)?, value));
    }
    complete_app(&mut manifest, options)?;
    Ok(manifest)
}

/// Fills in how the image is run; without any flag for it, it stays an image that is not run by itself.
fn complete_app(manifest: &mut ImageManifest, options: &BuildArguments) -> Result<()> {
    let exec: Vec<_> = options.exec.iter().chain(&options.words).cloned().collect();
    if !exec.is_empty() {
        match &mut manifest.app {
            Some(app) => app.exec = exec,
            none => *none = Some(App::new(exec)),
        }
    }
    let Some(app) = &mut manifest.app else {
        let about_app = options.user.is_some()
            || options.group.is_some()
            || options.working_directory.is_some()
            || !options.environment.is_empty()
            || !options.mount_points.is_empty()
            || !options.ports.is_empty()
            || !options.capabilities.is_empty();
        return if about_app {
            bail!("The image has nothing to run: give --exec")
        } else {
            Ok(())
        };
    };
    if let Some(user) = &options.user {
        app.user.clone_from(user);
    }
    if let Some(group) = &options.group {
        app.group.clone_from(group);
    }
    if let Some(directory) = &options.working_directory {
        app.working_directory.clone_from(directory);
    }
    for text in &options.environment {
        let (name, value) = pair(text)?;
        app.environment.retain(|variable| variable.name != name);
        app.environment.push(EnvironmentVariable::new(name, value)?);
    }
    app.mount_points.extend(options.mount_points.iter().cloned());
    app.ports.extend(options.ports.iter().cloned());
    if !options.capabilities.is_empty() {
        let name = Name::new("os/linux/capabilities-retain-set")?;
        app.isolators
            .push(Isolator::new(name, serde_json::json!({ "set": options.capabilities }))?);
    }
    Ok(())
}

fn pair(text: &str) -> Result<(&str, &str)> {
    text.split_once('=')
        .with_context(|| format!("`{text}` is not of the form NAME=VALUE"))
}
