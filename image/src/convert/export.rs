//! From App Container Images to OCI and Docker.

mod docker_archive;
mod layout;

use std::{
    collections::{BTreeMap, HashSet},
    fs::File,
    io::{self, BufWriter, Read},
    path::Path,
};

use sha2::Sha256;
use tempfile::NamedTempFile;

use super::{
    ConvertError, ImageLocation, OciPlatform,
    blob::{directory_of, make_directory, temporary, write_error},
    config::config_of,
    container::{not_a, read_error},
    digest::Digest,
    document::{ImageConfig, RootFs},
    packing::Watched,
};
use crate::{
    archive::{
        ArchiveError, Compression, Compressor, Decompressor, DigestWriter, EntryKind, Limits, RootfsPath, TarReader,
        TarWriter,
    },
    manifest::ImageManifest,
};

/// How an image of OCI or Docker is made.
#[derive(Clone, Debug)]
pub struct ExportOptions {
    /// How the layer is compressed; where absent, with gzip for OCI and not at all for Docker, as their own tools do.
    pub compression: Option<Compression>,
    /// What the image runs on, where its labels do not say.
    pub platform: OciPlatform,
    /// When it was created, in seconds since 1970, where its annotation does not say; 0 where this is absent too.
    pub source_date_epoch: Option<i64>,
    /// What the ACI may have of names and of uncompressed bytes.
    pub limits: Limits,
}

/// What was made.
#[derive(Clone, Debug)]
pub struct Exported {
    /// The digest of its OCI manifest; for a Docker archive that of its configuration, which Docker calls its image ID.
    pub digest: String,
    /// What it is called there.
    pub name: String,
    /// What the ACI said that the other format has no place for, each a sentence.
    pub notes: Vec<String>,
}

/// Makes an image of one layer of an ACI, and writes it to `destination`. A layout keeps the other images that it has;
/// an archive is replaced.
///
/// The ACI's manifest travels with it word for word, so that the way back gives the same ACI.
pub fn export(aci: &Path, destination: &ImageLocation, options: &ExportOptions) -> Result<Exported, ConvertError> {
    let (manifest, json) = read_manifest(aci, options.limits)?;
    let (mut config, notes) = config_of(&manifest, &options.platform);
    let epoch = options.source_date_epoch.unwrap_or(0);
    let created = config.created.get_or_insert_with(|| rfc3339(epoch)).clone();
    config.history = Some(vec![
        serde_json::json!({ "created": created, "created_by": "dhow convert" }),
    ]);

    let image = |layer: PackedLayer| ExportedImage {
        config: with_layer(config, &layer),
        manifest: &manifest,
        manifest_json: json,
        layer,
        epoch,
    };
    let (path, default) = match destination {
        ImageLocation::Aci(path) => {
            return Err(not_a(
                path,
                "place for an OCI or Docker image",
                "it is meant as an App Container Image",
            ));
        }
        ImageLocation::OciLayout { path, .. } | ImageLocation::OciArchive { path, .. } => (path, Compression::Gzip),
        ImageLocation::DockerArchive { path, .. } => (path, Compression::None),
    };
    let directory = match destination {
        ImageLocation::OciLayout { path, .. } => {
            layout::check(path)?;
            path.clone()
        }
        _ => directory_of(path),
    };
    make_directory(&directory)?;
    let compression = options.compression.unwrap_or(default);
    let layer = pack_layer(aci, &manifest, &directory, compression, options.limits)?;
    let image = image(layer);
    let version = manifest.labels.get("version");
    let (digest, name) = match destination {
        ImageLocation::OciLayout { path, tag } => layout::write(path, image, tag.as_deref().or(version))?,
        ImageLocation::OciArchive { path, tag } => layout::write_archive(path, image, tag.as_deref().or(version))?,
        ImageLocation::DockerArchive { path, name } => docker_archive::write(path, image, name.as_deref())?,
        ImageLocation::Aci(_) => unreachable!("an ACI was refused above"),
    };
    Ok(Exported { digest, name, notes })
}

