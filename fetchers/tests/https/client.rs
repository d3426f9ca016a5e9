//! The client against nginx: TLS, `--connect-to`, redirects.

use dhow_fetchers::{Error, HttpClient, HttpOptions, Origin};
use url::Url;

use crate::world::World;

async fn get(client: &HttpClient, url: &str) -> Result<String, Error> {
    let url = Url::parse(url).unwrap();
    get_from(client, url.as_str(), &Origin::of_url(&url)).await
}

async fn get_from(client: &HttpClient, url: &str, origin: &Origin) -> Result<String, Error> {
    let answer = client.get_small(&Url::parse(url).unwrap(), origin, 1 << 20).await?;
    assert_eq!(answer.status, 200, "{url}");
    Ok(String::from_utf8(answer.body).unwrap())
}

/// The whole chain of an error's causes.
fn told(error: &Error) -> String {
    let causes = std::iter::successors(Some(error as &dyn std::error::Error), |error| error.source());
    causes.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}

#[tokio::test]
async fn a_request_keeps_its_name_wherever_it_is_connected_to() {
    let world = World::new("");
    let version = env!("CARGO_PKG_VERSION");
    let seen = get(&world.client(), "https://example.com/seen").await.unwrap();
    let expected = format!("HTTP/2.0 host=example.com sni=example.com auth= agent=dhow/{version} encoding=identity");
    assert_eq!(seen, expected);

    let rule = format!("example.com:4443:localhost:{}", world.https).parse().unwrap();
    let client = HttpClient::new(HttpOptions {
        connect_to: vec![rule],
        ..world.options()
    })
    .unwrap();
    let seen = get(&client, "https://example.com:4443/seen").await.unwrap();
    assert!(seen.contains("host=example.com:4443 sni=example.com "), "{seen}");

    let rules = [
        format!(":443::{}", world.https),
        format!("any.example::127.0.0.1:{}", world.http),
    ];
    let connect_to = rules.iter().map(|rule| rule.parse().unwrap()).collect();
    let client = HttpClient::new(HttpOptions {
        connect_to,
        insecure_http: true,
        ..world.options()
    })
    .unwrap();
    assert!(
        get(&client, "https://localhost/seen")
            .await
            .unwrap()
            .contains("host=localhost")
    );
    assert!(
        get(&client, "http://any.example/seen")
            .await
            .unwrap()
            .contains("host=any.example sni= ")
    );
    assert!(
        get(&client, "http://any.example:99/seen")
            .await
            .unwrap()
            .contains("host=any.example:99 ")
    );
}

#[tokio::test]
async fn certificates_are_checked() {
    let world = World::new("");
    let client = HttpClient::new(HttpOptions {
        ca: Vec::new(),
        ..world.options()
    })
    .unwrap();
    let error = get(&client, "https://example.com/seen").await.unwrap_err();
    assert!(
        matches!(error, Error::Request { .. }) && told(&error).contains("certificate"),
        "{}",
        told(&error)
    );

    let rule = format!("stranger.example:443:127.0.0.1:{}", world.https)
        .parse()
        .unwrap();
    let options = HttpOptions {
        connect_to: vec![rule],
        ..world.options()
    };
    let client = HttpClient::new(options.clone()).unwrap();
    let error = get(&client, "https://stranger.example/seen").await.unwrap_err();
    assert!(told(&error).contains("not valid for name"), "{}", told(&error));
    let client = HttpClient::new(HttpOptions {
        insecure_tls: true,
        ca: Vec::new(),
        ..options
    })
    .unwrap();
    assert!(get(&client, "https://stranger.example/seen").await.is_ok());

    std::fs::write(world.path("none.pem"), "no certificate").unwrap();
    let none = HttpOptions {
        ca: vec![world.path("none.pem")],
        ..HttpOptions::default()
    };
    assert!(matches!(HttpClient::new(none), Err(Error::NoCertificates { .. })));
    let missing = HttpOptions {
        ca: vec![world.path("missing.pem")],
        ..HttpOptions::default()
    };
    assert!(matches!(HttpClient::new(missing), Err(Error::ReadCertificates { .. })));
}

#[tokio::test]
async fn plain_http_needs_the_users_word() {
    let world = World::new("");
    let error = get(&world.client(), "http://example.com/seen").await.unwrap_err();
    assert!(matches!(error, Error::PlainHttp { .. }), "{error}");
    let client = HttpClient::new(HttpOptions {
        insecure_http: true,
        ..world.options()
    })
    .unwrap();
    assert!(
        get(&client, "http://example.com/seen")
            .await
            .unwrap()
            .contains("host=example.com sni= ")
    );
    assert!(matches!(
        get(&client, "ftp://example.com/seen").await,
        Err(Error::Scheme { .. })
    ));
}

