//! [`Network`]: a network of the test's own, with other hosts in it.

use std::{
    fs,
    net::Ipv4Addr,
    process::{Child, Command, Stdio},
    sync::atomic::{AtomicU32, Ordering},
};

use crate::Outcome;

/// A network namespace that the test's thread, and all that it starts from then on, is in.
///
/// It needs root.
pub struct Network {
    hosts: u8,
}

/// Another host, on a wire of its own. It goes with this.
pub struct Host {
    name: String,
    number: u8,
}

/// A program on another host, which ends with this.
pub struct Running(Child);

static NETWORKS: AtomicU32 = AtomicU32::new(0);

impl Network {
    /// Leaves the machine's network. There is no way back for the thread.
    pub fn enter() -> Self {
        // SAFETY: it changes nothing but the network of this thread.
        let unshared = unsafe { libc::unshare(libc::CLONE_NEWNET) };
        assert_eq!(
            unshared,
            0,
            "a network namespace can be made: {}",
            std::io::Error::last_os_error()
        );
        ip(&["link", "set", "lo", "up"]);
        Self { hosts: 0 }
    }

    /// Adds a host.
    pub fn host(&mut self) -> Host {
        self.hosts += 1;
        let number = self.hosts;
        let unique = NETWORKS.fetch_add(1, Ordering::Relaxed);
        let host = Host {
            name: format!("dhow-{}-{unique}", std::process::id()),
            number,
        };
        let (ours, wire) = (host.wire(), format!("{}/24", host.gateway()));
        ip(&["netns", "add", &host.name]);
        ip(&[
            "link", "add", &ours, "type", "veth", "peer", "name", "eth0", "netns", &host.name,
        ]);
        ip(&["address", "add", &wire, "dev", &ours]);
        ip(&["link", "set", &ours, "up"]);
        ip(&["-n", &host.name, "link", "set", "lo", "up"]);
        ip(&[
            "-n",
            &host.name,
            "address",
            "add",
            &format!("{}/24", host.address()),
            "dev",
            "eth0",
        ]);
        ip(&["-n", &host.name, "link", "set", "eth0", "up"]);
        ip(&[
            "-n",
            &host.name,
            "route",
            "add",
            "default",
            "via",
            &host.gateway().to_string(),
        ]);
        host
    }
}

impl Host {
    /// Its address.
    pub fn address(&self) -> Ipv4Addr {
        Ipv4Addr::new(10, 213, self.number, 2)
    }

    /// The test's own address on its wire.
    pub fn gateway(&self) -> Ipv4Addr {
        Ipv4Addr::new(10, 213, self.number, 1)
    }

    /// A program on it.
    pub fn command(&self, program: &str) -> Command {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &self.name, program]);
        command
    }

    /// Starts a program on it.
    pub fn start(&self, command: &mut Command) -> Running {
        let started = command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn();
        Running(started.unwrap_or_else(|error| panic!("could not start {command:?}: {error} (tests/run installs it)")))
    }

    /// How many bytes came from it.
    pub fn sent(&self) -> u64 {
        let counter = "/proc/thread-self/net/dev";
        let devices = fs::read_to_string(counter).expect("a network has devices");
        let wire = format!("{}:", self.wire());
        let line = devices.lines().find_map(|line| line.trim().strip_prefix(&wire));
        let received = line
            .and_then(|line| line.split_whitespace().next())
            .expect("the wire is there");
        received.parse().expect("it is a number")
    }

    fn wire(&self) -> String {
        format!("wire{}", self.number)
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        // It says so on stderr if it fails, and a test that failed has more to tell.
        let _ = Command::new("ip").args(["netns", "delete", &self.name]).status();
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // `ip netns exec` becomes the program.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn ip(arguments: &[&str]) {
    Outcome::of(Command::new("ip").args(arguments)).success();
}
