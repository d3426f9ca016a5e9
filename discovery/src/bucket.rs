//! [`BucketSettings`]: how buckets are reached, from where the users of each kind of object storage say so.

mod buckets;
mod profile;

use std::{
    collections::BTreeMap,
    env, fmt, fs,
    io::{self, ErrorKind},
    path::{Path, PathBuf},
};

use thiserror::Error;

pub use self::buckets::Buckets;
use self::profile::Profile;
use crate::scheme::Scheme;

/// The options that say where a service is.
const ENDPOINTS: [&str; 6] = [
    "aws_endpoint_url_s3",
    "aws_endpoint_url",
    "aws_endpoint",
    "google_base_url",
    "azure_storage_endpoint",
    "azure_endpoint",
];

/// The options that say where in the world a bucket is.
const REGIONS: [&str; 2] = ["aws_region", "aws_default_region"];

/// The options that say who asks. They belong together: who says one of them does not mean another's rest.
const CREDENTIALS: [&str; 30] = [
    "aws_access_key_id",
    "aws_secret_access_key",
    "aws_session_token",
    "aws_profile",
    "aws_default_profile",
    "aws_web_identity_token_file",
    "aws_role_arn",
    "aws_container_credentials_relative_uri",
    "aws_container_credentials_full_uri",
    "aws_skip_signature",
    "google_service_account",
    "google_service_account_path",
    "google_service_account_key",
    "google_application_credentials",
    "google_bearer_token",
    "google_skip_signature",
    "azure_storage_account_key",
    "azure_storage_access_key",
    "azure_storage_master_key",
    "azure_storage_sas_key",
    "azure_storage_sas_token",
    "azure_storage_token",
    "azure_storage_client_id",
    "azure_storage_client_secret",
    "azure_client_id",
    "azure_client_secret",
    "azure_federated_token_file",
    "azure_use_azure_cli",
    "azure_credential_type",
    "azure_skip_signature",
];

/// Endpoint, region, credentials and the like, for a bucket or for all buckets of one scheme.
///
/// They are the options that the `object_store` crate knows by these names. What reaches the buckets is built from them
/// by whoever does: this crate opens no connection.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct BucketSettings(BTreeMap<String, String>);

/// Why it cannot be said how buckets are reached.
#[derive(Debug, Error)]
pub enum BucketError {
    /// The scheme is not one of buckets.
    #[error("`{scheme}://` names no buckets")]
    Scheme {
        /// The scheme.
        scheme: Scheme,
    },
    /// A file of profiles could not be read.
    #[error("could not read `{}`", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// The profile that is asked for is nowhere.
    #[error("there is no AWS profile `{profile}` in `{}` or `{}`", credentials.display(), config.display())]
    NoProfile {
        /// Its name, as `AWS_PROFILE` has it.
        profile: String,
        /// The file of credentials.
        credentials: PathBuf,
        /// The file of settings.
        config: PathBuf,
    },
    /// A profile gets its credentials in a way that is not supported.
    #[error(
        "the AWS profile `{profile}` takes its credentials from `{key}`, which is not supported: \
         `aws configure export-credentials --format env` gives them to the environment"
    )]
    Profile {
        /// The profile.
        profile: String,
        /// What it has in place of keys.
        key: &'static str,
    },
}

/// What is looked at.
struct Surroundings {
    variables: BTreeMap<String, String>,
    home: Option<PathBuf>,
    /// Who made this machine, as its firmware says.
    vendor: String,
}

impl BucketSettings {
    /// With these options only, by the names that `object_store` has for them.
    pub fn new<K: Into<String>, V: Into<String>>(options: impl IntoIterator<Item = (K, V)>) -> Self {
        let options = options.into_iter();
        Self(options.map(|(key, value)| (key.into(), value.into())).collect())
    }

    /// These options over what the environment and the user's files say (see [`Buckets::settings`]).
    pub(crate) fn over_surroundings(&self, scheme: Scheme) -> Result<Self, BucketError> {
        let vendor = fs::read_to_string("/sys/class/dmi/id/sys_vendor");
        self.gather(
            scheme,
            &Surroundings {
                variables: env::vars_os()
                    .filter_map(|(key, value)| Some((key.into_string().ok()?, value.into_string().ok()?)))
                    .collect(),
                home: env::home_dir(),
                vendor: vendor.unwrap_or_default(),
            },
        )
    }

    /// The same, with this option unless it is set.
    #[must_use]
    pub fn with_default(&self, key: &str, value: impl ToString) -> Self {
        let mut settings = self.clone();
        settings.set_missing(key, Some(value.to_string()));
        settings
    }

