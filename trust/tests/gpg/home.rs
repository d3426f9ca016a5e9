//! A GnuPG home directory of its own, with an agent that ends with it.

use std::{
    io::Write as _,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
};

use dhow_trust::Certificate;
use tempfile::TempDir;

pub(crate) struct Gpg {
    home: TempDir,
}

impl Gpg {
    pub(crate) fn new() -> Self {
        // The path of the agent's socket may have 107 bytes at most.
        let home = tempfile::Builder::new().prefix("dhow-gpg-").tempdir_in("/tmp").unwrap();
        std::fs::set_permissions(home.path(), std::fs::Permissions::from_mode(0o700)).unwrap();
        Self { home }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.home.path().join(name)
    }

    /// Writes a file for gpg to work on.
    pub(crate) fn file(&self, name: &str, content: &[u8]) -> PathBuf {
        let path = self.path(name);
        std::fs::write(&path, content).unwrap();
        path
    }

    /// Runs gpg, whatever comes of it.
    pub(crate) fn output(&self, arguments: &[&str], stdin: &[u8]) -> Output {
        let mut child = self
            .command("gpg")
            .args([
                "--batch",
                "--yes",
                "--pinentry-mode",
                "loopback",
                "--passphrase",
                "",
                "--status-fd",
                "2",
            ])
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("these tests need gpg: install gnupg");
        // It may write before it has read all: both pipes must move.
        let mut pipe = child.stdin.take().unwrap();
        std::thread::scope(|scope| {
            scope.spawn(move || pipe.write_all(stdin));
            child.wait_with_output().unwrap()
        })
    }

    /// Runs gpg, which must succeed, and returns what it prints.
    pub(crate) fn run(&self, arguments: &[&str], stdin: &[u8]) -> Vec<u8> {
        let output = self.output(arguments, stdin);
        assert!(
            output.status.success(),
            "gpg {arguments:?}: {}",
            String::from_utf8_lossy(&output.stderr)
        );
        output.stdout
    }

    pub(crate) fn import(&self, key: &[u8]) {
        self.run(&["--import"], key);
    }

    /// Makes a key without a passphrase that can sign, and returns its fingerprint.
    pub(crate) fn generate(&self, algorithm: &str, user_id: &str) -> String {
        self.generate_with(algorithm, user_id, "sign", "never", &[])
    }

    pub(crate) fn generate_with(
        &self,
        algorithm: &str,
        user_id: &str,
        usage: &str,
        expires: &str,
        options: &[&str],
    ) -> String {
        self.run(
            &[options, &["--quick-generate-key", user_id, algorithm, usage, expires]].concat(),
            b"",
        );
        self.fingerprints(user_id).remove(0)
    }

    /// The fingerprints of a key and its subkeys.
    pub(crate) fn fingerprints(&self, user_id: &str) -> Vec<String> {
        let listing = self.listing(user_id);
        let lines = listing.lines().filter(|line| line.starts_with("fpr:"));
        lines.map(|line| line.split(':').nth(9).unwrap().to_owned()).collect()
    }

    /// What `--with-colons --list-keys` says.
    pub(crate) fn listing(&self, user_id: &str) -> String {
        String::from_utf8(self.run(&["--with-colons", "--list-keys", user_id], b"")).unwrap()
    }

    pub(crate) fn certificate(&self, user_id: &str) -> Certificate {
        Certificate::parse(&self.run(&["--armor", "--export", user_id], b"")).unwrap()
    }

    pub(crate) fn sign(&self, user_id: &str, data: &[u8]) -> Vec<u8> {
        self.sign_with(user_id, data, &["--armor"])
    }

    pub(crate) fn sign_with(&self, user_id: &str, data: &[u8], options: &[&str]) -> Vec<u8> {
        self.run(
            &[options, &["--local-user", user_id, "--output", "-", "--detach-sign"]].concat(),
            data,
        )
    }

    /// Verifies a detached signature and returns gpg's status lines.
    pub(crate) fn verify(&self, signature: &[u8], data: &[u8]) -> Result<String, String> {
        let signature = self.file("verified.asc", signature);
        let data = self.file("verified", data);
        let output = self.output(&["--verify", text(&signature), text(&data)], b"");
        let status = String::from_utf8_lossy(&output.stderr).into_owned();
        if output.status.success() {
            Ok(status)
        } else {
            Err(status)
        }
    }

    fn command(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        command
            .env("GNUPGHOME", self.home.path())
            .env("LC_ALL", "C")
            .current_dir(self.home.path());
        command
    }
}

impl Drop for Gpg {
    fn drop(&mut self) {
        // Its own agent, found by GNUPGHOME.
        let _ = self.command("gpgconf").args(["--kill", "all"]).output();
    }
}

pub(crate) fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}
