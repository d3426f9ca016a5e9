//! Pods: images of the store, prepared and run in isolation (appc spec, ace.md and pods.md).
//!
//! There is no daemon: `dhow-pod run` is the parent of its pod, and a pod's state is its directory and a lock on it.
//! Nothing here fetches anything; whoever runs images as root hands over image IDs that are in the store already.
//!
//! ```text
//!   cli ──► assemble ──► PodManifest ──► pod/ (directory, lock, state)
//!    │                                     │
//!    │                                   launch ──── what one run needs, resolved before anything is isolated
//!    │                                     │
//!    └──────────────────────────────► isolation ──── the trait that further ways of isolating implement
//!                                          │
//!                                      namespaces/
//!        parent ──fork──► doorway ──clone──► init, PID 1 of the pod ──fork──► app, and its event handlers
//!          │            (namespaces)          (root file systems, reaping,       (user, capabilities,
//!          └── maps, signals, exit codes ───── signals, one state per app)         environment, exec)
//! ```
//!
//! It may use `dhow-image` and `dhow-store`. The process is single-threaded and stays so: namespaces are entered by
//! forking.

mod ages;
mod app_status;
mod assemble;
mod capabilities;
mod cli;
mod console;
mod environment;
mod error;
mod identity;
mod isolation;
mod launch;
mod mount_flag;
mod namespaces;
mod pod;
mod sealed_exe;
mod volume_flag;

pub use cli::main_with_args;
pub use error::PodError;
