//! Executing a program of an app (appc spec, aci.md, "exec"; ace.md, "Execution Environment").

use std::{
    collections::BTreeSet,
    convert::Infallible,
    env,
    ffi::CString,
    fs::File,
    io::{self, Read, Write},
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    path::Path,
};

use caps::CapSet;
use nix::{
    errno::Errno,
    fcntl::OFlag,
    sched::{CloneFlags, setns},
    sys::{
        prctl,
        signal::{SaFlags, SigAction, SigHandler, SigSet, Signal, sigaction},
        stat::{Mode, umask},
        statfs::{FsType, fstatfs},
        wait::waitpid,
    },
    unistd::{
        ForkResult, Gid, Pid, Uid, chdir, dup2_stdin, execve, fchown, fork, pipe2, setgroups, setresgid, setresuid,
    },
};

use super::{channel::Failure, user_namespace::exit_with};
use crate::{PodError, capabilities::Privileges, environment, identity::Identity, launch::AppLaunch};

const PIPE_FILE_SYSTEM: FsType = FsType(0x5049_5045);

/// Executes `argv` as the app's user in the app's mount namespace, and returns once it is executing.
pub(super) fn spawn(
    app: &AppLaunch,
    namespace: BorrowedFd<'_>,
    argv: &[String],
    allows_groups: bool,
) -> Result<Pid, PodError> {
    let (reader, writer) = pipe2(OFlag::O_CLOEXEC).map_err(PodError::system("make a pipe"))?;
    // SAFETY: init has one thread, so the child may do whatever init may; it ends in `exit_with` or another program.
    match unsafe { fork() }.map_err(PodError::system("fork"))? {
        ForkResult::Child => exit_with(|| {
            let error = match execute(app, namespace, argv, allows_groups) {
                Ok(never) => match never {},
                Err(error) => Failure::from(&error),
            };
            let _ = File::from(writer).write_all(&serde_json::to_vec(&error).unwrap_or_default());
            1
        }),
        ForkResult::Parent { child } => {
            drop(writer);
            // The pipe is closed without a word by a successful `execve`.
            match read_failure(reader) {
                None => Ok(child),
                Some(failure) => {
                    let _ = waitpid(child, None);
                    Err(failure.into())
                }
            }
        }
    }
}

fn read_failure(pipe: OwnedFd) -> Option<Failure> {
    let mut bytes = Vec::new();
    File::from(pipe).read_to_end(&mut bytes).ok()?;
    serde_json::from_slice(&bytes).ok()
}

fn execute(
    app: &AppLaunch,
    namespace: BorrowedFd<'_>,
    argv: &[String],
    allows_groups: bool,
) -> Result<Infallible, PodError> {
    setns(namespace, CloneFlags::CLONE_NEWNS).map_err(PodError::system("enter a mount namespace"))?;
    let identity = Identity::resolve(app.name.as_str(), &app.app)?;
    set_up_stdio(app, &identity)?;
    umask(Mode::from_bits_truncate(0o022));
    let directory = if app.app.working_directory.is_empty() {
        "/"
    } else {
        &app.app.working_directory
    };
    chdir(directory).map_err(PodError::system(format!(
        "enter the working directory `{directory}` of app `{}`",
        app.name
    )))?;
    drop_privileges(app, &identity, allows_groups)?;
    reset_signals()?;
    // SAFETY: the call closes nothing now; what it marks is closed by `execve`, after which nobody uses it.
    unsafe { libc::syscall(libc::SYS_close_range, 3, libc::c_uint::MAX, libc::CLOSE_RANGE_CLOEXEC) };
    let variables = environment::variables(&app.name, &app.app, &identity, app.term.as_deref());
    execute_from_path(app, argv, &variables)
}

/// The app can open its own standard streams again through `/dev/stdout` and its like, whoever it runs as.
fn set_up_stdio(app: &AppLaunch, identity: &Identity) -> Result<(), PodError> {
    if !app.has_stdin {
        let null = File::open("/dev/null").map_err(PodError::file("open", "/dev/null"))?;
        dup2_stdin(null).map_err(PodError::system("replace stdin"))?;
    }
    let streams: [&dyn AsFd; 3] = [&io::stdin(), &io::stdout(), &io::stderr()];
    for stream in streams {
        if fstatfs(stream.as_fd()).is_ok_and(|status| status.filesystem_type() == PIPE_FILE_SYSTEM) {
            // A pipe of an owner outside of the user namespace stays as it is.
            let _ = fchown(stream.as_fd(), Some(Uid::from_raw(identity.uid)), None);
        }
    }
    Ok(())
}

