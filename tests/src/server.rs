//! [`Server`]: registries and buckets of real programs on loopback.

use std::{
    fs,
    net::TcpStream,
    path::Path,
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use crate::{Outcome, World, free_port};

/// Makes a container: port, account, key, name. Whoever makes one must sign (appendix "Shared Key" of Azure's REST API).
const MAKE_CONTAINER: &str = r"
import base64, datetime, hashlib, hmac, sys, urllib.request
port, account, key, name = sys.argv[1:]
now = datetime.datetime.now(datetime.timezone.utc).strftime('%a, %d %b %Y %H:%M:%S GMT')
path = f'/{account}/{name}'
headers = {'x-ms-date': now, 'x-ms-version': '2021-08-06'}
lines = ['PUT'] + 11 * [''] + [f'{header}:{headers[header]}' for header in sorted(headers)]
text = '\n'.join(lines + [f'/{account}{path}', 'restype:container'])
digest = hmac.new(base64.b64decode(key), text.encode(), hashlib.sha256).digest()
headers['Authorization'] = f'SharedKey {account}:{base64.b64encode(digest).decode()}'
url = f'http://127.0.0.1:{port}{path}?restype=container'
urllib.request.urlopen(urllib.request.Request(url, method='PUT', headers=headers))
";

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

    /// The account of [`Self::azure`] and its key, which are Azurite's for everybody.
    pub const AZURE_KEY: (&str, &str) = (
        "devstoreaccount1",
        "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw==",
    );

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

    /// Microsoft's Azurite, with one empty container called as the bucket. Its files go into this directory.
    pub fn azure(directory: &Path) -> Self {
        let port = free_port();
        let mut command = Command::new("azurite-blob");
        command
            .args(["--blobHost", "127.0.0.1", "--blobPort", &port.to_string()])
            .args(["--silent", "--disableTelemetry", "--skipApiVersionCheck", "--location"])
            .arg(directory);
        let server = Self::start(&mut command, port);
        let (account, key) = Self::AZURE_KEY;
        let mut make = Command::new("python3");
        make.args(["-c", MAKE_CONTAINER, &port.to_string(), account, key, Self::BUCKET]);
        Outcome::of(&mut make).success();
        server
    }

    /// fake-gcs-server, which speaks Google's protocol, with one empty bucket. Whoever asks may read, and write by the
    /// API that [`Self::put_into_gcs`] uses.
    pub fn gcs() -> Self {
        let port = free_port();
        let address = format!("127.0.0.1:{port}");
        // Without a port it takes itself for the host that is asked for, at whatever port that was.
        let mut command = Command::new("fake-gcs-server");
        command
            .args(["-scheme", "http", "-host", "127.0.0.1", "-port", &port.to_string()])
            .args(["-backend", "memory", "-public-host", "127.0.0.1"]);
        let server = Self::start(&mut command, port);
        let mut make = Command::new("curl");
        make.args(["-sSf", "-o", "/dev/null", "-H", "content-type: application/json"])
            .args(["-d", &format!(r#"{{"name": "{}"}}"#, Self::BUCKET)])
            .arg(format!("http://{address}/storage/v1/b"));
        Outcome::of(&mut make).success();
        server
    }

    /// Puts a file into the bucket of [`Self::gcs`], as Google's own tools do.
    pub fn put_into_gcs(&self, file: &Path, key: &str) {
        let mut curl = Command::new("curl");
        curl.args([
            "-sSf",
            "-o",
            "/dev/null",
            "-X",
            "POST",
            "-H",
            "content-type: application/octet-stream",
        ])
        .arg("--data-binary")
        .arg(format!("@{}", file.display()))
        .arg(format!(
            "http://127.0.0.1:{}/upload/storage/v1/b/{}/o?uploadType=media&name={key}",
            self.port,
            Self::BUCKET
        ));
        Outcome::of(&mut curl).success();
    }

    /// Takes an object out of the bucket of [`Self::gcs`].
    pub fn remove_from_gcs(&self, key: &str) {
        let mut curl = Command::new("curl");
        curl.args(["-sSf", "-o", "/dev/null", "-X", "DELETE"]).arg(format!(
            "http://127.0.0.1:{}/storage/v1/b/{}/o/{key}",
            self.port,
            Self::BUCKET
        ));
        Outcome::of(&mut curl).success();
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
