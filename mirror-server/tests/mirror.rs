//! The real server on loopback, asked as clients, and as attackers, ask.

#![allow(clippy::unwrap_used, missing_docs)]

use std::{
    fs,
    io::{BufRead, BufReader, Read, Write},
    net::TcpStream,
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
    sync::Arc,
    time::{Duration, Instant},
};

use dhow_mirror::{Error, ServeConfig, Server, TlsIdentity, Transport};
use dhow_site::Files;
use futures::StreamExt;
use object_store::{ObjectStoreExt, memory::InMemory};
use reqwest::{Client, Method, Response, StatusCode, header};
use tempfile::TempDir;

/// A certificate for loopback, and a client that believes it and nothing else.
struct Identity {
    certificate: String,
    key: String,
}

impl Identity {
    fn new() -> Self {
        let names = ["localhost".to_owned(), "127.0.0.1".to_owned()];
        let rcgen::CertifiedKey { cert, signing_key } = rcgen::generate_simple_self_signed(names).unwrap();
        Self {
            certificate: cert.pem(),
            key: signing_key.serialize_pem(),
        }
    }

    fn client(&self) -> Client {
        let certificate = reqwest::Certificate::from_pem(self.certificate.as_bytes()).unwrap();
        let none = reqwest::redirect::Policy::none();
        Client::builder()
            .tls_certs_only([certificate])
            .redirect(none)
            .no_proxy()
            .build()
            .unwrap()
    }

    fn tls(&self) -> Transport {
        Transport::Tls(TlsIdentity::from_pem(self.certificate.as_bytes(), self.key.as_bytes()).unwrap())
    }
}

/// A server in this process, and a client of it.
struct World {
    url: String,
    client: Client,
}

impl World {
    fn serve(files: Files) -> Self {
        let identity = Identity::new();
        let server = Server::bind(ServeConfig {
            files,
            listen: "127.0.0.1:0".parse().unwrap(),
            transport: identity.tls(),
        })
        .unwrap();
        let url = server.url();
        assert!(url.starts_with("https://127.0.0.1:") && !url.ends_with(":0"), "{url}");
        tokio::spawn(server.run());
        Self {
            url,
            client: identity.client(),
        }
    }

    async fn ask(&self, method: Method, path: &str, headers: &[(&str, &str)]) -> Response {
        let mut request = self.client.request(method, format!("{}{path}", self.url));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        request.send().await.unwrap()
    }

    async fn get(&self, path: &str) -> Response {
        self.ask(Method::GET, path, &[]).await
    }
}

/// A site with a page and an archive of the bytes 0 to 255, over and over.
fn site() -> TempDir {
    let site = tempfile::tempdir().unwrap();
    let archives = site.path().join("ACI/example.com/~bob");
    fs::create_dir_all(&archives).unwrap();
    fs::write(archives.join("1.0+x.aci"), content()).unwrap();
    fs::write(archives.join("1.0+x.aci.asc"), "signature").unwrap();
    fs::write(site.path().join("pubkeys.gpg"), "keys").unwrap();
    fs::write(site.path().join("index.html"), "first").unwrap();
    fs::write(site.path().join("empty"), "").unwrap();
    fs::create_dir_all(site.path().join("app")).unwrap();
    fs::write(site.path().join("app/index.html"), "<p>app").unwrap();
    site
}

fn content() -> Vec<u8> {
    (0..1_000_000_u32).map(|index| (index % 251) as u8).collect()
}

const ARCHIVE: &str = "/ACI/example.com/~bob/1.0+x.aci";

fn value(response: &Response, name: header::HeaderName) -> &str {
    response.headers().get(name).map_or("", |value| value.to_str().unwrap())
}

