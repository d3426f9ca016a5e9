//! [`Transport`]: what moves the bytes of an archive.

mod file;
mod https;
mod partial;

use std::future::Future;

pub(crate) use self::https::check_status;
pub use self::{file::FileTransport, https::HttpsTransport, partial::Partial};
use crate::{error::Error, progress::Progress};

/// A way to get the bytes of one thing from one place.
///
/// A transport believes nothing and verifies nothing but that it got the whole: fewer bytes than were promised are
/// an error. It goes on where an earlier attempt ended if it can tell that the thing is still the same, and begins
/// anew otherwise. It holds no more than pieces in memory. Dropping its future cancels it; what came until then
/// stays in the [`Partial`].
pub trait Transport: Send + Sync {
    /// Brings the bytes that are still missing.
    fn fetch(
        &self,
        partial: &mut Partial,
        progress: &dyn Progress,
    ) -> impl Future<Output = Result<Download, Error>> + Send;

    /// What the bytes come from, as it is shown to a person.
    fn place(&self) -> String;
}

/// What came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Download {
    /// How many bytes the whole has.
    pub size: u64,
}
