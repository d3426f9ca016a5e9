//! `dhow patch`.

use std::{
    fs::{self, File},
    path::PathBuf,
};

use anyhow::{Context as _, Result, bail};
use clap::Args;
use dhow_image::{
    Annotation, App, Compression, EnvironmentVariable, ImageManifest, Isolator, MountPoint, Name, Patched, Port,
};

use crate::{
    context::{Context, print},
    output::{Readers, check_free, write_whole},
    table::size,
};

const CAPABILITIES: [&str; 2] = ["os/linux/capabilities-retain-set", "os/linux/capabilities-remove-set"];
const SECCOMP: [&str; 2] = ["os/linux/seccomp-retain-set", "os/linux/seccomp-remove-set"];

/// Changes the manifest of an archive, and nothing else of it.
///
/// Every other byte of the tar stays, and the compression too. The image ID is a new one, which is printed; a
/// signature of the old archive does not fit the new one. Lists are added to, with what has the same name replaced;
/// `--no-…` empties one first.
#[derive(Args)]
#[command(after_help = "\
Examples:
  dhow patch app.aci --label version=1.0.1 -o app-1.0.1.aci
  dhow patch app.aci --exec /bin/app --exec --debug --environment LEVEL=2 --overwrite
  dhow patch app.aci --isolator resource/memory,request=1G,limit=2G --caps-retain CAP_NET_BIND_SERVICE --overwrite
  dhow patch app.aci --manifest manifest.json -o new.aci")]
pub(crate) struct PatchArguments {
    /// The archive
    #[arg(value_name = "FILE.aci")]
    archive: PathBuf,
    /// The archive to write
    #[arg(long, short, value_name = "FILE.aci", required_unless_present = "overwrite")]
    output: Option<PathBuf>,
    /// Overwrites the output file if it is there, or the archive itself where no output is named
    #[arg(long)]
    overwrite: bool,
    /// Puts this manifest in the place of the old one, as it is
    #[arg(long, value_name = "FILE", conflicts_with = "change")]
    manifest: Option<PathBuf>,
    #[command(flatten)]
    change: Change,
    /// How the new archive is compressed: none, gzip, bzip2, xz or zstd [default: as the old one]
    #[arg(long, value_name = "COMPRESSION")]
    compression: Option<Compression>,
}

/// What is changed.
#[derive(Args)]
#[group(id = "change", multiple = true)]
struct Change {
    /// The image's name
    #[arg(long)]
    name: Option<Name>,
    /// Sets a label, as in version=1.0.1
    #[arg(long = "label", value_name = "NAME=VALUE")]
    labels: Vec<String>,
    /// Takes a label away
    #[arg(long = "no-label", value_name = "NAME")]
    no_labels: Vec<String>,
    /// Sets an annotation, as in homepage=https://example.com
    #[arg(long = "annotation", value_name = "NAME=VALUE")]
    annotations: Vec<String>,
    /// Takes an annotation away
    #[arg(long = "no-annotation", value_name = "NAME")]
    no_annotations: Vec<String>,
    /// The program to run, then each of its arguments
    #[arg(long, value_name = "WORD", allow_hyphen_values = true)]
    exec: Vec<String>,
    /// The user that it runs as: a name, a number, or a path whose owner is meant
    #[arg(long)]
    user: Option<String>,
    /// The group that it runs as
    #[arg(long)]
    group: Option<String>,
    /// Further groups that it runs with, a list of numbers
    #[arg(long, value_name = "GID", value_delimiter = ',')]
    supplementary_gids: Vec<u32>,
    /// Where it starts
    #[arg(long, value_name = "DIR")]
    working_directory: Option<String>,
    /// Sets a variable of its environment
    #[arg(long = "environment", value_name = "NAME=VALUE")]
    environment: Vec<String>,
    /// Empties its environment first
    #[arg(long)]
    no_environment: bool,
    /// Sets a place for a volume: NAME,path=/PATH[,readOnly=true]
    #[arg(long = "mount-point", value_name = "SPEC")]
    mount_points: Vec<MountPoint>,
    /// Takes all places for volumes away first
    #[arg(long)]
    no_mount_points: bool,
    /// Sets a port that it listens on: NAME,port=80[,protocol=tcp][,count=1][,socketActivated=true]
    #[arg(long = "port", value_name = "SPEC")]
    ports: Vec<Port>,
    /// Takes all ports away first
    #[arg(long)]
    no_ports: bool,
    /// Sets an isolator: resource/memory,request=1G,limit=2G or os/linux/no-new-privileges,true
    #[arg(long = "isolator", value_name = "SPEC")]
    isolators: Vec<String>,
    /// Takes all isolators away first
    #[arg(long)]
    no_isolators: bool,
    /// The only capabilities that it keeps, a list, in place of any other isolator of capabilities
    #[arg(
        long,
        value_name = "CAPABILITY",
        value_delimiter = ',',
        conflicts_with = "caps_remove"
    )]
    caps_retain: Vec<String>,
    /// The capabilities that it does not keep of the default ones, a list
    #[arg(long, value_name = "CAPABILITY", value_delimiter = ',')]
    caps_remove: Vec<String>,
    /// How the system calls in --seccomp-set are meant: `retain` or `remove`, and perhaps the error of a blocked one,
    /// as in remove,errno=EPERM
    #[arg(long, value_name = "MODE", requires = "seccomp_set")]
    seccomp_mode: Option<String>,
    /// System calls, a list, in place of any other isolator of system calls
    #[arg(long, value_name = "CALL", value_delimiter = ',', requires = "seccomp_mode")]
    seccomp_set: Vec<String>,
}