#[tokio::test]
async fn files_and_pages_are_served_with_what_tells_them_apart() {
    let site = site();
    let world = World::serve(Files::open_directory(site.path()).unwrap());
    for path in ["/app?ac-discovery=1", "/app/?ac-discovery=1", "/app/index.html"] {
        let page = world.get(path).await;
        assert_eq!(page.status(), StatusCode::OK, "{path}");
        assert_eq!(page.version(), reqwest::Version::HTTP_2);
        assert_eq!(value(&page, header::CONTENT_TYPE), "text/html; charset=utf-8");
        assert_eq!(page.text().await.unwrap(), "<p>app");
    }
    assert_eq!(world.get("/").await.text().await.unwrap(), "first");

    for path in [ARCHIVE, "/ACI/example.com/%7Ebob/1.0%2Bx.aci"] {
        let archive = world.get(path).await;
        assert_eq!(value(&archive, header::CONTENT_TYPE), "application/octet-stream");
        assert_eq!(value(&archive, header::CONTENT_LENGTH), "1000000");
        assert_eq!(value(&archive, header::ACCEPT_RANGES), "bytes");
        assert!(value(&archive, header::LAST_MODIFIED).ends_with(" GMT"));
        let tag = value(&archive, header::ETAG);
        assert!(tag.starts_with('"') && tag.ends_with('"') && tag.len() > 2, "{tag}");
        assert_eq!(archive.bytes().await.unwrap(), content());
    }
    let signature = world.get(&format!("{ARCHIVE}.asc")).await;
    assert_eq!(value(&signature, header::CONTENT_TYPE), "application/pgp-signature");
    assert_eq!(
        value(&world.get("/pubkeys.gpg").await, header::CONTENT_TYPE),
        "application/pgp-keys"
    );
    assert_eq!(world.get("/empty").await.text().await.unwrap(), "");

    let head = world.ask(Method::HEAD, ARCHIVE, &[]).await;
    assert_eq!(
        (head.status(), value(&head, header::CONTENT_LENGTH)),
        (StatusCode::OK, "1000000")
    );
    assert_eq!(head.bytes().await.unwrap().len(), 0);
    let head = world.ask(Method::HEAD, ARCHIVE, &[("range", "bytes=0-1")]).await;
    assert_eq!(
        (head.status(), value(&head, header::CONTENT_LENGTH)),
        (StatusCode::OK, "1000000")
    );
    for path in [
        "/nothing",
        "/app/nothing",
        "/pubkeys.gpg/",
        "/pubkeys.gpg/x",
        "/ACI/",
        "/ACI",
    ] {
        assert_eq!(world.get(path).await.status(), StatusCode::NOT_FOUND, "{path}");
    }
    let post = world.ask(Method::POST, "/app", &[]).await;
    assert_eq!(
        (post.status(), value(&post, header::ALLOW)),
        (StatusCode::METHOD_NOT_ALLOWED, "GET, HEAD")
    );
}

#[tokio::test]
async fn parts_of_files_are_served_from_directories_and_other_stores() {
    let site = site();
    let store = InMemory::new();
    let path = object_store::path::Path::parse(ARCHIVE).unwrap();
    store.put(&path, content().into()).await.unwrap();
    for files in [Files::open_directory(site.path()).unwrap(), Files::new(Arc::new(store))] {
        let world = World::serve(files);
        let whole = content();
        for (range, from, to) in [
            ("bytes=0-0", 0, 1),
            ("bytes=300000-899999", 300_000, 900_000),
            ("bytes=999000-", 999_000, 1_000_000),
            ("bytes=999990-2000000", 999_990, 1_000_000),
            ("bytes=-10", 999_990, 1_000_000),
            ("bytes=-2000000", 0, 1_000_000),
        ] {
            let part = world.ask(Method::GET, ARCHIVE, &[("range", range)]).await;
            assert_eq!(part.status(), StatusCode::PARTIAL_CONTENT, "{range}");
            assert_eq!(
                value(&part, header::CONTENT_RANGE),
                format!("bytes {from}-{}/1000000", to - 1)
            );
            assert_eq!(value(&part, header::CONTENT_LENGTH), (to - from).to_string());
            assert_eq!(part.bytes().await.unwrap(), whole[from..to], "{range}");
        }
        for range in ["bytes=1000000-", "bytes=-0", "bytes=99999999999999999999999-"] {
            let none = world.ask(Method::GET, ARCHIVE, &[("range", range)]).await;
            assert_eq!(none.status(), StatusCode::RANGE_NOT_SATISFIABLE, "{range}");
            assert_eq!(value(&none, header::CONTENT_RANGE), "bytes */1000000");
        }
        for range in ["bytes=5-3", "bytes=0-1,5-6", "pages=1-2", "bytes=x"] {
            let ignored = world.ask(Method::GET, ARCHIVE, &[("range", range)]).await;
            assert_eq!(
                (ignored.status(), ignored.bytes().await.unwrap().len()),
                (StatusCode::OK, 1_000_000),
                "{range}"
            );
        }
    }
}

