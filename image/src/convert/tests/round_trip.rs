//! Whole conversions, and back.

use super::*;

#[test]
fn kept_layers_depend_on_each_other_and_list_what_is_left() {
    let layout = Layout::new();
    let layers = [
        layer(&[directory("d"), file("d/a"), file("d/b")]),
        layer(&[hard_link("d/c", "d/b"), file("d/.wh.b")]),
        layer(&[file("e")]),
    ];
    layout.image(&layers, config());
    let images = Images::open(&layout.location(), Limits::default()).unwrap();
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
    let image = Images::open(&back, Limits::default()).unwrap().select(None).unwrap();
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
    let mut packer = crate::convert::packing::Packer::new(&mut aci, Compression::Gzip, &json, 0)
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
        let images = Images::open(&location, Limits::default()).unwrap();
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
    let images = Images::open(&location, Limits::default()).unwrap();
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
    let open = |tag: &str| {
        Images::open(
            &format!("{}{tag}", layout.location()).parse().unwrap(),
            Limits::default(),
        )
    };
    let platform = |text: &str| text.parse::<OciPlatform>().unwrap();
    let error = |result: Result<crate::FoundImage, ConvertError>| result.err().unwrap().to_string();

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
    let mut packer = crate::convert::packing::Packer::new(
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
