//! Debian's docker-registry over TLS.

use std::{
    fs,
    net::TcpStream,
    path::Path,
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use tempfile::TempDir;

use crate::{
    images::{Blob, write_layout},
    world::World,
};

pub(crate) const USER: &str = "tester";
pub(crate) const PASSWORD: &str = "open sesame";
/// What htpasswd makes of them, by bcrypt.
const HTPASSWD: &str = "tester:$2y$05$abcdefghijklmnopqrstuupx2xBUC4954936wVIjyyPHmUBFu0wCW\n";

/// A registry that is gone when this is dropped.
pub(crate) struct RegistryServer {
    pub(crate) port: u16,
    directory: TempDir,
    process: Child,
}

/// How one gets in.
pub(crate) enum Entry<'a> {
    Anybody,
    /// With `USER` and `PASSWORD`.
    Password,
    /// With a token that this part of the configuration describes.
    Token(&'a str),
}

impl RegistryServer {
    /// With the certificate of the world's nginx, which is for 127.0.0.1 too; or over plain HTTP.
    pub(crate) fn start(world: &World, entry: &Entry<'_>, is_plain: bool) -> Self {
        let directory = TempDir::new().unwrap();
        let port = dhow_tests::free_port();
        let root = directory.path().display();
        let auth = match entry {
            Entry::Anybody => String::new(),
            Entry::Password => {
                fs::write(directory.path().join("htpasswd"), HTPASSWD).unwrap();
                format!("auth: {{htpasswd: {{realm: dhow, path: {root}/htpasswd}}}}")
            }
            Entry::Token(token) => format!("auth: {{token: {token}}}"),
        };
        let tls = match is_plain {
            true => String::new(),
            false => format!(
                ", tls: {{certificate: {}, key: {}}}",
                world.path("server.pem").display(),
                world.path("server.key").display()
            ),
        };
        let config = format!(
            "version: 0.1\nlog: {{level: error, accesslog: {{disabled: true}}}}\n\
             storage: {{filesystem: {{rootdirectory: {root}/data}}}}\n\
             http: {{addr: '127.0.0.1:{port}', secret: x{tls}}}\n{auth}\n"
        );
        fs::write(directory.path().join("config.yml"), config).unwrap();
        let log = fs::File::create(directory.path().join("log")).unwrap();
        let process = Command::new("docker-registry")
            .arg("serve")
            .arg(directory.path().join("config.yml"))
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .expect("tests/run installs docker-registry");
        let server = Self {
            port,
            directory,
            process,
        };
        let deadline = Instant::now() + Duration::from_secs(20);
        while TcpStream::connect(("127.0.0.1", port)).is_err() {
            let log = || fs::read_to_string(server.directory.path().join("log")).unwrap_or_default();
            assert!(Instant::now() < deadline, "docker-registry does not start: {}", log());
            thread::sleep(Duration::from_millis(10));
        }
        server
    }

    /// Pushes the first of these blobs, and with it what it refers to, by skopeo.
    pub(crate) fn push(&self, repository: &str, tag: &str, blobs: &[&Blob]) {
        let layout = self.directory.path().join("layout");
        write_layout(&layout, tag, blobs);
        let mut skopeo = Command::new("skopeo");
        skopeo
            .args(["--insecure-policy", "copy", "-q", "--all", "--dest-tls-verify=false"])
            .args(["--dest-creds", &format!("{USER}:{PASSWORD}")])
            .arg(format!("oci:{}:{tag}", layout.display()))
            .arg(format!("docker://127.0.0.1:{}/{repository}:{tag}", self.port));
        let output = skopeo.stdin(Stdio::null()).output().expect("tests/run installs skopeo");
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{said}");
        fs::remove_dir_all(layout).unwrap();
    }

    /// The file of a blob in the registry's storage.
    pub(crate) fn blob_file(&self, blob: &Blob) -> std::path::PathBuf {
        let (_, hex) = blob.digest().split_once(':').unwrap();
        let storage = "data/docker/registry/v2/blobs/sha256";
        Path::new(self.directory.path())
            .join(storage)
            .join(&hex[..2])
            .join(hex)
            .join("data")
    }
}

impl Drop for RegistryServer {
    fn drop(&mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }
}
