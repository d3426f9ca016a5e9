//! Archives from swarms.

use std::{
    fs::File,
    os::unix::fs::FileExt,
    path::Path,
    sync::{Arc, Mutex, PoisonError},
};

use bytes::Bytes;
use dhow_image::ImageId;
use futures::{StreamExt, future::BoxFuture, stream};
use url::Url;

use super::{Ask, Filler, Opened, Transport, Version};
use crate::{
    bittorrent::{Magnet, Metainfo, SwarmDownload, Swarms},
    client::HttpClient,
    download::{DownloadOptions, Partial},
    error::{Error, shown},
    origin::Origin,
    progress::{NoProgress, Progress},
};

const PIECE: usize = 256 << 10;

/// Fetches the archive of one torrent: from its swarm, and from its web seeds what the swarm does not give.
pub struct SwarmTransport {
    swarms: Arc<Swarms>,
    client: HttpClient,
    origin: Arc<Origin>,
    torrent: Torrent,
    /// Where else on the web the archive is.
    web_seeds: Vec<Url>,
    /// What was fetched last.
    fetched: Mutex<Option<Metainfo>>,
}

/// Where the metainfo comes from.
enum Torrent {
    /// The web. Its trackers are a stranger's words.
    Url(Url),
    /// The user, who gave a file that was read already.
    File(String, Box<Metainfo>),
    /// The peers, by a link that the user gave.
    Magnet(Magnet),
}

impl SwarmTransport {
    /// The torrent whose metainfo is at `url`, on the word of `origin`.
    pub fn of_url(swarms: Arc<Swarms>, client: HttpClient, url: Url, origin: Arc<Origin>) -> Self {
        Self::new(swarms, client, origin, Torrent::Url(url))
    }

    /// The torrent that the user gave as the file `place`.
    pub fn of_file(swarms: Arc<Swarms>, client: HttpClient, place: String, metainfo: Metainfo) -> Self {
        let origin = Arc::new(origin_of(metainfo.web_seeds()));
        Self::new(swarms, client, origin, Torrent::File(place, Box::new(metainfo)))
    }

    /// The torrent that a link names.
    pub fn of_magnet(swarms: Arc<Swarms>, client: HttpClient, magnet: Magnet) -> Self {
        let origin = Arc::new(origin_of(magnet.web_seeds()));
        Self::new(swarms, client, origin, Torrent::Magnet(magnet))
    }

    fn new(swarms: Arc<Swarms>, client: HttpClient, origin: Arc<Origin>, torrent: Torrent) -> Self {
        Self {
            swarms,
            client,
            origin,
            torrent,
            web_seeds: Vec::new(),
            fetched: Mutex::default(),
        }
    }

    /// The same, with further places on the web where the archive is.
    #[must_use]
    pub fn with_web_seeds(self, web_seeds: Vec<Url>) -> Self {
        Self { web_seeds, ..self }
    }

    /// What the torrent says.
    async fn metainfo(&self) -> Result<Metainfo, Error> {
        match &self.torrent {
            Torrent::Url(url) => {
                let answer = self.client.get_small(url, &self.origin, Metainfo::LARGEST).await?;
                answer.check(url)?;
                if answer.body.len() > Metainfo::LARGEST {
                    return Err(Error::TooLarge {
                        url: shown(url),
                        most: Metainfo::LARGEST,
                        what: "metainfo",
                    });
                }
                Metainfo::parse(&answer.body).map_err(|source| Error::Metainfo {
                    place: shown(url),
                    source,
                })
            }
            Torrent::File(_, metainfo) => Ok((**metainfo).clone()),
            Torrent::Magnet(magnet) => self.swarms.swarm().await?.resolve(magnet).await,
        }
    }

    /// Those trackers that may be asked: a stranger's words do not lead into networks where the stranger is not.
    async fn trackers(&self, metainfo: &Metainfo) -> Vec<Url> {
        let mut trackers = metainfo.trackers().to_vec();
        if let Torrent::Url(_) = self.torrent {
            let mut permitted = Vec::new();
            for tracker in trackers {
                if self.client.permits(&tracker, &self.origin).await {
                    permitted.push(tracker);
                }
            }
            trackers = permitted;
        }
        trackers
    }

