//! What lets clients fetch an image by what they do not have of it.

mod patch;

use std::{
    collections::HashSet,
    fs::File,
    io::{self, Read},
    path::{Path as FilePath, PathBuf},
    sync::Arc,
};

use dhow_discovery::FileFacts;
use dhow_image::{Limits, Sha512};
use dhow_store::{
    delta::{DeltaHead, DeltaPack, HeadRecipe, PackOptions, PackedImage, SealedRecipe, pack_image},
    pack::{Backend, Layers, Secret},
};
use dhow_trust::{Certificate, EncryptOptions, SigningKey, encrypt, verify_with_certificates};
use sha2::{Digest, Sha256};
use tokio::runtime::Handle;

use crate::{
    Error, Published, Record, Site, SitePacks, candidate::Digesting, contested::Exclusion, keys, latest,
    layout::ArchivePaths,
};

/// An image's contents are looked for in so many packs of other versions. What is in older ones is written again, so
/// that no client has to look into more.
const KNOWN_PACKS: usize = 16;

/// How an image is made fit for being fetched by difference.
#[derive(Debug)]
pub struct DeltaOptions<'a> {
    /// Who signs the recipe.
    pub key: &'a SigningKey,
    /// The level at which packs are compressed: 9 is a good one for what is published once and fetched often.
    pub level: i32,
    /// How large the image may be.
    pub limits: Limits,
    /// A directory for temporary files: the new pack is written there first.
    pub scratch: &'a FilePath,
}

/// For whom an image's packs and recipe are sealed.
#[derive(Debug)]
pub struct Sealing<'a> {
    /// The archive as it was before it was encrypted.
    pub image: &'a FilePath,
    /// The secret of the image's name, from which the keys of all contents follow.
    pub secret: Secret,
    /// Who can rebuild the image: those for whom the archive is encrypted.
    pub recipients: &'a [Certificate],
}

/// A recipe that was put beside its archive.
#[derive(Clone, Debug)]
pub struct PublishedDelta {
    /// Where it is on the web.
    pub url: String,
    /// How many bytes the new packs have.
    pub new_bytes: u64,
    /// How many packs the image is in.
    pub packs: usize,
    /// How many bytes the patch has that makes the image of the version before, if there is one.
    pub patch_bytes: Option<u64>,
    /// The files that were written, in their order; none if all were there.
    pub written: Vec<String>,
}

impl Site {
    /// Puts what the site's packs do not have of an image into a new one, and a patch from the version before and a
    /// signed recipe beside the archive, which was published just now from the file `archive`.
    ///
    /// Packs and patch are there before the recipe that names them, and the recipe before the record and the pages. To do it
    /// again changes nothing.
    pub async fn publish_delta(
        &self,
        published: &Published,
        archive: &FilePath,
        options: &DeltaOptions<'_>,
    ) -> Result<PublishedDelta, Error> {
        self.put_delta(published, archive, options, None).await
    }

    /// The same of an encrypted archive: into packs that are sealed, with a recipe that only the recipients can use.
    /// There is no patch.
    ///
    /// The recipe is encrypted first and then signed: so everybody can tell whose it is, and nobody has to open what a
    /// stranger sealed.
    pub async fn publish_sealed_delta(
        &self,
        published: &Published,
        archive: &FilePath,
        options: &DeltaOptions<'_>,
        sealing: &Sealing<'_>,
    ) -> Result<PublishedDelta, Error> {
        self.put_delta(published, archive, options, Some(sealing)).await
    }

