//! Torrents of what is published.

use std::path::Path as FilePath;

use dhow_discovery::FileFacts;
use sha2::{Digest, Sha256};

use crate::{Error, Metainfo, Published, Record, Site, TorrentFacts, TorrentOptions, layout::ArchivePaths};

/// A torrent that was put beside its archive.
#[derive(Clone, Debug)]
pub struct PublishedTorrent {
    /// Where its metainfo is on the web.
    pub url: String,
    /// The SHA-1 by which its peers know it, in hex digits.
    pub info_hash: String,
    /// The files that were written, in their order; none if all were there.
    pub written: Vec<String>,
}

impl Site {
    /// Puts a torrent beside an archive that was published just now from the file `archive`, and tells of it in the
    /// pages. The archive's own URL is its web seed (BEP 19).
    pub async fn publish_torrent(
        &self,
        published: &Published,
        archive: &FilePath,
        options: &TorrentOptions,
    ) -> Result<PublishedTorrent, Error> {
        let changed = || Error::ArchiveChanged {
            path: archive.to_owned(),
        };
        let of_this = |record: &Record| record.labels == published.labels && record.id == published.id;
        let paths = self.layout.archive_of(&published.name, &published.labels);
        let record = self.read_record(&paths.record).await?;
        let mut record = record.filter(of_this).ok_or_else(changed)?;

        let (path, options) = (archive.to_owned(), options.clone());
        let (name, web_seed) = (self.layout.torrent_name(&record), published.archive_url.clone());
        let made = tokio::task::spawn_blocking(move || Metainfo::of_file(&path, name, web_seed, options));
        let (metainfo, facts) = made.await.expect("reading a file does not panic")?;
        if facts != record.archive {
            return Err(changed());
        }

        let (bytes, info_hash) = (metainfo.to_bytes(), metainfo.info_hash());
        record.torrent = Some(TorrentFacts {
            metainfo: FileFacts {
                size: bytes.len() as u64,
                sha256: hex::encode(Sha256::digest(&bytes)),
            },
            info_hash: info_hash.clone(),
        });
        let mut written = Vec::new();
        if self.files.write(&paths.torrent, bytes).await? {
            written.push(paths.torrent.to_string());
        }
        if self.files.write(&paths.record, record.to_json()).await? {
            written.push(paths.record.to_string());
        }
        self.settle(&record, &mut written).await?;
        Ok(PublishedTorrent {
            url: self.layout.base().join(paths.torrent.as_ref()),
            info_hash,
            written,
        })
    }

    /// Gives a `latest` the torrent of the version of which it is a copy. `there` is what it was a copy of.
    pub(crate) async fn copy_torrent(
        &self,
        there: Option<&Record>,
        highest: &Record,
        from: &ArchivePaths,
        to: &ArchivePaths,
        written: &mut Vec<String>,
    ) -> Result<(), Error> {
        let there = there.and_then(|there| there.torrent.as_ref());
        match &highest.torrent {
            same if same.as_ref() == there => {}
            Some(_) => {
                self.files.copy(&from.torrent, &to.torrent).await?;
                written.push(to.torrent.to_string());
            }
            // An older version's torrent must not pass for this one's.
            None => self.files.remove(&to.torrent).await?,
        }
        Ok(())
    }
}
