//! What `docker save` writes, today and long ago.

use super::*;

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
    let error = Images::open(&location, Limits::default()).err().unwrap().to_string();
    assert!(error.contains("is its own ancestor"), "{error}");
}

fn write_archive(path: &Path, files: &[(String, Vec<u8>)]) {
    let mut writer = TarWriter::of_layer(Vec::new());
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
    let images = Images::open(&location, Limits::default()).unwrap();
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
