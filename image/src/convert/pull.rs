//! [`ImagePull`]: which blobs of a registry an image needs, told document by document.

use std::{collections::BTreeSet, path::PathBuf};

use serde_json::Value;

use super::{
    ConvertError, MAX_DOCUMENT, OciPlatform,
    digest::Digest,
    document::{
        DOCKER_INDEX, DOCKER_MANIFEST, Descriptor, Index, Manifest, OCI_INDEX, OCI_MANIFEST, REF_NAME, parse, to_json,
    },
    source::{
        listed,
        oci::{MAX_DEPTH, MAX_IMAGES, MAX_LAYERS, check_layer},
    },
};
use crate::archive::Limits;

/// The way from what a registry calls an image to its blobs, for one platform.
///
/// Whoever fetches gives it the document that the registry has for the tag, and then each that it asks for, verified,
/// until it knows the blobs. It opens no connection and no file, and believes no size beyond its bounds.
#[derive(Clone, Debug)]
pub struct ImagePull {
    name: String,
    platform: Option<OciPlatform>,
    depth: usize,
}

/// A blob of a registry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Blob {
    /// What its content must have.
    pub digest: Digest,
    /// How many bytes it must have.
    pub size: u64,
}

/// What is needed next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Needed {
    /// Another document: the manifest for the platform, or an index that has it.
    Document(Blob),
    /// The configuration and the layers, and nothing beyond them.
    Blobs(Vec<Blob>),
}

impl ImagePull {
    /// No document that is longer, in bytes, is believed.
    pub const MAX_DOCUMENT: u64 = MAX_DOCUMENT;

    /// The media types of the documents that it understands.
    pub const MEDIA_TYPES: [&str; 4] = [OCI_MANIFEST, OCI_INDEX, DOCKER_MANIFEST, DOCKER_INDEX];

    /// Begins. `name` is what the image will be called by, as in `example.com/app:1.0`. Where no platform is given and
    /// there are images for several, that for this machine is meant.
    pub fn new(name: String, platform: Option<OciPlatform>) -> Self {
        Self {
            name,
            platform,
            depth: 0,
        }
    }

    /// Reads a document that has this digest.
    pub fn read(&mut self, digest: &Digest, json: &[u8]) -> Result<Needed, ConvertError> {
        let digest = digest.to_string();
        match kind(&digest, json)? {
            Kind::Index => self.index(&digest, parse(&digest, json)?).map(Needed::Document),
            Kind::Manifest => blobs(&digest, parse(&digest, json)?).map(Needed::Blobs),
        }
    }

    fn index(&mut self, digest: &str, index: Index) -> Result<Blob, ConvertError> {
        self.depth += 1;
        if self.depth > MAX_DEPTH {
            let problem = "is an index in an index in an index, deeper than 4: perhaps they go in circles";
            return Err(ConvertError::invalid(digest, problem));
        }
        if index.manifests.len() > MAX_IMAGES {
            return Err(ConvertError::invalid(digest, "leads to over 1000 images"));
        }
        let wanted = self.platform.clone().unwrap_or_else(OciPlatform::host);
        let mut found = BTreeSet::new();
        let mut inner = None;
        for descriptor in index.manifests {
            match &descriptor.platform {
                Some(platform) if wanted.accepts(platform) => return document(&descriptor),
                // Attestations stand among the images, for the platform unknown/unknown.
                Some(platform) if platform.os == "unknown" => {}
                Some(platform) => drop(found.insert(platform.to_string())),
                // What does not say what it is for may hold the image that is meant, if nothing else does.
                None => drop(inner.get_or_insert(descriptor)),
            }
        }
        match inner {
            Some(descriptor) => document(&descriptor),
            None => Err(ConvertError::NoPlatform {
                path: PathBuf::from(&self.name),
                wanted: wanted.to_string(),
                found: listed(found),
            }),
        }
    }

    /// The `index.json` of an OCI layout in which the image is the only one.
    pub fn layout_index(&self, digest: &Digest, json: &[u8]) -> Vec<u8> {
        let media_type = match serde_json::from_slice::<Value>(json) {
            Ok(manifest) if manifest["mediaType"] == DOCKER_MANIFEST => DOCKER_MANIFEST,
            _ => OCI_MANIFEST,
        };
        let index = Index {
            manifests: vec![Descriptor {
                annotations: Some([(REF_NAME.to_owned(), self.name.clone())].into()),
                digest: digest.clone(),
                media_type: media_type.to_owned(),
                platform: None,
                size: json.len() as u64,
                urls: None,
            }],
            media_type: Some(OCI_INDEX.to_owned()),
            schema_version: 2,
        };
        to_json(&index)
    }
}

enum Kind {
    Index,
    Manifest,
}

/// What a document is. One that could be read as either is neither: whoever signs or scans the one would not have
/// seen the other.
fn kind(digest: &str, json: &[u8]) -> Result<Kind, ConvertError> {
    let value: Value = parse(digest, json)?;
    if !value.get("fsLayers").is_none_or(Value::is_null) || value["schemaVersion"] == 1 {
        let problem = "is a manifest of schema 1, which Docker gave up in 2017 and which no digest verifies";
        return Err(ConvertError::invalid(digest, problem));
    }
    let is_index = value.get("manifests").is_some();
    let is_manifest = value.get("layers").is_some() || value.get("config").is_some();
    let fits = |types: [&str; 2]| match &value["mediaType"] {
        Value::Null => true,
        Value::String(said) => types.contains(&said.as_str()),
        _ => false,
    };
    match (is_index, is_manifest) {
        (true, false) if fits([OCI_INDEX, DOCKER_INDEX]) => Ok(Kind::Index),
        (false, true) if fits([OCI_MANIFEST, DOCKER_MANIFEST]) => Ok(Kind::Manifest),
        (true, true) => Err(ConvertError::invalid(digest, "is both an index and a manifest")),
        _ => Err(ConvertError::invalid(digest, "is neither an index nor a manifest")),
    }
}

