//! Configuration as rkt reads it: `auth.d/*.json` and `paths.d/*.json`, each with `rktKind` and `rktVersion`.
//!
//! Of the kinds, `auth` with `basic` and `oauth` logins, and of `paths` the `data`, mean something here; kinds for
//! other transports are left to those. Logins are sent upfront, as rkt does.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result, bail};
use dhow_fetchers::{Credential, Login, Secret, Sending};
use serde::Deserialize;

use super::{
    could_not_read, host_and_port,
    leaf::{HIDDEN, Leaf, Placed, Source},
    listed, read_if_there,
};

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Kind {
    rkt_kind: String,
    rkt_version: String,
}

#[derive(Deserialize)]
struct Auth {
    domains: Vec<String>,
    #[serde(rename = "type")]
    kind: String,
    credentials: BTreeMap<String, String>,
}

#[derive(Deserialize)]
struct Paths {
    data: Option<PathBuf>,
}

/// The logins in a directory. Two for one host are a mistake, as they are for rkt.
pub(super) fn credentials(directory: &Path) -> Result<Vec<Placed<Credential>>> {
    let mut credentials: Vec<Placed<Credential>> = Vec::new();
    for path in listed(&directory.join("auth.d"), "json")? {
        for credential in auth_file(&path).with_context(|| could_not_read(&path))? {
            let is_same = |other: &Credential| (&other.host, other.port) == (&credential.host, credential.port);
            if credentials.iter().any(|other| is_same(&other.value)) {
                return Err(anyhow::anyhow!("another file has a login for `{}`", credential.host))
                    .with_context(|| could_not_read(&path));
            }
            let shown = match &credential.login {
                Login::Basic { user, .. } => vec![
                    ("credentials.user", user.clone()),
                    ("credentials.password", HIDDEN.to_owned()),
                ],
                Login::Bearer(_) => vec![("credentials.token", HIDDEN.to_owned())],
            };
            let shown: Vec<_> = shown.iter().map(|(key, value)| (*key, value.as_str())).collect();
            let credential = Placed::new(credential, &path, &shown);
            credentials.push(credential);
        }
    }
    Ok(credentials)
}

/// The data directory that is named in a directory, and where.
pub(super) fn data(directory: &Path) -> Result<Option<(PathBuf, Leaf)>> {
    let mut data = None;
    for path in listed(&directory.join("paths.d"), "json")? {
        let read: Option<Paths> = file(&path, "paths").with_context(|| could_not_read(&path))?;
        if let Some(found) = read.and_then(|paths| paths.data)
            && data.replace((found.clone(), leaf(&found, &path))).is_some()
        {
            return Err(anyhow::anyhow!("another file names a data directory")).with_context(|| could_not_read(&path));
        }
    }
    Ok(data)
}

fn leaf(data: &Path, path: &Path) -> Leaf {
    Leaf {
        key: "data".to_owned(),
        value: data.display().to_string().into(),
        source: Source {
            path: path.to_owned(),
            line: None,
        },
    }
}

fn auth_file(path: &Path) -> Result<Vec<Credential>> {
    let Some(Auth {
        domains,
        kind,
        mut credentials,
    }) = file(path, "auth")?
    else {
        return Ok(Vec::new());
    };
    let mut field = |name: &str| match credentials.remove(name) {
        Some(value) if !value.is_empty() => Ok(value),
        _ => bail!("its credentials have no `{name}`"),
    };
    let login = match kind.as_str() {
        "basic" => Login::Basic {
            user: field("user")?,
            password: Secret::new(field("password")?),
        },
        "oauth" => Login::Bearer(Secret::new(field("token")?)),
        "aws" => return Ok(Vec::new()),
        _ => bail!("`{kind}` is no type of login"),
    };
    if domains.is_empty() {
        bail!("it names no domains");
    }
    let credential = |domain: &String| {
        let (host, port) = host_and_port(domain)?;
        Ok(Credential {
            host,
            port,
            login: login.clone(),
            sending: Sending::Upfront,
        })
    };
    domains.iter().map(credential).collect()
}

/// A file of this kind; `None` if it is of another.
fn file<T: for<'de> Deserialize<'de>>(path: &Path, wanted: &str) -> Result<Option<T>> {
    let Some(text) = read_if_there(path)? else {
        return Ok(None);
    };
    // The parser's message would show what stands there, which may be a password.
    let unreadable = |error: serde_json::Error| anyhow::anyhow!("line {}: it is not as rkt writes it", error.line());
    let kind: Kind = serde_json::from_str(&text).map_err(unreadable)?;
    if kind.rkt_kind != wanted {
        return Ok(None);
    }
    if kind.rkt_version != "v1" {
        bail!("its version is `{}`, and only `v1` is known", kind.rkt_version);
    }
    serde_json::from_str(&text).map(Some).map_err(unreadable)
}
