//! A publisher with small images, whose sites are looked at.

#![allow(clippy::unwrap_used, missing_docs, dead_code, reason = "each test uses a part of it")]

pub(crate) mod watched;

use std::{fs, path::PathBuf, sync::LazyLock};

use chrono::TimeDelta;
use dhow_image::{
    Annotation, BuildOptions, Compression, Dependency, ImageManifest, Labels, Limits, Name, OwnerMap, build,
};
use dhow_site::{BaseUrl, CatalogOptions, Error, OnConflict, OnOtherSigner, Publication, Published, Site};
use dhow_trust::{Certificate, KeyOptions, SecretKey, SigningKey, sign};
use object_store::{GetOptions, path::Path};
use tempfile::TempDir;

pub(crate) static CARLY: LazyLock<SecretKey> = LazyLock::new(|| key("Carly Container <carly@example.com>"));
pub(crate) static BOB: LazyLock<SecretKey> = LazyLock::new(|| key("Bob <bob@other.example>"));

pub(crate) fn key(user_id: &str) -> SecretKey {
    SecretKey::generate(user_id, &KeyOptions::default()).unwrap()
}

pub(crate) fn base(url: &str) -> BaseUrl {
    BaseUrl::new(url.parse().unwrap()).unwrap()
}

/// Makes archives in a directory of its own.
pub(crate) struct Builder {
    pub(crate) directory: TempDir,
}

/// A signed archive.
pub(crate) struct Image {
    pub archive: PathBuf,
    pub signature: Vec<u8>,
    pub certificate: Certificate,
}

impl Builder {
    pub(crate) fn new() -> Self {
        Self {
            directory: tempfile::tempdir().unwrap(),
        }
    }

    /// `example.com/app:1.0.0,os=linux,arch=amd64`, with `content` in it.
    pub(crate) fn image(&self, reference: &str, content: &str) -> Image {
        self.image_with(reference, content, &[], &CARLY)
    }

    pub(crate) fn image_with(
        &self,
        reference: &str,
        content: &str,
        annotations: &[(&str, &str)],
        key: &SecretKey,
    ) -> Image {
        let mut manifest = manifest(reference);
        for (name, value) in annotations {
            let value = (*value).to_owned();
            manifest.annotations.push(Annotation::new(self::name(name), value));
        }
        self.image_of(&manifest, content, key)
    }

    /// An image that depends on exactly these.
    pub(crate) fn image_on(&self, reference: &str, dependencies: &[&str]) -> Image {
        let mut manifest = manifest(reference);
        for dependency in dependencies {
            let wanted = self::manifest(dependency);
            let mut dependency = Dependency::new(wanted.name);
            dependency.labels = wanted.labels;
            manifest.dependencies.push(dependency);
        }
        self.image_of(&manifest, "on others", &CARLY)
    }

    pub(crate) fn image_of(&self, manifest: &ImageManifest, content: &str, key: &SecretKey) -> Image {
        let directory = tempfile::tempdir_in(&self.directory).unwrap().keep();
        let (rootfs, archive) = (directory.join("rootfs"), directory.join("image.aci"));
        fs::create_dir(&rootfs).unwrap();
        fs::write(rootfs.join("content"), content).unwrap();
        let options = BuildOptions {
            compression: Compression::Gzip,
            source_date_epoch: Some(0),
            owners: OwnerMap::all(0, 0),
            ..BuildOptions::default()
        };
        build(manifest, &rootfs, &options, fs::File::create(&archive).unwrap()).unwrap();
        let signature = sign(key, fs::File::open(&archive).unwrap()).unwrap();
        Image {
            archive,
            signature,
            certificate: key.certificate(),
        }
    }
}

pub(crate) async fn publish(site: &Site, image: &Image) -> Result<Published, Error> {
    publish_with(site, image, OnConflict::Refuse).await
}

pub(crate) async fn publish_with(site: &Site, image: &Image, on_conflict: OnConflict) -> Result<Published, Error> {
    site.publish(publication(image, on_conflict, None)).await
}

pub(crate) fn publication<'a>(
    image: &'a Image,
    on_conflict: OnConflict,
    catalog: Option<&'a CatalogOptions>,
) -> Publication<'a> {
    Publication {
        archive: &image.archive,
        signature: &image.signature,
        certificates: std::slice::from_ref(&image.certificate),
        on_conflict,
        limits: Limits::default(),
        catalog,
    }
}

pub(crate) fn signed_by(key: &SecretKey) -> CatalogOptions {
    CatalogOptions {
        signers: vec![SigningKey::Secret(key.clone())],
        valid_for: TimeDelta::days(30),
        on_other_signer: OnOtherSigner::Refuse,
    }
}

/// Publishes an image and lists it.
pub(crate) async fn list(site: &Site, image: &Image) -> Published {
    let published = publish(site, image).await.unwrap();
    let listed = [(published.name.clone(), published.labels.clone())];
    site.list(&listed, &signed_by(&CARLY)).await.unwrap();
    published
}

/// A file of a site, if it is there.
pub(crate) async fn file(site: &Site, path: &str) -> Option<String> {
    let options = GetOptions::default();
    match site.files().get(&Path::parse(path).unwrap(), options).await {
        Ok(file) => Some(String::from_utf8(file.bytes().await.unwrap().to_vec()).unwrap()),
        Err(Error::NotFound { .. }) => None,
        Err(error) => panic!("{error}"),
    }
}

pub(crate) async fn text(site: &Site, path: &str) -> String {
    file(site, path).await.unwrap_or_else(|| panic!("there is no `{path}`"))
}

pub(crate) fn name(text: &str) -> Name {
    Name::new(text).unwrap()
}

pub(crate) fn labels(list: &[(&str, &str)]) -> Labels {
    let mut labels = Labels::default();
    for (label, value) in list {
        labels.insert(name(label), *value).unwrap();
    }
    labels
}

/// The manifest of `example.com/app:1.0.0,os=linux,arch=amd64`.
fn manifest(reference: &str) -> ImageManifest {
    let mut parts = reference.split(',');
    let (name, version) = match parts.next().unwrap().split_once(':') {
        Some((name, version)) => (name, Some(version)),
        None => (reference, None),
    };
    let mut manifest = ImageManifest::new(self::name(name));
    let version = version.map(|version| ("version", version)).into_iter();
    let all: Vec<_> = version.chain(parts.map(|part| part.split_once('=').unwrap())).collect();
    manifest.labels = labels(&all);
    manifest
}
