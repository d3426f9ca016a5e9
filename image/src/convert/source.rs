//! [`Images`]: what an OCI layout or a Docker archive holds, and choosing from it.

mod docker;
pub(super) mod oci;

use std::collections::{BTreeMap, BTreeSet};

use super::{
    ConvertError, ImageLocation, OciPlatform,
    container::{Container, not_a},
    digest::Digest,
    document::{Descriptor, ImageConfig},
    layer::Layer,
};
use crate::archive::Limits;

/// The images in a layout or archive, those of them that were named.
pub struct Images {
    pub(super) location: ImageLocation,
    pub(super) container: Container,
    candidates: Vec<Candidate>,
}

/// An image that could be meant, as far as it is known without reading more.
struct Candidate {
    names: Vec<String>,
    platform: Option<OciPlatform>,
    kind: Kind,
}

enum Kind {
    /// A manifest of OCI, or of a registry.
    Manifest(Box<Descriptor>),
    /// An image of Docker's archives, whose few documents have been read.
    Loaded(Box<FoundImage>),
}

/// An image that was chosen, its documents read and verified.
#[derive(Clone, Debug)]
pub struct FoundImage {
    pub(super) names: Vec<String>,
    pub(super) config: ImageConfig,
    pub(super) config_digest: Option<Digest>,
    pub(super) manifest_digest: Option<Digest>,
    pub(super) annotations: BTreeMap<String, String>,
    pub(super) layers: Vec<Layer>,
}

impl FoundImage {
    /// What it runs on, where it says so.
    pub fn platform(&self) -> Option<OciPlatform> {
        self.config.platform()
    }

    /// The digest of its manifest. An archive of Docker's has none.
    pub fn manifest_digest(&self) -> Option<&Digest> {
        self.manifest_digest.as_ref()
    }

    /// What it is called where it was found.
    pub fn names(&self) -> &[String] {
        &self.names
    }
}

impl Images {
    /// Opens a layout or an archive, and finds the images that the location means. An archive that is compressed as a
    /// whole may have as many bytes uncompressed as the limits say.
    pub fn open(location: &ImageLocation, limits: Limits) -> Result<Self, ConvertError> {
        let (container, wanted) = match location {
            ImageLocation::Aci(path) => {
                return Err(not_a(
                    path,
                    "OCI or Docker image",
                    "it is meant as an App Container Image",
                ));
            }
            ImageLocation::OciLayout { path, tag } => (Container::directory(path)?, tag),
            ImageLocation::OciArchive { path, tag } => (Container::archive(path, "OCI archive", limits.tar_size)?, tag),
            ImageLocation::DockerArchive { path, name } => {
                (Container::archive(path, "Docker archive", limits.tar_size)?, name)
            }
        };
        let is_docker = matches!(location, ImageLocation::DockerArchive { .. });
        let all = match is_docker {
            true if container.contains("manifest.json") => docker::saved(&container)?,
            true if container.contains("repositories") => docker::legacy(&container, wanted.as_deref())?,
            true if !container.contains("index.json") => {
                return Err(not_a(container.path(), "Docker archive", "it has no `manifest.json`"));
            }
            _ => oci::candidates(&container, wanted.as_deref())?,
        };
        let candidates = match wanted {
            None => all,
            Some(wanted) => named(&container, all, wanted, is_docker)?,
        };
        if candidates.is_empty() {
            return Err(not_a(container.path(), "image", "it holds no image at all"));
        }
        Ok(Self {
            location: location.clone(),
            container,
            candidates,
        })
    }

