//! The keys that the user trusts, and for which names. The layout is rkt's, so a keyring of rkt can be used as it
//! is, and be managed by hand:
//!
//! ```text
//! <dir>/trustedkeys/root.d/8b86de38890ddb7291867b025210bd8888182190                    trusted for every name
//! <dir>/trustedkeys/prefix.d/example.com/8b86de38890ddb7291867b025210bd8888182190      for example.com and below
//! <dir>/trustedkeys/prefix.d/example.com/app/a175e31de7e3c5b9d2c4603e4dfb22bf75ef7a23  for example.com/app and below
//! ```
//!
//! A file is called after the fingerprint of the certificate in it, in lower case. Files that begin with a dot are
//! not read. Directories come in an order, as in `/usr/lib/dhow`, `/etc/dhow`, the user's own.
//!
//! For a name count, as in rkt, the root keys and the keys of *every* prefix that the name is within; a longer
//! prefix adds keys and hides none. Layers are read in this order: root keys of each directory, then of each
//! directory the prefixes, shortest first. An **empty file** takes the key of that name out of what was read before
//! it: in a later directory, at the same place, it withdraws a key that a distribution ships; under a prefix it
//! withdraws a root key for that prefix.
//!
//! What the signatures must add up to is said in `policy.d`, see `keyring/policies.rs`.
//!
//! Files are replaced whole. Nothing is cached: a long-running process sees a change at the next question.

mod layers;
mod policies;
mod update;

use std::{
    fs,
    path::{Path, PathBuf},
};

use dhow_image::Name;

use self::layers::{File, Layers, find_prefixes, layer_path, read_key, write};
pub use self::update::{Outcome, Refusal, Update};
use crate::{
    Certificate, Error, Fingerprint, Signature,
    verify::{Candidate, Eligible, select},
};

/// The trusted keys of an ordered list of directories.
#[derive(Clone, Debug)]
pub struct Keyring {
    shared: Vec<PathBuf>,
    own: PathBuf,
}

/// A key and the names for which it is trusted.
#[derive(Clone, Debug)]
pub struct TrustedKey {
    /// Trusted for this name and all below it; for every name, if `None`.
    pub prefix: Option<Name>,
    /// The key.
    pub certificate: Certificate,
    /// The file that says so.
    pub path: PathBuf,
}

/// How a key was taken out of a keyring.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Removal {
    /// Its file is gone.
    Deleted(PathBuf),
    /// A shared directory has it, so it is masked by this empty file.
    Masked(PathBuf),
}

impl Keyring {
    /// The keyring of the configuration directories `shared`, in their order, and `own`, which comes last and is
    /// the only one written to. None of them needs to exist.
    pub fn open(shared: impl IntoIterator<Item = impl Into<PathBuf>>, own: impl Into<PathBuf>) -> Self {
        Self {
            shared: shared.into_iter().map(Into::into).collect(),
            own: own.into(),
        }
    }

    /// Trusts a key for `prefix` and all names below it, or for every name if `None`, and returns the file written.
    ///
    /// What the file already says about the key is kept, so that an old copy undoes no revocation. A mask is lifted.
    pub fn trust(&self, prefix: Option<&Name>, certificate: &Certificate) -> Result<PathBuf, Error> {
        let directory = layer_path(&self.own, prefix);
        let path = directory.join(certificate.fingerprint().to_file_name());
        let merged = match read_key(&path)? {
            Some(File {
                certificate: Some(known),
                ..
            }) => known.merge(certificate.clone())?,
            _ => certificate.clone(),
        };
        write(&directory, &path, &merged.to_armored())?;
        Ok(path)
    }

