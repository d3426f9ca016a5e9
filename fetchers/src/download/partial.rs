//! [`Partial`]: a file that is on its way here, and outlives who fetches it.
//!
//! ```text
//!   <key>.part    the bytes, each in its place
//!   <key>.state   JSON, padded with spaces: the version, the size, and which bytes are missing
//! ```
//!
//! The state is written after the bytes that it speaks of, in one write of a constant length, so whoever is killed
//! leaves one that holds. (A machine that loses power may not. The signature tells.)

use std::{
    fs::{self, File, Metadata},
    io::{self, Read},
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
    sync::Arc,
};

use bytes::Bytes;
use nix::fcntl::Flock;
use serde::{Deserialize, Serialize};
use tempfile::TempPath;

use super::{
    gaps::{Gap, Gaps},
    growth::{Grower, Growing},
    lease::Lease,
};
use crate::{error::Error, transport::Version, vectored};

/// The length of a state, whatever is in it.
const STATE: usize = 8192;
/// So often the state is written down, and readers are told, while a download comes; but not after fewer bytes than the
/// second number, nor later than after the third: whoever is killed loses little, and it takes little time.
const SAVES: u64 = 2048;
const FEWEST_UNSAVED: u64 = 64 << 10;
const MOST_UNSAVED: u64 = 1 << 20;

/// The bytes that came so far, and what tells whether those that are missing belong to the same thing.
#[derive(Debug)]
pub struct Partial {
    file: File,
    home: Home,
    version: Option<Version>,
    size: Option<u64>,
    pub(super) gaps: Gaps,
    unsaved: u64,
    grower: Grower,
}

/// Where it lies.
#[derive(Debug)]
enum Home {
    /// It goes with us.
    Temporary(TempPath),
    /// It stays, and nobody else touches it as long as we hold the lock.
    Claimed { part: PathBuf, state: File, lock: Lock },
    /// It is the user's own file, whole, and is read where it lies.
    Leased { path: PathBuf, lease: Arc<Lease> },
}

/// A locked file, and its path.
#[derive(Debug)]
pub(super) struct Lock {
    pub(super) path: PathBuf,
    pub(super) _held: Flock<File>,
}

#[derive(Serialize, Deserialize)]
struct State {
    version: Version,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    size: Option<u64>,
    missing: Vec<(u64, Option<u64>)>,
}

impl Partial {
    /// An empty file in `directory` that is gone when this is dropped.
    pub fn temporary(directory: &Path) -> Result<Self, Error> {
        let file = tempfile::Builder::new().prefix("fetch-").tempfile_in(directory);
        let (file, path) = file.map_err(Error::Temporary)?.into_parts();
        Ok(Self {
            file,
            home: Home::Temporary(path),
            version: None,
            size: None,
            gaps: Gaps::all(None),
            unsaved: 0,
            grower: Grower::default(),
        })
    }

    /// A file of this machine, whole and where it lies, if it can be seen to that nobody changes it meanwhile. `version`
    /// tells its version from its metadata.
    pub(crate) fn in_place(path: &Path, version: impl FnOnce(&Metadata) -> Version) -> Option<Self> {
        let lease = Lease::take(path)?;
        let metadata = lease.file().metadata().ok()?;
        let grower = Grower::default();
        grower.finish(metadata.len());
        Some(Self {
            file: lease.file().try_clone().ok()?,
            version: Some(version(&metadata)),
            size: Some(metadata.len()),
            gaps: Gaps::new(&[]),
            unsaved: 0,
            grower,
            home: Home::Leased {
                path: lease.path(),
                lease: Arc::new(lease),
            },
        })
    }

    /// Whether the bytes are still those that were here (see [`Growing::is_unchanged`]).
    pub(crate) fn is_unchanged(&self) -> bool {
        self.growing().is_unchanged()
    }

