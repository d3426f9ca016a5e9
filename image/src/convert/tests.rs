//! Layouts and archives that are written by hand, converted.

mod docker;
mod hostile;
mod round_trip;

use std::{
    collections::BTreeMap,
    fs,
    io::{self, Write},
    path::{Path, PathBuf},
};

use serde_json::{Value, json};
use tempfile::TempDir;

use super::{
    AciOptions, ConvertError, Converted, ExportOptions, ImageLocation, Images, OciPlatform,
    digest::Digest,
    document::{OCI_CONFIG, OCI_INDEX, OCI_LAYER, OCI_MANIFEST},
    export, keep_layers, squash,
};
use crate::{
    App, Compression, Compressor, Decompressor, Entry, EntryKind, ImageManifest, Isolator, Limits, Name, RootfsPath,
    TarReader, TarWriter,
};

/// A layout that is written by hand, so that everything in it can be wrong.
struct Layout {
    directory: TempDir,
}

impl Layout {
    fn new() -> Self {
        let layout = Self {
            directory: tempfile::tempdir().unwrap(),
        };
        layout.write("oci-layout", br#"{"imageLayoutVersion":"1.0.0"}"#);
        layout
    }

    fn path(&self) -> &Path {
        self.directory.path()
    }

    fn location(&self) -> ImageLocation {
        format!("oci:{}", self.path().display()).parse().unwrap()
    }

    fn write(&self, name: &str, bytes: &[u8]) {
        let path = self.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, bytes).unwrap();
    }

    fn blob(&self, media_type: &str, bytes: &[u8]) -> Value {
        let digest = Digest::of(bytes);
        self.write(&digest.blob_path(), bytes);
        json!({ "mediaType": media_type, "digest": digest.to_string(), "size": bytes.len() })
    }

    fn index(&self, manifests: &[Value]) {
        let index = json!({ "schemaVersion": 2, "manifests": manifests });
        self.write("index.json", index.to_string().as_bytes());
    }

    /// One image of these layers, each an uncompressed tar.
    fn image(&self, layers: &[Vec<u8>], mut config: Value) -> Value {
        let diff_ids: Vec<_> = layers.iter().map(|layer| Digest::of(layer).to_string()).collect();
        config["rootfs"] = json!({ "type": "layers", "diff_ids": diff_ids });
        let layers: Vec<_> = layers.iter().map(|layer| self.blob(OCI_LAYER, layer)).collect();
        let config = self.blob(OCI_CONFIG, config.to_string().as_bytes());
        self.manifest(&config, &layers)
    }

    fn manifest(&self, config: &Value, layers: &[Value]) -> Value {
        let manifest = json!({ "schemaVersion": 2, "mediaType": OCI_MANIFEST, "config": config, "layers": layers });
        let descriptor = self.blob(OCI_MANIFEST, manifest.to_string().as_bytes());
        self.index(std::slice::from_ref(&descriptor));
        descriptor
    }

    fn convert(&self) -> Result<(Converted, Vec<u8>), ConvertError> {
        let images = Images::open(&self.location(), Limits::default())?;
        let image = images.select(None)?;
        let mut aci = Vec::new();
        let converted = squash(&images, &image, &aci_options(), &mut aci)?;
        Ok((converted, aci))
    }
}

fn aci_options() -> AciOptions {
    AciOptions {
        name: Some(Name::new("example.com/app").unwrap()),
        labels: Vec::new(),
        compression: Compression::None,
        source_date_epoch: None,
        limits: Limits::default(),
    }
}

fn export_options() -> ExportOptions {
    ExportOptions {
        compression: None,
        platform: "linux/amd64".parse().unwrap(),
        source_date_epoch: None,
        limits: Limits::default(),
    }
}

fn file(path: &str) -> Entry {
    Entry {
        kind: EntryKind::File { size: 3 },
        path: RootfsPath::new(path.as_bytes()).unwrap(),
        mode: 0o640,
        uid: 1,
        gid: 2,
        mtime: 1_000_000_000,
        mtime_nanoseconds: 5,
        xattrs: BTreeMap::from([(b"user.x".to_vec(), b"\n\0".to_vec())]),
    }
}

fn directory(path: &str) -> Entry {
    Entry {
        kind: EntryKind::Directory,
        ..file(path)
    }
}

fn symlink(path: &str, target: &str) -> Entry {
    Entry {
        kind: EntryKind::Symlink { target: target.into() },
        ..file(path)
    }
}

fn hard_link(path: &str, target: &str) -> Entry {
    let target = RootfsPath::new(target.as_bytes()).unwrap();
    Entry {
        kind: EntryKind::HardLink { target },
        ..file(path)
    }
}

fn layer(entries: &[Entry]) -> Vec<u8> {
    let mut writer = TarWriter::of_layer(Vec::new());
    for entry in entries {
        writer
            .append(entry, &b"abc"[..usize::try_from(entry.size()).unwrap()])
            .unwrap();
    }
    writer.finish().unwrap()
}

/// A tar of one empty file with this name, or link, as the writer would not write it.
fn raw(kind: tar::EntryType, name: &[u8], link: &[u8], size: u64) -> Vec<u8> {
    let mut header = tar::Header::new_ustar();
    header.set_entry_type(kind);
    header.set_mode(0o644);
    header.set_size(size);
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(0);
    header.as_old_mut().name[..name.len()].copy_from_slice(name);
    header.as_old_mut().linkname[..link.len()].copy_from_slice(link);
    header.set_cksum();
    [header.as_bytes().as_slice(), &[0; 1024]].concat()
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut compressor = Compressor::new(Compression::Gzip, Vec::new()).unwrap();
    compressor.write_all(bytes).unwrap();
    compressor.finish().unwrap()
}

fn config() -> Value {
    json!({ "os": "linux", "architecture": "amd64", "config": { "Cmd": ["/bin/app"] } })
}

/// What an ACI holds, as `path kind`.
fn listed(aci: &[u8]) -> Vec<String> {
    let mut tar = TarReader::new(Decompressor::new(aci).unwrap());
    let mut list = Vec::new();
    while let Some(entry) = tar.next_entry().unwrap() {
        tar.take_framing();
        list.push(match &entry.kind {
            EntryKind::Manifest { .. } => "manifest".to_owned(),
            EntryKind::HardLink { target } => format!("{}={target}", entry.path),
            EntryKind::File { .. } => format!("{} {}", entry.path, tar.read_content_to_end().unwrap().len()),
            _ => entry.path.to_string(),
        });
    }
    list
}
