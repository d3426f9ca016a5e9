//! [`LossyPath`]: packets carried from one TUN device to another, late, and not all of them.

use std::{
    fmt,
    fs::File,
    io::{Read, Write},
    os::fd::{AsFd, AsRawFd},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
        mpsc,
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use anyhow::{Context, Result};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

/// How long a packet is on its way, in one direction.
const DELAY: Duration = Duration::from_millis(25);
/// One of so many packets is lost.
const LOST_ONE_IN: u64 = 100;
/// As long as a packet is at most.
const PACKET: usize = 2048;

nix::ioctl_write_ptr_bad!(attach, 0x4004_54ca, libc::ifreq);

/// A TUN device of the namespace in which it was made. It goes with this.
pub(crate) struct Device(File);

/// A path between two devices, as long as this lives.
pub(crate) struct LossyPath {
    stop: Arc<AtomicBool>,
    carried: Arc<AtomicU64>,
    lost: Arc<AtomicU64>,
    threads: Vec<JoinHandle<()>>,
}

impl Device {
    pub(crate) fn new(name: &str) -> Result<Self> {
        let file = File::options().read(true).write(true).open("/dev/net/tun");
        let file = file.context("Could not open /dev/net/tun")?;
        // SAFETY: an all-zero `ifreq` is a valid one.
        let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
        for (to, from) in request.ifr_name.iter_mut().zip(name.bytes().take(15)) {
            *to = from.cast_signed();
        }
        request.ifr_ifru.ifru_flags = (libc::IFF_TUN | libc::IFF_NO_PI) as libc::c_short;
        // SAFETY: the descriptor is open, and the kernel only reads and writes the request, which lives through the call.
        unsafe { attach(file.as_raw_fd(), &request) }.context("Could not make a TUN device")?;
        Ok(Self(file))
    }
}

impl LossyPath {
    pub(crate) fn between(one: Device, other: Device) -> Self {
        let mut path = Self {
            stop: Arc::default(),
            carried: Arc::default(),
            lost: Arc::default(),
            threads: Vec::new(),
        };
        let (one, other) = (Arc::new(one.0), Arc::new(other.0));
        path.carry(one.clone(), other.clone(), 1);
        path.carry(other, one, 2);
        path
    }

    fn carry(&mut self, from: Arc<File>, to: Arc<File>, seed: u64) {
        let (send, receive) = mpsc::channel::<(Instant, Vec<u8>)>();
        let (stop, carried, lost) = (self.stop.clone(), self.carried.clone(), self.lost.clone());
        self.threads.push(thread::spawn(move || {
            let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15);
            let mut buffer = [0; PACKET];
            while !stop.load(Ordering::Relaxed) {
                let mut ready = [PollFd::new(from.as_fd(), PollFlags::POLLIN)];
                if !poll(&mut ready, PollTimeout::from(100_u8)).is_ok_and(|count| count > 0) {
                    continue;
                }
                let Ok(length) = (&*from).read(&mut buffer) else { break };
                state ^= state << 13;
                state ^= state >> 7;
                state ^= state << 17;
                if state.is_multiple_of(LOST_ONE_IN) {
                    lost.fetch_add(1, Ordering::Relaxed);
                    continue;
                }
                carried.fetch_add(1, Ordering::Relaxed);
                if send.send((Instant::now() + DELAY, buffer[..length].to_vec())).is_err() {
                    break;
                }
            }
        }));
        self.threads.push(thread::spawn(move || {
            // It ends when nobody sends any more.
            for (due, packet) in receive {
                thread::sleep(due.saturating_duration_since(Instant::now()));
                // A full device loses packets, as a router does.
                let _ = (&*to).write(&packet);
            }
        }));
    }
}

impl fmt::Display for LossyPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (carried, lost) = (self.carried.load(Ordering::Relaxed), self.lost.load(Ordering::Relaxed));
        writeln!(f, "  {lost} of {} packets were lost", carried + lost)
    }
}

impl Drop for LossyPath {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            // It has nothing to say.
            let _ = thread.join();
        }
    }
}
