//! [`Config`]: what configuration files say.
//!
//! ```text
//!   /usr/lib/dhow  /etc/dhow  ~/.config/dhow       each: config.toml, then config.d/*.toml by name
//!                                                  and, as rkt has them: auth.d/*.json, paths.d/*.json
//!   /usr/lib/rkt   /etc/rkt                        auth.d/*.json
//!   ~/.netrc                                       (or $NETRC)
//! ```
//!
//! What is read later wins: a value takes the place of an earlier one, the mirrors of a prefix those of the same
//! prefix, a bucket's settings those of the same bucket, a login that of the same host. The libraries read none of this:
//! they take values. `dhow config` shows them, with where each comes from.

mod bucket;
mod leaf;
mod netrc;
mod rkt;
mod secret_file;
mod show;

use std::{
    collections::BTreeMap,
    fs, io,
    num::NonZeroU16,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context as _, Result, bail};
use dhow_discovery::Buckets;
use dhow_fetchers::{Credential, Credentials, Login, Mirror, MirrorMode, Mirrors, RateLimit, Secret, Sending};
use dhow_image::Name;
use serde::Deserialize;
use url::Url;

pub(crate) use self::show::{ConfigArguments, config};
use self::{
    bucket::{Bucket, BucketTable},
    leaf::{Leaf, Leaves, Placed},
};
use crate::{fetch::Pull, quantity};

/// What is configured, of all files together.
#[derive(Debug, Default)]
pub(crate) struct Config {
    /// The data directory.
    pub(crate) data: Option<PathBuf>,
    pub(crate) fetch: FetchConfig,
    pub(crate) store: StoreConfig,
    mirrors: Vec<Placed<Mirror>>,
    buckets: Vec<Placed<Bucket>>,
    /// Later ones come first.
    credentials: Vec<Placed<Credential>>,
    /// The values of which there is one, as they were written, by key.
    single: BTreeMap<String, Leaf>,
}

/// How things are fetched.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(crate) struct FetchConfig {
    /// When the network is asked.
    pub(crate) pull: Option<Pull>,
    /// Bytes a second, as `2M`.
    #[serde(default, deserialize_with = "rate")]
    limit_rate: Option<String>,
    /// How many pieces of one archive may come side by side.
    pub(crate) streams: Option<u8>,
    /// How many images are fetched side by side.
    pub(crate) jobs: Option<usize>,
    /// How many requests one host may have under way.
    pub(crate) per_host: Option<usize>,
    /// How often something is tried.
    pub(crate) attempts: Option<u32>,
    /// How many seconds a server may be silent, or all but silent.
    pub(crate) timeout: Option<NonZeroU16>,
}

/// How large the store may become.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(crate) struct StoreConfig {
    /// Bytes, as `10GiB`: what `store gc` leaves of it at most.
    #[serde(default, deserialize_with = "size")]
    pub(crate) max_size: Option<u64>,
}

fn size<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Option<u64>, D::Error> {
    let text = String::deserialize(deserializer)?;
    quantity::size(&text).map(Some).map_err(serde::de::Error::custom)
}

fn rate<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
    let text = String::deserialize(deserializer)?;
    let rate: Result<RateLimit, _> = text.parse();
    rate.map(|_| Some(text)).map_err(serde::de::Error::custom)
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct File {
    data: Option<PathBuf>,
    #[serde(default)]
    fetch: FetchConfig,
    #[serde(default)]
    store: StoreConfig,
    #[serde(default, rename = "mirror")]
    mirrors: Vec<MirrorTable>,
    #[serde(default, rename = "bucket")]
    buckets: Vec<BucketTable>,
    #[serde(default)]
    credentials: Vec<CredentialTable>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct MirrorTable {
    prefix: Option<Name>,
    url: String,
    #[serde(default)]
    mode: Mode,
}

#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Mode {
    Only,
    #[default]
    Prefer,
    Fallback,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct CredentialTable {
    /// A host, or host:port.
    host: String,
    user: Option<String>,
    password: Option<String>,
    password_file: Option<PathBuf>,
    token: Option<String>,
    token_file: Option<PathBuf>,
    #[serde(default)]
    send: Send,
}

#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Send {
    #[default]
    WhenAsked,
    Upfront,
}

