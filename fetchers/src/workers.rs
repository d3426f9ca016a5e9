//! [`runtime`]: the threads that speak to the network.

use std::{io, thread};

use tokio::runtime::{Builder, Runtime};

/// A runtime to fetch in, with half as many threads as there are processors, and at least one. The others hash, unpack and
/// write meanwhile, on threads made for that, and a connection that is handed from one thread to another for each piece
/// that comes takes a tenth more of all processors' time.
pub fn runtime() -> io::Result<Runtime> {
    let processors = thread::available_parallelism().map_or(1, usize::from);
    Builder::new_multi_thread()
        .worker_threads((processors / 2).max(1))
        .enable_all()
        .build()
}
