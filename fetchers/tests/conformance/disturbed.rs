//! [`Disturbed`]: a wire that breaks.

use std::{
    io::{Read, Write},
    net::{Shutdown, TcpListener, TcpStream},
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
    thread,
    time::Duration,
};

/// What happens to the bytes that come from a server, on each connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Disturbance {
    /// Nothing.
    None,
    /// The connection breaks after so many.
    CutAfter(u64),
    /// After so many, no more come, and the connection stays.
    StallAfter(u64),
    /// So many come in a second.
    Rate(u64),
}

/// Forwards connections to a port of this machine.
pub(crate) struct Disturbed {
    pub(crate) port: u16,
    disturbance: Arc<Mutex<Disturbance>>,
    sent: Arc<AtomicU64>,
    open: Arc<Mutex<Vec<TcpStream>>>,
}

impl Disturbed {
    pub(crate) fn new(to: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let disturbance = Arc::new(Mutex::new(Disturbance::None));
        let sent = Arc::new(AtomicU64::new(0));
        let open = Arc::new(Mutex::new(Vec::new()));
        let shared = (disturbance.clone(), sent.clone(), open.clone());
        thread::spawn(move || {
            for client in listener.incoming() {
                let (client, server) = (client.unwrap(), TcpStream::connect(("127.0.0.1", to)).unwrap());
                let (disturbance, sent, open) = shared.clone();
                let disturbance = *disturbance.lock().unwrap();
                open.lock().unwrap().push(client.try_clone().unwrap());
                let (mut up, mut up_to) = (client.try_clone().unwrap(), server.try_clone().unwrap());
                thread::spawn(move || {
                    let _ = std::io::copy(&mut up, &mut up_to);
                    let _ = up_to.shutdown(Shutdown::Both);
                });
                thread::spawn(move || forward(server, client, disturbance, &sent));
            }
        });
        Self {
            port,
            disturbance,
            sent,
            open,
        }
    }

    /// From now on. Connections that are there break, so that nobody goes on with an old one.
    pub(crate) fn set(&self, disturbance: Disturbance) {
        *self.disturbance.lock().unwrap() = disturbance;
        for stream in self.open.lock().unwrap().drain(..) {
            let _ = stream.shutdown(Shutdown::Both);
        }
    }

    pub(crate) fn sent(&self) -> u64 {
        self.sent.load(Ordering::SeqCst)
    }
}

fn forward(mut server: TcpStream, mut client: TcpStream, disturbance: Disturbance, sent: &AtomicU64) {
    let mut piece = vec![0; 16 << 10];
    let mut left = match disturbance {
        Disturbance::CutAfter(most) | Disturbance::StallAfter(most) => most,
        Disturbance::None | Disturbance::Rate(_) => u64::MAX,
    };
    loop {
        let size = match disturbance {
            Disturbance::Rate(rate) => {
                thread::sleep(Duration::from_millis(50));
                usize::try_from(rate / 20).unwrap().clamp(1, piece.len() * 64)
            }
            _ => usize::try_from(left).unwrap_or(usize::MAX).min(piece.len()),
        };
        piece.resize(size.max(1), 0);
        let Ok(read @ 1..) = server.read(&mut piece) else { break };
        let read = read.min(usize::try_from(left).unwrap_or(usize::MAX));
        if client.write_all(&piece[..read]).is_err() {
            break;
        }
        sent.fetch_add(read as u64, Ordering::SeqCst);
        left -= read as u64;
        if left == 0 {
            if matches!(disturbance, Disturbance::StallAfter(_)) {
                // Until the client goes.
                thread::sleep(Duration::from_secs(30));
            }
            break;
        }
    }
    // With bytes of the client's unread, anything harder would take back what was sent.
    let _ = client.shutdown(Shutdown::Write);
    let _ = server.shutdown(Shutdown::Both);
}
