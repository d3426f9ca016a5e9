//! What hostile and strange images come to.

use super::*;

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
        ("cut in a file", tar(raw(Regular, b"a", b"", 1 << 30)), "truncated"),
        (
            "file of a terabyte",
            tar(raw(Regular, b"a", b"", 1 << 40)),
            "over 68719476736 uncompressed bytes",
        ),
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
fn limits_are_of_the_callers_choice() {
    // One layer that stands in the image twice counts twice.
    let layout = Layout::new();
    let tar = layer(&[directory("d"), file("d/a"), file("d/b")]);
    layout.image(&[tar.clone(), tar.clone()], config());
    let unfolded = 2 * tar.len() as u64;
    let within = |names, tar_size| {
        let limits = Limits { names, tar_size };
        let options = AciOptions {
            limits,
            ..aci_options()
        };
        let images = Images::open(&layout.location(), limits)?;
        squash(&images, &images.select(None)?, &options, io::sink()).map(drop)
    };
    let told = |result: Result<(), ConvertError>| {
        let error = result.unwrap_err();
        format!("{error}: {}", std::error::Error::source(&error).unwrap())
    };
    // The root, the directory, two files, and those that replace them.
    within(6, unfolded).unwrap();
    let error = told(within(5, unfolded));
    assert!(error.contains("over 5 names"), "{error}");
    let error = told(within(6, unfolded - 1));
    assert!(
        error.contains(&format!("over {} uncompressed bytes", unfolded - 1)),
        "{error}"
    );
}

#[test]
fn an_archive_that_is_compressed_as_a_whole_unfolds_within_limits() {
    let directory = tempfile::tempdir().unwrap();
    let archive = directory.path().join("saved.tar.gz");
    fs::write(&archive, gzip(&[0; 100_000])).unwrap();
    let location = format!("docker-archive:{}", archive.display()).parse().unwrap();
    let limits = Limits {
        tar_size: 99_999,
        ..Limits::default()
    };
    let error = Images::open(&location, limits).err().unwrap().to_string();
    assert!(error.contains("over 99999 uncompressed bytes"), "{error}");
}
