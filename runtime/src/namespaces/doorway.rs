//! The process between a pod's parent and its PID 1.

use std::io;

use nix::{
    sched::{CloneFlags, unshare},
    unistd::Pid,
};

use super::{
    channel::{Channel, FromPod},
    id_map::IdMap,
    init, user_namespace,
};
use crate::{
    PodError,
    launch::{Launch, Network},
};

/// Enters the pod's namespaces, makes init, and gives this process's exit code.
pub(super) fn run(channel: &Channel, id_map: &IdMap, launch: &Launch) -> i32 {
    match pass(channel, id_map, launch) {
        Ok(()) => 0,
        Err(error) => {
            // Where the parent is gone as well, there is nobody left to tell.
            let _ = channel.send(&FromPod::Failed((&error).into()));
            1
        }
    }
}

fn pass(channel: &Channel, id_map: &IdMap, launch: &Launch) -> Result<(), PodError> {
    if *id_map != IdMap::Host {
        user_namespace::enter(channel)?;
    }
    let mut namespaces =
        CloneFlags::CLONE_NEWNS | CloneFlags::CLONE_NEWPID | CloneFlags::CLONE_NEWIPC | CloneFlags::CLONE_NEWUTS;
    if launch.network != Network::Host {
        namespaces |= CloneFlags::CLONE_NEWNET;
    }
    unshare(namespaces).map_err(PodError::system("make the pod's namespaces"))?;
    match fork_sibling().map_err(PodError::system("make the pod's PID 1"))? {
        None => user_namespace::exit_with(|| init::run(channel, id_map, launch)),
        Some(init) => channel.send(&FromPod::Init(init.as_raw())),
    }
}

/// Forks a child of this process's parent, which is the first in the new PID namespace. `None` in the child.
fn fork_sibling() -> io::Result<Option<Pid>> {
    // SAFETY: zeros are valid for this struct of numbers: no stack, no place for IDs, the parent's exit signal.
    let mut arguments: libc::clone_args = unsafe { std::mem::zeroed() };
    arguments.flags = u64::from(libc::CLONE_PARENT.unsigned_abs());
    let size = size_of::<libc::clone_args>();
    // SAFETY: without `CLONE_VM` the child has a copy of everything, and this process has one thread, so no lock is
    // held by a thread that the child lacks.
    match unsafe { libc::syscall(libc::SYS_clone3, &raw const arguments, size) } {
        ..0 => Err(io::Error::last_os_error()),
        0 => Ok(None),
        pid => Ok(Some(Pid::from_raw(
            i32::try_from(pid).expect("process IDs are of type `int`"),
        ))),
    }
}
