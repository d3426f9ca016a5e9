//! [`free_port`]: a port for a server that cannot choose one itself.

use std::{
    fs::{self, File},
    net::TcpListener,
    path::Path,
    sync::Mutex,
};

/// Below where Linux takes the ports of outgoing connections from: what is free here stays free.
const PORTS: std::ops::Range<u16> = 10_000..32_000;

/// The locks on the ports that this process has been given.
static HELD: Mutex<Vec<File>> = Mutex::new(Vec::new());

/// A port of loopback that nothing listens on, and that no other test is given while this process lives.
pub fn free_port() -> u16 {
    let directory = std::env::temp_dir().join("dhow-test-ports");
    fs::create_dir_all(&directory).expect("temporary files can be written");
    let port = std::iter::repeat_with(|| fastrand::u16(PORTS))
        .take(1000)
        .find(|port| is_ours(&directory, *port));
    port.expect("loopback has free ports")
}

fn is_ours(directory: &Path, port: u16) -> bool {
    let lock = File::create(directory.join(port.to_string())).expect("temporary files can be written");
    let is_ours = lock.try_lock().is_ok() && TcpListener::bind(("127.0.0.1", port)).is_ok();
    if is_ours {
        HELD.lock().expect("no holder panics").push(lock);
    }
    is_ours
}
