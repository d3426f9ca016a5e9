//! [`Swarms`]: the swarms of one fetch.

use std::{
    fmt, fs, io,
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
};

use dhow_image::ImageId;
use tokio::sync::OnceCell;

use super::{
    metainfo::Metainfo,
    options::SwarmOptions,
    seed::{SeedGoal, Seeding},
    swarm::Swarm,
};
use crate::error::Error;

/// The swarms that a fetch takes part in. There is no session before a torrent is fetched, and it ends with this.
#[derive(Default)]
pub struct Swarms {
    options: SwarmOptions,
    kept: Option<KeptArchives>,
    swarm: OnceCell<Swarm>,
    seedings: Mutex<Vec<Seeding>>,
}

/// Archives that were fetched as torrents, and are kept to be seeded.
///
/// ```text
///   ab/<info hash>.aci       the archive as it travelled; ab are the first two digits
///   ab/<info hash>.torrent   its metainfo
///   ab/<info hash>.id        the image ID
/// ```
#[derive(Clone, Debug)]
pub struct KeptArchives {
    directory: PathBuf,
}

/// One of them.
#[derive(Clone, Debug)]
pub struct KeptArchive {
    /// The archive.
    pub path: PathBuf,
    /// The torrent that it came as.
    pub metainfo: Metainfo,
    /// The image in it.
    pub image: ImageId,
}

impl Swarms {
    /// Swarms that are joined so. Archives are kept in `kept`, if it is given, when their image is in the store.
    pub fn new(options: SwarmOptions, kept: Option<KeptArchives>) -> Self {
        Self {
            options,
            kept,
            ..Self::default()
        }
    }

    /// How they are joined.
    pub fn options(&self) -> &SwarmOptions {
        &self.options
    }

    /// Goes on giving what was fetched to peers, until the goal is reached for each.
    pub async fn seed(&self, goal: &SeedGoal) -> Result<(), Error> {
        let seedings = std::mem::take(&mut *self.seedings());
        let all = seedings.iter().map(|seeding| seeding.until(goal));
        futures::future::try_join_all(all).await.map(drop)
    }

    pub(crate) async fn swarm(&self) -> Result<&Swarm, Error> {
        self.swarm.get_or_try_init(|| Swarm::start(self.options.clone())).await
    }

    /// Peers get it as long as there is the session.
    pub(crate) fn keep_seeding(&self, seeding: Seeding) {
        let mut seedings = self.seedings();
        seedings.retain(|other| other.info_hash() != seeding.info_hash());
        seedings.push(seeding);
    }

    /// Keeps an archive whose image is in the store, if it is to be kept.
    pub(crate) fn keep(&self, archive: &Path, metainfo: &Metainfo, image: &ImageId) -> Result<(), Error> {
        match &self.kept {
            Some(kept) => kept.keep(archive, metainfo, image),
            None => Ok(()),
        }
    }

    fn seedings(&self) -> std::sync::MutexGuard<'_, Vec<Seeding>> {
        self.seedings.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl KeptArchives {
    /// Those in a directory, which need not be there yet.
    pub fn new(directory: impl Into<PathBuf>) -> Self {
        Self {
            directory: directory.into(),
        }
    }

    /// All of them, in the order of their digests. What is damaged is left out.
    pub fn list(&self) -> Result<Vec<KeptArchive>, Error> {
        let in_directory = |source| Error::Read {
            path: self.directory.clone(),
            source,
        };
        let mut found = Vec::new();
        for folder in entries(&self.directory).map_err(in_directory)? {
            for file in entries(&folder).map_err(in_directory)? {
                if file.extension().is_some_and(|extension| extension == "torrent") {
                    found.extend(read(&file));
                }
            }
        }
        found.sort_by_key(|archive| archive.metainfo.info_hash());
        Ok(found)
    }

    fn keep(&self, archive: &Path, metainfo: &Metainfo, image: &ImageId) -> Result<(), Error> {
        let hash = hex::encode(metainfo.info_hash());
        let folder = self.directory.join(&hash[..2]);
        let file = |extension: &str| folder.join(format!("{hash}.{extension}"));
        let keep = || {
            fs::create_dir_all(&folder)?;
            // The metainfo comes last: what is listed is whole.
            link_or_copy(archive, &file("aci"))?;
            fs::write(file("id"), image.to_string())?;
            let new = file("new");
            fs::write(&new, metainfo.to_bytes())?;
            fs::rename(new, file("torrent"))
        };
        keep().map_err(Error::Temporary)
    }
}

impl KeptArchive {
    /// Throws it away. The image stays in the store.
    pub fn remove(&self) -> io::Result<()> {
        for extension in ["torrent", "id", "aci"] {
            fs::remove_file(self.path.with_extension(extension))?;
        }
        Ok(())
    }
}

fn read(torrent: &Path) -> Option<KeptArchive> {
    let path = torrent.with_extension("aci");
    let metainfo = Metainfo::parse(&fs::read(torrent).ok()?).ok()?;
    let image = fs::read_to_string(torrent.with_extension("id")).ok()?.parse().ok()?;
    path.is_file().then_some(KeptArchive { path, metainfo, image })
}

fn entries(directory: &Path) -> io::Result<Vec<PathBuf>> {
    match fs::read_dir(directory) {
        Ok(entries) => entries.map(|entry| entry.map(|entry| entry.path())).collect(),
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => Ok(Vec::new()),
        Err(error) => Err(error),
    }
}

fn link_or_copy(from: &Path, to: &Path) -> io::Result<()> {
    match fs::hard_link(from, to) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        Err(_) => fs::copy(from, to).map(drop),
        Ok(()) => Ok(()),
    }
}

impl fmt::Debug for Swarms {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Swarms")
            .field("options", &self.options)
            .field("kept", &self.kept)
            .finish_non_exhaustive()
    }
}
