//! The parent of a pod.

use dhow_image::AcName;
use nix::{
    errno::Errno,
    poll::{PollFd, PollFlags, PollTimeout, poll},
    sys::{
        signal::{SigSet, Signal, kill},
        signalfd::{SfdFlags, SignalFd},
        wait::waitpid,
    },
    unistd::{ForkResult, Pid, fork},
};
use std::os::fd::AsFd;

use super::{
    channel::{Channel, FromPod, ToPod},
    doorway,
    id_map::IdMap,
    user_namespace::exit_with,
};
use crate::{PodError, app_status::AppStatus, launch::Launch, pod::PodDirectory};

/// Runs the pod and waits for its end.
pub(super) fn run(id_map: &IdMap, pod: &PodDirectory, launch: &Launch) -> Result<Vec<(AcName, AppStatus)>, PodError> {
    let (ours, theirs) = Channel::pair()?;
    // Blocked before anything is forked, so that every process of the pod begins with these signals blocked.
    let signals = open_signals()?;
    // SAFETY: this process has one thread, so the child may do whatever this process may; it ends in `exit_with`.
    let doorway = match unsafe { fork() }.map_err(PodError::system("fork"))? {
        ForkResult::Child => {
            drop(ours);
            exit_with(|| doorway::run(&theirs, id_map, launch))
        }
        ForkResult::Parent { child } => child,
    };
    drop(theirs);
    let passed = await_init(&ours, id_map, doorway);
    waitpid(doorway, None).map_err(PodError::system("wait for a process"))?;
    let init = passed?;

    let mut run = Run {
        launch,
        pod,
        ends: Vec::new(),
        failure: None,
        started: false,
    };
    let followed = pod
        .mark_pid(init)
        .and_then(|()| ours.send(&ToPod::Go))
        .and_then(|()| run.follow(&ours, &signals, init));
    // Whatever happened, nothing of the pod stays behind: PID 1 sees the socket close, and takes all with it.
    drop(ours);
    waitpid(init, None).map_err(PodError::system("wait for the pod's PID 1"))?;
    followed?;
    run.finish()
}

/// The signals that whoever runs a pod may send to its parent and that its apps get.
pub(super) fn forwarded_signals() -> SigSet {
    [
        Signal::SIGHUP,
        Signal::SIGINT,
        Signal::SIGQUIT,
        Signal::SIGTERM,
        Signal::SIGUSR1,
        Signal::SIGUSR2,
    ]
    .into_iter()
    .collect()
}

/// Blocks the signals that are forwarded, and the children's, to be read.
pub(super) fn open_signals() -> Result<SignalFd, PodError> {
    let mut signals = forwarded_signals();
    signals.add(Signal::SIGCHLD);
    let open = || {
        signals.thread_block()?;
        SignalFd::with_flags(&signals, SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK)
    };
    open().map_err(PodError::system("receive signals"))
}

/// Sees the doorway through until the pod has its PID 1.
fn await_init(channel: &Channel, id_map: &IdMap, doorway: Pid) -> Result<Pid, PodError> {
    loop {
        match channel.receive()? {
            Some(FromPod::NeedsMaps) => {
                if let Err(error) = id_map.write(doorway) {
                    // The doorway waits for its maps, and nobody else would end it.
                    let _ = kill(doorway, Signal::SIGKILL);
                    return Err(error);
                }
                channel.send(&ToPod::Mapped)?;
            }
            Some(FromPod::Init(pid)) => return Ok(Pid::from_raw(pid)),
            Some(FromPod::Failed(failure)) => return Err(failure.into()),
            _ => return Err(PodError::request("the pod ended before it began")),
        }
    }
}

struct Run<'a> {
    launch: &'a Launch,
    pod: &'a PodDirectory,
    /// How each app ended, by its number, in the order of their ends.
    ends: Vec<(usize, AppStatus)>,
    failure: Option<PodError>,
    started: bool,
}

impl Run<'_> {
    /// Records what init tells and forwards signals, until init is gone.
    fn follow(&mut self, channel: &Channel, signals: &SignalFd, init: Pid) -> Result<(), PodError> {
        loop {
            let mut sources = [
                PollFd::new(channel.as_fd(), PollFlags::POLLIN),
                PollFd::new(signals.as_fd(), PollFlags::POLLIN),
            ];
            match poll(&mut sources, PollTimeout::NONE) {
                Ok(_) | Err(Errno::EINTR) => {}
                Err(error) => return Err(PodError::system("wait for the pod")(error)),
            }
            while let Ok(Some(info)) = signals.read_signal() {
                self.forward(info.ssi_signo, info.ssi_code, init);
            }
            if sources[0].any().unwrap_or(false) {
                match channel.receive()? {
                    None => return Ok(()),
                    Some(message) => self.record(message, channel)?,
                }
            }
        }
    }

    fn forward(&self, number: u32, code: i32, init: Pid) {
        let Some(signal) = i32::try_from(number)
            .ok()
            .and_then(|number| Signal::try_from(number).ok())
        else {
            return;
        };
        // An interactive app is in the terminal's foreground group with us, and has had the terminal's signal.
        let app_has_it = self.launch.interactive && code == libc::SI_KERNEL;
        if forwarded_signals().contains(signal) && !app_has_it {
            // Init is our child and not waited for yet, so the number is still its.
            let _ = kill(init, signal);
        }
    }

    fn record(&mut self, message: FromPod, channel: &Channel) -> Result<(), PodError> {
        match message {
            FromPod::SetUp => {
                self.started = true;
                self.pod.mark_started()?;
                channel.send(&ToPod::Start)
            }
            FromPod::Ended(index, status) => {
                let app = self
                    .launch
                    .apps
                    .get(index)
                    .ok_or_else(|| PodError::request("the pod has no such app"))?;
                self.ends.push((index, status));
                self.pod.record_exit(&app.name, status)
            }
            FromPod::Failed(failure) => {
                self.failure = Some(failure.into());
                Ok(())
            }
            FromPod::NeedsMaps | FromPod::Init(_) => Err(PodError::request("the pod's PID 1 is confused")),
        }
    }

    fn finish(self) -> Result<Vec<(AcName, AppStatus)>, PodError> {
        if let Some(failure) = self.failure {
            return Err(failure);
        }
        if !self.started {
            return Err(PodError::request("the pod was killed before its apps started"));
        }
        let mut ends = self.ends;
        for (index, app) in self.launch.apps.iter().enumerate() {
            if ends.iter().all(|(ended, _)| *ended != index) {
                // PID 1 was killed, and with it the app.
                let status = AppStatus::Signal(libc::SIGKILL);
                self.pod.record_exit(&app.name, status)?;
                ends.push((index, status));
            }
        }
        let apps = &self.launch.apps;
        Ok(ends
            .into_iter()
            .map(|(index, status)| (apps[index].name.clone(), status))
            .collect())
    }
}
