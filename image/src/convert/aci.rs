//! From OCI and Docker to App Container Images.

use std::io::{self, Write};

use super::{
    ConvertError, FoundImage, Images,
    config::{describe, original_manifest},
    container::Container,
    layer::{Budget, Layer, LayerEntries},
    packing::{AppendError, Packed, Packer},
    plan::{OutputKind, Outputs, Plan, Position},
};
use crate::{
    archive::{ArchiveError, Compression, EntryKind, Limits},
    image_id::ImageId,
    label::{Label, Labels},
    manifest::{Dependency, ImageManifest},
    name::Name,
};

/// What an ACI may hold of a manifest, whose list of paths can grow long.
const MAX_MANIFEST: usize = 4 << 20;

/// How an ACI is made.
#[derive(Clone, Debug)]
pub struct AciOptions {
    /// Its name, instead of one made of what the image is called.
    pub name: Option<Name>,
    /// Labels that it gets, or gets other values of.
    pub labels: Vec<Label>,
    /// How the archive is compressed.
    pub compression: Compression,
    /// The time of the manifest's entry, in seconds since 1970 (reproducible-builds.org, `SOURCE_DATE_EPOCH`); 0
    /// where absent. Files keep theirs.
    pub source_date_epoch: Option<i64>,
    /// What all layers together may have of names and of uncompressed bytes.
    pub limits: Limits,
}

/// An ACI that was made.
#[derive(Clone, Debug)]
pub struct Converted {
    /// The image ID.
    pub id: ImageId,
    /// Its manifest.
    pub manifest: ImageManifest,
    /// How many entries its root file system has.
    pub entries: u64,
    /// How many bytes the uncompressed tar has.
    pub tar_size: u64,
    /// What the image said that an ACI has no place for, each a sentence.
    pub notes: Vec<String>,
}

/// One layer that was made an ACI of.
#[derive(Clone, Debug)]
pub struct LayerAci {
    /// The file that it was written to.
    pub file_name: String,
    /// What was written.
    pub converted: Converted,
}

/// Makes one ACI of an image, with all of its layers laid over each other.
pub fn squash(
    images: &Images,
    image: &FoundImage,
    options: &AciOptions,
    out: impl Write,
) -> Result<Converted, ConvertError> {
    let (manifest, json, notes) = manifest_of(images, image, options)?;
    let mut plan = Plan::new();
    let budget = Budget::new(options.limits.tar_size);
    for (layer, number) in image.layers.iter().zip(0..) {
        apply(&images.container, layer, number, &mut plan, options.limits, &budget)?;
    }
    let packed = pack(&images.container, &image.layers, plan.all(), &json, options, out)?;
    Ok(converted(packed, manifest, notes))
}