impl std::fmt::Debug for CredentialTable {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("CredentialTable")
            .field("host", &self.host)
            .finish_non_exhaustive()
    }
}

impl Config {
    /// Reads all of it. `directories` are dhow's own, in their order; `rkt` are rkt's.
    pub(crate) fn read(directories: &[PathBuf], rkt: &[PathBuf], netrc: Option<&Path>) -> Result<Self> {
        let mut config = Self::default();
        if let Some(path) = netrc {
            config.add_credentials(netrc::read(path)?);
        }
        for directory in rkt {
            config.add_credentials(rkt::credentials(directory)?);
        }
        for directory in directories {
            config.add_credentials(rkt::credentials(directory)?);
            if let Some((data, leaf)) = rkt::data(directory)? {
                config.data = Some(data);
                config.single.insert(leaf.key.clone(), leaf);
            }
            config.add_file(&directory.join("config.toml"))?;
            for path in listed(&directory.join("config.d"), "toml")? {
                config.add_file(&path)?;
            }
        }
        Ok(config)
    }

    pub(crate) fn mirrors(&self) -> Mirrors {
        let mut mirrors = Mirrors::default();
        self.mirrors.iter().for_each(|mirror| mirrors.add(mirror.value.clone()));
        mirrors
    }

    pub(crate) fn credentials(&self) -> Credentials {
        let mut credentials = Credentials::default();
        for credential in &self.credentials {
            credentials.add(credential.value.clone());
        }
        credentials
    }

    /// How buckets are reached.
    pub(crate) fn buckets(&self) -> Buckets {
        let mut buckets = Buckets::default();
        for Placed { value: bucket, .. } in &self.buckets {
            buckets.say(bucket.scheme, bucket.name.as_deref(), bucket.settings.clone());
        }
        buckets
    }

    /// How long a server may be silent.
    pub(crate) fn timeout(&self) -> Option<Duration> {
        let seconds = self.fetch.timeout?;
        Some(Duration::from_secs(seconds.get().into()))
    }

    pub(crate) fn limit_rate(&self) -> Result<Option<RateLimit>> {
        Ok(self.fetch.limit_rate.as_ref().map(|text| text.parse()).transpose()?)
    }

    fn add_credentials(&mut self, mut later: Vec<Placed<Credential>>) {
        later.append(&mut self.credentials);
        self.credentials = later;
    }

    fn add_file(&mut self, path: &Path) -> Result<()> {
        let Some(text) = read_if_there(path)? else {
            return Ok(());
        };
        self.add(&text, path).with_context(|| could_not_read(path))
    }

    fn add(&mut self, text: &str, path: &Path) -> Result<()> {
        let directory = path.parent().unwrap_or(Path::new("."));
        let mut leaves = Leaves::of(text, path);
        let file: File = toml::from_str(text).map_err(|error| leaves.refused(&error))?;
        for leaf in std::mem::take(&mut leaves.single) {
            self.single.insert(leaf.key.clone(), leaf);
        }
        self.data = file.data.or(self.data.take());
        let earlier = std::mem::take(&mut self.fetch);
        self.fetch = FetchConfig {
            pull: file.fetch.pull.or(earlier.pull),
            limit_rate: file.fetch.limit_rate.or(earlier.limit_rate),
            streams: file.fetch.streams.or(earlier.streams),
            jobs: file.fetch.jobs.or(earlier.jobs),
            per_host: file.fetch.per_host.or(earlier.per_host),
            attempts: file.fetch.attempts.or(earlier.attempts),
            timeout: file.fetch.timeout.or(earlier.timeout),
        };
        self.store.max_size = file.store.max_size.or(self.store.max_size);
        let mirrors = placed(&mut leaves, "mirror", file.mirrors, MirrorTable::into_mirror)?;
        let prefixes: Vec<_> = mirrors.iter().map(|mirror| mirror.value.prefix.clone()).collect();
        self.mirrors.retain(|mirror| !prefixes.contains(&mirror.value.prefix));
        self.mirrors.extend(mirrors);
        for bucket in placed(&mut leaves, "bucket", file.buckets, |table| {
            table.into_bucket(directory)
        })? {
            let place = |bucket: &Bucket| (bucket.scheme, bucket.name.clone());
            self.buckets
                .retain(|earlier| place(&earlier.value) != place(&bucket.value));
            self.buckets.push(bucket);
        }
        let into_credential = |table: CredentialTable| table.into_credential(directory);
        let credentials = placed(&mut leaves, "credentials", file.credentials, into_credential)?;
        self.add_credentials(credentials);
        Ok(())
    }
}

