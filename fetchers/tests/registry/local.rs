//! Images of OCI's and Docker's on this machine.

use std::process::Command;

use dhow_fetchers::{Error, ErrorKind};

use crate::{
    images::{image, tar, write_layout},
    pulled::user,
};

#[tokio::test(flavor = "multi_thread")]
async fn layouts_and_archives_are_references() {
    let mut user = user("");
    let layout = user.world.path("layout");
    let image = image(&[tar(&[("bin/app", b"#!/bin/sh\n")])]);
    let blobs: Vec<_> = std::iter::once(&image.manifest).chain(&image.blobs).collect();
    write_layout(&layout, "1.0", &blobs);
    let path = |name: &str| user.world.path(name).display().to_string();
    let oci = format!("oci:{}:1.0", path("layout"));
    let (archive, docker) = (path("app.tar"), path("docker.tar"));
    for to in [
        format!("oci-archive:{archive}:1.0"),
        format!("docker-archive:{docker}:example.com/app:1.0"),
    ] {
        let mut skopeo = Command::new("skopeo");
        let output = skopeo
            .args(["--insecure-policy", "copy", "-q", &oci, &to])
            .output()
            .unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }
    user.context.insecure.image = false;
    let error = user.fetch(&oci).await.unwrap_err();
    assert!(matches!(error, Error::NeverSigned { .. }), "{error}");
    user.context.insecure.image = true;
    for reference in [
        oci.clone(),
        format!("oci-archive:{archive}"),
        format!("docker-archive:{docker}"),
    ] {
        let fetched = user.fetch(&reference).await.unwrap();
        let provenance = fetched.provenance.unwrap();
        assert_eq!((&provenance.reference, &provenance.source), (&reference, &reference));
    }
    assert_eq!(user.stored(), ["app:1.0", "example.com/app:1.0", "layout:1.0"]);
    let missing = user.fetch(&format!("oci:{}:2.0", path("layout"))).await.unwrap_err();
    assert_eq!(missing.kind(), ErrorKind::NotFound, "{missing}");
    let nowhere = user.fetch("oci:/nowhere").await.unwrap_err();
    assert_eq!(nowhere.kind(), ErrorKind::NotFound, "{nowhere}");
}
