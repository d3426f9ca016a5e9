//! `BUILD.toml`: how an image is made, written down.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result};
use dhow_image::ImageManifest;
use serde::Deserialize;
use serde_json::{Value, json};

/// What a build file says. Names are those of the image manifest, where it has them.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct BuildFile {
    name: String,
    #[serde(default)]
    labels: BTreeMap<String, String>,
    #[serde(default)]
    annotations: BTreeMap<String, String>,
    /// The image whose files are copied in first.
    pub(crate) base: Option<String>,
    /// Images that lie beneath this one when it is run.
    #[serde(default)]
    dependencies: Vec<Value>,
    #[serde(default)]
    path_whitelist: Vec<String>,
    /// The `app` of the manifest; its environment may be a table.
    app: Option<Value>,
    /// Patterns as in `.gitignore`, of what is left out in the end.
    #[serde(default)]
    pub(crate) exclude: Vec<String>,
    /// What is done to the root file system, in this order.
    #[serde(default, rename = "step")]
    pub(crate) steps: Vec<Step>,
    #[serde(skip)]
    pub(crate) directory: PathBuf,
}

/// One step of making a root file system.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", untagged)]
pub(crate) enum Step {
    /// Copies a file, or what is in a directory.
    Copy(Copy),
    /// Runs a program inside.
    Run(Run),
}

/// Files from beside the build file.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct Copy {
    /// Where they are, relative to the build file.
    pub(crate) copy: PathBuf,
    /// Where they go; for a directory, what is in it goes there.
    pub(crate) to: PathBuf,
    /// `UID:GID` of all of them; 0:0 where absent.
    pub(crate) owner: Option<String>,
    /// The mode of the files, in octal; their own where absent.
    pub(crate) mode: Option<String>,
}

/// A program of the image, run in a pod.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct Run {
    /// The program and its arguments, or a line for `/bin/sh -c`.
    pub(crate) run: Words,
    /// Variables for it alone.
    #[serde(default)]
    pub(crate) environment: BTreeMap<String, String>,
    /// `host` lets it use the network of this machine.
    pub(crate) network: Option<String>,
}

/// A command.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
pub(crate) enum Words {
    /// For the shell.
    Line(String),
    /// As it is.
    List(Vec<String>),
}

impl BuildFile {
    pub(crate) fn read(path: &Path) -> Result<Self> {
        let text = fs::read_to_string(path).with_context(|| format!("Could not read `{}`", path.display()))?;
        let mut file: Self =
            toml::from_str(&text).with_context(|| format!("`{}` is no valid build file", path.display()))?;
        let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
        file.directory = parent.unwrap_or(Path::new(".")).to_owned();
        Ok(file)
    }

    /// The manifest that it describes.
    pub(crate) fn manifest(&self) -> Result<ImageManifest> {
        let pairs = |map: &BTreeMap<String, String>| -> Value {
            map.iter()
                .map(|(name, value)| json!({"name": name, "value": value}))
                .collect()
        };
        let mut manifest = json!({
            "acKind": "ImageManifest",
            "acVersion": dhow_image::SPEC_VERSION,
            "name": self.name,
            "labels": pairs(&self.labels),
            "annotations": pairs(&self.annotations),
            "dependencies": self.dependencies.iter().map(dependency).collect::<Result<Vec<_>>>()?,
            "pathWhitelist": self.path_whitelist,
        });
        if let Some(app) = &self.app {
            let mut app = app.clone();
            if let Some(Value::Object(environment)) = app.get("environment") {
                let list: Value = environment
                    .iter()
                    .map(|(name, value)| json!({"name": name, "value": value}))
                    .collect();
                app["environment"] = list;
            }
            for field in ["user", "group"] {
                if app.get(field).is_none() {
                    app[field] = json!("0");
                }
            }
            manifest["app"] = app;
        }
        Ok(ImageManifest::from_json(manifest.to_string().as_bytes())?)
    }
}

/// A dependency: a reference as users type it, or the manifest's own form.
fn dependency(value: &Value) -> Result<Value> {
    let Value::String(text) = value else {
        return Ok(value.clone());
    };
    match text.parse()? {
        dhow_image::Reference::Named { name, labels } => Ok(json!({"imageName": name, "labels": labels})),
        _ => anyhow::bail!("`{text}` is no name, and images depend on names"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<BuildFile> {
        let directory = tempfile::tempdir()?;
        let path = directory.path().join("BUILD.toml");
        fs::write(&path, text)?;
        BuildFile::read(&path)
    }

    #[test]
    fn all_that_a_manifest_can_say_can_be_written() {
        let file = parse(
            r#"
            name = "example.com/app"
            labels = { version = "1.0.0", os = "linux", arch = "amd64" }
            annotations = { homepage = "https://example.com" }
            base = "example.com/debian:12"
            dependencies = ["example.com/libs:2", { imageName = "example.com/more", size = 3 }]
            exclude = ["*.pyc"]

            [app]
            exec = ["/bin/app", "--serve"]
            environment = { A = "1" }
            ports = [{ name = "http", protocol = "tcp", port = 80 }]
            mountPoints = [{ name = "data", path = "/data" }]
            isolators = [{ name = "resource/memory", value = { limit = "1G" } }]

            [[step]]
            run = "apt-get update"
            network = "host"

            [[step]]
            copy = "app"
            to = "/bin/app"
            mode = "0755"
            "#,
        )
        .unwrap();
        let manifest = file.manifest().unwrap();
        assert_eq!(manifest.labels.get("version"), Some("1.0.0"));
        assert_eq!(manifest.dependencies[0].labels.get("version"), Some("2"));
        assert_eq!(manifest.dependencies[1].size, Some(3));
        let app = manifest.app.unwrap();
        assert_eq!((app.user.as_str(), app.environment[0].value.as_str()), ("0", "1"));
        assert!(matches!(&file.steps[0], Step::Run(run) if run.network.as_deref() == Some("host")));
        assert!(matches!(&file.steps[1], Step::Copy(copy) if copy.to == Path::new("/bin/app")));
    }

    #[test]
    fn a_word_that_means_nothing_is_refused() {
        assert!(parse("name = \"a\"\nlables = {}").is_err());
        assert!(parse("name = \"a\"\n[[step]]\ncopy = \"a\"\nto = \"/a\"\nmod = \"0755\"").is_err());
    }
}
