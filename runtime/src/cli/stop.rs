//! `dhow-pod stop`.

use std::{
    io,
    os::fd::{AsRawFd, FromRawFd, OwnedFd},
    thread,
    time::{Duration, Instant},
};

use clap::Args;
use nix::{sys::signal::Signal, unistd::Pid};

use super::{Context, print};
use crate::{
    PodError,
    ages::parse_duration,
    pod::{PodDirectory, PodState},
};

/// Stop pods: ask their apps to end, and kill what has not ended in time
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  dhow-pod stop --timeout 30s 66ceb509")]
pub(super) struct StopArgs {
    /// The pods' UUIDs or their beginnings
    #[arg(value_name = "UUID", required = true)]
    uuids: Vec<String>,
    /// How long apps have to end
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = parse_duration)]
    timeout: Duration,
    /// Kill at once
    #[arg(long)]
    force: bool,
}

/// Stops each pod in turn and prints its UUID.
pub(super) fn stop(args: &StopArgs, context: &Context) -> Result<(), PodError> {
    let pods: Vec<_> = args
        .uuids
        .iter()
        .map(|uuid| context.pods().find(uuid))
        .collect::<Result<_, _>>()?;
    for pod in pods {
        stop_one(&pod, args)?;
        print(&format!("{}\n", pod.id()))?;
    }
    Ok(())
}

fn stop_one(pod: &PodDirectory, args: &StopArgs) -> Result<(), PodError> {
    let pid = pod.pid();
    let init = pid
        .map(Process::open)
        .transpose()
        .map_err(PodError::system("find the pod's PID 1"));
    // Asked after the process was opened: while the pod runs, the number is its PID 1's and no later process's.
    let state = pod.state()?;
    let Some(init) = init?.flatten().filter(|_| state == PodState::Running) else {
        return Err(pod.wrong_state(state, "running", "stopped"));
    };
    if !args.force {
        init.signal(Signal::SIGTERM).map_err(PodError::system("stop the pod"))?;
        if has_ended_within(pod, args.timeout)? {
            return Ok(());
        }
    }
    init.signal(Signal::SIGKILL).map_err(PodError::system("kill the pod"))?;
    if has_ended_within(pod, Duration::from_secs(10))? {
        return Ok(());
    }
    Err(PodError::request(format!(
        "pod `{}` has not ended though it was killed",
        pod.id()
    )))
}

fn has_ended_within(pod: &PodDirectory, time: Duration) -> Result<bool, PodError> {
    let begin = Instant::now();
    while pod.state()? == PodState::Running {
        if begin.elapsed() >= time {
            return Ok(false);
        }
        thread::sleep(Duration::from_millis(10));
    }
    Ok(true)
}

/// A process, and no other that gets its number later (pidfd_open(2)).
struct Process(OwnedFd);

impl Process {
    /// The process `pid`, unless there is none.
    fn open(pid: Pid) -> io::Result<Option<Self>> {
        // SAFETY: the call takes numbers only.
        let descriptor = unsafe { libc::syscall(libc::SYS_pidfd_open, pid.as_raw(), 0) };
        match i32::try_from(descriptor) {
            // SAFETY: the call that returned the number opened the descriptor, and nobody else has it.
            Ok(number @ 0..) => Ok(Some(Self(unsafe { OwnedFd::from_raw_fd(number) }))),
            _ => match io::Error::last_os_error() {
                error if error.raw_os_error() == Some(libc::ESRCH) => Ok(None),
                error => Err(error),
            },
        }
    }

    fn signal(&self, signal: Signal) -> io::Result<()> {
        let (process, nothing) = (self.0.as_raw_fd(), std::ptr::null::<libc::siginfo_t>());
        // SAFETY: without information the call takes numbers only.
        if unsafe { libc::syscall(libc::SYS_pidfd_send_signal, process, signal as i32, nothing, 0) } == 0 {
            return Ok(());
        }
        match io::Error::last_os_error() {
            error if error.raw_os_error() == Some(libc::ESRCH) => Ok(()),
            error => Err(error),
        }
    }
}
