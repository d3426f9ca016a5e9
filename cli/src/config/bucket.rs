//! `[[bucket]]`: how a bucket is reached, or all of a kind of storage.

use std::path::{Path, PathBuf};

use anyhow::{Result, bail};
use dhow_discovery::{BucketSettings, Scheme};
use serde::Deserialize;
use url::Url;

use super::secret_file;

/// A bucket, or all of a scheme of which nothing else is said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Bucket {
    pub(super) scheme: Scheme,
    pub(super) name: Option<String>,
    pub(super) settings: BucketSettings,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct BucketTable {
    /// `s3://images`, or `s3://` for all.
    url: String,
    endpoint: Option<String>,
    region: Option<String>,
    path_style: Option<bool>,
    #[serde(default)]
    insecure_http: bool,
    // Who asks: one of these ways.
    #[serde(default)]
    anonymous: bool,
    profile: Option<String>,
    access_key_id: Option<String>,
    secret_access_key: Option<String>,
    secret_access_key_file: Option<PathBuf>,
    session_token: Option<String>,
    service_account_file: Option<PathBuf>,
    token: Option<String>,
    token_file: Option<PathBuf>,
    account: Option<String>,
    account_key: Option<String>,
    account_key_file: Option<PathBuf>,
    sas_token: Option<String>,
    sas_token_file: Option<PathBuf>,
}

impl std::fmt::Debug for BucketTable {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("BucketTable")
            .field("url", &self.url)
            .finish_non_exhaustive()
    }
}

impl BucketTable {
    /// The settings by the names that they have elsewhere. Files are named from `directory`.
    pub(super) fn into_bucket(self, directory: &Path) -> Result<Bucket> {
        let (scheme, name) = place(&self.url)?;
        if let Some(endpoint) = &self.endpoint {
            check_endpoint(endpoint)?;
        }
        let secret = |text: Option<String>, file: Option<PathBuf>| match (text, file) {
            (Some(_), Some(_)) => bail!("a secret stands here and in a file"),
            (Some(text), None) => Ok(Some(text)),
            (None, Some(file)) => secret_file::first_line(&directory.join(file)).map(Some),
            (None, None) => Ok(None),
        };
        let secret_access_key = secret(self.secret_access_key, self.secret_access_key_file)?;
        let token = secret(self.token, self.token_file)?;
        let account_key = secret(self.account_key, self.account_key_file)?;
        let sas_token = secret(self.sas_token, self.sas_token_file)?;
        if self.access_key_id.is_some() != secret_access_key.is_some() {
            bail!("`access-key-id` and `secret-access-key` (or `secret-access-key-file`) go together");
        }
        if self.session_token.is_some() && self.access_key_id.is_none() {
            bail!("a `session-token` belongs to an `access-key-id`");
        }
        let service_account = self
            .service_account_file
            .map(|file| directory.join(file).display().to_string());
        let ways = [
            self.anonymous,
            self.profile.is_some(),
            self.access_key_id.is_some(),
            service_account.is_some(),
            token.is_some(),
            account_key.is_some(),
            sas_token.is_some(),
        ];
        if ways.iter().filter(|way| **way).count() > 1 {
            bail!("it says in several ways who asks");
        }
        let yes = |is: bool| is.then(|| "true".to_owned());
        // What it is called here, and with S3, Google and Azure.
        let options = [
            (
                "endpoint",
                ["aws_endpoint_url", "google_base_url", "azure_storage_endpoint"],
                self.endpoint,
            ),
            (
                "insecure-http",
                ["aws_allow_http", "google_allow_http", "azure_allow_http"],
                yes(self.insecure_http),
            ),
            (
                "anonymous",
                ["aws_skip_signature", "google_skip_signature", "azure_skip_signature"],
                yes(self.anonymous),
            ),
            ("region", ["aws_region", "", ""], self.region),
            (
                "path-style",
                ["aws_virtual_hosted_style_request", "", ""],
                self.path_style.map(|path| (!path).to_string()),
            ),
            ("profile", ["aws_profile", "", ""], self.profile),
            ("access-key-id", ["aws_access_key_id", "", ""], self.access_key_id),
            (
                "secret-access-key",
                ["aws_secret_access_key", "", ""],
                secret_access_key,
            ),
            ("session-token", ["aws_session_token", "", ""], self.session_token),
            (
                "service-account-file",
                ["", "google_service_account", ""],
                service_account,
            ),
            ("token", ["", "google_bearer_token", "azure_storage_token"], token),
            ("account", ["", "", "azure_storage_account_name"], self.account),
            ("account-key", ["", "", "azure_storage_account_key"], account_key),
            ("sas-token", ["", "", "azure_storage_sas_token"], sas_token),
        ];
        let mut settings = Vec::new();
        for (key, [s3, gs, az], value) in options {
            let Some(value) = value else { continue };
            let option = match scheme {
                Scheme::S3 => s3,
                Scheme::Gs => gs,
                _ => az,
            };
            if option.is_empty() {
                bail!("`{key}` means nothing for `{}://`", scheme.as_str());
            }
            settings.push((option, value));
        }
        Ok(Bucket {
            scheme,
            name,
            settings: BucketSettings::new(settings),
        })
    }
}

/// The bucket of a URL that names nothing in it.
fn place(text: &str) -> Result<(Scheme, Option<String>)> {
    let parts = text.split_once("://");
    let scheme = parts.and_then(|(scheme, _)| Scheme::from_name(scheme));
    match (scheme, parts) {
        (Some(scheme @ (Scheme::S3 | Scheme::Gs | Scheme::Az)), Some((_, name))) => {
            let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.$".contains(&byte);
            match name.strip_suffix('/').unwrap_or(name) {
                "" => Ok((scheme, None)),
                name if name.bytes().all(is_plain) => Ok((scheme, Some(name.to_owned()))),
                _ => bail!("`{name}` is no name of a bucket"),
            }
        }
        _ => bail!("its `url` is not that of a bucket, as `s3://images`, or of all, as `s3://`"),
    }
}

fn check_endpoint(text: &str) -> Result<()> {
    let Ok(url) = Url::parse(text) else {
        bail!("its `endpoint` is no URL");
    };
    if !matches!(url.scheme(), "https" | "http") || url.host_str().is_none() {
        bail!("its `endpoint` is not reached by HTTPS");
    }
    if !url.username().is_empty() || url.password().is_some() || url.query().is_some() {
        bail!("its `endpoint` holds more than a place");
    }
    Ok(())
}
