//! [`SealingSecrets`]: the secrets from which the keys of sealed contents follow.
//!
//! ```text
//!   <configuration>/sealing/example.com,app.secret     one for each name, mode 0600: "dhow secret 1 ", 64 hex digits
//! ```
//!
//! Versions of one name share contents, and so they share a secret. Names do not: whoever learns one secret learns the
//! images of one name. A name has no comma, so that no two names have one file.

use std::{
    fs::{self, DirBuilder},
    io::{self, Write as _},
    os::unix::fs::DirBuilderExt as _,
    path::{Path as FilePath, PathBuf},
};

use dhow_image::Name;
use dhow_store::pack::Secret;
use tempfile::NamedTempFile;

use crate::Error;

const MAGIC: &str = "dhow secret 1 ";

/// The publisher's secrets, in a directory that only he can read.
#[derive(Clone, Debug)]
pub struct SealingSecrets {
    directory: PathBuf,
}

impl SealingSecrets {
    /// Those of the user with this configuration directory.
    pub fn open(config_dir: &FilePath) -> Self {
        Self {
            directory: config_dir.join("sealing"),
        }
    }

    /// Where the secret of a name is.
    pub fn path(&self, name: &Name) -> PathBuf {
        self.directory
            .join(format!("{}.secret", name.as_str().replace('/', ",")))
    }

    /// The secret of a name, and whether it was made just now since there was none.
    pub fn of(&self, name: &Name) -> Result<(Secret, bool), Error> {
        let path = self.path(name);
        let failed = |source| Error::SealingSecret {
            name: name.clone(),
            path: path.clone(),
            source,
        };
        if let Some(secret) = read(&path).map_err(failed)? {
            return Ok((secret, false));
        }
        let is_new = self.make(&path).map_err(failed)?;
        // Of two who make one at once, both go by the one that is there.
        match read(&path).map_err(failed)? {
            Some(secret) => Ok((secret, is_new)),
            None => Err(failed(io::ErrorKind::NotFound.into())),
        }
    }

    /// Whether it is this one that is there now.
    fn make(&self, path: &FilePath) -> io::Result<bool> {
        DirBuilder::new().recursive(true).mode(0o700).create(&self.directory)?;
        // A temporary file has mode 0600 from its first moment.
        let mut file = NamedTempFile::new_in(&self.directory)?;
        writeln!(file, "{MAGIC}{}", hex::encode(Secret::generate()?.expose()))?;
        file.as_file().sync_all()?;
        match file.persist_noclobber(path) {
            Ok(_) => Ok(true),
            Err(error) if error.error.kind() == io::ErrorKind::AlreadyExists => Ok(false),
            Err(error) => Err(error.error),
        }
    }
}

fn read(path: &FilePath) -> io::Result<Option<Secret>> {
    let text = match fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let mut bytes = [0; 32];
    let digits = text.trim_end().strip_prefix(MAGIC);
    match digits.map(|digits| hex::decode_to_slice(digits, &mut bytes)) {
        Some(Ok(())) => Ok(Some(Secret::from_bytes(bytes))),
        _ => Err(io::Error::new(
            io::ErrorKind::InvalidData,
            "it holds no secret: put back a copy, or delete it, and a new one is made that shares nothing with what was \
             published",
        )),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn a_secret_is_made_once_for_each_name_and_nobody_else_can_read_it() {
        let directory = tempfile::tempdir().unwrap();
        let secrets = SealingSecrets::open(&directory.path().join("config"));
        let [app, other] = ["example.com/app", "example.com/other"].map(|name| Name::new(name).unwrap());
        let (made, is_new) = secrets.of(&app).unwrap();
        let (again, is_new_again) = secrets.of(&app).unwrap();
        assert_eq!((made.expose(), is_new, is_new_again), (again.expose(), true, false));
        assert_ne!(secrets.of(&other).unwrap().0.expose(), made.expose());
        let path = secrets.path(&app);
        assert_eq!(path, directory.path().join("config/sealing/example.com,app.secret"));
        let mode = |path: &FilePath| path.metadata().unwrap().permissions().mode() & 0o777;
        assert_eq!((mode(&path), mode(path.parent().unwrap())), (0o600, 0o700));

        // A copy on another machine is the same secret.
        let copy = SealingSecrets::open(&directory.path().join("copy"));
        fs::create_dir_all(directory.path().join("copy/sealing")).unwrap();
        fs::copy(&path, copy.path(&app)).unwrap();
        assert_eq!(copy.of(&app).unwrap().0.expose(), made.expose());

        // What is damaged is not replaced.
        for text in ["", "dhow secret 1 00", "00"] {
            fs::write(&path, text).unwrap();
            let error = secrets.of(&app).unwrap_err();
            assert!(error.to_string().contains("example.com,app.secret"), "{error}");
            assert_eq!(fs::read_to_string(&path).unwrap(), text);
        }
    }

    #[test]
    fn of_two_who_make_a_secret_at_once_both_have_the_same() {
        let directory = tempfile::tempdir().unwrap();
        let name = Name::new("example.com/app").unwrap();
        let of = || *SealingSecrets::open(directory.path()).of(&name).unwrap().0.expose();
        let secrets: Vec<_> = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..8).map(|_| scope.spawn(of)).collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).collect()
        });
        assert!(secrets.iter().all(|secret| *secret == secrets[0]));
    }
}
