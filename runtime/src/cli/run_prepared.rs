//! `dhow-pod run-prepared`.

use std::process::ExitCode;

use clap::Args;
use dhow_store::Store;

use super::{
    Context,
    run::{RuntimeArgs, run_pod},
};
use crate::{PodError, pod::PodState, sealed_exe};

/// Run a pod that `prepare` made, and exit as its apps do
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  dhow-pod run-prepared c9fad0e6")]
pub(super) struct RunPreparedArgs {
    /// The pod's UUID or its beginning
    #[arg(value_name = "UUID")]
    uuid: String,
    #[command(flatten)]
    runtime: RuntimeArgs,
}

/// Runs a prepared pod; a pod is run once.
pub(super) fn run_prepared(args: RunPreparedArgs, context: &Context) -> Result<ExitCode, PodError> {
    sealed_exe::ensure()?;
    let pod = context.pods().find(&args.uuid)?;
    // The state is read before the lock is taken, which changes it; the mark is removed by one process only.
    let state = pod.state()?;
    if state != PodState::Prepared {
        return Err(pod.wrong_state(state, "prepared", "run"));
    }
    let lock = pod.lock("prepared", "run")?;
    if !pod.unmark_prepared()? {
        return Err(pod.wrong_state(pod.state()?, "prepared", "run"));
    }
    let store = Store::open(&context.data)?;
    run_pod(store, &pod, &lock, args.runtime.into_options(), context)
}
