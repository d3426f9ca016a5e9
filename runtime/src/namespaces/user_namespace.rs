//! Entering a user namespace whose maps the parent writes.

use std::{io, panic};

use nix::{
    sched::{CloneFlags, unshare},
    sys::wait::{WaitStatus, waitpid},
    unistd::{ForkResult, fork},
};

use super::{
    channel::{Channel, FromPod, ToPod},
    id_map::IdMap,
};
use crate::PodError;

/// Makes a user namespace for this process, and waits until the parent has written its maps.
pub(super) fn enter(channel: &Channel) -> Result<(), PodError> {
    unshare(CloneFlags::CLONE_NEWUSER).map_err(|error| PodError::Inside {
        text: "could not make a user namespace, which pods of ordinary users need".to_owned(),
        source: Some(Box::new(PodError::system("unshare")(error))),
        hint: Some(
            "`sysctl user.max_user_namespaces kernel.apparmor_restrict_unprivileged_userns` shows what forbids it"
                .to_owned(),
        ),
    })?;
    channel.send(&FromPod::NeedsMaps)?;
    match channel.receive()? {
        Some(ToPod::Mapped) => Ok(()),
        _ => Err(PodError::request("the parent gave up before it mapped user IDs")),
    }
}

/// Does `work` in another process that is root of a user namespace with this map.
pub(super) fn run_in(id_map: &IdMap, work: impl Fn() -> io::Result<()>) -> Result<io::Result<()>, PodError> {
    let (ours, theirs) = Channel::pair()?;
    // SAFETY: this process has one thread, so the child may do whatever this process may; it ends in `exit_with`.
    match unsafe { fork() }.map_err(PodError::system("fork"))? {
        ForkResult::Child => {
            drop(ours);
            exit_with(|| match enter(&theirs) {
                Ok(()) => work().map_or_else(|error| error.raw_os_error().unwrap_or(libc::EIO), |()| 0),
                Err(error) => {
                    let _ = theirs.send(&FromPod::Failed((&error).into()));
                    libc::EIO
                }
            })
        }
        ForkResult::Parent { child } => {
            drop(theirs);
            let mapped = match ours.receive()? {
                Some(FromPod::NeedsMaps) => id_map.write(child).and_then(|()| ours.send(&ToPod::Mapped)),
                Some(FromPod::Failed(failure)) => Err(failure.into()),
                _ => Err(PodError::request(
                    "a process in a new user namespace ended unexpectedly",
                )),
            };
            drop(ours);
            let status = waitpid(child, None).map_err(PodError::system("wait for a process"))?;
            mapped?;
            Ok(match status {
                WaitStatus::Exited(_, 0) => Ok(()),
                WaitStatus::Exited(_, errno) => Err(io::Error::from_raw_os_error(errno)),
                _ => Err(io::Error::other("the process that did it was killed")),
            })
        }
    }
}

/// Ends a forked process with the code that `work` gives, without running what the parent process set up to be run at
/// its own end. A panic must not unwind into the parent's code.
pub(super) fn exit_with(work: impl FnOnce() -> i32) -> ! {
    let code = panic::catch_unwind(panic::AssertUnwindSafe(work)).unwrap_or(1);
    // SAFETY: `_exit` ends the process at once and touches no memory.
    unsafe { libc::_exit(code) }
}