    async fn put_delta(
        &self,
        published: &Published,
        archive: &FilePath,
        options: &DeltaOptions<'_>,
        sealing: Option<&Sealing<'_>>,
    ) -> Result<PublishedDelta, Error> {
        let changed = || Error::ArchiveChanged {
            path: archive.to_owned(),
        };
        let of_this = |record: &Record| record.labels == published.labels && record.id == published.id;
        let versions = self.versions(&published.name).await?;
        let mut record = versions
            .iter()
            .find(|record| of_this(record))
            .filter(|record| record.encryption.is_some() == sealing.is_some())
            .ok_or_else(changed)?
            .clone();
        let paths = self.layout.archive(&record);
        let url = self.layout.base().join(paths.recipe.as_ref());
        if let Some(head) = self.published_recipe(&record, &paths).await? {
            return Ok(PublishedDelta {
                url,
                new_bytes: 0,
                packs: head.packs.len(),
                patch_bytes: head.patch.map(|patch| patch.size),
                written: Vec::new(),
            });
        }
        // Nobody takes away meanwhile what the recipe is going to name.
        let in_use = self.files.share(&self.layout.packs_lock()).await?;
        let known = self.known_packs(&versions, sealing.is_some()).await?;
        let layers = Layers::plain().compressed(options.level);
        let (packed, facts, sha512) = match sealing {
            None => self.pack(archive, &known, layers, options).await?,
            Some(sealing) => {
                let layers = layers.sealed(sealing.secret.clone());
                let (packed, ..) = self.pack(sealing.image, &known, layers, options).await?;
                let path = archive.to_owned();
                let digested = tokio::task::spawn_blocking(move || digest_file(&path)).await;
                let (facts, sha512) = digested.expect("reading a file does not panic")?;
                (packed, facts, sha512)
            }
        };
        if facts != record.archive || packed.id != record.id {
            return Err(changed());
        }
        let mut written = Vec::new();
        for pack in packed.packs.iter().filter(|pack| !known.contains(pack)) {
            written.push(SitePacks::path(&pack.id).to_string());
        }
        // A patch would tell of the version before and of this one.
        let base = latest::before(&versions, &record).filter(|_| sealing.is_none());
        let patch = match base {
            Some(base) => self.publish_patch(base, &record, archive, options).await?,
            None => None,
        };
        match &patch {
            Some(_) => written.push(paths.patch.to_string()),
            None => self.files.remove(&paths.patch).await?,
        }
        let folders = paths.recipe.parts().count() - 1;
        let head = DeltaHead {
            id: packed.id,
            tar_size: packed.tar_size,
            archive_sha512: sha512,
            archive_size: facts.size,
            recipe: match sealing {
                None => HeadRecipe::Plain(packed.recipe),
                Some(sealing) => HeadRecipe::Sealed(seal(&packed, sealing).map_err(|source| Error::SealRecipe {
                    path: archive.to_owned(),
                    source: Box::new(source),
                })?),
            },
            up: u8::try_from(folders)
                .ok()
                .filter(|up| *up <= 64)
                .ok_or_else(|| Error::TooDeep {
                    name: record.name.clone(),
                })?,
            packs: packed.packs,
            patch,
        };
        let bytes = head.to_bytes();
        let signature = options.key.sign(bytes.as_slice()).map_err(|source| Error::SignRecipe {
            path: archive.to_owned(),
            source: Box::new(source),
        })?;
        let keys = self.layout.keys(&record.name);
        if keys::add(&self.files, &keys, &[options.key.certificate()]).await? {
            written.push(keys.to_string());
        }
        record.recipe = Some(FileFacts {
            size: bytes.len() as u64,
            sha256: hex::encode(Sha256::digest(&bytes)),
        });
        for (path, content) in [(&paths.recipe_signature, signature), (&paths.recipe, bytes)] {
            if self.files.write(path, content).await? {
                written.push(path.to_string());
            }
        }
        if matches!(in_use, Exclusion::Conditions)
            && self.packs_there(head.packs.clone()).await?.len() < head.packs.len()
        {
            self.remove_recipe(&paths).await?;
            return Err(Error::PacksRemoved { name: record.name });
        }
        drop(in_use);
        if self.files.write(&paths.record, record.to_json()).await? {
            written.push(paths.record.to_string());
        }
        self.settle(&record, &mut written).await?;
        Ok(PublishedDelta {
            url,
            new_bytes: packed.statistics.stored,
            packs: head.packs.len(),
            patch_bytes: patch.map(|patch| patch.size),
            written,
        })
    }

