//! What the commands share: where things are, and how the network is reached.

use std::{cell::OnceCell, env, io::Write, path::PathBuf};

use anyhow::{Context as _, Result, bail};
use dhow_discovery::{Buckets, CatalogMemory};
use dhow_fetchers::{HttpClient, HttpOptions, Insecure, RetryPolicy, Timeouts};
use dhow_image::Limits;
use dhow_store::Store;
use dhow_trust::{KeyStore, Keyring};

use crate::{
    arguments::{Global, InsecureOption},
    config::Config,
};

/// Where configuration comes from that no user of this machine wrote.
const SHARED_CONFIG: [&str; 2] = ["/usr/lib/dhow", "/etc/dhow"];
/// Where rkt has it.
const RKT_CONFIG: [&str; 2] = ["/usr/lib/rkt", "/etc/rkt"];

pub(crate) struct Context {
    pub(crate) global: Global,
    config: OnceCell<Config>,
}

impl Context {
    pub(crate) fn new(global: Global) -> Self {
        Self {
            global,
            config: OnceCell::new(),
        }
    }

    /// Sends what the libraries tell on their way to stderr: warnings, and more with `-v`.
    pub(crate) fn start_logging(&self) {
        let level = match (self.global.quiet, self.global.verbose) {
            (true, _) => "error",
            (_, 0) => "warn",
            (_, 1) => "dhow=info,dhow_fetchers=info,dhow_store=info,dhow_discovery=info",
            (_, 2) => "debug",
            _ => "trace",
        };
        tracing_subscriber::fmt()
            .with_env_filter(tracing_subscriber::EnvFilter::new(level))
            .with_writer(std::io::stderr)
            .without_time()
            .init();
    }

    /// The data directory.
    pub(crate) fn data_dir(&self) -> Result<PathBuf> {
        match (&self.global.dir, &self.config()?.data) {
            (Some(dir), _) | (None, Some(dir)) => Ok(dir.clone()),
            _ if is_root() => Ok("/var/lib/dhow".into()),
            _ => in_home("XDG_DATA_HOME", ".local/share"),
        }
    }

    /// The user's own configuration directory.
    pub(crate) fn config_dir(&self) -> Result<PathBuf> {
        match &self.global.config_dir {
            Some(dir) => Ok(dir.clone()),
            None if is_root() => Ok("/etc/dhow".into()),
            None => in_home("XDG_CONFIG_HOME", ".config"),
        }
    }

    pub(crate) fn store(&self) -> Result<Store> {
        let dir = self.data_dir()?;
        let store = Store::open(&dir).with_context(|| format!("Could not open the store in `{}`", dir.display()))?;
        Ok(store.with_limits(self.limits()))
    }

    /// How large the archives may be that are read.
    pub(crate) fn limits(&self) -> Limits {
        let default = Limits::default();
        Limits {
            names: self.global.max_entries.unwrap_or(default.names),
            tar_size: self.global.max_size.unwrap_or(default.tar_size),
        }
    }

    /// The user's own keys.
    pub(crate) fn keys(&self) -> Result<KeyStore> {
        Ok(KeyStore::open(&self.config_dir()?))
    }

    /// What configuration files say.
    pub(crate) fn config(&self) -> Result<&Config> {
        if let Some(config) = self.config.get() {
            return Ok(config);
        }
        let own = self.config_dir()?;
        let directories = [self.shared_config(&SHARED_CONFIG, &own), vec![own.clone()]].concat();
        let netrc = env::var_os("NETRC").map(PathBuf::from);
        let netrc = netrc.or_else(|| Some(env::home_dir()?.join(".netrc")));
        let config = Config::read(&directories, &self.shared_config(&RKT_CONFIG, &own), netrc.as_deref())?;
        Ok(self.config.get_or_init(|| config))
    }

    /// Whoever names a configuration directory means that one alone.
    fn shared_config(&self, directories: &[&str], own: &PathBuf) -> Vec<PathBuf> {
        let shared = directories.iter().map(PathBuf::from);
        shared
            .filter(|dir| self.global.config_dir.is_none() && dir != own)
            .collect()
    }

