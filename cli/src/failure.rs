//! How a command ends: its exit code, and what the person at the terminal is told.

use std::process::ExitCode;

use dhow_discovery::CatalogError;
use dhow_image::{ArchiveError, ConvertError};
use dhow_store::{StoreError, User};

const FAILED: u8 = 1;
const USAGE: u8 = 2;
const NOT_FOUND: u8 = 3;
pub(crate) const NOT_TRUSTED: u8 = 4;
const NETWORK: u8 = 5;

/// The command line asks for what there is not.
#[derive(Debug)]
pub(crate) struct Usage(pub(crate) String);

impl std::fmt::Display for Usage {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Usage {}

/// What the command line names is not there.
#[derive(Debug)]
pub(crate) struct NotFound(pub(crate) String);

impl std::fmt::Display for NotFound {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for NotFound {}

/// What came is not what it is said to be.
#[derive(Debug)]
pub(crate) struct NotTrusted(pub(crate) String);

impl std::fmt::Display for NotTrusted {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for NotTrusted {}

/// Reports a failure and gives the exit code that tells its kind.
pub(crate) fn exit_code(result: anyhow::Result<ExitCode>) -> ExitCode {
    let error = match result {
        Ok(code) => return code,
        Err(error) => error,
    };
    report(&error);
    ExitCode::from(code(&error))
}

/// Tells the person at the terminal what failed.
#[expect(clippy::print_stderr, reason = "this is where failures are reported")]
pub(crate) fn report(error: &anyhow::Error) {
    // A reader that has seen enough (`dhow image export REF - | head -c 100`) is no failure to tell anyone about.
    let outermost = error
        .chain()
        .next()
        .and_then(|error| error.downcast_ref::<std::io::Error>());
    if outermost.is_none_or(|error| error.kind() != std::io::ErrorKind::BrokenPipe) {
        eprintln!("error: {error}");
        let mut said = error.to_string();
        for cause in error.chain().skip(1) {
            let text = cause.to_string();
            // Some libraries repeat their cause in their own text.
            if !said.contains(&text) {
                eprintln!("  cause: {text}");
            }
            said = text;
        }
        if let Some(hint) = hint(error) {
            eprintln!("  hint: {hint}");
        }
    }
}

/// The exit code of an error, by the outermost cause that has one.
fn code(error: &anyhow::Error) -> u8 {
    error.chain().find_map(code_of).unwrap_or(FAILED)
}

fn code_of(cause: &(dyn std::error::Error + 'static)) -> Option<u8> {
    use dhow_fetchers::ErrorKind as Fetch;
    use dhow_trust::ErrorKind as Trust;
    if let Some(error) = cause.downcast_ref::<std::io::Error>() {
        // What a reader of ours carries through the standard library's error.
        return error.get_ref().and_then(|inner| code_of(inner));
    }
    if cause.downcast_ref::<Usage>().is_some() {
        return Some(USAGE);
    }
    if cause.downcast_ref::<NotFound>().is_some() {
        return Some(NOT_FOUND);
    }
    if cause.downcast_ref::<NotTrusted>().is_some() {
        return Some(NOT_TRUSTED);
    }
    match as_a::<dhow_site::Error>(cause) {
        Some(dhow_site::Error::Bundle { .. } | dhow_site::Error::NotAsRecorded { .. }) => return Some(NOT_TRUSTED),
        Some(dhow_site::Error::NotPublished { .. }) => return Some(NOT_FOUND),
        _ => {}
    }
    if let Some(error) = as_a::<dhow_fetchers::Error>(cause) {
        return match error.kind() {
            Fetch::Usage => Some(USAGE),
            Fetch::NotFound => Some(NOT_FOUND),
            Fetch::NotTrusted | Fetch::Corrupt => Some(NOT_TRUSTED),
            Fetch::Network => Some(NETWORK),
            _ => Some(FAILED),
        };
    }
    match as_a::<CatalogError>(cause) {
        Some(CatalogError::Range(_)) => return Some(USAGE),
        Some(CatalogError::NotListed { .. }) => return Some(NOT_FOUND),
        // What is wrong with a signature follows.
        Some(CatalogError::Memory { .. } | CatalogError::Signature { .. }) | None => {}
        Some(_) => return Some(NOT_TRUSTED),
    }
    if let Some(error) = as_a::<dhow_trust::Error>(cause) {
        return match error.kind() {
            Trust::Untrusted => Some(NOT_TRUSTED),
            Trust::NotFound => Some(NOT_FOUND),
            _ => None,
        };
    }
    if let Some(error) = as_a::<StoreError>(cause) {
        return match error {
            StoreError::NotFound { .. } | StoreError::MissingDependency { .. } => Some(NOT_FOUND),
            StoreError::Damaged { .. }
            | StoreError::DamagedManifest { .. }
            | StoreError::WrongDependency { .. }
            | StoreError::DependencyCycle { .. }
            | StoreError::TooManyDependencies { .. } => Some(NOT_TRUSTED),
            _ => None,
        };
    }
    if let Some(error) = as_a::<ConvertError>(cause) {
        return match error {
            error if error.is_not_found() => Some(NOT_FOUND),
            error if error.is_corrupt() => Some(NOT_TRUSTED),
            _ => None,
        };
    }
    match as_a::<ArchiveError>(cause)? {
        ArchiveError::Io(_) => None,
        _ => Some(NOT_TRUSTED),
    }
}

/// A cause as the error that it is, boxed or not.
fn as_a<'a, E: std::error::Error + 'static>(cause: &'a (dyn std::error::Error + 'static)) -> Option<&'a E> {
    cause
        .downcast_ref::<E>()
        .or_else(|| cause.downcast_ref::<Box<E>>().map(|boxed| &**boxed))
}

/// The one thing to try, where there is one.
fn hint(error: &anyhow::Error) -> Option<String> {
    error.chain().find_map(|cause| {
        site_hint(cause)
            .or_else(|| trust_hint(cause))
            .or_else(|| catalog_hint(cause))
            .or_else(|| store_hint(as_a(cause)?))
    })
}

fn trust_hint(cause: &(dyn std::error::Error + 'static)) -> Option<String> {
    match as_a::<dhow_trust::Error>(cause)? {
        dhow_trust::Error::UnknownSigner { .. } => {
            Some("`dhow trust add --prefix NAME` shows the publisher's keys".to_owned())
        }
        dhow_trust::Error::Locked { .. } | dhow_trust::Error::CannotDecrypt { .. } => {
            Some("--passphrase-file FILE gives the passphrase where nobody can be asked".to_owned())
        }
        dhow_trust::Error::PolicyNotMet { .. } => Some("`dhow trust policy show` shows what is asked for".to_owned()),
        dhow_trust::Error::Agent { .. } => Some("`gpgconf --launch gpg-agent` starts the agent".to_owned()),
        dhow_trust::Error::KeyNotFound { .. } => Some("`dhow key generate` makes a key".to_owned()),
        _ => None,
    }
}

fn site_hint(cause: &(dyn std::error::Error + 'static)) -> Option<String> {
    match as_a::<dhow_site::Error>(cause)? {
        dhow_site::Error::CatalogUnsigned { .. } => Some(
            "--catalog-key KEY signs it; `dhow publish --no-catalog` leaves it as it is, until `--refresh --rebuild`"
                .to_owned(),
        ),
        dhow_site::Error::CatalogSigner { .. } => Some(
            "--catalog-key KEY names another key; --take-over-catalog makes it anew, for clients who trust this one"
                .to_owned(),
        ),
        _ => None,
    }
}

fn catalog_hint(cause: &(dyn std::error::Error + 'static)) -> Option<String> {
    let seen = match (as_a::<dhow_fetchers::Error>(cause), as_a::<CatalogError>(cause)) {
        (Some(dhow_fetchers::Error::CatalogMissing { prefix, .. }), _) => prefix,
        (_, Some(CatalogError::Rollback { prefix, .. } | CatalogError::Forked { prefix, .. })) => prefix,
        (_, Some(CatalogError::Expired { .. })) => {
            return Some(
                "only a catalog tells what is the newest: an exact version is fetched without, unless your policy asks for \
                 one; `dhow publish --refresh` is how its publisher signs it again"
                    .to_owned(),
            );
        }
        _ => return None,
    };
    Some(format!(
        "if the publisher says, by another way, that this is meant: `dhow trust forget-catalog --prefix {seen}`"
    ))
}

fn store_hint(error: &StoreError) -> Option<String> {
    match error {
        StoreError::InUse { users, .. } => match users.first()? {
            User::Pod(id) | User::UnreadablePod(id) => Some(format!(
                "`dhow rm {}` removes the pod, when it has ended",
                id.get(..8).unwrap_or(id)
            )),
            User::Pin(name) => Some(format!("`dhow image unpin {name}` takes the pin away")),
            User::Image(_) => Some("remove both in one command, or only this one with --leave-dependents".to_owned()),
        },
        StoreError::Damaged { .. } | StoreError::DamagedManifest { .. } => {
            Some("`dhow store fsck --repair --fetch` puts right what can be".to_owned())
        }
        StoreError::Index { .. } => Some("`dhow store fsck --rebuild` makes the index anew".to_owned()),
        StoreError::Busy { .. } => Some("try again when fewer programs take images in".to_owned()),
        _ => None,
    }
}
