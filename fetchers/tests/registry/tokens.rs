//! Tokens, which a real registry checks: signed as its maker describes, by a service of our own.

use std::{
    fs,
    io::Write,
    process::{Command, Stdio},
    sync::{Arc, Mutex},
    time::{SystemTime, UNIX_EPOCH},
};

use base64::{
    Engine,
    engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD},
};
use dhow_fetchers::ErrorKind;
use serde_json::json;

use crate::{
    images::{image, tar},
    publisher::Publisher,
    pulled::{log_in, user},
    server::{Entry, PASSWORD, RegistryServer, USER},
    world::raw_server_with_head,
};

/// Makes a token, for a user whose login is good or not.
type Issue = Box<dyn Fn(bool) -> String + Send>;

/// A key and a certificate for it, made by OpenSSL; the certificate in PEM.
fn signing_key(user: &Publisher) -> String {
    let (key, certificate) = (user.world.path("token.key"), user.world.path("token.pem"));
    let made = Command::new("openssl")
        .args([
            "req",
            "-x509",
            "-newkey",
            "rsa:2048",
            "-nodes",
            "-days",
            "2",
            "-subj",
            "/CN=tokens",
        ])
        .arg("-keyout")
        .arg(&key)
        .arg("-out")
        .arg(&certificate)
        .stderr(Stdio::null())
        .status();
    assert!(made.unwrap().success());
    fs::read_to_string(certificate).unwrap()
}

/// A JSON Web Token for pulling `repository`, or for nothing at all.
fn token(key: &std::path::Path, certificate: &str, repository: Option<&str>) -> String {
    let der: String = certificate.lines().filter(|line| !line.starts_with("-----")).collect();
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    let access = repository.map(|name| json!({"type": "repository", "name": name, "actions": ["pull", "push"]}));
    let header = json!({"typ": "JWT", "alg": "RS256", "x5c": [der]});
    let claims = json!({
        "iss": "tokens", "aud": "the registry", "sub": USER, "jti": "1",
        "nbf": now - 60, "iat": now, "exp": now + 600, "access": access.into_iter().collect::<Vec<_>>(),
    });
    let encoded = [header, claims].map(|part| URL_SAFE_NO_PAD.encode(part.to_string()));
    let signed = encoded.join(".");
    let mut openssl = Command::new("openssl")
        .args(["dgst", "-sha256", "-sign"])
        .arg(key)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    openssl.stdin.take().unwrap().write_all(signed.as_bytes()).unwrap();
    let signature = openssl.wait_with_output().unwrap().stdout;
    format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_is_asked_for_and_sent() {
    // The service behind nginx, which speaks TLS, must be known to nginx before it starts.
    let asked: Arc<Mutex<Vec<String>>> = Arc::default();
    let issue: Arc<Mutex<Option<Issue>>> = Arc::default();
    let (seen, issuing) = (asked.clone(), issue.clone());
    let login = format!("authorization: Basic {}", STANDARD.encode(format!("{USER}:{PASSWORD}")));
    let service = raw_server_with_head(move |path, head, stream| {
        seen.lock().unwrap().push(path.to_owned());
        let knows = head.iter().any(|line| line.eq_ignore_ascii_case(&login));
        let token = issuing.lock().unwrap().as_ref().unwrap()(knows);
        let body = json!({"access_token": token, "expires_in": 300}).to_string();
        let _ = write!(
            stream,
            "HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        );
    });
    let mut user = user(&format!("location /token {{ proxy_pass http://127.0.0.1:{service}; }}"));
    let certificate = signing_key(&user);
    let key = user.world.path("token.key");
    *issue.lock().unwrap() = Some(Box::new(move |knows| {
        token(&key, &certificate, knows.then_some("team/app"))
    }));
    let entry = format!(
        "{{realm: 'https://127.0.0.1:{}/token', service: the registry, issuer: tokens, rootcertbundle: {}}}",
        user.world.https,
        user.world.path("token.pem").display()
    );
    let registry = RegistryServer::start(&user.world, &Entry::Token(&entry), false);
    let image = image(&[tar(&[("bin/app", b"#!/bin/sh\n")])]);
    let blobs: Vec<_> = std::iter::once(&image.manifest).chain(&image.blobs).collect();
    registry.push("team/app", "1", &blobs);
    asked.lock().unwrap().clear();

    let reference = format!("docker://127.0.0.1:{}/team/app:1", registry.port);
    let error = user.fetch(&reference).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Network, "{error}");
    assert!(error.to_string().contains("status 401"), "{error}");
    log_in(&mut user, &format!("127.0.0.1:{}", registry.port), PASSWORD);
    asked.lock().unwrap().clear();
    user.fetch(&reference).await.unwrap();
    let asked = asked.lock().unwrap().clone();
    assert_eq!(
        asked,
        ["/token?service=the+registry&scope=repository%3Ateam%2Fapp%3Apull"],
        "one token does for all"
    );
}
