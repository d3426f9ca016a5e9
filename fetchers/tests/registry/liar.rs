//! [`Liar`]: a registry that says whatever a test wants, behind nginx, which speaks TLS for it.

use std::{
    collections::HashMap,
    io::Write,
    net::TcpStream,
    sync::{Arc, Mutex},
};

use dhow_fetchers::HttpClient;

use crate::{
    images::{Blob, Image, MANIFEST},
    publisher::Publisher,
    pulled::user,
    world::raw_server_with_head,
};

type Writer = Arc<dyn Fn(&mut TcpStream) + Send + Sync>;

/// What it says of each path beneath `/v2/app/`, and who asked.
pub(crate) struct Liar {
    pub(crate) user: Publisher,
    answers: Arc<Mutex<HashMap<String, Writer>>>,
    pub(crate) seen: Arc<Mutex<Vec<String>>>,
}

impl Liar {
    /// A registry at `example.com`, and a user who takes images that nobody signed.
    pub(crate) fn new() -> Self {
        let answers: Arc<Mutex<HashMap<String, Writer>>> = Arc::default();
        let seen: Arc<Mutex<Vec<String>>> = Arc::default();
        let (said, heard) = (answers.clone(), seen.clone());
        let port = raw_server_with_head(move |path, head, stream| {
            heard.lock().unwrap().push(head.join("\n"));
            let path = path.split('?').next().unwrap();
            let answer = said.lock().unwrap().get(path).cloned();
            match answer {
                Some(answer) => answer(stream),
                None => drop(stream.write_all(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n")),
            }
        });
        let proxy = format!("proxy_pass http://127.0.0.1:{port}; proxy_buffering off; proxy_set_header Host $host;");
        let mut user = user(&format!(
            "location /v2/ {{ {proxy} }} location /token {{ {proxy} }} location /elsewhere {{ {proxy} }}"
        ));
        // Where the registry is found says nothing of the network that it is in.
        user.context.client = HttpClient::new(user.world.options()).unwrap();
        Self { user, answers, seen }
    }

    /// Has nothing any more.
    pub(crate) fn forgets(&self) {
        self.answers.lock().unwrap().clear();
    }

    /// Answers this path by whatever is written.
    pub(crate) fn writes(&self, path: &str, write: impl Fn(&mut TcpStream) + Send + Sync + 'static) {
        self.answers.lock().unwrap().insert(path.to_owned(), Arc::new(write));
    }

    /// Answers this path with a status, headers and a body.
    pub(crate) fn says(&self, path: &str, status: &str, headers: &str, body: &[u8]) {
        let mut answer = format!("HTTP/1.1 {status}\r\n{headers}Content-Length: {}\r\n\r\n", body.len()).into_bytes();
        answer.extend_from_slice(body);
        self.writes(path, move |stream| drop(stream.write_all(&answer)));
    }

    /// Has this document under a tag.
    pub(crate) fn tags(&self, tag: &str, document: &[u8]) {
        let headers = format!("Content-Type: {MANIFEST}\r\n");
        self.says(&format!("/v2/app/manifests/{tag}"), "200 OK", &headers, document);
    }

    /// Has this document under its digest.
    pub(crate) fn document(&self, document: &Blob) {
        self.tags(document.digest(), &document.content);
    }

    /// Has this blob.
    pub(crate) fn blob(&self, blob: &Blob) {
        self.says(&blob_path(blob), "200 OK", "", &blob.content);
    }

    /// Has a whole image, as an honest registry would.
    pub(crate) fn image(&self, tag: &str, image: &Image) {
        self.tags(tag, &image.manifest.content);
        self.document(&image.manifest);
        image.blobs.iter().for_each(|blob| self.blob(blob));
    }
}

/// Where a registry has a blob.
pub(crate) fn blob_path(blob: &Blob) -> String {
    format!("/v2/app/blobs/{}", blob.digest())
}