/// An image, ready to be written in one of the forms.
struct ExportedImage<'a> {
    config: ImageConfig,
    manifest: &'a ImageManifest,
    manifest_json: String,
    layer: PackedLayer,
    epoch: i64,
}

/// A layer in a temporary file.
struct PackedLayer {
    file: NamedTempFile,
    compression: Compression,
    digest: Digest,
    size: u64,
    diff_id: Digest,
}

fn with_layer(mut config: ImageConfig, layer: &PackedLayer) -> ImageConfig {
    config.rootfs = Some(RootFs {
        diff_ids: vec![layer.diff_id.clone()],
        kind: "layers".to_owned(),
    });
    config
}

/// Reads as far as the manifest, which says whether the rest is of any use.
fn read_manifest(aci: &Path, limits: Limits) -> Result<(ImageManifest, String), ConvertError> {
    let in_aci = |source| aci_error(aci, source);
    let mut tar = open(aci, limits)?;
    while let Some(entry) = tar.next_entry().map_err(in_aci)? {
        tar.take_framing();
        if !matches!(entry.kind, EntryKind::Manifest { .. }) {
            continue;
        }
        let json = tar.read_content_to_end().map_err(in_aci)?;
        let manifest = ImageManifest::from_json(&json).map_err(|error| in_aci(error.into()))?;
        if !manifest.dependencies.is_empty() {
            let names = manifest.dependencies.iter().map(|one| format!("`{}`", one.image_name));
            return Err(ConvertError::Dependencies {
                path: aci.to_owned(),
                dependencies: names.collect::<Vec<_>>().join(", "),
            });
        }
        let json = String::from_utf8(json).map_err(|_| ConvertError::invalid("manifest", "is not UTF-8"))?;
        return Ok((manifest, json));
    }
    Err(in_aci(ArchiveError::NoManifest))
}

/// Makes a layer of the root file system.
fn pack_layer(
    aci: &Path,
    manifest: &ImageManifest,
    directory: &Path,
    compression: Compression,
    limits: Limits,
) -> Result<PackedLayer, ConvertError> {
    let in_aci = |source| aci_error(aci, source);
    let in_directory = write_error(directory);
    let file = temporary(directory)?;
    let blob = DigestWriter::<_, Sha256>::new(BufWriter::with_capacity(128 << 10, file));
    let compressor = Compressor::new(compression, blob).map_err(&in_directory)?;
    let mut layer = TarWriter::of_layer(DigestWriter::<_, Sha256>::new(compressor));
    let mut whitelist = Whitelist::new(manifest);
    let mut tar = open(aci, limits)?;
    while let Some(entry) = tar.next_entry().map_err(in_aci)? {
        tar.take_framing();
        if matches!(entry.kind, EntryKind::Manifest { .. }) {
            continue;
        }
        if !whitelist.keeps(&entry.path, &entry.kind)? {
            continue;
        }
        if let Some(part) = entry.path.parts().find(|part| part.starts_with(b".wh.")) {
            let part = String::from_utf8_lossy(part).escape_debug().to_string();
            let problem = format!("has a part `{part}`, which in a layer would delete a file");
            return Err(ConvertError::invalid(entry.path.to_string(), problem));
        }
        let mut content = Watched {
            inner: Content(&mut tar),
            has_failed: false,
        };
        let appended = layer.append(&entry, &mut content);
        appended.map_err(|error| match content.has_failed {
            true => in_aci(error.into()),
            false => in_directory(error),
        })?;
    }
    let (diff_id, _, compressor) = layer.finish().map_err(&in_directory)?.finish();
    let (digest, size, blob) = compressor.finish().map_err(&in_directory)?.finish();
    let file = blob.into_inner().map_err(|error| in_directory(error.into_error()))?;
    Ok(PackedLayer {
        file,
        compression,
        digest: Digest::from_sha256(digest),
        size,
        diff_id: Digest::from_sha256(diff_id),
    })
}

