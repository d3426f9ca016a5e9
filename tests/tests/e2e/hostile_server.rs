//! [`Hostile`]: a web server over TLS that writes whatever a test wants.

use std::{
    collections::HashMap,
    io::{BufRead, BufReader, Read, Write},
    net::{TcpListener, TcpStream},
    path::PathBuf,
    sync::{Arc, Mutex},
    thread,
    time::Duration,
};

use rustls::{ServerConfig, ServerConnection, StreamOwned};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject};

/// One request, as it came.
#[derive(Clone, Debug, Default)]
pub(crate) struct Asked {
    pub(crate) path: String,
    /// In lower case, with their values.
    pub(crate) headers: HashMap<String, String>,
    /// How often this path was asked for before.
    pub(crate) before: usize,
}

impl Asked {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(String::as_str)
    }

    /// The first byte of the range that is asked for.
    pub(crate) fn from(&self) -> Option<usize> {
        let range = self.header("range")?.strip_prefix("bytes=")?;
        range.split('-').next()?.parse().ok()
    }
}

pub(crate) trait Wire: Read + Write {}
impl<T: Read + Write> Wire for T {}

type Answer = dyn Fn(&Asked, &mut dyn Wire) + Send + Sync;

pub(crate) struct Hostile {
    pub(crate) port: u16,
    answer: Arc<Mutex<Arc<Answer>>>,
    asked: Arc<Mutex<Vec<Asked>>>,
}

impl Hostile {
    /// A server with this certificate and key that answers each connection once.
    pub(crate) fn start((certificate, key): &(PathBuf, PathBuf)) -> Self {
        let certificates = CertificateDer::pem_file_iter(certificate).unwrap().map(Result::unwrap);
        let key = PrivateKeyDer::from_pem_file(key).unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(certificates.collect(), key)
            .unwrap();
        let (config, listener) = (Arc::new(config), TcpListener::bind("127.0.0.1:0").unwrap());
        let hostile = Self {
            port: listener.local_addr().unwrap().port(),
            answer: Arc::new(Mutex::new(Arc::new(|_: &Asked, _: &mut dyn Wire| ()))),
            asked: Arc::default(),
        };
        let (answer, asked) = (hostile.answer.clone(), hostile.asked.clone());
        thread::spawn(move || {
            for stream in listener.incoming() {
                let (stream, answer, asked) = (stream.unwrap(), answer.lock().unwrap().clone(), asked.clone());
                let tls = ServerConnection::new(config.clone()).unwrap();
                thread::spawn(move || serve(StreamOwned::new(tls, stream), &*answer, &asked));
            }
        });
        hostile
    }

    /// From now on it answers so, and has forgotten what it was asked.
    pub(crate) fn answers(&self, answer: impl Fn(&Asked, &mut dyn Wire) + Send + Sync + 'static) {
        *self.answer.lock().unwrap() = Arc::new(answer);
        self.asked.lock().unwrap().clear();
    }

    pub(crate) fn asked(&self) -> Vec<Asked> {
        self.asked.lock().unwrap().clone()
    }
}

fn serve(mut stream: StreamOwned<ServerConnection, TcpStream>, answer: &Answer, asked: &Mutex<Vec<Asked>>) {
    let _ = stream.sock.set_write_timeout(Some(Duration::from_secs(60)));
    let mut lines = Vec::new();
    let mut reader = BufReader::new(&mut stream);
    loop {
        let mut line = String::new();
        match reader.read_line(&mut line) {
            Ok(1..) if !line.trim().is_empty() => lines.push(line.trim().to_owned()),
            Ok(1..) => break,
            _ => return,
        }
    }
    let Some(path) = lines.first().and_then(|line| line.split(' ').nth(1)) else {
        return;
    };
    let header = |line: &String| {
        let (name, value) = line.split_once(':')?;
        Some((name.to_ascii_lowercase(), value.trim().to_owned()))
    };
    let request = {
        let mut asked = asked.lock().unwrap();
        let request = Asked {
            path: path.to_owned(),
            headers: lines[1..].iter().filter_map(header).collect(),
            before: asked.iter().filter(|other| other.path == path).count(),
        };
        asked.push(request.clone());
        request
    };
    answer(&request, &mut stream);
    stream.conn.send_close_notify();
    let _ = stream.flush();
    // What the client still says must not make the kernel take back what was sent.
    let _ = stream.sock.set_read_timeout(Some(Duration::from_secs(1)));
    let _ = std::io::copy(&mut stream, &mut std::io::sink());
}
