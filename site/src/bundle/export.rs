//! Writing a bundle.

use std::{
    collections::BTreeMap,
    io::{self, Read, Write},
};

use bytes::Bytes;
use dhow_image::{Labels, Name};
use dhow_trust::Certificate;
use futures::{StreamExt, stream::BoxStream};
use object_store::{Error as StoreError, GetOptions, path::Path};
use sha2::{Digest, Sha256};
use tokio::runtime::Handle;

use super::{
    BLOCK, BundledCatalog, CATALOG, FORMAT, INDEX, Index, KEYS, catalog_path, header::header, layout, padding, paths,
};
use crate::{Error, FileFacts, Files, Layout, Record, Site, catalog, keys, latest};

impl Files {
    /// Writes a bundle of the images with these names and labels, and of all that they depend on. Without a version,
    /// the highest is meant; without a platform, every one. Gives what is in it, dependencies first.
    ///
    /// The site's catalogs that list one of them come along, and so do those of `catalogs`, which are of elsewhere.
    ///
    /// The same images make the same bytes.
    pub async fn export_bundle(
        &self,
        wanted: &[(Name, Labels)],
        catalogs: &[Vec<u8>],
        out: &mut (dyn Write + Send),
    ) -> Result<Vec<Record>, Error> {
        let site = Site::with_files(self.clone(), layout().base().clone());
        let mut images = Vec::new();
        for (name, labels) in wanted {
            for record in site.matching(name, labels).await? {
                site.collect(record, &mut images, &mut Vec::new()).await?;
            }
        }
        let certificates = site.certificates(&images).await?;
        let catalogs = site.catalogs_of(&images, catalogs).await?;
        let index = Index {
            format: FORMAT.to_owned(),
            keys: facts(&certificates),
            catalogs: catalogs
                .iter()
                .map(|(prefix, file)| BundledCatalog {
                    prefix: prefix.clone(),
                    file: facts(file),
                })
                .collect(),
            images,
        };
        write_small(out, INDEX, &index.to_json())?;
        write_small(out, KEYS, &certificates)?;
        for (prefix, file) in &catalogs {
            write_small(out, &catalog_path(prefix), file)?;
        }
        for record in &index.images {
            let [signature, archive] = paths(record);
            self.write_entry(out, &signature, &record.signature).await?;
            self.write_entry(out, &archive, &record.archive).await?;
        }
        out.write_all(&[0; 2 * BLOCK]).map_err(Error::WriteBundle)?;
        Ok(index.images)
    }

    async fn write_entry(&self, out: &mut (dyn Write + Send), path: &Path, facts: &FileFacts) -> Result<(), Error> {
        begin(out, path.as_ref(), facts.size)?;
        let file = self.get(path, GetOptions::default()).await?;
        let (mut hasher, mut size) = (Sha256::new(), 0);
        let mut stream = file.into_stream();
        while let Some(bytes) = stream.next().await {
            let bytes = bytes.map_err(|source| self.failed("read", path, source))?;
            hasher.update(&bytes);
            size += bytes.len() as u64;
            out.write_all(&bytes).map_err(Error::WriteBundle)?;
        }
        if size != facts.size || hex::encode(hasher.finalize()) != facts.sha256 {
            return Err(Error::NotAsRecorded {
                location: self.location().to_owned(),
                path: path.to_string(),
            });
        }
        end(out, size)
    }
}

impl Site {
    /// The highest of the versions that have these labels, for each platform.
    async fn matching(&self, name: &Name, labels: &Labels) -> Result<Vec<Record>, Error> {
        let mut records = self.versions(name).await?;
        records.retain(|record| labels.first_mismatch(&record.labels).is_none());
        records.sort_by(|a, b| a.platform().cmp(&b.platform()));
        let highest = records
            .chunk_by(|a, b| a.platform() == b.platform())
            .filter_map(latest::highest);
        let highest: Vec<_> = highest.cloned().collect();
        if highest.is_empty() {
            return Err(Error::NotPublished {
                name: name.clone(),
                labels: labels.to_string(),
                location: self.files.location().to_owned(),
            });
        }
        Ok(highest)
    }

    /// Adds an image after all that it depends on. `above` are those that asked for it: what a circle brings is there
    /// already, and running it is refused elsewhere.
    async fn collect(&self, record: Record, images: &mut Vec<Record>, above: &mut Vec<Record>) -> Result<(), Error> {
        let is_same = |other: &Record| other.is_same_version(&record);
        if images.iter().any(is_same) || above.iter().any(is_same) {
            return Ok(());
        }
        let dependencies = self.dependencies(&record).await?;
        above.push(record);
        for dependency in &dependencies {
            let mut found = self.matching(&dependency.image_name, &dependency.labels).await?;
            if let Some(id) = dependency.image_id {
                let versions = self.versions(&dependency.image_name).await?;
                found = versions.into_iter().filter(|version| version.id == id).collect();
            }
            for record in found {
                Box::pin(self.collect(record, images, above)).await?;
            }
        }
        images.extend(above.pop());
        Ok(())
    }

