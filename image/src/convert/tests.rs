//! Whole conversions, and what hostile images come to.

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
    tar::LayerWriter,
};
use crate::{
    App, Compression, Compressor, Decompressor, Entry, EntryKind, ImageManifest, Isolator, Name, RootfsPath, TarReader,
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
        let images = Images::open(&self.location())?;
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
    }
}

fn export_options() -> ExportOptions {
    ExportOptions {
        compression: None,
        platform: "linux/amd64".parse().unwrap(),
        source_date_epoch: None,
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
    let mut writer = LayerWriter::new(Vec::new());
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

#[test]
fn hostile_images_come_to_a_clear_error() {
    use tar::EntryType::{Block, Link, Regular, Symlink, XHeader};
    type Make = Box<dyn Fn(&Layout)>;
    let layers = |layers: Vec<Vec<u8>>| -> Make { Box::new(move |layout| drop(layout.image(&layers, config()))) };
    let tar = |tar: Vec<u8>| layers(vec![tar]);
    let tree = |entries: &[Entry]| tar(layer(entries));
    let with_layer = |change: fn(&Layout, &mut Value)| -> Make {
        Box::new(move |layout| {
            let tar = layer(&[file("a")]);
            let mut descriptor = layout.blob(OCI_LAYER, &tar);
            change(layout, &mut descriptor);
            let mut config = config();
            config["rootfs"] = json!({ "diff_ids": [Digest::of(&tar).to_string()] });
            let config = layout.blob(OCI_CONFIG, config.to_string().as_bytes());
            layout.manifest(&config, &[descriptor]);
        })
    };
    let with_config = |text: String| -> Make {
        Box::new(move |layout| {
            let config = layout.blob(OCI_CONFIG, text.as_bytes());
            layout.manifest(&config, &[]);
        })
    };
    let cases: Vec<(&str, Make, &str)> = vec![
        ("parent", tar(raw(Regular, b"../a", b"", 0)), "`../a`, which has a `..`"),
        ("inner parent", tar(raw(Regular, b"a/../../b", b"", 0)), "has a `..`"),
        ("absolute", tar(raw(Regular, b"/etc/passwd", b"", 0)), "is absolute"),
        ("root as a file", tar(raw(Regular, b".", b"", 0)), "stands for the root"),
        (
            "root as a link",
            tar(raw(Symlink, b"./", b"/etc", 0)),
            "stands for the root",
        ),
        (
            "link out",
            tree(&[symlink("l", "../../etc"), file("l/passwd")]),
            "leads out of the image",
        ),
        (
            "link out, one layer above",
            layers(vec![layer(&[symlink("l", "../..")]), layer(&[file("l/a")])]),
            "leads out of the image",
        ),
        (
            "link to link out",
            tree(&[symlink("a", ".."), symlink("b", "a/.."), file("b/c")]),
            "leads out of the image",
        ),
        (
            "links in a circle",
            tree(&[symlink("a", "b"), symlink("b", "a"), file("a/c")]),
            "perhaps in a circle",
        ),
        (
            "link to nothing",
            tar(raw(Symlink, b"a", b"", 0)),
            "symbolic link to nothing",
        ),
        (
            "hard link out",
            tar(raw(Link, b"a", b"../../etc/shadow", 0)),
            "hard link to outside",
        ),
        (
            "hard link to the root",
            tar(raw(Link, b"a", b"/", 0)),
            "hard link to outside",
        ),
        (
            "hard link to nothing",
            tree(&[hard_link("a", "b")]),
            "no entry before it has made",
        ),
        (
            "hard link to itself",
            tree(&[hard_link("a", "a")]),
            "no entry before it has made",
        ),
        (
            "hard link to a directory",
            tree(&[directory("d"), hard_link("a", "d")]),
            "hard link to a directory",
        ),
        (
            "hard link through a link out",
            tree(&[symlink("l", "../../etc"), hard_link("a", "l/shadow")]),
            "leads out of the image",
        ),
        (
            "below a file",
            tree(&[file("a"), file("a/b")]),
            "beneath what is no directory",
        ),
        ("whiteout of nothing", tree(&[file(".wh.")]), "whiteout of no name"),
        ("whiteout of the root", tree(&[file(".wh..")]), "whiteout of no name"),
        (
            "whiteout of the parent",
            tree(&[file("d/.wh...")]),
            "whiteout of no name",
        ),
        (
            "whiteout through a link out",
            tree(&[symlink("l", ".."), file("l/.wh.a")]),
            "leads out of the image",
        ),
        (
            "file in a whiteout",
            tree(&[file(".wh.d/a")]),
            "lies beneath a whiteout",
        ),
        (
            "unknown type",
            tar(raw(tar::EntryType::new(b'Z'), b"a", b"", 0)),
            "of the unknown type `Z`",
        ),
        (
            "device without numbers",
            tar({
                let mut bytes = raw(Block, b"a", b"", 0);
                bytes[329..337].copy_from_slice(b"zzzzzzzz");
                let sum: u32 = bytes[..512]
                    .iter()
                    .enumerate()
                    .map(|(at, byte)| if (148..156).contains(&at) { 32 } else { u32::from(*byte) })
                    .sum();
                bytes[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
                bytes
            }),
            "a number that is malformed",
        ),
        (
            "wrong checksum",
            tar([b"x".repeat(512), vec![0; 1024]].concat()),
            "neither a tar",
        ),
        ("cut in a header", tar(vec![b'a'; 100]), "truncated"),
        ("cut in a file", tar(raw(Regular, b"a", b"", 1 << 40)), "truncated"),
        (
            "file of every byte there is",
            tar(raw(Regular, b"a", b"", 0o77_777_777_777)),
            "truncated",
        ),
        (
            "extension of a gigabyte",
            tar(raw(XHeader, b"x", b"", 1 << 30)),
            "over 1 MiB",
        ),
        (
            "extension before nothing",
            tar(raw(XHeader, b"x", b"", 0)),
            "followed by no entry",
        ),
        (
            "path of 5000 bytes",
            tree(&[file(&"d/".repeat(2500))]),
            "longer than 4096 bytes",
        ),
        ("no index", Box::new(|_| ()), "has no `index.json`"),
        (
            "index of rubbish",
            Box::new(|layout| layout.write("index.json", b"{\"schemaVersion\":")),
            "not the document",
        ),
        (
            "JSON nested deeply",
            Box::new(|layout| layout.write("index.json", "[".repeat(100_000).as_bytes())),
            "not the document",
        ),
        (
            "JSON of 5 MB",
            Box::new(|layout| layout.write("index.json", &vec![b' '; 5_000_000])),
            "over 4 MiB",
        ),
        (
            "configuration nested deeply",
            with_config("[".repeat(100_000)),
            "not the document",
        ),
        (
            "configuration of a gigabyte",
            Box::new(|layout| {
                let mut config = layout.blob(OCI_CONFIG, b"{}");
                config["size"] = json!(1 << 30);
                layout.manifest(&config, &[]);
            }),
            "over 4 MiB",
        ),
        (
            "other layout version",
            Box::new(|layout| {
                layout.image(&[], config());
                layout.write("oci-layout", br#"{"imageLayoutVersion":"9"}"#);
            }),
            "its `oci-layout` says otherwise",
        ),
        ("no images", Box::new(|layout| layout.index(&[])), "no image at all"),
        (
            "blob missing",
            with_layer(|_, layer| layer["digest"] = json!(Digest::of(b"no such").to_string())),
            "is not in",
        ),
        (
            "digest that is a path",
            with_layer(|_, layer| layer["digest"] = json!("sha256:../../index.json")),
            "not the document",
        ),
        (
            "other algorithm",
            with_layer(|_, layer| layer["digest"] = json!(format!("md5:{}", "0".repeat(32)))),
            "not the document",
        ),
        (
            "size too small",
            with_layer(|_, layer| layer["size"] = json!(1)),
            "longer than the 1 bytes",
        ),
        (
            "size too large",
            with_layer(|_, layer| layer["size"] = json!(1_u64 << 40)),
            "should be",
        ),
        (
            "content of another digest",
            with_layer(|layout, layer| {
                let digest: Digest = layer["digest"].as_str().unwrap().parse().unwrap();
                let mut tar = self::layer(&[file("b")]);
                tar.truncate(usize::try_from(layer["size"].as_u64().unwrap()).unwrap());
                layout.write(&digest.blob_path(), &tar);
            }),
            "its content has the digest",
        ),
        (
            "layer of another diff_id",
            with_layer(|layout, layer| {
                *layer = layout.blob(OCI_LAYER, &gzip(&self::layer(&[file("b")])));
            }),
            "its content has the digest",
        ),
        (
            "broken compression",
            with_layer(|layout, layer| {
                let mut bytes = gzip(&self::layer(&[file("a")]));
                let middle = bytes.len() / 2;
                bytes[middle..middle + 8].fill(0xff);
                *layer = layout.blob(OCI_LAYER, &bytes);
            }),
            "could not read the layer",
        ),
        (
            "compression with an appendix",
            with_layer(|layout, layer| {
                let bytes = [gzip(&self::layer(&[file("a")])), b"appendix".to_vec()].concat();
                *layer = layout.blob(OCI_LAYER, &bytes);
            }),
            "could not read the layer",
        ),
        (
            "foreign layer",
            with_layer(|_, layer| {
                layer["mediaType"] = json!("application/vnd.docker.image.rootfs.foreign.diff.tar.gzip");
            }),
            "is a foreign layer",
        ),
        (
            "nondistributable layer",
            with_layer(|_, layer| {
                layer["mediaType"] = json!("application/vnd.oci.image.layer.nondistributable.v1.tar");
            }),
            "is a foreign layer",
        ),
        (
            "layer with URLs",
            with_layer(|_, layer| layer["urls"] = json!(["https://example.com/layer"])),
            "is a foreign layer",
        ),
        (
            "encrypted layer",
            with_layer(|_, layer| {
                layer["mediaType"] = json!("application/vnd.oci.image.layer.v1.tar+gzip+encrypted");
            }),
            "is no layer, but of the media type",
        ),
        (
            "fewer diff_ids than layers",
            Box::new(|layout| {
                let layer = layout.blob(OCI_LAYER, &self::layer(&[]));
                let config = layout.blob(OCI_CONFIG, config().to_string().as_bytes());
                layout.manifest(&config, &[layer]);
            }),
            "0 diff_ids, where the image has 1 layers",
        ),
        (
            "no container image",
            Box::new(|layout| {
                let config = layout.blob("application/vnd.cncf.helm.config.v1+json", b"{}");
                layout.manifest(&config, &[]);
            }),
            "is no container image",
        ),
        (
            "2000 layers",
            Box::new(|layout| {
                let layer = layout.blob(OCI_LAYER, &self::layer(&[]));
                let config = layout.blob(OCI_CONFIG, config().to_string().as_bytes());
                layout.manifest(&config, &vec![layer; 2000]);
            }),
            "over 1000 layers",
        ),
        (
            "index in itself",
            Box::new(|layout| {
                // Its digest cannot be right; the index says that it is all the same.
                let digest = Digest::of(b"circle");
                let inner = json!({ "mediaType": OCI_INDEX, "digest": digest.to_string(), "size": 1000 });
                let index = json!({ "schemaVersion": 2, "manifests": [inner] }).to_string();
                layout.write(&digest.blob_path(), index.as_bytes());
                layout.index(&[inner]);
            }),
            "could not read the blob",
        ),
        (
            "indexes in each other",
            Box::new(|layout| {
                let mut inner = layout.image(&[], config());
                for _ in 0..8 {
                    let index = json!({ "schemaVersion": 2, "manifests": [inner] }).to_string();
                    inner = layout.blob(OCI_INDEX, index.as_bytes());
                }
                layout.index(&[inner]);
            }),
            "deeper than 4",
        ),
        (
            "indexes that multiply",
            Box::new(|layout| {
                let mut inner = layout.image(&[], config());
                for _ in 0..4 {
                    let index = json!({ "schemaVersion": 2, "manifests": vec![inner; 40] }).to_string();
                    inner = layout.blob(OCI_INDEX, index.as_bytes());
                }
                layout.index(&[inner]);
            }),
            "leads to over 1000 images",
        ),
    ];
    for (name, make, expected) in cases {
        let layout = Layout::new();
        make(&layout);
        let Err(error) = layout.convert() else {
            panic!("{name} was converted");
        };
        let mut text = error.to_string();
        let mut cause = std::error::Error::source(&error);
        while let Some(error) = cause {
            text = format!("{text}: {error}");
            cause = error.source();
        }
        assert!(text.contains(expected), "{name}: {text}");
    }
}

#[test]
fn what_is_only_strange_has_a_safe_result() {
    let cases: Vec<(Vec<Vec<u8>>, &[&str])> = vec![
        (vec![], &["manifest", "/"]),
        (vec![vec![]], &["manifest", "/"]),
        (vec![vec![0; 1024]], &["manifest", "/"]),
        // `umoci insert` does not fill the last block.
        (
            vec![layer(&[file("a")])[..1024 + 512 + 3].to_vec()],
            &["manifest", "/", "/a 3"],
        ),
        (
            vec![layer(&[file("a")]), layer(&[file(".wh..wh..opq")])],
            &["manifest", "/"],
        ),
        (
            vec![layer(&[symlink("etc", "/../etc/."), file("x")])],
            &["manifest", "/", "/etc", "/x 3"],
        ),
        (
            vec![
                layer(&[directory("usr/bin"), symlink("bin", "usr/bin")]),
                layer(&[file("bin/app")]),
            ],
            &["manifest", "/", "/usr", "/usr/bin", "/bin", "/usr/bin/app 3"],
        ),
        (
            vec![layer(&[file("a"), file("a"), hard_link("b", "a")])],
            &["manifest", "/", "/a 3", "/b=/a"],
        ),
        (
            vec![
                layer(&[file("a")]),
                layer(&[hard_link("b", "a"), file(".wh.a")]),
                layer(&[file("a")]),
            ],
            &["manifest", "/", "/b 3", "/a 3"],
        ),
    ];
    for (number, (layers, expected)) in cases.into_iter().enumerate() {
        let layout = Layout::new();
        layout.image(&layers, config());
        let (_, aci) = layout.convert().unwrap();
        assert_eq!(listed(&aci), expected, "case {number}");
    }
}

#[test]
fn a_circle_of_old_docker_layers_is_an_error() {
    let (one, other) = ("1".repeat(64), "2".repeat(64));
    let directory = tempfile::tempdir().unwrap();
    let archive = directory.path().join("saved.tar");
    let files = [
        ("repositories".to_owned(), json!({ "app": { "latest": one } })),
        (format!("{one}/json"), json!({ "id": one, "parent": other })),
        (format!("{other}/json"), json!({ "id": other, "parent": one })),
    ];
    write_archive(
        &archive,
        &files.map(|(name, json)| (name, json.to_string().into_bytes())),
    );
    let location = format!("docker-archive:{}", archive.display()).parse().unwrap();
    let error = Images::open(&location).err().unwrap().to_string();
    assert!(error.contains("is its own ancestor"), "{error}");
}

fn write_archive(path: &Path, files: &[(String, Vec<u8>)]) {
    let mut writer = LayerWriter::new(Vec::new());
    for (name, bytes) in files {
        let entry = Entry {
            kind: EntryKind::File {
                size: bytes.len() as u64,
            },
            ..file(name)
        };
        writer.append(&entry, bytes.as_slice()).unwrap();
    }
    fs::write(path, writer.finish().unwrap()).unwrap();
}

#[test]
fn an_old_docker_archive_is_read_with_its_links() {
    let (bottom, top) = ("1".repeat(64), "2".repeat(64));
    let directory = tempfile::tempdir().unwrap();
    let archive = directory.path().join("saved.tar");
    let top_json = json!({
        "id": top, "parent": bottom, "os": "linux", "architecture": "arm64", "created": "2015-01-01T00:00:00Z",
        "config": { "Entrypoint": ["/a"], "Cmd": ["b"], "User": "web" },
    });
    write_archive(
        &archive,
        &[
            (
                "repositories".to_owned(),
                json!({ "example.com/App": { "v1": top } }).to_string().into_bytes(),
            ),
            (
                format!("{bottom}/json"),
                json!({ "id": bottom }).to_string().into_bytes(),
            ),
            (format!("{bottom}/layer.tar"), layer(&[file("a"), file("b")])),
            (format!("{top}/json"), top_json.to_string().into_bytes()),
            (format!("{top}/layer.tar"), layer(&[file(".wh.a")])),
        ],
    );
    // Compressed as a whole, as `docker save | gzip` has it.
    fs::write(&archive, gzip(&fs::read(&archive).unwrap())).unwrap();
    let location = format!("docker-archive:{}:example.com/App:v1", archive.display())
        .parse()
        .unwrap();
    let images = Images::open(&location).unwrap();
    let mut aci = Vec::new();
    let options = AciOptions {
        name: None,
        ..aci_options()
    };
    let converted = squash(&images, &images.select(None).unwrap(), &options, &mut aci).unwrap();
    assert_eq!(listed(&aci), ["manifest", "/", "/b 3"]);
    let manifest = converted.manifest;
    assert_eq!(
        (manifest.name.as_str(), manifest.labels.to_string().as_str()),
        ("example.com/app", "version=v1,os=linux,arch=aarch64")
    );
    let app = manifest.app.unwrap();
    assert_eq!(
        (app.exec, app.user, app.group),
        (
            vec!["/a".to_owned(), "b".to_owned()],
            "web".to_owned(),
            "web".to_owned()
        )
    );
}

#[test]
fn kept_layers_depend_on_each_other_and_list_what_is_left() {
    let layout = Layout::new();
    let layers = [
        layer(&[directory("d"), file("d/a"), file("d/b")]),
        layer(&[hard_link("d/c", "d/b"), file("d/.wh.b")]),
        layer(&[file("e")]),
    ];
    layout.image(&layers, config());
    let images = Images::open(&layout.location()).unwrap();
    let out = tempfile::tempdir().unwrap();
    let create = |name: &str| fs::File::create(out.path().join(name));
    let made = keep_layers(&images, &images.select(None).unwrap(), &aci_options(), create).unwrap();
    let lists: Vec<_> = made
        .iter()
        .map(|one| listed(&fs::read(out.path().join(&one.file_name)).unwrap()))
        .collect();
    assert_eq!(lists[0], ["manifest", "/", "/d", "/d/a 3", "/d/b 3"]);
    assert_eq!(lists[1], ["manifest", "/", "/d/c 3"].map(str::to_owned));
    assert_eq!(lists[2], ["manifest", "/", "/e 3"].map(str::to_owned));
    let manifests: Vec<_> = made.iter().map(|one| &one.converted.manifest).collect();
    assert_eq!(manifests[1].path_whitelist, ["/d", "/d/a", "/d/c"]);
    assert!(manifests[0].path_whitelist.is_empty() && manifests[2].path_whitelist.is_empty());
    assert_eq!(manifests[1].dependencies[0].image_id, Some(made[0].converted.id));
    assert_eq!(manifests[2].dependencies[0].image_id, Some(made[1].converted.id));
    assert_eq!(manifests[2].name.as_str(), "example.com/app");
    assert!(manifests[2].app.is_some() && manifests[1].app.is_none());
}

#[test]
fn the_config_becomes_the_app_and_comes_back() {
    let run = json!({
        "Cmd": ["--serve"], "Entrypoint": ["/bin/app"], "Env": ["PATH=/bin", "A=1=2"],
        "ExposedPorts": { "80/tcp": {}, "53/udp": {} }, "Healthcheck": { "Test": ["CMD", "/bin/true"], "Interval": 30 },
        "Labels": { "com.example.Team": "web" }, "OnBuild": ["RUN true"], "Shell": ["/bin/bash", "-c"],
        "StopSignal": "SIGQUIT", "User": "1000:web", "Volumes": { "/var/lib/app": {} }, "WorkingDir": "/srv",
    });
    let config = json!({
        "architecture": "arm", "author": "Carly", "config": run, "created": "2020-02-02T02:02:02Z", "os": "linux",
        "variant": "v7",
    });
    let layout = Layout::new();
    layout.image(
        &[layer(&[directory("d"), file("d/a"), hard_link("b", "d/a")])],
        config.clone(),
    );
    let (converted, aci) = layout.convert().unwrap();
    assert!(converted.notes.is_empty(), "{:?}", converted.notes);
    let app = serde_json::to_value(converted.manifest.app.as_ref().unwrap()).unwrap();
    assert_eq!(
        app,
        json!({
            "exec": ["/bin/app", "--serve"], "user": "1000", "group": "web", "workingDirectory": "/srv",
            "environment": [{ "name": "PATH", "value": "/bin" }, { "name": "A", "value": "1=2" }],
            "mountPoints": [{ "name": "volume-var-lib-app", "path": "/var/lib/app" }],
            "ports": [
                { "name": "53-udp", "protocol": "udp", "port": 53 }, { "name": "80-tcp", "protocol": "tcp", "port": 80 },
            ],
            "userLabels": { "com.example.Team": "web" },
        })
    );
    assert_eq!(converted.manifest.labels.get("arch"), Some("armv7l"));
    assert_eq!(
        converted.manifest.annotation("appc.io/docker/stopsignal"),
        Some("SIGQUIT")
    );

    let out = tempfile::tempdir().unwrap();
    let path = out.path().join("app.aci");
    fs::write(&path, aci).unwrap();
    let back = format!("oci:{}", out.path().join("back").display()).parse().unwrap();
    export(&path, &back, &export_options()).unwrap();
    let image = Images::open(&back).unwrap().select(None).unwrap();
    let mut found = serde_json::to_value(&image.config).unwrap();
    let object = found.as_object_mut().unwrap();
    object.remove("history");
    object.remove("rootfs");
    assert_eq!(found, config);
}

/// An ACI as another tool might have made it, with all that OCI has no words for.
fn foreign_aci(directory: &Path) -> (PathBuf, crate::ImageId) {
    let mut manifest = ImageManifest::new(Name::new("example.com/app").unwrap());
    let mut app = App::new(vec!["/bin/app".to_owned()]);
    app.supplementary_gids = vec![5, 6];
    app.isolators
        .push(Isolator::new(Name::new("example.com/own").unwrap(), json!({ "kept": true })).unwrap());
    app.mount_points
        .push(crate::MountPoint::new("data".parse().unwrap(), "/data", true));
    manifest.app = Some(app);
    let json = manifest.to_json().unwrap();
    let entries = [
        Entry {
            path: RootfsPath::root(),
            ..directory_entry()
        },
        directory_entry(),
        file("d/a"),
        file("z"),
        hard_link("zz", "d/a"),
    ];
    let mut aci = Vec::new();
    let mut packer = super::packing::Packer::new(&mut aci, Compression::Gzip, &json, 0)
        .ok()
        .unwrap();
    for entry in &entries {
        packer.append(entry, io::Cursor::new(b"abc")).ok().unwrap();
    }
    let packed = packer.finish().unwrap();
    let path = directory.join("foreign.aci");
    fs::write(&path, aci).unwrap();
    (path, packed.id)
}

fn directory_entry() -> Entry {
    directory("d")
}

#[test]
fn an_aci_comes_back_as_it_was_from_every_form() {
    let directory = tempfile::tempdir().unwrap();
    let (aci, id) = foreign_aci(directory.path());
    for form in ["oci:layout", "oci-archive:oci.tar", "docker-archive:docker.tar"] {
        let (transport, name) = form.split_once(':').unwrap();
        let location: ImageLocation = format!("{transport}:{}", directory.path().join(name).display())
            .parse()
            .unwrap();
        let first = export(&aci, &location, &export_options()).unwrap();
        let again = export(&aci, &location, &export_options()).unwrap();
        assert_eq!(first.digest, again.digest, "{form}");
        assert!(first.notes.iter().any(|note| note.contains("isolators")), "{form}");
        let images = Images::open(&location).unwrap();
        let image = images.select(None).unwrap();
        let options = AciOptions {
            name: None,
            ..aci_options()
        };
        let back = squash(&images, &image, &options, io::sink()).unwrap();
        assert_eq!(back.id, id, "{form}");

        // With another name it is another image, and all else is kept.
        let renamed = AciOptions {
            name: Some(Name::new("example.com/other").unwrap()),
            ..aci_options()
        };
        let other = squash(&images, &image, &renamed, io::sink()).unwrap();
        assert!(other.id != id && other.manifest.app == back.manifest.app, "{form}");
    }
}

#[test]
fn a_config_that_was_changed_counts_more_than_the_old_manifest() {
    let directory = tempfile::tempdir().unwrap();
    let (aci, _) = foreign_aci(directory.path());
    let location: ImageLocation = format!("oci:{}", directory.path().join("layout").display())
        .parse()
        .unwrap();
    export(&aci, &location, &export_options()).unwrap();
    let images = Images::open(&location).unwrap();
    let mut image = images.select(None).unwrap();
    image.config.config.as_mut().unwrap().entrypoint = Some(vec!["/bin/changed".to_owned()]);
    let made = squash(&images, &image, &aci_options(), io::sink()).unwrap();
    assert_eq!(made.manifest.app.unwrap().exec, ["/bin/changed"]);
}

#[test]
fn platforms_and_names_choose() {
    let layout = Layout::new();
    let mut manifests = Vec::new();
    for (name, arch) in [("1", "amd64"), ("1", "arm64"), ("2", "amd64")] {
        let mut descriptor = layout.image(&[layer(&[file(arch)])], json!({ "os": "linux", "architecture": arch }));
        descriptor["platform"] = json!({ "os": "linux", "architecture": arch });
        descriptor["annotations"] = json!({ "org.opencontainers.image.ref.name": name });
        manifests.push(descriptor);
    }
    let mut attestation = manifests[0].clone();
    attestation["platform"] = json!({ "os": "unknown", "architecture": "unknown" });
    manifests.push(attestation);
    layout.index(&manifests);
    let open = |tag: &str| Images::open(&format!("{}{tag}", layout.location()).parse().unwrap());
    let platform = |text: &str| text.parse::<OciPlatform>().unwrap();
    let error = |result: Result<super::FoundImage, ConvertError>| result.err().unwrap().to_string();

    let arm = open(":1").unwrap().select(Some(&platform("linux/arm64"))).unwrap();
    assert_eq!(arm.platform().unwrap().to_string(), "linux/arm64");
    assert_eq!(open(":1").unwrap().all().unwrap().len(), 2);
    let missing = error(open(":1").unwrap().select(Some(&platform("linux/s390x"))));
    assert!(
        missing.contains("no image for linux/s390x; it has `linux/amd64`, `linux/arm64`"),
        "{missing}"
    );
    let several = error(open("").unwrap().select(None));
    assert!(several.contains("name one of `1`, `2`"), "{several}");
    let unknown = open(":3").err().unwrap().to_string();
    assert!(unknown.contains("no image `3`; it has `1`, `2`"), "{unknown}");
}

#[test]
fn an_aci_that_needs_others_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let mut manifest = ImageManifest::new(Name::new("example.com/app").unwrap());
    manifest
        .dependencies
        .push(crate::Dependency::new(Name::new("example.com/base").unwrap()));
    let path = directory.path().join("app.aci");
    let mut packer = super::packing::Packer::new(
        fs::File::create(&path).unwrap(),
        Compression::None,
        &manifest.to_json().unwrap(),
        0,
    )
    .ok()
    .unwrap();
    packer
        .append(
            &Entry {
                path: RootfsPath::root(),
                ..directory_entry()
            },
            io::empty(),
        )
        .ok()
        .unwrap();
    packer.finish().unwrap();
    let location = format!("oci:{}", directory.path().join("layout").display())
        .parse()
        .unwrap();
    let error = export(&path, &location, &export_options()).unwrap_err().to_string();
    assert!(error.contains("depends on `example.com/base`"), "{error}");
    assert!(!directory.path().join("layout").exists(), "nothing is left");
}
