//! [`Nginx`]: a real web server.

use std::{
    fs,
    net::TcpStream,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use crate::free_port;

/// An nginx that serves a directory over TLS on loopback until it is dropped.
pub struct Nginx {
    process: Child,
    port: u16,
    home: PathBuf,
}

impl Nginx {
    pub(crate) fn start(home: &Path, site: &Path, (certificate, key): &(PathBuf, PathBuf)) -> Self {
        fs::create_dir_all(home).expect("the world can be written");
        let port = free_port();
        let (home_text, site) = (home.display(), site.display());
        let (certificate, key) = (certificate.display(), key.display());
        let configuration = format!(
            "daemon off; pid {home_text}/pid; error_log {home_text}/error.log; user root;
             events {{}}
             http {{
                 access_log {home_text}/access.log;
                 types {{ text/html html; }}
                 default_type application/octet-stream;
                 client_body_temp_path {home_text}/body; proxy_temp_path {home_text}/proxy;
                 fastcgi_temp_path {home_text}/fastcgi; uwsgi_temp_path {home_text}/uwsgi; scgi_temp_path {home_text}/scgi;
                 server {{
                     listen 127.0.0.1:{port} ssl http2;
                     ssl_certificate {certificate};
                     ssl_certificate_key {key};
                     port_in_redirect off;
                     root {site};
                     include {home_text}/extra*.conf;
                 }}
             }}"
        );
        fs::write(home.join("nginx.conf"), configuration).expect("the world can be written");
        let mut nginx = Self {
            process: spawn(home),
            port,
            home: home.to_owned(),
        };
        nginx.wait_until_it_listens();
        nginx
    }

    /// The port that it listens on.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// What it was asked for, a line each.
    pub fn requests(&self) -> String {
        fs::read_to_string(self.home.join("access.log")).expect("nginx writes its log")
    }

    fn wait_until_it_listens(&mut self) {
        let deadline = Instant::now() + Duration::from_secs(10);
        while TcpStream::connect(("127.0.0.1", self.port)).is_err() {
            if let Ok(Some(status)) = self.process.try_wait() {
                let log = fs::read_to_string(self.home.join("error.log")).unwrap_or_default();
                panic!("nginx ended with {status}:\n{log}");
            }
            assert!(Instant::now() < deadline, "nginx does not listen");
            thread::sleep(Duration::from_millis(10));
        }
    }
}

impl Drop for Nginx {
    fn drop(&mut self) {
        // Its workers go when their master does; killed, it would leave them.
        let pid = i32::try_from(self.process.id()).expect("process IDs are small");
        // SAFETY: the child has not been waited for, so the number is still its.
        unsafe { libc::kill(pid, libc::SIGTERM) };
        let _ = self.process.wait();
    }
}

fn spawn(home: &Path) -> Child {
    let program = ["/usr/sbin/nginx", "/usr/bin/nginx", "/usr/local/sbin/nginx"]
        .into_iter()
        .find(|path| Path::new(path).exists());
    let program = program.expect("nginx is missing: tests/run installs it");
    let mut command = Command::new(program);
    command
        .arg("-e")
        .arg(home.join("error.log"))
        .arg("-p")
        .arg(home)
        .arg("-c")
        .arg(home.join("nginx.conf"));
    command
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("nginx starts")
}