    /// The file and state at these paths, as far as they are there and fit each other.
    pub(super) fn claimed(part: PathBuf, state: &Path, lock: Lock) -> io::Result<Self> {
        let open = |path: &Path| {
            let mut options = File::options();
            options.read(true).write(true).create(true).truncate(false).open(path)
        };
        let (file, mut state) = (open(&part)?, open(state)?);
        let mut text = Vec::new();
        (&mut state).take(STATE as u64).read_to_end(&mut text)?;
        let read: Option<State> = serde_json::from_slice(&text).ok();
        let length = file.metadata()?.len();
        let read = read.filter(|state| state.is_possible(length));
        let mut partial = Self {
            file,
            home: Home::Claimed { part, state, lock },
            version: None,
            size: None,
            gaps: Gaps::all(None),
            unsaved: 0,
            grower: Grower::default(),
        };
        match read {
            Some(state) => {
                partial.gaps = Gaps::new(&state.missing);
                (partial.version, partial.size) = (Some(state.version), state.size);
            }
            None => partial.file.set_len(0)?,
        }
        Ok(partial)
    }

    /// How many bytes are here.
    pub fn received(&self) -> u64 {
        self.gaps.received(self.size)
    }

    /// How many the whole has, if that is known.
    pub fn size(&self) -> Option<u64> {
        self.size
    }

    /// What the source calls this version of the thing, if versions can be told apart.
    pub fn version(&self) -> Option<&Version> {
        self.version.as_ref()
    }

    /// Whether all of it is here.
    pub fn is_whole(&self) -> bool {
        self.gaps.is_empty()
    }

    /// Where the bytes are.
    pub fn path(&self) -> &Path {
        match &self.home {
            Home::Temporary(path) => path,
            Home::Claimed { part, .. } => part,
            Home::Leased { path, .. } => path,
        }
    }

    /// The file itself, for who fills it in no order.
    pub(crate) fn file(&self) -> io::Result<File> {
        self.file.try_clone()
    }

    /// The same for who reads it while it comes.
    pub(crate) fn growing(&self) -> Growing {
        let lease = match &self.home {
            Home::Leased { lease, .. } => Some(lease.clone()),
            Home::Temporary(_) | Home::Claimed { .. } => None,
        };
        self.grower.growing(self.path(), lease)
    }

    /// Tells whoever reads it how many bytes are in the file from the first on, where they come in no order.
    pub(crate) fn arrivals(&self) -> impl Fn(u64) + Send + Sync + use<> {
        self.grower.teller()
    }

    /// Whoever reads it is told that it ends here: nothing more comes, and nothing is thrown away.
    pub(crate) fn finish(&self, size: u64) {
        self.grower.finish(size);
    }

    /// All of it is here.
    pub(crate) fn complete(&mut self) -> Result<(), Error> {
        self.gaps = Gaps::new(&[]);
        self.save()
    }

    /// Throws away what came, and begins with this version.
    pub fn restart(&mut self, version: Option<Version>, size: Option<u64>) -> Result<(), Error> {
        self.forget().map_err(Error::Temporary)?;
        self.file.set_len(0).map_err(Error::Temporary)?;
        (self.version, self.size) = (version, size);
        self.gaps = Gaps::all(size);
        if self.grower.has_begun() {
            self.grower = Grower::default();
        }
        self.save()
    }

    /// Adds bytes to a gap, in the order in which they are. They are no more than the gap has.
    pub(super) fn write(&mut self, gap: usize, chunks: &[Bytes]) -> Result<(), Error> {
        let Gap { at, .. } = self.gaps.get(gap);
        vectored::write_all_at(&self.file, chunks, at).map_err(Error::Temporary)?;
        let written = chunks.iter().map(|chunk| chunk.len() as u64).sum::<u64>();
        self.gaps.advance(gap, written);
        self.unsaved += written;
        if self.unsaved >= save_after(self.size) {
            self.save()?;
        }
        Ok(())
    }

    /// The source tells now how many bytes there are.
    pub(super) fn learn_size(&mut self, size: u64) {
        if self.size.is_none() {
            self.size = Some(size);
            self.gaps.end_at(size);
        }
    }

    /// The last byte of a thing whose size nobody knew is here.
    pub(super) fn end_here(&mut self, gap: usize) {
        self.gaps.close(gap);
        self.size = Some(self.gaps.get(gap).at);
    }

