//! Which users of the host the users of a pod are.

use std::{
    fmt, fs, io,
    path::Path,
    process::{Command, Stdio},
};

use caps::{CapSet, Capability};
use nix::unistd::{Gid, Pid, Uid, User, getegid, geteuid};

use crate::PodError;

/// How the IDs in a pod relate to the host's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum IdMap {
    /// They are the host's: no user namespace.
    Host,
    /// Root is whoever runs the pod, and the others are the host's ranges that are set aside for that user.
    Ranges { uids: Range, gids: Range },
    /// Root is whoever runs the pod, and there are no others.
    Single,
}

/// IDs of the host that are set aside for one user (subuid(5)).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Range {
    first: u32,
    count: u32,
}

impl IdMap {
    /// What this process can have.
    pub(super) fn detect() -> Self {
        let can_mount = caps::has_cap(None, CapSet::Effective, Capability::CAP_SYS_ADMIN).unwrap_or(false);
        if geteuid().is_root() && can_mount {
            return Self::Host;
        }
        let name = User::from_uid(geteuid()).ok().flatten().map(|user| user.name);
        let range = |file: &str| find_range(&fs::read_to_string(file).ok()?, name.as_deref(), geteuid());
        match (range("/etc/subuid"), range("/etc/subgid")) {
            (Some(uids), Some(gids)) if is_in_path("newuidmap") && is_in_path("newgidmap") => {
                Self::Ranges { uids, gids }
            }
            _ => Self::Single,
        }
    }

    /// Whether a process of the pod can choose its groups.
    pub(super) fn allows_groups(&self) -> bool {
        *self != Self::Single
    }

    /// Writes the maps of the user namespace in which `pid` waits.
    pub(super) fn write(&self, pid: Pid) -> Result<(), PodError> {
        let (uid, gid) = (geteuid(), getegid());
        match self {
            Self::Host => Ok(()),
            Self::Ranges { uids, gids } => {
                map_with("newuidmap", pid, uid.as_raw(), uids)?;
                map_with("newgidmap", pid, gid.as_raw(), gids)
            }
            Self::Single => write_single(pid, uid, gid).map_err(PodError::system("map user and group IDs")),
        }
    }
}

/// Without privileges the kernel takes a map of oneself only, and groups only once they cannot be dropped (a group may
/// be there to deny).
fn write_single(pid: Pid, uid: Uid, gid: Gid) -> io::Result<()> {
    let process = Path::new("/proc").join(pid.to_string());
    fs::write(process.join("setgroups"), "deny")?;
    fs::write(process.join("gid_map"), format!("0 {gid} 1"))?;
    fs::write(process.join("uid_map"), format!("0 {uid} 1"))
}

fn map_with(program: &str, pid: Pid, own: u32, range: &Range) -> Result<(), PodError> {
    let numbers = [pid.as_raw().unsigned_abs(), 0, own, 1, 1, range.first, range.count];
    let output = Command::new(program)
        .args(numbers.map(|number| number.to_string()))
        .stdin(Stdio::null())
        .output();
    let output = output.map_err(PodError::system(format!("execute `{program}`")))?;
    if output.status.success() {
        return Ok(());
    }
    Err(PodError::Helper {
        program: program.to_owned(),
        output: String::from_utf8_lossy(&output.stderr).trim().to_owned(),
        hint: Some(
            "check the user's lines in `/etc/subuid` and `/etc/subgid`; without them a pod has one user".to_owned(),
        ),
    })
}

/// The first range of the user, who is written by name or by number.
fn find_range(file: &str, name: Option<&str>, uid: Uid) -> Option<Range> {
    let number = uid.to_string();
    file.lines().find_map(|line| {
        let mut fields = line.trim().split(':');
        let user = fields.next()?;
        let range = Range {
            first: fields.next()?.parse().ok()?,
            count: fields.next()?.parse().ok()?,
        };
        ((Some(user) == name || user == number) && range.count > 0).then_some(range)
    })
}

fn is_in_path(program: &str) -> bool {
    std::env::var_os("PATH").is_some_and(|path| std::env::split_paths(&path).any(|place| place.join(program).is_file()))
}

impl fmt::Display for IdMap {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Host => formatter.write_str("the host's"),
            Self::Ranges { uids, gids } => write!(
                formatter,
                "0 is you, 1 to {} are the host's from {} on (groups: 1 to {}, from {} on)",
                uids.count, uids.first, gids.count, gids.first
            ),
            Self::Single => formatter.write_str("0 is you, and there are no others"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_is_found_by_name_or_number() {
        let file = "daemon:1:1\nann:100000:65536\n1001:200000:5\nempty:1:0\nbad:x:y\n";
        let ann = find_range(file, Some("ann"), Uid::from_raw(1000));
        assert_eq!(
            ann,
            Some(Range {
                first: 100_000,
                count: 65536
            })
        );
        assert_eq!(
            find_range(file, Some("bob"), Uid::from_raw(1001)),
            Some(Range {
                first: 200_000,
                count: 5
            })
        );
        for name in ["bob", "empty", "bad"] {
            assert_eq!(find_range(file, Some(name), Uid::from_raw(7)), None, "{name}");
        }
    }
}
