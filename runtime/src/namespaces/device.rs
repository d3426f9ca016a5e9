//! `/dev` of an app (appc spec, OS-SPEC.md, "Devices and File Systems").

use std::{
    fs::{self, File},
    io,
    os::unix::fs::{PermissionsExt, symlink},
    path::Path,
};

use nix::{
    errno::Errno,
    sys::stat::{Mode, SFlag, makedev, mknod},
};

use super::mount::{DetachedMount, NO_DEVICES, NO_EXECUTION, NO_SET_USER_ID};

/// Name, major and minor number.
const DEVICES: [(&str, u64, u64); 6] = [
    ("null", 1, 3),
    ("zero", 1, 5),
    ("full", 1, 7),
    ("random", 1, 8),
    ("urandom", 1, 9),
    ("tty", 5, 0),
];
const LINKS: [(&str, &str); 5] = [
    ("fd", "/proc/self/fd"),
    ("stdin", "/proc/self/fd/0"),
    ("stdout", "/proc/self/fd/1"),
    ("stderr", "/proc/self/fd/2"),
    ("ptmx", "pts/ptmx"),
];

/// An app's devices, made while the host's are in sight and attached beneath the app's root.
pub(super) struct Devices {
    directory: DetachedMount,
    terminals: DetachedMount,
    messages: DetachedMount,
    shared_memory: DetachedMount,
    console: DetachedMount,
    nodes: Vec<(&'static str, DetachedMount)>,
}

impl Devices {
    /// `shared_memory` is the pod's, `console` what `/dev/console` is, and `nodes` the directory of the devices: the
    /// pod's own, so that its root changes nothing of the host's by changing their modes; in a user namespace, where
    /// the kernel lets nobody make any, the host's, which its root cannot change.
    ///
    /// Each device is a mount of its own in a directory where no other device can be opened, whoever makes one.
    pub(super) fn new(shared_memory: &Path, console: &Path, nodes: &Path) -> io::Result<Self> {
        let node =
            |(name, ..): &(&'static str, u64, u64)| Ok((*name, DetachedMount::of_path(&nodes.join(name), false)?));
        let attributes = NO_SET_USER_ID | NO_EXECUTION;
        let options = [(c"mode", c"0755"), (c"size", c"64k")];
        Ok(Self {
            directory: DetachedMount::new(c"tmpfs", &options, NO_SET_USER_ID | NO_DEVICES)?,
            terminals: new_terminals(attributes)?,
            messages: DetachedMount::new(c"mqueue", &[], attributes | NO_DEVICES)?,
            shared_memory: DetachedMount::of_path(shared_memory, false)?,
            console: DetachedMount::of_path(console, false)?,
            nodes: DEVICES.iter().map(node).collect::<io::Result<_>>()?,
        })
    }

    /// Attaches them at `/dev`.
    pub(super) fn attach(self) -> io::Result<()> {
        let dev = Path::new("/dev");
        fs::create_dir_all(dev)?;
        self.directory.attach(dev)?;
        for (name, node) in self.nodes {
            attach_file(&node, &dev.join(name))?;
        }
        for (name, target) in LINKS {
            symlink(target, dev.join(name))?;
        }
        for (name, mount) in [
            ("pts", self.terminals),
            ("mqueue", self.messages),
            ("shm", self.shared_memory),
        ] {
            let path = dev.join(name);
            fs::create_dir(&path)?;
            mount.attach(&path)?;
        }
        attach_file(&self.console, &dev.join("console"))
    }
}

/// Makes the devices of a pod.
pub(super) fn make_nodes(directory: &Path) -> io::Result<()> {
    fs::create_dir(directory)?;
    for (name, major, minor) in DEVICES {
        make_node(&directory.join(name), makedev(major, minor))?;
    }
    Ok(())
}

/// A devpts of its own. Group 5 is `tty` by convention, and does not exist in every user namespace.
pub(super) fn new_terminals(attributes: u64) -> io::Result<DetachedMount> {
    let options = [(c"ptmxmode", c"0666"), (c"mode", c"0620"), (c"gid", c"5")];
    let new = |options: &[_]| DetachedMount::new(c"devpts", options, attributes);
    new(&options).or_else(|_| new(&options[..2]))
}

fn make_node(path: &Path, number: u64) -> io::Result<()> {
    let made = mknod(path, SFlag::S_IFCHR, Mode::from_bits_truncate(0o666), number);
    made.map_err(|error| match error {
        Errno::EPERM => io::Error::other(format!("this process may not make the device `{}`", path.display())),
        error => error.into(),
    })?;
    fs::set_permissions(path, fs::Permissions::from_mode(0o666))
}

fn attach_file(mount: &DetachedMount, path: &Path) -> io::Result<()> {
    File::create(path)?;
    mount.attach(path)
}
