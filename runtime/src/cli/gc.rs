//! `dhow-pod gc`.

use std::time::{Duration, SystemTime};

use chrono::Utc;
use clap::Args;

use super::{Context, rm};
use crate::{
    PodError,
    ages::parse_duration,
    isolation::{Isolator, default_isolator},
    pod::{PodDirectory, PodState},
};

/// Collect pods that have ended: mark them, and remove those that were marked long ago
///
/// To be run now and then. A pod that has ended is marked, and stays to be looked at for the grace period after that.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  dhow-pod gc --grace-period 1h")]
pub(super) struct GcArgs {
    /// How long a marked pod stays
    #[arg(long, value_name = "TIME", default_value = "30m", value_parser = parse_duration)]
    grace_period: Duration,
    /// How long a pod that was prepared and never run stays
    #[arg(long, value_name = "TIME", default_value = "24h", value_parser = parse_duration)]
    expire_prepared: Duration,
    /// Mark and remove nothing
    #[arg(long)]
    mark_only: bool,
}

/// Marks what has ended and removes what was marked long ago; the pods that could not be removed do not hide the rest.
pub(super) fn gc(args: &GcArgs, context: &Context) -> Result<(), PodError> {
    let mut first_error = None;
    for pod in context.pods().all()? {
        if let Err(error) = collect(&pod, args, context) {
            first_error.get_or_insert(error);
        }
    }
    for embryo in context.pods().stale_embryos(args.grace_period)? {
        if !args.mark_only
            && let Err(error) = default_isolator().remove(&embryo)
        {
            first_error.get_or_insert(error);
        }
    }
    first_error.map_or(Ok(()), Err)
}

fn collect(pod: &PodDirectory, args: &GcArgs, context: &Context) -> Result<(), PodError> {
    let remove = |pod: &PodDirectory| {
        if args.mark_only {
            return Ok(());
        }
        context.console.note(&format!("removing pod {}", pod.id()));
        rm::remove(pod)
    };
    match pod.state()? {
        PodState::Exited => {
            context.console.note(&format!("marking pod {}", pod.id()));
            pod.mark_garbage()?;
            if is_past(pod, args.grace_period) {
                remove(pod)
            } else {
                Ok(())
            }
        }
        PodState::Garbage if is_past(pod, args.grace_period) => remove(pod),
        PodState::Prepared if is_older(pod, args.expire_prepared) => remove(pod),
        PodState::Aborted => remove(pod),
        _ => Ok(()),
    }
}

fn is_past(pod: &PodDirectory, grace: Duration) -> bool {
    // A clock that was set back makes a mark of the future, which stays until its time.
    pod.marked()
        .is_some_and(|marked| SystemTime::now().duration_since(marked).is_ok_and(|age| age >= grace))
}

fn is_older(pod: &PodDirectory, limit: Duration) -> bool {
    pod.created()
        .is_ok_and(|created| (Utc::now() - created).to_std().is_ok_and(|age| age >= limit))
}