/// The values of a list of tables, each with where it stands.
fn placed<T, V>(
    leaves: &mut Leaves<'_>,
    list: &str,
    tables: Vec<T>,
    into_value: impl Fn(T) -> Result<V>,
) -> Result<Vec<Placed<V>>> {
    let mut values = Vec::new();
    for (index, table) in tables.into_iter().enumerate() {
        let value = into_value(table).map_err(|error| leaves.in_list(list, index, &error))?;
        let leaves = leaves.take(list, index);
        values.push(Placed { value, leaves });
    }
    Ok(values)
}

impl MirrorTable {
    fn into_mirror(self) -> Result<Mirror> {
        let url = Url::parse(&self.url).context("the URL of a mirror is none")?;
        if !matches!(url.scheme(), "https" | "http") {
            bail!("the mirror `{url}` is not reached by HTTPS");
        }
        if !url.username().is_empty() || url.password().is_some() {
            bail!("the URL of a mirror holds a password: that belongs into [[credentials]]");
        }
        Ok(Mirror {
            prefix: self.prefix,
            url,
            mode: match self.mode {
                Mode::Only => MirrorMode::Only,
                Mode::Prefer => MirrorMode::Prefer,
                Mode::Fallback => MirrorMode::Fallback,
            },
        })
    }
}

impl CredentialTable {
    fn into_credential(self, directory: &Path) -> Result<Credential> {
        let (host, send) = (self.host.clone(), self.send);
        let login = self
            .login(directory)
            .with_context(|| format!("the login for `{host}`"))?;
        let (host, port) = host_and_port(&host)?;
        Ok(Credential {
            host,
            port,
            login,
            sending: match send {
                Send::WhenAsked => Sending::WhenAsked,
                Send::Upfront => Sending::Upfront,
            },
        })
    }

    fn login(self, directory: &Path) -> Result<Login> {
        let secret = |text: Option<String>, file: Option<PathBuf>| match (text, file) {
            (Some(_), Some(_)) => bail!("a secret stands here and in a file"),
            (Some(text), None) => Ok(Some(Secret::new(text))),
            (None, Some(file)) => secret_file::read(&directory.join(file)).map(Some),
            (None, None) => Ok(None),
        };
        let password = secret(self.password, self.password_file)?;
        let token = secret(self.token, self.token_file)?;
        match (self.user, password, token) {
            (Some(user), Some(password), None) => Ok(Login::Basic { user, password }),
            (None, None, Some(token)) => Ok(Login::Bearer(token)),
            _ => bail!("it takes `user` and `password` (or `password-file`), or `token` (or `token-file`)"),
        }
    }
}

/// A host as a URL has it, and its port.
fn host_and_port(text: &str) -> Result<(String, Option<u16>)> {
    let url = Url::parse(&format!("https://{text}/")).ok();
    let url = url.filter(|url| url.path() == "/" && url.username().is_empty() && url.query().is_none());
    match url
        .as_ref()
        .and_then(|url| Some((url.host_str()?.to_owned(), url.port())))
    {
        Some(parts) => Ok(parts),
        None => bail!("`{text}` is no host"),
    }
}

fn could_not_read(path: &Path) -> String {
    format!("Could not read the configuration in `{}`", path.display())
}

fn read_if_there(path: &Path) -> Result<Option<String>> {
    match fs::read_to_string(path) {
        Ok(text) => Ok(Some(text)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error).with_context(|| could_not_read(path)),
    }
}

/// The files of a directory with this extension, by name.
fn listed(directory: &Path, extension: &str) -> Result<Vec<PathBuf>> {
    let entries = match fs::read_dir(directory) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error).with_context(|| could_not_read(directory)),
    };
    let mut paths = Vec::new();
    for entry in entries {
        let path = entry.with_context(|| could_not_read(directory))?.path();
        if path.extension().is_some_and(|other| other == extension) {
            paths.push(path);
        }
    }
    paths.sort();
    Ok(paths)
}

#[cfg(test)]
mod tests;
