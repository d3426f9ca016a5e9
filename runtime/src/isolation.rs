//! The seam between a pod and the means that isolate it.

use std::path::Path;

use dhow_image::AcName;

use crate::{PodError, app_status::AppStatus, launch::Launch, namespaces::Namespaces, pod::PodDirectory};

/// A way of running pods. The caller holds the pod's lock.
pub(crate) trait Isolator {
    /// What a person calls it.
    fn name(&self) -> &'static str;

    /// Runs the pod's apps to their end and tells how each ended, in the order of their ends.
    ///
    /// It records in the pod's directory what becomes true on the way: PID, start, and each end. An error means that
    /// the pod could not be set up or an app not be started; nothing of it runs any more then.
    fn run(&self, pod: &PodDirectory, launch: &Launch) -> Result<Vec<(AcName, AppStatus)>, PodError>;

    /// Removes a directory that holds what pods have written, with whatever owners and modes.
    fn remove(&self, directory: &Path) -> Result<(), PodError>;
}

/// The way in which pods are run.
pub(crate) fn default_isolator() -> impl Isolator {
    Namespaces::detect()
}
