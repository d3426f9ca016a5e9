//! What one run of a pod needs, resolved before anything is isolated.

use std::path::PathBuf;

use dhow_image::{AcName, App, PodApp, PodManifest, Volume, VolumeKind};
use dhow_store::{Rootfs, Store};

use crate::{PodError, capabilities::Privileges, console::Console, pod::PodDirectory};

/// Linux refuses longer host names.
const HOSTNAME_LIMIT: usize = 64;

/// Which network the pod has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Network {
    /// A network namespace of its own with the loopback interface.
    #[default]
    Default,
    /// A network namespace of its own with the loopback interface and nothing else, whatever is configured.
    None,
    /// The host's network.
    Host,
}

/// What whoever runs a pod chooses, beside what its manifest says.
#[derive(Clone, Debug, Default)]
pub(crate) struct RunOptions {
    pub(crate) network: Network,
    pub(crate) hostname: Option<String>,
    pub(crate) interactive: bool,
}

/// A pod ready to be run.
pub(crate) struct Launch {
    pub(crate) hostname: String,
    pub(crate) network: Network,
    /// Whether the one app keeps the terminal.
    pub(crate) interactive: bool,
    /// Where PID 1 has its own root.
    pub(crate) shared: PathBuf,
    /// The pod's empty volumes.
    pub(crate) empty_volumes: Vec<EmptyVolume>,
    pub(crate) apps: Vec<AppLaunch>,
    pub(crate) console: Console,
}

/// A directory that is made for the pod.
pub(crate) struct EmptyVolume {
    pub(crate) path: PathBuf,
    pub(crate) mode: u32,
    pub(crate) uid: u32,
    pub(crate) gid: u32,
}

/// An app ready to be run.
pub(crate) struct AppLaunch {
    pub(crate) name: AcName,
    pub(crate) rootfs: Rootfs,
    /// Where the root file system is mounted.
    pub(crate) target: PathBuf,
    /// The writable layer.
    pub(crate) upper: PathBuf,
    /// overlayfs's own directory beside it.
    pub(crate) work: PathBuf,
    pub(crate) read_only_root: bool,
    pub(crate) binds: Vec<Bind>,
    pub(crate) app: App,
    pub(crate) privileges: Privileges,
    /// Whether it reads what the pod's parent reads.
    pub(crate) has_stdin: bool,
    /// The terminal's kind, for an app that keeps the terminal.
    pub(crate) term: Option<String>,
}

/// A directory or file that is put into an app's root file system.
pub(crate) struct Bind {
    pub(crate) source: PathBuf,
    /// Whether `source` is the host's, and so must be reached without symbolic links.
    pub(crate) from_host: bool,
    pub(crate) recursive: bool,
    /// Inside of the app's root file system.
    pub(crate) target: String,
    pub(crate) read_only: bool,
}

impl Launch {
    /// Resolves everything that the pod needs, and renders the root file systems where they are not yet.
    pub(crate) fn of(
        store: &Store,
        pod: &PodDirectory,
        manifest: &PodManifest,
        options: &RunOptions,
        console: Console,
    ) -> Result<Self, PodError> {
        if options.interactive && manifest.apps.len() != 1 {
            return Err(PodError::request(
                "only a pod of one app can be run with `--interactive`",
            ));
        }
        let hostname = options.hostname.clone().unwrap_or_else(|| format!("dhow-{}", pod.id()));
        if hostname.is_empty() || hostname.len() > HOSTNAME_LIMIT {
            return Err(PodError::request(format!(
                "the host name `{hostname}` is not of 1 to {HOSTNAME_LIMIT} bytes"
            )));
        }
        let apps = manifest
            .apps
            .iter()
            .map(|pod_app| app_launch(store, pod, manifest, pod_app, options, console));
        Ok(Self {
            hostname,
            network: options.network,
            interactive: options.interactive,
            shared: pod.path().join("shared"),
            empty_volumes: manifest
                .volumes
                .iter()
                .filter_map(|volume| empty_volume(pod, volume))
                .collect(),
            apps: apps.collect::<Result<_, _>>()?,
            console,
        })
    }
}

fn app_launch(
    store: &Store,
    pod: &PodDirectory,
    manifest: &PodManifest,
    pod_app: &PodApp,
    options: &RunOptions,
    console: Console,
) -> Result<AppLaunch, PodError> {
    let name = &pod_app.name;
    let app = match &pod_app.app {
        Some(app) => app.clone(),
        None => store
            .manifest(&pod_app.image.id)?
            .app
            .ok_or_else(|| PodError::NothingToRun {
                name: name.to_string(),
                id: pod_app.image.id,
            })?,
    };
    let binds = pod_app.mounts.iter().map(|mount| {
        let by_name = || manifest.volumes.iter().find(|volume| volume.name == mount.volume);
        let volume = mount.app_volume.as_ref().or_else(by_name).ok_or_else(|| {
            PodError::request(format!(
                "app `{name}` mounts the volume `{}`, which the pod does not have",
                mount.volume
            ))
        })?;
        let point_is_read_only = app
            .mount_points
            .iter()
            .any(|point| point.path == mount.path && point.read_only);
        Ok(bind(pod, volume, &mount.path, point_is_read_only))
    });
    let binds = binds.collect::<Result<_, PodError>>()?;
    let rootfs = store.rootfs(&pod_app.image.id)?;
    console.note(&format!("root file system of `{name}`: {}", rootfs.describe()));
    let directory = pod.app(name);
    Ok(AppLaunch {
        name: name.clone(),
        rootfs,
        target: directory.mount_target(),
        upper: directory.upper(),
        work: directory.work(),
        read_only_root: pod_app.read_only_root_fs,
        binds,
        privileges: Privileges::of(&app)?,
        app,
        has_stdin: manifest.apps.len() == 1,
        term: options.interactive.then(|| std::env::var("TERM").ok()).flatten(),
    })
}

fn empty_volume(pod: &PodDirectory, volume: &Volume) -> Option<EmptyVolume> {
    let VolumeKind::Empty { mode, uid, gid } = &volume.kind else {
        return None;
    };
    let mode = mode
        .as_deref()
        .and_then(|mode| u32::from_str_radix(mode, 8).ok())
        .unwrap_or(0o755);
    let path = empty_volume_path(pod, &volume.name);
    Some(EmptyVolume {
        path,
        mode,
        uid: uid.unwrap_or(0),
        gid: gid.unwrap_or(0),
    })
}

fn bind(pod: &PodDirectory, volume: &Volume, target: &str, point_is_read_only: bool) -> Bind {
    let (source, from_host, recursive) = match &volume.kind {
        VolumeKind::Host { source, recursive } => (PathBuf::from(source), true, recursive.unwrap_or(true)),
        VolumeKind::Empty { .. } => (empty_volume_path(pod, &volume.name), false, false),
    };
    let read_only = volume.read_only || point_is_read_only;
    Bind {
        source,
        from_host,
        recursive,
        target: target.to_owned(),
        read_only,
    }
}

fn empty_volume_path(pod: &PodDirectory, name: &AcName) -> PathBuf {
    pod.path().join("volumes").join(name.as_str())
}
