//! [`World`]: a directory, a CA and an nginx that serves any name over TLS.

use std::{
    fs,
    io::{BufRead, BufReader, Write},
    net::{TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use dhow_fetchers::{HttpClient, HttpOptions};
use dhow_tests::free_port;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use tempfile::TempDir;

/// Names that the certificate of nginx is for.
const NAMES: [&str; 5] = [
    "example.com",
    "other.example",
    "storage.example",
    "localhost",
    "127.0.0.1",
];

pub(crate) struct World {
    directory: TempDir,
    nginx: Child,
    pub(crate) https: u16,
    pub(crate) http: u16,
}

impl World {
    /// Starts nginx. `locations` go into its server block.
    pub(crate) fn new(locations: &str) -> Self {
        let directory = TempDir::new().unwrap();
        let root = directory.path();
        certificates(root);
        fs::create_dir(root.join("www")).unwrap();
        fs::create_dir(root.join("tmp")).unwrap();
        let (https, http) = (free_port(), free_port());
        let config = config(root, https, http, locations);
        fs::write(root.join("nginx.conf"), config).unwrap();
        let mut nginx = Command::new("/usr/sbin/nginx");
        nginx
            .arg("-e")
            .arg(root.join("error.log"))
            .arg("-p")
            .arg(root)
            .arg("-c")
            .arg(root.join("nginx.conf"));
        let nginx = nginx.stdin(Stdio::null()).spawn().expect("nginx is installed");
        let world = Self {
            directory,
            nginx,
            https,
            http,
        };
        let deadline = Instant::now() + Duration::from_secs(10);
        while TcpStream::connect(("127.0.0.1", https)).is_err() {
            let log = || fs::read_to_string(world.path("error.log")).unwrap_or_default();
            assert!(Instant::now() < deadline, "nginx does not start: {}", log());
            thread::sleep(Duration::from_millis(10));
        }
        world
    }

    pub(crate) fn path(&self, path: &str) -> PathBuf {
        self.directory.path().join(path)
    }

    /// Puts a file on the web server.
    pub(crate) fn serve(&self, path: &str, content: impl AsRef<[u8]>) {
        let path = self.path("www").join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }

    /// Options with which each name finds nginx at its usual ports.
    pub(crate) fn options(&self) -> HttpOptions {
        let names = ["example.com", "other.example", "storage.example"];
        let connect_to = names.iter().flat_map(|name| {
            let rule = |port: u16, to: u16| format!("{name}:{port}:127.0.0.1:{to}").parse().unwrap();
            [rule(443, self.https), rule(80, self.http)]
        });
        HttpOptions {
            ca: vec![self.path("ca.pem")],
            connect_to: connect_to.collect(),
            ..HttpOptions::default()
        }
    }

    pub(crate) fn client(&self) -> HttpClient {
        HttpClient::new(self.options()).unwrap()
    }
}

impl Drop for World {
    fn drop(&mut self) {
        self.nginx.kill().unwrap();
        self.nginx.wait().unwrap();
    }
}

fn config(root: &Path, https: u16, http: u16, locations: &str) -> String {
    let root = root.display();
    let user = if nix_is_root() { "user root;" } else { "" };
    format!(
        r#"
        {user}
        daemon off;
        master_process off;
        pid {root}/nginx.pid;
        error_log {root}/error.log;
        events {{ worker_connections 64; }}
        http {{
            access_log off;
            default_type application/octet-stream;
            client_body_temp_path {root}/tmp;
            proxy_temp_path {root}/tmp;
            fastcgi_temp_path {root}/tmp;
            uwsgi_temp_path {root}/tmp;
            scgi_temp_path {root}/tmp;
            gzip on;
            gzip_min_length 1;
            gzip_types *;
            absolute_redirect off;
            server {{
                listen 127.0.0.1:{http};
                listen 127.0.0.1:{https} ssl http2;
                ssl_certificate {root}/server.pem;
                ssl_certificate_key {root}/server.key;
                root {root}/www;
                location = /seen {{
                    return 200 "$server_protocol host=$http_host sni=$ssl_server_name auth=$http_authorization agent=$http_user_agent encoding=$http_accept_encoding";
                }}
                {locations}
                location / {{ try_files $uri $uri/index.html =404; }}
            }}
        }}
        "#
    )
}

fn nix_is_root() -> bool {
    let id = Command::new("id").arg("-u").output().unwrap();
    id.stdout.trim_ascii() == b"0"
}

fn certificates(root: &Path) {
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let ca = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
    let key = KeyPair::generate().unwrap();
    let params = CertificateParams::new(NAMES.map(str::to_owned)).unwrap();
    let certificate = params.signed_by(&key, &ca).unwrap();
    fs::write(root.join("ca.pem"), ca.pem()).unwrap();
    fs::write(root.join("server.pem"), certificate.pem()).unwrap();
    fs::write(root.join("server.key"), key.serialize_pem()).unwrap();
}

/// A server of plain HTTP that answers each connection once, with whatever bytes `answer` writes for the path.
pub(crate) fn raw_server(answer: impl Fn(&str, &mut TcpStream) + Send + Sync + 'static) -> u16 {
    raw_server_with_head(move |path, _, stream| answer(path, stream))
}

/// The same, where the answer depends on the lines of the request's head.
pub(crate) fn raw_server_with_head(answer: impl Fn(&str, &[String], &mut TcpStream) + Send + Sync + 'static) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let answer = std::sync::Arc::new(answer);
    thread::spawn(move || {
        for stream in listener.incoming() {
            let (mut stream, answer) = (stream.unwrap(), answer.clone());
            thread::spawn(move || {
                let lines = BufReader::new(stream.try_clone().unwrap())
                    .lines()
                    .map_while(Result::ok);
                let head: Vec<String> = lines.take_while(|line| !line.is_empty()).collect();
                let Some(first) = head.first() else { return };
                answer(first.split(' ').nth(1).unwrap(), &head, &mut stream);
                let _ = stream.flush();
            });
        }
    });
    port
}