/// Makes one ACI of each layer, from the bottom up, each of which depends on the one beneath by its image ID. Layers
/// that delete have a list of the paths that are left (`pathWhitelist`).
///
/// `create` opens the file of that name, which is `image.aci` for the topmost.
pub fn keep_layers<W: Write>(
    images: &Images,
    image: &FoundImage,
    options: &AciOptions,
    mut create: impl FnMut(&str) -> io::Result<W>,
) -> Result<Vec<LayerAci>, ConvertError> {
    const TOP: &str = "image.aci";
    if image.layers.len() <= 1 {
        let out = create(TOP).map_err(ConvertError::Output)?;
        let converted = squash(images, image, options, out)?;
        return Ok(vec![LayerAci {
            file_name: TOP.to_owned(),
            converted,
        }]);
    }
    let described = describe(&images.location, image, options.name.as_ref(), &options.labels)?;
    let (top, notes) = (described.manifest, described.notes);
    let mut plan = Plan::new();
    let mut made: Vec<LayerAci> = Vec::new();
    let budget = Budget::new(options.limits.tar_size);
    for (layer, number) in image.layers.iter().zip(0u32..) {
        apply(&images.container, layer, number, &mut plan, options.limits, &budget)?;
        let is_top = made.len() + 1 == image.layers.len();
        let hex = layer_hex(layer);
        let mut manifest = if is_top {
            top.clone()
        } else {
            lower_manifest(&top, &hex)?
        };
        if let Some(beneath) = made.last() {
            let mut dependency = Dependency::new(beneath.converted.manifest.name.clone());
            dependency.image_id = Some(beneath.converted.id);
            dependency.labels = beneath.converted.manifest.labels.clone();
            manifest.dependencies.push(dependency);
        }
        if plan.hides_lower() {
            manifest.path_whitelist = whitelist(&plan, layer)?;
        }
        let json = manifest.to_json()?;
        if json.len() > MAX_MANIFEST {
            let problem = "deletes, and leaves more paths than a manifest of 4 MiB can list: squash the layers";
            return Err(ConvertError::invalid(layer.name(), problem));
        }
        let short = &hex[..hex.len().min(12)];
        let file_name = if is_top {
            TOP.to_owned()
        } else {
            format!("{number:03}-{short}.aci")
        };
        let out = create(&file_name).map_err(ConvertError::Output)?;
        let packed = pack(&images.container, &image.layers, plan.of_layer(), &json, options, out)?;
        let notes = if is_top { notes.clone() } else { Vec::new() };
        made.push(LayerAci {
            file_name,
            converted: converted(packed, manifest, notes),
        });
    }
    Ok(made)
}

/// The manifest, as it is written too: word for word that of the ACI which the image was made from, if there is one.
fn manifest_of(
    images: &Images,
    image: &FoundImage,
    options: &AciOptions,
) -> Result<(ImageManifest, Vec<u8>, Vec<String>), ConvertError> {
    if let Some((mut manifest, json)) = original_manifest(image) {
        if options.name.is_none() && options.labels.is_empty() {
            return Ok((manifest, json, Vec::new()));
        }
        if let Some(name) = &options.name {
            manifest.name = name.clone();
        }
        let mut labels: Vec<Label> = manifest.labels.into();
        for label in &options.labels {
            labels.retain(|old| old.name != label.name);
            labels.push(label.clone());
        }
        manifest.labels =
            Labels::try_from(labels).map_err(|error| ConvertError::invalid("--label", error.to_string()))?;
        let json = manifest.to_json()?;
        return Ok((manifest, json, Vec::new()));
    }
    let described = describe(&images.location, image, options.name.as_ref(), &options.labels)?;
    let json = described.manifest.to_json()?;
    Ok((described.manifest, json, described.notes))
}

/// A layer that nobody runs: named by its content, for the same platform.
fn lower_manifest(top: &ImageManifest, hex: &str) -> Result<ImageManifest, ConvertError> {
    let text = format!("{}-{hex}", top.name);
    let name = Name::new(text.clone()).map_err(|source| ConvertError::Name { text, source })?;
    let mut manifest = ImageManifest::new(name);
    let labels = top
        .labels
        .iter()
        .filter(|label| matches!(label.name.as_str(), "os" | "arch"));
    manifest.labels = Labels::try_from(labels.cloned().collect::<Vec<_>>()).expect("no label is there twice");
    Ok(manifest)
}

/// What tells a layer from others: the digest of its tar, else of its blob, else the ID in its name.
fn layer_hex(layer: &Layer) -> String {
    let digest = layer.diff_id.as_ref().or(layer.blob.as_ref().map(|(digest, _)| digest));
    match digest {
        Some(digest) => digest.hex().to_owned(),
        None => layer.file.split('/').next().unwrap_or_default().to_lowercase(),
    }
}

fn whitelist(plan: &Plan, layer: &Layer) -> Result<Vec<String>, ConvertError> {
    let text = |path: crate::RootfsPath| match std::str::from_utf8(path.as_bytes()) {
        Ok(text) => Ok(format!("/{text}")),
        Err(_) => {
            let problem = format!("deletes, and leaves `{path}`, which no list of paths can hold: squash the layers");
            Err(ConvertError::invalid(layer.name(), problem))
        }
    };
    let mut paths = plan.paths().map(text).collect::<Result<Vec<_>, _>>()?;
    paths.sort();
    // An empty list would mean that everything stays.
    if paths.is_empty() {
        paths.push("/".to_owned());
    }
    Ok(paths)
}

