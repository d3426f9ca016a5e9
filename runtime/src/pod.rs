//! Pods on disk.
//!
//! ```text
//!   <data>/pods/
//!     .new-<uuid>/         a pod whose lock is not taken yet; never listed
//!     <uuid>/
//!       lock               held (flock, exclusive) while the pod is prepared, run or removed
//!       pod                the pod manifest, complete: images by ID, every mount point with a volume
//!       created            when, RFC 3339
//!       prepared           present once `prepare` is done, gone from the moment the pod is run
//!       started            when the apps were started; its presence means that they were
//!       pid                the pod's PID 1 as the host numbers it
//!       garbage            present once `gc` has marked the pod; its time is when
//!       shared/            where PID 1 has its own root; empty on disk
//!       volumes/<name>/    the pod's empty volumes
//!       apps/<name>/
//!         exit.json        how the app ended
//!         rootfs/          where its root file system is mounted, inside of the pod's mount namespaces only
//!         upper/, work/    what the app has written, and overlayfs's own
//! ```
//!
//! The state is derived from these files and from whether the lock is held. The parent of a running pod and the pod's
//! PID 1 hold it and nothing else does, so the kernel drops it with the pod, however that ended: a state is never
//! stale. Files are written whole (a temporary file, then rename). A crash leaves a pod that is `aborted` or
//! `exited`, which `gc` collects.

mod directory;
mod id;
mod lock;
mod state;

pub(crate) use directory::{PodDirectory, Pods};
pub(crate) use id::PodId;
pub(crate) use lock::PodLock;
pub(crate) use state::PodState;
