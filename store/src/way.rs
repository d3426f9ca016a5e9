//! In which way root file systems are made on this machine, for this user: tried once, with a tiny one.

use std::{
    fmt, fs,
    io::{self, Read},
    os::fd::{AsFd, AsRawFd, OwnedFd},
    path::Path,
};

use sha2::{Digest, Sha256};

use crate::{
    checkout::{Before, Contents, check_out},
    object::ObjectId,
    store::Store,
    tree::{Content, Metadata, NodeKind, Overlay, Tree, TreeError, mount_erofs, write_erofs},
};

/// The first Linux in which overlayfs takes `userxattr` and data-only layers together.
const KERNEL: (u32, u32) = (6, 16);
const CONTENT: &[u8] = b"dhow looks whether this can be read\n";

/// How a root file system is made of a tree, from the fastest way to the one that always works.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Way {
    /// An EROFS image over the store's objects.
    Composefs,
    /// A directory of stubs over the store's objects.
    Stubs,
    /// A directory of copies, which share their blocks with the objects where the file system can (reflinks). They
    /// cannot be hard links: an object has no mode, owner and time of its own that could be a file's.
    Checkout,
}

/// The way that works here, and why those before it do not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Probe {
    /// The way.
    pub way: Way,
    /// The faster ways, each with what stands against it.
    pub refused: Vec<(Way, String)>,
}

impl Store {
    /// In which way this process makes root file systems. It is tried when it is first asked for.
    pub fn probe(&self) -> &Probe {
        self.probed.get_or_init(|| Probe::new(&self.tmp_dir()))
    }
}

impl Probe {
    fn new(tmp: &Path) -> Self {
        let mut refused = Vec::new();
        for way in [Way::Composefs, Way::Stubs] {
            match way.attempt(tmp) {
                Ok(()) => return Self { way, refused },
                Err(reason) => refused.push((way, reason)),
            }
        }
        Self {
            way: Way::Checkout,
            refused,
        }
    }
}

impl Way {
    /// Every way, the fastest first.
    pub const ALL: [Self; 3] = [Self::Composefs, Self::Stubs, Self::Checkout];

    /// One word for it, which also ends the names of its trees.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Composefs => "erofs",
            Self::Stubs => "stubs",
            Self::Checkout => "checkout",
        }
    }

    /// Makes a root file system of one file, mounts it and reads the file; or says what stands against it.
    fn attempt(self, tmp: &Path) -> Result<(), String> {
        if self == Self::Composefs && !is_root_of_the_machine() {
            return Err("only root, outside of user namespaces, can mount EROFS".to_owned());
        }
        if self == Self::Checkout {
            return Ok(());
        }
        let directory = tempfile::Builder::new().prefix("probe-").tempdir_in(tmp);
        let directory = directory.map_err(|error| error.to_string())?;
        self.attempt_in(directory.path()).map_err(|error| match error {
            // The paths of a moment ago tell nobody anything.
            TreeError::Mount { detail, source, .. } => format!("{source}{detail}"),
            error => error.to_string(),
        })
    }

    fn attempt_in(self, directory: &Path) -> Result<(), TreeError> {
        let io = |source| TreeError::Mount {
            action: "prepare".to_owned(),
            detail: String::new(),
            source,
        };
        let objects = directory.join("objects");
        let id = ObjectId(Sha256::digest(CONTENT).into());
        let object = objects.join(id.relative_path());
        fs::create_dir_all(object.parent().expect("an object lies in a directory")).map_err(io)?;
        fs::write(&object, CONTENT).map_err(io)?;
        let mut tree = Tree::new();
        let size = CONTENT.len() as u64;
        let content = NodeKind::File(Content::Object { id, size });
        tree.insert(b"file", Metadata::root_owned(0o400), content)?;
        let place = directory.join("tree");
        let metadata = match self {
            Self::Composefs => {
                write_erofs(&tree, fs::File::create(&place).map_err(io)?)?;
                mount_erofs(&place)?
            }
            _ => {
                fs::create_dir(&place).map_err(io)?;
                check_out(&tree, &place, &objects, Contents::Stubs, Before::Empty).map_err(io)?;
                if !can_mount() {
                    return enough_for_a_user_namespace().map_err(io);
                }
                OwnedFd::from(fs::File::open(&place).map_err(io)?)
            }
        };
        let overlay = Overlay {
            metadata: metadata.as_fd(),
            objects: &objects,
            upper: None,
        };
        let mounted = overlay.mount()?;
        let mut read = Vec::new();
        let file = format!("/proc/self/fd/{}/file", mounted.as_raw_fd());
        let mut file = fs::File::open(file).map_err(io)?;
        file.read_to_end(&mut read).map_err(io)?;
        match read == CONTENT {
            true => Ok(()),
            false => Err(io(io::Error::other("the mounted file has not the object's content"))),
        }
    }
}

