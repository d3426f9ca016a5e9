//! `dhow-pod prepare`.

use clap::Args;
use dhow_store::Store;

use super::{Context, app_args::PodArgs, print};
use crate::{
    PodError,
    assemble::assemble,
    pod::{PodDirectory, PodLock},
};

/// Make a pod that `run-prepared` runs at once, and print its UUID
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  dhow-pod run-prepared $(dhow-pod prepare sha512-0123456789ab)")]
pub(super) struct PrepareArgs {
    #[command(flatten)]
    pub(super) apps: PodArgs,
}

/// Makes a pod and leaves it prepared.
pub(super) fn prepare(args: PrepareArgs, context: &Context) -> Result<(), PodError> {
    let store = Store::open(&context.data)?;
    let (pod, _lock) = create(args.apps, &store, context)?;
    for app in pod.manifest()?.apps {
        // Rendered now, so that nothing is left to be done when the pod is run.
        store.rootfs(&app.image.id)?;
    }
    pod.mark_prepared()?;
    print(&format!("{}\n", pod.id()))
}

/// Makes a pod's directory, whole but for the mark that it is prepared.
pub(super) fn create(apps: PodArgs, store: &Store, context: &Context) -> Result<(PodDirectory, PodLock), PodError> {
    let manifest = assemble(store, &apps.into_request(), context.console)?;
    let (pod, lock) = context.pods().create()?;
    // Before an image is rendered or mounted: whoever removes images looks for them in the manifests of pods.
    pod.lay_out(&manifest)?;
    Ok((pod, lock))
}
