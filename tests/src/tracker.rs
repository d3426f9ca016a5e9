//! [`Tracker`]: where the peers of a test find each other.

use std::{
    collections::BTreeSet,
    io::{BufRead, BufReader, Write},
    net::{Ipv4Addr, SocketAddr, SocketAddrV4, TcpListener, TcpStream},
    sync::{Arc, Mutex, PoisonError},
    thread,
    time::{Duration, Instant},
};

/// A tracker over HTTP (BEP 3, BEP 23) of whatever torrents. It runs as long as the test.
pub struct Tracker {
    address: SocketAddrV4,
    peers: Arc<Mutex<BTreeSet<SocketAddrV4>>>,
}

impl Tracker {
    /// A tracker at this address of the test's own.
    pub fn start(address: Ipv4Addr) -> Self {
        let listener = TcpListener::bind((address, 0)).expect("the address is the test's own");
        let port = listener.local_addr().expect("a listener has an address").port();
        let peers = Arc::new(Mutex::new(BTreeSet::new()));
        let known = peers.clone();
        thread::spawn(move || {
            for connection in listener.incoming().flatten() {
                // Whoever says nonsense, or hangs up, gets no answer.
                let _ = answer(connection, &known);
            }
        });
        Self {
            address: SocketAddrV4::new(address, port),
            peers,
        }
    }

    /// Its URL.
    pub fn url(&self) -> String {
        format!("http://{}/announce", self.address)
    }

    /// Waits until somebody announced from this address.
    pub fn wait_for(&self, address: Ipv4Addr) {
        let deadline = Instant::now() + Duration::from_secs(40);
        let is_there = || {
            let peers = self.peers.lock().unwrap_or_else(PoisonError::into_inner);
            peers.iter().any(|peer| *peer.ip() == address)
        };
        while !is_there() {
            assert!(Instant::now() < deadline, "{address} does not announce itself");
            thread::sleep(Duration::from_millis(50));
        }
    }
}

fn answer(mut connection: TcpStream, peers: &Mutex<BTreeSet<SocketAddrV4>>) -> Option<()> {
    connection.set_read_timeout(Some(Duration::from_secs(5))).ok()?;
    let mut reader = BufReader::new(connection.try_clone().ok()?);
    let mut first = String::new();
    reader.read_line(&mut first).ok()?;
    let mut line = first.clone();
    while line.trim_end() != "" {
        line.clear();
        reader.read_line(&mut line).ok()?;
    }
    let query = first.split_whitespace().nth(1)?.split_once('?')?.1;
    let value = |key: &str| {
        query
            .split('&')
            .find_map(|pair| pair.strip_prefix(&format!("{key}=")[..]))
    };
    let port = value("port")?.parse().ok()?;
    let SocketAddr::V4(from) = connection.peer_addr().ok()? else {
        return None;
    };
    let peer = SocketAddrV4::new(*from.ip(), port);
    let mut known = peers.lock().unwrap_or_else(PoisonError::into_inner);
    if value("event") == Some("stopped") {
        known.remove(&peer);
    } else {
        known.insert(peer);
    }
    let others: Vec<u8> = known
        .iter()
        .filter(|other| **other != peer)
        .flat_map(|other| [&other.ip().octets()[..], &other.port().to_be_bytes()].concat())
        .collect();
    drop(known);
    let mut body = format!("d8:intervali2e5:peers{}:", others.len()).into_bytes();
    body.extend(others);
    body.push(b'e');
    let head = format!(
        "HTTP/1.1 200 OK\r\ncontent-length: {}\r\nconnection: close\r\n\r\n",
        body.len()
    );
    connection.write_all(head.as_bytes()).ok()?;
    connection.write_all(&body).ok()
}