    /// The recipe that a record tells of, if it is there with all that it needs, and signed.
    async fn published_recipe(&self, record: &Record, paths: &ArchivePaths) -> Result<Option<DeltaHead>, Error> {
        let (Some(facts), Some(bytes)) = (&record.recipe, self.files.read(&paths.recipe).await?) else {
            return Ok(None);
        };
        let Some(signature) = self.files.read(&paths.recipe_signature).await? else {
            return Ok(None);
        };
        let certificates = keys::read(&self.files, &self.layout.keys(&record.name)).await?;
        let is_signed = verify_with_certificates(&certificates, &signature, bytes.as_ref()).is_ok();
        let is_this = |head: &DeltaHead| head.id == record.id && head.is_sealed() == record.encryption.is_some();
        let Some(head) = DeltaHead::parse(&bytes).ok().filter(is_this) else {
            return Ok(None);
        };
        if !is_signed || facts.sha256 != hex::encode(Sha256::digest(&bytes)) {
            return Ok(None);
        }
        let there = self.packs_there(head.packs.clone()).await?.len();
        let has_patch = match &head.patch {
            Some(patch) => self.files.size(&paths.patch).await? == Some(patch.size),
            None => true,
        };
        Ok((has_patch && there == head.packs.len()).then_some(head))
    }

    /// The packs that recipes of these versions name, the oldest first: those that are sealed, or those that are not. They
    /// have nothing in common.
    async fn known_packs(&self, versions: &[Record], is_sealed: bool) -> Result<Vec<DeltaPack>, Error> {
        let mut versions: Vec<_> = versions.iter().filter(|record| record.recipe.is_some()).collect();
        versions.sort_by_key(|record| std::cmp::Reverse(record.published));
        let (mut known, mut names) = (Vec::new(), HashSet::new());
        for record in versions {
            if known.len() >= KNOWN_PACKS {
                break;
            }
            let bytes = self.files.read(&self.layout.archive(record).recipe).await?;
            // A recipe that is damaged helps nobody, and is made anew when its image is published again.
            let head = bytes.and_then(|bytes| DeltaHead::parse(&bytes).ok());
            let head = head.filter(|head| head.is_sealed() == is_sealed);
            let packs = head.into_iter().flat_map(|head| head.packs.into_iter().rev());
            known.extend(packs.filter(|pack| names.insert(pack.id)));
        }
        known.truncate(KNOWN_PACKS);
        known.reverse();
        self.packs_there(known).await
    }

    async fn packs_there(&self, packs: Vec<DeltaPack>) -> Result<Vec<DeltaPack>, Error> {
        let mut there = Vec::new();
        for pack in packs {
            if self.files.size(&SitePacks::path(&pack.id)).await? == Some(pack.size) {
                there.push(pack);
            }
        }
        Ok(there)
    }

    /// Puts an archive into packs, and tells what the archive was.
    async fn pack(
        &self,
        archive: &FilePath,
        known: &[DeltaPack],
        layers: Layers,
        options: &DeltaOptions<'_>,
    ) -> Result<(PackedImage, FileFacts, [u8; 64]), Error> {
        let backend: Arc<dyn Backend> = Arc::new(SitePacks::new(self.files.clone(), Handle::current()));
        let (path, scratch) = (archive.to_owned(), options.scratch.to_owned());
        let (known, limits) = (known.to_vec(), options.limits);
        let pack = move || {
            let options = PackOptions {
                limits,
                layers,
                scratch: &scratch,
            };
            pack_file(path, &backend, &known, &options)
        };
        tokio::task::spawn_blocking(pack).await.expect("packing does not panic")
    }

