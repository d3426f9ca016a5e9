//! [`Downloads`]: the partial files of this machine, each fetched by one process at a time.

use std::{
    fs::{self, File},
    io,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    time::{Duration, Instant, SystemTime},
};

use nix::{
    errno::Errno,
    fcntl::{Flock, FlockArg},
};
use sha2::{Digest, Sha256};

use super::partial::{Lock, Partial};
use crate::error::Error;

/// How often somebody who waits looks whether it is over.
const LOOK_EVERY: Duration = Duration::from_millis(100);
/// A download that nobody went on with for so long is given up.
const KEPT: Duration = Duration::from_secs(14 * 24 * 60 * 60);

/// A directory of partial downloads, which processes share.
///
/// ```text
///   <key>.part  <key>.state    what came so far (see [`Partial`])
///   <key>.got                  what came from there before (see [`Got`](crate::fetch))
///   <key>.lock                 held by who fetches it; removed with them
/// ```
///
/// A key is the SHA-256 of the place that it comes from, in hex.
#[derive(Clone, Debug)]
pub struct Downloads {
    directory: PathBuf,
}

impl Downloads {
    /// Those in a directory, which must be there.
    pub fn new(directory: impl Into<PathBuf>) -> Self {
        Self {
            directory: directory.into(),
        }
    }

    /// The partial file of a place, for the caller alone. It waits for whoever has it, and calls `waiting` if it does.
    ///
    /// Where `patience` ends before, there is none: who keeps others waiting must not wait for ever.
    pub async fn claim(
        &self,
        place: &str,
        patience: Option<Duration>,
        waiting: impl FnOnce() + Send,
    ) -> Result<Option<Partial>, Error> {
        let deadline = patience.map(|patience| Instant::now() + patience);
        let path = |extension| self.path(place, extension);
        let mut waiting = Some(waiting);
        let lock = loop {
            match try_lock(&path("lock")).map_err(Error::Temporary)? {
                Some(lock) => break lock,
                None if deadline.is_some_and(|deadline| Instant::now() > deadline) => return Ok(None),
                None => {
                    if let Some(waiting) = waiting.take() {
                        waiting();
                    }
                    tokio::time::sleep(LOOK_EVERY).await;
                }
            }
        };
        let partial = Partial::claimed(path("part"), &path("state"), lock);
        partial.map(Some).map_err(Error::Temporary)
    }

    /// The partial file of a place, unless somebody has it.
    pub(crate) fn claim_now(&self, place: &str) -> Result<Option<Partial>, Error> {
        let path = |extension| self.path(place, extension);
        let claimed = || match try_lock(&path("lock"))? {
            Some(lock) => Partial::claimed(path("part"), &path("state"), lock).map(Some),
            None => Ok(None),
        };
        claimed().map_err(Error::Temporary)
    }

    /// Whether anything came from a place before, or is on its way.
    pub(crate) fn has_some(&self, place: &str) -> bool {
        ["part", "got"]
            .iter()
            .any(|extension| self.path(place, extension).exists())
    }

    /// Where they are.
    pub(crate) fn directory(&self) -> &Path {
        &self.directory
    }

    /// The file of a place with this extension.
    pub(crate) fn path(&self, place: &str, extension: &str) -> PathBuf {
        self.directory.join(format!("{}.{extension}", key(place)))
    }

    /// Removes what nobody has gone on with for two weeks.
    pub fn tidy(&self) -> Result<(), Error> {
        let unreadable = Error::Temporary;
        for entry in fs::read_dir(&self.directory).map_err(unreadable)? {
            let path = entry.map_err(unreadable)?.path();
            if path.extension().is_none_or(|extension| extension != "part") || !is_old(&path) {
                continue;
            }
            if let Some(lock) = try_lock(&path.with_extension("lock")).map_err(unreadable)?
                && is_old(&path)
            {
                let state = path.with_extension("state");
                Partial::claimed(path, &state, lock).map_err(unreadable)?.discard()?;
            }
        }
        Ok(())
    }
}

fn is_old(path: &Path) -> bool {
    let modified = fs::metadata(path).and_then(|metadata| metadata.modified());
    modified.is_ok_and(|modified| SystemTime::now().duration_since(modified).is_ok_and(|age| age > KEPT))
}

fn key(place: &str) -> String {
    hex::encode(Sha256::digest(place))
}

