//! PID 1 of a pod: makes the apps' roots, starts them, reaps whatever ends, forwards signals.

use std::{
    fs::{self, File},
    io,
    os::{
        fd::{AsFd, OwnedFd},
        unix::fs::{PermissionsExt, chown},
    },
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use nix::{
    errno::Errno,
    mount::{MsFlags, mount},
    poll::{PollFd, PollFlags, PollTimeout, poll},
    sched::{CloneFlags, setns},
    sys::{
        prctl,
        signal::{Signal, kill},
        signalfd::SignalFd,
        wait::{WaitPidFlag, WaitStatus, waitpid},
    },
    unistd::{Pid, sethostname, setsid},
};

use super::{
    channel::{Channel, FromPod, ToPod},
    command_line,
    console_pty::ConsolePty,
    device,
    id_map::IdMap,
    loopback,
    mount::{NO_EXECUTION, NO_SET_USER_ID},
    parent::open_signals,
    program, root,
    root::PodMounts,
};
use crate::{
    PodError,
    app_status::AppStatus,
    console::Console,
    launch::{AppLaunch, EmptyVolume, Launch, Network},
};

/// How long the other apps have to end after one has failed.
const STOP_PATIENCE: Duration = Duration::from_secs(10);

/// Runs the pod to its end and gives the exit code of PID 1.
pub(super) fn run(channel: &Channel, id_map: &IdMap, launch: &Launch) -> i32 {
    let result = (|| {
        die_with_parent()?;
        match channel.receive()? {
            Some(ToPod::Go) => {}
            // The parent is gone or gave up, and says why itself.
            _ => return Ok(()),
        }
        let mut init = Init::set_up(channel, id_map, launch)?;
        channel.send(&FromPod::SetUp)?;
        match channel.receive()? {
            Some(ToPod::Start) => init.start_apps()?,
            _ => return Ok(()),
        }
        init.serve()
    })();
    match result {
        Ok(()) => 0,
        Err(error) => {
            let _ = channel.send(&FromPod::Failed((&error).into()));
            1
        }
    }
}

fn die_with_parent() -> Result<(), PodError> {
    // A parent that ended before this call is noticed at the socket, whose other end it held.
    prctl::set_pdeathsig(Signal::SIGKILL).map_err(PodError::system("tie the pod to its parent"))
}

struct Init<'a> {
    channel: &'a Channel,
    allows_groups: bool,
    output: Console,
    signals: SignalFd,
    console: Option<ConsolePty>,
    apps: Vec<RunningApp<'a>>,
    /// When whatever still runs is killed.
    deadline: Option<Instant>,
    /// Set once the pod was told to end: what has not begun does not begin.
    stopping: bool,
}

struct RunningApp<'a> {
    launch: &'a AppLaunch,
    namespace: OwnedFd,
    stage: Stage,
}

/// Where an app is in its life, and the process that this stage waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Waiting,
    PreStart(Pid),
    Main(Pid),
    PostStop(Pid),
    Done,
}

impl<'a> Init<'a> {
    fn set_up(channel: &'a Channel, id_map: &IdMap, launch: &'a Launch) -> Result<Self, PodError> {
        // A process of the pod that has not executed its program yet must not be traced by one that has.
        prctl::set_dumpable(false).map_err(PodError::system("protect the pod's PID 1"))?;
        command_line::replace(c"dhow-init");
        if !launch.interactive {
            // Without a controlling terminal, no app can put input into the terminal of whoever runs the pod.
            setsid().map_err(PodError::system("make a session"))?;
        }
        sethostname(&launch.hostname).map_err(PodError::system(format!("set the host name `{}`", launch.hostname)))?;
        if launch.network != Network::Host {
            loopback::bring_up().map_err(PodError::system("bring up the loopback interface"))?;
        }
        let none = None::<&str>;
        mount(none, "/", none, MsFlags::MS_REC | MsFlags::MS_PRIVATE, none)
            .map_err(PodError::system("make mounts private"))?;
        let in_user_namespace = *id_map != IdMap::Host;
        let console = share(launch).map_err(PodError::system("make what the apps share"))?;
        let device_nodes = if in_user_namespace {
            PathBuf::from("/dev")
        } else {
            launch.shared.join("dev")
        };
        if !in_user_namespace {
            device::make_nodes(&device_nodes).map_err(PodError::system("make the pod's devices"))?;
        }
        for volume in &launch.empty_volumes {
            make_volume(volume).map_err(PodError::file("make the volume", &volume.path))?;
        }
        let console_device = match &console {
            Some(pty) => pty.path().to_owned(),
            None => terminal().ok_or_else(|| PodError::request("`--interactive` needs a terminal"))?,
        };
        let pod = PodMounts {
            shared_memory: launch.shared.join("shm"),
            console_device,
            device_nodes,
            in_user_namespace,
            network: launch.network,
            hostname: launch.hostname.clone(),
            console: launch.console,
        };
        let apps = make_roots(launch, &pod)?;
        root::change_root(&launch.shared).map_err(PodError::system("leave the host's files"))?;
        Ok(Self {
            channel,
            allows_groups: id_map.allows_groups(),
            output: launch.console,
            signals: open_signals()?,
            console,
            apps,
            deadline: None,
            stopping: false,
        })
    }

