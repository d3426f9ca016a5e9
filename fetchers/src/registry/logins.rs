//! [`RegistryLogins`]: where users of Docker keep their logins.

use std::{
    collections::BTreeMap,
    env, fmt,
    io::ErrorKind,
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use base64::{Engine, engine::general_purpose::STANDARD};
use serde::Deserialize;
use tokio::{io::AsyncWriteExt, process::Command};

use crate::{
    credentials::{Login, Secret},
    error::Error,
};

/// What Docker's own registry is called in its configuration.
const DOCKER_KEY: &str = "https://index.docker.io/v1/";
/// A helper may ask somebody for a passphrase, but nobody is waited for longer.
const HELPER_TIME: Duration = Duration::from_secs(60);

/// The logins of `config.json` in `$DOCKER_CONFIG` or `~/.docker`, with its credential helpers.
#[derive(Clone, Default)]
pub struct RegistryLogins {
    path: PathBuf,
    config: Config,
}

#[derive(Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Config {
    #[serde(default)]
    auths: BTreeMap<String, Auth>,
    #[serde(default)]
    cred_helpers: BTreeMap<String, String>,
    #[serde(default)]
    creds_store: Option<String>,
}

#[derive(Clone, Default, Deserialize)]
struct Auth {
    #[serde(default)]
    auth: Option<String>,
    #[serde(default)]
    username: Option<String>,
    #[serde(default)]
    password: Option<String>,
    #[serde(default)]
    identitytoken: Option<String>,
}

/// What a helper prints.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct FromHelper {
    username: String,
    secret: String,
}

impl RegistryLogins {
    /// Where the user's are.
    pub fn users_file() -> Option<PathBuf> {
        let directory = match env::var_os("DOCKER_CONFIG") {
            Some(directory) if !directory.is_empty() => PathBuf::from(directory),
            _ => env::home_dir()?.join(".docker"),
        };
        Some(directory.join("config.json"))
    }

    /// Those in a file. None, if it is not there.
    pub fn read(path: &Path) -> Result<Self, Error> {
        let path = path.to_owned();
        let text = match std::fs::read(&path) {
            Ok(text) => text,
            Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => {
                return Ok(Self::default());
            }
            Err(source) => return Err(Error::Read { path, source }),
        };
        match serde_json::from_slice(&text) {
            Ok(config) => Ok(Self { path, config }),
            Err(error) => Err(Error::Read {
                path,
                // Not what stands there: it may be a secret.
                source: std::io::Error::new(
                    ErrorKind::InvalidData,
                    format!("it is no configuration of Docker (line {})", error.line()),
                ),
            }),
        }
    }

    /// The login for a registry, if there is one.
    pub(super) async fn find(&self, host: &str) -> Result<Option<Login>, Error> {
        let is_meant = |key: &str| host_of(key) == host_of(host);
        let key = match host_of(host) {
            host if host == host_of(DOCKER_KEY) => DOCKER_KEY,
            _ => host,
        };
        let own = self.config.cred_helpers.iter().find(|(key, _)| is_meant(key));
        let helper = own.map(|(_, helper)| helper).or(self.config.creds_store.as_ref());
        if let Some(helper) = helper.filter(|helper| !helper.is_empty())
            && let Some(login) = self.ask(helper, key).await?
        {
            return Ok(Some(login));
        }
        let found = self.config.auths.iter().find(|(key, _)| is_meant(key));
        found.map_or(Ok(None), |(_, auth)| self.login(host, auth))
    }

    fn login(&self, host: &str, auth: &Auth) -> Result<Option<Login>, Error> {
        let failed = |problem: &str| Error::RegistryLogin {
            registry: host.to_owned(),
            problem: format!("{problem} in `{}`", self.path.display()),
        };
        let is_there = |text: &Option<String>| text.as_ref().is_some_and(|text| !text.is_empty());
        if is_there(&auth.identitytoken) {
            return Err(failed("an identity token is not supported, which stands"));
        }
        if let (Some(user), Some(password)) = (&auth.username, &auth.password)
            && is_there(&auth.username)
        {
            return Ok(Some(basic(user, password)));
        }
        let Some(auth) = auth.auth.as_ref().filter(|auth| !auth.is_empty()) else {
            return Ok(None);
        };
        let decoded = STANDARD
            .decode(auth.trim())
            .ok()
            .and_then(|bytes| String::from_utf8(bytes).ok());
        match decoded.as_deref().and_then(|text| text.split_once(':')) {
            // Old versions of Docker pad it with zeros.
            Some((user, password)) => Ok(Some(basic(user, password.trim_end_matches('\0')))),
            None => Err(failed("`auth` is no user and password in Base64")),
        }
    }