    /// Ends the trust in a key for exactly `prefix`, or as a root key if `None`.
    pub fn remove(&self, fingerprint: &Fingerprint, prefix: Option<&Name>) -> Result<Removal, Error> {
        let directory = layer_path(&self.own, prefix);
        let path = directory.join(fingerprint.to_file_name());
        let is_key = |path: &Path| {
            path.metadata()
                .is_ok_and(|metadata| metadata.is_file() && metadata.len() > 0)
        };
        let was_own = is_key(&path);
        let mut is_shared = false;
        for shared in &self.shared {
            let path = layer_path(shared, prefix).join(fingerprint.to_file_name());
            is_shared = if path.exists() { is_key(&path) } else { is_shared };
        }
        if is_shared && (was_own || !path.exists()) {
            write(&directory, &path, b"")?;
            Ok(Removal::Masked(path))
        } else if was_own {
            fs::remove_file(&path).map_err(|source| Error::Write {
                path: path.clone(),
                source,
            })?;
            Ok(Removal::Deleted(path))
        } else {
            let scope = prefix.map_or_else(|| "root".to_owned(), |prefix| format!("`{prefix}`"));
            Err(Error::TrustNotFound {
                fingerprint: fingerprint.clone(),
                scope,
            })
        }
    }

    /// Every trusted key: root keys first, then by prefix. A mask in the same place hides a key here too.
    pub fn list(&self) -> Result<Vec<TrustedKey>, Error> {
        let mut prefixes = vec![None];
        for directory in self.directories() {
            find_prefixes(&directory.join("trustedkeys/prefix.d"), None, &mut prefixes)?;
        }
        prefixes.sort();
        prefixes.dedup();
        let mut listed = Vec::new();
        for prefix in prefixes {
            let mut layers = Layers::default();
            for directory in self.directories() {
                layers.add(directory, prefix.as_ref())?;
            }
            listed.extend(layers.into_keys()?);
        }
        Ok(listed)
    }

    /// The keys trusted for `name`, each once, with the longest prefix under which it is.
    pub fn candidates(&self, name: &Name) -> Result<Vec<TrustedKey>, Error> {
        let mut layers = Layers::default();
        for directory in self.directories() {
            layers.add(directory, None)?;
        }
        let mut prefixes: Vec<Name> = name.walk().collect();
        prefixes.reverse();
        for directory in self.directories() {
            for prefix in &prefixes {
                layers.add(directory, Some(prefix))?;
            }
        }
        layers.into_keys()
    }

    /// Whether the signature could be believed for `name`, as far as can be told without the data: to be asked
    /// before a long download. The errors are those of [`crate::verify_detached`].
    pub fn may_verify(&self, name: &Name, signature: &Signature) -> Result<(), Error> {
        self.eligible(name, signature).map(drop)
    }

    /// The same for a name that is not known yet: whether any key that is trusted for anything could have made it.
    pub fn may_verify_some(&self, signature: &Signature) -> Result<(), Error> {
        let trusted = self.list()?.into_iter().map(Candidate::from);
        select(trusted, signature).map(drop)
    }

    pub(crate) fn eligible(&self, name: &Name, signature: &Signature) -> Result<Eligible, Error> {
        let trusted = self.candidates(name)?;
        let policy = self.policy_for(name)?;
        let count = trusted
            .iter()
            .filter(|trusted| trusted.certificate.check().is_ok())
            .count();
        let (candidates, problem) =
            select(trusted.into_iter().map(Candidate::from), signature).map_err(|error| match error {
                Error::UnknownSigner { .. } => self.trusted_elsewhere(name, signature).unwrap_or(error),
                _ => error,
            })?;
        if let Some(policy) = &policy {
            let mut possible: Vec<_> = candidates
                .iter()
                .map(|candidate| candidate.certificate.fingerprint())
                .collect();
            possible.sort();
            possible.dedup();
            let judged = policy.policy.judge(&possible);
            judged.map_err(|short| policy.refuse(name, short, problem))?;
        }
        Ok(Eligible {
            candidates,
            policy,
            trusted: count,
        })
    }

    /// The better error for a signer who is trusted, but not for this name.
    fn trusted_elsewhere(&self, name: &Name, signature: &Signature) -> Option<Error> {
        let handles = signature.handles();
        // A broken file of another prefix must not hide the error at hand.
        let mut elsewhere = self.list().ok()?;
        elsewhere.retain(|trusted| trusted.certificate.has_key(&handles));
        let key = elsewhere.first()?.certificate.label();
        let scopes = elsewhere.iter().map(|TrustedKey { prefix, .. }| match prefix {
            Some(prefix) => format!("`{prefix}`"),
            None => "names that do not mask this root key".to_owned(),
        });
        Some(Error::NotTrustedForName {
            name: name.clone(),
            key,
            trusted_for: scopes.collect(),
        })
    }