    fn start_apps(&mut self) -> Result<(), PodError> {
        for index in 0..self.apps.len() {
            let app = &self.apps[index];
            if !self.allows_groups && !app.launch.app.supplementary_gids.is_empty() {
                self.output.warn(&format!(
                    "app `{}` does not get its supplementary groups, which a rootless pod without ranges in \
                     `/etc/subgid` cannot have",
                    app.launch.name
                ));
            }
            match self.spawn_handler(index, "pre-start")? {
                Some(pid) => self.apps[index].stage = Stage::PreStart(pid),
                None => self.start_main(index)?,
            }
        }
        Ok(())
    }

    fn start_main(&mut self, index: usize) -> Result<(), PodError> {
        let app = &self.apps[index];
        let pid = program::spawn(
            app.launch,
            app.namespace.as_fd(),
            &app.launch.app.exec,
            self.allows_groups,
        )?;
        self.apps[index].stage = Stage::Main(pid);
        Ok(())
    }

    fn spawn_handler(&self, index: usize, name: &str) -> Result<Option<Pid>, PodError> {
        let app = &self.apps[index];
        let handler = app
            .launch
            .app
            .event_handlers
            .iter()
            .find(|handler| handler.name == name);
        let Some(handler) = handler.filter(|handler| !handler.exec.is_empty()) else {
            return Ok(None);
        };
        program::spawn(app.launch, app.namespace.as_fd(), &handler.exec, self.allows_groups).map(Some)
    }

    /// Waits for what happens until every app is done.
    fn serve(&mut self) -> Result<(), PodError> {
        // Children may have ended before the first wait.
        self.reap()?;
        while self.apps.iter().any(|app| app.stage != Stage::Done) {
            let parent_is_gone = self.wait()?;
            if parent_is_gone {
                break;
            }
            if self.deadline.is_some_and(|deadline| deadline <= Instant::now()) {
                self.deadline = None;
                self.signal_apps(Signal::SIGKILL);
            }
            while let Ok(Some(info)) = self.signals.read_signal() {
                let signal = i32::try_from(info.ssi_signo)
                    .ok()
                    .and_then(|number| Signal::try_from(number).ok());
                match signal {
                    Some(Signal::SIGCHLD) | None => {}
                    // The terminal sends to every process of its foreground group, and so to the app itself.
                    Some(_) if info.ssi_code == libc::SI_KERNEL => {}
                    Some(signal) => {
                        self.stopping |= matches!(signal, Signal::SIGTERM | Signal::SIGINT);
                        self.signal_apps(signal);
                    }
                }
            }
            self.reap()?;
        }
        if let Some(console) = &mut self.console {
            console.drain();
        }
        Ok(())
    }

    /// Waits until there is something to do; whether the parent is gone.
    fn wait(&mut self) -> Result<bool, PodError> {
        let timeout = self.deadline.map_or(PollTimeout::NONE, |deadline| {
            let left = deadline.saturating_duration_since(Instant::now()) + Duration::from_millis(1);
            PollTimeout::try_from(left).unwrap_or(PollTimeout::MAX)
        });
        let mut sources = vec![
            PollFd::new(self.channel.as_fd(), PollFlags::empty()),
            PollFd::new(self.signals.as_fd(), PollFlags::POLLIN),
        ];
        sources.extend(
            self.console
                .as_ref()
                .map(|console| PollFd::new(console.as_fd(), PollFlags::POLLIN)),
        );
        match poll(&mut sources, timeout) {
            Ok(_) | Err(Errno::EINTR) => {}
            Err(error) => return Err(PodError::system("wait for the pod's processes")(error)),
        }
        let gone = sources[0]
            .revents()
            .is_some_and(|events| events.contains(PollFlags::POLLHUP));
        if let Some(console) = &mut self.console {
            console.drain();
        }
        Ok(gone)
    }

    /// Takes every process that has ended, the apps' own and orphans alike.
    fn reap(&mut self) -> Result<(), PodError> {
        loop {
            let (pid, status) = match waitpid(None, Some(WaitPidFlag::WNOHANG)) {
                Ok(WaitStatus::Exited(pid, code)) => (pid, AppStatus::Code(code)),
                Ok(WaitStatus::Signaled(pid, signal, _)) => (pid, AppStatus::Signal(signal as i32)),
                Ok(WaitStatus::StillAlive) | Err(Errno::ECHILD) => return Ok(()),
                Ok(_) | Err(Errno::EINTR) => continue,
                Err(error) => return Err(PodError::system("reap the pod's processes")(error)),
            };
            for index in 0..self.apps.len() {
                self.advance(index, pid, status)?;
            }
        }
    }

