//! `dhow-pod run`.

use std::{fs, path::PathBuf, process::ExitCode};

use clap::Args;
use dhow_store::Store;

use super::{Context, app_args::PodArgs, prepare};
use crate::{
    PodError,
    isolation::{Isolator, default_isolator},
    launch::{Launch, Network, RunOptions},
    pod::{PodDirectory, PodLock},
    sealed_exe,
};

/// Run images as the apps of one pod, and exit as they do
///
/// Options after an image are that app's own. `---` separates images; what stands after `--` is passed to the app. The
/// exit code is the app's, or 128 and the number of the signal that killed it; of several apps, that of the first in
/// order that failed, whose failure also stops the others.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  \
    dhow-pod run sha512-0123456789ab -- --verbose\n  \
    dhow-pod run --volume data,kind=host,source=/srv/data sha512-0123456789ab --exec /bin/sh -- -c 'ls /data'\n  \
    dhow-pod run sha512-0123456789ab --- sha512-ba9876543210 --user web")]
pub(super) struct RunArgs {
    #[command(flatten)]
    pub(super) apps: PodArgs,
    #[command(flatten)]
    runtime: RuntimeArgs,
    /// Write the pod's UUID to this file
    #[arg(long, value_name = "FILE")]
    uuid_file_save: Option<PathBuf>,
    /// Remove the pod once it has ended
    #[arg(long)]
    rm: bool,
}

/// What is chosen when a pod is run.
#[derive(Debug, Args)]
pub(super) struct RuntimeArgs {
    /// The pod's host name [default: dhow-UUID]
    #[arg(long, value_name = "NAME")]
    hostname: Option<String>,
    /// The pod's network: `none` and `default` have the loopback interface only, `host` is the host's
    #[arg(
        long,
        value_name = "NETWORK",
        value_enum,
        default_value = "default",
        hide_possible_values = true
    )]
    net: Network,
    /// Leave the terminal to the pod's one app
    #[arg(short = 't', long)]
    interactive: bool,
}

/// Makes a pod and runs it.
pub(super) fn run(args: RunArgs, context: &Context) -> Result<ExitCode, PodError> {
    sealed_exe::ensure()?;
    let store = Store::open(&context.data)?;
    let (pod, lock) = prepare::create(args.apps, &store, context)?;
    if let Some(file) = &args.uuid_file_save {
        fs::write(file, format!("{}\n", pod.id())).map_err(PodError::file("write", file))?;
    }
    let result = run_pod(store, &pod, &lock, args.runtime.into_options(), context);
    if args.rm {
        default_isolator().remove(pod.path())?;
    }
    result
}

/// Runs a pod whose lock is held, and gives the exit code that tells how its apps ended.
pub(super) fn run_pod(
    store: Store,
    pod: &PodDirectory,
    _lock: &PodLock,
    options: RunOptions,
    context: &Context,
) -> Result<ExitCode, PodError> {
    let isolator = default_isolator();
    let launch = Launch::of(&store, pod, &pod.manifest()?, &options, context.console)?;
    // However long the pod runs, it keeps nobody from what needs the store alone: its manifest names its images.
    drop(store);
    context
        .console
        .note(&format!("pod {} is run by `{}`", pod.id(), isolator.name()));
    let ends = isolator.run(pod, &launch)?;
    // The first failure is the pod's: it stopped the others.
    let failed = ends.iter().find(|(_, status)| !status.is_success());
    Ok(failed.map_or(ExitCode::SUCCESS, |(_, status)| ExitCode::from(status.code())))
}

impl RuntimeArgs {
    pub(super) fn into_options(self) -> RunOptions {
        RunOptions {
            network: self.net,
            hostname: self.hostname,
            interactive: self.interactive,
        }
    }
}