#[tokio::test]
async fn redirects_are_followed_as_far_as_they_may_be() {
    let mut locations: String = (1..=11)
        .map(|n| {
            format!(
                "location = /hop{n} {{ return 30{} /hop{}; }}\n",
                [1, 2, 3, 7, 8][n % 5],
                n - 1
            )
        })
        .collect();
    locations += "
        location = /hop0 { return 302 https://other.example/seen; }
        location = /loop { return 302 /loop; }
        location = /downgrade { return 302 http://other.example/seen; }
        location = /far-downgrade { return 302 https://other.example/downgrade; }
        location = /upgrade { return 302 https://$http_host/seen; }
        location = /ftp { return 302 ftp://example.com/seen; }
        location = /file { return 302 file:///etc/passwd; }
        location = /credentials { return 302 https://user:secret@other.example/seen; }
        location = /nowhere { return 302 https://; }
    ";
    let world = World::new(&locations);
    let client = HttpClient::new(HttpOptions {
        insecure_http: true,
        ..world.options()
    })
    .unwrap();
    assert!(
        get(&client, "https://example.com/hop9")
            .await
            .unwrap()
            .contains("host=other.example sni=other.example")
    );
    assert!(
        get(&client, "http://example.com/upgrade")
            .await
            .unwrap()
            .contains("sni=example.com")
    );
    for path in ["hop10", "hop11", "loop"] {
        let error = get(&client, &format!("https://example.com/{path}")).await.unwrap_err();
        assert!(matches!(error, Error::TooManyRedirects { .. }), "{path}: {error}");
    }
    for (path, problem) in [
        ("downgrade", "from HTTPS to plain HTTP"),
        ("far-downgrade", "from HTTPS to plain HTTP"),
        ("ftp", "does not lead to HTTPS"),
        ("file", "does not lead to HTTPS"),
        ("credentials", "credentials"),
        ("nowhere", "no URL"),
    ] {
        let error = get(&client, &format!("https://example.com/{path}")).await.unwrap_err();
        let message = error.to_string();
        assert!(
            matches!(error, Error::Redirect { .. }) && message.contains(problem),
            "{path}: {message}"
        );
        assert!(!message.contains("secret"), "{message}");
    }
}

#[tokio::test]
async fn credentials_stay_with_their_origin() {
    let world = World::new(
        r#"
        location = /away { return 302 https://other.example/seen; }
        location = /here { return 302 /seen; }
        "#,
    );
    let client = world.client();
    let seen = get(&client, "https://user:secret@example.com/here").await.unwrap();
    assert!(seen.contains("auth=Basic dXNlcjpzZWNyZXQ="), "{seen}");
    let seen = get(&client, "https://user:secret@example.com/away").await.unwrap();
    assert!(seen.contains("host=other.example") && seen.contains("auth= "), "{seen}");
    let url = Url::parse("https://user:secret@example.com:1/x").unwrap();
    let error = client.get(&url, &Origin::of_url(&url)).await.err().unwrap();
    assert!(!told(&error).contains("secret"), "{}", told(&error));
}

#[tokio::test]
async fn a_stranger_cannot_send_us_into_networks_where_the_origin_is_not() {
    let world = World::new("location ~ ^/to/(.*)$ { return 302 https://$1; }");
    let client = world.client();
    let port = world.https;
    let local = [
        format!("127.0.0.1:{port}/seen"),
        format!("localhost:{port}/seen"),
        format!("[::1]:{port}/seen"),
        format!("[::ffff:127.0.0.1]:{port}/seen"),
        format!("0.0.0.0:{port}/seen"),
        format!("2130706433:{port}/seen"),
        format!("0x7f.1:{port}/seen"),
    ];
    let others = [
        "169.254.169.254/latest/meta-data",
        "10.0.0.1/",
        "192.168.1.1/",
        "[fe80::1]/",
        "[fd00::1]/",
        "100.64.0.1/",
    ];

    // example.com was sent here by --connect-to, which does not make it a name of this network.
    for target in local.iter().map(String::as_str).chain(others) {
        let error = get(&client, &format!("https://example.com/to/{target}"))
            .await
            .unwrap_err();
        assert!(
            matches!(error, Error::ForbiddenAddress { .. }),
            "{target}: {}",
            told(&error)
        );
        // Nor may a template name such a place outright.
        let origin = Origin::of_url(&Url::parse("https://example.com/").unwrap());
        let error = get_from(&client, &format!("https://{target}"), &origin)
            .await
            .unwrap_err();
        assert!(
            matches!(error, Error::ForbiddenAddress { .. }),
            "{target}: {}",
            told(&error)
        );
    }

    // The user may name anything, and what is on loopback may point to loopback, by name or address.
    for user in ["localhost", "127.0.0.1"] {
        let user = format!("https://{user}:{port}");
        assert!(get(&client, &format!("{user}/seen")).await.is_ok());
        for target in &local[..2] {
            assert!(
                get(&client, &format!("{user}/to/{target}")).await.is_ok(),
                "{user} to {target}"
            );
        }
        for target in others {
            let error = get(&client, &format!("{user}/to/{target}")).await.unwrap_err();
            assert!(
                matches!(error, Error::ForbiddenAddress { .. }),
                "{target}: {}",
                told(&error)
            );
        }
    }
}
