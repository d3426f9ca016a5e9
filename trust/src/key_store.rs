//! The user's own keys:
//!
//! ```text
//! <config>/keys/                       mode 0700
//!   <FINGERPRINT>.key.asc              mode 0600: a key with its secret part, armored, perhaps locked
//!   <FINGERPRINT>.pub.asc              mode 0600: a key whose secret part gpg-agent holds
//! ```
//!
//! A file is written whole. Adding replaces none; only what an owner changes about a key (its lock, a certification)
//! replaces its file, by renaming. Files of other names are not read.

use std::{
    fs, io,
    os::unix::fs::DirBuilderExt as _,
    path::{Path, PathBuf},
};

use crate::{Certificate, Error, Fingerprint, KeyOptions, SecretKey, secret_file};

const SUFFIX: &str = ".key.asc";
const PUBLIC_SUFFIX: &str = ".pub.asc";

/// The keys with which the user signs and decrypts.
#[derive(Clone, Debug)]
pub struct KeyStore {
    directory: PathBuf,
}

/// A key of a key store.
#[derive(Clone, Debug)]
pub enum OwnKey {
    /// Its secret part is here.
    Secret(SecretKey),
    /// Its secret part is with gpg-agent.
    InAgent(Certificate),
}

impl OwnKey {
    /// The part for everyone.
    pub fn certificate(&self) -> Certificate {
        match self {
            Self::Secret(key) => key.certificate(),
            Self::InAgent(certificate) => certificate.clone(),
        }
    }
}

impl KeyStore {
    /// The keys in a configuration directory. It needs not exist.
    pub fn open(config_dir: &Path) -> Self {
        Self {
            directory: config_dir.join("keys"),
        }
    }

    /// Makes a key, as [`SecretKey::generate`], and keeps it. Returns it with its file.
    pub fn generate(&self, user_id: &str, options: &KeyOptions) -> Result<(SecretKey, PathBuf), Error> {
        let key = SecretKey::generate(user_id, options)?;
        let path = self.add(&key)?;
        Ok((key, path))
    }

    /// Keeps a key, and returns its file. [`Error::Exists`] if the store has it.
    pub fn add(&self, key: &SecretKey) -> Result<PathBuf, Error> {
        self.create()?;
        let path = self.path(&key.fingerprint(), SUFFIX);
        key.write_new(&path)?;
        Ok(path)
    }

    /// Keeps the public part of a key with which gpg-agent signs, and returns its file. [`Error::Exists`] if the store
    /// has it.
    pub fn add_agent_key(&self, certificate: &Certificate) -> Result<PathBuf, Error> {
        self.create()?;
        let secret = self.path(&certificate.fingerprint(), SUFFIX);
        if secret.exists() {
            return Err(Error::Exists { path: secret });
        }
        let path = self.path(&certificate.fingerprint(), PUBLIC_SUFFIX);
        secret_file::create(&path, &certificate.to_armored())?;
        Ok(path)
    }

    /// Puts a changed key into the place of the one that is there, and returns its file.
    pub fn replace(&self, key: &SecretKey) -> Result<PathBuf, Error> {
        let path = self.path(&key.fingerprint(), SUFFIX);
        secret_file::replace(&path, &key.to_armored())?;
        Ok(path)
    }

    /// All keys whose secret part is here, oldest first.
    pub fn list(&self) -> Result<Vec<SecretKey>, Error> {
        let keys = self.list_all()?.into_iter().filter_map(|key| match key {
            OwnKey::Secret(key) => Some(key),
            OwnKey::InAgent(_) => None,
        });
        Ok(keys.collect())
    }

