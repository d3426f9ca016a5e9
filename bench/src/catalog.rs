//! What a site of many images costs: its publisher for one more, its users for the list of all.

use std::{fs, path::Path, process::Command};

use anyhow::{Context as _, Result, ensure};
use chrono::{TimeDelta, Utc};
use dhow_discovery::{Catalog, CatalogImage, CatalogMemory, FileFacts, SignedCatalog};
use dhow_image::{BuildOptions, ImageId, ImageManifest, Labels, Limits, Name, OwnerMap, build};
use dhow_site::{BaseUrl, CatalogOptions, OnConflict, OnOtherSigner, Publication, Site};
use dhow_trust::{KeyOptions, Keyring, SecretKey, SigningKey, sign};

use crate::{
    contest::{Contest, Contestant},
    images::Images,
};

/// How many images a large site has.
const MANY: usize = 1000;
/// How many versions each name has in the catalog that is read.
const VERSIONS: usize = 20;
/// How many images the catalog has that is read.
const LISTED: usize = 10_000;

/// Publishes a small image, with its entry in the catalog: into sites of one image, and into sites of a thousand names and
/// of a thousand versions of one name.
pub fn publish(images: &Images, rounds: usize) -> Result<String> {
    let runtime = tokio::runtime::Runtime::new()?;
    let publisher = Publisher::new(images.path("archives"))?;
    let [small, names, versions] = ["small", "names", "versions"].map(|name| images.path(name));
    runtime.block_on(publisher.publish(&small, "example.com/app0", "1.0.0"))?;
    for number in 0..MANY {
        let name = format!("example.com/app{number}");
        runtime.block_on(publisher.publish(&names, &name, "1.0.0"))?;
        let version = format!("1.{number}.0");
        runtime.block_on(publisher.publish(&versions, "example.com/app0", &version))?;
    }
    // Links will do for copies: what is published is put in place of what was there, and changes nothing in it. And the
    // files keep their inodes and times, as on a publisher's disk.
    // Before each turn all of them are made, whichever is used, and the small one last: else the large sites would be
    // charged for their preparation, which leaves caches cold and thousands of files that the kernel is yet to forget.
    let copies = || {
        for of in [&names, &versions, &small] {
            let copy = of.with_extension("copy");
            let _ = fs::remove_dir_all(&copy);
            ensure!(Command::new("cp").arg("-al").arg(of).arg(&copy).status()?.success());
        }
        Ok(())
    };
    let one_more = |site: &Path, name: &str, version: &str| {
        let site = site.with_extension("copy");
        runtime.block_on(publisher.publish(&site, name, version))
    };
    let version = Contest::new("publish: one more version of a name, listed", rounds).run(vec![
        Contestant::prepared("the second", copies, || one_more(&small, "example.com/app0", "2.0.0")),
        Contestant::prepared("the 1,001st of the name", copies, || {
            one_more(&versions, "example.com/app0", "2.0.0")
        }),
        Contestant::prepared("among 1,000 names", copies, || {
            one_more(&names, "example.com/app0", "2.0.0")
        }),
    ])?;
    let name = Contest::new("publish: one more name, listed", rounds).run(vec![
        Contestant::prepared("the second", copies, || one_more(&small, "example.com/new", "1.0.0")),
        Contestant::prepared("the 1,001st", copies, || one_more(&names, "example.com/new", "1.0.0")),
    ])?;
    Ok(format!("{version}{name}"))
}

