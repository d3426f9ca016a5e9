//! Isolation by Linux namespaces, without a daemon and without cgroups.
//!
//! ```text
//!   parent    the `dhow-pod run` that the user sees: writes ID maps, forwards signals, records ends
//!   doorway   its child, which enters the namespaces and ends: a process cannot be PID 1 of what it makes itself
//!   init      the parent's child too (`CLONE_PARENT`) and PID 1 inside: makes one mount namespace for each app,
//!             gives itself an empty root, starts the apps, reaps, forwards signals
//!   app       init's child: enters the app's mount namespace, drops privileges, executes
//! ```
//!
//! Parent and init talk over one socket. Init dies with the parent (`PR_SET_PDEATHSIG`), and with init the kernel
//! kills everything in the pod. Every mount is private to the pod, and each app's root is pivoted into, so nothing of
//! the host's files is left to be reached.

mod channel;
mod command_line;
mod console_pty;
mod device;
mod doorway;
mod id_map;
mod init;
mod loopback;
mod mount;
mod parent;
mod program;
mod root;
mod user_namespace;

use std::{fs, io, path::Path};

use dhow_image::AcName;

use self::id_map::IdMap;
use crate::{PodError, app_status::AppStatus, isolation::Isolator, launch::Launch, pod::PodDirectory};

/// The default isolator.
pub(crate) struct Namespaces {
    id_map: IdMap,
}

impl Namespaces {
    /// Runs pods as root where this process is, and in a user namespace where it is not.
    pub(crate) fn detect() -> Self {
        Self {
            id_map: IdMap::detect(),
        }
    }
}

impl Isolator for Namespaces {
    fn name(&self) -> &'static str {
        "namespaces"
    }

    fn run(&self, pod: &PodDirectory, launch: &Launch) -> Result<Vec<(AcName, AppStatus)>, PodError> {
        launch.console.note(&format!("user IDs: {}", self.id_map));
        parent::run(&self.id_map, pod, launch)
    }

    fn remove(&self, directory: &Path) -> Result<(), PodError> {
        let remove = || match fs::remove_dir_all(directory) {
            // Another `rm` or `gc` was faster.
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            result => result,
        };
        let removed = match self.id_map {
            IdMap::Host => remove(),
            // Files of the pod's other users, and overlayfs's own, can be removed by the pod's root only.
            _ => user_namespace::run_in(&self.id_map, remove)?,
        };
        removed.map_err(PodError::file("remove", directory))
    }
}