    /// Gives a `latest` the recipe of the version of which it is a copy. `there` is what it was a copy of.
    pub(crate) async fn copy_recipe(
        &self,
        there: Option<&Record>,
        highest: &Record,
        from: &ArchivePaths,
        to: &ArchivePaths,
        written: &mut Vec<String>,
    ) -> Result<(), Error> {
        let there = there.and_then(|there| there.recipe.as_ref());
        if highest.recipe.as_ref() == there {
            return Ok(());
        }
        if highest.recipe.is_none() {
            return self.remove_recipe(to).await;
        }
        let has_patch = self.files.size(&from.patch).await?.is_some();
        if !has_patch {
            self.files.remove(&to.patch).await?;
        }
        let patch = has_patch.then_some((&from.patch, &to.patch));
        let signed = [
            (&from.recipe_signature, &to.recipe_signature),
            (&from.recipe, &to.recipe),
        ];
        for (from, to) in patch.into_iter().chain(signed) {
            self.files.copy(from, to).await?;
            written.push(to.to_string());
        }
        Ok(())
    }

    /// Another archive's recipe must not pass for this one's.
    pub(crate) async fn remove_recipe(&self, paths: &ArchivePaths) -> Result<(), Error> {
        for path in [&paths.recipe, &paths.recipe_signature, &paths.patch] {
            self.files.remove(path).await?;
        }
        Ok(())
    }
}

/// What only the recipients are to be told, as an OpenPGP message for them.
fn seal(packed: &PackedImage, sealing: &Sealing<'_>) -> Result<Vec<u8>, dhow_trust::Error> {
    let sealed = SealedRecipe {
        id: packed.id,
        records: packed.recipe.clone(),
        keys: packed.keys.clone().expect("what is in sealed packs has keys"),
        chunker_seed: sealing.secret.chunker_seed(),
    };
    let mut options = EncryptOptions::default();
    options.recipients = sealing.recipients.to_vec();
    let mut message = Vec::new();
    encrypt(&options, sealed.to_bytes().as_slice(), &mut message)?;
    Ok(message)
}

/// What a file is, and its SHA-512. Blocks.
fn digest_file(path: &FilePath) -> Result<(FileFacts, [u8; 64]), Error> {
    let in_file = |source| Error::ReadArchive {
        path: path.to_owned(),
        source,
    };
    let mut file = Digesting::new(Sha512Reader {
        inner: File::open(path).map_err(in_file)?,
        hasher: Sha512::new(),
    });
    io::copy(&mut file, &mut io::sink()).map_err(in_file)?;
    let sha512 = file.get_ref().hasher.clone().finalize().into();
    Ok((file.finish().map_err(in_file)?, sha512))
}

/// Blocks.
fn pack_file(
    path: PathBuf,
    backend: &Arc<dyn Backend>,
    known: &[DeltaPack],
    options: &PackOptions<'_>,
) -> Result<(PackedImage, FileFacts, [u8; 64]), Error> {
    let in_file = |source| Error::ReadArchive {
        path: path.clone(),
        source,
    };
    let mut archive = Digesting::new(Sha512Reader {
        inner: File::open(&path).map_err(in_file)?,
        hasher: Sha512::new(),
    });
    let packed = pack_image(&mut archive, backend, known, options).map_err(|source| Error::Pack {
        path: path.clone(),
        source: Box::new(source),
    })?;
    io::copy(&mut archive, &mut io::sink()).map_err(in_file)?;
    let sha512 = archive.get_ref().hasher.clone().finalize().into();
    Ok((packed, archive.finish().map_err(in_file)?, sha512))
}

struct Sha512Reader {
    inner: File,
    hasher: Sha512,
}

impl Read for Sha512Reader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.inner.read(buffer)?;
        self.hasher.update(&buffer[..read]);
        Ok(read)
    }
}
