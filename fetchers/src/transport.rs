//! [`Transport`]: a place that gives the bytes of one thing.
//!
//! ```text
//!   Downloader ── resume, retry, pieces side by side, length, pace, bandwidth ──► Partial, a file that outlives us
//!       │
//!   Transport ── open(Ask) ──► Opened { from, size, version, ranges, shared, body }
//!       ├── HttpsTransport
//!       ├── BucketTransport
//!       ├── SwarmTransport, which also fills a Partial by itself
//!       └── FileTransport
//! ```

mod bittorrent;
mod bucket;
mod file;
mod https;

use std::{fmt, path::Path};

use bytes::Bytes;
use dhow_image::ImageId;
use futures::{
    StreamExt,
    future::BoxFuture,
    stream::{BoxStream, Stream},
};
use serde::{Deserialize, Serialize};

pub(crate) use self::https::check_status;
pub use self::{bittorrent::SwarmTransport, bucket::BucketTransport, file::FileTransport, https::HttpsTransport};
use crate::{
    download::{DownloadOptions, Partial},
    error::Error,
    progress::Progress,
};

/// A way to get the bytes of one thing from one place.
///
/// It believes nothing and keeps nothing: what came, what is still missing, when to try again and whether it is fast
/// enough is the downloader's business, the same for every transport (see [`Downloader`](crate::Downloader)). It makes
/// one attempt and tells the truth about it. Dropping a future or a body cancels what it does.
///
/// Every transport passes the conformance suite in `tests/conformance`.
pub trait Transport: Send + Sync {
    /// Asks for the bytes, and gives back a body whose first byte may not have come yet.
    ///
    /// A thing that is not there is [`Error::NotFound`].
    fn open<'a>(&'a self, ask: &'a Ask) -> BoxFuture<'a, Result<Opened, Error>>;

    /// What the bytes come from, as it is shown to a person and kept in an image's provenance: no secret is in it.
    fn place(&self) -> String;

    /// Whether the thing is still this version, which costs next to nothing to find out.
    fn is_still<'a>(&'a self, version: &'a Version) -> BoxFuture<'a, Result<bool, Error>> {
        Box::pin(async move {
            let first_byte = Ask {
                to: Some(1),
                ..Ask::default()
            };
            Ok(self.open(&first_byte).await?.version.as_ref() == Some(version))
        })
    }

    /// What brings the bytes in no order, if this is such a place.
    fn filler(&self) -> Option<&dyn Filler> {
        None
    }

    /// The whole where it lies, if that is on this machine and nobody can change it as long as it is held.
    fn in_place(&self) -> Option<Partial> {
        None
    }

    /// What is open to the place is not to be used for further attempts: what comes too slowly is in the way of all that
    /// comes behind it.
    fn hang_up(&self) {}

    /// The same place by a connection of its own, for pieces that come side by side, as several streams within one
    /// connection are no faster than one, and for what is long. `None` where that makes no sense.
    fn beside(&self, _lane: u8) -> Option<Box<dyn Transport>> {
        None
    }
}

/// A transport that can ask for the whole before it is known whether it is wanted.
pub(crate) trait Early: Transport + Clone + 'static {
    /// Asks, if nobody who is wanted for sure has to wait for that. `None`: somebody would.
    fn ahead(&self) -> impl Future<Output = Option<Result<Opened, Error>>> + Send;
}

impl Early for HttpsTransport {
    async fn ahead(&self) -> Option<Result<Opened, Error>> {
        self.ahead().await
    }
}

impl Early for BucketTransport {
    async fn ahead(&self) -> Option<Result<Opened, Error>> {
        self.ahead().await
    }
}

/// A place that gives the bytes in no order, and knows by itself which of them are right.
pub trait Filler: Send + Sync {
    /// Brings all bytes that are missing into the file, and gives the size of the whole. What came until it is dropped
    /// is found there by the next.
    fn fill<'a>(
        &'a self,
        partial: &'a mut Partial,
        options: &'a DownloadOptions,
        progress: &'a dyn Progress,
    ) -> BoxFuture<'a, Result<u64, Error>>;

    /// The image in `archive`, the file that was filled, was verified and is in the store. The file goes after this.
    fn taken_in(&self, archive: &Path, image: &ImageId) -> Result<(), Error>;
}

/// Which bytes are wanted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ask {
    /// The first.
    pub from: u64,
    /// The one after the last, or `None` for all that there are.
    pub to: Option<u64>,
    /// Of this version. Of another one, the whole is wanted.
    pub version: Option<Version>,
}

/// What a place calls a version of a thing: another version is called otherwise, for sure.
///
/// The text is the transport's own affair. It is written down between processes.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Version(String);

/// What a place gives.
pub struct Opened {
    /// The first byte that comes: what was asked for, or 0 if the place has another version or cannot begin elsewhere.
    pub from: u64,
    /// How many bytes the whole thing has, if that is known.
    pub size: Option<u64>,
    /// What this version is called, if versions can be told apart for sure.
    pub version: Option<Version>,
    /// Whether pieces of this version can be asked for.
    pub ranges: bool,
    /// Whether the connection is made to be shared: by one of its own (see [`Transport::beside`]), what is long comes with
    /// less work.
    pub shared: bool,
    /// The bytes, up to the end of what was asked for. It ends with an error if it ends early and that can be known.
    pub body: Body,
}

/// Bytes that come one after another.
pub type Body = BoxStream<'static, Result<Bytes, Error>>;

impl Ask {
    /// The whole thing, of whatever version.
    pub fn whole() -> Self {
        Self::default()
    }
}

impl Version {
    /// A version that the transport calls so.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// What the transport calls it.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Opened {
    /// The same with another body in place of its own.
    #[must_use]
    pub fn map_body<S>(self, map: impl FnOnce(Body) -> S) -> Self
    where
        S: Stream<Item = Result<Bytes, Error>> + Send + 'static,
    {
        Self {
            body: map(self.body).boxed(),
            ..self
        }
    }
}

impl fmt::Debug for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Opened {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Opened")
            .field("from", &self.from)
            .field("size", &self.size)
            .field("version", &self.version)
            .field("ranges", &self.ranges)
            .field("shared", &self.shared)
            .finish_non_exhaustive()
    }
}
