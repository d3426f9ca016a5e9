//! How a program ended.

use std::{
    io::Read,
    process::{Command, Stdio},
    thread,
};

/// What a program printed, how it exited, and how much memory it took.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// The command line, for messages.
    pub line: String,
    /// The exit code, or 128 and the number of the signal.
    pub code: i32,
    /// What it printed to stdout.
    pub stdout: String,
    /// What it printed to stderr.
    pub stderr: String,
    /// The largest resident set size in bytes.
    pub peak_memory: u64,
}

impl Outcome {
    /// Runs a command to its end.
    pub fn of(command: &mut Command) -> Self {
        let line = format!("{command:?}");
        let spawned = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn();
        #[expect(
            clippy::zombie_processes,
            reason = "it is waited for below, by a call that tells its memory too"
        )]
        let mut child =
            spawned.unwrap_or_else(|error| panic!("could not start {line}: {error} (tests/run installs it)"));
        let mut pipes = (
            child.stdout.take().expect("stdout is piped"),
            child.stderr.take().expect("stderr is piped"),
        );
        let stderr = thread::spawn(move || read(&mut pipes.1));
        let stdout = read(&mut pipes.0);
        let stderr = stderr.join().expect("reading does not panic");

        let pid = i32::try_from(child.id()).expect("process IDs are small");
        let mut status = 0;
        // SAFETY: `rusage` is plain numbers, for which zeros are a valid value.
        let mut usage: libc::rusage = unsafe { std::mem::zeroed() };
        // SAFETY: both pointers are to live values of the right types, and the child has not been waited for.
        let waited = unsafe { libc::wait4(pid, &mut status, 0, &mut usage) };
        assert_eq!(waited, pid, "waiting for {line}");
        let code = if libc::WIFEXITED(status) {
            libc::WEXITSTATUS(status)
        } else {
            128 + libc::WTERMSIG(status)
        };
        Self {
            line,
            code,
            stdout,
            stderr,
            peak_memory: u64::try_from(usage.ru_maxrss).unwrap_or(0) * 1024,
        }
    }

    /// Fails the test unless the program succeeded; gives what it printed.
    pub fn success(self) -> String {
        self.exited(0).stdout
    }

    /// Fails the test unless the program exited with this code.
    pub fn exited(self, code: i32) -> Self {
        assert_eq!(
            self.code, code,
            "{}\n--- stdout\n{}\n--- stderr\n{}",
            self.line, self.stdout, self.stderr
        );
        self
    }

    /// Fails the test unless the program told this to the person at the terminal.
    pub fn says(self, text: &str) -> Self {
        assert!(
            self.stderr.contains(text),
            "{}\n--- did not say\n{text}\n--- but\n{}",
            self.line,
            self.stderr
        );
        self
    }
}

fn read(pipe: &mut impl Read) -> String {
    let mut bytes = Vec::new();
    pipe.read_to_end(&mut bytes).expect("a pipe can be read");
    String::from_utf8_lossy(&bytes).into_owned()
}
