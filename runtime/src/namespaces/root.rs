//! The root file system of one app, in a mount namespace of its own (appc spec, ace.md, "Filesystem Setup").

use std::{
    fs::{self, File},
    io::{self, Write},
    os::fd::{AsFd, OwnedFd},
    path::{Path, PathBuf},
};

use nix::{
    errno::Errno,
    fcntl::{AT_FDCWD, OFlag, OpenHow, ResolveFlag, openat2},
    mount::{MntFlags, umount2},
    sched::{CloneFlags, unshare},
    unistd::{chdir, pivot_root},
};

use super::{
    device::Devices,
    mount::{DetachedMount, NO_DEVICES, NO_EXECUTION, NO_SET_USER_ID, READ_ONLY, make_root_read_only},
};
use crate::{
    PodError,
    console::Console,
    launch::{AppLaunch, Bind, Network},
};

/// What no app is to see of the kernel, though `/proc` and `/sys` show it.
const MASKED: [&str; 12] = [
    "/proc/acpi",
    "/proc/asound",
    "/proc/interrupts",
    "/proc/kcore",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/sched_debug",
    "/proc/scsi",
    "/proc/timer_list",
    "/proc/timer_stats",
    "/sys/devices/virtual/powercap",
    "/sys/firmware",
];
/// What no app is to change of the kernel, which knows no namespaces there.
const READ_ONLY_PATHS: [&str; 5] = ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"];

/// What the apps of a pod have in common.
pub(super) struct PodMounts {
    pub(super) shared_memory: PathBuf,
    pub(super) console_device: PathBuf,
    pub(super) device_nodes: PathBuf,
    pub(super) in_user_namespace: bool,
    pub(super) network: Network,
    pub(super) hostname: String,
    pub(super) console: Console,
}

/// Moves this process into a new mount namespace that holds the app's root file system and nothing of the host's, and
/// gives that namespace.
pub(super) fn build(app: &AppLaunch, pod: &PodMounts) -> Result<OwnedFd, PodError> {
    let step = |what: &str| PodError::system::<io::Error>(format!("{what} of app `{}`", app.name));
    unshare(CloneFlags::CLONE_NEWNS).map_err(PodError::system("make a mount namespace"))?;
    let mounted = app.rootfs.mount(&app.target, Some(&app.upper), Some(&app.work));
    mounted.map_err(step("mount the root file system"))?;

    // All that is made of what the host has is made before the host is out of sight.
    let attributes = NO_SET_USER_ID | NO_DEVICES | NO_EXECUTION;
    let proc = DetachedMount::new(c"proc", &[], attributes).map_err(step("mount `/proc`"))?;
    let sys = sys(pod, attributes | READ_ONLY).map_err(step("mount `/sys`"))?;
    let devices = Devices::new(&pod.shared_memory, &pod.console_device, &pod.device_nodes);
    let devices = devices.map_err(step("make `/dev`"))?;
    let volumes = app
        .binds
        .iter()
        .map(|bind| open_source(bind).map(|mount| (bind, mount)));
    let volumes: Vec<_> = volumes.collect::<Result<_, _>>()?;
    let name_servers = (pod.network == Network::Host)
        .then(|| fs::read("/etc/resolv.conf").ok())
        .flatten();

    change_root(&app.target).map_err(step("change to the root file system"))?;

    attach_directory(&proc, "/proc").map_err(step("mount `/proc`"))?;
    attach_directory(&sys, "/sys").map_err(step("mount `/sys`"))?;
    devices.attach().map_err(step("make `/dev`"))?;
    // Before the volumes: what these hold is the user's.
    provide("/etc/hosts", hosts(&pod.hostname).as_bytes()).map_err(step("make `/etc/hosts`"))?;
    if let Some(name_servers) = name_servers {
        provide("/etc/resolv.conf", &name_servers).map_err(step("make `/etc/resolv.conf`"))?;
    }
    for (bind, volume) in &volumes {
        let target = Path::new(&bind.target);
        let attach = make_target(target, volume.is_directory, &app.name.to_string(), pod.console);
        attach
            .and_then(|()| volume.mount.attach(target))
            .map_err(step(&format!("mount a volume at `{}`", bind.target)))?;
    }
    restrict_kernel().map_err(step("restrict `/proc` and `/sys`"))?;
    if app.read_only_root {
        make_root_read_only().map_err(step("make the root file system read-only"))?;
    }
    let namespace = File::open("/proc/self/ns/mnt").map_err(PodError::file("open", "/proc/self/ns/mnt"))?;
    Ok(namespace.into())
}