pub(crate) fn patch(context: &Context, options: PatchArguments) -> Result<()> {
    let path = options.archive.display();
    let output = options.output.as_ref().unwrap_or(&options.archive);
    check_free(output, options.overwrite)?;
    let open = || File::open(&options.archive).with_context(|| format!("Could not open `{path}`"));
    let manifest = if let Some(path) = &options.manifest {
        fs::read(path).with_context(|| format!("Could not read `{}`", path.display()))?
    } else {
        let mut manifest =
            dhow_image::read_manifest(open()?).with_context(|| format!("`{path}` is not a valid image"))?;
        options.change.apply(&mut manifest)?;
        manifest.to_json().context("Could not change the manifest so")?
    };
    let archive = open()?;
    let patched: Patched = write_whole(output, Readers::AsBefore, |file| {
        let limits = context.limits();
        Ok(dhow_image::patch(
            archive,
            &manifest,
            options.compression,
            limits,
            file,
        )?)
    })
    .with_context(|| format!("Could not patch `{path}`"))?;
    context.say(format_args!(
        "Wrote `{}`: {} as a tar, compression: {}",
        output.display(),
        size(patched.tar_size),
        patched.compression
    ));
    let signature = crate::sign::signature_path(output);
    if signature.exists() {
        context.say(format_args!(
            "warning: the signature `{}` is not of the new archive",
            signature.display()
        ));
    }
    print(patched.id);
    Ok(())
}

impl Change {
    fn apply(self, manifest: &mut ImageManifest) -> Result<()> {
        if let Some(name) = &self.name {
            manifest.name = name.clone();
        }
        for name in &self.no_labels {
            if manifest.labels.remove(name).is_none() {
                bail!("The image has no label `{name}`");
            }
        }
        for text in &self.labels {
            let (name, value) = pair(text)?;
            manifest.labels.set(Name::new(name)?, value)?;
        }
        for name in &self.no_annotations {
            if manifest.annotation(name).is_none() {
                bail!("The image has no annotation `{name}`");
            }
            manifest
                .annotations
                .retain(|annotation| annotation.name.as_str() != name);
        }
        for text in &self.annotations {
            let (name, value) = pair(text)?;
            Annotation::set(&mut manifest.annotations, Name::new(name)?, value);
        }
        if manifest.app.is_none() && !self.exec.is_empty() {
            manifest.app = Some(App::new(Vec::new()));
        }
        match &mut manifest.app {
            Some(app) => self.apply_to_app(app),
            None if self.is_about_app() => bail!("The image has nothing to run: give --exec"),
            None => Ok(()),
        }
    }

