//! [`Program`]: a program as a user runs it, with the memory it took.

use std::{
    ffi::OsStr,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::{Context, Result, ensure};

/// A run of a program.
pub(crate) struct Program(Command);

impl Program {
    /// One that is installed.
    pub(crate) fn new(name: impl AsRef<OsStr>) -> Self {
        let mut command = Command::new(name);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        Self(command)
    }

    /// `dhow` as it was built beside this program.
    pub(crate) fn dhow() -> Result<Self> {
        let path = beside("dhow")?;
        ensure!(
            path.exists(),
            "`{}` is not there: cargo build --release -p dhow",
            path.display()
        );
        Ok(Self::new(path))
    }

    pub(crate) fn args<S: AsRef<OsStr>>(mut self, arguments: impl IntoIterator<Item = S>) -> Self {
        self.0.args(arguments);
        self
    }

    /// Runs it to its end, and gives its peak memory in bytes.
    pub(crate) fn run(mut self) -> Result<u64> {
        let shown = format!("{:?}", self.0);
        // The kernel counts as a program's what it was forked from had at its peak; this forgets ours.
        std::fs::write("/proc/self/clear_refs", "5").context("Could not reset this program's peak memory")?;
        let child = self.0.spawn().with_context(|| format!("Could not run {shown}"))?;
        let pid = i32::try_from(child.id())?;
        let mut status = 0;
        // SAFETY: an all-zero `rusage` is a valid one.
        let mut usage: libc::rusage = unsafe { std::mem::zeroed() };
        // SAFETY: both pointers are to variables of ours that live through the call; nobody else waits for this child.
        let waited = unsafe { libc::wait4(pid, &mut status, 0, &mut usage) };
        ensure!(waited == pid, "could not wait for {shown}");
        ensure!(status == 0, "{shown} failed");
        Ok(u64::try_from(usage.ru_maxrss)? << 10)
    }
}

fn beside(name: &str) -> Result<PathBuf> {
    let own = std::env::current_exe()?;
    Ok(own.parent().context("a program lies in a directory")?.join(name))
}

/// The text of a path, for arguments that have a prefix.
pub(crate) fn text(path: &Path) -> Result<&str> {
    path.to_str()
        .with_context(|| format!("`{}` is not UTF-8", path.display()))
}