/// Makes the mount at `target` the root of this process's mount namespace, and lets go of the old one.
pub(super) fn change_root(target: &Path) -> io::Result<()> {
    chdir(target)?;
    // The old root is stacked onto the new one, and taken off again.
    pivot_root(".", ".")?;
    umount2(".", MntFlags::MNT_DETACH)?;
    Ok(chdir("/")?)
}

struct Source {
    mount: DetachedMount,
    is_directory: bool,
}

/// A volume's source. One of the host's is reached through no symbolic link, wherever that might lead (ace.md, "Volume
/// Setup").
fn open_source(bind: &Bind) -> Result<Source, PodError> {
    let resolve = if bind.from_host {
        ResolveFlag::RESOLVE_NO_SYMLINKS
    } else {
        ResolveFlag::empty()
    };
    let how = OpenHow::new().flags(OFlag::O_PATH | OFlag::O_CLOEXEC).resolve(resolve);
    let source = openat2(AT_FDCWD, &bind.source, how).map_err(|error| match error {
        Errno::ELOOP => PodError::Request {
            problem: format!(
                "the volume's source `{}` is or goes through a symbolic link",
                bind.source.display()
            ),
            hint: Some("name the place that it leads to".to_owned()),
        },
        error => PodError::file("open the volume's source", &bind.source)(error.into()),
    })?;
    let open = || {
        let mount = DetachedMount::of_file(source.as_fd(), bind.recursive)?.no_devices(bind.recursive)?;
        let mount = if bind.read_only {
            mount.read_only(bind.recursive)?
        } else {
            mount
        };
        Ok(Source {
            mount,
            is_directory: File::from(source).metadata()?.is_dir(),
        })
    };
    open().map_err(PodError::file("mount the volume's source", &bind.source))
}

/// A place for a volume inside of the app's root: what is missing is made, and what is hidden is told (ace.md, "Volume
/// Setup").
fn make_target(target: &Path, directory: bool, app: &str, console: Console) -> io::Result<()> {
    let place = target.display();
    match fs::metadata(target) {
        Ok(present) if present.is_dir() && directory => {
            if fs::read_dir(target)?.next().is_some() {
                console.warn(&format!("a volume hides the files that app `{app}` has in `{place}`"));
            }
            Ok(())
        }
        Ok(present) if present.is_dir() => Err(Errno::EISDIR.into()),
        Ok(_) if !directory => Ok(()),
        Ok(_) => {
            console.warn(&format!(
                "a volume takes the place of the file `{place}` of app `{app}`"
            ));
            fs::remove_file(target)?;
            fs::create_dir(target)
        }
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        Err(_) if directory => fs::create_dir_all(target),
        Err(_) => {
            fs::create_dir_all(target.parent().unwrap_or(Path::new("/")))?;
            File::create_new(target).map(drop)
        }
    }
}

/// `/sys`, which shows the pod's own network. The kernel makes none for a user namespace that has the host's network.
fn sys(pod: &PodMounts, attributes: u64) -> io::Result<DetachedMount> {
    if pod.in_user_namespace && pod.network == Network::Host {
        return DetachedMount::of_path(Path::new("/sys"), true)?.read_only(true);
    }
    DetachedMount::new(c"sysfs", &[], attributes)
}

fn attach_directory(mount: &DetachedMount, target: &str) -> io::Result<()> {
    fs::create_dir_all(target)?;
    mount.attach(Path::new(target))
}

fn restrict_kernel() -> io::Result<()> {
    for path in READ_ONLY_PATHS.map(Path::new) {
        if path.exists() {
            DetachedMount::of_path(path, true)?.read_only(true)?.attach(path)?;
        }
    }
    for path in MASKED.map(Path::new) {
        match fs::symlink_metadata(path) {
            Ok(metadata) if metadata.is_dir() => {
                DetachedMount::new(c"tmpfs", &[(c"size", c"0"), (c"nr_inodes", c"1")], READ_ONLY)?.attach(path)?;
            }
            Ok(_) => DetachedMount::of_path(Path::new("/dev/null"), false)?.attach(path)?,
            Err(_) => {}
        }
    }
    Ok(())
}

/// Makes a file that the image does not have. A link that leads nowhere counts as having it.
fn provide(path: &str, content: &[u8]) -> io::Result<()> {
    fs::create_dir_all("/etc")?;
    match File::create_new(path) {
        Ok(mut file) => file.write_all(content),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        Err(error) => Err(error),
    }
}

/// The file that OS-SPEC.md, "Common Files", describes.
fn hosts(hostname: &str) -> String {
    format!("127.0.0.1\tlocalhost {hostname}\n::1\tlocalhost ip6-localhost ip6-loopback\n")
}