    pub(crate) async fn manifest(&self, record: &Record) -> Result<dhow_image::ImageManifest, Error> {
        let path = self.layout.archive(record).archive;
        let file = self.files.get(&path, GetOptions::default()).await?;
        let reader = Streamed {
            stream: file.into_stream(),
            runtime: Handle::current(),
            rest: Bytes::new(),
        };
        let read = tokio::task::spawn_blocking(move || dhow_image::read_manifest(reader));
        let manifest = read.await.expect("reading a manifest does not panic");
        manifest.map_err(|source| Error::Archive {
            path: path.to_string().into(),
            source,
        })
    }

    /// The catalogs that list these images: that of the site, those of other hosts, and of some more.
    async fn catalogs_of(&self, images: &[Record], more: &[Vec<u8>]) -> Result<BTreeMap<Name, Bytes>, Error> {
        let mut files = vec![Path::from(CATALOG)];
        files.extend(images.iter().map(|record| self.layout.catalog(&record.name)));
        files.sort();
        files.dedup();
        let mut catalogs = BTreeMap::new();
        for path in files {
            let Some(file) = self.files.read(&path).await? else {
                continue;
            };
            let head = catalog::head(&file).map_err(|source| Error::DamagedBundledCatalog {
                path: path.to_string(),
                location: self.files.location().to_owned(),
                source: Box::new(source),
            })?;
            catalogs.insert(head.prefix, file);
        }
        for file in more {
            let head = catalog::head(file).map_err(|source| Error::CarriedCatalog(Box::new(source)))?;
            catalogs.insert(head.prefix, Bytes::copy_from_slice(file));
        }
        catalogs.retain(|prefix, _| images.iter().any(|record| record.name.is_within(prefix)));
        Ok(catalogs)
    }

    /// The certificates of those who signed these images, armored.
    async fn certificates(&self, images: &[Record]) -> Result<Vec<u8>, Error> {
        let mut files = vec![Path::from(KEYS)];
        files.extend(images.iter().map(|record| Layout::keys(&self.layout, &record.name)));
        files.sort();
        files.dedup();
        let mut all: Vec<Certificate> = Vec::new();
        for file in files {
            for certificate in keys::read(&self.files, &file).await? {
                let fingerprint = certificate.fingerprint();
                let mut signers = images.iter().flat_map(|record| &record.signers);
                if signers.any(|signer| signer.fingerprint == fingerprint) && !all.contains(&certificate) {
                    all.push(certificate);
                }
            }
        }
        all.sort_by_key(Certificate::fingerprint);
        Ok(all.iter().flat_map(Certificate::to_armored).collect())
    }
}

fn write_small(out: &mut (dyn Write + Send), path: &str, bytes: &[u8]) -> Result<(), Error> {
    begin(out, path, bytes.len() as u64)?;
    out.write_all(bytes).map_err(Error::WriteBundle)?;
    end(out, bytes.len() as u64)
}

fn begin(out: &mut (dyn Write + Send), path: &str, size: u64) -> Result<(), Error> {
    let header = header(path, size).ok_or_else(|| Error::PathTooLong { path: path.to_owned() })?;
    out.write_all(&header).map_err(Error::WriteBundle)
}

fn end(out: &mut (dyn Write + Send), size: u64) -> Result<(), Error> {
    out.write_all(&[0; BLOCK][..padding(size)]).map_err(Error::WriteBundle)
}

fn facts(bytes: &[u8]) -> FileFacts {
    FileFacts {
        size: bytes.len() as u64,
        sha256: hex::encode(Sha256::digest(bytes)),
    }
}

/// What comes from a store, for who reads and waits.
struct Streamed {
    stream: BoxStream<'static, Result<Bytes, StoreError>>,
    runtime: Handle,
    rest: Bytes,
}

impl Read for Streamed {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.rest.is_empty() {
            match self.runtime.block_on(self.stream.next()) {
                Some(bytes) => self.rest = bytes.map_err(io::Error::other)?,
                None => return Ok(0),
            }
        }
        let count = buffer.len().min(self.rest.len());
        buffer[..count].copy_from_slice(&self.rest.split_to(count));
        Ok(count)
    }
}