/// Takes the lock if nobody has it. One whose file was removed meanwhile is nobody's any more: it is made anew.
fn try_lock(path: &Path) -> io::Result<Option<Lock>> {
    loop {
        let file = File::options().create(true).truncate(false).write(true).open(path)?;
        let held = match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
            Ok(held) => held,
            Err((_, Errno::EWOULDBLOCK)) => return Ok(None),
            Err((_, errno)) => return Err(errno.into()),
        };
        let ours = held.metadata()?;
        match fs::metadata(path) {
            Ok(there) if (there.dev(), there.ino()) == (ours.dev(), ours.ino()) => {
                return Ok(Some(Lock {
                    path: path.to_owned(),
                    _held: held,
                }));
            }
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::transport::Version;

    #[tokio::test]
    async fn one_at_a_time_and_the_next_goes_on() {
        let directory = tempfile::tempdir().unwrap();
        let downloads = Downloads::new(directory.path());
        let mut first = downloads
            .claim("https://example.com/x", None, || ())
            .await
            .unwrap()
            .unwrap();
        first.restart(Some(Version::new("\"1\"")), Some(100)).unwrap();
        let gap = first.gaps.take().unwrap();
        first.write(gap, &[vec![7; 40].into()]).unwrap();
        let other = downloads.claim("https://example.com/y", None, || panic!("another thing is another's"));
        other.await.unwrap().unwrap().discard().unwrap();

        let mut is_waiting = false;
        let waiting = downloads.claim("https://example.com/x", None, || is_waiting = true);
        let second = tokio::time::timeout(Duration::from_millis(300), waiting).await;
        assert!(second.is_err() && is_waiting);
        let impatient = downloads.claim("https://example.com/x", Some(Duration::from_millis(1)), || ());
        assert!(impatient.await.unwrap().is_none());
        drop(first);
        let second = downloads
            .claim("https://example.com/x", None, || ())
            .await
            .unwrap()
            .unwrap();
        assert_eq!((second.received(), second.size()), (40, Some(100)));
        assert_eq!(second.version(), Some(&Version::new("\"1\"")));
        second.discard().unwrap();
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 0);
    }

    #[tokio::test]
    async fn a_state_that_cannot_be_is_not_believed() {
        let directory = tempfile::tempdir().unwrap();
        let downloads = Downloads::new(directory.path());
        let name = |extension| directory.path().join(format!("{}.{extension}", key("x")));
        for state in [
            "",
            "{",
            r#"{"version":"v"}"#,
            r#"{"version":"v","size":10,"missing":[[6,10]]}"#,
            r#"{"version":"v","size":10,"missing":[[3,11]]}"#,
            r#"{"version":"v","size":10,"missing":[[3,2]]}"#,
            r#"{"version":"v","size":10,"missing":[[3,null]]}"#,
            r#"{"version":"v","size":10,"missing":[]}"#,
            r#"{"version":"v","missing":[[0,null],[3,null]]}"#,
            r#"{"version":"v","missing":[]}"#,
        ] {
            fs::write(name("part"), "01234").unwrap();
            fs::write(name("state"), state).unwrap();
            let partial = downloads.claim("x", None, || ()).await.unwrap().unwrap();
            assert_eq!((partial.received(), partial.version()), (0, None), "{state}");
            assert!(!partial.is_whole(), "{state}");
        }
        fs::write(name("part"), "01234").unwrap();
        fs::write(name("state"), r#"{"version":"v","size":10,"missing":[[1,3],[5,10]]}"#).unwrap();
        assert_eq!(downloads.claim("x", None, || ()).await.unwrap().unwrap().received(), 3);
    }

    #[tokio::test]
    async fn what_is_given_up_goes_some_day() {
        let directory = tempfile::tempdir().unwrap();
        let downloads = Downloads::new(directory.path());
        for (name, age) in [("old", KEPT + Duration::from_secs(60)), ("new", KEPT / 2)] {
            drop(downloads.claim(name, None, || ()).await.unwrap().unwrap());
            let part = File::options()
                .write(true)
                .open(directory.path().join(format!("{}.part", key(name))));
            part.unwrap().set_modified(SystemTime::now() - age).unwrap();
        }
        downloads.tidy().unwrap();
        let left = fs::read_dir(directory.path())
            .unwrap()
            .map(|entry| entry.unwrap().file_name());
        assert!(
            left.into_iter()
                .all(|name| name.to_string_lossy().starts_with(&key("new")))
        );
    }
}
