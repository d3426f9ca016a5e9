//! [`runtime`]: the threads that speak to the network.

use std::{hint::black_box, io};

use tokio::runtime::{Builder, Runtime};

/// What comes is freed by the megabyte. glibc gives so much back to the kernel and takes it anew each time, until a larger
/// block was freed once (`mallopt(3)`, "M_MMAP_THRESHOLD"): page faults cost a download up to a tenth of its time.
const LARGEST_FREED: usize = 1 << 20;

/// A runtime to fetch in. It has two threads for what comes: to hash, to unpack and to write are done on threads made for
/// that.
pub fn runtime() -> io::Result<Runtime> {
    drop(black_box(Vec::<u8>::with_capacity(LARGEST_FREED)));
    Builder::new_multi_thread().worker_threads(2).enable_all().build()
}
