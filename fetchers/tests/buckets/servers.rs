//! Servers of S3's protocol, of Google's and of Azure's, each with one bucket.

use std::{
    fs,
    net::TcpStream,
    process::{Child, Command, Stdio},
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use dhow_discovery::{BucketSettings, Scheme};
use dhow_tests::{Server as Emulator, free_port};
use object_store::{ObjectStore, ObjectStoreExt, aws::AmazonS3Builder, azure::MicrosoftAzureBuilder, path::Path};
use tempfile::TempDir;

pub(crate) const BUCKET: &str = "images";
const ACCESS_KEY: &str = "AKIDHOW";
const SECRET_KEY: &str = "tell-nobody";

/// A server that is gone when this is dropped.
pub(crate) struct Server {
    pub(crate) name: &'static str,
    pub(crate) port: u16,
    program: Program,
    _directory: TempDir,
}

enum Program {
    /// It speaks S3's protocol.
    S3(Child),
    Google(Emulator),
    Azure(#[expect(dead_code, reason = "it ends when this is dropped")] Emulator),
}

impl Server {
    /// s3s-fs, which checks signatures.
    pub(crate) fn s3s_fs() -> Self {
        let directory = TempDir::new().unwrap();
        fs::create_dir(directory.path().join(BUCKET)).unwrap();
        let port = free_port();
        let mut command = Command::new("s3s-fs");
        command
            .args(["--host", "127.0.0.1", "--port", &port.to_string()])
            .args(["--access-key", ACCESS_KEY, "--secret-key", SECRET_KEY])
            .arg(directory.path());
        Self::start("s3s-fs", command, port, directory)
    }

    /// moto, which checks no signatures, and lets nobody read without one but what is for all.
    pub(crate) fn moto() -> Self {
        let port = free_port();
        let mut command = Command::new("moto_server");
        command.args(["-H", "127.0.0.1", "-p", &port.to_string()]);
        let server = Self::start("moto_server", command, port, TempDir::new().unwrap());
        // `object_store` makes objects, and no buckets.
        let made = Command::new("curl")
            .args(["-sf", "-X", "PUT", "-o", "/dev/null"])
            .arg(format!("http://127.0.0.1:{port}/{BUCKET}"))
            .status();
        assert!(made.unwrap().success());
        server
    }

    /// fake-gcs-server, which lets everybody read, and passes over `If-Match`.
    pub(crate) fn fake_gcs() -> Self {
        let emulator = Emulator::gcs();
        Self {
            name: "fake-gcs-server",
            port: emulator.port(),
            program: Program::Google(emulator),
            _directory: TempDir::new().unwrap(),
        }
    }

    /// Azurite, which checks signatures.
    pub(crate) fn azurite() -> Self {
        let directory = TempDir::new().unwrap();
        let emulator = Emulator::azure(directory.path());
        Self {
            name: "Azurite",
            port: emulator.port(),
            program: Program::Azure(emulator),
            _directory: directory,
        }
    }

    /// The kind of its buckets.
    pub(crate) fn scheme(&self) -> Scheme {
        match self.program {
            Program::S3(_) => Scheme::S3,
            Program::Google(_) => Scheme::Gs,
            Program::Azure(_) => Scheme::Az,
        }
    }

    fn start(name: &'static str, mut command: Command, port: u16, directory: TempDir) -> Self {
        let log = fs::File::create(directory.path().join("server.log")).unwrap();
        command
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log);
        let process = command.spawn();
        let process = process.unwrap_or_else(|error| panic!("tests/run installs {name}: {error}"));
        let server = Self {
            name,
            port,
            program: Program::S3(process),
            _directory: directory,
        };
        let deadline = Instant::now() + Duration::from_secs(60);
        while TcpStream::connect(("127.0.0.1", port)).is_err() {
            assert!(Instant::now() < deadline, "{name} does not start");
            thread::sleep(Duration::from_millis(20));
        }
        server
    }

    /// How it is reached by whoever may, at this port.
    pub(crate) fn settings(&self, port: u16) -> BucketSettings {
        let endpoint = format!("http://127.0.0.1:{port}");
        match self.scheme() {
            Scheme::Gs => BucketSettings::new([
                ("google_base_url", endpoint),
                ("google_skip_signature", "true".to_owned()),
            ]),
            Scheme::Az => {
                let (account, key) = Emulator::AZURE_KEY;
                BucketSettings::new([
                    ("azure_storage_endpoint", format!("{endpoint}/{account}")),
                    ("azure_storage_account_name", account.to_owned()),
                    ("azure_storage_account_key", key.to_owned()),
                ])
            }
            _ => BucketSettings::new([
                ("aws_endpoint_url", endpoint),
                ("aws_access_key_id", ACCESS_KEY.to_owned()),
                ("aws_secret_access_key", SECRET_KEY.to_owned()),
                ("aws_region", "us-east-1".to_owned()),
            ]),
        }
    }

    /// What puts objects there. Google's has none: fake-gcs-server knows only one of Google's two APIs for that.
    fn store(&self) -> Arc<dyn ObjectStore> {
        let endpoint = format!("http://127.0.0.1:{}", self.port);
        if self.scheme() == Scheme::Az {
            let (account, key) = Emulator::AZURE_KEY;
            let store = MicrosoftAzureBuilder::new()
                .with_container_name(BUCKET)
                .with_endpoint(format!("{endpoint}/{account}"))
                .with_allow_http(true)
                .with_account(account)
                .with_access_key(key);
            return Arc::new(store.build().unwrap());
        }
        let store = AmazonS3Builder::new()
            .with_bucket_name(BUCKET)
            .with_endpoint(endpoint)
            .with_allow_http(true)
            .with_region("us-east-1")
            .with_access_key_id(ACCESS_KEY)
            .with_secret_access_key(SECRET_KEY);
        Arc::new(store.build().unwrap())
    }

    pub(crate) async fn put(&self, key: &str, content: &[u8]) {
        if let Program::Google(emulator) = &self.program {
            let file = tempfile::NamedTempFile::new().unwrap();
            fs::write(file.path(), content).unwrap();
            return emulator.put_into_gcs(file.path(), key);
        }
        let content = content.to_vec();
        self.store().put(&Path::from(key), content.into()).await.unwrap();
    }

    /// Puts an object that everybody may read.
    pub(crate) fn put_for_all(&self, key: &str, content: &[u8]) {
        let file = tempfile::NamedTempFile::new().unwrap();
        fs::write(file.path(), content).unwrap();
        let put = Command::new("curl")
            .args(["-sf", "-o", "/dev/null", "-H", "x-amz-acl: public-read", "-T"])
            .arg(file.path())
            .arg(format!("http://127.0.0.1:{}/{BUCKET}/{key}", self.port))
            .status();
        assert!(put.unwrap().success());
    }

    pub(crate) async fn remove(&self, key: &str) {
        if let Program::Google(emulator) = &self.program {
            return emulator.remove_from_gcs(key);
        }
        self.store().delete(&Path::from(key)).await.unwrap();
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // The others end by themselves.
        if let Program::S3(process) = &mut self.program {
            process.kill().unwrap();
            process.wait().unwrap();
        }
    }
}