    /// Asks `docker-credential-NAME`. A helper that is not installed, or knows none, gives none.
    async fn ask(&self, helper: &str, key: &str) -> Result<Option<Login>, Error> {
        let failed = |problem: String| Error::RegistryLogin {
            registry: host_of(key).to_owned(),
            problem,
        };
        if !helper
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte))
        {
            return Err(failed(format!("`{helper}` is no name of a credential helper")));
        }
        let program = format!("docker-credential-{helper}");
        let started = Command::new(&program)
            .arg("get")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn();
        let mut child = match started {
            Ok(child) => child,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(failed(format!("`{program}` could not be started: {error}"))),
        };
        let talk = async {
            let mut stdin = child.stdin.take().expect("it was piped");
            stdin.write_all(key.as_bytes()).await?;
            drop(stdin);
            child.wait_with_output().await
        };
        let output = match tokio::time::timeout(HELPER_TIME, talk).await {
            Ok(Ok(output)) => output,
            Ok(Err(error)) => return Err(failed(format!("`{program}` could not be asked: {error}"))),
            Err(_) => return Err(failed(format!("`{program}` did not answer within a minute"))),
        };
        if !output.status.success() {
            let said = String::from_utf8_lossy(&output.stdout);
            if said.contains("credentials not found") {
                return Ok(None);
            }
            return Err(failed(format!("`{program}` failed: {}", said.trim())));
        }
        match serde_json::from_slice::<FromHelper>(&output.stdout) {
            Ok(found) if found.username == "<token>" => Err(failed(format!(
                "`{program}` gives an identity token, which is not supported"
            ))),
            Ok(found) => Ok(Some(basic(&found.username, &found.secret))),
            Err(_) => Err(failed(format!("`{program}` did not print a login"))),
        }
    }
}

fn basic(user: &str, password: &str) -> Login {
    Login::Basic {
        user: user.to_owned(),
        password: Secret::new(password),
    }
}

/// The host and port of a key, which may be a URL; Docker's own registry has several names.
fn host_of(key: &str) -> &str {
    let host = key.split_once("://").map_or(key, |(_, rest)| rest);
    let host = host.split('/').next().unwrap_or_default();
    match host {
        "docker.io" | "registry-1.docker.io" => "index.docker.io",
        host => host,
    }
}

impl fmt::Debug for RegistryLogins {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let hosts: Vec<_> = self
            .config
            .auths
            .keys()
            .chain(self.config.cred_helpers.keys())
            .collect();
        f.debug_struct("RegistryLogins")
            .field("hosts", &hosts)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn logins(json: &str) -> (tempfile::TempDir, RegistryLogins) {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("config.json");
        std::fs::write(&path, json).unwrap();
        let logins = RegistryLogins::read(&path).unwrap();
        (directory, logins)
    }

    async fn user(logins: &RegistryLogins, host: &str) -> Option<String> {
        match logins.find(host).await.unwrap() {
            Some(Login::Basic { user, .. }) => Some(user),
            _ => None,
        }
    }

    #[tokio::test]
    async fn logins_are_found_by_whatever_the_host_is_called() {
        let auth = |user: &str| STANDARD.encode(format!("{user}:pass:word"));
        let json = format!(
            r#"{{"auths": {{
                "https://index.docker.io/v1/": {{"auth": "{}"}},
                "example.com:5000": {{"auth": "{}"}},
                "https://other.example/v2/": {{"username": "c", "password": "d"}},
                "empty.example": {{}}
            }}, "credHelpers": {{"example.com:5000": "not-installed-anywhere"}}, "HttpHeaders": {{}}}}"#,
            auth("docker"),
            auth("example"),
        );
        let (_directory, logins) = logins(&json);
        for (host, expected) in [
            ("registry-1.docker.io", Some("docker")),
            ("example.com:5000", Some("example")),
            ("other.example", Some("c")),
            ("example.com", None),
            ("empty.example", None),
            ("evil.example", None),
        ] {
            assert_eq!(user(&logins, host).await.as_deref(), expected, "{host}");
        }
        assert!(!format!("{logins:?}").contains("pass"), "{logins:?}");
    }

    #[tokio::test]
    async fn what_is_no_login_is_said_and_not_shown() {
        let (_directory, logins) = logins(
            r#"{"auths": {"a.example": {"auth": "%%hidden%%"}, "b.example": {"identitytoken": "hidden"}},
                "credHelpers": {"c.example": "../../bin/sh"}}"#,
        );
        for (host, expected) in [
            ("a.example", "is no user and password"),
            ("b.example", "identity token is not supported"),
            ("c.example", "is no name of a credential helper"),
        ] {
            let error = logins.find(host).await.unwrap_err().to_string();
            assert!(error.contains(expected) && error.contains(host), "{error}");
            assert!(!error.contains("hidden"), "{error}");
        }
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("config.json");
        assert!(RegistryLogins::read(&path).is_ok(), "there need not be any");
        std::fs::write(&path, "{\"auths\": {\"a\": \"hidden\"}}").unwrap();
        let error = RegistryLogins::read(&path).unwrap_err();
        assert!(
            matches!(&error, Error::Read { .. }) && !format!("{error:?}").contains("hidden"),
            "{error:?}"
        );
    }
}
