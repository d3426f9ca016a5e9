//! [`Together`]: a server that tells whether signature and archive are one round trip.

use std::{
    io::Write,
    sync::{Arc, Condvar, Mutex},
    time::Duration,
};

use crate::{publisher::Publisher, world::raw_server};

const PATIENCE: Duration = Duration::from_secs(20);

/// Serves one archive, whatever it is called. The signature comes only once the archive was asked for.
pub(crate) struct Together {
    pub(crate) port: u16,
    signature: Arc<Mutex<Vec<u8>>>,
    /// How often the archive was asked for.
    asked: Arc<(Mutex<usize>, Condvar)>,
}

impl Together {
    pub(crate) fn serve(archive: Vec<u8>) -> Self {
        let signature = Arc::<Mutex<Vec<u8>>>::default();
        let asked = Arc::<(Mutex<usize>, Condvar)>::default();
        let (signed, seen) = (signature.clone(), asked.clone());
        let port = raw_server(move |path, stream| {
            let (count, changed) = &*seen;
            let body = match path.ends_with(".asc") {
                true => {
                    let waited = changed.wait_timeout_while(count.lock().unwrap(), PATIENCE, |count| *count == 0);
                    assert!(!waited.unwrap().1.timed_out(), "nobody asks for the archive");
                    signed.lock().unwrap().clone()
                }
                false => {
                    *count.lock().unwrap() += 1;
                    changed.notify_all();
                    archive.clone()
                }
            };
            let head = "HTTP/1.1 200 OK\r\nConnection: close\r\nETag: \"1\"\r\n";
            let _ = write!(stream, "{head}Content-Length: {}\r\n\r\n", body.len());
            let _ = stream.write_all(&body);
        });
        Self { port, signature, asked }
    }

    /// What stands in the signature.
    pub(crate) fn sign(&self, signature: Vec<u8>) {
        *self.signature.lock().unwrap() = signature;
    }

    /// Fetches the archive by a reference, and sees to it that it is asked for once.
    pub(crate) async fn fetched_by(&self, publisher: &Publisher, reference: &str) {
        *self.asked.0.lock().unwrap() = 0;
        publisher.fetch(reference).await.unwrap();
        assert_eq!(*self.asked.0.lock().unwrap(), 1, "{reference} is asked for once");
    }
}