/// The paths that an image without dependencies limits itself to.
struct Whitelist(Option<HashSet<RootfsPath>>);

impl Whitelist {
    fn new(manifest: &ImageManifest) -> Self {
        let paths = manifest
            .path_whitelist
            .iter()
            .filter_map(|path| RootfsPath::new(path.as_bytes()));
        Self((!manifest.path_whitelist.is_empty()).then(|| paths.collect()))
    }

    fn keeps(&mut self, path: &RootfsPath, kind: &EntryKind) -> Result<bool, ConvertError> {
        let Some(paths) = &self.0 else {
            return Ok(true);
        };
        let is_kept = path.is_root() || paths.contains(path);
        if let EntryKind::HardLink { target } = kind
            && is_kept
            && !paths.contains(target)
        {
            let problem = format!("is a hard link to `{target}`, which the image's `pathWhitelist` leaves out");
            return Err(ConvertError::invalid(path.to_string(), problem));
        }
        Ok(is_kept)
    }
}

fn open(aci: &Path, limits: Limits) -> Result<TarReader<Decompressor<File>>, ConvertError> {
    let file = File::open(aci).map_err(read_error(aci))?;
    let tar = Decompressor::new(file).map_err(|source| aci_error(aci, source))?;
    Ok(TarReader::with_limits(tar, limits))
}

fn aci_error(aci: &Path, source: ArchiveError) -> ConvertError {
    ConvertError::Aci {
        path: aci.to_owned(),
        source,
    }
}

/// The content of the current entry.
struct Content<'a, R>(&'a mut TarReader<R>);

impl<R: Read> Read for Content<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.read_content(buffer).map_err(|error| match error {
            ArchiveError::Io(error) => error,
            other => io::Error::new(io::ErrorKind::InvalidData, other),
        })
    }
}

/// A document in the tar of an archive, or the layer.
enum ArchiveFile {
    Directory,
    Bytes(Vec<u8>),
    Layer(NamedTempFile),
}

/// Writes an archive of these files in the order of their names, and puts it in its place.
fn write_tar(path: &Path, epoch: i64, files: BTreeMap<String, ArchiveFile>) -> Result<(), ConvertError> {
    let in_file = write_error(path);
    let temporary = temporary(&directory_of(path))?;
    let mut tar = TarWriter::of_layer(BufWriter::with_capacity(128 << 10, temporary));
    for (name, file) in files {
        let mut entry = crate::Entry {
            kind: EntryKind::Directory,
            path: RootfsPath::new(name.as_bytes()).expect("these names are made of hex digits and words"),
            mode: 0o755,
            uid: 0,
            gid: 0,
            mtime: epoch,
            mtime_nanoseconds: 0,
            xattrs: BTreeMap::new(),
        };
        let appended = match file {
            ArchiveFile::Directory => tar.append(&entry, io::empty()),
            ArchiveFile::Bytes(bytes) => {
                entry.mode = 0o644;
                entry.kind = EntryKind::File {
                    size: bytes.len() as u64,
                };
                tar.append(&entry, bytes.as_slice())
            }
            ArchiveFile::Layer(layer) => {
                entry.mode = 0o644;
                let reopened = layer.reopen().and_then(|file| Ok((file.metadata()?.len(), file)));
                let (size, content) = reopened.map_err(&in_file)?;
                entry.kind = EntryKind::File { size };
                tar.append(&entry, content)
            }
        };
        appended.map_err(&in_file)?;
    }
    let file = tar
        .finish()
        .and_then(|out| out.into_inner().map_err(io::IntoInnerError::into_error));
    super::blob::persist(file.map_err(&in_file)?, path)
}

fn rfc3339(seconds: i64) -> String {
    let time = chrono::DateTime::from_timestamp(seconds, 0).unwrap_or_default();
    time.to_rfc3339_opts(chrono::SecondsFormat::Secs, true)
}
