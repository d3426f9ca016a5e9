//! [`Relay`]: a wire that is slow and counts.

use std::{
    io::{Read, Write},
    net::{Shutdown, TcpListener, TcpStream},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    thread,
    time::Duration,
};

/// Forwards connections to a port of this machine.
pub struct Relay {
    port: u16,
    sent: Arc<AtomicU64>,
}

impl Relay {
    /// A wire to a port, on which each connection brings so many bytes a second.
    pub fn new(to: u16, rate: u64) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("loopback has free ports");
        let port = listener.local_addr().expect("a listener has an address").port();
        let sent = Arc::new(AtomicU64::new(0));
        let count = sent.clone();
        thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                let Ok(server) = TcpStream::connect(("127.0.0.1", to)) else {
                    return;
                };
                let (Ok(mut from_client), Ok(mut to_server)) = (client.try_clone(), server.try_clone()) else {
                    return;
                };
                thread::spawn(move || {
                    let _ = std::io::copy(&mut from_client, &mut to_server);
                    let _ = to_server.shutdown(Shutdown::Write);
                });
                let count = count.clone();
                thread::spawn(move || forward(server, client, rate, &count));
            }
        });
        Self { port, sent }
    }

    /// Where it begins.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// How many bytes came to clients, protocol and all.
    pub fn sent(&self) -> u64 {
        self.sent.load(Ordering::SeqCst)
    }
}

fn forward(mut from: TcpStream, mut to: TcpStream, rate: u64, count: &AtomicU64) {
    let mut buffer = vec![0; 32 << 10];
    while let Ok(read @ 1..) = from.read(&mut buffer) {
        if to.write_all(&buffer[..read]).is_err() {
            break;
        }
        count.fetch_add(read as u64, Ordering::SeqCst);
        thread::sleep(Duration::from_secs_f64(read as f64 / rate as f64));
    }
    let _ = to.shutdown(Shutdown::Both);
    let _ = from.shutdown(Shutdown::Both);
}