fn drop_privileges(app: &AppLaunch, identity: &Identity, allows_groups: bool) -> Result<(), PodError> {
    let fail = |problem: String| PodError::Start {
        app: app.name.to_string(),
        problem,
        hint: (!allows_groups).then(|| {
            "without ranges in `/etc/subuid` and `/etc/subgid` a rootless pod has one user and group: \
             `--user 0 --group 0`"
                .to_owned()
        }),
    };
    // The session keyring of whoever runs the pod is none of the app's business. Kernels may have no keyrings.
    // SAFETY: the call takes a number and no name.
    unsafe {
        libc::syscall(
            libc::SYS_keyctl,
            libc::KEYCTL_JOIN_SESSION_KEYRING,
            std::ptr::null::<libc::c_char>(),
        )
    };
    let Privileges {
        bounding,
        no_new_privileges,
    } = &app.privileges;
    drop_bounding(bounding).map_err(PodError::system("drop capabilities"))?;
    for set in [CapSet::Ambient, CapSet::Inheritable] {
        caps::clear(None, set).map_err(|error| fail(format!("its capabilities could not be cleared ({error})")))?;
    }
    if allows_groups {
        let groups: Vec<Gid> = identity.supplementary.iter().copied().map(Gid::from_raw).collect();
        setgroups(&groups).map_err(|error| fail(format!("its supplementary groups could not be set ({error})")))?;
    }
    let gid = Gid::from_raw(identity.gid);
    setresgid(gid, gid, gid).map_err(|error| fail(format!("it cannot run as group {gid} ({})", error.desc())))?;
    let uid = Uid::from_raw(identity.uid);
    setresuid(uid, uid, uid).map_err(|error| fail(format!("it cannot run as user {uid} ({})", error.desc())))?;
    if *no_new_privileges {
        prctl::set_no_new_privs().map_err(PodError::system("forbid new privileges"))?;
    }
    Ok(())
}

/// Root gets at `execve` what is in the bounding set, and others get nothing: so this set is the app's whole power.
fn drop_bounding(keep: &BTreeSet<u8>) -> io::Result<()> {
    for number in (0..64).filter(|number| !keep.contains(number)) {
        // SAFETY: the call takes numbers only.
        if unsafe { libc::prctl(libc::PR_CAPBSET_DROP, libc::c_ulong::from(number), 0, 0, 0) } < 0 {
            match Errno::last() {
                // The kernel has no capability of this number.
                Errno::EINVAL => break,
                error => return Err(error.into()),
            }
        }
    }
    Ok(())
}

fn reset_signals() -> Result<(), PodError> {
    let default = SigAction::new(SigHandler::SigDfl, SaFlags::empty(), SigSet::empty());
    // SAFETY: the default disposition runs none of our code.
    unsafe { sigaction(Signal::SIGPIPE, &default) }.map_err(PodError::system("reset signals"))?;
    SigSet::empty()
        .thread_set_mask()
        .map_err(PodError::system("reset signals"))
}

/// Executes `argv`, looked for as a shell does where its first word has no slash.
fn execute_from_path(app: &AppLaunch, argv: &[String], variables: &[(String, String)]) -> Result<Infallible, PodError> {
    let fail = |problem: String| PodError::Start {
        app: app.name.to_string(),
        problem,
        hint: None,
    };
    let c_string = |text: String| {
        CString::new(text.into_bytes()).map_err(|error| {
            let text = String::from_utf8_lossy(&error.into_vec()).replace('\0', "\\0");
            fail(format!("`{text}` contains a NUL byte"))
        })
    };
    let program = argv.first().map_or("", String::as_str);
    let arguments: Vec<CString> = argv.iter().cloned().map(c_string).collect::<Result<_, _>>()?;
    let pairs = variables
        .iter()
        .map(|(name, value)| c_string(format!("{name}={value}")));
    let environment: Vec<CString> = pairs.collect::<Result<_, _>>()?;
    let path = variables
        .iter()
        .find(|(name, _)| name == "PATH")
        .map_or("", |(_, path)| path);
    let candidates = if program.contains('/') {
        vec![program.to_owned()]
    } else {
        env::split_paths(path)
            .map(|directory| directory.join(program).display().to_string())
            .collect()
    };
    let mut refusal = None;
    for candidate in candidates {
        match execve(&c_string(candidate.clone())?, &arguments, &environment) {
            Ok(never) => match never {},
            Err(Errno::ENOENT | Errno::ENOTDIR) if !Path::new(&candidate).exists() => {}
            Err(Errno::ENOENT) => {
                return Err(fail(format!(
                    "the interpreter or dynamic linker that `{candidate}` names is not in the image"
                )));
            }
            Err(error) => {
                refusal.get_or_insert((candidate, error));
            }
        }
    }
    Err(match refusal {
        Some((candidate, error)) => PodError::file("execute", candidate)(error.into()),
        None if program.contains('/') => fail(format!("`{program}` is not in the image")),
        None => fail(format!("`{program}` is not in the image (`PATH` is `{path}`)")),
    })
}
