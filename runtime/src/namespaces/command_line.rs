//! What the apps of a pod see of its PID 1 in `/proc/1/cmdline`.

use std::{ffi::CStr, fs, ptr};

use nix::sys::prctl;

/// Makes `name` this process's name and whole command line.
///
/// PID 1 has the parent's arguments, which name the host's directories and may hold what is one app's secret.
pub(super) fn replace(name: &CStr) {
    // Neither is worth failing a pod for: a kernel that tells no addresses tells no apps either.
    let _ = prctl::set_name(name);
    let Some((start, end)) = addresses() else { return };
    let name = name.to_bytes();
    let Some(rest) = (end - start).checked_sub(name.len()) else {
        return;
    };
    let start: *mut u8 = ptr::with_exposed_provenance_mut(start);
    // SAFETY: the kernel put the arguments there when it made the process, on writable pages of its stack, and says how
    // far they reach. This process has one thread, which reads its arguments before it becomes PID 1 and never after.
    unsafe {
        ptr::copy_nonoverlapping(name.as_ptr(), start, name.len());
        ptr::write_bytes(start.add(name.len()), 0, rest);
    }
}

/// Where this process's arguments begin and end (proc_pid_stat(5), `arg_start` and `arg_end`).
fn addresses() -> Option<(usize, usize)> {
    let stat = fs::read_to_string("/proc/self/stat").ok()?;
    // The second field is a name in parentheses that may hold anything; the ones after it are numbers.
    let (_, numbers) = stat.rsplit_once(')')?;
    let mut numbers = numbers.split_whitespace().skip(48 - 3);
    let (start, end) = (numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?);
    (0 < start && start < end).then_some((start, end))
}