    /// The keys that are trusted.
    pub(crate) fn keyring(&self) -> Result<Keyring> {
        let own = self.config_dir()?;
        Ok(Keyring::open(self.shared_config(&SHARED_CONFIG, &own), own.clone()))
    }

    /// How buckets are reached.
    pub(crate) fn buckets(&self) -> Result<Buckets> {
        let buckets = self.config()?.buckets();
        Ok(match self.allows(InsecureOption::Http) {
            true => buckets.with_insecure_http(),
            false => buckets,
        })
    }

    pub(crate) fn client(&self) -> Result<HttpClient> {
        let config = self.config()?;
        let defaults = HttpOptions::default();
        let timeouts = config.timeout().map_or(defaults.timeouts.clone(), |timeout| Timeouts {
            connect: timeout.min(defaults.timeouts.connect),
            read: timeout,
            small: 2 * timeout,
        });
        let options = HttpOptions {
            timeouts,
            credentials: config.credentials(),
            per_host: config.fetch.per_host.unwrap_or(defaults.per_host),
            retry: self.retry()?,
            offline: self.global.offline,
            ca: self.global.ca.clone(),
            connect_to: self.global.connect_to.clone(),
            insecure_http: self.allows(InsecureOption::Http),
            insecure_tls: self.allows(InsecureOption::Tls),
        };
        Ok(HttpClient::new(options)?)
    }

    /// How often something is tried again.
    pub(crate) fn retry(&self) -> Result<RetryPolicy> {
        let defaults = RetryPolicy::default();
        Ok(RetryPolicy {
            attempts: self.config()?.fetch.attempts.unwrap_or(defaults.attempts),
            ..defaults
        })
    }

    /// Where discovery's pages are kept.
    pub(crate) fn discovery_cache(&self) -> Result<PathBuf> {
        Ok(self.data_dir()?.join("cache/discovery"))
    }

    /// The catalogs that were believed.
    pub(crate) fn catalog_memory(&self) -> Result<CatalogMemory> {
        Ok(CatalogMemory::open(self.data_dir()?.join("catalogs")))
    }

    pub(crate) fn insecure(&self) -> Insecure {
        Insecure {
            image: self.allows(InsecureOption::Image),
            pubkey: self.allows(InsecureOption::Pubkey),
        }
    }

    fn allows(&self, option: InsecureOption) -> bool {
        self.global.insecure_options.contains(&option)
    }

    /// Runs what speaks to the network.
    pub(crate) fn block_on<T>(&self, future: impl Future<Output = T>) -> Result<T> {
        Ok(dhow_fetchers::runtime()?.block_on(future))
    }

    /// Tells a person what happened; results go to stdout instead.
    #[expect(clippy::print_stderr, reason = "this is where the program speaks to people")]
    pub(crate) fn say(&self, text: impl std::fmt::Display) {
        if !self.global.quiet {
            eprintln!("{text}");
        }
    }
}

/// Prints a result. Whoever has stopped reading (`dhow image list | head -1`) wants no more of it.
#[expect(
    clippy::print_stderr,
    reason = "there is nowhere else to say that stdout cannot be written to"
)]
pub(crate) fn print(text: impl std::fmt::Display) {
    match writeln!(std::io::stdout(), "{text}") {
        Ok(()) => {}
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => std::process::exit(0),
        Err(error) => {
            eprintln!("error: Could not write the result\n  cause: {error}");
            std::process::exit(1);
        }
    }
}

pub(crate) fn is_root() -> bool {
    // SAFETY: geteuid only returns a number.
    unsafe { libc::geteuid() == 0 }
}

fn in_home(variable: &str, default: &str) -> Result<PathBuf> {
    match (env::var_os(variable), env::home_dir()) {
        (Some(dir), _) if !dir.is_empty() => Ok(PathBuf::from(dir).join("dhow")),
        (_, Some(home)) => Ok(home.join(default).join("dhow")),
        (_, None) => bail!("Could not find the home directory: set HOME, or name a directory with --dir"),
    }
}