fn blobs(digest: &str, manifest: Manifest) -> Result<Vec<Blob>, ConvertError> {
    if manifest.layers.len() > MAX_LAYERS {
        return Err(ConvertError::invalid(digest, "has over 1000 layers"));
    }
    manifest.layers.iter().try_for_each(check_layer)?;
    let mut blobs = vec![document(&manifest.config)?];
    let mut left = Limits::default().tar_size;
    for layer in manifest.layers {
        left = left
            .checked_sub(layer.size)
            .ok_or_else(|| ConvertError::invalid(digest, "has layers of more than 64 GiB"))?;
        let blob = Blob {
            digest: layer.digest,
            size: layer.size,
        };
        // A layer may be there twice, as an empty one is.
        match blobs.iter().find(|other| other.digest == blob.digest) {
            None => blobs.push(blob),
            Some(other) if other.size == blob.size => {}
            Some(_) => {
                let problem = "is given with two different sizes";
                return Err(ConvertError::invalid(blob.digest.to_string(), problem));
            }
        }
    }
    Ok(blobs)
}

fn document(descriptor: &Descriptor) -> Result<Blob, ConvertError> {
    if descriptor.size > MAX_DOCUMENT {
        let problem = "is over 4 MiB, which no honest document is";
        return Err(ConvertError::invalid(descriptor.digest.to_string(), problem));
    }
    Ok(Blob {
        digest: descriptor.digest.clone(),
        size: descriptor.size,
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn entry(letter: char, platform: Option<&str>) -> Value {
        let mut entry = json!({
            "mediaType": OCI_MANIFEST, "size": 7, "digest": format!("sha256:{}", letter.to_string().repeat(64)),
        });
        if let Some((os, architecture)) = platform.and_then(|platform| platform.split_once('/')) {
            entry["platform"] = json!({"os": os, "architecture": architecture});
        }
        entry
    }

    fn read(pull: &mut ImagePull, document: &Value) -> Result<Needed, ConvertError> {
        let json = document.to_string();
        pull.read(&Digest::of(json.as_bytes()), json.as_bytes())
    }

    fn pull(platform: &str) -> ImagePull {
        ImagePull::new("example.com/app:1".to_owned(), Some(platform.parse().unwrap()))
    }

    fn chosen(needed: Result<Needed, ConvertError>) -> String {
        match needed {
            Ok(Needed::Document(blob)) => blob.digest.hex()[..1].to_owned(),
            Ok(Needed::Blobs(blobs)) => format!("{} blobs", blobs.len()),
            Err(error) => error.to_string(),
        }
    }

    #[test]
    fn an_index_is_read_for_the_platform() {
        let index = json!({"schemaVersion": 2, "manifests": [
            entry('a', Some("unknown/unknown")), entry('b', Some("linux/amd64")), entry('c', Some("linux/arm64")),
        ]});
        assert_eq!(chosen(read(&mut pull("linux/arm64"), &index)), "c");
        let missing = chosen(read(&mut pull("linux/s390x"), &index));
        assert_eq!(
            missing,
            "`example.com/app:1` has no image for linux/s390x; it has `linux/amd64`, `linux/arm64`"
        );
        let nested = json!({"schemaVersion": 2, "manifests": [entry('a', Some("linux/386")), entry('d', None)]});
        let mut looping = pull("linux/amd64");
        for _ in 0..4 {
            assert_eq!(chosen(read(&mut looping, &nested)), "d");
        }
        assert!(chosen(read(&mut looping, &nested)).contains("perhaps they go in circles"));
    }

    #[test]
    fn a_manifest_gives_its_blobs_once() {
        let layer = |letter: char, size: u64| {
            json!({"mediaType": "application/vnd.oci.image.layer.v1.tar+gzip", "size": size,
                   "digest": format!("sha256:{}", letter.to_string().repeat(64))})
        };
        let manifest = |layers: Vec<Value>| {
            json!({"schemaVersion": 2, "layers": layers, "config": {
                "mediaType": "application/vnd.oci.image.config.v1+json", "size": 2,
                "digest": format!("sha256:{}", "0".repeat(64)),
            }})
        };
        let read = |document: &Value| chosen(read(&mut pull("linux/amd64"), document));
        assert_eq!(
            read(&manifest(vec![layer('a', 1), layer('b', 2), layer('a', 1)])),
            "3 blobs"
        );
        assert!(read(&manifest(vec![layer('a', 1), layer('a', 2)])).contains("two different sizes"));
        assert!(read(&manifest(vec![layer('a', 40 << 30), layer('b', 40 << 30)])).contains("more than 64 GiB"));
        assert!(read(&manifest(vec![layer('a', 1); 1001])).contains("over 1000 layers"));
        let mut foreign = layer('a', 1);
        foreign["urls"] = json!(["https://example.com/layer"]);
        assert!(read(&manifest(vec![foreign])).contains("is a foreign layer"));
        let mut both = manifest(vec![layer('a', 1)]);
        both["manifests"] = json!([]);
        assert!(read(&both).contains("is both an index and a manifest"));
        let mut lying = manifest(vec![layer('a', 1)]);
        lying["mediaType"] = json!(OCI_INDEX);
        assert!(read(&lying).contains("is neither"));
        assert!(read(&json!({"schemaVersion": 1, "fsLayers": []})).contains("schema 1"));
        assert!(read(&json!("hello")).contains("is neither"));
    }
}