    async fn download(
        &self,
        metainfo: Metainfo,
        file: File,
        arrived: &(dyn Fn(u64) + Send + Sync),
        progress: &dyn Progress,
    ) -> Result<(), Error> {
        let mut web_seeds = metainfo.web_seeds().to_vec();
        web_seeds.extend(
            self.web_seeds
                .iter()
                .filter(|url| !metainfo.web_seeds().contains(url))
                .cloned(),
        );
        let (trackers, place) = (self.trackers(&metainfo).await, self.place());
        let download = SwarmDownload {
            swarm: self.swarms.swarm().await?,
            metainfo: &metainfo,
            trackers: &trackers,
            place: &place,
            client: &self.client,
            origin: &self.origin,
            web_seeds,
            arrived,
        };
        self.swarms.keep_seeding(download.run(file, progress).await?);
        *self.fetched.lock().unwrap_or_else(PoisonError::into_inner) = Some(metainfo);
        Ok(())
    }
}

impl Transport for SwarmTransport {
    /// Brings the whole into a temporary file first: pieces come in no order.
    fn open<'a>(&'a self, ask: &'a Ask) -> BoxFuture<'a, Result<Opened, Error>> {
        Box::pin(async move {
            let metainfo = self.metainfo().await?;
            let (version, size) = (version(&metainfo), metainfo.length());
            let file = tempfile::tempfile().map_err(Error::Temporary)?;
            let into = file.try_clone().map_err(Error::Temporary)?;
            self.download(metainfo, into, &|_| (), &NoProgress).await?;
            let is_same = ask.version.as_ref().is_none_or(|wanted| *wanted == version);
            let (from, to) = match (is_same, ask.to) {
                (true, to) if ask.from <= size => (ask.from, to.unwrap_or(size).min(size)),
                _ => (0, size),
            };
            let body = stream::try_unfold((file, from), move |(file, at)| async move {
                let left = usize::try_from(to.saturating_sub(at)).unwrap_or(usize::MAX);
                let mut piece = vec![0; left.min(PIECE)];
                if piece.is_empty() {
                    return Ok(None);
                }
                file.read_exact_at(&mut piece, at).map_err(Error::Temporary)?;
                let next = at + piece.len() as u64;
                Ok(Some((Bytes::from(piece), (file, next))))
            });
            Ok(Opened {
                from,
                size: Some(size),
                version: Some(version),
                ranges: true,
                shared: false,
                body: body.boxed(),
            })
        })
    }

    fn place(&self) -> String {
        match &self.torrent {
            Torrent::Url(url) => shown(url),
            Torrent::File(place, _) => place.clone(),
            Torrent::Magnet(magnet) => magnet.to_string(),
        }
    }

    fn is_still<'a>(&'a self, known: &'a Version) -> BoxFuture<'a, Result<bool, Error>> {
        Box::pin(async move {
            Ok(match &self.torrent {
                Torrent::Magnet(magnet) => version_of(magnet.info_hash()) == *known,
                _ => version(&self.metainfo().await?) == *known,
            })
        })
    }

    fn filler(&self) -> Option<&dyn Filler> {
        Some(self)
    }
}

impl Filler for SwarmTransport {
    fn fill<'a>(
        &'a self,
        partial: &'a mut Partial,
        options: &'a DownloadOptions,
        progress: &'a dyn Progress,
    ) -> BoxFuture<'a, Result<u64, Error>> {
        Box::pin(async move {
            let metainfo = self.metainfo().await?;
            let (version, size) = (version(&metainfo), metainfo.length());
            if size > options.largest {
                return Err(Error::TooLarge {
                    url: self.place(),
                    most: usize::try_from(options.largest).unwrap_or(usize::MAX),
                    what: "archive",
                });
            }
            if partial.version() != Some(&version) {
                partial.restart(Some(version), Some(size))?;
            }
            let file = partial.file().map_err(Error::Temporary)?;
            let arrived = partial.arrivals();
            self.download(metainfo, file, &arrived, progress).await?;
            partial.complete()?;
            Ok(size)
        })
    }

    fn taken_in(&self, archive: &Path, image: &ImageId) -> Result<(), Error> {
        match &*self.fetched.lock().unwrap_or_else(PoisonError::into_inner) {
            Some(metainfo) => self.swarms.keep(archive, metainfo, image),
            None => Ok(()),
        }
    }
}

fn version(metainfo: &Metainfo) -> Version {
    version_of(metainfo.info_hash())
}

fn version_of(info_hash: [u8; 20]) -> Version {
    Version::new(format!("btih:{}", hex::encode(info_hash)))
}

/// What a user gave may lead to where its first web seed is.
fn origin_of(web_seeds: &[Url]) -> Origin {
    let nowhere = || Url::parse("https://invalid/").expect("it is a URL");
    Origin::of_url(&web_seeds.first().cloned().unwrap_or_else(nowhere))
}
