//! `dhow-pod rm`.

use clap::Args;

use super::Context;
use crate::{
    PodError,
    isolation::{Isolator, default_isolator},
    pod::{PodDirectory, PodState},
};

/// Remove pods that do not run, with what their apps wrote
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  dhow-pod rm 66ceb509 c9fad0e6")]
pub(super) struct RmArgs {
    /// The pods' UUIDs or their beginnings
    #[arg(value_name = "UUID", required = true)]
    uuids: Vec<String>,
}

/// Removes pods: all that are named must exist before the first is removed.
pub(super) fn rm(args: &RmArgs, context: &Context) -> Result<(), PodError> {
    let pods: Vec<_> = args
        .uuids
        .iter()
        .map(|uuid| context.pods().find(uuid))
        .collect::<Result<_, _>>()?;
    pods.iter().try_for_each(remove)
}

/// Removes a pod that nobody prepares, runs or removes.
pub(super) fn remove(pod: &PodDirectory) -> Result<(), PodError> {
    let state = pod.state()?;
    if matches!(state, PodState::Running | PodState::Preparing) {
        return Err(PodError::Request {
            problem: format!("pod `{}` is {state} and cannot be removed", pod.id()),
            hint: Some(format!("`dhow-pod stop {}` ends it", pod.id().short())),
        });
    }
    let _lock = pod.lock("exited", "removed")?;
    // Whatever is left where the removal is cut short is garbage, and `gc` ends it.
    pod.mark_garbage()?;
    default_isolator().remove(pod.path())
}
