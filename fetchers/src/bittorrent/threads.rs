//! [`Threads`]: where a session does its work.
//!
//! librqbit reads and writes blocks of 16 KiB in the midst of its tasks. In a runtime of several threads it tells tokio
//! so each time, which moves all other work of that thread to another one and back: that costs more than the block. In a
//! runtime of one thread it does not. So a session has a few of these, each with a thread of its own: one to which the
//! peers come that call us, and others among which torrents are divided, so that a torrent whose file is checked keeps no
//! peer of another waiting.

use std::{
    convert::Infallible,
    future::poll_fn,
    io,
    pin::pin,
    sync::atomic::{AtomicUsize, Ordering},
    thread,
};

use tokio::{
    runtime::{Builder, Handle},
    sync::oneshot,
};

/// So many threads share the torrents, at most.
const MOST: usize = 4;

/// The threads of one session. They end with this.
pub(super) struct Threads {
    callers: Thread,
    torrents: Vec<Thread>,
    next: AtomicUsize,
}

struct Thread {
    inside: Handle,
    /// The thread waits for this to go.
    _alive: oneshot::Sender<Infallible>,
}

/// One of the threads, by which whatever a future spawns, waits for or connects to is served.
#[derive(Clone)]
pub(super) struct Within(Handle);

impl Threads {
    pub(super) fn start() -> io::Result<Self> {
        let count = thread::available_parallelism().map_or(1, usize::from).min(MOST);
        let torrents = (0..count).map(|_| Thread::start("swarm-torrents"));
        Ok(Self {
            callers: Thread::start("swarm-callers")?,
            torrents: torrents.collect::<io::Result<_>>()?,
            next: AtomicUsize::new(0),
        })
    }

    /// Where peers come to that call us.
    pub(super) fn callers(&self) -> Within {
        Within(self.callers.inside.clone())
    }

    /// Where the next torrent is at home.
    pub(super) fn next_torrent(&self) -> Within {
        let next = self.next.fetch_add(1, Ordering::Relaxed) % self.torrents.len();
        Within(self.torrents[next].inside.clone())
    }
}

impl Thread {
    fn start(name: &str) -> io::Result<Self> {
        let runtime = Builder::new_current_thread().enable_all().build()?;
        let inside = runtime.handle().clone();
        let (alive, gone) = oneshot::channel();
        thread::Builder::new().name(name.to_owned()).spawn(move || {
            // Nothing is ever sent: it ends when the sender goes.
            let _ = runtime.block_on(gone);
            runtime.shutdown_background();
        })?;
        Ok(Self { inside, _alive: alive })
    }
}

impl Within {
    /// Runs a future where the caller is, as if it were there.
    pub(super) async fn run<T>(&self, future: impl Future<Output = T>) -> T {
        let mut future = pin!(future);
        poll_fn(|context| {
            let _inside = self.0.enter();
            future.as_mut().poll(context)
        })
        .await
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use tokio::runtime::RuntimeFlavor;

    use super::*;

    #[tokio::test]
    async fn what_is_spawned_within_runs_there_until_they_end() {
        let threads = Threads::start().unwrap();
        let (torrent, callers) = (threads.next_torrent(), threads.callers());
        let spawned = torrent.run(async {
            assert_eq!(Handle::current().runtime_flavor(), RuntimeFlavor::CurrentThread);
            (tokio::spawn(async { thread::current().name().map(str::to_owned) }),)
        });
        assert_eq!(spawned.await.0.await.unwrap().unwrap(), "swarm-torrents");
        let endless = callers.run(async { (tokio::spawn(std::future::pending::<()>()),) });
        let (endless,) = endless.await;
        drop(threads);
        assert!(endless.await.unwrap_err().is_cancelled());
    }
}