    /// Writes down what is missing, if it can be told later whether the rest is of the same thing.
    pub(super) fn save(&mut self) -> Result<(), Error> {
        self.unsaved = 0;
        self.grower.reached(self.gaps.front(self.size));
        let (Home::Claimed { state, .. }, Some(version)) = (&self.home, &self.version) else {
            return Ok(());
        };
        let written = State {
            version: version.clone(),
            size: self.size,
            missing: self.gaps.missing(),
        };
        let mut text = serde_json::to_vec(&written).expect("a state is plain text and numbers");
        // A version as long as that is not worth remembering.
        if text.len() < STATE {
            text.resize(STATE, b' ');
            state.write_all_at(&text, 0).map_err(Error::Temporary)?;
        }
        Ok(())
    }

    fn forget(&self) -> io::Result<()> {
        match &self.home {
            Home::Temporary(_) | Home::Leased { .. } => Ok(()),
            Home::Claimed { state, .. } => state.set_len(0),
        }
    }

    /// Removes all of it: it is in its place now, or nobody wants it.
    pub fn discard(&self) -> Result<(), Error> {
        let Home::Claimed { part, lock, .. } = &self.home else {
            return Ok(());
        };
        for path in [part, &part.with_extension("state"), &lock.path] {
            match fs::remove_file(path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(Error::Temporary(error)),
                _ => {}
            }
        }
        Ok(())
    }
}

/// After how many bytes of so many the state is written down.
fn save_after(size: Option<u64>) -> u64 {
    (size.unwrap_or_default() / SAVES).clamp(FEWEST_UNSAVED, MOST_UNSAVED)
}

impl Drop for Partial {
    fn drop(&mut self) {
        // Whoever goes on fetches these again otherwise, which is all that it costs.
        let _ = self.save();
    }
}

impl State {
    /// Whether a file of this length can be what it speaks of.
    fn is_possible(&self, length: u64) -> bool {
        let gaps_fit = self.missing.iter().all(|&(at, end)| match (end, self.size) {
            (Some(end), Some(size)) => at <= end && end <= size,
            (None, None) => self.missing.len() == 1,
            _ => false,
        });
        let are_apart = (self.missing.windows(2)).all(|pair| pair[0].1.is_some_and(|end| end < pair[1].0));
        // The last bytes that came are those before a gap that reaches the end.
        let last = match self.missing.last() {
            Some(&(at, end)) if end == self.size => Some(at),
            _ => self.size,
        };
        gaps_fit && are_apart && self.missing.len() <= super::gaps::MOST && last.is_some_and(|last| last <= length)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_state_fits_a_file_that_has_what_came() {
        let state = |size, missing: &[(u64, Option<u64>)]| State {
            version: Version::new("1"),
            size,
            missing: missing.to_vec(),
        };
        for (size, missing, least) in [
            (Some(100), &[][..], 100),
            (Some(100), &[(10, Some(100))], 10),
            (Some(100), &[(10, Some(60)), (70, Some(100))], 70),
            (Some(100), &[(10, Some(60))], 100),
            (None, &[(10, None)], 10),
        ] {
            let state = state(size, missing);
            assert!(state.is_possible(least), "{missing:?}");
            assert!(!state.is_possible(least - 1), "{missing:?}");
        }
        for (size, missing) in [
            (None, &[][..]),
            (None, &[(10, Some(60))]),
            (Some(100), &[(10, None)]),
            (Some(100), &[(10, Some(101))]),
            (Some(100), &[(60, Some(10))]),
            // Gaps are written down in their order, and one where they lie side by side.
            (Some(100), &[(70, Some(100)), (10, Some(60))]),
            (Some(100), &[(10, Some(60)), (60, Some(100))]),
        ] {
            assert!(!state(size, missing).is_possible(u64::MAX), "{size:?} {missing:?}");
        }
    }

    #[tokio::test]
    async fn a_gap_that_was_divided_before_anything_came_is_gone_on_with() {
        let directory = tempfile::TempDir::new().unwrap();
        let downloads = super::super::Downloads::new(directory.path());
        let claim = async || downloads.claim("place", None, || ()).await.unwrap().unwrap();
        let mut partial = claim().await;
        partial.restart(Some(Version::new("1")), Some(100)).unwrap();
        let first = partial.gaps.take().unwrap();
        partial.write(first, &[Bytes::from_static(&[7; 10])]).unwrap();
        partial.gaps.divide(first, 60).unwrap();
        partial.save().unwrap();
        drop(partial);
        let partial = claim().await;
        assert_eq!(
            (partial.received(), partial.gaps.missing()),
            (10, vec![(10, Some(100))])
        );
    }
}