    fn is_about_app(&self) -> bool {
        self.user.is_some()
            || self.group.is_some()
            || self.working_directory.is_some()
            || self.no_environment
            || self.no_mount_points
            || self.no_ports
            || self.no_isolators
            || !(self.supplementary_gids.is_empty()
                && self.environment.is_empty()
                && self.mount_points.is_empty()
                && self.ports.is_empty()
                && self.isolators.is_empty()
                && self.caps_retain.is_empty()
                && self.caps_remove.is_empty()
                && self.seccomp_set.is_empty())
    }

    fn apply_to_app(self, app: &mut App) -> Result<()> {
        if !self.exec.is_empty() {
            app.exec = self.exec;
        }
        app.user = self.user.unwrap_or_else(|| std::mem::take(&mut app.user));
        app.group = self.group.unwrap_or_else(|| std::mem::take(&mut app.group));
        if !self.supplementary_gids.is_empty() {
            app.supplementary_gids = self.supplementary_gids;
        }
        if let Some(directory) = self.working_directory {
            app.working_directory = directory;
        }
        if self.no_environment {
            app.environment.clear();
        }
        for text in &self.environment {
            let (name, value) = pair(text)?;
            let variable = EnvironmentVariable::new(name, value)?;
            put(&mut app.environment, variable, |variable| variable.name.clone());
        }
        if self.no_mount_points {
            app.mount_points.clear();
        }
        for point in self.mount_points {
            put(&mut app.mount_points, point, |point| point.name.clone());
        }
        if self.no_ports {
            app.ports.clear();
        }
        for port in self.ports {
            put(&mut app.ports, port, |port| port.name.clone());
        }
        if self.no_isolators {
            app.isolators.clear();
        }
        for text in &self.isolators {
            let isolator = Isolator::from_parameters(text).with_context(|| format!("`{text}` is no isolator"))?;
            put(&mut app.isolators, isolator, |isolator| isolator.name().clone());
        }
        for (name, set) in CAPABILITIES.iter().zip([&self.caps_retain, &self.caps_remove]) {
            if !set.is_empty() {
                let isolator = Isolator::new(Name::new(*name)?, serde_json::json!({ "set": set }))?;
                app.replace_isolators(&CAPABILITIES, isolator);
            }
        }
        if let Some(mode) = &self.seccomp_mode {
            app.replace_isolators(&SECCOMP, seccomp(mode, &self.seccomp_set)?);
        }
        Ok(())
    }
}

/// Replaces what has the same key as `item`, in its place, or adds it.
fn put<T, K: PartialEq>(list: &mut Vec<T>, item: T, key: impl Fn(&T) -> K) {
    match list.iter_mut().find(|old| key(old) == key(&item)) {
        Some(old) => *old = item,
        None => list.push(item),
    }
}

/// An isolator of system calls: `retain` or `remove`, perhaps with `,errno=…`.
fn seccomp(mode: &str, set: &[String]) -> Result<Isolator> {
    let (mode, errno) = match mode.split_once(",errno=") {
        Some((mode, errno)) => (mode, Some(errno)),
        None => (mode, None),
    };
    if !matches!(mode, "retain" | "remove") {
        bail!("--seccomp-mode is `retain` or `remove`, perhaps with `,errno=EPERM`, not `{mode}`");
    }
    let mut value = serde_json::json!({ "set": set });
    if let Some(errno) = errno {
        value["errno"] = errno.into();
    }
    let name = Name::new(format!("os/linux/seccomp-{mode}-set"))?;
    Isolator::new(name, value).context("--seccomp-mode and --seccomp-set make no isolator")
}

fn pair(text: &str) -> Result<(&str, &str)> {
    text.split_once('=')
        .with_context(|| format!("`{text}` is not of the form NAME=VALUE"))
}
