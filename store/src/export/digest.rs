use std::{
    sync::{
        Arc,
        mpsc::{SyncSender, sync_channel},
    },
    thread::{self, JoinHandle},
};

use dhow_image::{ImageId, Sha512};
use sha2::Digest;

/// How many buffers can wait: two megabytes.
const QUEUE: usize = 16;

/// Takes the digest of a tar beside whoever reads it, since that is the slowest part of giving it out.
pub(super) struct DigestThread {
    buffers: SyncSender<Arc<Vec<u8>>>,
    thread: JoinHandle<ImageId>,
}

impl DigestThread {
    pub(super) fn start() -> Self {
        let (buffers, received) = sync_channel::<Arc<Vec<u8>>>(QUEUE);
        let thread = thread::spawn(move || {
            let mut hasher = Sha512::new();
            for buffer in received {
                hasher.update(buffer.as_slice());
            }
            ImageId::from_sha512(hasher)
        });
        Self { buffers, thread }
    }

    pub(super) fn update(&self, buffer: Arc<Vec<u8>>) {
        self.buffers
            .send(buffer)
            .expect("the thread receives until it is told to end");
    }

    /// The image ID of all bytes.
    pub(super) fn finish(self) -> ImageId {
        drop(self.buffers);
        self.thread.join().expect("taking a digest does not panic")
    }
}