    /// The options, by name.
    pub fn options(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(key, value)| (key.as_str(), value.as_str()))
    }

    /// The URL of the service, if another than the usual one was chosen.
    pub fn endpoint(&self) -> Option<&str> {
        ENDPOINTS.iter().find_map(|key| self.get(key))
    }

    /// Whether the service may be asked over plain HTTP.
    pub fn allows_http(&self) -> bool {
        let keys = [
            "aws_allow_http",
            "google_allow_http",
            "azure_allow_http",
            "azure_storage_use_emulator",
        ];
        keys.iter().any(|key| self.get(key) == Some("true"))
    }

    pub(crate) fn with_insecure_http(mut self, scheme: Scheme) -> Self {
        if let Some(prefix) = prefix(scheme) {
            self.0.insert(format!("{prefix}allow_http"), "true".to_owned());
        }
        self
    }

    fn get(&self, key: &str) -> Option<&str> {
        self.0.get(key).map(String::as_str).filter(|value| !value.is_empty())
    }

    fn has(&self, keys: &[&str]) -> bool {
        keys.iter().any(|key| self.get(key).is_some())
    }

    fn set_missing(&mut self, key: &str, value: Option<String>) {
        if let Some(value) = value
            && self.get(key).is_none()
        {
            self.0.insert(key.to_owned(), value);
        }
    }

    fn gather(&self, scheme: Scheme, around: &Surroundings) -> Result<Self, BucketError> {
        let prefix = prefix(scheme).ok_or(BucketError::Scheme { scheme })?;
        // Variables of other names mean other things: `TOKEN` and `BUCKET` are options too.
        let mut settings = Self::new(
            around
                .variables
                .iter()
                .map(|(key, value)| (key.to_ascii_lowercase(), value.clone()))
                .filter(|(key, value)| key.starts_with(prefix) && !value.is_empty()),
        );
        for group in [&ENDPOINTS[..], &REGIONS, &CREDENTIALS] {
            if self.has(group) {
                settings.0.retain(|key, _| !group.contains(&key.as_str()));
            }
        }
        settings.0.extend(self.0.clone());
        let is_signed = match scheme {
            Scheme::S3 => settings.add_aws(around)?,
            Scheme::Gs => {
                let adc = ".config/gcloud/application_default_credentials.json";
                let has_adc = around.home.as_ref().is_some_and(|home| home.join(adc).exists());
                has_adc
                    || around.vendor.starts_with("Google")
                    || settings.has(&[
                        "google_service_account",
                        "google_service_account_path",
                        "google_service_account_key",
                        "google_application_credentials",
                        "google_bearer_token",
                    ])
            }
            _ => {
                around.vendor.starts_with("Microsoft")
                    || settings.has(&[
                        "azure_storage_account_key",
                        "azure_storage_access_key",
                        "azure_storage_master_key",
                        "azure_storage_sas_key",
                        "azure_storage_sas_token",
                        "azure_storage_token",
                        "azure_storage_client_secret",
                        "azure_client_secret",
                        "azure_federated_token_file",
                    ])
            }
        };
        if !is_signed {
            settings.set_missing(&format!("{prefix}skip_signature"), Some("true".to_owned()));
        }
        Ok(settings)
    }

    /// Adds what the profile says. Whether there are credentials, or there may be.
    fn add_aws(&mut self, around: &Surroundings) -> Result<bool, BucketError> {
        let has_own = self.has(&["aws_access_key_id"]) || self.has(&["aws_web_identity_token_file"]);
        let file = |variable: &str, default: &str| {
            let named = around.variables.get(variable).map(PathBuf::from);
            named.or_else(|| Some(around.home.as_ref()?.join(default)))
        };
        let name = self.get("aws_profile").or(self.get("aws_default_profile"));
        let (name, is_asked_for) = (name.unwrap_or("default").to_owned(), name.is_some());
        let credentials = file("AWS_SHARED_CREDENTIALS_FILE", ".aws/credentials").unwrap_or_default();
        let config = file("AWS_CONFIG_FILE", ".aws/config").unwrap_or_default();
        let keys = Profile::find(&read(&credentials)?, &[&name]);
        let general = match name.as_str() {
            "default" => Profile::find(&read(&config)?, &["default", "profile default"]),
            _ => Profile::find(&read(&config)?, &[&format!("profile {name}")]),
        };
        if is_asked_for && keys.is_none() && general.is_none() {
            return Err(BucketError::NoProfile {
                profile: name,
                credentials,
                config,
            });
        }
        let (keys, general) = (keys.unwrap_or_default(), general.unwrap_or_default());
        if !self.has(&REGIONS) {
            self.set_missing("aws_region", general.get("region").or(keys.get("region")));
        }
        if self.endpoint().is_none() {
            self.set_missing("aws_endpoint_url", general.get("endpoint_url"));
        }
        if self.get("aws_skip_signature") == Some("true") {
            return Ok(false);
        }
        if !has_own {
            let source = if keys.get("aws_access_key_id").is_some() {
                &keys
            } else {
                &general
            };
            for key in ["aws_access_key_id", "aws_secret_access_key", "aws_session_token"] {
                self.set_missing(key, source.get(key));
            }
        }
        if self.has(&[
            "aws_access_key_id",
            "aws_web_identity_token_file",
            "aws_container_credentials_relative_uri",
            "aws_container_credentials_full_uri",
        ]) {
            return Ok(true);
        }
        let other_ways = [
            "role_arn",
            "sso_session",
            "sso_start_url",
            "credential_process",
            "login_session",
        ];
        match other_ways.into_iter().find(|key| general.get(key).is_some()) {
            Some(key) => Err(BucketError::Profile { profile: name, key }),
            None => {
                let is_off = self.get("aws_ec2_metadata_disabled") == Some("true");
                Ok(around.vendor.starts_with("Amazon") && !is_off)
            }
        }
    }
}

