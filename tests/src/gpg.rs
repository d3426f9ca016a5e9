//! [`Gpg`]: the real GnuPG.

use std::process::Command;

use tempfile::TempDir;

use crate::Outcome;

/// GnuPG with a home of its own, whose agent ends with it.
pub struct Gpg {
    // The agent's socket is in it, and the path of a socket is short: so it is in /tmp, and not in the world.
    home: TempDir,
}

impl Default for Gpg {
    fn default() -> Self {
        Self::new()
    }
}

impl Gpg {
    /// A new home without keys.
    pub fn new() -> Self {
        Self {
            home: tempfile::Builder::new()
                .prefix("gpg")
                .tempdir_in("/tmp")
                .expect("/tmp can be written"),
        }
    }

    /// Its GNUPGHOME.
    pub fn home(&self) -> &std::path::Path {
        self.home.path()
    }

    /// Runs gpg without questions.
    pub fn run(&self, arguments: &[&str]) -> Outcome {
        let mut command = Command::new("gpg");
        command.env("GNUPGHOME", self.home.path()).args([
            "--batch",
            "--yes",
            "--no-tty",
            "--pinentry-mode",
            "loopback",
        ]);
        Outcome::of(command.args(["--passphrase", ""]).args(arguments))
    }

    /// Makes a key that signs, of an algorithm as gpg names it.
    pub fn generate(&self, user_id: &str, algorithm: &str) {
        self.run(&["--quick-generate-key", user_id, algorithm, "sign", "never"])
            .success();
    }
}

impl Drop for Gpg {
    fn drop(&mut self) {
        let _ = Command::new("gpgconf")
            .env("GNUPGHOME", self.home.path())
            .args(["--kill", "all"])
            .status();
    }
}