#[tokio::test]
async fn a_client_is_not_sent_what_it_has_nor_parts_of_something_else() {
    let site = site();
    let file = site.path().join(&ARCHIVE[1..]);
    let hour_ago = std::time::SystemTime::now() - Duration::from_secs(3600);
    fs::File::options()
        .write(true)
        .open(&file)
        .unwrap()
        .set_modified(hour_ago)
        .unwrap();
    let world = World::serve(Files::open_directory(site.path()).unwrap());
    let first = world.get(ARCHIVE).await;
    let (tag, date) = (
        value(&first, header::ETAG).to_owned(),
        value(&first, header::LAST_MODIFIED).to_owned(),
    );

    let status = async |headers: &[(&str, &str)]| world.ask(Method::GET, ARCHIVE, headers).await.status().as_u16();
    assert_eq!(status(&[("if-none-match", &tag)]).await, 304);
    assert_eq!(status(&[("if-none-match", &format!("\"x\", W/{tag}"))]).await, 304);
    assert_eq!(status(&[("if-modified-since", &date)]).await, 304);
    assert_eq!(status(&[("if-match", "\"x\"")]).await, 412);
    let part = ("range", "bytes=10-19");
    assert_eq!(status(&[part, ("if-range", &tag)]).await, 206);
    assert_eq!(status(&[part, ("if-range", &date)]).await, 206);
    assert_eq!(status(&[part, ("if-range", "\"x\"")]).await, 200);
    let unchanged = world.ask(Method::GET, ARCHIVE, &[("if-none-match", &tag)]).await;
    assert_eq!(value(&unchanged, header::ETAG), tag);
    assert_eq!(unchanged.bytes().await.unwrap().len(), 0);

    // Another archive takes its place, as `publish` would put it there.
    fs::write(site.path().join("new"), content()).unwrap();
    fs::rename(site.path().join("new"), &file).unwrap();
    assert_eq!(status(&[("if-none-match", &tag)]).await, 200);
    assert_eq!(status(&[("if-modified-since", &date)]).await, 200);
    assert_eq!(status(&[part, ("if-range", &tag)]).await, 200);
    assert_eq!(status(&[part, ("if-range", &date)]).await, 200);
}

/// Raw requests, which no HTTP library would send.
#[tokio::test(flavor = "multi_thread")]
async fn no_request_leads_out_of_the_site() {
    let outer = tempfile::tempdir().unwrap();
    let root = outer.path().join("site");
    fs::create_dir(&root).unwrap();
    fs::write(outer.path().join("secret"), "SECRET").unwrap();
    fs::write(outer.path().join("index.html"), "SECRET").unwrap();
    fs::write(root.join("file"), "public").unwrap();
    std::os::unix::fs::symlink(outer.path().join("secret"), root.join("link")).unwrap();
    std::os::unix::fs::symlink("..", root.join("up")).unwrap();
    let files = Files::open_directory(&root).unwrap();
    let listen = "127.0.0.1:0".parse().unwrap();
    let server = Server::bind(ServeConfig {
        files,
        listen,
        transport: Transport::InsecureHttp,
    })
    .unwrap();
    assert!(server.url().starts_with("http://"));
    let address = server.local_addr();
    tokio::spawn(server.run());

    let ask = move |target: &str| {
        let mut stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        write!(
            stream,
            "GET {target} HTTP/1.1\r\nHost: example.com\r\nConnection: close\r\n\r\n"
        )
        .unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).unwrap();
        String::from_utf8_lossy(&answer).into_owned()
    };
    let absolute = format!("/{}/secret", outer.path().display());
    tokio::task::spawn_blocking(move || {
        assert!(ask("/file").contains("public"));
        assert!(
            ask("http://example.com/file").contains("public"),
            "the absolute form of a request"
        );
        for target in [
            "/../secret",
            "/..",
            "/../",
            "/./../secret",
            "/file/../../secret",
            "/%2e%2e/secret",
            "/.%2e/secret",
            "/%2E%2E%2Fsecret",
            "/..%2fsecret",
            "/..%5csecret",
            "/..\\secret",
            "/%252e%252e/secret",
            "/%c0%ae%c0%ae/secret",
            "/file%00",
            "/file%00.html",
            "/%00",
            "//secret",
            "/link",
            "/up/secret",
            "/up/",
            "/up",
            "../secret",
            "secret",
            "http://example.com/../secret",
            "/%ff%fe",
            &absolute,
            &format!("/{}", "a".repeat(5000)),
            &"/a".repeat(5000),
        ] {
            let answer = ask(target);
            assert!(answer.starts_with("HTTP/1.1 4"), "{target}: {answer}");
            assert!(!answer.contains("SECRET"), "{target}: {answer}");
        }
        assert!(ask("/file").contains("public"));
    })
    .await
    .unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn many_clients_at_once_each_get_the_whole() {
    let site = site();
    let world = Arc::new(World::serve(Files::open_directory(site.path()).unwrap()));
    let clients = (0..32).map(|_| {
        let world = world.clone();
        tokio::spawn(async move { world.get(ARCHIVE).await.bytes().await.unwrap() == content() })
    });
    for client in clients.collect::<Vec<_>>() {
        assert!(client.await.unwrap());
    }
}

