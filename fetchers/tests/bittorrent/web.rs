//! An origin: a web server of one file, which counts what it sends.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, BufReader},
    net::{TcpListener, TcpStream},
};

pub(crate) struct Web {
    port: u16,
    shared: Arc<Shared>,
}

struct Shared {
    content: Mutex<Option<Vec<u8>>>,
    sent: AtomicU64,
    knows_ranges: AtomicBool,
    /// Bytes a second of each connection.
    rate: AtomicU64,
}

impl Web {
    pub(crate) async fn serve(content: Vec<u8>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let shared = Arc::new(Shared {
            content: Mutex::new(Some(content)),
            sent: AtomicU64::new(0),
            knows_ranges: AtomicBool::new(true),
            rate: AtomicU64::new(u64::MAX),
        });
        let port = listener.local_addr().unwrap().port();
        let serving = shared.clone();
        tokio::spawn(async move {
            while let Ok((connection, _)) = listener.accept().await {
                let shared = serving.clone();
                // Whoever hangs up in the middle is no failure of the server.
                tokio::spawn(async move { shared.answer(connection).await.ok() });
            }
        });
        Self { port, shared }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://127.0.0.1:{}/a.aci", self.port)
    }

    /// Serves this from now on, or nothing.
    pub(crate) fn put(&self, content: Option<Vec<u8>>) {
        *self.shared.content.lock().unwrap() = content;
    }

    /// How many bytes of bodies were sent.
    pub(crate) fn sent(&self) -> u64 {
        self.shared.sent.load(Ordering::SeqCst)
    }

    pub(crate) fn ranges(&self, known: bool) {
        self.shared.knows_ranges.store(known, Ordering::SeqCst);
    }

    pub(crate) fn rate(&self, rate: u64) {
        self.shared.rate.store(rate, Ordering::SeqCst);
    }
}

impl Shared {
    async fn answer(&self, connection: TcpStream) -> std::io::Result<()> {
        let mut connection = BufReader::new(connection);
        loop {
            let mut range = None;
            loop {
                let mut line = String::new();
                if connection.read_line(&mut line).await? == 0 {
                    return Ok(());
                }
                let line = line.trim_end().to_ascii_lowercase();
                if let Some(asked) = line.strip_prefix("range: bytes=") {
                    let (first, last) = asked.split_once('-').unwrap();
                    range = Some((first.parse().unwrap(), last.parse::<usize>().unwrap()));
                }
                if line.is_empty() {
                    break;
                }
            }
            let content = self.content.lock().unwrap().clone();
            let range = range.filter(|_| self.knows_ranges.load(Ordering::SeqCst));
            let (head, body) = match (&content, range) {
                (None, _) => ("404 Not Found".to_owned(), &[][..]),
                (Some(content), Some((first, last))) if last < content.len() => (
                    format!(
                        "206 Partial Content\r\ncontent-range: bytes {first}-{last}/{}",
                        content.len()
                    ),
                    &content[first..=last],
                ),
                (Some(_), Some(_)) => ("416 Range Not Satisfiable".to_owned(), &[][..]),
                (Some(content), None) => ("200 OK".to_owned(), &content[..]),
            };
            let head = format!("HTTP/1.1 {head}\r\ncontent-length: {}\r\n\r\n", body.len());
            connection.write_all(head.as_bytes()).await?;
            for part in body.chunks(16 << 10) {
                connection.write_all(part).await?;
                self.sent.fetch_add(part.len() as u64, Ordering::SeqCst);
                let seconds = part.len() as f64 / self.rate.load(Ordering::SeqCst) as f64;
                if seconds > 0.001 {
                    tokio::time::sleep(Duration::from_secs_f64(seconds)).await;
                }
            }
            connection.flush().await?;
        }
    }
}