    /// The one image that is meant: that for `platform`, or the only one there is, or that for this machine.
    pub fn select(&self, platform: Option<&OciPlatform>) -> Result<FoundImage, ConvertError> {
        self.check_one_name()?;
        if let ([only], None) = (self.candidates.as_slice(), platform) {
            return self.load(only);
        }
        let host = OciPlatform::host();
        let wanted = platform.unwrap_or(&host);
        let mut chosen: Option<FoundImage> = None;
        let mut found = BTreeSet::new();
        for candidate in &self.candidates {
            if let Some(platform) = &candidate.platform {
                found.insert(platform.to_string());
                if !wanted.accepts(platform) {
                    continue;
                }
            }
            let image = self.load(candidate)?;
            let platform = image.platform();
            found.extend(platform.as_ref().map(OciPlatform::to_string));
            if !platform.is_some_and(|platform| wanted.accepts(&platform)) {
                continue;
            }
            match &chosen {
                None => chosen = Some(image),
                // Of several that fit, as for linux/arm, the first is meant (image-spec, image-index.md).
                Some(_) if !candidate.names.is_empty() || candidate.platform.is_some() => {}
                Some(_) => return Err(self.several()),
            }
        }
        chosen.ok_or_else(|| ConvertError::NoPlatform {
            path: self.container.path().to_owned(),
            wanted: wanted.to_string(),
            found: listed(found),
        })
    }

    /// One image for each platform.
    pub fn all(&self) -> Result<Vec<FoundImage>, ConvertError> {
        self.check_one_name()?;
        self.candidates.iter().map(|candidate| self.load(candidate)).collect()
    }

    fn load(&self, candidate: &Candidate) -> Result<FoundImage, ConvertError> {
        match &candidate.kind {
            Kind::Manifest(descriptor) => oci::load(&self.container, descriptor, &candidate.names),
            Kind::Loaded(image) => Ok((**image).clone()),
        }
    }

    fn check_one_name(&self) -> Result<(), ConvertError> {
        let names: BTreeSet<_> = self.candidates.iter().map(|candidate| &candidate.names).collect();
        if names.len() > 1 { Err(self.several()) } else { Ok(()) }
    }

    fn several(&self) -> ConvertError {
        let names = self
            .candidates
            .iter()
            .map(|candidate| match (&candidate.kind, candidate.names.first()) {
                (_, Some(name)) => name.clone(),
                (Kind::Manifest(descriptor), None) => descriptor.digest.to_string(),
                (Kind::Loaded(image), None) => image.config_digest.as_ref().map(Digest::to_string).unwrap_or_default(),
            });
        ConvertError::SeveralImages {
            path: self.container.path().to_owned(),
            found: listed(names.collect()),
        }
    }
}

/// Those of the candidates that are called `wanted`.
fn named(
    container: &Container,
    mut all: Vec<Candidate>,
    wanted: &str,
    is_docker: bool,
) -> Result<Vec<Candidate>, ConvertError> {
    let found = || {
        listed(
            all.iter()
                .flat_map(|candidate| candidate.names.iter().cloned())
                .collect(),
        )
    };
    let not_found = ConvertError::NoImage {
        path: container.path().to_owned(),
        wanted: wanted.to_owned(),
        found: found(),
    };
    all.retain(|candidate| {
        let digest = match &candidate.kind {
            Kind::Manifest(descriptor) => Some(descriptor.digest.to_string()),
            Kind::Loaded(image) => image.config_digest.as_ref().map(Digest::to_string),
        };
        let is_meant = |name: &String| name == wanted || is_docker && *name == with_tag(wanted);
        candidate.names.iter().any(is_meant) || digest.as_deref() == Some(wanted)
    });
    for candidate in &mut all {
        // What was asked for is what it is called by.
        candidate.names = vec![if is_docker { with_tag(wanted) } else { wanted.to_owned() }];
        if let Kind::Loaded(image) = &mut candidate.kind {
            image.names.clone_from(&candidate.names);
        }
    }
    if all.is_empty() { Err(not_found) } else { Ok(all) }
}

/// Docker's names have a tag, `latest` where none is written.
fn with_tag(name: &str) -> String {
    let last = name.rsplit_once('/').map_or(name, |(_, last)| last);
    if last.contains(':') {
        name.to_owned()
    } else {
        format!("{name}:latest")
    }
}

pub(super) fn listed(names: BTreeSet<String>) -> String {
    if names.is_empty() {
        return "none with a name".to_owned();
    }
    let more = names.len().saturating_sub(20);
    let shown: Vec<_> = names.iter().take(20).map(|name| format!("`{name}`")).collect();
    match more {
        0 => shown.join(", "),
        more => format!("{} and {more} more", shown.join(", ")),
    }
}
