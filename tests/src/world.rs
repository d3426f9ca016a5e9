//! [`World`]: one user's machine, for one test.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::Command,
};

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use tempfile::TempDir;

use crate::{Gpg, Image, Nginx, Outcome};

/// A temporary store, configuration and certificate authority, and the programs that use them.
pub struct World {
    directory: TempDir,
    authority: CertifiedIssuer<'static, KeyPair>,
    connections: Vec<String>,
}

impl Default for World {
    fn default() -> Self {
        Self::new()
    }
}

impl World {
    /// A new world, on the disk that the build is on: EROFS images cannot be mounted from a tmpfs.
    pub fn new() -> Self {
        let parent = workspace().join("target/tmp");
        fs::create_dir_all(&parent).expect("the target directory can be written");
        Self::in_directory(&parent)
    }

    /// A new world in memory, for what must not depend on how fast the disk is: a process that waits to write reads
    /// nothing meanwhile, and what the wire brought by then is lost with it.
    pub fn in_memory() -> Self {
        Self::in_directory(Path::new("/dev/shm"))
    }

    fn in_directory(parent: &Path) -> Self {
        let directory = TempDir::new_in(parent).expect("the world can be made");
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().expect("a key can be made");
        let authority = CertifiedIssuer::self_signed(params, key).expect("a certificate can be made");
        fs::write(directory.path().join("ca.pem"), authority.pem()).expect("the world can be written");
        Self {
            directory,
            authority,
            connections: Vec::new(),
        }
    }

    /// Leaves the world's directory where it is, for a person to look at.
    pub fn keep(self) -> PathBuf {
        self.directory.keep()
    }

    /// A path in the world.
    pub fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// Runs `dhow` as this world's user.
    pub fn dhow(&self, arguments: &[&str]) -> Outcome {
        Outcome::of(&mut self.dhow_command(arguments))
    }

    /// The command that [`Self::dhow`] runs, to be changed before.
    pub fn dhow_command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(programs().join("dhow"));
        command
            .current_dir(self.directory.path())
            .env("SOURCE_DATE_EPOCH", "1700000000");
        command
            .arg("--dir")
            .arg(self.path("data"))
            .arg("--config-dir")
            .arg(self.path("config"));
        command.arg("--ca").arg(self.path("ca.pem"));
        for connection in &self.connections {
            command.arg("--connect-to").arg(connection);
        }
        command.args(arguments);
        command
    }

    /// A file's path as an argument.
    pub fn arg(&self, name: &str) -> String {
        self.path(name)
            .to_str()
            .expect("the world's paths are plain text")
            .to_owned()
    }

    /// Begins a small image.
    pub fn image(&self, name: &str) -> Image<'_> {
        Image::new(self, name)
    }

    /// Makes a key for `carly@example.com` and gives its fingerprint.
    pub fn key(&self) -> String {
        self.dhow(&["key", "generate", "Carly <carly@example.com>"])
            .success()
            .split_whitespace()
            .collect()
    }

    /// Trusts the key of `carly@example.com` for `example.com`, and asks nobody for it.
    pub fn trust_own_key(&self) {
        let file = self.arg("carly.asc");
        self.dhow(&["key", "export", "carly@example.com", "-o", &file])
            .success();
        self.dhow(&["trust", "add", "--prefix", "example.com", "--yes", &file])
            .success();
    }

    /// A certificate of this world's authority for a host, and its key, as files.
    pub fn certificate(&self, host: &str) -> (PathBuf, PathBuf) {
        let key = KeyPair::generate().expect("a key can be made");
        let params = CertificateParams::new([host.to_owned()]).expect("a host can be in a certificate");
        let certificate = params
            .signed_by(&key, &self.authority)
            .expect("a certificate can be made");
        let paths = (self.path(&format!("{host}.pem")), self.path(&format!("{host}.key")));
        fs::write(&paths.0, certificate.pem()).expect("the world can be written");
        fs::write(&paths.1, key.serialize_pem()).expect("the world can be written");
        paths
    }

    /// Serves a directory of the world as `https://example.com`, for `dhow` alone.
    pub fn nginx(&mut self, site: &str) -> Nginx {
        self.nginx_as("example.com", site)
    }

    /// The same as another host.
    pub fn nginx_as(&mut self, host: &str, site: &str) -> Nginx {
        let certificate = self.certificate(host);
        let nginx = Nginx::start(
            &self.path(&format!("nginx-{}", self.connections.len())),
            &self.path(site),
            &certificate,
        );
        self.connect(host, nginx.port());
        nginx
    }

    /// Lets `dhow` reach a host at a port of this machine.
    pub fn connect(&mut self, host: &str, port: u16) {
        self.connections
            .retain(|connection| !connection.starts_with(&format!("{host}:")));
        self.connections.push(format!("{host}:443:127.0.0.1:{port}"));
    }

    /// GnuPG with a home of its own.
    pub fn gpg(&self) -> Gpg {
        Gpg::new()
    }

    /// What the store holds, as a person sees it.
    pub fn images(&self) -> String {
        self.dhow(&["image", "list", "--full"]).success()
    }
}

/// The root of the workspace.
pub fn workspace() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .expect("this crate is in the workspace")
        .to_owned()
}

/// Where the programs are that the tests execute: beside the test itself, or in the directory above. `tests/run` builds
/// them.
pub fn programs() -> PathBuf {
    let test = env::current_exe().expect("a process knows its program");
    let has_all = |directory: &&Path| {
        ["dhow", "dhow-pod", "dhow-mirror"]
            .iter()
            .all(|name| directory.join(name).exists())
    };
    let programs = test.ancestors().skip(1).take(2).find(has_all);
    programs
        .unwrap_or_else(|| panic!("the programs are not built: `tests/run` does, or `cargo build --workspace --bins`"))
        .to_owned()
}
