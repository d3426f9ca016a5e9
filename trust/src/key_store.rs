//! The user's own keys:
//!
//! ```text
//! <config>/keys/                       mode 0700
//!   <FINGERPRINT>.key.asc              mode 0600: a key with its secret part, armored
//! ```
//!
//! A file is written once, whole, and never replaced. Files of other names are not read.

use std::{
    fs, io,
    os::unix::fs::DirBuilderExt as _,
    path::{Path, PathBuf},
};

use crate::{Certificate, Error, KeyOptions, SecretKey, fingerprint::hex_digits};

const SUFFIX: &str = ".key.asc";

/// Fewer hex digits than this are no fingerprint, but text to be found in a user ID.
const MIN_DIGITS: usize = 8;

/// The keys with which the user signs.
#[derive(Clone, Debug)]
pub struct KeyStore {
    directory: PathBuf,
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
        let created = fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&self.directory);
        created.map_err(|source| Error::Write {
            path: self.directory.clone(),
            source,
        })?;
        let path = self.directory.join(format!("{:#}{SUFFIX}", key.fingerprint()));
        key.write_new(&path)?;
        Ok(path)
    }

    /// All keys, oldest first.
    pub fn list(&self) -> Result<Vec<SecretKey>, Error> {
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
            if entry.file_name().as_encoded_bytes().ends_with(SUFFIX.as_bytes()) {
                keys.push(SecretKey::open(&entry.path())?);
            }
        }
        keys.sort_by_key(|key| (key.certificate().created(), key.fingerprint()));
        Ok(keys)
    }

    /// The one key whose fingerprint ends with `query` (at least eight digits) or that has a user ID with `query`
    /// in it, whatever the case. The error lists the keys there are.
    pub fn find(&self, query: &str) -> Result<SecretKey, Error> {
        let keys = self.list()?;
        let known = || keys.iter().map(SecretKey::label).collect();
        let matches: Vec<&SecretKey> = keys.iter().filter(|key| is_match(key, query)).collect();
        match matches[..] {
            [key] => Ok(key.clone()),
            [] => Err(Error::KeyNotFound {
                query: query.to_owned(),
                directory: self.directory.clone(),
                known: known(),
            }),
            _ => Err(Error::AmbiguousKey {
                query: query.to_owned(),
                matches: matches.iter().map(|key| key.label()).collect(),
            }),
        }
    }

    /// The public part of the key that [`KeyStore::find`] finds.
    pub fn export(&self, query: &str) -> Result<Certificate, Error> {
        Ok(self.find(query)?.certificate())
    }
}

fn is_match(key: &SecretKey, query: &str) -> bool {
    let is_fingerprint = hex_digits(query)
        .is_some_and(|digits| digits.len() >= MIN_DIGITS && key.fingerprint().to_hex().ends_with(&digits));
    let query = query.trim().to_lowercase();
    is_fingerprint
        || key
            .certificate()
            .user_ids()
            .iter()
            .any(|user_id| user_id.to_lowercase().contains(&query))
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