/// Whether what only the machine's own root may do is permitted.
fn is_root_of_the_machine() -> bool {
    // The number that Linux gives its first user namespace.
    const FIRST: &str = "user:[4026531837]";
    let namespace = fs::read_link("/proc/self/ns/user").unwrap_or_default();
    can_mount() && namespace == Path::new(FIRST)
}

/// Whether this process may mount in the namespaces that it is in: CAP_SYS_ADMIN, by the bits that `/proc` shows.
fn can_mount() -> bool {
    const CAP_SYS_ADMIN: u32 = 21;
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let effective = status.lines().find_map(|line| line.strip_prefix("CapEff:"));
    let effective = effective.and_then(|bits| u64::from_str_radix(bits.trim(), 16).ok());
    effective.is_some_and(|bits| bits & (1 << CAP_SYS_ADMIN) != 0)
}

/// An ordinary user mounts only in a namespace yet to come, so the kernel's version must do.
fn enough_for_a_user_namespace() -> io::Result<()> {
    match kernel_version() {
        Some(version) if version >= KERNEL => Ok(()),
        _ => Err(io::Error::other(format!("it takes Linux {}.{}", KERNEL.0, KERNEL.1))),
    }
}

fn kernel_version() -> Option<(u32, u32)> {
    let uname = nix::sys::utsname::uname().ok()?;
    let mut parts = uname.release().to_str()?.split(['.', '-']);
    Some((parts.next()?.parse().ok()?, parts.next()?.parse().ok()?))
}

impl fmt::Display for Way {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Composefs => "composefs (EROFS over the store's objects)",
            Self::Stubs => "stubs over the store's objects",
            Self::Checkout => "a checkout under overlayfs",
        })
    }
}

impl From<&Probe> for serde_json::Value {
    fn from(probe: &Probe) -> Self {
        let refused = probe.refused.iter();
        serde_json::json!({
            "way": probe.way.as_str(),
            "refused": refused
                .map(|(way, reason)| serde_json::json!({ "way": way.as_str(), "reason": reason }))
                .collect::<Vec<_>>(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn probe_in(parent: &Path) -> Probe {
        let directory = tempfile::tempdir_in(parent).unwrap();
        Probe::new(directory.path())
    }

    #[test]
    fn root_has_the_fastest_way_on_a_disk_and_the_next_in_memory() {
        let on_disk = probe_in(Path::new(env!("CARGO_MANIFEST_DIR")));
        assert_eq!((on_disk.way, on_disk.refused.as_slice()), (Way::Composefs, &[][..]));
        let in_memory = probe_in(Path::new("/dev/shm"));
        assert_eq!(in_memory.way, Way::Stubs);
        let [(Way::Composefs, reason)] = in_memory.refused.as_slice() else {
            panic!("{in_memory:?}");
        };
        assert!(reason.contains("this kernel cannot mount a file"), "{reason}");
    }

    #[test]
    fn what_stands_against_every_fast_way_is_told() {
        let probe = Probe::new(Path::new("/proc/nonesuch"));
        assert_eq!(probe.way, Way::Checkout);
        assert_eq!(probe.refused.len(), 2);
        assert!(
            probe.refused.iter().all(|(_, reason)| reason.contains("No such file")),
            "{probe:?}"
        );
    }
}
