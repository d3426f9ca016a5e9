//! The machine below: its memory, and what other processes take of its processors.

use std::{fs, hint::black_box, time::Duration};

use anyhow::{Context, Result};

/// Touches so much memory and gives it back. In a virtual machine, memory that was not in use for a while is taken away by
/// the host, and a page that is touched again then costs several times what it costs elsewhere: whoever writes most pays
/// for that. Before each round this is done for all contestants alike.
pub(crate) fn warm(mebibytes: usize) {
    drop(black_box(vec![1_u8; mebibytes << 20]));
}

/// What processors have worked for a process that is not ours, and for its children.
pub(crate) fn worked_for(pid: u32) -> Result<Duration> {
    let children = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children"))?;
    let mut ticks = ticks_of(pid)?;
    for child in children.split_whitespace() {
        ticks += ticks_of(child.parse()?)?;
    }
    // The kernel's unit for other programs, on every architecture of ours.
    const TICKS_A_SECOND: u64 = 100;
    Ok(Duration::from_millis(ticks * 1000 / TICKS_A_SECOND))
}

/// `utime` and `stime` (proc(5), "/proc/pid/stat").
fn ticks_of(pid: u32) -> Result<u64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).with_context(|| format!("process {pid} is gone"))?;
    let (_, rest) = stat.rsplit_once(')').context("a process has a name")?;
    let times = rest.split_whitespace().skip(11).take(2).map(str::parse::<u64>);
    Ok(times.sum::<Result<u64, _>>()?)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::{process::Command, time::Instant};

    use super::*;

    #[test]
    fn the_work_of_children_counts() {
        let mut shell = Command::new("sh");
        let mut shell = shell.args(["-c", "(while :; do :; done) & wait"]).spawn().unwrap();
        let deadline = Instant::now() + Duration::from_secs(10);
        while worked_for(shell.id()).unwrap() < Duration::from_millis(50) {
            assert!(Instant::now() < deadline);
            std::thread::sleep(Duration::from_millis(10));
        }
        let children = fs::read_to_string(format!("/proc/{0}/task/{0}/children", shell.id())).unwrap();
        let child = children.trim().parse().unwrap();
        // SAFETY: this is a child of a child of ours that has not been waited for.
        unsafe { libc::kill(child, libc::SIGKILL) };
        shell.wait().unwrap();
    }
}