    /// Moves an app to its next stage if it was waiting for `pid`.
    fn advance(&mut self, index: usize, pid: Pid, status: AppStatus) -> Result<(), PodError> {
        match self.apps[index].stage {
            Stage::PreStart(waiting) if waiting == pid => {
                if self.stopping {
                    let status = if status.is_success() {
                        AppStatus::Signal(Signal::SIGTERM as i32)
                    } else {
                        status
                    };
                    return self.end(index, status);
                }
                if !status.is_success() {
                    return Err(PodError::Start {
                        app: self.apps[index].launch.name.to_string(),
                        problem: format!("its `pre-start` handler ended with code {}", status.code()),
                        hint: None,
                    });
                }
                self.start_main(index)
            }
            Stage::Main(waiting) if waiting == pid => self.end(index, status),
            Stage::PostStop(waiting) if waiting == pid => {
                self.apps[index].stage = Stage::Done;
                Ok(())
            }
            _ => Ok(()),
        }
    }

    /// An app has ended. Where it failed, so has the pod, and the others are stopped.
    fn end(&mut self, index: usize, status: AppStatus) -> Result<(), PodError> {
        self.channel.send(&FromPod::Ended(index, status))?;
        self.apps[index].stage = match self.spawn_handler(index, "post-stop") {
            Ok(Some(pid)) => Stage::PostStop(pid),
            Ok(None) => Stage::Done,
            Err(error) => {
                let app = &self.apps[index].launch.name;
                self.output.warn(&format!(
                    "the `post-stop` handler of app `{app}` was not started: {error}"
                ));
                Stage::Done
            }
        };
        if !status.is_success() && self.deadline.is_none() && self.apps.len() > 1 {
            self.stopping = true;
            self.signal_apps(Signal::SIGTERM);
            self.deadline = Some(Instant::now() + STOP_PATIENCE);
        }
        Ok(())
    }

    fn signal_apps(&self, signal: Signal) {
        for app in &self.apps {
            match app.stage {
                // One that has just ended is waited for in a moment.
                Stage::PreStart(pid) | Stage::Main(pid) => drop(kill(pid, signal)),
                Stage::PostStop(pid) if signal == Signal::SIGKILL => drop(kill(pid, signal)),
                Stage::Waiting | Stage::PostStop(_) | Stage::Done => {}
            }
        }
    }
}

/// Makes each app's mount namespace from this one, and comes back.
fn make_roots<'a>(launch: &'a Launch, pod: &PodMounts) -> Result<Vec<RunningApp<'a>>, PodError> {
    let own = "/proc/self/ns/mnt";
    let here = File::open(own).map_err(PodError::file("open", own))?;
    let mut apps = Vec::new();
    for app in &launch.apps {
        let namespace = root::build(app, pod)?;
        apps.push(RunningApp {
            launch: app,
            namespace,
            stage: Stage::Waiting,
        });
        setns(&here, CloneFlags::CLONE_NEWNS).map_err(PodError::system("leave a mount namespace"))?;
    }
    Ok(apps)
}

/// What the apps have in common, on a file system that becomes PID 1's root: shared memory, as they share IPC, and the
/// console where the pod has no terminal.
fn share(launch: &Launch) -> io::Result<Option<ConsolePty>> {
    let shared = &launch.shared;
    mount(
        Some("tmpfs"),
        shared,
        Some("tmpfs"),
        MsFlags::MS_NOSUID,
        Some("mode=0755,size=64k"),
    )?;
    let memory = shared.join("shm");
    fs::create_dir(&memory)?;
    let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC;
    mount(Some("shm"), &memory, Some("tmpfs"), flags, Some("mode=1777,size=64m"))?;
    if launch.interactive {
        return Ok(None);
    }
    let terminals = shared.join("pts");
    fs::create_dir(&terminals)?;
    device::new_terminals(NO_SET_USER_ID | NO_EXECUTION)?.attach(&terminals)?;
    ConsolePty::new(&terminals).map(Some)
}

fn make_volume(volume: &EmptyVolume) -> io::Result<()> {
    // A pod that is run once only may still have been set up halfway before.
    fs::create_dir_all(&volume.path)?;
    chown(&volume.path, Some(volume.uid), Some(volume.gid))?;
    fs::set_permissions(&volume.path, fs::Permissions::from_mode(volume.mode))
}

/// The terminal that is one of the standard streams.
fn terminal() -> Option<PathBuf> {
    let streams = ["/proc/self/fd/0", "/proc/self/fd/1", "/proc/self/fd/2"].map(Path::new);
    let paths = streams.into_iter().filter_map(|stream| fs::read_link(stream).ok());
    paths
        .into_iter()
        .find(|path| path.starts_with("/dev/pts") || path.starts_with("/dev/tty"))
}