/// Reads a catalog of ten thousand images, verifies and remembers it: one that is new, and one that was seen before.
pub fn catalog(images: &Images, rounds: usize) -> Result<String> {
    let key = SecretKey::generate("Bench <bench@example.com>", &KeyOptions::default())?;
    let keyring = Keyring::open(Vec::<std::path::PathBuf>::new(), images.path("catalog-keys"));
    let prefix = Name::new("example.com")?;
    keyring.trust(Some(&prefix), &key.certificate())?;
    let listed = (0..LISTED).map(entry).collect::<Result<Vec<_>>>()?;
    let file = |serial| -> Result<Vec<u8>> {
        let now = Utc::now();
        let catalog = Catalog::new(prefix.clone(), serial, now, now + TimeDelta::days(1), listed.clone());
        let json = catalog.to_json();
        let signature = sign(&key, json.as_slice())?;
        Ok(SignedCatalog::new(json, signature).into_bytes())
    };
    let (old, new) = (file(1)?, file(2)?);
    let directory = images.path("catalogs");
    let memory = CatalogMemory::open(&directory);
    let accept = |file: &[u8]| -> Result<()> {
        let accepted = memory.accept(file, &prefix, &keyring, Utc::now())?;
        ensure!(accepted.catalog.images.len() == LISTED);
        Ok(())
    };
    let forget = || memory.forget(&prefix).map(drop).context("Could not forget");
    let contest = Contest::new("catalog: 10,000 images read, verified and remembered", rounds).run(vec![
        Contestant::prepared("the first that is seen", forget, || accept(&old)),
        Contestant::prepared(
            "one in place of another",
            || {
                forget()?;
                accept(&old)
            },
            || accept(&new),
        ),
        Contestant::prepared("the same again", || accept(&new), || accept(&new)),
    ])?;
    Ok(format!("{contest}  {:.1} MB\n", megabytes(new.len())))
}

#[expect(clippy::cast_precision_loss, reason = "one digit after the point is shown")]
fn megabytes(bytes: usize) -> f64 {
    bytes as f64 / 1e6
}

fn labels(version: &str) -> Result<Labels> {
    let mut labels = Labels::default();
    for (label, value) in [("version", version), ("os", "linux"), ("arch", "amd64")] {
        labels.insert(Name::new(label)?, value)?;
    }
    Ok(labels)
}

fn entry(number: usize) -> Result<CatalogImage> {
    let facts = || FileFacts {
        size: 150_000_000 + number as u64,
        sha256: format!("{number:064x}"),
    };
    Ok(CatalogImage {
        name: Name::new(format!("example.com/app{}", number / VERSIONS))?,
        labels: labels(&format!("1.{}.0", number % VERSIONS))?,
        id: ImageId::from_bytes(std::array::from_fn(|at| (number >> (at % 4 * 8)).to_le_bytes()[0])),
        tar_size: 300_000_000,
        published: Utc::now(),
        archive: facts(),
        recipe: Some(facts()),
        torrent: None,
        yanked: None,
    })
}

/// Somebody with small images and a key.
struct Publisher {
    key: SecretKey,
    options: CatalogOptions,
    archives: std::path::PathBuf,
}

impl Publisher {
    fn new(archives: std::path::PathBuf) -> Result<Self> {
        fs::create_dir_all(&archives)?;
        let key = SecretKey::generate("Bench <bench@example.com>", &KeyOptions::default())?;
        let options = CatalogOptions {
            signers: vec![SigningKey::Secret(key.clone())],
            valid_for: TimeDelta::days(30),
            on_other_signer: OnOtherSigner::Refuse,
        };
        Ok(Self { key, options, archives })
    }

    async fn publish(&self, site: &Path, name: &str, version: &str) -> Result<()> {
        let mut manifest = ImageManifest::new(Name::new(name)?);
        manifest.labels = labels(version)?;
        let (rootfs, archive) = (self.archives.join("rootfs"), self.archives.join("image.aci"));
        fs::create_dir_all(&rootfs)?;
        fs::write(rootfs.join("version"), format!("{name} {version}"))?;
        let options = BuildOptions {
            source_date_epoch: Some(0),
            owners: OwnerMap::all(0, 0),
            ..BuildOptions::default()
        };
        build(&manifest, &rootfs, &options, fs::File::create(&archive)?)?;
        let signature = sign(&self.key, fs::File::open(&archive)?)?;
        let site = Site::open_directory(site, BaseUrl::new("https://example.com".parse()?)?)?;
        let certificates = [self.key.certificate()];
        let publication = Publication {
            archive: &archive,
            signature: &signature,
            certificates: &certificates,
            on_conflict: OnConflict::Refuse,
            limits: Limits::default(),
            catalog: Some(&self.options),
        };
        let published = site.publish(publication).await?;
        site.list(&[(published.name, published.labels)], &self.options).await?;
        Ok(())
    }
}
