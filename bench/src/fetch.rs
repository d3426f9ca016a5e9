//! Taking in a signed archive: beside the floors, and beside what users of OCI images run.

use anyhow::Result;

use crate::{
    contest::{Contest, Contestant},
    floor,
    images::Images,
    machine::warm,
    program::{Program, text},
};

/// No contestant writes more, in MiB.
const MOST_WRITTEN: usize = 1024;

/// `dhow fetch FILE` verifies the signature, takes the image in and makes its tree; what its peers do is less.
pub fn fetch(images: &Images, rounds: usize) -> Result<String> {
    let archive = images.archive()?;
    images.sign(&archive)?;
    let oci = images.path("image.oci.tar");
    let destination = format!("oci-archive:{}:latest", text(&oci)?);
    images
        .dhow("store", &["convert", text(&archive)?, &destination])?
        .run()?;
    let tar_size = images.unpack(&archive)?.metadata()?.len();

    let mut memory = 0;
    let floor = images.path("floor");
    let make_way = |name| {
        images.set_aside(name)?;
        warm(MOST_WRITTEN);
        anyhow::Ok(())
    };
    let prepare = || make_way("floor");
    let contest = Contest::new("fetch: a signed gzip archive into a new store", rounds)
        .of_bytes(tar_size)
        .run(vec![
            Contestant::prepared("floor: gunzip, SHA-512, SHA-256 and write", prepare, || {
                floor::hash_and_write(&archive, &floor, false)
            }),
            Contestant::prepared("the same and one sync", prepare, || {
                floor::hash_and_write(&archive, &floor, true)
            }),
            Contestant::new("floor: gunzip, SHA-512", || floor::hash(&archive)),
            Contestant::prepared(
                "dhow fetch",
                || make_way("fetched"),
                || {
                    let used = images.dhow("fetched", &["fetch", text(&archive)?])?.run()?;
                    memory = memory.max(used);
                    Ok(())
                },
            ),
            Contestant::prepared(
                "skopeo copy, umoci unpack",
                || images.set_aside("layout").and_then(|()| make_way("bundle")),
                || {
                    let layout = format!("{}:latest", text(&images.path("layout"))?);
                    let (from, to) = (format!("oci-archive:{}:latest", text(&oci)?), format!("oci:{layout}"));
                    Program::new("skopeo")
                        .args(["--insecure-policy", "copy", &from, &to])
                        .run()?;
                    let bundle = images.path("bundle");
                    Program::new("umoci")
                        .args(["unpack", "--image", &layout, text(&bundle)?])
                        .run()?;
                    Ok(())
                },
            ),
        ])?;
    Ok(format!(
        "{contest}  dhow's peak memory: {:.1} MB\n",
        memory as f64 / 1e6
    ))
}
