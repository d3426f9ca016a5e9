//! The command line.

use std::{ffi::OsString, path::PathBuf};

use clap::{Args, Parser, Subcommand, ValueEnum};
use dhow_fetchers::ConnectTo;
use dhow_image::{Quantity, QuantityError};

use crate::{
    build, bundle, config, convert, decrypt, discover, encrypt, fetch, image, inspect, key, manifest, patch, publish,
    run, search, seed, sign, store, trust, validate, verify, withdraw,
};

/// Publishes, finds, verifies, fetches and runs signed application images, with no registry in the middle.
///
/// An image is named like a web page, `example.com/app`. Its publisher puts files on any web server; a name is
/// enough to find it, check who signed it, fetch it, store it once and run it.
#[derive(Parser)]
#[command(name = "dhow", version, propagate_version = true, after_help = EXAMPLES, subcommand_required = true)]
pub(crate) struct Arguments {
    #[command(flatten)]
    pub(crate) global: Global,
    #[command(subcommand)]
    pub(crate) command: Command,
}

const EXAMPLES: &str = "\
Examples:
  dhow build --rootfs ./root --name example.com/app --label version=1.0.0 --exec /bin/app -o app.aci
  dhow publish app.aci --site ./site --url https://example.com --key carly@example.com
  dhow trust add --prefix example.com
  dhow run example.com/app:1.0.0

`dhow NAME …` runs the program `dhow-NAME` where NAME is no command: `dhow mirror serve` is `dhow-mirror serve`.";

/// What every command takes.
#[derive(Args, Clone)]
pub(crate) struct Global {
    /// The data directory, with the store and the pods [default: /var/lib/dhow for root, else ~/.local/share/dhow]
    #[arg(long, global = true, value_name = "DIR")]
    pub(crate) dir: Option<PathBuf>,
    /// Where keys and trust are kept [default: /etc/dhow for root, else ~/.config/dhow]
    #[arg(long, global = true, value_name = "DIR")]
    pub(crate) config_dir: Option<PathBuf>,
    /// Switches checks off, a list: `image` takes unsigned images, `http` allows plain HTTP, `tls` believes any
    /// certificate, `pubkey` fetches keys over plain HTTP
    #[arg(long, global = true, value_name = "CHECK", value_delimiter = ',')]
    pub(crate) insecure_options: Vec<InsecureOption>,
    /// Also believes the certificate authorities in this PEM file
    #[arg(long, global = true, value_name = "FILE")]
    pub(crate) ca: Vec<PathBuf>,
    /// Connects to another host and port than the URL says: HOST:PORT:HOST:PORT, as curl does
    #[arg(long, global = true, value_name = "FROM:TO")]
    pub(crate) connect_to: Vec<ConnectTo>,
    /// Takes the passphrase of a key or of an encrypted file from the first line of this file, and asks nobody
    #[arg(long, global = true, value_name = "FILE")]
    pub(crate) passphrase_file: Option<PathBuf>,
    /// The most names that an archive may have, those of implied directories included [default: 1500000]
    #[arg(long, global = true, value_name = "N")]
    pub(crate) max_entries: Option<usize>,
    /// The most that an archive may unfold to, in bytes, as in 100Gi [default: 64Gi]
    #[arg(long, global = true, value_name = "SIZE", value_parser = parse_size)]
    pub(crate) max_size: Option<u64>,
    /// Asks nobody: uses what is in the store, and the discovery pages that were kept, however old they are
    #[arg(long, global = true)]
    pub(crate) offline: bool,
    /// Prints results only
    #[arg(long, short, global = true, conflicts_with = "verbose")]
    pub(crate) quiet: bool,
    /// Tells more on the way; twice, everything
    #[arg(long, short, global = true, action = clap::ArgAction::Count)]
    pub(crate) verbose: u8,
}

impl Global {
    /// These options with `later` ones over them, which stood further on in the command line.
    pub(crate) fn overridden_by(mut self, later: Self) -> Self {
        self.dir = later.dir.or(self.dir);
        self.config_dir = later.config_dir.or(self.config_dir);
        self.insecure_options.extend(later.insecure_options);
        self.ca.extend(later.ca);
        self.connect_to.extend(later.connect_to);
        self.max_entries = later.max_entries.or(self.max_entries);
        self.max_size = later.max_size.or(self.max_size);
        self.passphrase_file = later.passphrase_file.or(self.passphrase_file);
        self.offline |= later.offline;
        self.quiet |= later.quiet;
        self.verbose = self.verbose.max(later.verbose);
        self
    }
}

/// Bytes, with a suffix as the specification's quantities have it.
fn parse_size(text: &str) -> Result<u64, String> {
    let quantity: Quantity = text.parse().map_err(|error: QuantityError| error.to_string())?;
    u64::try_from(quantity.value()).map_err(|_| format!("`{text}` is no size"))
}

/// A check that can be switched off.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum InsecureOption {
    /// Images need no signature.
    Image,
    /// Plain HTTP is allowed.
    Http,
    /// Any TLS certificate is believed.
    Tls,
    /// Keys may come over plain HTTP.
    Pubkey,
}

/// How results are printed.
#[derive(Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// For people.
    #[default]
    Text,
    /// For programs.
    Json,
}

#[derive(Subcommand)]
pub(crate) enum Command {
    Build(Box<build::BuildArguments>),
    Validate(validate::ValidateArguments),
    Inspect(inspect::InspectArguments),
    Manifest(manifest::ManifestArguments),
    Patch(Box<patch::PatchArguments>),
    Convert(convert::ConvertArguments),
    #[command(subcommand)]
    Key(key::KeyCommand),
    Sign(sign::SignArguments),
    Verify(verify::VerifyArguments),
    Encrypt(encrypt::EncryptArguments),
    Decrypt(decrypt::DecryptArguments),
    Publish(Box<publish::PublishArguments>),
    #[command(subcommand)]
    Bundle(bundle::BundleCommand),
    Yank(withdraw::YankArguments),
    Unpublish(withdraw::UnpublishArguments),
    Discover(discover::DiscoverArguments),
    Search(search::SearchArguments),
    Versions(search::VersionsArguments),
    #[command(subcommand)]
    Trust(trust::TrustCommand),
    Fetch(Box<fetch::FetchArguments>),
    Seed(seed::SeedCommand),
    #[command(subcommand)]
    Image(image::ImageCommand),
    #[command(subcommand)]
    Store(store::StoreCommand),
    Config(config::ConfigArguments),
    Run(run::RunArguments),
    #[command(flatten)]
    Pods(run::PodCommand),
    #[command(external_subcommand)]
    External(Vec<OsString>),
}
