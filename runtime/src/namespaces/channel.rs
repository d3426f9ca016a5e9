//! What the parent and the processes of the pod tell each other.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use nix::{
    errno::Errno,
    sys::socket::{AddressFamily, MsgFlags, SockFlag, SockType, recv, send, socketpair},
};
use serde::{Deserialize, Serialize, de::DeserializeOwned};

use crate::{PodError, app_status::AppStatus};

/// Errors carry names from manifests, which are limited by the manifest's own limits only.
const MESSAGE_LIMIT: usize = 256 << 10;

/// From the pod to its parent.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum FromPod {
    /// The user namespace waits for its ID maps.
    NeedsMaps,
    /// This is PID 1 of the pod, by the host's number.
    Init(i32),
    /// Everything is set up; the apps are started once the parent has recorded it.
    SetUp,
    /// The app at this place of the manifest ended.
    Ended(usize, AppStatus),
    /// The pod cannot go on.
    Failed(Failure),
}

/// From the parent to the pod.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum ToPod {
    /// The ID maps are written.
    Mapped,
    /// The parent is ready to see the pod run.
    Go,
    /// Whoever asks for the pod's state hears that it runs: the apps may start.
    Start,
}

/// An error as text, which is all that passes between processes.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Failure {
    /// The error and its causes, outermost first.
    chain: Vec<String>,
    hint: Option<String>,
}

/// One end of the socket between them; its messages arrive whole.
pub(super) struct Channel(OwnedFd);

impl Channel {
    /// The parent's end and the pod's.
    pub(super) fn pair() -> Result<(Self, Self), PodError> {
        let pair = socketpair(AddressFamily::Unix, SockType::SeqPacket, None, SockFlag::SOCK_CLOEXEC);
        let (parent, pod) = pair.map_err(PodError::system("make a socket between a pod and its parent"))?;
        Ok((Self(parent), Self(pod)))
    }

    pub(super) fn send(&self, message: &impl Serialize) -> Result<(), PodError> {
        let bytes = serde_json::to_vec(message).expect("messages are plain data");
        // A parent that was killed must not kill by SIGPIPE before the pod's own end.
        let sent = send(self.0.as_raw_fd(), &bytes, MsgFlags::MSG_NOSIGNAL);
        sent.map(drop)
            .map_err(PodError::system("speak between a pod and its parent"))
    }

    /// The next message; `None` once the other end is closed.
    pub(super) fn receive<T: DeserializeOwned>(&self) -> Result<Option<T>, PodError> {
        let mut buffer = vec![0; MESSAGE_LIMIT];
        let length = loop {
            match recv(self.0.as_raw_fd(), &mut buffer, MsgFlags::empty()) {
                Ok(0) | Err(Errno::ECONNRESET) => return Ok(None),
                Ok(length) => break length,
                Err(Errno::EINTR) => {}
                Err(error) => return Err(PodError::system("listen between a pod and its parent")(error)),
            }
        };
        let message = serde_json::from_slice(&buffer[..length]);
        message
            .map(Some)
            .map_err(|error| PodError::system("understand a message of the pod")(error))
    }
}

impl AsFd for Channel {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

impl From<&PodError> for Failure {
    fn from(error: &PodError) -> Self {
        let mut chain = vec![error.to_string()];
        let mut cause = std::error::Error::source(error);
        while let Some(error) = cause {
            chain.push(error.to_string());
            cause = error.source();
        }
        Self {
            chain,
            hint: error.hint(),
        }
    }
}

impl From<Failure> for PodError {
    fn from(failure: Failure) -> Self {
        let mut error = None;
        for text in failure.chain.into_iter().rev() {
            error = Some(Box::new(Self::Inside {
                text,
                source: error,
                hint: failure.hint.clone(),
            }));
        }
        error.map_or_else(|| Self::request("the pod failed without saying why"), |error| *error)
    }
}