impl fmt::Debug for BucketSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let is_plain = |key: &str| {
            ["region", "endpoint", "url", "skip_signature"]
                .iter()
                .any(|part| key.contains(part))
        };
        let shown = self
            .options()
            .map(|(key, value)| (key, if is_plain(key) { value } else { "…" }));
        f.debug_map().entries(shown).finish()
    }
}

/// How the names of the options begin that are for a scheme of buckets.
fn prefix(scheme: Scheme) -> Option<&'static str> {
    match scheme {
        Scheme::S3 => Some("aws_"),
        Scheme::Gs => Some("google_"),
        Scheme::Az => Some("azure_"),
        _ => None,
    }
}

/// The text of a file, which need not be there.
fn read(path: &Path) -> Result<String, BucketError> {
    match fs::read_to_string(path) {
        Ok(text) => Ok(text),
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => Ok(String::new()),
        Err(source) => Err(BucketError::Read {
            path: path.to_owned(),
            source,
        }),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn gather(
        scheme: Scheme,
        variables: &[(&str, &str)],
        home: Option<&Path>,
        vendor: &str,
    ) -> Result<String, BucketError> {
        gather_over(&[], scheme, variables, home, vendor)
    }

    fn gather_over(
        said: &[(&str, &str)],
        scheme: Scheme,
        variables: &[(&str, &str)],
        home: Option<&Path>,
        vendor: &str,
    ) -> Result<String, BucketError> {
        let owned = variables
            .iter()
            .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()));
        let around = Surroundings {
            variables: owned.collect(),
            home: home.map(Path::to_owned),
            vendor: vendor.to_owned(),
        };
        let settings = BucketSettings::new(said.iter().copied()).gather(scheme, &around)?;
        Ok(settings
            .options()
            .map(|(key, value)| format!("{key}={value}"))
            .collect::<Vec<_>>()
            .join(" "))
    }

    fn home() -> tempfile::TempDir {
        let home = tempfile::tempdir().unwrap();
        fs::create_dir(home.path().join(".aws")).unwrap();
        let credentials = "\
            [default]\naws_access_key_id = AK\naws_secret_access_key=SK\n\n\
            [other]\naws_access_key_id=AK2\naws_secret_access_key=SK2\naws_session_token=T2 # not a comment\n";
        let config = "\
            [default]\nregion = eu-west-1\n\
            [profile other]\nregion=us-west-2\ns3 =\n  addressing_style = path\nendpoint_url = https://s3.example\n\
            # [profile commented]\n\
            [profile role]\nrole_arn=arn:aws:iam::1:role/x\nsource_profile=default\n";
        fs::write(home.path().join(".aws/credentials"), credentials).unwrap();
        fs::write(home.path().join(".aws/config"), config).unwrap();
        home
    }

    #[test]
    fn variables_come_before_profiles_and_profiles_before_nothing() {
        let home = home();
        let s3 = |variables: &[(&str, &str)]| gather(Scheme::S3, variables, Some(home.path()), "");
        assert_eq!(
            s3(&[]).unwrap(),
            "aws_access_key_id=AK aws_region=eu-west-1 aws_secret_access_key=SK"
        );
        assert_eq!(
            s3(&[("AWS_PROFILE", "other")]).unwrap(),
            "aws_access_key_id=AK2 aws_endpoint_url=https://s3.example aws_profile=other aws_region=us-west-2 \
             aws_secret_access_key=SK2 aws_session_token=T2 # not a comment"
        );
        let own = [
            ("AWS_ACCESS_KEY_ID", "AK3"),
            ("AWS_SECRET_ACCESS_KEY", "SK3"),
            ("AWS_DEFAULT_REGION", "r"),
            ("TOKEN", "of something else"),
        ];
        assert_eq!(
            s3(&own).unwrap(),
            "aws_access_key_id=AK3 aws_default_region=r aws_secret_access_key=SK3"
        );
        let missing = s3(&[("AWS_PROFILE", "commented")]).unwrap_err().to_string();
        assert!(missing.contains("no AWS profile `commented`"), "{missing}");
        let role = s3(&[("AWS_PROFILE", "role")]).unwrap_err().to_string();
        assert!(role.contains("`role_arn`, which is not supported"), "{role}");
    }

    #[test]
    fn what_the_user_says_comes_first_and_takes_nobody_elses_keys() {
        let home = home();
        let own = [
            ("AWS_ACCESS_KEY_ID", "AK3"),
            ("AWS_SECRET_ACCESS_KEY", "SK3"),
            ("AWS_ENDPOINT_URL_S3", "https://environment.example"),
            ("AWS_DEFAULT_REGION", "r"),
        ];
        let s3 = |said: &[(&str, &str)]| gather_over(said, Scheme::S3, &own, Some(home.path()), "").unwrap();
        assert_eq!(
            s3(&[("aws_endpoint_url", "https://said.example"), ("aws_region", "here")]),
            "aws_access_key_id=AK3 aws_endpoint_url=https://said.example aws_region=here aws_secret_access_key=SK3"
        );
        let by_profile = s3(&[("aws_profile", "other")]);
        assert!(
            by_profile.contains("aws_access_key_id=AK2") && !by_profile.contains("SK3"),
            "{by_profile}"
        );
        assert!(by_profile.contains("https://environment.example"), "{by_profile}");
        let anonymous = s3(&[("aws_skip_signature", "true")]);
        assert!(!anonymous.contains("secret"), "{anonymous}");
        let keys = s3(&[("aws_access_key_id", "AK4"), ("aws_secret_access_key", "SK4")]);
        assert!(
            keys.contains("aws_secret_access_key=SK4") && !keys.contains("skip"),
            "{keys}"
        );
        // A profile that cannot be used is in nobody's way who asks for no keys.
        let role = [("AWS_PROFILE", "role")];
        let unsigned = [("aws_skip_signature", "true")];
        gather_over(&unsigned, Scheme::S3, &role, Some(home.path()), "").unwrap();
        let token = gather_over(&[("google_bearer_token", "T")], Scheme::Gs, &[], None, "").unwrap();
        assert_eq!(token, "google_bearer_token=T");
        let other = [("AZURE_STORAGE_ACCOUNT_KEY", "theirs")];
        let sas = gather_over(&[("azure_storage_sas_token", "S")], Scheme::Az, &other, None, "").unwrap();
        assert_eq!(sas, "azure_storage_sas_token=S");
    }

    #[test]
    fn without_credentials_nothing_is_signed_and_nobody_is_asked_for_them() {
        let plain = |scheme, vendor| gather(scheme, &[], None, vendor).unwrap();
        assert_eq!(plain(Scheme::S3, "QEMU"), "aws_skip_signature=true");
        assert_eq!(plain(Scheme::S3, "Amazon EC2"), "");
        assert_eq!(plain(Scheme::Gs, ""), "google_skip_signature=true");
        assert_eq!(plain(Scheme::Az, ""), "azure_skip_signature=true");
        let off = [("AWS_EC2_METADATA_DISABLED", "true")];
        assert!(
            gather(Scheme::S3, &off, None, "Amazon EC2")
                .unwrap()
                .contains("skip_signature")
        );
        let web = [("AWS_WEB_IDENTITY_TOKEN_FILE", "/t"), ("AWS_ROLE_ARN", "arn")];
        assert!(!gather(Scheme::S3, &web, None, "").unwrap().contains("skip_signature"));
        let key = [("AZURE_STORAGE_ACCOUNT_NAME", "a"), ("AZURE_STORAGE_ACCOUNT_KEY", "k")];
        assert!(!gather(Scheme::Az, &key, None, "").unwrap().contains("skip_signature"));
        assert!(matches!(
            gather(Scheme::Https, &[], None, ""),
            Err(BucketError::Scheme { .. })
        ));
    }

    #[test]
    fn secrets_are_not_shown() {
        let settings = BucketSettings::new([("aws_secret_access_key", "hidden"), ("aws_region", "shown")]);
        let shown = format!("{settings:?}");
        assert!(shown.contains("shown") && !shown.contains("hidden"), "{shown}");
    }
}
