//! [`runtime`]: the threads that speak to the network.

use std::io;

use tokio::runtime::{Builder, Runtime};

/// A runtime to fetch in. It has two threads for what comes: to hash, to unpack and to write are done on threads made for
/// that.
pub fn runtime() -> io::Result<Runtime> {
    Builder::new_multi_thread().worker_threads(2).enable_all().build()
}
