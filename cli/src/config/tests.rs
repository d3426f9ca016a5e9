use std::fs;

use tempfile::TempDir;

use super::*;

struct Etc(TempDir);

impl Etc {
    fn new(files: &[(&str, &str)]) -> Self {
        let etc = TempDir::new().unwrap();
        for (path, text) in files {
            let path = etc.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        Self(etc)
    }

    fn read(&self, directories: &[&str]) -> Result<Config> {
        let of = |names: &[&str]| names.iter().map(|name| self.0.path().join(name)).collect::<Vec<_>>();
        Config::read(&of(directories), &of(&["rkt"]), Some(&self.0.path().join("netrc")))
    }
}

fn login(config: &Config, url: &str) -> String {
    let credentials = config.credentials();
    match credentials.for_url(&Url::parse(url).unwrap()) {
        None => "nobody".to_owned(),
        Some(credential) => match &credential.login {
            Login::Basic { user, .. } => format!("{user} {:?}", credential.sending),
            Login::Bearer(_) => format!("token {:?}", credential.sending),
        },
    }
}

#[test]
fn later_files_win() {
    let etc = Etc::new(&[
        (
            "lib/config.toml",
            "data = '/lib'\n[fetch]\nstreams = 2\njobs = 5\n[[mirror]]\nurl = 'https://all.example'",
        ),
        (
            "etc/config.toml",
            "[fetch]\nstreams = 3\nlimit-rate = '1M'\n[[mirror]]\nprefix = 'example.com'\nurl = 'https://old.example'",
        ),
        (
            "etc/config.d/20.toml",
            "[[mirror]]\nprefix = 'example.com'\nurl = 'https://a.example'\nmode = 'only'\n\
             [[mirror]]\nprefix = 'example.com'\nurl = 'https://b.example'\nmode = 'only'",
        ),
        (
            "etc/config.d/10.toml",
            "[fetch]\nstreams = 1\npull = 'never'\n[store]\nmax-size = '10GiB'",
        ),
        ("etc/config.d/ignored.txt", "!"),
        (
            "etc/paths.d/paths.json",
            r#"{"rktKind":"paths","rktVersion":"v1","data":"/rkt","stage1-images":"/x"}"#,
        ),
    ]);
    let config = etc.read(&["lib", "etc", "nowhere"]).unwrap();
    assert_eq!(config.data, Some("/rkt".into()));
    assert_eq!((config.fetch.streams, config.fetch.jobs), (Some(1), Some(5)));
    assert_eq!(config.fetch.pull, Some(Pull::Never));
    assert_eq!(config.store.max_size, Some(10 << 30));
    assert!(config.limit_rate().unwrap().is_some());
    let sources = |name: &str| {
        let mirrors = config.mirrors();
        let sources = mirrors.sources(&Name::new(name).unwrap());
        sources
            .iter()
            .map(|url| url.map_or("", |url| url.as_str()).to_owned())
            .collect::<Vec<_>>()
    };
    assert_eq!(sources("example.com/app"), ["https://a.example/", "https://b.example/"]);
    assert_eq!(sources("other.example/app"), ["https://all.example/", ""]);
}

#[test]
fn logins_come_from_many_places() {
    let auth = |domains: &str, kind: &str, credentials: &str| {
        format!(
            r#"{{"rktKind":"auth","rktVersion":"v1","domains":[{domains}],"type":"{kind}","credentials":{credentials}}}"#
        )
    };
    let basic = auth(
        r#""a.example","b.example:8443""#,
        "basic",
        r#"{"user":"rkt","password":"x"}"#,
    );
    let oauth = auth(r#""a.example""#, "oauth", r#"{"token":"t"}"#);
    let etc = Etc::new(&[
        (
            "netrc",
            "machine a.example login netrc password n machine c.example login netrc password n",
        ),
        ("rkt/auth.d/basic.json", &basic),
        (
            "rkt/auth.d/docker.json",
            r#"{"rktKind":"dockerAuth","rktVersion":"v1"}"#,
        ),
        ("etc/auth.d/oauth.json", &oauth),
        (
            "etc/config.toml",
            "[[credentials]]\nhost = 'd.example'\nuser = 'toml'\npassword-file = 'secret'\nsend = 'upfront'",
        ),
        ("etc/secret", "hidden\n"),
    ]);
    let config = etc.read(&["etc"]).unwrap();
    for (url, expected) in [
        ("https://a.example/", "token Upfront"),
        ("https://b.example:8443/", "rkt Upfront"),
        ("https://b.example/", "nobody"),
        ("https://c.example/", "netrc WhenAsked"),
        ("https://d.example/", "toml Upfront"),
        ("http://d.example/", "nobody"),
    ] {
        assert_eq!(login(&config, url), expected, "{url}");
    }
    assert!(!format!("{config:?}").contains("hidden"), "{config:?}");
}

#[test]
fn mistakes_are_named_and_secrets_are_not() {
    let auth = r#"{"rktKind":"auth","rktVersion":"v1","domains":["a.example"],"type":"basic","credentials":{"user":"u","password":"hunter2"}}"#;
    for (files, message) in [
        (
            vec![("etc/config.toml", "[fetch]\nstream = 3")],
            "line 2, `fetch.stream`: unknown field `stream`",
        ),
        (
            vec![("etc/config.toml", "[fetch]\nlimit-rate = 'fast'")],
            "`fast` is not a rate",
        ),
        (
            vec![("etc/config.toml", "[fetch]\npull = 'sometimes'")],
            "line 2, `fetch.pull`",
        ),
        (
            vec![("etc/config.toml", "[[credentials]]\nhost = 'a'\ntoken = ['hunter2']")],
            "line 3, `credentials.token`",
        ),
        (
            vec![(
                "etc/config.toml",
                "[[mirror]]\nurl = 'https://m.example'\n[[bucket]]\nurl = 's3://a/b'",
            )],
            "line 3, `bucket`: `a/b` is no name of a bucket",
        ),
        (
            vec![(
                "etc/config.toml",
                "[[bucket]]\nurl = 's3://'\nsecret-access-key = 'hunter2'",
            )],
            "`access-key-id` and `secret-access-key`",
        ),
        (
            vec![("etc/config.toml", "[[bucket]]\nurl = 'gs://'\nregion = 'here'")],
            "`region` means nothing for `gs://`",
        ),
        (
            vec![(
                "etc/config.toml",
                "[[bucket]]\nurl = 'az://'\nanonymous = true\nsas-token = 'hunter2'",
            )],
            "in several ways who asks",
        ),
        (
            vec![(
                "etc/config.toml",
                "[[bucket]]\nurl = 's3://'\nendpoint = 'https://u:hunter2@s.example'",
            )],
            "holds more than a place",
        ),
        (
            vec![("etc/config.toml", "[[bucket]]\nurl = 's3://'\nacount = 'x'")],
            "line 3, `bucket.acount`: unknown field",
        ),
        (
            vec![("etc/config.toml", "[[mirror]]\nurl = 's3://x'")],
            "not reached by HTTPS",
        ),
        (
            vec![("etc/config.toml", "[[mirror]]\nurl = 'https://u:hunter2@m.example'")],
            "holds a password",
        ),
        (
            vec![("etc/config.toml", "[[credentials]]\nhost = 'a'\npassword = 'hunter2'")],
            "the login for `a`",
        ),
        (
            vec![("etc/config.toml", "[[credentials]]\nhost = 'a/b'\ntoken = 'hunter2'")],
            "`a/b` is no host",
        ),
        (
            vec![("etc/config.toml", "[[credentials]]\nhost = 'a'\npassword = 'hunter2")],
            "line 3",
        ),
        (
            vec![("etc/auth.d/1.json", auth), ("etc/auth.d/2.json", auth)],
            "another file has a login for `a.example`",
        ),
        (vec![("etc/auth.d/1.json", "{\"password\": \"hunter2\"")], "line 1"),
        (
            vec![("etc/auth.d/1.json", r#"{"rktKind":"auth","rktVersion":"v9"}"#)],
            "only `v1` is known",
        ),
    ] {
        let error = Etc::new(&files).read(&["etc"]).unwrap_err();
        let text = format!("{error:#}");
        assert!(text.contains(message), "{text}");
        assert!(text.contains("Could not read the configuration in `"), "{text}");
        assert!(
            !text.contains("hunter2") && !format!("{error:?}").contains("hunter2"),
            "{text}"
        );
    }
}

#[test]
fn buckets_are_reached_as_the_last_file_says() {
    let etc = Etc::new(&[
        (
            "lib/config.toml",
            "[[bucket]]\nurl = 's3://'\nendpoint = 'https://all.example'\nregion = 'eu'\n\
             [[bucket]]\nurl = 's3://images'\nprofile = 'nobody'\nendpoint = 'https://old.example'",
        ),
        (
            "etc/config.toml",
            "[[bucket]]\nurl = 's3://images/'\nendpoint = 'http://images.example'\ninsecure-http = true\n\
             path-style = false\naccess-key-id = 'AK'\nsecret-access-key-file = 'secret'\n\
             [[bucket]]\nurl = 'az://box'\naccount = 'a'\naccount-key = 'hidden'\n\
             [[bucket]]\nurl = 'gs://box'\nanonymous = true",
        ),
        ("etc/secret", "hidden\n"),
    ]);
    let config = etc.read(&["lib", "etc"]).unwrap();
    let settings = |scheme, bucket: &str| config.buckets().settings(scheme, bucket).unwrap();
    let has = |settings: &dhow_discovery::BucketSettings, key: &str, value: &str| {
        assert!(
            settings.options().any(|option| option == (key, value)),
            "{settings:?} has {key}"
        );
    };
    let images = settings(dhow_discovery::Scheme::S3, "images");
    assert_eq!(
        (images.endpoint(), images.allows_http()),
        (Some("http://images.example"), true)
    );
    has(&images, "aws_access_key_id", "AK");
    has(&images, "aws_secret_access_key", "hidden");
    has(&images, "aws_virtual_hosted_style_request", "true");
    let other = settings(dhow_discovery::Scheme::S3, "other");
    assert_eq!(
        (other.endpoint(), other.allows_http()),
        (Some("https://all.example"), false)
    );
    has(&other, "aws_region", "eu");
    let azure = settings(dhow_discovery::Scheme::Az, "box");
    has(&azure, "azure_storage_account_name", "a");
    has(&azure, "azure_storage_account_key", "hidden");
    has(
        &settings(dhow_discovery::Scheme::Gs, "box"),
        "google_skip_signature",
        "true",
    );
    assert!(!format!("{config:?}").contains("hidden\""), "{config:?}");
}