    fn directories(&self) -> impl Iterator<Item = &Path> {
        self.shared.iter().chain([&self.own]).map(PathBuf::as_path)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use tempfile::TempDir;

    use super::*;
    use crate::{KeyOptions, SecretKey};

    fn key() -> Certificate {
        SecretKey::generate("Carly <carly@example.com>", &KeyOptions::default())
            .unwrap()
            .certificate()
    }

    fn name(text: &str) -> Name {
        Name::new(text).unwrap()
    }

    /// A keyring of `vendor`, `admin` and `user`, in this order, with one that writes as each of them.
    struct World {
        dir: TempDir,
    }

    impl World {
        fn new() -> Self {
            Self {
                dir: tempfile::tempdir().unwrap(),
            }
        }

        fn path(&self, whose: &str) -> PathBuf {
            self.dir.path().join(whose)
        }

        fn keyring(&self) -> Keyring {
            Keyring::open([self.path("vendor"), self.path("admin")], self.path("user"))
        }

        fn writer(&self, whose: &str) -> Keyring {
            Keyring::open(None::<PathBuf>, self.path(whose))
        }

        fn mask(&self, whose: &str, place: &str, certificate: &Certificate) {
            let directory = self.path(whose).join("trustedkeys").join(place);
            fs::create_dir_all(&directory).unwrap();
            fs::write(directory.join(certificate.fingerprint().to_file_name()), "").unwrap();
        }

        fn prefixes(&self, of: &str) -> Vec<Option<String>> {
            let candidates = self.keyring().candidates(&name(of)).unwrap();
            candidates
                .into_iter()
                .map(|trusted| trusted.prefix.map(String::from))
                .collect()
        }
    }

    #[test]
    fn the_layout_is_that_of_rkt() {
        let world = World::new();
        let carly = key();
        let file = carly.fingerprint().to_hex().to_lowercase();
        let root = world.keyring().trust(None, &carly).unwrap();
        assert_eq!(root, world.path("user").join("trustedkeys/root.d").join(&file));
        let prefixed = world.keyring().trust(Some(&name("example.com/app")), &carly).unwrap();
        assert_eq!(
            prefixed,
            world
                .path("user")
                .join("trustedkeys/prefix.d/example.com/app")
                .join(&file)
        );
        assert_eq!(Certificate::parse(&fs::read(&prefixed).unwrap()).unwrap(), carly);
        let listed = world.keyring().list().unwrap();
        let listed: Vec<_> = listed
            .into_iter()
            .map(|trusted| (trusted.prefix, trusted.path))
            .collect();
        assert_eq!(listed, [(None, root), (Some(name("example.com/app")), prefixed)]);
    }

    #[test]
    fn root_keys_and_the_keys_of_every_prefix_count() {
        let world = World::new();
        let keyring = world.keyring();
        assert_eq!(world.prefixes("example.com/app"), [], "nothing is trusted at first");
        let [root, host, app] = [key(), key(), key()];
        keyring.trust(None, &root).unwrap();
        keyring.trust(Some(&name("example.com")), &host).unwrap();
        keyring.trust(Some(&name("example.com/app")), &app).unwrap();
        let trusted = |of: &str| {
            let candidates = keyring.candidates(&name(of)).unwrap();
            [&root, &host, &app].map(|key| candidates.iter().any(|trusted| trusted.certificate == *key))
        };
        assert_eq!(trusted("example.com/app/tool"), [true, true, true]);
        assert_eq!(trusted("example.com/app"), [true, true, true]);
        assert_eq!(trusted("example.com/application"), [true, true, false]);
        assert_eq!(trusted("example.com"), [true, true, false]);
        assert_eq!(trusted("example.community/app"), [true, false, false]);
    }

    #[test]
    fn a_key_counts_once_by_its_longest_prefix() {
        let world = World::new();
        let carly = key();
        world
            .writer("admin")
            .trust(Some(&name("example.com/app")), &carly)
            .unwrap();
        world.keyring().trust(Some(&name("example.com")), &carly).unwrap();
        world.keyring().trust(None, &carly).unwrap();
        assert_eq!(world.prefixes("example.com/app"), [Some("example.com/app".to_owned())]);
        assert_eq!(world.prefixes("example.com/other"), [Some("example.com".to_owned())]);
        assert_eq!(world.prefixes("example.org"), [None]);
    }

    #[test]
    fn an_empty_file_masks_a_key_of_an_earlier_layer() {
        let world = World::new();
        let carly = key();
        world
            .writer("vendor")
            .trust(Some(&name("example.com")), &carly)
            .unwrap();
        world.mask("admin", "prefix.d/example.com", &carly);
        assert_eq!(world.prefixes("example.com/app"), []);
        assert!(world.keyring().list().unwrap().is_empty());
        world.keyring().trust(Some(&name("example.com")), &carly).unwrap();
        assert_eq!(
            world.prefixes("example.com/app"),
            [Some("example.com".to_owned())],
            "a later layer trusts again"
        );

        let world = World::new();
        world.writer("vendor").trust(None, &carly).unwrap();
        world.mask("user", "prefix.d/example.com/app", &carly);
        assert_eq!(world.prefixes("example.com/app/tool"), []);
        assert_eq!(world.prefixes("example.com"), [None]);
        world.mask("admin", "root.d", &carly);
        assert_eq!(world.prefixes("example.com"), []);
    }

    #[test]
    fn removing_deletes_ones_own_and_masks_what_is_shared() {
        let world = World::new();
        let carly = key();
        let (prefix, fingerprint) = (name("example.com"), carly.fingerprint());
        let own = world.keyring().trust(Some(&prefix), &carly).unwrap();
        assert!(matches!(
            world.keyring().remove(&fingerprint, None),
            Err(Error::TrustNotFound { .. })
        ));
        assert_eq!(
            world.keyring().remove(&fingerprint, Some(&prefix)).unwrap(),
            Removal::Deleted(own.clone())
        );
        assert!(!own.exists());

        world.writer("vendor").trust(Some(&prefix), &carly).unwrap();
        world.keyring().trust(Some(&prefix), &carly).unwrap();
        assert_eq!(
            world.keyring().remove(&fingerprint, Some(&prefix)).unwrap(),
            Removal::Masked(own.clone())
        );
        assert_eq!(own.metadata().unwrap().len(), 0);
        assert_eq!(world.prefixes("example.com"), []);
        let error = world.keyring().remove(&fingerprint, Some(&prefix)).unwrap_err();
        assert_eq!(
            error.to_string(),
            format!("{fingerprint} is not trusted for `example.com`")
        );
        world.keyring().trust(Some(&prefix), &carly).unwrap();
        assert_eq!(world.prefixes("example.com").len(), 1, "trust lifts the mask");
    }

    #[test]
    fn files_are_called_after_their_key() {
        let world = World::new();
        let carly = key();
        let directory = world.path("user").join("trustedkeys/prefix.d/example.com");
        fs::create_dir_all(&directory).unwrap();
        fs::write(directory.join(".8b86.swp"), "an editor's").unwrap();
        assert_eq!(world.prefixes("example.com"), []);

        let wrong = directory.join("8b86de38890ddb7291867b025210bd8888182190");
        fs::write(&wrong, carly.to_armored()).unwrap();
        let error = world.keyring().candidates(&name("example.com/app")).unwrap_err();
        let expected = carly.fingerprint().to_file_name();
        assert!(
            matches!(&error, Error::KeyFileName { path, expected: said } if *path == wrong && *said == expected),
            "{error:?}"
        );
        fs::write(&wrong, "rubbish").unwrap();
        let error = world.keyring().candidates(&name("example.com/app")).unwrap_err();
        assert_eq!(
            error.to_string(),
            format!("could not use the key file `{}`", wrong.display())
        );
        assert_eq!(world.prefixes("example.org"), [], "other names are not disturbed");
    }
}