/// Reads a layer to its end, for its names alone.
fn apply(
    container: &Container,
    layer: &Layer,
    number: u32,
    plan: &mut Plan,
    limits: Limits,
    budget: &Budget,
) -> Result<(), ConvertError> {
    let mut entries = layer.open(container, budget)?;
    plan.begin_layer(number);
    while let Some(entry) = entries.next_entry()? {
        // What says that it is larger need not be read to see that.
        if let EntryKind::File { size } = entry.kind
            && size > budget.left()
        {
            return Err(ConvertError::Layer {
                layer: layer.name(),
                source: budget.spent(),
            });
        }
        plan.apply(&entry).map_err(|problem| entries.refuse(&entry, problem))?;
        if plan.len() > limits.names {
            return Err(ConvertError::Layer {
                layer: layer.name(),
                source: ArchiveError::TooLarge {
                    what: "names",
                    limit: limits.names as u64,
                },
            });
        }
    }
    entries.finish()
}

/// Writes an ACI, reading the layers once more for their contents.
fn pack(
    container: &Container,
    layers: &[Layer],
    outputs: Outputs<'_>,
    manifest: &[u8],
    options: &AciOptions,
    out: impl Write,
) -> Result<Packed, ConvertError> {
    let mut packer = Packer::new(
        out,
        options.compression,
        manifest,
        options.source_date_epoch.unwrap_or(0),
    )?;
    let mut reading: Option<Reading> = None;
    let budget = Budget::new(options.limits.tar_size);
    for output in outputs {
        let target = match output.what {
            OutputKind::Directory(entry) => {
                packer.append(&entry, io::empty()).map_err(|error| match error {
                    AppendError::Output(error) | AppendError::Content(error) => ConvertError::Output(error),
                })?;
                continue;
            }
            OutputKind::Same => None,
            OutputKind::LinkTo(target) => Some(target),
        };
        let number = output.at.layer;
        let layer = &layers[number as usize];
        let current = match reading.take() {
            Some(current) if current.number == number => current,
            other => {
                other.map_or(Ok(()), |done| done.entries.finish())?;
                Reading {
                    number,
                    next: 0,
                    entries: layer.open(container, &budget)?,
                }
            }
        };
        let current = reading.insert(current);
        let mut entry = current.read_to(output.at, layer)?;
        entry.path = output.path;
        if let Some(target) = target {
            entry.kind = EntryKind::HardLink { target };
        }
        packer
            .append(&entry, current.entries.content())
            .map_err(|error| match error {
                AppendError::Output(error) => ConvertError::Output(error),
                AppendError::Content(error) => ConvertError::Layer {
                    layer: layer.name(),
                    source: error.into(),
                },
            })?;
    }
    reading.map_or(Ok(()), |last| last.entries.finish())?;
    packer.finish()
}

/// A layer that is read for the second time, for the contents of some of its entries.
struct Reading {
    number: u32,
    next: u32,
    entries: LayerEntries,
}

impl Reading {
    fn read_to(&mut self, at: Position, layer: &Layer) -> Result<crate::Entry, ConvertError> {
        loop {
            let entry = self.entries.next_entry()?.ok_or_else(|| ConvertError::Layer {
                layer: layer.name(),
                source: ArchiveError::Truncated,
            })?;
            self.next += 1;
            if self.next == at.entry + 1 {
                return Ok(entry);
            }
        }
    }
}

fn converted(packed: Packed, manifest: ImageManifest, notes: Vec<String>) -> Converted {
    Converted {
        id: packed.id,
        manifest,
        entries: packed.entries,
        tar_size: packed.tar_size,
        notes,
    }
}