    /// All keys, oldest first.
    pub fn list_all(&self) -> Result<Vec<OwnKey>, Error> {
        let failed = |source| Error::Read {
            path: self.directory.clone(),
            source,
        };
        let entries = match fs::read_dir(&self.directory) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(failed(error)),
        };
        let mut keys = Vec::new();
        for entry in entries {
            let entry = entry.map_err(failed)?;
            let name = entry.file_name();
            if name.as_encoded_bytes().ends_with(SUFFIX.as_bytes()) {
                keys.push(OwnKey::Secret(SecretKey::open(&entry.path())?));
            } else if name.as_encoded_bytes().ends_with(PUBLIC_SUFFIX.as_bytes()) {
                keys.push(OwnKey::InAgent(Certificate::open(&entry.path())?));
            }
        }
        keys.sort_by_cached_key(|key| {
            let certificate = key.certificate();
            (certificate.created(), certificate.fingerprint())
        });
        Ok(keys)
    }

    /// The one key whose secret part is here and whose fingerprint ends with `query` (at least eight digits) or that
    /// has a user ID with `query` in it, whatever the case. The error lists the keys there are.
    pub fn find(&self, query: &str) -> Result<SecretKey, Error> {
        match self.find_any(query)? {
            OwnKey::Secret(key) => Ok(key),
            OwnKey::InAgent(certificate) => Err(Error::NoSecret {
                key: certificate.label(),
            }),
        }
    }

    /// As [`KeyStore::find`], among all the keys.
    pub fn find_any(&self, query: &str) -> Result<OwnKey, Error> {
        let keys = self.list_all()?;
        let label = |key: &OwnKey| key.certificate().label();
        let matches: Vec<&OwnKey> = keys.iter().filter(|key| key.certificate().matches(query)).collect();
        match matches[..] {
            [key] => Ok(key.clone()),
            [] => Err(Error::KeyNotFound {
                query: query.to_owned(),
                directory: self.directory.clone(),
                known: keys.iter().map(label).collect(),
            }),
            _ => Err(Error::AmbiguousKey {
                query: query.to_owned(),
                matches: matches.into_iter().map(label).collect(),
            }),
        }
    }

    /// The public part of the key that [`KeyStore::find_any`] finds.
    pub fn export(&self, query: &str) -> Result<Certificate, Error> {
        Ok(self.find_any(query)?.certificate())
    }

    fn create(&self) -> Result<(), Error> {
        let created = fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&self.directory);
        created.map_err(|source| Error::Write {
            path: self.directory.clone(),
            source,
        })
    }

    fn path(&self, fingerprint: &Fingerprint, suffix: &str) -> PathBuf {
        self.directory.join(format!("{fingerprint:#}{suffix}"))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;
    use crate::ErrorKind;

    #[test]
    fn keys_are_kept_and_found() {
        let dir = tempfile::tempdir().unwrap();
        let store = KeyStore::open(&dir.path().join("config"));
        assert!(store.list().unwrap().is_empty());
        let (carly, path) = store
            .generate("Carly <carly@example.com>", &KeyOptions::default())
            .unwrap();
        let (bob, _) = store.generate("Bob <bob@example.com>", &KeyOptions::default()).unwrap();
        let mode = |path: &Path| path.metadata().unwrap().permissions().mode() & 0o777;
        assert_eq!(
            path,
            dir.path()
                .join(format!("config/keys/{:#}.key.asc", carly.fingerprint()))
        );
        assert_eq!((mode(&path), mode(path.parent().unwrap())), (0o600, 0o700));
        assert!(matches!(store.add(&carly), Err(Error::Exists { .. })));
        assert!(matches!(
            store.add_agent_key(&carly.certificate()),
            Err(Error::Exists { .. })
        ));

        let fingerprint = carly.fingerprint();
        let digits = fingerprint.to_hex();
        for query in [
            "carly",
            "CARLY@",
            &digits,
            &digits[24..],
            &fingerprint.to_string(),
            &digits.to_lowercase(),
        ] {
            assert_eq!(store.find(query).unwrap().fingerprint(), fingerprint, "{query}");
        }
        assert_eq!(store.export("bob").unwrap(), bob.certificate());

        let zoe = SecretKey::generate("Zoe", &KeyOptions::default())
            .unwrap()
            .certificate();
        store.add_agent_key(&zoe).unwrap();
        assert_eq!((store.list().unwrap().len(), store.list_all().unwrap().len()), (2, 3));
        assert!(matches!(store.find_any("zoe").unwrap(), OwnKey::InAgent(found) if found == zoe));
        assert!(matches!(store.find("zoe"), Err(Error::NoSecret { .. })));

        let locked = carly.lock(&"sekr3t".into()).unwrap();
        assert_eq!(store.replace(&locked).unwrap(), path);
        assert_eq!(mode(&path), 0o600);
        assert!(store.find("carly").unwrap().is_locked());
    }

    #[test]
    fn an_unclear_query_is_answered_with_the_keys_there_are() {
        let dir = tempfile::tempdir().unwrap();
        let store = KeyStore::open(dir.path());
        let none = store.find("carly").unwrap_err();
        assert_eq!(
            none.to_string(),
            format!(
                "no key in `{}` matches `carly`; it holds none",
                dir.path().join("keys").display()
            )
        );
        assert_eq!(none.kind(), ErrorKind::NotFound);

        let (carly, _) = store
            .generate("Carly <carly@example.com>", &KeyOptions::default())
            .unwrap();
        let (bob, _) = store.generate("Bob <bob@example.com>", &KeyOptions::default()).unwrap();
        let both = store.find("example.com").unwrap_err().to_string();
        let missing = store.find("zoe").unwrap_err().to_string();
        for key in [carly.label(), bob.label()] {
            assert!(both.contains(&key.to_string()), "{both}");
            assert!(missing.contains(&key.to_string()), "{missing}");
        }
    }
}