/// The program itself.
struct Program {
    child: Child,
    url: String,
    /// Kept open, so that it can still say that it stops.
    _stderr: std::process::ChildStderr,
}

impl Program {
    fn start(site: &Path, directory: &Path, identity: &Identity) -> Self {
        let (certificate, key) = write_identity(directory, identity);
        let mut child = program()
            .args(["serve", "--listen", "127.0.0.1:0", "--site"])
            .arg(site)
            .arg("--tls-cert")
            .arg(certificate)
            .arg("--tls-key")
            .arg(key)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut url = String::new();
        BufReader::new(child.stdout.take().unwrap())
            .read_line(&mut url)
            .unwrap();
        let stderr = child.stderr.take().unwrap();
        Self {
            child,
            url: url.trim_end().to_owned(),
            _stderr: stderr,
        }
    }

    fn signal(&self, signal: i32) {
        let pid = i32::try_from(self.child.id()).unwrap();
        // SAFETY: it sends a signal to a child that was not waited for yet, so that the number is still its own.
        assert_eq!(unsafe { libc::kill(pid, signal) }, 0);
    }

    /// The most memory that it ever had, in kB.
    fn peak_memory(&self) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
        line.trim().trim_end_matches(" kB").parse().unwrap()
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn program() -> Command {
    Command::new(env!("CARGO_BIN_EXE_dhow-mirror"))
}

fn write_identity(directory: &Path, identity: &Identity) -> (PathBuf, PathBuf) {
    let (certificate, key) = (directory.join("cert.pem"), directory.join("key.pem"));
    fs::write(&certificate, &identity.certificate).unwrap();
    fs::write(&key, &identity.key).unwrap();
    (certificate, key)
}

#[tokio::test(flavor = "multi_thread")]
async fn memory_stays_small_while_a_gigabyte_is_served() {
    let (site, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    const SIZE: u64 = 1 << 30;
    fs::File::create(site.path().join("big.aci"))
        .unwrap()
        .set_len(SIZE)
        .unwrap();
    let identity = Identity::new();
    let program = Program::start(site.path(), other.path(), &identity);
    let client = identity.client();
    let download = |range: &'static str| {
        let request = client.get(format!("{}/big.aci", program.url)).header("range", range);
        async move {
            let mut body = request.send().await.unwrap().bytes_stream();
            let mut size = 0;
            while let Some(block) = body.next().await {
                size += block.unwrap().len() as u64;
            }
            size
        }
    };
    // Four at once, of which one gets all of it.
    let sizes = futures::join!(
        download("bytes=0-"),
        download("bytes=0-1048575"),
        download("bytes=-50000000"),
        download("bytes=500000000-")
    );
    assert_eq!(sizes, (SIZE, 1 << 20, 50_000_000, SIZE - 500_000_000));
    let peak = program.peak_memory();
    println!("peak memory {peak} kB");
    assert!(peak < 64 << 10, "{peak} kB");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_signal_lets_downloads_end_and_then_stops() {
    for signal in [libc::SIGTERM, libc::SIGINT] {
        let (site, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        const SIZE: u64 = 64 << 20;
        fs::File::create(site.path().join("big.aci"))
            .unwrap()
            .set_len(SIZE)
            .unwrap();
        let identity = Identity::new();
        let mut program = Program::start(site.path(), other.path(), &identity);
        let mut body = identity
            .client()
            .get(format!("{}/big.aci", program.url))
            .send()
            .await
            .unwrap()
            .bytes_stream();
        let mut size = body.next().await.unwrap().unwrap().len() as u64;
        program.signal(signal);
        tokio::time::sleep(Duration::from_millis(300)).await;
        let refused = identity.client().get(&program.url).send().await.unwrap_err();
        assert!(refused.is_connect(), "{refused:?}");
        while let Some(block) = body.next().await {
            size += block.unwrap().len() as u64;
        }
        assert_eq!(size, SIZE);
        let begin = Instant::now();
        assert!(program.child.wait().unwrap().success());
        assert!(begin.elapsed() < Duration::from_secs(5), "it waited for nobody");
    }
}

#[test]
fn wrong_input_is_named_and_has_its_exit_code() {
    let (site, other) = (site(), tempfile::tempdir().unwrap());
    let (certificate, key) = write_identity(other.path(), &Identity::new());
    let site = site.path().to_str().unwrap();
    let (certificate, key) = (certificate.to_str().unwrap(), key.to_str().unwrap());
    let strange = other.path().join("other.pem");
    fs::write(&strange, Identity::new().key).unwrap();
    let strange = strange.to_str().unwrap();
    let busy = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let busy = busy.local_addr().unwrap().to_string();

    for (arguments, code, said) in [
        (vec!["--site", site], 2, "--tls-cert"),
        (vec!["--site", site, "--tls-cert", certificate], 2, "--tls-key"),
        (
            vec![
                "--site",
                site,
                "--insecure-http",
                "--tls-cert",
                certificate,
                "--tls-key",
                key,
            ],
            2,
            "cannot be used with",
        ),
        (
            vec!["--site", site, "--listen", "nowhere", "--insecure-http"],
            2,
            "nowhere",
        ),
        (
            vec!["--site", "/nowhere/site", "--insecure-http"],
            3,
            "could not open the site `/nowhere/site`",
        ),
        (vec!["--site", certificate, "--insecure-http"], 1, "not a directory"),
        (
            vec!["--site", site, "--tls-cert", "/nowhere.pem", "--tls-key", key],
            3,
            "could not read `/nowhere.pem`",
        ),
        (
            vec!["--site", site, "--tls-cert", key, "--tls-key", key],
            1,
            "holds no certificate",
        ),
        (
            vec!["--site", site, "--tls-cert", certificate, "--tls-key", certificate],
            1,
            "holds no private key",
        ),
        (
            vec!["--site", site, "--tls-cert", certificate, "--tls-key", strange],
            1,
            "cannot be used together",
        ),
        (
            vec!["--site", site, "--listen", &busy, "--insecure-http"],
            1,
            &format!("could not listen on `{busy}`"),
        ),
    ] {
        let Output { status, stderr, stdout } = program().arg("serve").args(&arguments).output().unwrap();
        let stderr = String::from_utf8(stderr).unwrap();
        assert_eq!(status.code(), Some(code), "{arguments:?}: {stderr}");
        assert!(stderr.contains(said), "{arguments:?}: {stderr}");
        assert_eq!(stdout, b"", "{arguments:?}");
    }
}

#[test]
fn help_has_examples() {
    for arguments in [vec!["--help"], vec!["serve", "--help"]] {
        let Output { status, stdout, .. } = program().args(&arguments).output().unwrap();
        let help = String::from_utf8(stdout).unwrap();
        assert!(
            status.success() && help.contains("dhow mirror serve --site /srv/site"),
            "{help}"
        );
    }
}

#[tokio::test]
async fn a_server_in_this_process_stops_when_told() {
    let site = site();
    let listen = "127.0.0.1:0".parse().unwrap();
    let bind = |listen| {
        let files = Files::open_directory(site.path()).unwrap();
        Server::bind(ServeConfig {
            files,
            listen,
            transport: Transport::InsecureHttp,
        })
    };
    let server = bind(listen).unwrap();
    let address = server.local_addr();
    assert!(matches!(bind(address), Err(Error::Listen { .. })));
    let handle = server.handle();
    let task = tokio::spawn(server.run());
    handle.shut_down();
    tokio::time::timeout(Duration::from_secs(5), task)
        .await
        .unwrap()
        .unwrap()
        .unwrap();
    bind(address).unwrap();
}
