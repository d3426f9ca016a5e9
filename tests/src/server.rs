//! [`Server`]: registries and buckets of real programs on loopback.

use std::{
    fs,
    net::TcpStream,
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use crate::{Outcome, World, free_port};

/// A server that is gone when this is dropped.
pub struct Server {
    process: Child,
    port: u16,
}

impl Server {
    /// The bucket of [`Self::s3`].
    pub const BUCKET: &str = "images";
    /// Who may use it.
    pub const KEYS: (&str, &str) = ("AKIDHOW", "tell-nobody");

    /// Debian's docker-registry, over plain HTTP, for anybody.
    pub fn registry(world: &World) -> Self {
        let (port, root) = (free_port(), world.arg("registry"));
        fs::create_dir_all(&root).expect("the world can be written");
        let config = format!(
            "version: 0.1\nlog: {{level: error, accesslog: {{disabled: true}}}}\n\
             storage: {{filesystem: {{rootdirectory: {root}/data}}}}\nhttp: {{addr: '127.0.0.1:{port}', secret: x}}\n"
        );
        let path = format!("{root}/config.yml");
        fs::write(&path, config).expect("the world can be written");
        Self::start(Command::new("docker-registry").args(["serve", &path]), port)
    }

    /// s3s-fs, with one empty bucket.
    pub fn s3(world: &World) -> Self {
        let (port, root) = (free_port(), world.arg("s3"));
        fs::create_dir_all(format!("{root}/{}", Self::BUCKET)).expect("the world can be written");
        let (access, secret) = Self::KEYS;
        let mut command = Command::new("s3s-fs");
        command
            .args(["--host", "127.0.0.1", "--port", &port.to_string()])
            .args(["--access-key", access, "--secret-key", secret, &root]);
        Self::start(&mut command, port)
    }

    fn start(command: &mut Command, port: u16) -> Self {
        let process = command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn();
        let process =
            process.unwrap_or_else(|error| panic!("could not start {command:?}: {error} (tests/run installs it)"));
        let server = Self { process, port };
        let deadline = Instant::now() + Duration::from_secs(30);
        while TcpStream::connect(("127.0.0.1", port)).is_err() {
            assert!(Instant::now() < deadline, "{command:?} does not listen");
            thread::sleep(Duration::from_millis(10));
        }
        server
    }

    /// The port that it listens on.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Puts a file of the world into the bucket.
    pub fn put(&self, world: &World, file: &str) {
        let (access, secret) = Self::KEYS;
        let mut curl = Command::new("curl");
        curl.args([
            "-sSf",
            "-o",
            "/dev/null",
            "--aws-sigv4",
            "aws:amz:us-east-1:s3",
            "--user",
        ])
        .arg(format!("{access}:{secret}"))
        .args(["-H", "x-amz-content-sha256: UNSIGNED-PAYLOAD", "-T", &world.arg(file)])
        .arg(format!("http://127.0.0.1:{}/{}/{file}", self.port, Self::BUCKET));
        Outcome::of(&mut curl).success();
    }

    /// Pushes an image of a layout, as `layout:1.0`, into the registry, as `app:1.0`.
    pub fn push(&self, world: &World, image: &str, name: &str) {
        let mut skopeo = Command::new("skopeo");
        skopeo
            .args(["--insecure-policy", "copy", "-q", "--dest-tls-verify=false"])
            .arg(format!("oci:{}", world.arg(image)))
            .arg(format!("docker://127.0.0.1:{}/{name}", self.port));
        Outcome::of(&mut skopeo).success();
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
