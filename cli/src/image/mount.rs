//! `dhow image mount` and `unmount`: looking into an image without extracting it.

use std::{
    fs,
    os::unix::{fs::MetadataExt, process::ExitStatusExt},
    path::{Path, PathBuf},
    process::{Command, ExitCode},
};

use anyhow::{Context as _, Result, bail};
use clap::Args;
use dhow_image::Reference;
use dhow_store::{Rootfs, Store};
use nix::{
    mount::{MntFlags, MsFlags, mount as mount_call, umount2},
    sched::{CloneFlags, unshare},
    sys::signal::{SigHandler, Signal, signal},
    unistd::{getegid, geteuid},
};

use super::find;
use crate::{context::is_root, failure::Usage};

/// Mounts the root file system of an image read-only: on a directory (as root), or for one command (as anybody).
///
/// With a directory, it stays until `dhow image unmount` or the machine's next start. With a command, only that
/// command and its children see it: they start in its root directory, and it goes when the command ends, whose exit
/// code is passed on. The command comes from this machine, not from the image. What is mounted is pinned: `image pins`
/// shows it.
#[derive(Args)]
#[command(
    override_usage = "dhow image mount REF DIR\n       dhow image mount REF [DIR] -- COMMAND…",
    after_help = "\
Examples:
  dhow image mount example.com/app:1.0.0 /mnt
  dhow image mount example.com/app:1.0.0 -- ls -l usr/bin"
)]
pub(crate) struct MountArguments {
    /// A name with labels, as in example.com/app:1.0.0, or an image ID
    #[arg(value_name = "REF")]
    reference: Reference,
    /// Where it is mounted
    #[arg(value_name = "DIR")]
    directory: Option<PathBuf>,
    /// A command that is run in the mounted root directory
    #[arg(value_name = "COMMAND", last = true)]
    command: Vec<String>,
}

/// Unmounts what `dhow image mount` has mounted, of the same data directory: until then the image stays.
#[derive(Args)]
#[command(after_help = "Example:\n  dhow image unmount /mnt")]
pub(crate) struct UnmountArguments {
    /// Where it is mounted
    #[arg(value_name = "DIR")]
    directory: PathBuf,
}

pub(crate) fn mount(store: &Store, options: &MountArguments) -> Result<ExitCode> {
    let id = find(store, &options.reference)?;
    match (&options.directory, options.command.as_slice()) {
        (None, []) => Err(Usage("name a directory to mount at, or a command after `--`".to_owned()).into()),
        (Some(_), []) if !is_root() => Err(Usage(
            "only root can mount for everybody: `dhow image mount REF -- COMMAND` mounts for one command".to_owned(),
        )
        .into()),
        (Some(directory), []) => {
            // Before anything else: from here on, nobody collects what will be mounted.
            let place = found(directory)?;
            store.pin_mounted(&place, &id)?;
            let mounted = store
                .rootfs(&id)
                .map_err(Into::into)
                .and_then(|rootfs| mount_at(&rootfs, &place));
            if mounted.is_err() && !is_ours(&place)? {
                store.unpin_mounted(&place)?;
            }
            mounted.map(|()| ExitCode::SUCCESS)
        }
        (directory, command) => {
            let temporary = tempfile::tempdir().context("Could not make a directory to mount at")?;
            // Others may mount at the same place, which they see nothing of: the pin has a name of our own.
            let pin = temporary.path();
            store.pin_mounted(pin, &id)?;
            let run = store
                .rootfs(&id)
                .map_err(Into::into)
                .and_then(|rootfs| with_command(&rootfs, directory.as_deref().unwrap_or(temporary.path()), command));
            store.unpin_mounted(pin)?;
            run
        }
    }
}

fn mount_at(rootfs: &Rootfs, directory: &Path) -> Result<()> {
    let mounted = rootfs.mount(directory, None, None);
    mounted.with_context(|| format!("Could not mount the image at `{}`", directory.display()))
}

