//! [`Publisher`]: images, signatures, pages and a user who trusts them or not.

use std::{
    fs,
    sync::{Arc, Mutex},
};

use dhow_discovery::{PageTags, host_labels};
use dhow_fetchers::{FetchContext, Fetched, Note, Phase, Progress, fetch};
use dhow_image::{BuildOptions, Compression, ImageManifest, Labels, Name, build};
use dhow_store::Store;
use dhow_trust::{KeyOptions, Keyring, SecretKey, sign};
use serde_json::json;
use tempfile::TempDir;

use crate::{conformance, world::World};

pub(crate) const TEMPLATE: &str = "https://storage.example/{name}-{version}-{os}-{arch}.{ext}";

/// A world with a publisher of `example.com` in it, and a user who trusts the publisher's key.
pub(crate) struct Publisher {
    pub(crate) world: World,
    pub(crate) key: SecretKey,
    pub(crate) context: FetchContext,
    pub(crate) seen: Arc<Seen>,
}

/// Remembers what a user would see.
#[derive(Default)]
pub(crate) struct Seen {
    phases: Mutex<Vec<(Phase, String)>>,
    pub(crate) notes: Mutex<Vec<String>>,
}

impl Seen {
    /// The subjects of a phase, since the last time anything was taken.
    pub(crate) fn take(&self, phase: Phase) -> Vec<String> {
        let seen = std::mem::take(&mut *self.phases.lock().unwrap());
        seen.into_iter()
            .filter(|(other, _)| *other == phase)
            .map(|(_, subject)| subject)
            .collect()
    }
}

impl Progress for Seen {
    fn begin(&self, phase: Phase, subject: &str, _: Option<u64>) {
        self.phases.lock().unwrap().push((phase, subject.to_owned()));
    }

    fn advance(&self, _: u64) {}
    fn end(&self) {}

    fn note(&self, note: &Note<'_>) {
        self.notes.lock().unwrap().push(note.to_string());
    }
}

pub(crate) fn new_key() -> SecretKey {
    SecretKey::generate("Carly <carly@example.com>", &KeyOptions::default()).unwrap()
}

impl Publisher {
    pub(crate) fn new(locations: &str) -> Self {
        Self::with_templates(locations, &[TEMPLATE])
    }

    pub(crate) fn with_templates(locations: &str, templates: &[&str]) -> Self {
        let world = World::new(locations);
        let key = new_key();
        let keyring = Keyring::open(Vec::<String>::new(), world.path("config"));
        let prefix = Name::new("example.com").unwrap();
        keyring.trust(Some(&prefix), &key.certificate()).unwrap();
        let seen = Arc::new(Seen::default());
        let store = Store::open(&world.path("store")).unwrap();
        let context = FetchContext {
            downloads: conformance::options(),
            progress: seen.clone(),
            ..FetchContext::new(world.client(), store, keyring)
        };
        let tags = PageTags {
            prefix,
            templates: templates.iter().map(|template| (*template).to_owned()).collect(),
            pubkeys: Some("https://example.com/pubkeys.gpg".to_owned()),
            catalog: None,
        };
        world.serve("index.html", format!("<head>{}</head>", tags.to_html()));
        world.serve("pubkeys.gpg", key.certificate().to_armored());
        Self {
            world,
            key,
            context,
            seen,
        }
    }

    /// Puts an archive and its signature where the template says.
    pub(crate) fn publish(&self, path: &str, archive: &[u8]) {
        self.world.serve(&format!("{path}.aci"), archive);
        self.world
            .serve(&format!("{path}.aci.asc"), sign(&self.key, archive).unwrap());
    }

    pub(crate) async fn fetch(&self, reference: &str) -> Result<Fetched, dhow_fetchers::Error> {
        let fetched = fetch(&reference.parse().unwrap(), &self.context).await;
        let left: Vec<_> = fs::read_dir(self.context.store.tmp_dir()).unwrap().collect();
        assert!(left.is_empty(), "{left:?}");
        fetched
    }

    /// The names in the store.
    pub(crate) fn stored(&self) -> Vec<String> {
        let images = self.context.store.images().unwrap();
        images
            .into_iter()
            .map(|image| format!("{}:{}", image.name, image.labels.get("version").unwrap_or("-")))
            .collect()
    }
}

/// The path at which `TEMPLATE` looks for an image of this host.
pub(crate) fn path_of(name: &str, version: &str) -> String {
    let labels = host_labels();
    format!(
        "{name}-{version}-{}-{}",
        labels.get("os").unwrap(),
        labels.get("arch").unwrap()
    )
}

/// An archive with this name, version and dependencies, and some files.
pub(crate) fn image(name: &str, version: &str, dependencies: serde_json::Value) -> Vec<u8> {
    let labels = host_labels();
    let labels = json!([
        {"name": "version", "value": version},
        {"name": "os", "value": labels.get("os")},
        {"name": "arch", "value": labels.get("arch")},
    ]);
    let labels: Labels = serde_json::from_value(labels).unwrap();
    let mut manifest = ImageManifest::new(Name::new(name).unwrap());
    manifest.labels = labels;
    manifest.dependencies = serde_json::from_value(dependencies).unwrap();
    let rootfs = TempDir::new().unwrap();
    fs::create_dir(rootfs.path().join("bin")).unwrap();
    fs::write(rootfs.path().join("bin/app"), "#!/bin/sh\necho hello\n".repeat(100)).unwrap();
    fs::write(rootfs.path().join("name"), format!("{name}:{version}")).unwrap();
    let options = BuildOptions {
        compression: Compression::Gzip,
        source_date_epoch: Some(0),
        ..BuildOptions::default()
    };
    let mut archive = Vec::new();
    build(&manifest, rootfs.path(), &options, &mut archive).unwrap();
    archive
}