/// Mounts in namespaces of this process's own, which end with it, and runs the command there.
fn with_command(rootfs: &Rootfs, directory: &Path, command: &[String]) -> Result<ExitCode> {
    own_namespaces().context("Could not enter a mount namespace")?;
    mount_at(rootfs, directory)?;
    let program = &command[0];
    let mut child = Command::new(program)
        .args(&command[1..])
        .current_dir(directory)
        .spawn()
        .with_context(|| format!("Could not run `{program}`"))?;
    // These come from the terminal to the command, too, which decides what they mean; here there is to be tidied up.
    for from_terminal in [Signal::SIGINT, Signal::SIGQUIT] {
        // SAFETY: no code of ours runs when the signal comes.
        unsafe { signal(from_terminal, SigHandler::SigIgn) }?;
    }
    let status = child.wait()?;
    // So that the directory, if it is a temporary one, can be removed.
    umount2(directory, MntFlags::MNT_DETACH).with_context(|| format!("Could not unmount `{}`", directory.display()))?;
    let code = status.code().or_else(|| status.signal().map(|signal| 128 + signal));
    Ok(ExitCode::from(
        code.and_then(|code| u8::try_from(code).ok()).unwrap_or(1),
    ))
}

/// A mount namespace of this process's own, and for an ordinary user a user namespace to make it in.
fn own_namespaces() -> Result<()> {
    if is_root() {
        unshare(CloneFlags::CLONE_NEWNS)?;
    } else {
        let (uid, gid) = (geteuid(), getegid());
        unshare(CloneFlags::CLONE_NEWUSER | CloneFlags::CLONE_NEWNS)?;
        fs::write("/proc/self/setgroups", "deny")?;
        fs::write("/proc/self/uid_map", format!("0 {uid} 1"))?;
        fs::write("/proc/self/gid_map", format!("0 {gid} 1"))?;
    }
    let none = None::<&str>;
    mount_call(none, "/", none, MsFlags::MS_REC | MsFlags::MS_SLAVE, none)?;
    Ok(())
}

pub(crate) fn unmount(store: &Store, options: &UnmountArguments) -> Result<()> {
    let shown = options.directory.display();
    let place = found(&options.directory)?;
    if !is_ours(&place)? {
        bail!("`{shown}` is no image that `dhow image mount` has mounted");
    }
    umount2(&place, MntFlags::UMOUNT_NOFOLLOW).with_context(|| format!("Could not unmount `{shown}`"))?;
    // What is below it, if another was mounted there before, stays held.
    match is_ours(&place)? {
        true => Ok(()),
        false => Ok(store.unpin_mounted(&place)?),
    }
}

/// A directory by the one path that the kernel shows.
fn found(directory: &Path) -> Result<PathBuf> {
    let place = directory.canonicalize();
    place.with_context(|| format!("Could not find `{}`", directory.display()))
}

/// Whether what is mounted at a place is a root file system of a store: an overlay that says so, or a checkout.
fn is_ours(place: &Path) -> Result<bool> {
    let device = fs::metadata(place)?.dev();
    let above = place.parent().map(fs::metadata).transpose()?.map(|above| above.dev());
    let table = fs::read_to_string("/proc/self/mountinfo").context("Could not read the table of mounts")?;
    let mut fields_at_place = table.lines().rev().filter_map(|line| {
        let (head, tail) = line.split_once(" - ")?;
        let mut head = head.split(' ');
        let (root, at) = (head.nth(3)?, head.next()?);
        (unescaped(at) == place.as_os_str().as_encoded_bytes()).then(|| (root.to_owned(), tail.to_owned()))
    });
    let Some((root, tail)) = fields_at_place.next() else {
        return Ok(false);
    };
    let is_overlay = tail.starts_with("overlay dhow ") && Some(device) != above;
    Ok(is_overlay || (root.contains("/trees/") && root.ends_with(".checkout")))
}

/// A path of the table of mounts, in which blanks, line ends and backslashes stand as octal numbers.
fn unescaped(field: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut rest = field.as_bytes();
    while let Some((&first, after)) = rest.split_first() {
        let octal = after.get(..3).filter(|_| first == b'\\');
        let octal = octal.and_then(|digits| u8::from_str_radix(std::str::from_utf8(digits).ok()?, 8).ok());
        bytes.push(octal.unwrap_or(first));
        rest = if octal.is_some() { &after[3..] } else { after };
    }
    bytes
}

#[cfg(test)]
mod tests {
    #[test]
    fn paths_of_the_table_of_mounts_are_unescaped() {
        assert_eq!(super::unescaped(r"/mnt/a\040b\134c"), b"/mnt/a b\\c");
        assert_eq!(super::unescaped(r"/mnt/end\04"), br"/mnt/end\04");
    }
}
